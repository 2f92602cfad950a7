"""Telling the journal what an agent says: each line of its stream once, whoever follows."""

from dataclasses import replace

from rdev_cli.domain.agent import AgentEvent, AgentEventKind
from rdev_cli.domain.command import Command
from rdev_cli.ports import World

_LINE_MAX = 8 << 20  # a longer line tells nothing


def tell(world: World, command: Command) -> None:
    """Parse the whole lines that came since the last time, and write their events with the new offset in one transaction."""
    agent = world.agents.named(command.agent)
    try:
        file = world.spool.path(command.id, "out").open("rb")
    except FileNotFoundError:
        return
    with file:
        # a look that costs nothing first: a follower comes here many times a second
        file.seek(world.store.parsed(command.id))
        first = file.readline(_LINE_MAX)
        while first.endswith(b"\n") or len(first) == _LINE_MAX:
            with world.store.transaction() as tx:
                if tx.find_command(command.id) is None:
                    return  # its project was deleted: there is nowhere to note how far it was told
                offset = tx.parsed(command.id)
                file.seek(offset)
                line = file.readline(_LINE_MAX)
                page: list[AgentEvent] = []
                while line.endswith(b"\n") or len(line) == _LINE_MAX:
                    page += [replace(event, offset=offset) for event in agent.parse(line)]
                    offset += len(line)
                    if len(page) >= 100:
                        break
                    line = file.readline(_LINE_MAX)
                if offset == tx.parsed(command.id):
                    return
                found = tx.find_command(command.id)
                for event in page:
                    if found is not None and event.kind is AgentEventKind.STARTED and found.session == event.session != "":
                        continue  # some agents say with each step that they begin
                    tx.append(event.kind.value, command.id, _data(event))
                    found = _with(found, event) if found is not None else None
                if found is not None:
                    tx.put_command(found)
                tx.set_parsed(command.id, offset)


def _data(event: AgentEvent) -> dict[str, object]:
    shown = {name: getattr(event, name) for name in AgentEvent.__slots__ if name not in ("kind", "offset")}
    return {"offset": event.offset, **{name: value for name, value in shown.items() if value not in ("", 0, False)}}


def _with(command: Command, event: AgentEvent) -> Command:
    match event.kind:
        case AgentEventKind.SAID:
            return replace(command, answer=event.text)  # the last of it stays, where the result has no words of its own
        case AgentEventKind.SPENT:
            return replace(
                command,
                input_tokens=command.input_tokens + event.input_tokens,
                output_tokens=command.output_tokens + event.output_tokens,
                cost_usd=command.cost_usd + event.cost_usd,
            )
        case AgentEventKind.STARTED | AgentEventKind.FINISHED:
            return replace(
                command,
                session=event.session or command.session,
                model=event.model or command.model,
                input_tokens=event.input_tokens or command.input_tokens,
                output_tokens=event.output_tokens or command.output_tokens,
                cost_usd=event.cost_usd or command.cost_usd,
                answer=event.text or command.answer,
            )
        case _:
            return command

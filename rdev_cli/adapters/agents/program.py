"""Any program as an agent: it takes the prompt on stdin and prints what it says, as lines of text or of JSON (docs/agents.md)."""

from collections.abc import Collection, Sequence

from rdev_cli.adapters.agents.finding import Finder, find
from rdev_cli.adapters.agents.reading import ANSWER_MAX, cost, count, document, name, text
from rdev_cli.domain.agent import AgentEvent, AgentEventKind, AgentTask, Program


class AnyProgram:
    """An agent that the settings describe: a program, arguments, how it prints, what it takes from the environment."""

    version_flag = ""

    def __init__(self, name: str, path: str, *, args: Sequence[str], output: str, variables: Sequence[str], find: Finder = find) -> None:
        self.name, self.variables = name, tuple(variables)
        self._path, self._args, self._lines, self._find = path, tuple(args), output == "lines", find

    def program(self) -> Program | None:
        """Return the program on this machine, None if it is not here."""
        return self._find(self.name, self._path, self._args)

    def argv(self, program: Program, task: AgentTask) -> tuple[str, ...]:  # noqa: ARG002 -- the task is in its environment
        """Return its command line, the same for every task."""
        return program.argv

    def screen(self, program: Program, task: AgentTask) -> None:  # noqa: ARG002
        """Return None: it has no screen of its own."""
        return

    def environment(self, task: AgentTask, given: Collection[str]) -> tuple[tuple[str, str], ...]:  # noqa: ARG002
        """Return the task as variables."""
        return (("RDEV_AGENT_MODEL", task.model), ("RDEV_AGENT_TOOLS", ",".join(task.tools)), ("RDEV_AGENT_SESSION", task.resume))

    def advice(self, words: str) -> str:  # noqa: ARG002
        """Return nothing: what it says is its own."""
        return ""

    def parse(self, line: bytes) -> Sequence[AgentEvent]:
        """Return what one line tells: any line of text is something said; a line of JSON says by `type` what it is. Never raises."""
        if self._lines:
            words = text(line.decode(errors="replace").rstrip())
            return (AgentEvent(kind=AgentEventKind.SAID, text=words),) if words else ()
        said = document(line)
        words, failed = text(said.get("text")), said.get("failed") is True
        into, out = count(said.get("input_tokens")), count(said.get("output_tokens"))
        money = cost(said.get("cost_usd"))
        match said.get("type"):
            case "start":
                return (AgentEvent(kind=AgentEventKind.STARTED, session=name(said.get("session")), model=name(said.get("model"))),)
            case "text" if words:
                return (AgentEvent(kind=AgentEventKind.SAID, text=words),)
            case "tool":
                return (AgentEvent(kind=AgentEventKind.USED, tool=name(said.get("tool")), target=name(said.get("target"))),)
            case "answer":
                return (AgentEvent(kind=AgentEventKind.ANSWERED, text=text(words, ANSWER_MAX), failed=failed),)
            case "spent":
                return (AgentEvent(kind=AgentEventKind.SPENT, input_tokens=into, output_tokens=out, cost_usd=money),)
            case "result":
                return (
                    AgentEvent(
                        kind=AgentEventKind.FINISHED, text=words, failed=failed, session=name(said.get("session")), input_tokens=into,
                        output_tokens=out, cost_usd=money,
                    ),
                )  # fmt: skip
            case _:
                return ()

"""Credentials: values that agents need and nobody else may see, kept in a vault under a name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rdev_cli.domain.credential import GITEA_TOKEN, HOOK_SECRET, Credential, credential_name, credential_value, parse_env
from rdev_cli.domain.errors import NotFound, Partial, RdevError, Unavailable
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.domain.values import Secret
from rdev_cli.ops.ledger import Scope, operation
from rdev_cli.ports import World


@operation("credential.set", Scope.CREDENTIALS_WRITE)
def set_(world: World, name: str, value: bytes) -> Credential:
    """Keep a value under a name, for the agents that take a variable of that name.

    The value is text in UTF-8 of at most 64 KiB, without a NUL byte; one newline at its end is dropped. It comes by stdin, from a
    prompt or from a file, never as an argument. A name that is there gets the new value.
    """
    credential_name(name)
    return _keep(world, {name: credential_value(value)})[0]


@operation("credential.list", Scope.CREDENTIALS_READ)
def list_(world: World) -> Sequence[Credential]:
    """List credentials: where each is kept and which agents take it, never a value."""
    return [_used(world, credential) for credential in world.store.credentials()]


@operation("credential.import", Scope.CREDENTIALS_WRITE)
def import_(world: World, text: bytes) -> Sequence[Credential]:
    """Keep all credentials of a file of lines KEY=VALUE, as .env files have them, or none.

    Comments, `export` and quotes are understood; nothing is expanded. Invalid names the line that is wrong.
    """
    return _keep(world, parse_env(text))


@operation("credential.remove", Scope.CREDENTIALS_WRITE)
def remove(world: World, name: str) -> Credential:
    """Forget a credential: its value first, then its name."""
    with world.vaults.alone():
        found = known(world, name)
        world.vaults.at(found.place).drop(name)
        with world.store.transaction() as tx:
            tx.drop_credential(name)
            tx.append("credential.removed", name, {"place": found.place})
    return _used(world, found)


@operation("credential.test", Scope.CREDENTIALS_READ)
def try_(world: World, name: str) -> Sequence[Check]:
    """Try a credential: can it be read back, who takes it, and does the Messages API know it.

    The API is asked for ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN only, for at most 10 seconds, at the ANTHROPIC_BASE_URL that
    claude would get. Verdict failed: refused (exit 9). Warning: it could not be asked (6).
    """
    found = _used(world, known(world, name))
    value = reveal(world, found)
    used = ", ".join(found.used_by) or "no agent declares it"
    checks = [
        Check(name="vault", verdict=Verdict.OK, found=f"it can be read back ({found.place})"),
        Check(name="used_by", verdict=Verdict.OK, found=used),
    ]
    base = world.agent_variable("claude", "ANTHROPIC_BASE_URL")
    tried = world.agents.tried(name, value, base_url=base.reveal() if base else "", stop=world.stop)
    return checks if tried is None else [*checks, tried]


def known(world: World, name: str) -> Credential:
    """Return a credential by name; NotFound if there is none."""
    credential_name(name)
    for credential in world.store.credentials():
        if credential.name == name:
            return credential
    raise NotFound(
        f"there is no credential {name}",
        hint=f"rdev credential list shows the ones there are, rdev credential set {name} makes it",
        credential=name,
    )


def reveal(world: World, credential: Credential) -> Secret:
    """Return the value of a recorded credential; Unavailable if its place does not hold it."""
    value = world.vaults.at(credential.place).get(credential.name)
    if value is None:
        raise _missing(credential)
    return value


def checks(world: World) -> Sequence[Check]:
    """Look at the vault, and for the value of every recorded credential."""
    found, there, recorded = [*world.vaults.checks()], 0, world.store.credentials()
    for credential in recorded:
        try:
            if not world.vaults.at(credential.place).holds(credential.name):
                raise _missing(credential)
            there += 1
        except RdevError as e:
            found.append(Check(name=f"credential.{credential.name}", verdict=Verdict.FAILED, found=e.message, hint=e.hint))
    if recorded:
        found.append(Check(name="vault.credentials", verdict=Verdict.OK, found=f"{there} of {len(recorded)} are where they should be"))
    return found


def _keep(world: World, values: Mapping[str, Secret]) -> Sequence[Credential]:
    """Put values into the chosen place, then record them; a value that was elsewhere is forgotten there."""
    left: list[str] = []
    trouble: RdevError | None = None
    with world.vaults.alone():
        before = {credential.name: credential.place for credential in world.store.credentials()}
        vault = world.vaults.chosen()
        vault.put(values)
        place, now = vault.place, world.clock.now()
        kept = [Credential(name=name, place=place, updated_at=now) for name in values]
        with world.store.transaction() as tx:
            for credential in kept:
                tx.put_credential(credential)
                tx.append("credential.set", credential.name, {"place": place})
        for name in values:
            old = world.vaults.at(before.get(name, place))
            if old is not vault:
                try:
                    old.drop(name)
                except RdevError as e:
                    left.append(name)
                    trouble = e
    if trouble is not None:
        raise Partial(
            f"the new value is kept, but the old one could not be removed: {trouble.message}",
            left=tuple(left),
            hint="remove it there by hand",
        ) from trouble
    return [_used(world, credential) for credential in kept]


def _used(world: World, credential: Credential) -> Credential:
    used = tuple(agent.name for agent in world.agents.all() if credential.name in agent.variables)
    if credential.name in (GITEA_TOKEN, HOOK_SECRET) and any(
        context.current and context.forge == "gitea" for context in world.settings.contexts()
    ):
        used = (*used, "the forge")
    return replace(credential, used_by=used)


def _missing(credential: Credential) -> Unavailable:
    return Unavailable(
        f"{credential.name} is recorded, but its value is not there ({credential.place})",
        hint=f"set it again: rdev credential set {credential.name}; or forget it: rdev credential remove {credential.name}",
        code="VAULT_DAMAGED",
        credential=credential.name,
    )

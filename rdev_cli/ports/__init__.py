"""What rdev asks of the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rdev_cli.domain.access import Grant
    from rdev_cli.domain.report import Check, Context, Setting
    from rdev_cli.domain.serving import InstallSpec
    from rdev_cli.domain.values import Secret
    from rdev_cli.ports.agent import Agents
    from rdev_cli.ports.cluster import Cluster, Spool
    from rdev_cli.ports.copies import Copies
    from rdev_cli.ports.files import Files
    from rdev_cli.ports.forge import Forge
    from rdev_cli.ports.hooks import Hooks
    from rdev_cli.ports.pool import Pool
    from rdev_cli.ports.premises import Premises
    from rdev_cli.ports.signing import Signing
    from rdev_cli.ports.store import Store
    from rdev_cli.ports.timing import Clock, Stop
    from rdev_cli.ports.vault import Vaults


class Shelf(Protocol):
    """What ships with rdev."""

    def skeleton(self, values: Mapping[str, str]) -> Mapping[str, tuple[bytes, bool]]:
        """Return the rendered skeleton: path -> (content, executable). The same values give the same bytes."""
        ...

    def manifests(self, spec: InstallSpec) -> str:
        """Return the shipped manifests of `rdev serve` as YAML, with what was chosen in its places."""
        ...

    def kinds(self) -> Sequence[str]:
        """Return the kinds of events that the journal's schema knows."""
        ...


class Settings(Protocol):
    """Where settings live."""

    def contexts(self) -> Sequence[Context]: ...
    def view(self) -> Sequence[Setting]:
        """Return every setting in force with its origin."""
        ...

    def default_agent(self) -> str:
        """Return the name of the agent that works where nobody says which."""
        ...

    def pool_size(self) -> int | None:
        """Return how many workers the context keeps warm, None if it does not say."""
        ...

    def agent(self, name: str) -> Mapping[str, Any]:
        """Return what the context says of an agent: `path args output variables env model tools`, those that are set."""
        ...

    def public_url(self) -> str:
        """Return where the forge reaches this context's server, empty if nobody said."""
        ...

    def use(self, name: str) -> None:
        """Make a context the current one; NotFound if there is none of that name."""
        ...

    def set(self, name: str, values: Mapping[str, str]) -> None:
        """Change settings of a context, making it if it is new; Invalid for a setting that there is not."""
        ...

    def remove(self, name: str) -> None:
        """Forget a context; NotFound if there is none of that name, Invalid for `local`."""
        ...

    def checks(self) -> Sequence[Check]:
        """Look at the files: owner, mode, where they are."""
        ...


class World(Protocol):
    """All ports together; every operation takes one first."""

    @property
    def cluster(self) -> Cluster: ...
    @property
    def pool(self) -> Pool: ...
    @property
    def spool(self) -> Spool: ...
    @property
    def forge(self) -> Forge: ...
    @property
    def store(self) -> Store: ...
    @property
    def vaults(self) -> Vaults: ...
    @property
    def agents(self) -> Agents: ...
    @property
    def shelf(self) -> Shelf: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def premises(self) -> Premises: ...
    @property
    def files(self) -> Files: ...
    @property
    def copies(self) -> Copies: ...
    @property
    def hooks(self) -> Hooks: ...
    @property
    def signing(self) -> Signing: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def stop(self) -> Stop: ...
    @property
    def actor(self) -> str: ...
    @property
    def grant(self) -> Grant: ...
    def agent_environment(self, agent: str) -> tuple[tuple[str, Secret], ...]:
        """Return what an agent is given: of the variables that it declares the caller's own, else the credential, else the context's."""
        ...

    def agent_variable(self, agent: str, name: str) -> Secret | None:
        """Return one of these, None if it has no value; a vault is opened only for a credential of that name."""
        ...

    def agent_given(self, agent: str) -> Sequence[str]:
        """Return the names of the declared variables that have a value; opens no vault."""
        ...

    def in_keyring(self, context: str) -> tuple[Vaults, Sequence[str]]:
        """Return the places of a context that has a state here, and the names that its state says are in the keyring.

        Asks no keyring. Unavailable if the state cannot be read, STATE_DAMAGED if it never can be.
        """
        ...

    def at_forge(self, context: str) -> Sequence[str]:
        """Return the accounts of checkouts that the forge of a context has still, as its state says; asks no forge. Unavailable as above."""
        ...

    def new_id(self, prefix: str) -> str:
        """Return a fresh id of that kind."""
        ...

    def foreign_yaml(self, text: bytes, where: str) -> Any:
        """Return the plain data of YAML that others wrote, every value as text; Invalid, with line and column, for anything but plain data."""
        ...

    @property
    def house(self) -> World:
        """The same world as rdev itself has it: what belongs to no caller, such as workers and what is owed to providers, is kept there."""
        ...

    def unstopped(self) -> World:
        """Return the same world with a fresh stop, for what has to be cleaned up after somebody said stop."""
        ...

    def minting(self, seed: str) -> World:
        """Return the same world with ids that a request's seed gives: the first of a kind is the same one each time, and so on."""
        ...

    def patience(self) -> float:
        """Return how many seconds a multi-step operation waits for another's lease (--timeout)."""
        ...

"""The composition root: the one file that knows which adapter stands behind which port.

Adapters are imported when first asked for, so a short command never pays for what it does not use.
"""

import contextlib
import copy
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdev_cli.domain.credential import GITEA_TOKEN
from rdev_cli.domain.errors import Invalid, Unavailable
from rdev_cli.domain.values import Secret, new_id
from rdev_cli.ports.timing import ORCHESTRATION, STANDARD, Stop
from rdev_cli.wiring.config import Config
from rdev_cli.wiring.sharing import BoundSettings, Closed, shared

if TYPE_CHECKING:
    from rdev_cli.adapters.kubernetes.api import Api
    from rdev_cli.adapters.scripted import ScriptedModel
    from rdev_cli.adapters.sqlite.store import SqliteStore
    from rdev_cli.adapters.vault.places import Places
    from rdev_cli.domain.access import Grant
    from rdev_cli.domain.credential import Credential
    from rdev_cli.ports import Shelf, World
    from rdev_cli.ports.agent import Agents
    from rdev_cli.ports.cluster import Cluster, Spool
    from rdev_cli.ports.copies import Copies
    from rdev_cli.ports.files import Files
    from rdev_cli.ports.forge import Forge
    from rdev_cli.ports.hooks import Hooks
    from rdev_cli.ports.pool import Pool
    from rdev_cli.ports.premises import Premises
    from rdev_cli.ports.signing import Signing
    from rdev_cli.ports.timing import Clock
    from rdev_cli.ports.vault import Vaults


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)  # as precise as what is kept, so that both are equal

    def monotonic(self) -> float:
        return time.monotonic()


class Services:
    """The World, built lazily, for one caller and one context."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        patience: float = 0,  # seconds; 0: as long as is usual
        ask: Callable[[str], Secret | None] = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._flags, self._cwd, self._patience = dict(flags or {}), cwd, patience
        self._tell = tell  # a person, beside the answer
        self._ask = ask  # a person, for a text that nobody sees; None if there is no person
        self.stop = Stop()
        self.root = self  # who builds what callers share
        self._token: tuple[datetime, Secret] | None = None  # the forge's, once it was needed
        self._given = self._environ  # where agents' variables are taken from

    @property
    def house(self) -> "Services":
        return self.root

    def patience(self) -> float:
        return self._patience or STANDARD

    @shared
    def settings(self) -> Config:
        """The settings in force."""
        return Config(self._environ, self._flags, self._cwd or Path.cwd())

    @shared
    def folder(self) -> Path:
        """The context's state on this machine."""
        from rdev_cli.adapters.shared.files import private_folder

        private_folder(self.settings.folders.state)
        return private_folder(self.settings.folders.state / self.settings.context)

    @shared
    def installation(self) -> str:
        """The id that stands on everything this installation creates: one for the whole state folder."""
        from rdev_cli.adapters.shared.files import write_whole

        path = self.folder.parent / "installation"
        try:
            if not path.exists():
                part = path.with_name(f"installation.{os.getpid()}")
                write_whole(part, os.urandom(10).hex().encode() + b"\n")
                with contextlib.suppress(FileExistsError):
                    os.link(part, path)  # of two that come at once, one wins
                part.unlink()
            found = path.read_text(errors="replace").strip()
        except OSError as e:
            raise Unavailable(f"cannot read {path}: {e.strerror}", hint="make it readable", path=str(path)) from e
        if not re.fullmatch("[0-9a-f]{20}", found):  # an empty id would stand on everything, and own what others made
            raise Unavailable(f"{path} does not hold an installation's id", hint="restore it from a backup", path=str(path))
        return found

    @cached_property
    def actor(self) -> str:
        """Who acts: the local user."""
        import pwd

        try:
            return f"local:{pwd.getpwuid(os.geteuid()).pw_name}"
        except KeyError:
            return f"local:{os.geteuid()}"

    @cached_property
    def grant(self) -> "Grant":
        """What the caller may do: the local user everything."""
        from rdev_cli.domain.access import local

        return local(self.actor)

    @shared
    def clock(self) -> "Clock":
        """The clock."""
        return SystemClock()

    def new_id(self, prefix: str) -> str:
        return new_id(prefix, self.clock.now(), int.from_bytes(os.urandom(8), "big"))

    @shared
    def store(self) -> "SqliteStore":
        """What this context remembers."""
        from rdev_cli.adapters.sqlite.database import Database
        from rdev_cli.adapters.sqlite.store import SqliteStore

        return SqliteStore(Database(self.folder / "state.db"), self.clock, self.grant)

    @shared
    def cluster(self) -> "Cluster":
        """Where pods run."""
        settings = self.settings
        if settings.runtime == "kubernetes":
            return self._pods()
        from rdev_cli.adapters.local.cluster import LocalCluster

        return LocalCluster(
            self.folder, installation=self.installation, isolation=settings.isolation, shown=settings.shown, caller=self._environ
        )

    @shared
    def pool(self) -> "Pool":
        """Pods that are made before anybody needs them."""
        if self.settings.runtime == "kubernetes":
            from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
            from rdev_cli.adapters.kubernetes.pool import KubernetesPool

            assert isinstance(self.cluster, KubernetesCluster)
            return KubernetesPool(self.cluster, self.folder)
        from rdev_cli.adapters.local.pool import LocalPool

        return LocalPool(self.cluster, self.folder, self.installation)

    def _pods(self) -> "Cluster":
        from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
        from rdev_cli.adapters.kubernetes.manifests import Shape

        settings = self.settings
        if self._flags.get("isolation"):
            hint = f"leave --isolation out, or work on this machine: --context local --isolation {self._flags['isolation']}"
            raise Invalid(f"{settings.context} is on a cluster, where a pod is the isolation", hint=hint, field="isolation")
        words = ("image", "pull_policy", "egress", "storage_class", "cpu", "memory", "root")
        return KubernetesCluster(
            self.api,
            folder=self.folder,
            context=settings.context,
            namespace=settings.of_cluster("namespace") or self.api.access.namespace,
            shape=Shape(**{"image": "", **{word: value for word in words if (value := settings.of_cluster(word))}}),
            installation=self.installation,
            stop=lambda: self.stop,
            weaker=settings.of_cluster("allow_weaker"),
            exposes=bool(settings.preview_domain),
            patience=self._patience or ORCHESTRATION,
            tell=self._tell,
        )

    @shared
    def api(self) -> "Api":
        """The cluster of a context on Kubernetes."""
        from rdev_cli.adapters.kubernetes.api import Api
        from rdev_cli.adapters.kubernetes.kubeconfig import load

        of = self.settings.of_cluster
        return Api(load(self._environ, file=of("kubeconfig"), context=of("kube_context"), plugins=of("exec_plugins")), stop=self.stop)

    @shared
    def spool(self) -> "Spool":
        """Where the output of commands is kept."""
        from rdev_cli.adapters.local.spool import FolderSpool

        return FolderSpool(self.folder / "spool", self.clock)

    @shared
    def forge(self) -> "Forge":
        """Where repositories are kept."""
        settings = self.settings
        if settings.forge == "gitea":
            from rdev_cli.adapters.gitea.forge import GiteaForge

            return GiteaForge(
                self.folder,
                self.installation,
                url=settings.of_forge("gitea_url"),
                owner=settings.of_forge("gitea_owner"),
                token=self._gitea_token,
                stop=lambda: self.stop,
            )
        from rdev_cli.adapters.local.forge import LocalForge

        return LocalForge(self.folder, self.installation)

    def _gitea_token(self) -> Secret:
        """Return the token for the forge; read again once another one was set."""
        from rdev_cli.domain.errors import Denied
        from rdev_cli.ops.credentials import reveal

        found = self._credentials().get(GITEA_TOKEN)
        if found is None:
            raise Denied(
                f"rdev has no token for {self.settings.of_forge('gitea_url')}",
                hint=f"rdev credential set {GITEA_TOKEN} --context {self.settings.context}",
                code="FORGE_TOKEN",
            )
        if self._token is None or self._token[0] != found.updated_at:
            self._token = found.updated_at, reveal(self.root, found)
        return self._token[1]

    @shared
    def agents(self) -> "Agents":
        """The agents there are."""
        from rdev_cli.adapters.agents.registry import KnownAgents

        return KnownAgents(self.settings.agents, here=self.settings.runtime == "local")

    @shared
    def vaults(self) -> "Places":
        """Where the values of credentials are kept."""
        from rdev_cli.adapters.vault.places import Places

        settings = self.settings
        return Places(
            self.folder, kind=settings.vault, installation=self.installation, context=settings.context, passphrase=self._passphrase, stop=self.stop
        )  # fmt: skip

    def in_keyring(self, context: str) -> "tuple[Vaults, Sequence[str]]":
        from rdev_cli.adapters.sqlite.entries import in_keyring
        from rdev_cli.adapters.vault.places import Places

        folder = self.settings.folders.state / context
        names, installation = in_keyring(folder / "state.db"), self.premises.installation()
        if names and not installation:
            raise Unavailable(
                f"the entries rdev/.../{context} in the keyring cannot be told from those of another installation, as this one's id is gone",
                hint=f"restore {folder.parent / 'installation'} from a backup",
                code="STATE_DAMAGED",
            )
        places = Places(folder, kind="keyring", installation=installation, context=context, passphrase=self._passphrase, stop=self.stop)
        return places, names

    def at_forge(self, context: str) -> "Sequence[str]":
        from rdev_cli.adapters.sqlite.entries import at_forge

        return at_forge(self.settings.folders.state / context / "state.db")

    def _passphrase(self, new: bool) -> Secret:  # noqa: FBT001 -- is it a new one?
        file = self._flags.get("passphrase_file") or self._environ.get("RDEV_PASSPHRASE_FILE")
        if file:
            from rdev_cli.adapters.vault.sealed import passphrase_in

            return passphrase_in(Path(file))
        context = self.settings.context
        given = self._ask(f"{'A new passphrase' if new else 'The passphrase'} for the credentials of {context}: ")
        if given is None:
            raise Invalid(
                f"the credentials of {context} are sealed by a passphrase, and nobody can be asked here",
                hint="name a file that holds it: --passphrase-file FILE, or RDEV_PASSPHRASE_FILE=FILE",
                code="NO_PASSPHRASE",
            )
        if new and self._ask("The same again: ") != given:
            raise Invalid("the two are not the same", hint="try again; nothing was kept", field="passphrase")
        return given

    @shared
    def shelf(self) -> "Shelf":
        """What ships with rdev."""
        from rdev_cli.adapters.shelf import PackagedShelf

        return PackagedShelf()

    @shared
    def premises(self) -> "Premises":
        """What rdev keeps on this machine, of every context."""
        from rdev_cli.adapters.local.premises import LocalPremises

        places = self.settings.folders
        return LocalPremises(config=places.config, state=places.state, cache=places.cache)

    @shared
    def files(self) -> "Files":
        """The files of this machine."""
        from rdev_cli.adapters.local.copies import LocalFiles

        return LocalFiles(self.stop)

    @shared
    def copies(self) -> "Copies":
        """Clones on this machine."""
        from rdev_cli.adapters.copies import GitCopies

        return GitCopies(self._environ, self.stop)

    @shared
    def hooks(self) -> "Hooks":
        """The way to endpoints that are told what happens."""
        from rdev_cli.adapters.webhooks.way import HookWay

        return HookWay(self._environ, vaults=self.vaults)

    @shared
    def signing(self) -> "Signing":
        """What signs receipts."""
        from rdev_cli.adapters.signing import Ed25519Signing

        return Ed25519Signing()

    def foreign_yaml(self, text: bytes, where: str) -> Any:
        from rdev_cli.adapters.shared import safe_yaml

        return safe_yaml.load(text, where, texts=True)

    def agent_environment(self, agent: str) -> tuple[tuple[str, Secret], ...]:
        """Return what an agent is given: each variable from the caller, else the vault, else the context's settings."""
        found = {str(k): Secret(str(v)) for k, v in self.root.settings.agent(agent).get("env", {}).items()}
        kept = self._credentials()
        values = {name: self._own(name, kept) for name in self.agents.named(agent).variables}
        found.update({name: value for name, value in values.items() if value is not None})
        return tuple(found.items())

    def agent_variable(self, agent: str, name: str) -> Secret | None:
        found = self._own(name, self._credentials())
        text = self.root.settings.agent(agent).get("env", {}).get(name) if found is None else None
        return found if text is None else Secret(str(text))

    def _credentials(self) -> "Mapping[str, Credential]":
        return {credential.name: credential for credential in self.root.store.credentials()}

    def _own(self, name: str, credentials: "Mapping[str, Credential]") -> Secret | None:
        """Return a variable's value from the caller, else from the vault."""
        if self._given.get(name):
            return Secret(self._given[name])
        if name not in credentials:
            return None
        from rdev_cli.ops.credentials import reveal

        return reveal(self.root, credentials[name])

    def agent_given(self, agent: str) -> Sequence[str]:
        known = {*self._credentials(), *self.root.settings.agent(agent).get("env", {})}
        return [name for name in self.agents.named(agent).variables if self._given.get(name) or name in known]

    def demo_model(self) -> "ScriptedModel":
        """Return the scripted model that the demo's agent talks to, not started yet."""
        from rdev_cli.adapters.scripted import ScriptedModel
        from rdev_cli.wiring.demo import script

        return ScriptedModel(script(shell=self.cluster.isolated))

    def acting(self, grant: "Grant") -> "Services":
        """Return the same world for another caller: what it does carries that actor, and it sees what the grant sees.

        Agents are given what the vault and the settings hold, nothing of this process's environment, and the caller sees none of it.
        """
        twin = copy.copy(self.root)
        twin.__dict__.update(grant=grant, actor=grant.actor, store=self.root.store.acting(grant), _given={})
        if grant.projects is not None:
            twin.__dict__.update(settings=BoundSettings(self.root.settings), vaults=Closed(), premises=Closed())
        return twin

    def unstopped(self) -> "Services":
        twin = copy.copy(self)
        twin.stop = Stop()
        return twin

    def minting(self, seed: str) -> "Services":
        from collections import Counter

        from rdev_cli.domain.repeat import minted

        twin, made = copy.copy(self), Counter[str]()

        def new_id(prefix: str) -> str:
            if prefix == "own":  # whoever holds a lease is one process, never a repeat of another
                return self.new_id(prefix)
            made[prefix] += 1
            return minted(seed, prefix, made[prefix])

        twin.__dict__["new_id"] = new_id
        return twin

    def close(self) -> None:
        """Close what is open."""
        for name in ("store", "api", "forge"):
            if name in self.__dict__ and hasattr(self.__dict__[name], "close"):
                self.__dict__[name].close()


def _is_a_world(services: Services) -> "World":
    return services  # mypy proves that the record satisfies the ports

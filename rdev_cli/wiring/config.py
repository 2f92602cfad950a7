"""Where settings come from: flag, environment, .rdev.yaml of the folder, context, default, in this order."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.shared.files import private_folder, write_whole
from rdev_cli.domain.errors import Denied, Invalid, NotFound
from rdev_cli.domain.values import name as name_rule
from rdev_cli.domain.values import shown
from rdev_cli.wiring.files import folders, read_yaml, refuse_unsafe
from rdev_cli.wiring.rules import BOOLEANS, CLUSTER, GITEA, fits, forge, runtime, valid

if TYPE_CHECKING:
    from rdev_cli.domain.report import Check, Context, Setting

_PLACES = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
FOLDER_FILE = ".rdev.yaml"
_FOLDER_KEYS = ("project", "context", "checks")


class Config:
    """The Settings port on config.yaml, the environment and the folder."""

    def __init__(self, environ: Mapping[str, str], flags: Mapping[str, str], cwd: Path) -> None:
        self._environ, self._flags, self._cwd = environ, dict(flags), cwd
        self.folders = folders(environ)
        self.file = self.folders.config / "config.yaml"
        self.warnings: list[str] = []
        for key in environ:
            if (key.startswith("RDEV_") or key in _PLACES) and any(ord(c) < 32 or ord(c) == 127 for c in environ[key]):
                raise Invalid(
                    f"the variable {shown(key)} holds a control character", hint="give it one line, or unset it", field=shown(key)
                )
        for isolation in (self._flags.get("isolation"), environ.get("RDEV_ISOLATION")):
            if isolation:  # now, not in the middle of a create
                valid("isolation", isolation)
        self._data = self._read()
        self._folder = self._read_folder()

    def _read(self) -> dict[str, Any]:
        try:
            refuse_unsafe(self.file)
            data = read_yaml(self.file, self.folders.cache)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as e:
            raise Denied(f"cannot read {self.file}: {e.strerror}", hint="make it yours: chmod 600", code="CONFIG_UNSAFE") from e
        if data is None:
            return {}
        contexts = data.get("contexts", {}) if isinstance(data, dict) else None
        if (
            not isinstance(data, dict)
            or not isinstance(contexts, dict)
            or not all(isinstance(c, dict) for c in contexts.values())
            or not isinstance(data.get("current", ""), str)
        ):
            raise Invalid(
                f"{self.file} is not rdev's configuration", hint="it has `current: NAME` and `contexts: {NAME: {...}}`", file=str(self.file)
            )
        for key in data:
            if key not in ("current", "contexts"):
                raise Invalid(f"there is no setting '{shown(str(key))}' in {self.file}", hint="current, contexts", file=str(self.file))
        for name, values in contexts.items():
            name_rule(str(name), "context name")
            for key, value in values.items():
                valid(str(key), value)
            fits(str(name), values)
        return data

    def _read_folder(self) -> dict[str, Any]:
        """Read the nearest .rdev.yaml; it is foreign text, so it can only name things that exist."""
        for folder in (self._cwd, *self._cwd.parents):
            path = folder / FOLDER_FILE
            try:
                data = read_yaml(path, self.folders.cache)
            except OSError:
                continue
            if data is None:
                return {}
            if not isinstance(data, dict):
                raise Invalid(f"{path} is not a list of settings", hint="project: NAME, context: NAME, checks: [...]", file=str(path))
            for key in [k for k in data if k not in _FOLDER_KEYS]:
                self.warnings.append(f"{path}: '{shown(str(key))}' is ignored; a folder may only name {', '.join(_FOLDER_KEYS)}")
            kept = {key: data[key] for key in ("project", "context") if key in data}
            for key, value in kept.items():
                if not isinstance(value, str):  # YAML takes no, on and 012 for something else
                    raise Invalid(f"{key} in {path} is no name", hint=f'write it in quotes: {key}: "{shown(str(value))}"', file=str(path))
                name_rule(value, f"{key} in {path}")
            return kept
        return {}

    # what is in force

    def _layers(self, key: str) -> list[tuple[Any, str]]:
        context = self._data.get("contexts", {}).get(self.context, {})
        variable = f"RDEV_{key.upper()}"
        given = [(self._flags.get(key), "flag"), (self._environ.get(variable) or None, f"environment ({variable})")]
        # what is not one word has no flag and no variable of its own
        return [*(given if key == "isolation" else []), (context.get(key), f"context ({self.file})")]

    def _get(self, key: str, default: Any) -> tuple[Any, str]:
        for value, origin in self._layers(key):
            if value is not None:
                valid(key, value)
                return value, origin
        return default, "default"

    @property
    def context(self) -> str:
        """The name of the current context."""
        return self._context()[0]

    def _context(self) -> tuple[str, str]:
        for value, origin in (
            (self._flags.get("context"), "flag"),
            (self._environ.get("RDEV_CONTEXT") or None, "environment (RDEV_CONTEXT)"),
            (self._folder.get("context"), FOLDER_FILE),
            (self._data.get("current"), str(self.file)),
        ):
            if value:
                if value != "local" and value not in self._data.get("contexts", {}):
                    raise NotFound(
                        f"there is no context {shown(str(value))} ({origin})",
                        hint="rdev context list shows the ones there are",
                        code="NO_CONTEXT",
                    )
                return str(value), origin
        return "local", "default"

    @property
    def project(self) -> str:
        """The project that the folder names, empty if none."""
        return str(self._environ.get("RDEV_PROJECT") or self._folder.get("project", ""))

    @property
    def runtime(self) -> str:
        """Where pods run: local or kubernetes."""
        return runtime(self._data.get("contexts", {}).get(self.context, {}))

    @property
    def forge(self) -> str:
        """Where repositories are: local or gitea."""
        return forge(self._data.get("contexts", {}).get(self.context, {}))

    def of_forge(self, key: str) -> str:
        """Return a setting that only a context on a Gitea has, empty where it is not set."""
        return str(self._get(key, "")[0])

    def public_url(self) -> str:
        return self.of_forge("public_url")

    def of_cluster(self, key: str) -> Any:
        """Return a setting that only a context on Kubernetes has; empty or False where it is not set."""
        return self._get(key, False if key in BOOLEANS else [] if key == "exec_plugins" else "")[0]

    @property
    def isolation(self) -> str:
        """How `local` isolates: bubblewrap or none."""
        return str(self._get("isolation", "bubblewrap")[0])

    @property
    def shown(self) -> Sequence[str]:
        """Host folders that sandboxes see read-only."""
        return [str(path) for path in self._get("show", [])[0]]

    @property
    def vault(self) -> str:
        """Where credentials are kept: auto, keyring, file or passphrase."""
        return str(self._get("vault", "auto")[0])

    @property
    def preview_domain(self) -> str:
        """The domain that previews are under, empty if they are on the server's own machine alone."""
        return str(self._get("preview_domain", "")[0])

    @property
    def agents(self) -> Mapping[str, Mapping[str, Any]]:
        """What the context says of agents, by name."""
        found: Mapping[str, Mapping[str, Any]] = self._get("agents", {})[0]
        return found

    def agent(self, name: str) -> Mapping[str, Any]:
        return self.agents.get(name, {})

    def default_agent(self) -> str:
        return str(self._get("agent", "claude")[0])

    def pool_size(self) -> int | None:
        found: int | None = self._get("pool", None)[0]
        return found

    # the port

    def contexts(self) -> Sequence[Context]:
        from rdev_cli.domain.report import Context

        known: dict[str, dict[str, Any]] = {"local": {}, **self._data.get("contexts", {})}
        current = self.context
        return [
            Context(
                name=name, current=name == current, runtime=runtime(values),
                isolation="pod" if runtime(values) == "kubernetes" else str(values.get("isolation", "bubblewrap")),
                show=tuple(values.get("show", ())), pool=values.get("pool"), agents=values.get("agents", {}), forge=forge(values),
                gitea={k: values[k] for k in GITEA if k in values}, cluster={k: values[k] for k in CLUSTER if k in values},
            )
            for name, values in sorted(known.items())
        ]  # fmt: skip

    def view(self) -> Sequence[Setting]:
        from rdev_cli.domain.report import Setting

        context, origin = self._context()
        settings = [Setting(name="context", value=context, origin=origin)]
        if self.project:
            settings.append(
                Setting(
                    name="project",
                    value=self.project,
                    origin="environment (RDEV_PROJECT)" if self._environ.get("RDEV_PROJECT") else FOLDER_FILE,
                )
            )
        own: tuple[tuple[str, Any], ...] = (("isolation", "bubblewrap"), ("show", []))
        if self.runtime == "kubernetes":
            from rdev_cli.adapters.kubernetes.manifests import Shape

            shape = Shape(image="")
            usual = {"pull_policy": shape.pull_policy, "egress": shape.egress, "cpu": shape.cpu, "memory": shape.memory}
            own = tuple((key, usual.get(key, self.of_cluster(key) if key in BOOLEANS else "")) for key in CLUSTER)
        gitea = [(key, "") for key in GITEA] if self.forge == "gitea" else []
        for key, default in (
            ("runtime", self.runtime),
            *own,
            ("forge", self.forge),
            *gitea,
            ("agent", "claude"),
            ("agents", {}),
            ("vault", "auto"),
            ("pool", ""),
            ("preview_domain", ""),
        ):
            value, where = self._get(key, default)
            settings.append(Setting(name=key, value=value if isinstance(value, str) else json.dumps(value), origin=where))
        for key, path in (("config", self.file), ("state", self.folders.state / context), ("cache", self.folders.cache)):
            settings.append(Setting(name=f"folder.{key}", value=str(path), origin="XDG"))
        return settings

    def use(self, name: str) -> None:
        name_rule(name, "context name")
        if name != "local" and name not in self._data.get("contexts", {}):
            raise NotFound(f"there is no context {name}", hint=f"rdev context set {name} makes it", context=name)
        self._write({**self._data, "current": name})

    def set(self, name: str, values: Mapping[str, str]) -> None:
        from rdev_cli.wiring.editing import changed

        name_rule(name, "context name")
        contexts = changed(self._data.get("contexts", {}), name, values, self._environ, self.folders)
        self._write({**self._data, "contexts": contexts})

    def remove(self, name: str) -> None:
        name_rule(name, "context name")
        if name == "local":
            raise Invalid(
                "the context local is this machine, and stays", hint="rdev uninstall removes all that rdev keeps here", field="NAME"
            )
        contexts = dict(self._data.get("contexts", {}))
        if contexts.pop(name, None) is None:
            raise NotFound(
                f"there is no context {name}", hint="rdev context list shows the ones there are", code="NO_CONTEXT", context=name
            )
        kept = {key: value for key, value in self._data.items() if key != "current" or value != name}
        self._write({**kept, "contexts": contexts})

    def _write(self, data: dict[str, Any]) -> None:
        from rdev_cli.adapters.shared import safe_yaml

        private_folder(self.file.parent)
        # through a link, so that a dotfiles folder keeps its file
        write_whole(Path(os.path.realpath(self.file)), safe_yaml.dump(data))
        self._data = data

    def checks(self) -> Sequence[Check]:
        from rdev_cli.domain.report import Check, Verdict

        found = []
        for what, path, mode in (("config", self.file, 0o022), ("state", self.folders.state, 0o077)):
            if not path.exists():
                found.append(Check(name=f"files.{what}", verdict=Verdict.OK, found=f"{path} is not there yet"))
            elif os.stat(path).st_mode & mode:
                found.append(
                    Check(name=f"files.{what}", verdict=Verdict.FAILED, found=f"{path} is open to others", hint=f"chmod go-rwx {path}")
                )
            else:
                found.append(Check(name=f"files.{what}", verdict=Verdict.OK, found=str(path)))
        return found

"""Where settings come from: flag, environment, .rdev.yaml of the folder, context, default, in this order."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdev_cli.adapters.shared.files import private_folder, write_whole
from rdev_cli.domain.errors import Denied, Invalid, NotFound, RdevError
from rdev_cli.domain.values import name as name_rule
from rdev_cli.domain.values import shown, tool, word

if TYPE_CHECKING:
    from rdev_cli.domain.report import Check, Context, Setting

ISOLATION = ("bubblewrap", "none")
_AGENT_KEYS = ("path", "args", "output", "variables", "env", "model", "tools")
BUILT_IN = ("claude", "opencode", "bundled")
VAULTS = ("auto", "keyring", "file", "passphrase")
_PLACES = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
_ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = re.compile(
    "(LD|DYLD|GIT|RDEV)_.*|PYTHON.*|BASH_ENV|ENV|IFS|PATH|HOME|SHELL|SHELLOPTS|BASHOPTS|PS4|NODE_OPTIONS|PERL5.*|RUBYOPT"
)
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
FOLDER_FILE = ".rdev.yaml"
_TICK = 50_000_000  # ns: a coarse clock's step, and some
_FOLDER_KEYS = ("project", "context", "checks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """rdev's places on this machine."""

    config: Path
    state: Path
    cache: Path


def folders(environ: Mapping[str, str]) -> Folders:
    """Return rdev's places by the XDG rules; a relative path in a variable is ignored, as they say."""
    home = environ.get("HOME") or os.path.expanduser("~")

    def place(variable: str, default: str) -> Path:
        value = environ.get(variable, "")
        return Path(value if value.startswith("/") else os.path.join(home, default)) / "rdev"

    return Folders(
        config=place("XDG_CONFIG_HOME", ".config"), state=place("XDG_STATE_HOME", ".local/state"), cache=place("XDG_CACHE_HOME", ".cache")
    )


def refuse_unsafe(path: Path) -> None:
    """Raise Denied for a file that another user could have written: its owner, its mode, its folder's mode.

    A link is followed, and the file behind it and the folders of both are judged.
    """
    found = os.stat(path)
    if found.st_uid not in (os.geteuid(), 0):
        raise Denied(f"{path} belongs to another user", hint=f"chown it, or remove it: rm {path}", code="CONFIG_UNSAFE", file=str(path))
    if found.st_mode & 0o022:
        raise Denied(f"{path} can be written by others", hint=f"chmod 600 {path}", code="CONFIG_UNSAFE", file=str(path))
    for folder in {path.parent, Path(os.path.realpath(path)).parent}:
        mode = os.stat(folder).st_mode
        if mode & 0o002 and not mode & stat.S_ISVTX:
            raise Denied(f"{folder} can be written by everybody", hint=f"chmod 700 {folder}", code="CONFIG_UNSAFE", file=str(path))


def read_yaml(path: Path, cache: Path) -> Any:
    """Return the data of a YAML file, from its JSON twin while that is of the same file; importing YAML costs more than all the rest."""
    # a folder that somebody sent may hold a pipe of that name, on which a plain open would wait for ever
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise Invalid(f"{path} is no file", hint="move it away", file=str(path))
    with os.fdopen(fd, "rb") as file:
        key = [str(path), found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns]
        twin = cache / f"{re.sub('[^A-Za-z0-9]', '-', str(path))[-100:]}.json"
        try:
            kept = json.loads(twin.read_bytes())
            if kept["of"] == key and os.stat(twin).st_uid == os.geteuid():
                return kept["data"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        from rdev_cli.adapters.shared import safe_yaml

        data = safe_yaml.load(file.read(safe_yaml.BYTES + 1), str(path))
    if time.time_ns() - found.st_ctime_ns < _TICK:
        return data  # it may change again within the same tick of the file system's clock, and no twin would tell
    try:
        encoded = json.dumps({"of": key, "data": data}).encode()
        private_folder(cache)
        write_whole(twin, encoded)
    except (RdevError, OSError, TypeError, ValueError):
        pass  # no twin, then: the next command reads YAML again
    return data


def _variable(name: str) -> None:
    """Raise Invalid for a variable that settings may not hold: no name, one that decides what other programs run, or a secret."""
    if not _ENV_KEY.fullmatch(name):
        raise Invalid(f"'{shown(name)}' is no name of a variable", hint="letters, digits and _", field="agent-env")
    if _RESERVED.fullmatch(name):
        raise Invalid(
            f"{name} decides which programs run, so it is not set for an agent", hint="choose another variable", field="agent-env"
        )
    if SECRET.search(name):
        raise Invalid(
            f"{name} looks like a secret, and settings are plain text",
            hint=f"keep it as a credential: rdev credential set {name}",
            field="agent-env",
        )


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
                self._valid("isolation", isolation)
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
                self._valid(str(key), value)
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
                self._valid(key, value)
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
    def agents(self) -> Mapping[str, Mapping[str, Any]]:
        """What the context says of agents, by name."""
        found: Mapping[str, Mapping[str, Any]] = self._get("agents", {})[0]
        return found

    def agent(self, name: str) -> Mapping[str, Any]:
        return self.agents.get(name, {})

    def default_agent(self) -> str:
        return str(self._get("agent", "claude")[0])

    def _valid(self, key: str, value: Any) -> None:
        if key == "isolation" and value not in ISOLATION:
            raise Invalid(f"isolation '{shown(str(value))}' is not known", hint="bubblewrap or none", field="isolation")
        if key == "show" and not (isinstance(value, list) and all(isinstance(p, str) and p.startswith("/") for p in value)):
            raise Invalid("show is not a list of absolute paths", hint="show: [/opt/go]", field="show")
        if key == "agents":
            self._valid_agents(value)
        if key == "runtime" and value != "local":
            raise Invalid(f"there is no runtime '{shown(str(value))}'", hint="local", field="runtime")
        if key == "agent":
            name_rule(value if isinstance(value, str) else "", "agent")
        if key == "vault" and value not in VAULTS:
            raise Invalid(f"vault '{shown(str(value))}' is not known", hint="auto, keyring, file or passphrase", field="vault")
        if key not in ("isolation", "show", "agent", "agents", "runtime", "vault"):
            raise Invalid(f"there is no setting '{shown(key)}'", hint="isolation, show, agent, agents, vault", field=key)

    def _valid_agents(self, value: Any) -> None:
        if not (isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())):
            raise Invalid("agents is not a list of agents", hint="agents: {claude: {path: /usr/bin/claude}}", field="agents")
        for agent, entry in value.items():
            name_rule(str(agent), "agent")
            if not set(entry) <= set(_AGENT_KEYS):
                raise Invalid(f"agents.{agent} has only {', '.join(_AGENT_KEYS)}", hint="path: /usr/bin/claude", field="agents")
            if agent not in BUILT_IN and not entry.get("path"):
                raise Invalid(f"agents.{agent} has no path", hint=f"rdev context set NAME --agent-path {agent}=/path/to/it", field="agents")
            for key in ("path", "model"):
                if not isinstance(entry.get(key, ""), str) or not entry.get(key, "").isprintable():
                    raise Invalid(f"{key} of agents.{agent} is no line of text", hint="write it in quotes", field="agents")
            if entry.get("model"):
                word(entry["model"], "model")
            for one in entry.get("tools", []):
                tool(one if isinstance(one, str) else "")
            for key in ("args", "variables", "tools"):
                listed = entry.get(key, [])
                if not isinstance(listed, list) or not all(isinstance(one, str) and "\0" not in one for one in listed):
                    raise Invalid(f"{key} of agents.{agent} is no list of words", hint=f"{key}: [one, two]", field="agents")
            if entry.get("output", "lines") not in ("lines", "jsonl"):
                raise Invalid(f"output of agents.{agent} is not known", hint="lines or jsonl", field="agents")
            if agent in BUILT_IN and {"args", "output", "variables"} & set(entry):
                raise Invalid(
                    f"rdev knows how {agent} is called and prints", hint="args, output and variables are for others", field="agents"
                )
            for variable in entry.get("variables", []):
                if not _ENV_KEY.fullmatch(variable) or _RESERVED.fullmatch(variable):
                    raise Invalid(f"'{shown(variable)}' is no variable that an agent can be given", hint="OPENAI_API_KEY", field="agents")
            env = entry.get("env", {})
            if not isinstance(env, dict):
                raise Invalid(f"env of agents.{agent} is no list of variables", hint='env: {NAME: "value"}', field="agents")
            for variable, text in env.items():
                _variable(str(variable))
                if not isinstance(text, str) or any(ord(c) < 32 for c in text):
                    raise Invalid(f"the value of {variable} is no line of text", hint="write it in quotes", field="agent-env")

    # the port

    def contexts(self) -> Sequence[Context]:
        from rdev_cli.domain.report import Context

        known: dict[str, dict[str, Any]] = {"local": {}, **self._data.get("contexts", {})}
        current = self.context
        return [
            Context(
                name=name, current=name == current, runtime="local", isolation=str(values.get("isolation", "bubblewrap")),
                show=tuple(values.get("show", ())), agents=values.get("agents", {}),
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
        for key, default in (("isolation", "bubblewrap"), ("show", []), ("agent", "claude"), ("agents", {}), ("vault", "auto")):
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
        name_rule(name, "context name")
        contexts = {str(key): dict(value) for key, value in self._data.get("contexts", {}).items()}
        context = contexts.setdefault(name, {})
        for key, value in values.items():
            noun, _, rest = key.partition(".")
            if noun == "show":
                context["show"] = [self._showable(path) for path in value.split("\n") if path]
            elif noun == "agents":
                self._set_agent(context, rest, value)
            else:
                context[noun] = value
        for key, value in context.items():
            self._valid(key, value)
        known = {*BUILT_IN, *context.get("agents", {})}
        if context.get("agent", "claude") not in known:
            raise Invalid(
                f"there is no agent '{context['agent']}' in {name}",
                hint=f"one of {', '.join(sorted(known))}, or say where it is: --agent-path {context['agent']}=PATH",
                field="agent",
            )
        self._write({**self._data, "contexts": contexts})

    def _showable(self, given: str) -> str:
        """Return the absolute path of a folder that sandboxes may see; Invalid if it would bare what they are there to hide."""
        path = os.path.abspath(os.path.expanduser(given))
        if not os.path.isdir(path):
            raise Invalid(f"{shown(given)} is no folder here", hint="give --show a folder that is there: --show /opt/go", field="show")
        real = Path(os.path.realpath(path))
        homes = {Path(os.path.realpath(home)) for home in (os.path.expanduser("~"), self._environ.get("HOME") or "/")}
        own = {Path(os.path.realpath(folder)) for folder in (self.folders.state, self.folders.config, self.folders.cache)}
        if any(hidden.is_relative_to(real) for hidden in homes | own) or any(real.is_relative_to(folder) for folder in own):
            raise Invalid(
                f"{shown(given)} holds your home or rdev's own files, which no sandbox may see",
                hint="give --show a folder further down: --show /opt/go",
                field="show",
            )
        return path

    def _set_agent(self, context: dict[str, Any], what: str, value: str) -> None:
        """Set one thing of an agent: `NAME.path`, `NAME.output`, `NAME.model`, `NAME.tools`, `NAME.args`, `NAME.variables`, `NAME.env.VAR`."""
        agent, _, key = what.partition(".")
        name_rule(agent, "agent")
        entry = dict(context.get("agents", {}).get(agent, {}))
        if key == "path":
            path = os.path.abspath(os.path.expanduser(value))
            if not os.access(path, os.X_OK) or os.path.isdir(path):
                raise Invalid(
                    f"{shown(value)} is not a program",
                    hint=f"give the path of {agent}: --agent-path {agent}=/path/to/{agent}",
                    field="agent",
                )
            entry["path"] = path
        elif key.startswith("env."):
            variable = key.removeprefix("env.")
            _variable(variable)
            entry["env"] = {**entry.get("env", {}), variable: value}
        else:
            entry[key] = [word for word in value.split(",") if word] if key in ("tools", "args", "variables") else value
        context["agents"] = {**context.get("agents", {}), agent: entry}

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

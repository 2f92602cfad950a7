"""What a setting may be: the values it can have, and the variables that no settings file may hold."""

from __future__ import annotations

import re
from typing import Any

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import name as name_rule
from rdev_cli.domain.values import shown, tool, word

ISOLATION = ("bubblewrap", "none")
_AGENT_KEYS = ("path", "args", "output", "variables", "env", "model", "tools")
BUILT_IN = ("claude", "opencode", "bundled")
VAULTS = ("auto", "keyring", "file", "passphrase")
_ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = re.compile(
    "(LD|DYLD|GIT|RDEV)_.*|PYTHON.*|BASH_ENV|ENV|IFS|PATH|HOME|SHELL|SHELLOPTS|BASHOPTS|PS4|NODE_OPTIONS|PERL5.*|RUBYOPT"
)
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


def settable(name: str) -> None:
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


def valid(key: str, value: Any) -> None:
    """Raise Invalid for a setting that there is not, or a value that it cannot have."""
    if key == "isolation" and value not in ISOLATION:
        raise Invalid(f"isolation '{shown(str(value))}' is not known", hint="bubblewrap or none", field="isolation")
    if key == "show" and not (isinstance(value, list) and all(isinstance(p, str) and p.startswith("/") for p in value)):
        raise Invalid("show is not a list of absolute paths", hint="show: [/opt/go]", field="show")
    if key == "agents":
        _valid_agents(value)
    if key == "runtime" and value != "local":
        raise Invalid(f"there is no runtime '{shown(str(value))}'", hint="local", field="runtime")
    if key == "agent":
        name_rule(value if isinstance(value, str) else "", "agent")
    if key == "vault" and value not in VAULTS:
        raise Invalid(f"vault '{shown(str(value))}' is not known", hint="auto, keyring, file or passphrase", field="vault")
    if key not in ("isolation", "show", "agent", "agents", "runtime", "vault"):
        raise Invalid(f"there is no setting '{shown(key)}'", hint="isolation, show, agent, agents, vault", field=key)


def _valid_agents(value: Any) -> None:
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
            raise Invalid(f"rdev knows how {agent} is called and prints", hint="args, output and variables are for others", field="agents")
        for variable in entry.get("variables", []):
            if not _ENV_KEY.fullmatch(variable) or _RESERVED.fullmatch(variable):
                raise Invalid(f"'{shown(variable)}' is no variable that an agent can be given", hint="OPENAI_API_KEY", field="agents")
        env = entry.get("env", {})
        if not isinstance(env, dict):
            raise Invalid(f"env of agents.{agent} is no list of variables", hint='env: {NAME: "value"}', field="agents")
        for variable, text in env.items():
            settable(str(variable))
            if not isinstance(text, str) or any(ord(c) < 32 for c in text):
                raise Invalid(f"the value of {variable} is no line of text", hint="write it in quotes", field="agent-env")

"""What a setting may be: the values it can have, and the variables that no settings file may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import RULING, shown, tool, word
from rdev_cli.domain.values import name as name_rule
from rdev_cli.domain.worker import MOST as POOL

ISOLATION = ("bubblewrap", "none")
_AGENT_KEYS = ("path", "args", "output", "variables", "env", "model", "tools")
BUILT_IN = ("claude", "opencode", "bundled")
RUNTIMES = ("local", "kubernetes")
# what only a context on Kubernetes has; any of these makes it one
BOOLEANS = ("root", "allow_weaker")
_WORDS: dict[str, tuple[str, str]] = {
    "kubeconfig": (r"/[^\0-\x1f\x7f]*", "a path: --kubeconfig ~/.kube/config"),
    "kube_context": (r"[^\0-\x20\x7f]{1,253}", "one of: kubectl config get-contexts -o name"),
    "namespace": (r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a-z, 0-9 and '-', at most 63 of them"),
    "image": (r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}", "registry.example.org/claudebox:1"),
    "pull_policy": ("IfNotPresent|Always|Never", "IfNotPresent, Always or Never"),
    "egress": ("internet|providers|none", "internet, providers or none"),
    "storage_class": (r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?", "one of: kubectl get storageclass -o name"),
    "cpu": (r"[1-9][0-9]{0,2}|[5-9][0-9]m|[1-9][0-9]{2,4}m", "cores, 50m at least: 2, 500m"),
    "memory": (r"[1-9][0-9]{0,3}Gi|(12[89]|1[3-9][0-9]|[2-9][0-9]{2}|[1-9][0-9]{3,6})Mi", "128Mi at least: 4Gi, 512Mi"),
}
CLUSTER = (*_WORDS, *BOOLEANS, "exec_plugins")
FORGES = ("local", "gitea")
# what only a context on a Gitea has; the address makes it one
GITEA = {
    "gitea_url": (r"https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*", "https://gitea.example.org"),
    "gitea_owner": (r"[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?", "a user or an organization there"),
    "public_url": (r"https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*", "https://rdev.example.org"),
}
VAULTS = ("auto", "keyring", "file", "passphrase")
_ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = re.compile(f"{RULING}|(GIT|RDEV)_.*|HOME|SHELL|RUBYOPT")
_KEYS = ("runtime", "isolation", "show", "agent", "agents", "vault", "pool", "preview_domain", "forge", *GITEA)
_DOMAIN = re.compile(r"(?=.{4,200}$)([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
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
    if key == "runtime" and value not in RUNTIMES:
        raise Invalid(f"there is no runtime '{shown(str(value))}'", hint="local or kubernetes", field="runtime")
    if key in CLUSTER:
        _valid_cluster(key, value)
    if key == "agent":
        name_rule(value if isinstance(value, str) else "", "agent")
    if key == "forge" and value not in FORGES:
        raise Invalid(f"there is no forge '{shown(str(value))}'", hint="local or gitea", field="forge")
    if key in GITEA and not (isinstance(value, str) and re.fullmatch(GITEA[key][0], value)):
        raise Invalid(f"{key} '{shown(str(value))}' is not allowed", hint=GITEA[key][1], field=key)
    if key == "vault" and value not in VAULTS:
        raise Invalid(f"vault '{shown(str(value))}' is not known", hint="auto, keyring, file or passphrase", field="vault")
    if key == "pool" and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= POOL):
        raise Invalid(f"pool '{shown(str(value))}' is not a number of workers", hint=f"0 to {POOL}", field="pool")
    if key == "preview_domain" and value != "" and not (isinstance(value, str) and _DOMAIN.fullmatch(value)):
        hint = "a domain of their own, all of whose names lead to this context's server: --preview-domain preview.example.org"
        raise Invalid(f"preview_domain '{shown(str(value))}' is no domain", hint=hint, field=key)
    if key not in (*_KEYS, *CLUSTER):
        raise Invalid(f"there is no setting '{shown(key)}'", hint=f"one of {', '.join((*_KEYS, *CLUSTER))}", field=key)


def runtime(values: Mapping[str, Any]) -> str:
    """Return where a context's pods run: local or kubernetes; what only a cluster has says so too."""
    return str(values.get("runtime") or ("kubernetes" if set(CLUSTER) & set(values) else "local"))


def forge(values: Mapping[str, Any]) -> str:
    """Return where a context's repositories are: local or gitea; its address says so too."""
    return str(values.get("forge") or ("gitea" if "gitea_url" in values else "local"))


def fits(name: str, values: Mapping[str, Any]) -> None:
    """Raise Invalid for settings of a context that do not go together."""
    if forge(values) == "gitea" and "gitea_url" not in values:
        raise Invalid(f"{name} has a Gitea, but not its address", hint="--gitea-url https://gitea.example.org", field="gitea_url")
    if forge(values) == "local" and (loose := [key for key in GITEA if key in values]):
        raise Invalid(f"{name} has no Gitea, so it has no {loose[0]}", hint="--forge gitea --gitea-url URL", field=loose[0])
    if runtime(values) == "kubernetes":
        if name == "local":
            hint = "give the cluster a context of its own: rdev context set lab --kubeconfig FILE"
            raise Invalid("the context local is this machine", hint=hint, field="runtime")
        wrong = [key for key in ("isolation", "show") if key in values]
        if wrong:
            raise Invalid(f"{name} is on a cluster, where a pod is the isolation", hint=f"leave out: {', '.join(wrong)}", field=wrong[0])
    elif wrong := [key for key in CLUSTER if key in values]:
        raise Invalid(f"{name} is on this machine, so it has no {wrong[0]}", hint="runtime: kubernetes", field=wrong[0])


def _valid_cluster(key: str, value: Any) -> None:
    if key in BOOLEANS:
        if not isinstance(value, bool):
            raise Invalid(f"{key} is neither true nor false", hint=f"{key}: true", field=key)
    elif key == "exec_plugins":
        if not (isinstance(value, list) and all(isinstance(line, str) and re.fullmatch(r"['\"]?/[^\0-\x1f\x7f]*", line) for line in value)):
            hint = "an absolute path and its arguments: --allow-plugin '/usr/bin/gke-gcloud-auth-plugin'"
            raise Invalid("exec_plugins is not a list of command lines", hint=hint, field=key)
    else:
        pattern, hint = _WORDS[key]
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise Invalid(f"{key} '{shown(str(value))}' is not allowed", hint=hint, field=key)


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

"""How settings are changed: what a person typed, made into what a context holds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import name as name_rule
from rdev_cli.domain.values import shown
from rdev_cli.wiring.files import Folders
from rdev_cli.wiring.rules import BOOLEANS, BUILT_IN, GITEA, fits, runtime, settable, valid


def changed(
    known: Mapping[str, Mapping[str, Any]], name: str, values: Mapping[str, str], environ: Mapping[str, str], places: Folders
) -> dict[str, dict[str, Any]]:
    """Return the contexts that are known, with values set in one of them, made if it is new; Invalid for a value it cannot have."""
    contexts = {str(key): dict(value) for key, value in known.items()}
    context = contexts.setdefault(name, {})
    here = runtime({**context, **values}) == "local"
    if "kubeconfig" in values:
        context.pop("kube_context", None)  # it was one of the other file
    for key, value in values.items():
        noun, _, rest = key.partition(".")
        if noun == "show":
            context["show"] = [_showable(path, environ, places) for path in value.split("\n") if path]
        elif noun == "agents":
            _set_agent(context, rest, value, here=here)
        elif noun == "kubeconfig":
            context[noun] = os.path.abspath(os.path.expanduser(value)) if value else ""
        elif noun == "exec_plugins":
            context[noun] = [line for line in value.split("\n") if line]
        elif noun == "pool":
            context[noun] = int(value) if re.fullmatch("[0-9]{1,4}", value) else value  # what is no number is refused below
        elif noun in BOOLEANS:
            context[noun] = value == "true"
        elif noun in ("gitea_url", "public_url"):
            context[noun] = value.rstrip("/")
        else:
            context[noun] = value
    if values.get("forge") == "local":  # what it had of another goes with it
        context = contexts[name] = {key: value for key, value in context.items() if key not in GITEA or key in values}
    for key, value in context.items():
        valid(key, value)
    fits(name, context)
    if not here and ("kube_context" not in context or {"kube_context", "exec_plugins"} & set(values)):
        _pin(context, environ)
    agents = {*BUILT_IN, *context.get("agents", {})}
    if context.get("agent", "claude") not in agents:
        raise Invalid(
            f"there is no agent '{context['agent']}' in {name}",
            hint=f"one of {', '.join(sorted(agents))}, or say where it is: --agent-path {context['agent']}=PATH",
            field="agent",
        )
    return contexts


def _pin(context: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Keep the context that is current in the kubeconfig now: what kubectl is told later must not lead rdev into another cluster."""
    from rdev_cli.adapters.kubernetes.kubeconfig import load  # noqa: PLC0415 -- only where a cluster is named

    of = context.get
    found = load(environ, file=of("kubeconfig", ""), context=of("kube_context", ""), plugins=of("exec_plugins", ())).context
    if found:  # inside a pod there is none
        context["kube_context"] = found


def _showable(given: str, environ: Mapping[str, str], places: Folders) -> str:
    """Return the absolute path of a folder that sandboxes may see; Invalid if it would bare what they are there to hide."""
    path = os.path.abspath(os.path.expanduser(given))
    if not os.path.isdir(path):
        raise Invalid(f"{shown(given)} is no folder here", hint="give --show a folder that is there: --show /opt/go", field="show")
    real = Path(os.path.realpath(path))
    homes = {Path(os.path.realpath(home)) for home in (os.path.expanduser("~"), environ.get("HOME") or "/")}
    own = {Path(os.path.realpath(folder)) for folder in (places.state, places.config, places.cache)}
    if any(hidden.is_relative_to(real) for hidden in homes | own) or any(real.is_relative_to(folder) for folder in own):
        raise Invalid(
            f"{shown(given)} holds your home or rdev's own files, which no sandbox may see",
            hint="give --show a folder further down: --show /opt/go",
            field="show",
        )
    return path


def _set_agent(context: dict[str, Any], what: str, value: str, *, here: bool) -> None:
    """Set one thing of an agent: `NAME.path`, `NAME.output`, `NAME.model`, `NAME.tools`, `NAME.args`, `NAME.variables`, `NAME.env.VAR`."""
    agent, _, key = what.partition(".")
    name_rule(agent, "agent")
    entry = dict(context.get("agents", {}).get(agent, {}))
    if key == "path" and not here:
        if not re.fullmatch(r"(/[^\0-\x1f\x7f]*)?[^/\0-\x20\x7f]+", value):
            hint = f"the path in the image, or a name on its PATH: --agent-path {agent}=/usr/local/bin/{agent}"
            raise Invalid(f"{shown(value)} is no program of an image", hint=hint, field="agent")
        entry["path"] = value
    elif key == "path":
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
        settable(variable)
        entry["env"] = {**entry.get("env", {}), variable: value}
    else:
        entry[key] = [word for word in value.split(",") if word] if key in ("tools", "args", "variables") else value
    context["agents"] = {**context.get("agents", {}), agent: entry}

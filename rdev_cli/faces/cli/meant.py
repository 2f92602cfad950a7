"""What somebody meant whose words could not be understood: the line to type instead, where that can be guessed."""

import re
import shlex
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches

from rdev_cli.domain.errors import RdevError
from rdev_cli.domain.values import id_like
from rdev_cli.domain.values import name as name_rule
from rdev_cli.faces.cli.words import ARGUMENTS, GROUPS, OPTIONS, SHARED, TAILED

# What other tools call it at their root -> lines of ours; the next word on the line stands in for PROJECT or COMMAND where it can be one.
_ROOT = {
    "ls list get": ("project list", "command list"),
    "rm remove delete del destroy drop down": ("project delete PROJECT",),
    "new create add up make import": ("project create PROJECT",),
    "init clone": ("project create PROJECT --from DIR|URL",),
    "run start launch do": ("exec PROJECT -- ARGV...", "claude PROJECT PROMPT"),
    "ask chat prompt fix code": ("claude PROJECT PROMPT",),
    "resume continue": ("claude PROJECT --resume PROMPT",),
    "opencode": ("agent run PROJECT PROMPT --agent opencode",),
    "codex gemini aider goose cursor": ("agent list", "context set local --agent-path NAME=PATH"),
    "ssh sh bash zsh enter connect console terminal": ("exec -it PROJECT -- sh",),
    "stop kill cancel abort end terminate": ("ps", "command cancel COMMAND"),
    "attach follow wait watch": ("command attach COMMAND", "logs --follow PROJECT"),
    "tail log": ("logs PROJECT", "logs --follow PROJECT"),
    "output cat": ("command output COMMAND",),
    "jobs job top processes tasks cmd": ("ps", "command list"),
    "history": ("command list", "events"),
    "show status info describe inspect view": ("project status PROJECT", "command show COMMAND"),
    "login auth signin keys apikey secret secrets token creds vault": ("credential set ANTHROPIC_API_KEY",),
    "logout": ("credential list", "credential remove NAME"),
    "config configure settings set env setup edit": ("context view", "context set --help"),
    "use switch": ("context use NAME",),
    "diff commit merge": ("git PROJECT -- status",),
    "push pull fetch update": ("project sync PROJECT",),
    "copy upload download": ("cp FILE PROJECT:PATH", "cp PROJECT:PATH FOLDER"),
    "usage cost costs stats": ("agent usage",),
    "check health test diagnose": ("doctor",),
    "clean cleanup prune purge reset": ("gc", "project delete PROJECT", "uninstall --dry-run"),
    "man docs manual": ("--help",),
}
# Our verbs, and what others call them; the first of a group's own that fits is meant.
_VERBS = {
    "list": "ls all", "show": "get info describe inspect cat view status", "delete": "rm remove del destroy drop",
    "remove": "rm delete del destroy drop unset forget", "create": "new add init make", "set": "create new add init make edit update save put",
    "cancel": "kill stop abort end terminate", "output": "log logs tail cat print", "attach": "follow wait watch",
    "run": "start exec launch", "test": "check verify try", "health": "check verify test doctor", "sync": "push pull fetch update",
    "use": "switch select", "revoke": "rm delete del destroy drop remove cancel", "import": "load", "usage": "cost costs stats tokens",
}  # fmt: skip
_UNSHOWN = {"list": "get show cat view info describe"}  # of what is only ever listed
_LINES = {
    "agent add": "context set local --agent-path NAME=PATH", "agent new": "context set local --agent-path NAME=PATH",
    "agent create": "context set local --agent-path NAME=PATH", "agent install": "context set local --agent-path NAME=PATH",
    "agent set": "context set local --agent NAME", "agent use": "context set local --agent NAME",
}  # fmt: skip
# What others call an option -> ours; only where the command has ours, an empty one says to leave it out.
_OPTIONS: Mapping[str, Sequence[str]] = {
    "--json": ("-o json",), "-j": ("-o json",), "--yaml": ("-o yaml",), "--format": ("-o",), "--quiet": ("-o name",), "-q": ("-o name",),
    "--force": ("--yes",), "-f": ("--yes",), "--continue": ("--resume",), "-c": ("--resume",), "-r": ("--resume",),
    "--allowedTools": ("--tools",), "--allowed-tools": ("--tools",), "-m": ("--model",), "--detach": ("--no-wait",), "-d": ("--no-wait",),
    "--background": ("--no-wait",), "--tail": ("--limit",), "-n": ("--limit",), "--lines": ("--limit",), "--project": ("--subject",),
    "-p": ("--subject",), "--repo": ("--from",), "--url": ("--from",), "--source": ("--from",), "--path": ("--from",), "--dir": ("--from",),
    "--interactive": ("-i",), "--terminal": ("-t",), "--watch": ("--follow",), "-w": ("--follow",), "--file": ("--from-file",),
}  # fmt: skip
_INSTEAD = {
    "ps -a": "command list", "ps --all": "command list", "logs -n": "logs PROJECT | tail -n 20",
    "logs --lines": "logs PROJECT | tail -n 20",
}  # fmt: skip
_DROPPED = {"--print", "--prompt", "-p", "--dangerously-skip-permissions"}  # of an agent: it is what rdev does anyway
_EXTRA = {"events": "--subject", "command list": "--project", "project create": "--from"}  # what a word too many was meant for


def line(words: Sequence[str], option: str) -> tuple[str, str] | None:
    """Return what is wrong (empty: as it was said) and what to type, if it can be guessed; `option` is one that there is not."""
    path, rest = _command(words)
    if path in GROUPS:
        return _option_first(words) if rest and rest[0].startswith("-") else _no_command(path, rest)
    if "--" in words:
        return _option(words, path, option) if option and not path.startswith("credential") else None
    if path.startswith("credential"):  # what stands behind a name may be the value, which is never repeated
        return _option([*path.split(), *_names(rest), option], path, option) if option else None
    return _placed(words, path, option) or (_option(words, path, option) if option else _too_many(path, rest))


def usage(words: Sequence[str]) -> str:
    """Return where the help is for what was typed."""
    return f"{' '.join(('rdev', _command(words)[0])).strip()} --help shows how it is typed"


def _command(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command that words name, as far as there is one, and the other words."""
    path, rest = "", list(words)
    while path in GROUPS and rest and rest[0] in GROUPS[path]:
        path = f"{path} {rest.pop(0)}".strip()
    return path, rest


def _typed(path: str, rest: Sequence[str]) -> str:
    """Return a line to type, which never holds what may be the value of a credential."""
    rest = _names(rest) if path.startswith("credential") else rest
    if path in TAILED and rest and "--" not in rest:
        rest = [rest[0], "--", *(rest[1:] or ["ARGV..."])]
    return f"rdev {path} {shlex.join(rest)}".strip()


def _names(rest: Sequence[str]) -> list[str]:
    """Return the name of a credential, if it stands first; what follows may be its value."""
    return [word for word in rest[:1] if re.fullmatch("[A-Z][A-Z0-9_]*", word)]


def _no_command(path: str, rest: Sequence[str]) -> tuple[str, str] | None:
    if not rest:
        return None
    word, after = rest[0], list(rest[1:])
    group, noun = GROUPS[path], (after or [""])[0]
    if not path:
        for named in (noun, noun.removesuffix("s")):  # the verb in front: create project shop
            if named in GROUPS and named and (verb := _verb(named, word)):
                return "", _typed(f"{named} {verb}", after[1:])
        if lines := next((lines for theirs, lines in _ROOT.items() if word in theirs.split()), None):
            return "", " or ".join(f"rdev {_filled(each, noun)}" for each in lines)
        if noun in group and noun not in GROUPS and _is_name(word):  # the project in front: shop exec
            return "", _typed(noun, [word, *after[1:]])
    elif other := _LINES.get(f"{path} {word}"):
        return "", f"rdev {other.replace('NAME', noun) if _is_name(noun) else other}"
    elif verb := _verb(path, word):
        return "", _typed(f"{path} {verb}", after if ARGUMENTS[f"{path} {verb}"] else [])
    elif noun in group and _is_name(word):
        return "", _typed(f"{path} {noun}", [word, *after[1:]])
    near = get_close_matches(word.lower(), group, 1)
    sure = get_close_matches(word.lower(), group, 1, 0.8) or [verb for verb in near if not ARGUMENTS.get(f"{path} {verb}")]
    if path == "project" and not after and _is_name(word) and not sure:
        return "", f"rdev project status {word} or rdev project --help"  # it may be a name, with no verb in front
    if near:
        found = f"{path} {near[0]}".strip()
        if found in GROUPS and not after and "list" in GROUPS[found]:
            return "", f"rdev {found} list"
        if found in GROUPS and after:  # its own first word may be meant for something too
            deeper = None if noun in GROUPS[found] else _no_command(found, after)
            return deeper or ("", _typed(f"{found} {noun}", after[1:]) if noun in GROUPS[found] else f"rdev {found} --help")
        return "", _typed(found, after)
    return None


def _verb(path: str, word: str) -> str:
    """Return the verb of a group that a word means, empty for none."""
    if word in GROUPS[path]:
        return word
    for table in (_VERBS, _UNSHOWN):
        for ours, theirs in table.items():
            if ours in GROUPS[path] and word in theirs.split():
                return ours
    return ""


def _filled(text: str, word: str) -> str:
    if _is_name(word):
        return text.replace("PROJECT", word)
    return text.replace("COMMAND", word) if id_like(word, "cmd") else text


def _is_name(word: str) -> bool:
    try:
        name_rule(word)
    except RdevError:
        return False
    return True


def _valued(path: str) -> set[str]:
    """Return the options of a command that take a value."""
    return {spelling for spellings, kind, _ in (*OPTIONS.get(path, ()), *SHARED) if kind is not None for spelling in spellings}


def _places(words: Sequence[str], valued: set[str]) -> list[int]:
    """Return where words stand that are neither options nor their values."""
    found, skip = [], False
    for at, word in enumerate(words):
        if not skip and not word.startswith("-"):
            found.append(at)
        skip = not skip and word in valued
    return found


def _option_first(words: Sequence[str]) -> tuple[str, str] | None:
    """An option of a command stands in front of it."""
    first = next(iter(_places(words, _valued(""))), 0)
    given = words[0].partition("=")[0]
    if not first or words[first] not in GROUPS[""] or words[first] == "credential":
        return None
    if any(words[0].startswith(spellings) for spellings, _, _ in SHARED):
        return f"{words[0]} stands after the command", f"rdev {shlex.join([*words[first:], *words[:first]])}"
    if instead := next((ours for ours in _OPTIONS.get(given, ()) if ours.startswith("-o ")), ""):
        return "", f"rdev {shlex.join([*words[first:], *words[1:first]])} {instead}"
    return None


def _placed(words: Sequence[str], path: str, option: str) -> tuple[str, str] | None:
    """Words stand together that belong apart, or the other way round."""
    verb = path.count(" ") + 1
    own = _places(words, _valued(path))
    if len(own) <= verb + 1:
        return None
    third = own[verb + 1]
    unknown = bool(option) and any(word.partition("=")[0] == option or word.startswith(option) for word in words[:third])
    if path in TAILED and not unknown:
        return "what to run stands after `--`", f"rdev {shlex.join([*words[:third], '--', *words[third:]])}"
    if path == "agent run" and words[own[verb]] in ("claude", "opencode", "bundled"):
        agent, after = words[own[verb]], [*words[verb : own[verb]], *words[own[verb] + 1 :]]
        return "which agent is an option", f"rdev agent run {shlex.join([*after, '--agent', agent])}"
    many = third < len(words) - 1 and not any(c.isspace() for c in words[third]) and not unknown
    if path in ("claude", "agent run", "shell") and many and (path == "shell" or not words[third + 1].startswith("-")):
        what = "line" if path == "shell" else "prompt"
        return f"the {what} is more than one word", f"rdev {shlex.join([*words[:third], ' '.join(words[third:])])}"
    return None


def _option(words: Sequence[str], path: str, option: str) -> tuple[str, str] | None:
    """There is no such option: the one that is meant."""
    at = next((at for at, word in enumerate(words) if word.partition("=")[0] == option), None)
    if at is None:
        return None
    before, value, after = list(words[:at]), words[at].partition("=")[2], list(words[at + 1 :])
    agents = path in ("claude", "agent run")
    if (agents and option in _DROPPED) or (option == "--name" and ARGUMENTS[path]):
        return "", f"rdev {shlex.join([*before, *([value] if value else []), *after])}"
    if path == "claude" and option == "--agent":
        return "", f"rdev {shlex.join(['agent', 'run', *before[1:], *words[at:]])}"
    if other := _INSTEAD.get(f"{path} {option}"):
        return "", f"rdev {_filled(other, next((words[at] for at in _places(words, _valued(path))[1:]), ''))}"
    have = {spelling for spellings, _, _ in (*OPTIONS[path], *SHARED) for spelling in spellings}
    ours = next((ours for ours in _OPTIONS.get(option, ()) if ours.split()[0] in have), "")
    if not ours:
        near = get_close_matches(option, have, 1)
        ours = near[0] if near and option.startswith("--") and SequenceMatcher(None, option, near[0]).ratio() > 0.75 else ""
    if not ours:
        return None
    return "", f"rdev {shlex.join([*before, *ours.split(), *([value] if value else []), *after])}"


def _too_many(path: str, rest: Sequence[str]) -> tuple[str, str] | None:
    """A word is too many: the option that it was meant for."""
    own = _places(rest, _valued(path))
    most = len(ARGUMENTS.get(path, ()))
    if len(own) != most + 1:
        return None
    at = own[most]
    if flag := _EXTRA.get(path):
        return "", f"rdev {path} {shlex.join([*rest[:at], flag, *rest[at:]])}"
    return ("", f"rdev command list --project {shlex.quote(rest[at])}") if path == "ps" else None

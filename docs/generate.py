"""Writes docs/cli.md, docs/http.md, docs/openapi.json, docs/errors.md, man pages, the words of completion and the schemas from the code; `--check` only compares, and says what differs."""

import ast
import difflib
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import manpages  # noqa: E402 -- beside this file
import schemas  # noqa: E402 -- beside this file
import wire  # noqa: E402 -- beside this file

from rdev_cli.domain import errors  # noqa: E402 -- of this checkout, installed or not
from rdev_cli.faces.cli import completion, face, main  # noqa: E402
from rdev_cli.ops.ledger import LEDGER, Scope  # noqa: E402
from rdev_cli.wiring.rules import BUILT_IN, FORGES, ISOLATION, VAULTS  # noqa: E402

SCHEMAS = "rdev_cli/_data/schemas"
MAN = "docs/man"
NOTE = "<!-- made by docs/generate.py (`just docs`); do not edit -->\n"

EXIT_CODES = (
    ("0", "done, and known to be done"),
    ("1", "rdev's own fault"),
    ("2", "the request makes no sense (usage); a bad flag or a missing word of `exec`, `shell` and `git` too"),
    ("3", "not found"),
    ("4", "not allowed"),
    ("5", "conflict: it exists, but not in a state that allows this"),
    ("6", "a provider, a tool or the machine did not answer"),
    ("7", "partial: some steps stand; they are listed with the command that finishes or undoes them"),
    ("8", "an outcome was asked for that is not there yet, or a person must act"),
    ("9", "the work itself failed: an agent's run, a check of `doctor`, a credential that is refused"),
    ("74", "the outcome is unknown: there is no record of it, or stdin broke before its end"),
    ("124", "timed out"),
    (
        "125",
        "`exec`, `shell`, `git`: rdev failed before the command ran (an unknown project too), but for usage; the error's code says why",
    ),
    ("126, 127", "`exec`, `shell`, `git`: the command is not executable, or not found"),
    ("129, 143", "stopped by SIGHUP, by SIGTERM"),
    ("130", "stopped by Ctrl-C, or cancelled"),
    ("141", "whoever read stdout has left"),
    ("other", "`exec`, `shell`, `git`: the command's own exit code, always"),
)

# What each code means to whoever meets it. A code that the code does not use, or one that is missing here, fails the check.
MEANINGS = {
    "ADDRESS_IN_USE": "another process listens where the server was to",
    "FOREIGN_ORIGIN": "over HTTP: a page of another site asked",
    "MISDIRECTED": "over HTTP: the server was asked for by a name that it does not know; `--allow-host` gives it one",
    "NOT_ENCRYPTED": "a key could be read on its way to this server: it needs a certificate, or a proxy that ends TLS",
    "NOT_LISTENING": "no program of the session listens at that port; one of another session or of the machine counts for nothing",
    "NO_NETWORK": "a pod without network has no way in here, so nothing of it can be previewed",
    "NO_POD": "the pod is gone, or is another's by now; nothing was connected to",
    "NOT_PLAIN": "over HTTP: a body came with a content-encoding",
    "NOT_READY": "over HTTP: the state or a provider cannot be used; `context.checks` names it",
    "NO_KEY": "a server that can be reached from elsewhere needs a key that opens it",
    "SILENT": "something that a server stands on did not answer in time",
    "TOO_MANY_REQUESTS": "over HTTP: the limit of requests a minute is reached; `Retry-After` says when there is room",
    "BAD_REQUEST": "over HTTP: the body is no JSON",
    "METHOD_NOT_ALLOWED": "over HTTP: the path is there, but not by this method; `Allow` has those that are",
    "TOO_LARGE": "over HTTP: a file or a body has more bytes than are taken at once",
    "IMAGE_PULL": "the cluster cannot get the pods' image; why stands in the message",
    "ISOLATION_UNKNOWN": "the image has nothing to measure a pod's network with",
    "ISOLATION_WEAKER": "a pod reaches what its network policy closes, so no project is made; `context set --allow-weaker` accepts it",
    "NO_IMAGE": "the context names no image for its pods",
    "OTHER_CLUSTER": "behind the context's address is another cluster than the one it was used with; nothing was done there",
    "POD_FAILED": "the pod ended, or its container does not start; the cluster's own words are in the message",
    "POD_NOT_READY": "the pod did not get ready in time; the newest warning of the cluster is in the message",
    "POD_SECURITY": "the namespace's pod security refuses the pod",
    "STILL_DELETING": "something in the cluster was told to go and is still there: its node or a finalizer holds it",
    "STORAGE_PENDING": "the cluster has no storage for the pod's work tree",
    "UNSCHEDULABLE": "no node of the cluster takes the pod",
    "ADDRESS_NOT_ALLOWED": "a webhook leads to an address, a port or a name that is not public; nothing was sent there",
    "HOST_UNKNOWN": "the name of a webhook's host cannot be looked up",
    "WEBHOOK_URL": "the URL of a webhook is not written as it must be: https, a plain host, no user, no fragment",
    "AGENT_FAILED": "the agent ended badly; its own words are in `context.said`, the work tree is as it was left",
    "BAD_BUNDLE": "what the pod sent as a commit is not what it says or not sound, or git could not pack it; the repository is untouched",
    "BAD_COPY": "a copy was cut off, or what arrived is not what was sent; what had been checked before stands",
    "BUSY": "another process, or another agent's run, holds this; the context names it",
    "CANCELLED": "somebody stopped it",
    "CHANGED": "the thing is not what it was when it was looked at; nothing was done to it",
    "CONFIG_UNSAFE": "another user could have written a settings file; it is not read",
    "CONFIRMATION": "a question would have to be asked, and there is no terminal: `--yes` answers it",
    "CONFLICT": "it exists, with other values or in another state; `context.field` names the value",
    "CREATING": "the project is half made: the same `create` goes on, `delete` clears it",
    "ENDED": "the session has ended; begin another",
    "ENDING": "the session is being ended; the same command goes on with it",
    "STARTING": "the session is not whole yet; whoever starts it goes on, or end it",
    "PIPELINE": "a pipeline asks for what is not run here; `context.field` names it",
    "NO_PIPELINE": "the commit has no `.woodpecker.yml`",
    "NOTHING_TO_RUN": "every step of the pipeline is for other branches or events",
    "NOT_CLEAN": "the pod of the checks does not hold the commit that they are about; nothing was run",
    "POD_GONE": "the pod of checks went while they ran; begin them again",
    "RECEIPT_CHANGED": "a receipt is not as it was signed; nothing of it was run",
    "DELETING": "the project is half gone: the same `delete` goes on",
    "DENIED": "this caller may not do this",
    "DIVERGED": "the repository and the work tree both moved on; both are as they were",
    "FAILED": "the work failed, not rdev",
    "GIT_FAILED": "git on a bare repository failed; what it said is in `context.said`",
    "INTERNAL": "a fault of rdev's own; `-v` shows where",
    "INVALID": "the request does not make sense; `context.field` names the part",
    "INVALID_NAME": "a name breaks the one name rule: 1 to 40 of a-z, 0-9 and `-`, a letter first, no `-` at the end",
    "IN_THE_WAY": "something else stands where a file or a folder of a copy belongs; it was left alone",
    "IDEMPOTENCY_MISMATCH": "another request was made under this idempotency key",
    "GIVEN_UP": "the server died several times while it was at it",
    "IP_NOT_ALLOWED": "the key is for other addresses than the one that it came from",
    "KEY_EXPIRED": "the key's time is over",
    "KEY_REVOKED": "the key was revoked, or is gone",
    "WIDER_KEY": "a key would make one that allows more than itself; `context.field` names the part",
    "LEASE_LOST": "another process took this operation over; nothing of its work was undone",
    "LOG": "rdev's own log cannot be written there",
    "MACHINE": "the machine refused: no room, no rights, no more processes or files",
    "NOT_FOUND": "there is no such thing",
    "NO_CONTEXT": "there is no context of that name",
    "NOT_COPIED": "nothing could be copied; `context.left` names what was not",
    "NOT_EMPTY": "the folder is there and not empty: `--merge` copies into it",
    "NO_PASSPHRASE": "the vault needs its passphrase, and there is no terminal: `--passphrase-file` gives it",
    "NO_CONVERSATION": "there is no such conversation with that agent to go on with",
    "NO_ROOM": "there is no room on the disk for a copy",
    "NO_SCREEN": "that agent has no interactive screen: give it a prompt",
    "OUTCOME_UNKNOWN": "how it ended cannot be known: there is no exit record",
    "OUTPUT_GONE": "what the command printed is not kept any more (7 days)",
    "PARTIAL": "some steps stand; `context.left` lists them and the hint is the command that goes on",
    "PENDING": "it has not ended yet",
    "EMPTY_REPOSITORY": "the project's repository has no commit that a session could begin at",
    "NOT_KEPT": "the pod of a session stays, because what is in it could not be kept yet",
    "NOTHING_STAGED": "nothing is staged that could be committed",
    "NO_TERMINAL": "the terminal of a session takes no keys; attach again",
    "BRANCH_EXISTS": "a branch of that name is there already, at another commit",
    "BRANCH_MOVED": "a branch that was to be removed is not where it was seen; it stays",
    "BRANCH_PROTECTED": "a branch that is not removed now: the repository's main one, or, at a Gitea, any while somebody has a checkout",
    "HEAD_MOVED": "the branch got other commits than those that were looked at, so it was not merged",
    "MERGE_CONFLICT": "both sides changed the files that `context.files` names; nothing is forced",
    "MERGE_REFUSED": "the forge does not merge for a reason of its own, such as a rule that wants an approval",
    "PULL_CLOSED": "the pull request was closed without a merge",
    "PROTECTION_LOOSE": "a rule at the forge lets everybody write a branch who has a checkout; no checkout is given out",
    "FORGE_ARCHIVED": "the repository is archived at the forge, where nothing can be written then",
    "FORGE_DENIED": "the forge does not let rdev's account do this; `rdev context test` says what it may",
    "FORGE_MOVED": "the repository was renamed or moved at the forge; it needs its old name",
    "FORGE_NONSENSE": "what answers at the forge's address is no Gitea",
    "FORGE_OWNER": "the forge has no such user or organization: `--gitea-owner`",
    "FORGE_REFUSED": "the forge says no, in its own words",
    "FORGE_TOKEN": "the forge's token is missing, or the forge does not know it: `rdev credential set GITEA_TOKEN`",
    "FORGE_TROUBLE": "the forge failed, or did not come to an end in time",
    "FORGE_UNREACHABLE": "the forge does not answer",
    "RESCUED": "the branch had moved on, so the commit went to the branch named in `context.branch`; nothing is lost",
    "SEVERAL": "several pods are meant; `context.pods` names them",
    "STATE_BUSY": "the database was locked for 30 seconds",
    "STATE_DAMAGED": "the database cannot be read; `rdev doctor` looks at it",
    "STATE_NEWER": "a newer rdev wrote this state; this one leaves it alone",
    "STATE_UNWRITABLE": "the state cannot be written: a full disk, or missing rights",
    "STDOUT": "the answer could not be written to stdout; what was asked for is done",
    "TIMED_OUT": "the time limit passed",
    "TOO_MANY": "a run would remove more than 10 things, or more than a fifth of all: nothing was removed; `--allow` and their number lets it; or a session has too many open ports",
    "TOOL_MISSING": "a program is not installed; the hint is the line that installs it",
    "UNAVAILABLE": "a provider, a tool or the machine did not answer",
    "UNDELIVERED": "the commit is in the pod and could not be brought to the repository; `rdev project sync` takes it there",
    "BASE_REWRITTEN": "the branch that a change shall go to was rewritten and no longer holds the commit that the work began at; nothing is forced",
    "BRANCH_GONE": "a branch that is needed is not in the repository any more",
    "CHECKS_ONLY": "the session is one of rdev's own, in which checks run: nobody works there, and nothing of it is checked in",
    "REVIEW_FAILED": "the review of a check-in did not pass, and the pull request stays open; the receipt named in `context` says what it found",
    "SAME_BRANCH": "a session works on the very branch that its work would be merged into",
    "SECRET_FOUND": "what would be checked in holds what looks like a secret; `context.found` names file, line and kind, never the value",
    "SHUTTING_DOWN": "the server is stopping: come again in a moment; nothing that was asked for is lost",
    "UNAUTHORIZED": "over HTTP: no key was shown, or none that there is",
    "USAGE": "the words on the command line could not be understood",
    "VAULT_DAMAGED": "a credential, the vault's file or its key is not what rdev wrote, or is gone",
    "VAULT_LOCKED": "the system's keyring is not there, or does not answer",
    "VAULT_SEALED": "the vault's file is sealed in another way than the context asks for",
    "VAULT_UNSAFE": "others can read a file with a key or a passphrase; it is not used",
    "WORKTREE": "git in the pod could not bring the work tree up to date",
    "WORKTREE_DIRTY": "files that were changed in the work tree are in the way of the repository's newer commits; both are as they were",
    "WORKTREE_FOREIGN": "the work tree is no checkout of the repository, and files are in it; they are left alone",
    "WRONG_PASSPHRASE": "this passphrase does not open the vault; nothing was changed",
    "ADMISSION": "the cluster's policies do not let such an object be; its own words are in the message",
    "CLUSTER_BUSY": "the cluster turned the request away for now, or a list expired again and again",
    "CLUSTER_LOGIN": "the cluster does not accept the login of the kubeconfig",
    "CLUSTER_REFUSED": "the cluster does not take what it was asked; its own words are in the message",
    "CLUSTER_UNREACHABLE": "the API server does not answer, not in time, or with something else; `context.sent` says whether the request may have arrived",
    "EXISTS": "an object of that name is in the cluster already",
    "EXPIRED": "the cluster forgot what happened since the version that was named",
    "FOLDER_TAKEN": "the folder to clone into is there already; nothing of it is overwritten",
    "NO_CHECKOUT": "the folder is in no checkout, or in that of another",
    "NO_TOKEN": "this machine does not keep the credential of that checkout: whoever started it was told it",
    "OTHER_BRANCH": "the folder of a checkout is on another branch than the checkout's, which alone can be checked in",
    "PUSH_REFUSED": "the forge does not let that branch be written, or not with that credential",
    "FORBIDDEN": "this login or this key may not do that; `context` has verb, resource and namespace, or the scope that it takes",
    "NO_CLUSTER": "the kubeconfig, or the context in it, is not there",
    "NO_NAMESPACE": "the cluster has no namespace of that name",
    "PLUGIN_FAILED": "the kubeconfig's login plugin gave no login, or not within 30 seconds",
    "PLUGIN_NOT_ALLOWED": "the kubeconfig would run a program that nobody consented to; nothing was run",
    "QUOTA": "the quota of the namespace leaves no room",
    "TLS_NOT_VERIFIED": "the API server would be reached without anybody checking who it is",
}

# What completion offers for a value, by how its option is spelled or how usage calls it; None of both: any text. `|` begins a closed list.
VALUES = {
    "--agent": f"|{'|'.join(BUILT_IN)}",
    "--context": "context",
    "--forge": f"|{'|'.join(FORGES)}",
    "--scope": f"|{'|'.join(Scope)}",
    "--isolation": f"|{'|'.join(ISOLATION)}",
    "--log-format": "|text|json",
    "--subject": "project",
    "--vault": f"|{'|'.join(VAULTS)}",
    "COMMAND": "command",
    "CONTEXT": "context",
    "CREDENTIAL": "credential",
    "DIR": "dirs",
    "DIR|URL": "dirs",
    "FILE": "files",
    "FILE|-": "files",
    "FORMAT": f"|{'|'.join(face.FORMATS)}",
    "KEY": "key",
    "CHECKOUT": "checkout",
    "NAME=PATH": "files",
    "PATH": "files",
    "PROJECT": "project",
    "SOURCE": "files",
    "TARGET": "files",
    "SESSION": "session",
    "SHELL": f"|{'|'.join(completion.SCRIPTS)}",
}

TWINS = (
    "Every option has a twin in the environment, `RDEV_` and its long name: `RDEV_OUTPUT=json` is `--output json`, `RDEV_NO_WAIT=1` is "
    "`--no-wait`; several values stand there with blanks between them. A flag on the command line comes first."
)

ERRORS = """An error is told on stderr: a sentence and a hint for a person; with `-o json`, `jsonl` or `yaml` one line of JSON,
`{"error": {"code", "message", "hint", "context"}}`. Codes do not change; messages may. `exec`, `shell` and `git` end with 125
for whatever went wrong before the command ran, and the code says what it was; only `USAGE` and `LOG` are 2 there too.
"""


def cell(text: str) -> str:
    """Return text fit for one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return a branch and all that hangs on it, in the order of its help."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from leaves(below, (*path, name))


def tree() -> list[tuple[tuple[str, ...], Any]]:
    """Return every command with the words that name it."""
    root = main.root()
    return [leaf for name in main.TREE for leaf in leaves(root.get_command(None, name), (name,))]


def shared() -> set[str | None]:
    """Return the names of the options that every command has."""
    return {param.name for param in face._shared()}  # noqa: SLF001 -- the one place where they stand


def records(command: Any, ctx: typer.Context, *, kind: str) -> list[tuple[str, ...]]:
    """Return (how it is typed, what it means) for a command's arguments or options."""
    return [
        (f"`{cell(record[0].replace('<int range>', 'N'))}`", cell(record[1]))
        for param in command.params
        if param.param_type_name == kind and param.name not in shared() and (record := param.get_help_record(ctx))
    ]


def cli() -> str:
    """Return docs/cli.md."""
    parts = [
        NOTE,
        "# The command line\n",
        "`rdev COMMAND --help` says the same in a terminal, `man rdev-COMMAND` too where a wheel is installed. Exit and error codes: [errors.md](errors.md).\n",
    ]
    common = face._shared()  # noqa: SLF001
    ctx = typer.Context(typer.main.get_command(importlib.import_module("rdev_cli.faces.cli.version").app), info_name="rdev")
    rows = [(f"`{record[0]}`", cell(record[1])) for o in common if (record := o.get_help_record(ctx))]
    parts.append("Every command takes:\n\n" + table(("option", "meaning"), rows))
    parts.append(TWINS + "\n")
    parts.append(
        "The root takes `--version` and `-h`, `--help`; `rdev help COMMAND` is `rdev COMMAND --help`. Tab completes all of it: "
        "[completion.md](completion.md).\n"
    )
    for path, command in tree():
        ctx = typer.Context(command, info_name=" ".join(("rdev", *path)))
        pieces = " ".join(piece for piece in command.collect_usage_pieces(ctx) if piece)
        block = [f"{'#' * (len(path) + 1)} rdev {' '.join(path)}\n", (command.help or "").strip() + "\n"]
        if not hasattr(command, "commands"):
            block.append(f"```\nrdev {' '.join(path)} {pieces}\n```\n")
            for kind, head in (("argument", "argument"), ("option", "option")):
                found = records(command, ctx, kind=kind)
                if found:
                    block.append(table((head, "meaning"), found))
            if command.epilog:
                block.append("For example: " + " · ".join(f"`{one}`" for one in command.epilog.split(" · ")) + "\n")
        parts.append("\n".join(block))
    parts.append(
        "## Operations\n\nWhat stands behind the commands: each operation, the scope that a caller needs, and how its answer comes.\n"
    )
    lines = [
        (f"`{e.name}`", f"`rdev {face.DOES[e.name]}`" if e.name in face.DOES else "", f"`{e.scope.value}`", e.pace.value, cell(e.summary))
        for _, e in sorted(LEDGER.items())
    ]
    parts.append(table(("operation", "command", "scope", "pace", "what it does"), lines))
    return "\n".join(parts)


def takes(path: tuple[str, ...], param: Any) -> str | None:
    """Return what completion offers for a value of an argument or option, None for a flag, which has no value."""
    if getattr(param, "is_flag", False):
        return None
    called = (param.metavar or "").strip("[]")
    if param.param_type_name == "argument":
        if path == ("project", "create"):
            return ""  # a new name
        # a noun whose argument is called NAME names one of its own
        called = path[0].upper() if path[0] in ("context", "credential") and called == "NAME" else called
    for key in (*(opt for opt in param.opts if opt.startswith("--")), called):
        if key in VALUES:
            return VALUES[key]
    if called == "KIND":
        raise SystemExit(
            f"rdev {' '.join(path)}: completion does not know the values of {param.opts[0]}; docs/generate.py has a table of them"
        )
    return ""


def words() -> str:
    """Return rdev_cli/faces/cli/words.py."""
    root = main.root()
    common = shared()
    last = (("-h", "--help"), None, "Show this message and exit.")

    def options(path: tuple[str, ...], params: Sequence[Any]) -> list[tuple[tuple[str, ...], str | None, str]]:
        return [(tuple(p.opts), takes(path, p), p.help or "") for p in params if p.param_type_name == "option"]

    groups = {"": {name: summary for name, (_, summary) in main.TREE.items()}}
    arguments, own, tailed = {}, {}, []
    for path, command in tree():
        name = " ".join(path)
        if hasattr(command, "commands"):
            groups[name] = {below: one.get_short_help_str(200) for below, one in command.commands.items()}
            continue
        arguments[name] = tuple(takes(path, p) for p in command.params if p.param_type_name == "argument")
        own[name] = options(path, [p for p in command.params if p.name not in common])
        if isinstance(command, face.Tailed):
            tailed.append(name)
    lines = [
        '"""The words of the command line, for completion. Made by docs/generate.py (`just docs`); do not edit."""\n',
        "# fmt: off",
        "# ruff: noqa: Q000",
        "# a value: one of `|these|words`, a kind of name, files or dirs, any text (empty), None for a flag",
        "Option = tuple[tuple[str, ...], str | None, str]  # its spellings, its value, what it is for\n",
        f"ROOT: tuple[Option, ...] = {(last, *options((), root.params))!r}",
        "SHARED: tuple[Option, ...] = (",
        *(f"    {one!r}," for one in (*options((), face._shared()), last)),  # noqa: SLF001
        ")",
        "GROUPS: dict[str, dict[str, str]] = {",
    ]
    for name, below in groups.items():
        lines += [f"    {name!r}: {{", *(f"        {one!r}: {summary!r}," for one, summary in below.items()), "    },"]
    lines += ["}", "ARGUMENTS: dict[str, tuple[str, ...]] = {", *(f"    {name!r}: {found!r}," for name, found in arguments.items()), "}"]
    lines.append("OPTIONS: dict[str, tuple[Option, ...]] = {")
    for name, found in own.items():
        lines += [f"    {name!r}: (", *(f"        {one!r}," for one in found), "    ),"] if found else [f"    {name!r}: (),"]
    lines += ["}", f"TAILED = {tuple(tailed)!r}  # what stands after their `--` is another program's", ""]
    return "\n".join(lines)


def codes() -> dict[str, set[str]]:
    """Return each error code and the classes that carry it: those of the classes, and those given where one is raised."""
    found = {errors.RdevError.CODE: {"RdevError"}}
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.RdevError):
            found.setdefault(kind.CODE, set()).add(name)
    for path in sorted((ROOT / "rdev_cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            given = [k.value for k in node.keywords if k.arg == "code"]
            if name in face.EXITS:
                for value in (v for g in given for v in ast.walk(g)):
                    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.isupper():
                        found.setdefault(value.value, set()).add(name)
    return found


def unexplained() -> list[str]:
    """Return what the table of meanings lacks, and what it has too many."""
    used = set(codes())
    return [f"{code}: no meaning in docs/generate.py" for code in sorted(used - set(MEANINGS))] + [
        f"{code}: explained in docs/generate.py, but nothing raises it" for code in sorted(set(MEANINGS) - used)
    ]


def errors_() -> str:
    """Return docs/errors.md."""
    rows = []
    for code, classes in sorted(codes().items()):
        exits = " or ".join(sorted({str(face.EXITS[name]) for name in classes}, key=int))
        rows.append((f"`{code}`", exits, cell(MEANINGS.get(code, "?"))))
    return "\n".join(
        [
            NOTE,
            "# Exit codes and error codes\n",
            "## Exit codes\n",
            table(("exit", "meaning"), [(f"{exit_}", meaning) for exit_, meaning in EXIT_CODES]),
            "## Error codes\n",
            ERRORS,
            table(("code", "exit", "meaning"), rows),
        ]
    )


def man() -> dict[str, str]:
    """Return the man pages by their paths."""
    root = main.root()
    ctx = typer.Context(root, info_name="rdev")
    common = {o.name: record for o in face._shared() if (record := o.get_help_record(ctx))}  # noqa: SLF001
    summaries = {name: summary for name, (_, summary) in main.TREE.items()}
    return {f"{MAN}/{name}": text for name, text in manpages.pages(root, summaries, tree(), common, EXIT_CODES, TWINS).items()}


def main_(check: bool) -> int:  # noqa: FBT001
    """Write, or compare."""
    wrong = unexplained()
    made = {"docs/cli.md": cli(), "docs/errors.md": errors_(), "rdev_cli/faces/cli/words.py": words(), **man()}
    made |= {f"{SCHEMAS}/{name}.json": json.dumps(one, indent=2, sort_keys=True) + "\n" for name, one in schemas.schemas().items()}
    document = wire.document()
    made["docs/http.md"] = f"{NOTE}\n{wire.page(document)}"
    made["docs/openapi.json"] = json.dumps({**document, "info": {**document["info"], "version": ""}}, indent=1, sort_keys=True) + "\n"
    for name, text in made.items():
        path = ROOT / name
        old = path.read_text() if path.exists() else ""
        if check and old != text:
            wrong.append(f"{name} is not what the code says; `just docs` writes it")
            wrong += list(difflib.unified_diff(old.splitlines(), text.splitlines(), name, "the code", lineterm="", n=0))[:40]
        elif not check:
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
    for path in sorted([*(ROOT / SCHEMAS).glob("*.json"), *(ROOT / MAN).glob("*")]):
        name = path.relative_to(ROOT).as_posix()
        if name in made:
            continue
        if check:
            wrong.append(f"{name} is of nothing that there is; `just docs` removes it")
        else:
            path.unlink()
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main_(check="--check" in sys.argv[1:]))

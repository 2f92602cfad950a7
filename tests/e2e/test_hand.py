"""The command line as a person and a program meet it: streams, formats, errors, exit codes, signals. T-OUT-1 to 4, T-SEC-3."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from rdev_cli.domain import errors
from rdev_cli.domain.codec import to_json
from rdev_cli.domain.command import Command, CommandKind, CommandState
from rdev_cli.domain.values import CommandId
from rdev_cli.faces.cli.face import EXITS
from rdev_cli.faces.cli.main import TREE, root
from rdev_cli.wiring.services import Services
from tests.hostile_names import FOREIGN, drives

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]
FORMATS = ("table", "wide", "json", "yaml", "name", "jsonl")


def leaves() -> Iterator[tuple[str, ...]]:
    """Yield every command of the tree as it is typed."""
    for name in TREE:
        group = root().get_command(None, name)
        for verb in group.list_commands(None) if hasattr(group, "list_commands") else [""]:
            yield (name, verb) if verb else (name,)


LEAVES = tuple(leaves())
# How each command is typed so that it succeeds on a project `shop` whose newest command is ID. A new command must get a line here.
TYPED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("demo",): ("demo", "--agent", "bundled"),
    ("project", "create"): ("project", "create", "shop", "--dry-run"),
    ("project", "list"): ("project", "list"),
    ("project", "show"): ("project", "show", "shop"),
    ("project", "status"): ("project", "status", "shop"),
    ("project", "adopt"): ("project", "adopt", "gone", "--dry-run"),
    ("project", "delete"): ("project", "delete", "shop", "--dry-run"),
    ("exec",): ("exec", "shop", "--", "true"),
    ("shell",): ("shell", "shop", "true"),
    ("git",): ("git", "shop", "--", "version"),
    ("command", "list"): ("command", "list"),
    ("command", "show"): ("command", "show", "ID"),
    ("command", "output"): ("command", "output", "ID"),
    ("command", "attach"): ("command", "attach", "ID"),
    ("command", "cancel"): ("command", "cancel", "ID"),
    ("operation", "list"): ("operation", "list"),
    ("agent", "list"): ("agent", "list"),
    ("agent", "show"): ("agent", "show", "claude"),
    ("agent", "health"): ("agent", "health", "bundled"),
    ("agent", "usage"): ("agent", "usage"),
    ("project", "set"): ("project", "set", "shop", "--model", "large"),
    ("completion",): ("completion", "bash"),
    ("project", "sync"): ("project", "sync", "shop"),
    ("credential", "list"): ("credential", "list"),
    ("key", "create"): ("key", "create", "--name", "ci", "--scope", "projects:read"),
    ("key", "list"): ("key", "list"),
    ("cp",): ("cp", "shop:README.md", "."),
    ("receipt", "list"): ("receipt", "list", "shop"),
    ("ps",): ("ps",),
    ("logs",): ("logs", "shop"),
    ("events",): ("events", "--limit", "5"),
    ("journal", "prune"): ("journal", "prune", "--before", "90d", "--dry-run"),
    ("checkout", "list"): ("checkout", "list"),
    ("session", "start"): ("session", "start", "shop"),
    ("session", "list"): ("session", "list"),
    ("preview", "list"): ("preview", "list"),
    ("branch", "list"): ("branch", "list", "shop"),
    ("pool", "list"): ("pool", "list"),
    ("pool", "fill"): ("pool", "fill", "1"),
    ("pool", "audit"): ("pool", "audit"),
    ("pool", "drain"): ("pool", "drain", "--yes"),
    ("webhook", "list"): ("webhook", "list"),
    ("webhook", "deliveries"): ("webhook", "deliveries"),
    ("context", "list"): ("context", "list"),
    ("context", "show"): ("context", "show"),
    ("context", "view"): ("context", "view"),
    ("context", "use"): ("context", "use", "local"),
    ("context", "set"): ("context", "set", "local", "--isolation", "bubblewrap"),
    ("context", "test"): ("context", "test"),
    ("context", "install"): ("context", "install", "--print"),
    ("gc",): ("gc",),
    ("doctor",): ("doctor",),
    ("schema",): ("schema",),
    ("uninstall",): ("uninstall", "--dry-run"),
    ("version",): ("version",),
}
RAW = {
    ("completion",),
    ("context", "install"),
    ("exec",),
    ("shell",),
    ("git",),
    ("command", "output"),
    ("command", "attach"),
    ("logs",),
}  # a person gets the command's own bytes
LISTS = {
    ("checkout", "list"),
    ("session", "list"),
    ("preview", "list"),
    ("branch", "list"),
    *(("pool", verb) for verb in ("list", "fill", "audit", "drain")),
    ("gc",),
    ("receipt", "list"),
    ("agent", "list"),
    ("agent", "health"),
    ("agent", "usage"),
    ("project", "list"),
    ("command", "list"),
    ("credential", "list"),
    ("key", "list"),
    ("operation", "list"),
    ("ps",),
    ("events",),
    ("webhook", "list"),
    ("webhook", "deliveries"),
    ("context", "list"),
    ("context", "view"),
    ("context", "test"),
    ("doctor",),
    ("schema",),
    ("uninstall",),
}
# they need an agent (tests/e2e/test_agents.py), a value (tests/e2e/test_credentials.py), a key (tests/e2e/test_key_commands.py) or a pod without a record (tests/e2e/test_left.py);
# the demo runs below
UNTRIED = {
    ("serve",),  # it answers when it listens, and stays: tests/e2e/test_serve.py
    ("agent", "run"),
    ("ci", "run"),  # a pipeline, and receipts: tests/e2e/test_ci.py
    *(("receipt", verb) for verb in ("show", "verify", "replay")),
    ("operation", "show"),  # a server: tests/http/test_once.py
    ("context", "remove"),
    ("project", "adopt"),
    ("claude",),
    ("checkin",),  # a change: tests/e2e/test_checkins.py
    ("demo",),
    *(("key", verb) for verb in ("show", "revoke")),
    # a session, and its end: tests/e2e/test_session_commands.py, test_attach.py
    *(("session", verb) for verb in ("show", "exec", "shell", "git", "claude", "files", "attach", "events", "preview", "checkin", "end")),
    ("preview", "close"),  # what is open in one: tests/e2e/test_preview_commands.py
    *(("checkout", verb) for verb in ("start", "show", "extend", "cancel")),  # a folder, and its end: tests/e2e/test_checkout.py
    *(("credential", verb) for verb in ("set", "import", "remove", "test")),
    *(("webhook", verb) for verb in ("add", "test", "replay", "rotate", "remove")),  # an endpoint: tests/e2e/test_webhook_commands.py
}


def words(leaf: tuple[str, ...], form: str, id: str) -> list[str]:
    """Return a command line of TYPED with `-o FORM` in it, in front of `--`."""
    typed = [id if word == "ID" else word for word in TYPED[leaf]]
    at = typed.index("--") if "--" in typed else len(typed)
    return [*typed[:at], "-o", form, *typed[at:]]


@pytest.fixture
def command(rdev: Rdev, project: str) -> str:
    """The id of a command of the project that has ended."""
    assert rdev("exec", project, "--", "printf", "out").returncode == 0
    return rdev("command", "list", "-o", "name").stdout.decode().strip()


# answers


def test_every_command_of_the_tree_is_tried() -> None:
    assert set(LEAVES) == set(TYPED) | UNTRIED


# lists that have nothing in them here
EMPTY = {
    *(("pool", verb) for verb in ("list", "drain", "audit")),
    ("ps",), ("gc",), ("agent", "usage"), ("credential", "list"), ("operation", "list"), ("webhook", "list"), ("webhook", "deliveries"),
    ("key", "list"), ("preview", "list"), ("checkout", "list"), ("receipt", "list"), ("session", "list"),
}  # fmt: skip


def test_t_out_2_every_format_of_every_command_is_whole_and_alone_on_stdout(rdev: Rdev, command: str) -> None:
    for leaf in [leaf for leaf in LEAVES if leaf not in UNTRIED]:
        for form in (
            ("json", "yaml", "jsonl") if leaf in RAW else ("table", "json") if leaf in (("doctor",), ("context", "test")) else FORMATS
        ):
            ran = rdev(*words(leaf, form, command))
            where = (leaf, form, ran.stdout[:300], ran.stderr[:300])
            assert ran.returncode == 0 or (leaf == ("doctor",) and ran.returncode == 9), where
            assert b"Traceback" not in ran.stderr, where
            if form == "json":
                document = json.loads(ran.stdout)
                assert ran.stdout == to_json(document).encode() + b"\n", where  # sorted, compact, one line
                assert (set(document) == {"items", "next"}) == (leaf in LISTS), where
            elif form == "yaml":
                assert isinstance(yaml.safe_load(ran.stdout), dict), where
            elif form == "jsonl":
                assert all(isinstance(json.loads(line), dict) for line in ran.stdout.splitlines()), where
            elif form == "name" and leaf not in RAW:
                assert re.fullmatch(rb"([A-Za-z0-9_.:/-]+\n)*", ran.stdout), where
                assert b"None" not in ran.stdout, where
            elif leaf not in RAW and leaf not in EMPTY:
                assert ran.stdout.endswith(b"\n") and b"\x1b" not in ran.stdout and b"{'" not in ran.stdout and b"['" not in ran.stdout, (  # noqa: PT018
                    where
                )


@pytest.mark.parametrize("form", ["json", "name"])
def test_the_demo_answers_a_program_with_one_document(form: str, rdev: Rdev) -> None:
    ran = rdev("demo", "--agent", "bundled", "-o", form)
    assert ran.returncode == 0, ran.stderr
    assert b"None" not in ran.stdout
    assert ran.stdout.count(b"\n") == 1
    if form == "json":
        assert json.loads(ran.stdout)["command"]["state"] == "completed"


def test_the_format_may_come_from_the_environment_and_a_flag_comes_first(rdev: Rdev) -> None:
    assert json.loads(rdev("project", "list", env={"RDEV_OUTPUT": "json"}).stdout) == {"items": [], "next": None}
    assert rdev("project", "list", "-o", "name", env={"RDEV_OUTPUT": "json"}).stdout == b""


def test_an_option_may_stand_in_the_environment_and_a_flag_comes_first(rdev: Rdev, project: str) -> None:
    would = rdev("project", "delete", project, env={"RDEV_DRY_RUN": "1", "RDEV_OUTPUT": "json"})
    assert json.loads(would.stdout)["would"].startswith("delete shop")
    started = rdev("exec", project, "--", "true", env={"RDEV_NO_WAIT": "1"})
    assert started.stdout.startswith(b"cmd_")
    bad = rdev("exec", project, "--", "true", env={"RDEV_TIMEOUT": "soon"})
    assert (bad.returncode, b"'soon'" in bad.stderr) == (2, True)
    assert rdev("exec", project, "--timeout", "30s", "--", "true", env={"RDEV_TIMEOUT": "soon"}).returncode == 0


def test_names_are_what_the_next_command_takes(rdev: Rdev, command: str) -> None:
    def names(*typed: str) -> list[str]:
        return rdev(*typed, "-o", "name").stdout.decode().split()

    assert [rdev("project", "show", name).returncode for name in names("project", "list")] == [0]
    assert names("project", "show", "shop") == names("project", "status", "shop") == names("project", "list") == ["shop"]
    assert [rdev("command", "show", name).returncode for name in names("command", "list")] == [0]
    assert names("command", "show", command) == [command]
    assert [rdev("context", "use", name).returncode for name in names("context", "list")] == [0]
    seqs = names("events")
    assert names("events", "--after", seqs[-2]) == seqs[-1:]
    assert names("version") == [rdev("--version").stdout.decode().split()[1]]
    assert rdev("command", "show", command[:12]).returncode in (0, 2)  # a beginning, if it is unique


def test_an_attach_goes_on_at_the_byte_it_is_given(rdev: Rdev, command: str) -> None:
    lines = [json.loads(line) for line in rdev("command", "attach", command, "--offset", "2", "-o", "jsonl").stdout.splitlines()]
    assert [(line["type"], line.get("data"), line.get("offset")) for line in lines] == [("output", "t", 2), ("ended", None, None)]
    assert rdev("command", "attach", command, "--offset", "2").stdout == b"t"


def test_a_list_pages_by_its_own_next(rdev: Rdev, command: str) -> None:
    whole = json.loads(rdev("events", "-o", "json").stdout)
    assert whole["next"] is None
    seen, after = [], "0"
    while after is not None:
        page = json.loads(rdev("events", "--after", after, "--limit", "2", "-o", "json").stdout)
        seen += page["items"]
        after = page["next"]
    assert seen == whole["items"]
    newest = json.loads(rdev("events", "--subject", command, "--limit", "1", "-o", "json").stdout)
    assert [line["kind"] for line in newest["items"]] == ["command.completed"]
    assert newest["next"] is None


def test_an_empty_list_says_so_beside_the_answer(rdev: Rdev) -> None:
    for typed in (("project", "list"), ("command", "list"), ("ps",), ("events",)):
        ran = rdev(*typed)
        assert (ran.returncode, ran.stdout) == (0, b"")
        assert ran.stderr
        assert json.loads(rdev(*typed, "-o", "json").stdout) == {"items": [], "next": None}
        assert rdev(*typed, "-o", "jsonl").stdout == b""


# errors


USAGE = (
    ("prject",), ("project", "creat"), ("project", "list", "--contxt", "x"), ("project", "create"), ("project", "list", "extra"), ("project", "list", "-o", "xml"),
    ("project", "list", "-o"), ("exec", "shop"), ("exec", "shop", "ls"), ("exec", "shop", "ls", "-la"), ("git", "shop", "log"), ("events", "--limit", "0"),
    ("events", "--limit", "x"), ("events", "--after", "-1"), ("events", "--subject", "a b"), ("shell", "shop"),
    ("exec", "shop", "--timeout", "5", "--", "ls"), ("exec", "shop", "--isolation", "x", "--", "ls"), ("exec", "--", "ls"), ("project", "show"),
    ("command", "show", "xyz"), ("project", "delete", "shop"), ("project", "show", ""), ("context", "show", ""), ("command", "list", "--project", ""),
    ("project", "list", "--context", ""), ("project", "create", "x", "--from", ""), ("project", "list", "--log-file", "/nonexistent/x"),
    ("context", "set", "local", "--agent", "x"), ("claude", "shop", " "), ("claude", "shop"),
)  # fmt: skip


def test_t_out_4_a_usage_error_is_2_and_says_what_to_type(rdev: Rdev, project: str) -> None:
    for typed in USAGE:
        ran = rdev(*typed)
        assert (ran.returncode, ran.stdout) == (2, b""), (typed, ran)
        lines = ran.stderr.decode().splitlines()
        assert len(lines) == 2 and re.match("error: [^A-Z]", lines[0]) and lines[1].startswith("hint:  "), (typed, lines)  # noqa: PT018


def test_t_out_2_a_usage_error_is_a_document_too(rdev: Rdev, project: str) -> None:
    for typed in [typed for typed in USAGE if "-o" not in typed][::2]:
        at = typed.index("--") if "--" in typed else len(typed)
        ran = rdev(*typed[:at], "-o", "json", *typed[at:])
        assert (ran.returncode, ran.stdout) == (2, b""), (typed, ran)
        assert_document(ran.stderr)


def test_a_stream_is_no_document(rdev: Rdev) -> None:
    for form in ("json", "yaml"):
        ran = rdev("events", "--follow", "-o", form, timeout=10)
        assert (ran.returncode, ran.stdout) == (2, b"")
        assert "-o jsonl" in str(assert_document(ran.stderr)["message"])


def assert_document(text: bytes) -> Mapping[str, object]:
    """Check the one shape of an error and return it."""
    body = json.loads(text)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint", "context"}
    assert re.fullmatch("[A-Z][A-Z0-9_]*", body["error"]["code"])
    assert body["error"]["message"]
    assert isinstance(body["error"]["context"], dict)
    assert text == to_json(body).encode() + b"\n"
    return body["error"]


def test_t_out_4_each_reachable_class_has_its_code_on_both_tongues(
    rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path
) -> None:
    config = Path(home["XDG_CONFIG_HOME"]) / "rdev/config.yaml"
    config.parent.mkdir(parents=True, mode=0o700)
    half = Services(environ=home, cwd=tmp_path)
    with half.store.transaction() as tx:
        lease = tx.take("project:shop", owner="somebody", seconds=60)
    half.close()
    assert lease.attempt
    cases = {
        (2, "INVALID_NAME"): ("project", "show", "SHOP"),
        (2, "CONFIRMATION"): ("project", "delete", "shop"),
        (3, "NOT_FOUND"): ("project", "show", "nope"),
        (3, "NO_CONTEXT"): ("project", "list", "--context", "nope"),
        (5, "CONFLICT"): ("project", "create", "shop", "-d", "another", "--timeout", "1s"),
        (6, "TOOL_MISSING"): ("claude", "shop", "hello"),
        (125, "NOT_FOUND"): ("exec", "nope", "--", "ls"),
        (125, "INVALID_NAME"): ("shell", "SHOP", "ls"),
    }
    path = {"PATH": "/usr/bin:/bin"}
    for (code, name), typed in cases.items():
        if name == "CONFLICT":  # the lease of this very process is held by a process that lives: BUSY, until it is given back
            ran = rdev(*typed, env=path)
            assert (ran.returncode, b"is in the hands of" in ran.stderr) == (5, True)
            with half.store.transaction() as tx:
                tx.release("project:shop", "somebody")
            half.close()
        ran = rdev(*typed, env=path)
        assert (ran.returncode, ran.stdout) == (code, b""), (typed, ran)
        assert ran.stderr.startswith(b"error: ") and b"\nhint:  " in ran.stderr, ran.stderr  # noqa: PT018
        at = typed.index("--") if "--" in typed else len(typed)
        for form in ("json", "yaml"):
            ran = rdev(*typed[:at], "-o", form, *typed[at:], env=path)
            assert (ran.returncode, ran.stdout) == (code, b"")
            assert assert_document(ran.stderr)["code"] == name
    config.write_text("{}")
    config.chmod(0o666)
    assert (rdev("project", "list").returncode, assert_document(rdev("project", "list", "-o", "json").stderr)["code"]) == (
        4,
        "CONFIG_UNSAFE",
    )


def test_t_out_4_every_class_of_error_has_one_exit_code_and_the_table_is_the_documents() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.RdevError)}
    assert kinds == set(EXITS)
    assert dict(EXITS) == {
        "RdevError": 1, "Invalid": 2, "NotFound": 3, "Denied": 4, "Conflict": 5, "Unavailable": 6, "Partial": 7, "Pending": 8,
        "Failed": 9, "OutcomeUnknown": 74, "TimedOut": 124, "Cancelled": 130,
    }  # fmt: skip


def test_t_out_4_a_commands_own_exit_code_is_rdevs(rdev: Rdev, project: str) -> None:
    for code in (0, 1, 2, 74, 125, 255):
        assert rdev("exec", project, "--", "sh", "-c", f"exit {code}").returncode == code
    assert rdev("exec", project, "--", "/nonexistent").returncode == 127
    assert rdev("exec", project, "--", "/etc").returncode == 126
    assert rdev("exec", project, "--timeout", "1s", "--", "sleep", "30").returncode == 124


def test_t_sec_3_a_failure_of_rdevs_own_says_so_without_a_traceback_and_never_shows_values(home: Mapping[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; from rdev_cli.ops import projects\n"
        "def broken(world):\n    canary = 'CANARY-' + 'VALUE'\n    raise KeyError('broken')\n"
        "projects.list_.__code__ = broken.__code__\n"
        "from rdev_cli.__main__ import main; sys.exit(main())"
    )
    for more in ([], ["-v"], ["-o", "json"]):
        ran = subprocess.run(
            [sys.executable, "-c", code, "project", "list", *more],
            env=dict(home),
            cwd=tmp_path,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert b"CANARY-VALUE" not in ran.stderr
        assert (b"Traceback" in ran.stderr) == (more == ["-v"])
        if more == ["-o", "json"]:
            assert assert_document(ran.stderr)["code"] == "INTERNAL"


# help


def test_help_is_everywhere_on_stdout_and_fits_narrow_terminals(rdev: Rdev) -> None:
    for path in [(), *((name,) for name in TREE), *LEAVES]:
        ran = rdev(*path, "-h")
        assert (ran.returncode, ran.stderr) == (0, b""), path
        assert ran.stdout.startswith(f"Usage: {' '.join(('rdev', *path))}".encode()), path
        assert b"\x1b" not in ran.stdout
    for path in ((), ("project", "create")):
        long = rdev(*path, "--help", env={"COLUMNS": "200"})
        for columns in ("40", "20", "1", "0", "x"):
            narrow = rdev(*path, "--help", env={"COLUMNS": columns})
            assert (narrow.returncode, narrow.stderr) == (0, b""), (columns, path)
            assert sorted(narrow.stdout.split()) == sorted(long.stdout.split()), (columns, path)  # the same words: nothing is cut


def test_rdev_alone_shows_what_there_is(rdev: Rdev) -> None:
    for typed in ((), ("project",), ("command",), ("journal",), ("context",)):
        ran = rdev(*typed)
        assert (ran.returncode, ran.stdout) == (2, b"")
        assert ran.stderr.startswith(b"Usage: rdev")
        assert b"Commands:" in ran.stderr
    assert b"rdev demo" in rdev().stderr


def test_a_near_miss_is_named(rdev: Rdev) -> None:
    assert b"rdev project list" in rdev("prject", "list").stderr
    assert b"rdev project create" in rdev("project", "creat").stderr
    assert b"--description" in rdev("project", "create", "x", "--descripton", "y").stderr
    assert rdev("exec", "shop", "ls", "-l").stderr.endswith(b"hint:  rdev exec shop -- ls -l\n")


# terminals


def test_a_narrow_terminal_clips_nothing(rdev: Rdev, command: str) -> None:
    for at, leaf in enumerate(
        [("project", "list"), ("project", "show"), ("command", "list"), ("command", "show"), ("events",), ("context", "view")]
    ):
        columns = ("20", "40")[at % 2]
        narrow, wide = (
            rdev(*words(leaf, "wide", command), env={"COLUMNS": columns}),
            rdev(*words(leaf, "wide", command), env={"COLUMNS": "300"}),
        )
        assert narrow.returncode == 0, narrow.stderr
        first, second = (re.sub(rb"now|[0-9.]+ ?(s|min) ago|  +|\n", b" ", ran.stdout).split() for ran in (narrow, wide))
        assert first == second


NARROW_WORLDS: list[dict[str, str | None]] = [
    {"LANG": "C", "LC_ALL": "C"}, {"LANG": None, "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii:strict", "COLUMNS": "20"}, {"NO_COLOR": "1", "TERM": "dumb"},
]  # fmt: skip


def test_t_out_3_no_encoding_of_the_terminal_stops_rdev(rdev: Rdev) -> None:
    text = "grüße \U0001f600 日本"
    assert rdev("project", "create", "shop", "--description", text).returncode == 0
    for world in NARROW_WORLDS:
        ran = rdev("project", "show", "shop", env=world)
        assert ran.returncode == 0 and b"description" in ran.stdout, (world, ran.stderr)  # noqa: PT018
        document = rdev("project", "show", "shop", "-o", "json", env=world).stdout
        assert json.loads(document.decode("utf-8"))["description"] == text  # a document is UTF-8 whatever the terminal
        ran = rdev("project", "show", text, env=world)
        assert ran.returncode == 2
        assert b"rdev failed" not in ran.stderr
        assert assert_document(rdev("project", "show", "ñ", "-o", "json", env=world).stderr)["code"] == "INVALID_NAME"


def on_terminal(
    home: Mapping[str, str], tmp_path: Path, *typed: str, typing: bytes = b"", rows: int = 24, columns: int = 40, **env: str
) -> tuple[int, bytes]:
    """Run rdev on a terminal, type something once it asks, and return (exit code, all that the terminal got)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("rdev")), *typed], stdin=slave, stdout=slave, stderr=slave, env={**home, **env}, cwd=tmp_path, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    got, end = b"", time.monotonic() + 30
    while time.monotonic() < end:
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            part = os.read(master, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        got += part
        if typing and b"[y/N]" in got:
            os.write(master, typing)
            typing = b""
    os.close(master)
    return process.wait(10), got


def test_t_out_2_without_a_terminal_nobody_is_asked_and_the_flag_is_named(rdev: Rdev, project: str) -> None:
    for input in (None, b"y\n", b""):  # noqa: A001
        ran = rdev("project", "delete", project, input=input)
        assert (ran.returncode, ran.stdout) == (2, b"")
        assert b"--yes" in ran.stderr
        assert b"nobody can be asked" in ran.stderr
        assert b"context local" in ran.stderr
    assert rdev("project", "show", project).returncode == 0


def test_on_a_terminal_only_a_yes_deletes(home: Mapping[str, str], tmp_path: Path, rdev: Rdev, project: str) -> None:
    for answer in (b"n\n", b"\n", b"\x04", b"\x03", b"yess\n"):  # no, nothing, Ctrl-D, Ctrl-C, a slip
        code, got = on_terminal(home, tmp_path, "project", "delete", project, typing=answer)
        assert code == 130, (answer, got)
        assert b"Traceback" not in got
        assert rdev("project", "show", project).returncode == 0
    code, got = on_terminal(home, tmp_path, "project", "delete", project, typing=b"y\n")
    assert (code, b"deleted shop" in got) == (0, True)


def test_colour_is_for_terminals_that_want_it(home: Mapping[str, str], tmp_path: Path) -> None:
    assert b"\x1b" in on_terminal(home, tmp_path, "demo", "--agent", "bundled")[1]
    assert b"\x1b" not in on_terminal(home, tmp_path, "demo", "--agent", "bundled", NO_COLOR="1")[1]
    assert b"\x1b" not in on_terminal(home, tmp_path, "demo", "--agent", "bundled", TERM="dumb")[1]


# closed and full pipes


@pytest.mark.parametrize(
    "typed", [("events", "--limit", "10000", "-o", "jsonl"), ("events", "--limit", "10000"), ("exec", "shop", "--", "yes")]
)
def test_t_out_2_a_reader_that_leaves_ends_rdev_quietly(
    typed: tuple[str, ...], rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path
) -> None:
    world = Services(environ=home, cwd=tmp_path)
    with world.store.transaction() as tx:
        for number in range(3000):
            tx.append("test.said", project, {"text": f"line {number} " * 5})
    world.close()
    line = f"{Path(sys.executable).with_name('rdev')} {' '.join(typed)} | head -n 1; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", line], env=dict(home), cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert ran.stdout.splitlines()[-1] == b"141", ran
    assert ran.stderr == b""
    assert rdev("ps", "-o", "json").stdout == b'{"items":[],"next":null}\n'


def test_a_stdout_that_takes_nothing_is_a_failure_of_the_machine(home: Mapping[str, str], rdev: Rdev, spawn: Spawn, project: str) -> None:
    for form in FORMATS:
        with open("/dev/full", "wb") as full:
            process = spawn("project", "list", "-o", form, stdout=full)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 6, said
        assert b"No space left" in said
        assert b"Traceback" not in said
        assert b"Exception ignored" not in said


def test_a_closed_stream_never_becomes_a_file(rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> None:
    binary = Path(sys.executable).with_name("rdev")
    for closed in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        name = f"p{len(closed)}{closed.count('2')}"
        line = f"{binary} project create {name} {closed} && {binary} exec {name} {closed} -- sh -c 'echo a; echo b >&2'"
        ran = subprocess.run(["bash", "-c", line], env=dict(home), cwd=tmp_path, capture_output=True, timeout=60, check=False)
        assert ran.returncode == 0, (closed, ran)
    checks = {check["name"]: check["verdict"] for check in json.loads(rdev("doctor", "-o", "json").stdout)["items"]}
    assert (checks["state.integrity"], checks["journal.chain"]) == ("ok", "ok")


# foreign text


def test_t_out_1_foreign_text_is_shown_and_never_obeyed(rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> None:
    text = " ".join(FOREIGN).replace("\n", " ")
    source = tmp_path / "source"
    git = ["git", "-c", "user.name=a\x1b[31m\u202eb", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", "-C", str(source)]
    source.mkdir()
    for more in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", text]):
        subprocess.run([*git, *more], check=True, timeout=20, env=dict(home), capture_output=True)
    printable = "".join(c for c in text if ord(c) >= 32)
    made = rdev("project", "create", "shop", "--from", str(source), "--description", printable)
    assert made.returncode == 0, made.stderr
    world = Services(environ=home, cwd=tmp_path)
    project = world.store.find_project("shop")
    assert project is not None
    agent = Command(
        id=CommandId("cmd_01m821q2sg04c1vszks1"), project="shop", project_id=project.id, kind=CommandKind.AGENT, argv=("claude", text),
        state=CommandState.COMPLETED, actor=f"local:{text}", created_at=world.clock.now(), ended_at=world.clock.now(), exit_code=0, duration_ms=1,
        agent="claude", model=text, session=text, answer=f"{text}\nmore \ud800", delivered=text,
    )  # fmt: skip
    with world.store.transaction() as tx:
        tx.put_command(agent)
        for kind in ("agent.said", "agent.used", "agent.answered", "agent.finished"):
            tx.append(kind, agent.id, {"text": text + "\ud800", "tool": text, "target": text, "failed": True, text: text})
    world.close()
    commands = [
        ("project", "list"), ("project", "show", "shop"), ("project", "status", "shop"), ("command", "list"), ("command", "show", agent.id),
        ("command", "attach", agent.id), ("events",), ("doctor",), ("project", "create", "shop", "--from", str(source), "-d", printable),
    ]  # fmt: skip
    for typed in commands:
        for form in ("wide", "json", "yaml"):
            ran = rdev(*typed, "-o", form)
            assert ran.returncode == 0 or typed == ("doctor",), (typed, form, ran.stderr)
            assert drives(ran.stdout) == [] and drives(ran.stderr) == [], (typed, form, ran.stdout)  # noqa: PT018
    shown = rdev("project", "status", "shop").stdout.decode()
    assert "[/foo]" in shown
    assert "[link=http://evil/]x[/link]" in shown
    assert ":boom:" in shown
    assert "\\x1b[2J" in shown
    assert "\\u202e" in shown
    assert json.loads(rdev("project", "show", "shop", "-o", "json").stdout)["description"] == printable
    assert yaml.safe_load(rdev("project", "show", "shop", "-o", "yaml").stdout)["description"] == printable
    for typed in (
        ("project", "show", text),
        ("prject" + text,),
        ("project", "list", "--" + text),
        ("exec", "shop", text),
        ("project", "list", "-o", text),
    ):
        for more in ((), ("-o", "json"))[: 1 if "-o" in typed else 2]:
            ran = rdev(*typed, *more)
            assert ran.returncode == 2
            assert drives(ran.stdout) == [] and drives(ran.stderr) == [], typed  # noqa: PT018
    with world.store.transaction() as tx:
        tx.release("nothing", "nobody")
    world.close()
    _, got = on_terminal(home, tmp_path, "project", "status", "shop", columns=20)
    assert drives(got.replace(b"\r\n", b"\n")) == []


# signals


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A folder with an `ssh` that never answers, and tells its process number."""
    folder = tmp_path / "bin"
    folder.mkdir()
    ssh = folder / "ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/ssh.pid\nexec sleep 300\n")
    ssh.chmod(0o755)
    return folder


def started(path: Path) -> int:
    """Wait for a file with a number in it and return the number."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError(f"{path} never came")


def gone(pid: int) -> bool:
    """Say whether a process is gone within two seconds."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_a_create_and_leaves_nothing(
    number: int, code: int, rdev: Rdev, spawn: Spawn, slow: Path, tmp_path: Path, home: Mapping[str, str]
) -> None:
    process = spawn("project", "create", "shop", "--from", "ssh://host/repository", env={"PATH": f"{slow}:{home['PATH']}"})
    ssh = started(tmp_path / "ssh.pid")
    process.send_signal(number)
    out, said = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, b""), said
    assert said.startswith(b"error: ")
    assert b"Traceback" not in said
    assert gone(ssh)
    assert json.loads(rdev("project", "list", "-o", "json").stdout)["items"] == []
    assert not [path for part in ("repos", "pods") for path in (tmp_path / "user/state/rdev/local" / part).glob("*")]


def test_a_second_ctrl_c_leaves_at_once_and_says_what_stands(
    rdev: Rdev, spawn: Spawn, tmp_path: Path, home: Mapping[str, str], project: str
) -> None:
    # a command that takes no TERM: the first Ctrl-C asks it, the second does not wait for it
    process = spawn("exec", project, "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert (process.returncode, time.monotonic() - start < 1) == (130, True)
    assert b"left at once" in said
    assert b"rdev command cancel cmd_" in said
    id = said.decode().rpartition(" ")[2].strip()
    assert json.loads(rdev("command", "cancel", id, "-o", "json").stdout)["state"] == "cancelled"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_follower_of_events(number: int, code: int, spawn: Spawn, project: str) -> None:
    process = spawn("events", "--follow", "-o", "jsonl")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["kind"] == "project.requested"
    assert json.loads(process.stdout.readline())["kind"] == "project.created"
    process.send_signal(number)
    assert process.communicate(timeout=10) == (b"", b"")
    assert process.returncode == code


def test_a_follower_of_events_sees_what_happens_next(rdev: Rdev, spawn: Spawn, project: str) -> None:
    process = spawn("events", "--follow", "--after", "2", "-o", "jsonl")
    assert process.stdout is not None
    assert rdev("exec", project, "--", "true").returncode == 0
    assert [json.loads(process.stdout.readline())["kind"] for _ in range(2)] == ["command.started", "command.completed"]


def test_ctrl_c_ends_a_wait_for_a_prompt_on_stdin(spawn: Spawn, project: str) -> None:
    process = spawn("claude", project, "-", stdin=subprocess.PIPE)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_an_ignored_signal_stays_ignored(spawn: Spawn, project: str) -> None:
    process = spawn("exec", project, "--", "sh", "-c", "echo up; sleep 1", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0


# the log


def test_the_log_tells_what_was_run_as_json_in_a_private_bounded_file(rdev: Rdev, project: str, tmp_path: Path) -> None:
    log = tmp_path / "rdev.log"
    log.write_text("old\n" * 10)
    log.chmod(0o644)
    for typed, code in (
        (("exec", project, "--log-file", str(log), "--", "sh", "-c", "exit 3"), 3),
        (("project", "show", "nope", "--log-file", str(log)), 3),
    ):
        assert rdev(*typed, env={"RDEV_LOG_FORMAT": "json"}).returncode == code
    assert log.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in log.read_text().splitlines()[10:]]
    assert [line["message"] for line in lines if line["level"] != "debug"] == ["began", "ended", "began", "failed", "ended"]
    first, last = lines[0], next(line for line in lines if line["message"] == "ended")
    assert (first["command"], first["argv"][:2]) == ("rdev exec", ["exec", "shop"])
    assert (last["exit_code"], isinstance(last["duration_ms"], int)) == (3, True)
    assert next(line for line in lines if line["message"] == "failed")["code"] == "NOT_FOUND"
    assert rdev("project", "create", "other", env={"RDEV_LOG_FILE": str(log), "RDEV_LOG_FORMAT": "json"}).returncode == 0
    git = [json.loads(line) for line in log.read_text().splitlines()[10:] if '"git"' in line]
    assert any(line["level"] == "debug" and line["argv"][0] == "init" for line in git)
    log.write_bytes(b"x" * (5 << 20))
    assert rdev("project", "list", "--log-file", str(log)).returncode == 0
    assert log.stat().st_size < 4096
    assert sorted(path.name for path in tmp_path.glob("rdev.log*")) == ["rdev.log", "rdev.log.1"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.glob("rdev.log*"))


def test_verbose_talks_on_stderr_and_leaves_the_answer_alone(rdev: Rdev, project: str) -> None:
    ran = rdev("project", "list", "-v", "-o", "json")
    assert json.loads(ran.stdout)["items"][0]["name"] == "shop"
    assert b"began" in ran.stderr
    assert b"ended exit_code=0" in ran.stderr
    ran = rdev("exec", project, "-v", "--", "sh", "-c", "echo out; echo err >&2")
    assert ran.stdout == b"out\n"
    assert b"err\n" in ran.stderr
    assert b"runner" in ran.stderr


def test_a_log_that_is_no_file_of_ones_own_is_refused(rdev: Rdev, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for path in (tmp_path, tmp_path / "link", Path("/dev/null"), tmp_path / "no/such", Path("/proc/version")):
        ran = rdev("project", "list", "--log-file", str(path))
        assert (ran.returncode, ran.stdout) == (2, b""), (path, ran)
    assert not (tmp_path / "target").exists()


def test_a_full_log_disk_stops_nothing(rdev: Rdev, tmp_path: Path, spawn: Spawn) -> None:
    import resource

    log = tmp_path / "rdev.log"
    log.write_bytes(b"x" * 5000)
    process = spawn("version", "--log-file", str(log), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)))
    out, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, b"")
    assert out.startswith(b"rdev ")


# nothing is sent anywhere


def test_the_demo_talks_to_this_machine_only(home: Mapping[str, str], tmp_path: Path) -> None:
    code = """
import sys
seen = open(sys.argv.pop(), "w", buffering=1)
def hook(event, args):
    if event in ("socket.connect", "socket.bind", "socket.sendto"):
        print(event, args[1][0] if isinstance(args[1], tuple) else "local", file=seen)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        print(event, args[0], file=seen)
sys.addaudithook(hook)
from rdev_cli.__main__ import main
sys.exit(main())
"""
    seen = tmp_path / "seen"
    ran = subprocess.run(
        [sys.executable, "-c", code, "demo", "--agent", "bundled", str(seen)],
        env=dict(home),
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines = seen.read_text().split("\n")[:-1]
    assert any(line.startswith("socket.bind 127.0.0.1") for line in lines)  # the eye is open
    assert {line.split()[1] for line in lines} <= {"127.0.0.1", "local", "localhost", "::1"}

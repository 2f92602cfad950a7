"""Credentials as a user keeps them: every way in, every way out that must be closed. T-SEC-1, 3, 4, 5, 7, 10."""

import base64
import contextlib
import fcntl
import json
import os
import pty
import re
import stat
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from rdev_cli.adapters.scripted import ScriptedModel
from rdev_cli.adapters.vault.sealed import SealedFile
from rdev_cli.domain.values import Secret
from tests.support.keyrings import FAKE

SUPPORT = Path(__file__).parents[1] / "support"
ALONE = {"process_group": -1, "start_new_session": True}  # no terminal stands behind it, whoever runs the tests


def _local(home: Mapping[str, str]) -> Path:
    return Path(home["XDG_STATE_HOME"]) / "rdev" / "local"


def _json(done: "subprocess.CompletedProcess[bytes]") -> dict:
    return json.loads(done.stdout)


def _error(done: "subprocess.CompletedProcess[bytes]") -> dict:
    return json.loads(done.stderr)["error"]


def _value(home: Mapping[str, str], name: str) -> str | None:
    """Return what the file of the context local keeps under a name."""
    installation = (_local(home).parent / "installation").read_text().strip()
    one = SealedFile(_local(home), kind="file", bound_to=(installation, "local"), passphrase=lambda _: Secret("not asked"))
    found = one.get(name)
    return None if found is None else found.reveal()


def _until(done: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Terminal:
    """A person at a terminal of their own, at which a process was started."""

    def __init__(self) -> None:
        self.side, self.process_side = pty.openpty()
        self.seen = b""

    def options(self, *, stdin: bool) -> dict[str, object]:
        """Return how to start a process at it; without `stdin` the terminal only stands behind."""
        return {
            **ALONE, "preexec_fn": lambda: fcntl.ioctl(self.process_side, termios.TIOCSCTTY, 0), "pass_fds": (self.process_side,),
            **({"stdin": self.process_side, "stderr": self.process_side} if stdin else {}),
        }  # fmt: skip

    def read_until(self, words: bytes) -> None:
        os.set_blocking(self.side, False)

        def look() -> bool:
            with contextlib.suppress(BlockingIOError, OSError):
                self.seen += os.read(self.side, 4096)
            return words in self.seen

        _until(look)

    def answer(self, words: bytes, text: bytes) -> None:
        self.read_until(words)
        self.seen = b""
        os.write(self.side, text)

    def close(self) -> None:
        os.close(self.side)
        os.close(self.process_side)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.close()


# set, list, import, remove


def test_a_credential_is_set_listed_and_removed_and_its_value_never_shown(rdev, home):
    done = rdev("credential", "set", "ANTHROPIC_API_KEY", input=b"canary-1\n")
    assert done.returncode == 0, done.stderr
    assert _value(home, "ANTHROPIC_API_KEY") == "canary-1"
    rdev("credential", "set", "GITEA_TOKEN", "-", input=b"canary-2")
    table = [re.split("  +", line) for line in rdev("credential", "list").stdout.decode().splitlines()]
    assert [(row[0], row[1], row[3]) for row in table] == [
        ("NAME", "PLACE", "USED BY"), ("ANTHROPIC_API_KEY", "file", "claude, opencode, bundled"), ("GITEA_TOKEN", "file", "-"),
    ]  # fmt: skip
    items = _json(rdev("credential", "list", "-o", "json"))["items"]
    assert [set(item) for item in items] == [{"name", "place", "updated_at", "used_by"}] * 2
    assert rdev("credential", "set", "GITEA_TOKEN", input=b"canary-3").returncode == 0
    assert _value(home, "GITEA_TOKEN") == "canary-3"
    assert rdev("credential", "remove", "GITEA_TOKEN").returncode == 2
    assert rdev("credential", "remove", "GITEA_TOKEN", "--yes").returncode == 0
    assert (_value(home, "GITEA_TOKEN"), rdev("credential", "list", "-o", "name").stdout) == (None, b"ANTHROPIC_API_KEY\n")
    events = _json(rdev("events", "-o", "json"))["items"]
    assert [(event["kind"], event["subject"], event["data"]) for event in events] == [
        ("credential.set", "ANTHROPIC_API_KEY", {"place": "file"}), ("credential.set", "GITEA_TOKEN", {"place": "file"}),
        ("credential.set", "GITEA_TOKEN", {"place": "file"}), ("credential.removed", "GITEA_TOKEN", {"place": "file"}),
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "name", "jsonl"])
def test_every_format_answers_every_verb(rdev, form):
    for typed, lines in ((("set", "A"), 0), (("import", "-"), 2), (("list",), 2), (("test", "A"), 2), (("remove", "A", "--yes"), 0)):
        done = rdev("credential", *typed, "-o", form, input=b"A=1\nB=2\n")
        assert done.returncode == 0, done.stderr
        if form in ("name", "jsonl"):
            assert len(done.stdout.splitlines()) == max(1, lines)
        if form == "json":
            assert ("items" in _json(done)) == bool(lines)


def test_an_import_keeps_all_or_nothing(rdev, home, tmp_path):
    file = tmp_path / ".env"
    file.write_text("# of the shop\nexport A=1\nB='two words'\n")
    done = rdev("credential", "import", str(file), "-o", "name")
    assert (done.returncode, done.stdout) == (0, b"A\nB\n")
    assert (_value(home, "A"), _value(home, "B")) == ("1", "two words")
    refused = rdev("credential", "import", "-", "-o", "json", input=b"A=canary\nC=canary\nD canary\n")
    assert (refused.returncode, _error(refused)["context"]["line"]) == (2, 3)
    assert b"canary" not in refused.stderr
    assert (rdev("credential", "list", "-o", "name").stdout, _value(home, "A")) == (b"A\nB\n", "1")


@pytest.mark.parametrize(
    ("typed", "code", "exit_code"),
    [
        (("set", "lower"), "INVALID_NAME", 2), (("set", "A"), "INVALID", 2), (("set", "A", "--from-file", "/none"), "INVALID", 2),
        (("set", "A", "-", "--from-file", "/none"), "USAGE", 2), (("import", "/none"), "INVALID", 2), (("remove", "A", "--yes"), "NOT_FOUND", 3),
        (("test", "A"), "NOT_FOUND", 3), (("test", "a"), "INVALID_NAME", 2),
    ],
)  # fmt: skip
def test_what_cannot_be_done_has_a_code_and_a_hint(rdev, typed, code, exit_code):
    done = rdev("credential", *typed, "-o", "json")
    assert (done.returncode, _error(done)["code"], bool(_error(done)["hint"])) == (exit_code, code, True)
    assert rdev("credential", "list", "-o", "name").stdout == b""


@pytest.mark.parametrize(
    "typed",
    [("set", "A", "canary-9"), ("set", "A", "--value", "canary-9"), ("set", "A", "--value=canary-9"), ("set", "A", "--token=canary-9"),
     ("set", "A=canary-9"), ("import", "A=canary-9")],
)  # fmt: skip
@pytest.mark.parametrize("form", ["table", "json"])
def test_t_sec_10_a_value_is_no_argument_and_is_not_repeated(rdev, tmp_path, typed, form):
    log = tmp_path / "log"
    done = rdev("credential", *typed, "-o", form, "-v", "--log-file", str(log))
    assert done.returncode == 2
    if typed[1] == "A":
        assert b"canary-9" not in done.stdout + done.stderr
        assert not log.exists() or b"canary-9" not in log.read_bytes()


def test_t_sec_10_there_is_no_option_and_no_variable_for_a_value(rdev):
    words = rdev("credential", "set", "--help").stdout
    assert set(re.findall(rb"(--[a-z-]+)", words)) == {
        b"--from-file", b"--passphrase-file", b"--output", b"--context", b"--verbose", b"--log-file", b"--log-format", b"--help",
    }  # fmt: skip
    done = rdev("credential", "set", "A", "-o", "json", env={"RDEV_VALUE": "x", "RDEV_STDIN": "x", "A": "x"})
    assert (done.returncode, _error(done)["code"]) == (2, "INVALID")


def test_a_terminal_is_asked_without_echo(spawn, home, terminal):
    process = spawn("credential", "set", "A", **terminal.options(stdin=True))
    terminal.answer(b"The value of A (not shown): ", b"canary-4\n")
    assert process.wait(30) == 0
    terminal.read_until(b"\n")
    assert b"canary" not in terminal.seen
    assert _value(home, "A") == "canary-4"
    assert termios.tcgetattr(terminal.process_side)[3] & termios.ECHO


def test_ctrl_c_at_the_question_keeps_nothing_and_gives_the_echo_back(spawn, rdev, terminal):
    process = spawn("credential", "set", "A", **terminal.options(stdin=True))
    terminal.answer(b"(not shown): ", b"half a val\x03")
    assert process.wait(30) == 130
    assert termios.tcgetattr(terminal.process_side)[3] & termios.ECHO
    assert rdev("credential", "list", "-o", "name").stdout == b""


def test_processes_that_set_at_once_lose_nothing(spawn, rdev, home):
    names = [f"KEY_{number}" for number in range(6)]
    running = [spawn("credential", "set", name, stdin=subprocess.PIPE) for name in names]
    for name, process in zip(names, running, strict=True):
        process.stdin.write(name.encode())
        process.stdin.close()
    assert [process.wait(60) for process in running] == [0] * 6
    assert rdev("credential", "list", "-o", "name").stdout.decode().split() == names
    assert [_value(home, name) for name in names] == names


# places


def test_the_keyring_is_taken_where_there_is_one_and_left_when_the_settings_say_so(rdev, home, tmp_path):
    fake = {**FAKE, "FAKE_KEYRING": str(tmp_path / "entries")}
    assert _json(rdev("credential", "set", "A", "-o", "json", input=b"canary-5", env=fake))["place"] == "keyring"
    assert list(json.loads((tmp_path / "entries").read_text()).values()) == ["canary-5"]
    assert not (_local(home) / "vault.json").exists()
    assert rdev("credential", "test", "A", env=fake).returncode == 0
    gone = rdev("credential", "test", "A", "-o", "json")  # over ssh, say
    assert (gone.returncode, _error(gone)["code"]) == (6, "VAULT_LOCKED")
    assert rdev("context", "set", "local", "--vault", "file", env=fake).returncode == 0
    assert rdev("credential", "test", "A", env=fake).returncode == 0  # a record says where its value is
    assert _json(rdev("credential", "set", "A", "-o", "json", input=b"canary-6", env=fake))["place"] == "file"
    assert (json.loads((tmp_path / "entries").read_text()), _value(home, "A")) == ({}, "canary-6")


def test_a_setting_that_there_is_not_is_refused(rdev):
    refused = rdev("context", "set", "local", "--vault", "cloud", "-o", "json")
    assert (refused.returncode, _error(refused)["hint"]) == (2, "auto, keyring, file or passphrase")
    assert rdev("context", "set", "local", "--vault", "keyring").returncode == 0
    settings = {item["name"]: item["value"] for item in _json(rdev("context", "view", "-o", "json"))["items"]}
    assert settings["vault"] == "keyring"
    refused = rdev("credential", "set", "A", "-o", "json", input=b"x")
    assert (refused.returncode, _error(refused)["code"]) == (6, "VAULT_LOCKED")


@pytest.fixture
def word(rdev, tmp_path) -> Path:
    """A file with a passphrase, and a context that is sealed by one."""
    assert rdev("context", "set", "local", "--vault", "passphrase").returncode == 0
    file = tmp_path / "word"
    file.write_text("correct horse\n")
    file.chmod(0o600)
    return file


def test_a_passphrase_comes_from_a_file_and_a_wrong_one_changes_nothing(rdev, home, word, tmp_path):
    given = {"RDEV_PASSPHRASE_FILE": str(word)}
    assert rdev("credential", "set", "A", "--passphrase-file", str(word), input=b"canary-7").returncode == 0
    assert rdev("credential", "set", "B", input=b"canary-8", env=given).returncode == 0
    assert not (_local(home) / "vault.key").exists()
    before = (_local(home) / "vault.json").read_bytes()
    wrong = tmp_path / "wrong"
    wrong.write_text("incorrect")
    wrong.chmod(0o600)
    for typed in (("set", "A"), ("test", "A"), ("import", "-")):
        refused = rdev("credential", *typed, "--passphrase-file", str(wrong), "-o", "json", input=b"A=1")
        assert (refused.returncode, _error(refused)["code"]) == (4, "WRONG_PASSPHRASE")
    assert (_local(home) / "vault.json").read_bytes() == before
    assert rdev("credential", "test", "A", env=given).returncode == 0


def test_without_a_terminal_a_passphrase_is_refused_with_the_flag_that_gives_it(spawn, rdev, word):
    process = spawn("credential", "set", "A", "-o", "json", stdin=subprocess.PIPE, **ALONE)
    _, err = process.communicate(b"canary", timeout=30)
    error = json.loads(err)["error"]
    assert (process.returncode, error["code"]) == (2, "NO_PASSPHRASE")
    assert "--passphrase-file" in error["hint"]
    assert "RDEV_PASSPHRASE_FILE" in error["hint"]
    assert rdev("credential", "list", "-o", "name").stdout == b""


def test_a_passphrase_is_asked_at_the_terminal_though_the_value_is_piped(spawn, rdev, word, terminal):
    process = spawn("credential", "set", "A", stdin=subprocess.PIPE, **terminal.options(stdin=False))
    process.stdin.write(b"canary")
    process.stdin.close()
    terminal.answer(b"A new passphrase for the credentials of local: ", b"correct horse\n")
    terminal.answer(b"The same again: ", b"correct horse\n")
    assert process.wait(30) == 0, process.stderr.read()
    assert b"horse" not in terminal.seen
    assert rdev("credential", "test", "A", "--passphrase-file", str(word)).returncode == 0
    again = spawn("credential", "test", "A", **terminal.options(stdin=True))
    terminal.answer(b"The passphrase for the credentials of local: ", b"correct horse\n")
    assert again.wait(30) == 0


# damage, modes, doctor


def test_a_damaged_vault_is_6_with_what_to_do_and_doctor_sees_it(rdev, home):
    rdev("credential", "set", "A", input=b"x")
    vault = _local(home) / "vault.json"
    whole = vault.read_text()
    vault.write_text(whole.replace('"entries"', '"entrees"'))
    for typed in (("test", "A"), ("set", "A"), ("remove", "A", "--yes")):
        done = rdev("credential", *typed, "-o", "json", input=b"y")
        assert (done.returncode, _error(done)["code"], "move" in _error(done)["hint"]) == (6, "VAULT_DAMAGED", True)
    assert _checks(rdev)["credential.A"] == "failed"
    vault.unlink()
    lost = rdev("credential", "test", "A", "-o", "json")
    assert (lost.returncode, _error(lost)["code"], "rdev credential set A" in _error(lost)["hint"]) == (6, "VAULT_DAMAGED", True)
    assert _checks(rdev) == {"vault.place": "ok", "vault.key": "ok", "credential.A": "failed", "vault.credentials": "ok"}
    assert rdev("credential", "set", "A", input=b"y").returncode == 0
    (_local(home) / "vault.key").chmod(0o644)
    assert _checks(rdev) == {"vault.place": "ok", "vault.key": "failed", "vault.credentials": "ok"}
    refused = rdev("credential", "test", "A", "-o", "json")
    assert (refused.returncode, _error(refused)["code"]) == (4, "VAULT_UNSAFE")


def _checks(rdev) -> dict[str, str]:
    items = _json(rdev("doctor", "-o", "json"))["items"]
    return {item["name"]: item["verdict"] for item in items if item["name"].startswith(("vault", "credential"))}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_t_sec_5_the_vault_is_closed_to_others_whatever_the_umask(spawn, home, mask):
    process = spawn("credential", "set", "A", stdin=subprocess.PIPE, umask=mask)
    process.communicate(b"canary", timeout=30)
    assert process.returncode == 0
    for path in _local(home).glob("vault.*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert len(list(_local(home).glob("vault.*"))) == 3


# the trial


@contextlib.contextmanager
def _api(status: int) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve an API that answers everything with a status and what it was sent."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append({"path": self.path, **{key.lower(): value for key, value in self.headers.items()}})
            body = json.dumps(seen[-1]).encode()
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/base/", seen
        finally:
            server.shutdown()
            thread.join()


def _trial(rdev, name: str, url: str) -> tuple[int, list[str], bytes]:
    done = rdev("credential", "test", name, "-o", "json", env={"ANTHROPIC_BASE_URL": url})
    return done.returncode, [item["verdict"] for item in _json(done)["items"]], done.stdout + done.stderr


def test_a_key_is_tried_at_the_api(rdev):
    rdev("credential", "set", "ANTHROPIC_API_KEY", input=b"canary-10")
    with ScriptedModel(()) as model:
        assert _trial(rdev, "ANTHROPIC_API_KEY", model.url)[:2] == (0, ["ok", "ok", "ok"])
        assert model.requests == 0  # nothing that costs was asked for


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [(200, 0, "ok"), (429, 0, "ok"), (401, 9, "failed"), (403, 9, "failed"), (302, 6, "warning"), (404, 6, "warning"), (503, 6, "warning")],
)
def test_what_the_api_answers_is_an_exit_code_and_the_key_goes_nowhere_else(rdev, status, code, verdict):
    rdev("credential", "import", "-", input=b"ANTHROPIC_API_KEY=canary-11\nANTHROPIC_AUTH_TOKEN=canary-12\n")
    with _api(status) as (url, seen):
        for name, header, sent in (
            ("ANTHROPIC_API_KEY", "x-api-key", "canary-11"),
            ("ANTHROPIC_AUTH_TOKEN", "authorization", "Bearer canary-12"),
        ):
            found = _trial(rdev, name, url)
            assert found[:2] == (code, ["ok", "ok", verdict])
            assert b"canary" not in found[2]
            assert (seen[-1]["path"], seen[-1][header]) == ("/base/v1/messages/count_tokens", sent)
    assert len(seen) == 2


def test_an_api_that_is_not_there_is_6(rdev):
    rdev("credential", "import", "-", input=b"ANTHROPIC_API_KEY=canary\nANTHROPIC_BASE_URL=http://127.0.0.1:9\nGITEA_TOKEN=x\n")
    assert rdev("credential", "test", "ANTHROPIC_API_KEY").returncode == 6  # the address is a credential here
    for url in ("nonsense", "ftp://127.0.0.1", "http://127.0.0.1:port"):
        assert _trial(rdev, "ANTHROPIC_API_KEY", url)[:2] == (6, ["ok", "ok", "warning"])
    assert _trial(rdev, "GITEA_TOKEN", "http://127.0.0.1:9")[:2] == (0, ["ok", "ok"])
    rdev("credential", "set", "ANTHROPIC_API_KEY", input=b"canary\r\nx: y")
    code, verdicts, said = _trial(rdev, "ANTHROPIC_API_KEY", "http://127.0.0.1:9")
    assert (code, verdicts) == (9, ["ok", "ok", "failed"])
    assert b"canary" not in said


# an agent's run


@pytest.fixture
def agent(rdev, project) -> str:
    assert rdev("context", "set", "local", "--agent-path", f"claude={SUPPORT / 'claude'}").returncode == 0
    return project


def _workspace(rdev, home) -> Path:
    return _local(home) / "pods" / _json(rdev("project", "show", "shop", "-o", "json"))["pod"] / "workspace"


def test_an_agent_takes_the_caller_s_variable_before_the_vault_s_before_the_context_s(rdev, agent, home):
    rdev("credential", "set", "ANTHROPIC_API_KEY", input=b"of the vault")
    rdev("credential", "set", "ANTHROPIC_MODEL", input=b"of the vault\n'with' two $lines\n")
    rdev("context", "set", "local", "--agent-env", "claude.ANTHROPIC_MODEL=of the context", "--agent-env", "claude.EXTRA=of the context")
    rdev("context", "set", "local", "--agent-env", "claude.ANTHROPIC_BASE_URL=of the context")
    done = rdev("claude", agent, "write the environment", env={"ANTHROPIC_API_KEY": "of the caller"})
    assert done.returncode == 0, done.stderr
    inside = (_workspace(rdev, home) / "environment.txt").read_text()
    assert "ANTHROPIC_API_KEY=of the caller\n" in inside
    assert "ANTHROPIC_MODEL=of the vault\n'with' two $lines\n" in inside
    assert "ANTHROPIC_BASE_URL=of the context\n" in inside
    assert "EXTRA=of the context\n" in inside


def test_a_vault_is_opened_only_for_a_variable_that_the_agent_declares(spawn, rdev, agent, word):
    assert rdev("credential", "set", "GITEA_TOKEN", "--passphrase-file", str(word), input=b"x").returncode == 0
    process = spawn("claude", agent, "add a page", **ALONE)
    assert process.wait(60) == 0
    assert rdev("credential", "set", "ANTHROPIC_API_KEY", "--passphrase-file", str(word), input=b"x").returncode == 0
    process = spawn("claude", agent, "add a page", "-o", "json", **ALONE)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(err)["error"]["code"]) == (2, "NO_PASSPHRASE")
    assert rdev("claude", agent, "add a page", env={"ANTHROPIC_API_KEY": "mine"}).returncode == 0
    looking = spawn("agent", "show", "claude", "-o", "json", **ALONE)  # who only looks needs no passphrase
    assert json.loads(looking.communicate(timeout=60)[0])["given"] == ["ANTHROPIC_API_KEY"]
    assert rdev("agent", "run", agent, "add a page", "--passphrase-file", str(word)).returncode == 0


CANARIES = {  # what an agent takes, and what nobody does
    "ANTHROPIC_API_KEY": "sk-canary-piped/0+1",
    "ANTHROPIC_AUTH_TOKEN": "sk-canary-dashed/2",
    "CLAUDE_CODE_OAUTH_TOKEN": "sk-canary-from-file/3",
    "ANTHROPIC_MODEL": "sk-canary-typed/4",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/sk-canary-imported/5",
    "GITEA_TOKEN": "sk-canary-nobodys/6",
}


def _forms(text: str) -> set[bytes]:
    """Return a text in the ways in which it could hide: raw, quoted, hex, and base64 at each of its three alignments."""
    raw = text.encode()
    inner = [base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    return {raw, raw[: len(raw) // 2 + 6], quote(text, safe="").encode(), json.dumps(text)[1:-1].encode(), raw.hex().encode(), *inner}


FORMS = {name: _forms(value) for name, value in CANARIES.items()}


def _leaks(data: bytes) -> list[str]:
    return [name for name, forms in FORMS.items() if any(form in data for form in forms)]


def _of_processes(what: str) -> Iterator[tuple[str, bytes]]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"), (entry / what).read_bytes()


def test_t_sec_1_a_value_reaches_the_agent_and_no_other_place(rdev, spawn, agent, home, terminal, tmp_path):
    given, said = tmp_path / "given", []
    given.mkdir()
    (given / "value").write_text(CANARIES["CLAUDE_CODE_OAUTH_TOKEN"] + "\n")
    (given / ".env").write_text(f"ANTHROPIC_BASE_URL={CANARIES['ANTHROPIC_BASE_URL']}\nGITEA_TOKEN='{CANARIES['GITEA_TOKEN']}'\n")
    loud = ("-v", "--log-file", str(tmp_path / "log"), "--log-format", "json")

    def say(*typed: str, value: bytes | None = None) -> None:
        done = rdev(*typed, *loud, input=value)
        assert done.returncode in (0, 6, 9), done.stderr
        said.append(done.stdout + done.stderr)

    say("credential", "set", "ANTHROPIC_API_KEY", value=CANARIES["ANTHROPIC_API_KEY"].encode())
    say("credential", "set", "ANTHROPIC_AUTH_TOKEN", "-", value=CANARIES["ANTHROPIC_AUTH_TOKEN"].encode())
    say("credential", "set", "CLAUDE_CODE_OAUTH_TOKEN", "--from-file", str(given / "value"))
    process = spawn("credential", "set", "ANTHROPIC_MODEL", *loud, **terminal.options(stdin=True))
    terminal.answer(b"(not shown): ", CANARIES["ANTHROPIC_MODEL"].encode() + b"\n")
    assert process.wait(30) == 0
    terminal.read_until(b"ended")
    said.append(terminal.seen + process.stdout.read())
    say("credential", "import", str(given / ".env"))

    running = spawn("claude", agent, "please wait", *loud)
    page = _workspace(rdev, home) / "page.txt"
    _until(page.exists)
    own = re.compile(r"\S+ \S*support/claude -p |sleep 0\.05")  # the agent itself, and what it starts
    inside: set[str] = set()
    for _ in range(5):
        assert [line for line, data in _of_processes("cmdline") if _leaks(data)] == []
        for line, data in _of_processes("environ"):
            found = _leaks(data)
            assert not found or own.match(line), (line, found)
            inside |= set(found)
    assert inside == set(CANARIES) - {"GITEA_TOKEN"}
    (page.parent / "go").touch()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    said.append(out + err)
    for typed in (
        ("credential", "list"), ("credential", "list", "-o", "json"), ("credential", "test", "ANTHROPIC_API_KEY", "-o", "yaml"), ("doctor",),
        ("events", "-o", "json"), ("command", "list", "-o", "json"), ("logs", agent), ("context", "view"), ("git", agent, "--", "log", "-p"),
        ("shell", agent, "env; cat /proc/*/environ 2>/dev/null"), ("credential", "remove", "GITEA_TOKEN", "--yes"),
    ):  # fmt: skip
        say(*typed) if typed[0] not in ("git", "shell") else said.append(rdev(*typed).stdout)

    assert rdev("shell", agent, "find / -name vault.json 2>/dev/null").stdout == b""
    assert [_leaks(text) for text in said] == [[]] * len(said)
    repository = Path(_json(rdev("project", "show", agent, "-o", "json"))["repository"])
    objects = subprocess.run(
        ["git", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True, timeout=60
    ).stdout
    assert b"page.txt" in objects
    assert _leaks(objects) == []
    files = [path for path in tmp_path.rglob("*") if path.is_file() and given not in path.parents]
    assert {"state.db", "vault.json", "vault.key", "log", "out"} <= {path.name for path in files}
    assert {str(path): found for path in files for found in [_leaks(path.read_bytes())] if found} == {}


def test_t_sec_3_a_fault_of_rdev_s_own_shows_no_values(rdev, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import rdev_cli.adapters.vault.sealed as s\ndef fail(self, key, name, value):\n    canary = value\n    raise ZeroDivisionError\ns.SealedFile._seal = fail\n"
    )
    done = rdev("credential", "set", "A", "-v", input=b"canary-13", env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, b"ZeroDivisionError" in done.stderr) == (1, True)
    assert b"canary-13" not in done.stderr + done.stdout

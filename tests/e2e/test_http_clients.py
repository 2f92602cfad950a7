"""The clients in cookbooks/scripts, as somebody copies and runs them: against a real server, with a wrong key, and with a server that comes back."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "cookbooks" / "scripts"
AGENT = Path(__file__).parents[1] / "support" / "claude"
ADMIN = "rdev_sk_c11e47s0_00112233445566778899aabbccddeeff"
OTHER = "rdev_sk_0th3rk3y_ffeeddccbbaa99887766554433221100"
PYTHON = (sys.executable, str(SCRIPTS / "rdev_http.py"))
BOT = (sys.executable, str(SCRIPTS / "bot.py"))
BASH = ("bash", str(SCRIPTS / "rdev-http.sh"))
# it says a line, waits for a file, says another and ends with 7
SLOW = "echo one; echo run >>runs; while [ ! -e go ]; do sleep 0.1; done; echo two; exit 7"

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]


class Server:
    """A server that can be stopped and started again at the same address."""

    def __init__(self, spawn: Callable[..., "subprocess.Popen[bytes]"], folder: Path) -> None:
        self._spawn, self._log = spawn, folder / "serve.log"
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = self._spawn("serve", "--port", str(self._port), env={"RDEV_ADMIN_KEY": ADMIN}, stderr=log)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().decode().strip() == self.url, self._log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)
        self._process.wait(30)


@pytest.fixture
def server(rdev: Rdev, spawn: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path) -> Server:
    assert rdev("context", "set", "local", "--agent-path", f"claude={AGENT}").returncode == 0
    return Server(spawn, tmp_path)


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start a client with the server's address and a key; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: str, key: str = ADMIN) -> "subprocess.Popen[bytes]":
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "RDEV_URL": server.url, "RDEV_API_KEY": key}
        piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(argv, env=env, cwd=tmp_path, process_group=0, **piped))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process: "subprocess.Popen[bytes]", code: int = 0) -> tuple[str, str]:
    out, err = (text.decode() for text in process.communicate(timeout=120))
    assert process.returncode == code, (process.returncode, out, err)
    return out, err


def workspace(rdev: Rdev, home: Mapping[str, str], name: str) -> Path:
    shown = json.loads(rdev("project", "show", name, "-o", "json").stdout)
    return Path(home["XDG_STATE_HOME"]) / "rdev" / "local" / "pods" / shown["pod"] / "workspace"


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_the_bot_does_the_main_job_and_leaves_nothing(rdev, client):
    out, _ = ended(client(*BOT, "botshop"))
    assert [line for line in out.splitlines() if line.startswith("== ")] == [
        "== create", "== work", "== commit", "== diff", "== check", "== delete",
    ]  # fmt: skip
    assert "Add a health page" in out
    assert '+<!doctype html><html lang="en"><title>health</title><p id="status">ok</p></html>' in out
    assert rdev("project", "list", "-o", "name").stdout == b""


def test_a_bot_that_is_started_again_after_its_end_does_nothing(rdev, client):
    ended(client(*BOT, "botshop"))
    before = rdev("events", "-o", "json").stdout
    out, _ = ended(client(*BOT, "botshop"))
    assert out == "== create\n== delete\n"
    assert rdev("events", "-o", "json").stdout == before


def test_the_bot_lets_an_agent_work_and_reads_its_commit(rdev, client):
    out, _ = ended(client(*BOT, "botshop", "--agent", "claude", "--prompt", "add a page", "--keep"))
    assert "Rdev-Command: cmd_" in out
    assert "+++ b/page.txt" in out
    assert rdev("project", "list", "-o", "name").stdout == b"botshop\n"


def test_a_bot_that_was_killed_goes_on_and_does_nothing_twice(rdev, client, home):
    line = (*BOT, "botshop", "--agent", "claude", "--prompt", "please wait", "--keep")
    first = client(*line)
    until(lambda: rdev("project", "list", "-o", "name").stdout == b"botshop\n" and (workspace(rdev, home, "botshop") / "page.txt").exists())
    first.kill()
    first.wait(10)
    second = client(*line)
    (workspace(rdev, home, "botshop") / "go").touch()
    out, _ = ended(second)
    assert "+++ b/page.txt" in out
    kinds = [one["kind"] for one in json.loads(rdev("command", "list", "-o", "json").stdout)["items"]]
    assert sorted(kinds) == ["agent", "git", "git", "shell"]
    assert kinds.count("agent") == 1


def test_what_could_not_be_started_is_told_with_what_to_do(client, rdev):
    _, err = ended(client(*BOT, "botshop", "--agent", "opencode"), 6)
    assert "(TOOL_MISSING)" in err
    assert "rdev context set" in err
    assert rdev("project", "list", "-o", "name").stdout == b"botshop\n"  # what to do about it is a person's to say


@pytest.mark.parametrize("how", [PYTHON, pytest.param(BASH, marks=pytest.mark.toolchain)], ids=["python", "bash"])
class TestEachClient:
    def test_a_wrong_key_is_refused_with_a_word_on_what_to_do(self, how, client):
        for words in (("GET", "/projects"), ("POST", "/projects", '{"name": "shop"}'), ("run", "shop", "true")):
            out, err = ended(client(*how, *words, key=OTHER), 4)
            assert out == ""
            assert "error: " in err
            assert "hint: " in err
            assert OTHER not in err

    def test_what_takes_long_is_waited_for(self, how, rdev, client):
        out, _ = ended(client(*how, "POST", "/projects", '{"name": "shop"}'))
        assert json.loads(out)["name"] == "shop"
        out, _ = ended(client(*how, "GET", "/projects"))
        assert [one["name"] for one in json.loads(out)["items"]] == ["shop"]
        ended(client(*how, "DELETE", "/projects/shop"))
        assert rdev("project", "list", "-o", "name").stdout == b""

    def test_a_refusal_ends_as_the_command_line_does(self, how, client):
        _, err = ended(client(*how, "GET", "/projects/nowhere"), 3)
        assert "nowhere" in err
        ended(client(*how, "POST", "/projects", '{"name": "No Name"}'), 2)

    def test_a_command_s_output_and_exit_code_are_its_own(self, how, project, client):
        out, err = ended(client(*how, "run", project, r"printf 'a\nb'; printf 'c\377' >&2; exit 7".replace(r"\377", "")), 7)
        assert (out, err) == ("a\nb", "c")

    def test_a_server_that_comes_back_in_the_middle_is_no_gap_and_no_repeat(self, how, rdev, project, home, client, server):
        running = client(*how, "run", project, SLOW)
        assert running.stdout is not None
        assert running.stdout.readline() == b"one\n"
        server.stop()
        server.start()
        (workspace(rdev, home, project) / "go").touch()
        assert ended(running, 7) == ("two\n", "")
        assert (workspace(rdev, home, project) / "runs").read_text() == "run\n"

"""exec, attach and cancel as a user types them, in the pod of a real cluster."""

import hashlib
import json
import os
import pty
import random
import signal
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster


@pytest.fixture
def shop(there, kubectl):
    """The executable, with a project `shop` that is there; its pod is deleted when the test ends."""
    there("context", "set", "lab", "--allow-weaker")  # what policies do is not asked here
    made = there("project", "create", "shop")
    assert made.returncode == 0, made.stderr.decode()
    yield there
    there("project", "delete", "shop", "--yes")


def _pod(there) -> str:
    return json.loads(there("project", "show", "shop", "-o", "json").stdout)["pod"]


def _spooled(home, text: bytes, within: float = 60) -> None:
    """Wait until a command's output is in the local spool."""
    end = time.monotonic() + within
    while not any(text in one.read_bytes() for one in Path(home["XDG_STATE_HOME"]).glob("rdev/lab/spool/cmd_*/out")):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_exec_carries_streams_stdin_and_code_and_says_no_to_half_a_network(shop):
    ran = shop("exec", "shop", "--", "sh", "-c", "pwd; echo words >&2; exit 7")
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, b"/workspace\n", b"words\n")
    data = random.randbytes(1 << 20)
    ran = shop("exec", "-i", "shop", "--", "sha256sum", input=data)
    assert ran.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
    ran = shop("exec", "--no-network", "shop", "--", "true")
    assert (ran.returncode, b"rdev project create NAME --no-network" in ran.stderr) == (125, True)


@pytest.mark.parametrize("size", [5, 100_000])
def test_stdin_that_nobody_stays_for_arrives_whole(shop, size):
    data = random.randbytes(size)
    id = shop("exec", "-i", "--no-wait", "shop", "--", "sha256sum", input=data).stdout.decode().strip()
    ran = shop("command", "attach", id)
    assert (ran.returncode, ran.stdout.split()[0].decode()) == (0, hashlib.sha256(data).hexdigest())


def test_t_exec_7_a_command_outlives_its_client_and_is_attached_to_at_the_byte(shop, spawn, home):
    client = spawn("exec", "shop", "--", "sh", "-c", "echo one; sleep 4; echo two; exit 3")
    _spooled(home, b"one\n")
    client.send_signal(signal.SIGKILL)
    client.wait(10)
    id = json.loads(shop("command", "list", "-o", "json").stdout)["items"][0]["id"]
    ran = shop("command", "attach", id)
    assert (ran.returncode, ran.stdout) == (3, b"one\ntwo\n")


def test_ctrl_c_ends_the_remote_group(shop, spawn, home, kubectl):
    pod = _pod(shop)
    client = spawn("exec", "shop", "--", "sh", "-c", "echo up; sleep 61739 & wait")
    _spooled(home, b"up\n")
    client.send_signal(signal.SIGINT)
    _, said = client.communicate(timeout=30)
    assert client.returncode == 130
    found = json.loads(shop("command", "list", "-o", "json").stdout)["items"][0]
    assert (found["state"], found["reason"]) == ("cancelled", "cancelled"), said
    left, end = b"sleep 61739", time.monotonic() + 30
    while b"sleep 61739" in left:  # the runner goes a moment after its record is there
        assert time.monotonic() < end, left
        left = kubectl("exec", pod, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null; :").replace(b"\0", b" ")


def test_t_exec_14_what_befell_the_pod_is_in_the_words_the_record_and_the_journal(shop, spawn, home, kubectl):
    client = spawn("exec", "shop", "--", "sh", "-c", "echo here; exec sleep 600")
    _spooled(home, b"here\n")
    kubectl("delete", "pod", _pod(shop), "--wait=false")
    out, err = client.communicate(timeout=60)
    assert (client.returncode, out, b"its pod was deleted" in err) == (74, b"here\n", True)
    found = json.loads(shop("command", "list", "-o", "json").stdout)["items"][0]
    assert (found["state"], found["reason"], found["cause"]) == ("lost", "lost", "Deleted")
    assert b"Deleted" in shop("command", "show", found["id"]).stdout
    assert b'"cause":"Deleted"' in shop("events", "--subject", found["id"], "-o", "json").stdout


def test_a_terminal_has_its_size_and_its_keys_and_is_put_back(shop, home):
    rdev = str(Path(sys.executable).with_name("rdev"))
    pid, screen = pty.fork()
    if pid == 0:
        os.execve(rdev, [rdev, "exec", "-it", "shop", "--", "sh", "-c", "stty size; read x; echo got:$x; exit 4"], dict(home))
    said, sent, end = b"", False, time.monotonic() + 60
    try:
        while time.monotonic() < end:
            try:
                said += os.read(screen, 4096)
            except OSError:
                break
            if not sent and b"24 80" in said:
                os.write(screen, b"hello\r")
                sent = True
    finally:
        os.close(screen)
        _, status = os.waitpid(pid, 0)
    assert (os.waitstatus_to_exitcode(status), b"got:hello" in said) == (4, True), said

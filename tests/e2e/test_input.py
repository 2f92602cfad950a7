"""What rdev does with the streams it is given: stdin that must arrive whole, pipes that somebody else made non-blocking."""

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rdev_cli.wiring.services import Services

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


def waiting(fd: int) -> int:
    """Return how many bytes a pipe holds."""
    return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]


def non_blocking(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


@pytest.mark.parametrize("typed", [("exec", "-i", "shop", "--no-wait", "--", "cat"), ("shell", "-i", "--no-wait", "shop", "cat")])
def test_stdin_arrives_whole_before_no_wait_leaves(typed: tuple[str, ...], rdev: Rdev, project: str) -> None:
    data = bytes(range(256)) * 4096
    ran = rdev(*typed, input=data)
    assert (ran.returncode, ran.stderr) == (0, b"")
    attached = rdev("command", "attach", ran.stdout.decode().strip())
    assert (attached.returncode, attached.stdout == data) == (0, True)


def test_no_wait_does_not_wait_for_a_stdin_that_nobody_reads(rdev: Rdev, spawn: Spawn, project: str) -> None:
    process = spawn("exec", "-i", "--no-wait", project, "--", "true", stdin=subprocess.PIPE)
    out, _ = communicated(process)
    assert process.returncode == 0
    assert rdev("command", "attach", out.decode().strip()).returncode == 0


def communicated(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    """Return what a process printed, its stdin left open."""
    process.wait(30)
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdout.read(), process.stderr.read()


def test_a_terminal_and_no_wait_do_not_go_together(rdev: Rdev, project: str) -> None:
    ran = rdev("exec", "-t", "--no-wait", project, "--", "true")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"--no-wait and -t do not go together" in ran.stderr
    assert json.loads(rdev("command", "list", "-o", "json").stdout)["items"] == []


def test_a_stdin_that_does_not_block_arrives_whole(spawn: Spawn, project: str) -> None:
    read, write = os.pipe()
    non_blocking(read)
    process = spawn("exec", "-i", project, "--", "cat", stdin=read)
    os.close(read)
    assert process.stdout is not None
    for word in (b"one\n", b"two\n"):  # each once the one before has arrived: in between there is nothing to read
        os.write(write, word)
        assert process.stdout.readline() == word
    os.close(write)
    assert process.wait(30) == 0


@pytest.mark.parametrize("more", [(), ("--no-wait",)])
def test_a_stdin_that_breaks_makes_the_outcome_unknown(more: tuple[str, ...], rdev: Rdev, spawn: Spawn, project: str) -> None:
    deaf = os.open(os.devnull, os.O_WRONLY)  # reading from it is an error, and no end
    process = spawn("exec", "-i", *more, project, "--", "sh", "-c", "cat; touch ended", stdin=deaf)
    os.close(deaf)
    process.wait(60)
    assert process.returncode == 74
    assert rdev("exec", project, "--", "test", "-e", "ended").returncode == 1


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_stdout_that_does_not_block_gets_the_whole_answer(
    form: str, spawn: Spawn, project: str, home: Mapping[str, str], tmp_path: Path
) -> None:
    world = Services(environ=home, cwd=tmp_path)
    with world.store.transaction() as tx:
        for number in range(3000):
            tx.append("test.said", project, {"text": f"line {number} " * 5})
    world.close()
    read, write = os.pipe()
    non_blocking(write)
    process = spawn("events", "--limit", "5000", "-o", form, stdout=write)
    os.close(write)
    while process.poll() is None and waiting(read) < 1 << 15:  # until the pipe has little room left
        time.sleep(0.02)
    got = b""
    while select.select([read], [], [], 30)[0] and (part := os.read(read, 1 << 16)):
        got += part
    os.close(read)
    assert process.wait(30) == 0
    assert b"line 2999" in got
    assert got.endswith(b"\n")
    assert (got.count(b"test.said")) == 3000


def test_help_for_a_reader_that_has_left_is_141(home: Mapping[str, str], tmp_path: Path) -> None:
    rdev = Path(sys.executable).with_name("rdev")
    for typed in ("--help", "exec --help", "project -h"):
        read, write = os.pipe()
        os.close(read)
        ran = subprocess.run(
            [rdev, *typed.split()], env=dict(home), cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, timeout=30, check=False
        )
        os.close(write)
        assert (ran.returncode, ran.stderr) == (141, b""), typed

"""`rdev cp` as a person types it: both directions, both streams, every refusal before anything is written. T-FILE-2, 6."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


def sh(rdev: Rdev, line: str) -> bytes:
    ran = rdev("shell", "shop", line)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_folder_comes_out_of_a_pod_and_goes_back_in(rdev: Rdev, project: str, tmp_path: Path) -> None:
    sh(rdev, "mkdir -p out/deep && printf one >out/a && printf two >out/deep/b && chmod 755 out/a && ln -s /etc/passwd out/link")
    ran = rdev("cp", "shop:out", ".")
    assert ran.returncode == 0, ran.stderr
    assert b"2 files and 1 folders, 6 B" in ran.stdout
    assert b"left out links: link" in ran.stderr
    assert ((tmp_path / "out/a").read_bytes(), (tmp_path / "out/deep/b").read_bytes()) == (b"one", b"two")
    assert [(tmp_path / path).stat().st_mode & 0o7777 for path in ("out/a", "out/deep/b", "out", "out/deep")] == [
        0o755,
        0o644,
        0o755,
        0o755,
    ]
    assert not os.path.lexists(tmp_path / "out/link")
    assert rdev("cp", "out", "shop:back").returncode == 0
    assert sh(rdev, "cat back/a back/deep/b; ls -l back/a | cut -c1-10") == b"onetwo-rwxr-xr-x\n"


def test_one_file_travels_through_stdin_and_stdout(rdev: Rdev, project: str) -> None:
    data = bytes(range(256)) * 5000
    assert rdev("cp", "-", "shop:sub", input=b"x").returncode == 0
    assert sh(rdev, "cat sub") == b"x"
    ran = rdev("cp", "-", "shop:data", input=data)
    assert ran.returncode == 0, ran.stderr
    ran = rdev("cp", "shop:data", "-")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, data, b"")


def test_stdin_and_stdout_hold_one_file_and_no_answer(rdev: Rdev, project: str) -> None:
    for typed in (("shop:site", "-"), ("-", "shop:site"), ("-", "shop:."), ("shop:README.md", "-", "-o", "json")):
        ran = rdev("cp", *typed, input=b"x")
        assert (ran.returncode in (2, 5), ran.stdout) == (True, b""), (typed, ran)


def test_a_program_gets_a_document_with_what_was_copied_and_what_was_not(rdev: Rdev, project: str, tmp_path: Path) -> None:
    sh(rdev, "mkdir t && printf x >t/a && ln -s a t/link && mkfifo t/fifo")
    ran = rdev("cp", "shop:t/.", "to", "-o", "json")
    assert json.loads(ran.stdout) == {
        "project": "shop", "path": "t/.", "here": "to", "out": True, "files": 1, "folders": 0, "bytes": 1,
        "skipped": [{"path": "fifo", "reason": "special"}, {"path": "link", "reason": "link"}], "skipped_count": 2,
    }  # fmt: skip
    assert ran.stderr == b""
    assert os.listdir(tmp_path / "to") == ["a"]


def test_what_stands_of_a_copy_that_is_not_whole_is_7_and_said(rdev: Rdev, project: str, tmp_path: Path) -> None:
    (tmp_path / "site/index.html").mkdir(parents=True)
    sh(rdev, "printf x >site/new")
    ran = rdev("cp", "shop:site", ".", "--merge", "-o", "json")
    assert (ran.returncode, ran.stdout) == (7, b"")
    error = json.loads(ran.stderr)["error"]
    assert (error["code"], error["context"]) == ("PARTIAL", {"files": 1, "bytes": 1, "left": ["index.html"]})
    (tmp_path / "new").mkdir()
    ran = rdev("cp", "shop:site/new", ".", "-o", "json")
    assert (ran.returncode, json.loads(ran.stderr)["error"]["code"]) == (5, "IN_THE_WAY")


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (("shop:nothing", "."), 3, "no nothing in the pod of shop"),
        (("shop:README.md", "no/where"), 3, "there is no folder no"),
        (("shop:README.md", "no/"), 3, "there is no folder"),
        (("nothing", "shop:x"), 3, "there is no nothing here"),
        (("here", "shop:no/where"), 3, "there is no folder for no/where"),
        (("nope:x", "."), 3, "there is no project nope"),
        (("SHOP:x", "."), 2, "is not allowed"),
        (("shop:site", "full"), 5, "is not empty"),
        (("full/.", "shop:site"), 5, "is not empty"),
        (("full", "shop:README.md"), 5, "is no folder"),
        (("shop:.git/config", "."), 2, "belongs to git"),
        (("here", "shop:.git/hooks/x"), 2, "belongs to git"),
        (("shop:README.md", "full/.git/hooks"), 2, "belongs to git"),
        (("shop:a", "shop:b"), 2, "one of the two is on this machine"),
        (("a", "b"), 2, "one of the two is PROJECT:PATH"),
        (("./shop:a", "b"), 2, "one of the two is PROJECT:PATH"),
        (("shop:..", "."), 2, "has no name"),
        (("shop:/dev/null", "x"), 2, "neither a file nor a folder"),
        (("/dev/null", "shop:x"), 2, "neither a file nor a folder"),
    ],
)
def test_t_file_6_what_cannot_be_copied_is_refused_before_anything_is_written(
    typed: tuple[str, str], code: int, words: str, rdev: Rdev, project: str, tmp_path: Path
) -> None:
    (tmp_path / "full/site").mkdir(parents=True)
    (tmp_path / "full/.git/hooks").mkdir(parents=True)
    (tmp_path / "full/site/mine").write_bytes(b"mine")
    (tmp_path / "here").write_bytes(b"x")
    before = (
        sorted(path for path in tmp_path.rglob("*") if "user" not in path.parts),
        sh(rdev, "find . -path ./.git -prune -o -print | sort"),
    )
    ran = rdev("cp", *typed)
    assert (ran.returncode, ran.stdout) == (code, b""), ran.stderr
    assert words in ran.stderr.decode()
    assert b"\nhint:  " in ran.stderr
    assert before == (
        sorted(path for path in tmp_path.rglob("*") if "user" not in path.parts),
        sh(rdev, "find . -path ./.git -prune -o -print | sort"),
    )


def test_a_link_in_a_pod_that_leads_to_the_host_shows_what_the_pod_sees(rdev: Rdev, project: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of the host")
    sh(rdev, f"ln -s {secret} link; ln -s {tmp_path} up")
    for path in ("link", "up/secret", str(secret)):
        ran = rdev("cp", f"shop:{path}", "got")
        assert (ran.returncode, ran.stdout) == (3, b""), ran.stderr
    (tmp_path / "one").write_bytes(b"x")
    assert rdev("cp", "one", "shop:up/two").returncode == 3
    assert not (tmp_path / "two").exists()


def test_a_pod_that_is_gone_is_made_again_with_a_word(rdev: Rdev, project: str, tmp_path: Path) -> None:
    subprocess.run(["rm", "-rf", *(tmp_path / "user/state/rdev/local/pods").iterdir()], check=True)
    ran = rdev("cp", "shop:README.md", "x")
    assert ran.returncode == 0
    assert b"note: the pod of shop was gone" in ran.stderr


def test_the_folders_own_project_may_be_left_out(rdev: Rdev, project: str, tmp_path: Path) -> None:
    (tmp_path / ".rdev.yaml").write_text("project: shop\n")
    assert rdev("cp", ":README.md", "x").returncode == 0
    assert (tmp_path / "x").read_bytes() == sh(rdev, "cat README.md")


LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (96 << 20,) * 2); from rdev_cli.__main__ import main; sys.exit(main())"
)


def test_a_big_copy_takes_no_memory_in_either_direction(rdev: Rdev, home: Mapping[str, str], project: str, tmp_path: Path) -> None:
    sh(rdev, "head -c 200000000 /dev/zero >big")
    for typed in (("shop:big", "big"), ("big", "shop:back")):
        argv = [sys.executable, "-c", LIMITED, "cp", *typed]
        ran = subprocess.run(argv, cwd=tmp_path, env=home, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stderr
    assert sh(rdev, "cmp big back && echo same") == b"same\n"


@pytest.mark.parametrize("out", [True, False])
def test_a_stop_ends_a_copy_and_leaves_no_half_file(out: bool, rdev: Rdev, spawn: Spawn, project: str, tmp_path: Path) -> None:
    if out:
        sh(rdev, "truncate -s 2G big")
        running = spawn("cp", "shop:big", "got")
    else:
        with (tmp_path / "big").open("wb") as file:
            file.truncate(2 << 30)
        running = spawn("cp", "big", "shop:got")
    spool = tmp_path / "user/state/rdev/local/spool"
    end = time.monotonic() + 30
    while not [path for path in spool.glob("run_*") if (path / "pid").exists()]:
        assert time.monotonic() < end
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    assert running.wait(40) == 130
    assert sh(rdev, "find . -name '*.rdev-*' -o -name got") == b""
    assert not [path for path in tmp_path.iterdir() if path.name == "got" or ".rdev-" in path.name]
    end = time.monotonic() + 20
    while list(spool.glob("run_*")):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_terminal_sees_how_far_a_copy_is_and_gets_its_line_back(spawn: Spawn, project: str) -> None:
    ours, theirs = pty.openpty()
    copying = spawn("cp", "-", "shop:x", stdin=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    assert copying.stdin is not None
    copying.stdin.write(b"first")
    copying.stdin.flush()
    seen, end = b"", time.monotonic() + 30
    while b"0 files, 0 B" not in seen:  # it waits for the rest
        assert time.monotonic() < end, seen
        if select.select([ours], [], [], 0.2)[0]:
            seen += os.read(ours, 1000)
    copying.stdin.close()
    assert copying.wait(30) == 0
    with contextlib.suppress(OSError):  # the terminal has gone with its last process
        while piece := os.read(ours, 1000):
            seen += piece
    os.close(ours)
    assert seen.endswith(b"\r\x1b[K")


def test_a_reader_that_leaves_ends_a_copy_to_stdout(rdev: Rdev, spawn: Spawn, project: str) -> None:
    sh(rdev, "head -c 30000000 /dev/zero >big")
    copying = spawn("cp", "shop:big", "-")
    assert copying.stdout is not None
    assert copying.stdout.read(10) == bytes(10)
    copying.stdout.close()
    assert copying.wait(30) == 141

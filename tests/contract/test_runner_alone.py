"""T-EXEC-16: the runner of `local` where it lacks what it would like to have: tools, room on the disk, the right to write."""

import random
import shutil
import subprocess
import time

import pytest

from rdev_cli.adapters.local import sandbox
from rdev_cli.adapters.shared import runner
from rdev_cli.domain.command import Ending, Launch
from rdev_cli.domain.errors import Unavailable

NEEDED = ("cat", "mkdir", "mv", "sh")
SLEEP = shutil.which("sleep")


def told(progress):
    return progress.outcome.code, progress.outcome.ending


# missing tools


def test_t_exec_16_without_setsid_and_sleep_it_says_so_and_is_right(bare):
    bench = bare(*NEEDED)
    id = bench.sh("echo out; echo err >&2; exit 7")
    assert told(bench.ends(id)) == (7, Ending.EXITED)
    assert (bench.out(id), bench.err(id)) == (b"out\n", b"err\n")
    assert "no setsid" in bench.notes[id]
    assert "no sleep" in bench.notes[id]


def test_t_exec_16_with_all_its_tools_it_has_nothing_to_say(bare):
    bench = bare(*NEEDED, "setsid", "sleep")
    id = bench.sh("exit 7")
    assert told(bench.ends(id)) == (7, Ending.EXITED)
    assert bench.notes[id] == ""


def test_t_exec_16_without_sleep_a_limit_holds_while_anybody_looks_on(bare, marker):
    bench = bare(*NEEDED)
    id = bench.sh(f"echo partial; : {marker}; exec {SLEEP} 600", limit_seconds=1)
    assert bench.ends(id, bench.place.another()).outcome.ending is Ending.TIMEOUT
    assert bench.out(id) == b"partial\n"
    assert bench.left(marker) == []


def test_t_exec_16_without_sleep_the_grace_is_kept(bare, marker):
    bench = bare(*NEEDED)
    id = bench.sh(f"trap '{SLEEP} 0.5; echo tidy; exit 4' TERM; echo up; while :; do {SLEEP} 0.05; done; : {marker}", grace_seconds=30)
    bench.prints(id, b"up\n")
    bench.cluster.stop(bench.project, id, "cancelled")
    assert told(bench.ends(id)) == (4, Ending.CANCELLED)
    assert bench.out(id) == b"up\ntidy\n"
    assert bench.left(marker) == []


def test_t_exec_16_without_setsid_and_sleep_what_ignores_term_is_killed(bare, marker):
    bench = bare(*NEEDED)
    id = bench.sh(f"trap '' TERM; echo up; : {marker}; exec {SLEEP} 600", grace_seconds=1)
    bench.prints(id, b"up\n")
    bench.cluster.stop(bench.project, id, "cancelled")
    assert told(bench.ends(id)) == (137, Ending.CANCELLED)
    assert bench.left(marker) == []


def test_t_exec_16_without_setsid_a_signal_reaches_the_command(bare):
    bench = bare(*NEEDED, "sleep")
    id = bench.sh("trap 'echo got; exit 8' USR1; echo up; while :; do sleep 0.05; done")
    bench.prints(id, b"up\n")
    bench.cluster.signal(bench.project, id, 10)
    assert told(bench.ends(id)) == (8, Ending.EXITED)


def test_t_exec_16_a_sleep_that_knows_whole_seconds_only_does_not_lengthen_the_grace(bare, marker):
    bench = bare(*NEEDED, "setsid", sleep=f'#!/bin/sh\ncase $1 in *.*) exit 1 ;; esac\nexec {SLEEP} "$1"\n')
    id = bench.sh(f"trap '' TERM; echo up; : {marker}; exec {SLEEP} 600", grace_seconds=2)
    bench.prints(id, b"up\n")
    before = time.monotonic()
    bench.cluster.stop(bench.project, id, "cancelled")
    assert told(bench.ends(id)) == (137, Ending.CANCELLED)
    assert time.monotonic() - before < 15  # twenty, if it counted seconds as tenths
    assert bench.left(marker) == []


# no room, no right


def test_t_exec_16_a_spool_that_is_missing_is_made(bare):
    bench = bare(*NEEDED)
    shutil.rmtree(bench.place.spool.path("x", "out").parent.parent, ignore_errors=True)
    assert told(bench.ends(bench.sh("exit 5"))) == (5, Ending.EXITED)


def test_t_exec_16_a_spool_that_cannot_be_made_is_said_before_anything_runs(bare, marker):
    bench = bare(*NEEDED)
    spool = bench.place.spool.path("x", "out").parent.parent
    shutil.rmtree(spool, ignore_errors=True)
    spool.write_text("a file is in its place")
    with pytest.raises(Unavailable):
        bench.sh(f"echo ran >ran; : {marker}")
    assert bench.left(marker) == []


def test_t_exec_16_a_work_tree_that_is_missing_is_said_before_anything_runs(bare):
    bench = bare(*NEEDED)
    shutil.rmtree(bench.cluster.folder / "pods" / bench.project.pod / "workspace")
    with pytest.raises(Unavailable, match="cannot start"):
        bench.sh("exit 0")


def alone(tmp_path, front, *argv, **more):
    """Run the runner by hand behind `front`, its folder in a file system of its own; return its first line and its folder as it was left."""
    launch = Launch(id="cmd_alone", argv=argv, **more)
    (tmp_path / "spool").mkdir()
    kept = tmp_path / "kept"
    kept.mkdir()
    inner = runner.runner_argv(tmp_path / "spool" / "run", launch, "plain", runner.launch_argv(launch, "nonce"))
    after = 'kept=$1; shift; "$@"; cp -r "$PWD/spool/." "$kept"'
    ran = subprocess.run(
        [sandbox.find_bubblewrap(), "--dev-bind", "/", "/", *front, "sh", "-c", after, "sh", str(kept), *inner],
        input=runner.header(launch, "nonce"), capture_output=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    return ran.stdout.decode().strip(), kept / "run"


def room(tmp_path, size):
    return "--size", str(size), "--tmpfs", str(tmp_path / "spool")


def test_t_exec_16_a_read_only_spool_is_said_and_nothing_runs(tmp_path, shell):
    spool = str(tmp_path / "spool")
    line, _ = alone(tmp_path, ("--ro-bind", spool, spool), "sh", "-c", "echo ran >ran")
    assert line.startswith("cannot make")
    assert not (tmp_path / "ran").exists()


def test_t_exec_16_a_disk_that_is_full_at_the_start_is_said_and_nothing_runs(tmp_path, shell):
    line, _ = alone(tmp_path, room(tmp_path, 4096), "sh", "-c", "echo ran >ran")
    assert line.startswith("cannot write")
    assert not (tmp_path / "ran").exists()


def test_t_exec_16_a_disk_that_fills_up_cuts_the_output_and_keeps_the_outcome(tmp_path, shell):
    data = random.randbytes(3 << 20)
    (tmp_path / "data").write_bytes(data)
    line, folder = alone(tmp_path, room(tmp_path, 1 << 20), "sh", "-c", "cat data; echo more >&2; exit 7")
    assert line.startswith("ready")
    outcome = runner.outcome(folder)
    assert outcome is not None
    assert (outcome.code, outcome.ending, outcome.truncated) == (7, Ending.EXITED, True)
    out = (folder / "out").read_bytes()
    assert 100_000 < len(out) < len(data)
    assert data.startswith(out.removesuffix(b"\n[rdev: output cut here]\n"))


def test_t_exec_16_a_full_disk_does_not_hide_why_it_ended(tmp_path, shell, marker):
    line, folder = alone(
        tmp_path, room(tmp_path, 1 << 20), "sh", "-c", f"head -c 3000000 /dev/zero; sleep 600; : {marker}", limit_seconds=1, grace_seconds=1
    )
    assert line.startswith("ready")
    outcome = runner.outcome(folder)
    assert outcome is not None
    assert (outcome.ending, outcome.truncated) == (Ending.TIMEOUT, True)


def test_t_exec_16_half_an_environment_runs_nothing(tmp_path, shell):
    launch = Launch(id="cmd_half", argv=("sh", "-c", "echo ran >ran"), environment=(("A", "1"), ("B", "2")))
    subprocess.run(
        runner.runner_argv(tmp_path / "run", launch, "plain", runner.launch_argv(launch, "nonce")),
        input=b"export A=1\n", stdout=subprocess.DEVNULL, timeout=60, check=True, cwd=tmp_path,
    )  # fmt: skip
    outcome = runner.outcome(tmp_path / "run")
    assert outcome is not None
    assert outcome.ending is Ending.SETUP
    assert not (tmp_path / "ran").exists()


# a caller that is gone


def test_a_command_ends_as_it_ends_though_whoever_started_it_died_before_it_was_ready(tmp_path):
    launch = Launch(id="cmd_1", argv=("sh", "-c", "echo out; exit 7"))
    folder, nonce = tmp_path / "cmd_1", "0" * 32
    started = subprocess.Popen(
        runner.runner_argv(folder, launch, "plain", runner.launch_argv(launch, nonce)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    started.stdout.close()  # nobody will ever read `ready`
    started.communicate(runner.header(launch, nonce))
    outcome = runner.outcome(folder)
    assert outcome is not None
    assert (outcome.code, outcome.ending) == (7, Ending.EXITED)
    assert (folder / "out").read_bytes() == b"out\n"

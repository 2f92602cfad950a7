"""What the runner promises through the Cluster port, wherever it runs."""

import hashlib
import io
import os
import random
import secrets
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rdev_cli.domain.command import Ending, Outcome
from rdev_cli.domain.errors import Unavailable

MIB = 1 << 20


def told(outcome: Outcome | None) -> tuple[int, Ending]:
    assert outcome is not None
    return outcome.code, outcome.ending


# what it ends with


def test_t_exec_3_every_exit_code_is_the_commands_own(bench):
    codes = (0, 1, 2, 3, 124, 125, 126, 127, 128, 130, 137, 143, 255)
    ids = [bench.sh(f"exit {code}") for code in codes]
    assert [told(bench.ends(id).outcome) for id in ids] == [(code, Ending.EXITED) for code in codes]


def test_t_exec_3_a_death_by_signal_is_128_and_its_number(bench):
    numbers = [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGHUP, signal.SIGINT]
    ids = [bench.sh(f"kill -{int(number)} $$; echo it lives") for number in numbers]
    assert [told(bench.ends(id).outcome) for id in ids] == [(128 + number, Ending.EXITED) for number in numbers]
    assert [bench.out(id) for id in ids] == [b""] * len(ids)


def test_t_exec_3_no_signal_is_ignored_before_the_command_says_so(bench):
    # not asked of a shell: busybox's ignores QUIT by itself
    id = bench.start("grep", "SigIgn", "/proc/self/status")
    assert told(bench.ends(id).outcome) == (0, Ending.EXITED)
    assert int(bench.out(id).split()[1], 16) == 0


def test_t_exec_3_not_found_is_127_and_not_executable_126(bench):
    assert told(bench.ends(bench.start("no-such-program-anywhere")).outcome) == (127, Ending.EXITED)
    assert told(bench.ends(bench.start("/etc")).outcome) == (126, Ending.EXITED)


def test_the_outcome_says_when_it_ended(bench):
    before = time.time()
    outcome = bench.ends(bench.start("true")).outcome
    assert outcome is not None
    assert outcome.at is not None
    assert before - 2 <= outcome.at.timestamp() <= time.time() + 2


def test_a_command_that_nobody_started_is_lost(bench):
    assert told(bench.cluster.advance(bench.project, "cmd_never", wait=0).outcome)[1] is Ending.LOST


def test_no_exit_record_is_lost_and_never_a_success(bench):
    seconds = str(random.randrange(100_000, 1_000_000))
    id = bench.sh(f"echo here; exec sleep {seconds}")
    bench.prints(id, b"here")
    for pid, line, _ in bench.place.processes():
        if id.encode() in line:  # the runner itself, all of its processes
            bench.place.kill(pid)
    assert told(bench.ends(id).outcome)[1] is Ending.LOST
    assert bench.left(f"sleep\0{seconds}") == []


@pytest.mark.parametrize("ignores", ["", "trap '' TERM; "])
def test_what_a_killed_runner_left_is_ended_before_it_counts_as_lost(bench, marker, ignores):
    id = bench.sh(f"{ignores}echo here; (sleep 600; : {marker}) & while :; do sleep 0.1; done; : {marker}", grace_seconds=1)
    bench.prints(id, b"here")
    bench.place.kill(bench.place.numbers(id)[0])
    assert told(bench.ends(id).outcome)[1] is Ending.LOST
    assert bench.left(marker) == []


def test_what_runs_on_without_any_of_its_runner_is_ended_before_it_counts_as_lost(bench, marker):
    id = bench.sh(f"trap '' TERM; echo here; while :; do sleep 0.1; done; : {marker}")
    bench.prints(id, b"here")
    runner, _, core, *_ = bench.place.numbers(id)
    bench.place.kill(core)
    bench.place.kill(runner)
    assert told(bench.ends(id).outcome)[1] is Ending.LOST
    assert bench.left(marker) == []


# what it is given


def test_an_argv_arrives_element_by_element(bench):
    argv = [
        "",
        " ",
        "a b",
        "$(touch P)",
        "`touch P`",
        ";touch P",
        "|",
        "&&",
        "\n touch P",
        "'",
        '"',
        "\\",
        "%s",
        "*",
        "~",
        "-rf",
        "é",
        "\udcff",
    ]
    id = bench.start("printf", "%s\\0", *argv)
    assert told(bench.ends(id).outcome) == (0, Ending.EXITED)
    assert bench.out(id).split(b"\0")[:-1] == [os.fsencode(word) for word in argv]


def test_it_starts_in_the_work_tree_with_a_home_and_an_ordinary_umask(bench):
    id = bench.sh('pwd; umask; cd "$HOME" && touch kept && pwd')
    assert told(bench.ends(id).outcome) == (0, Ending.EXITED)
    where, mask, home = bench.out(id).decode().split()
    assert where.endswith("/workspace")
    assert mask == "0022"
    assert home != where
    again = bench.sh('ls "$HOME"')
    bench.ends(again)
    assert b"kept" in bench.out(again)


def test_the_environment_reaches_the_command_exactly(bench):
    every = bytes(range(1, 256)).decode("utf-8", "surrogateescape")
    values = {"PLAIN": "x", "LINES": "a\nb\n\n", "QUOTES": "'\"$HOME`id`\\", "EVERY": every, "EMPTY": "", "BIG": "y" * 100_000}
    # the names of the runner's own scripts are a command's to use
    values |= dict.fromkeys(("head", "input", "message", "id", "line", "nonce", "dir", "child"), "mine")
    id = bench.start("env", "-0", environment=tuple(values.items()))
    assert told(bench.ends(id).outcome) == (0, Ending.EXITED)
    got = dict(pair.split(b"=", 1) for pair in bench.out(id).split(b"\0") if pair)
    assert {key: got.get(key.encode()) for key in values} == {key: os.fsencode(value) for key, value in values.items()}


def test_a_secret_is_in_the_commands_environment_and_nowhere_else(bench, marker):
    secret = secrets.token_hex(16)
    id = bench.sh(f": {marker}; echo ready; read -r _ || :; echo $TOKEN", environment=(("TOKEN", secret),), stdin=True)
    bench.prints(id, b"ready")
    for _, line, environment in bench.place.processes():
        assert secret.encode() not in line
        if secret.encode() in environment:
            assert id.encode() not in line, "the runner has it in its environment"
            assert marker.encode() in line, line
    source = bench.inputs[id]
    source.write(b"go\n")
    source.finish()
    bench.ends(id)
    assert bench.out(id).split() == [b"ready", secret.encode()]


def test_a_command_has_its_three_streams_and_no_descriptor_of_ours(bench):
    id = bench.sh("(ls /proc/$$/fd; :)")  # the shell's own, so that ls opens none among them, even where it is a part of the shell
    bench.ends(id)
    assert {int(fd) for fd in bench.out(id).split()} <= {0, 1, 2, 10}  # 10: where a shell keeps its script
    with_input = bench.start("sh", "-c", "ls /proc/$$/fd; cat", stdin=True)
    bench.inputs[with_input].finish()
    bench.ends(with_input)
    assert {int(fd) for fd in bench.out(with_input).split()} <= {0, 1, 2, 10}


# what it prints


def test_t_exec_1_both_streams_are_exact_whatever_the_pieces(bench):
    def pieces(r):  # shell builtins alone: an image need not have more
        return [(r.choice((1, 2)), r.randbytes(r.choice((1, 2, 3, 100, 4096)))) for _ in range(300)]

    seeds = [random.randrange(1 << 30) for _ in range(4)]
    ids = [bench.start("sh", stdin=True) for _ in seeds]
    for seed, id in zip(seeds, ids, strict=True):
        for stream, piece in pieces(random.Random(seed)):
            bench.inputs[id].write(b"printf '%s' >&%d\n" % (b"".join(b"\\%03o" % byte for byte in piece), stream))
        bench.inputs[id].finish()
    for seed, id in zip(seeds, ids, strict=True):
        assert told(bench.ends(id).outcome) == (0, Ending.EXITED), bench.err(id)[-300:]
        want = {1: hashlib.sha256(), 2: hashlib.sha256()}
        for stream, piece in pieces(random.Random(seed)):
            want[stream].update(piece)
        assert hashlib.sha256(bench.out(id)).digest() == want[1].digest(), f"stdout, seed {seed}"
        assert hashlib.sha256(bench.err(id)).digest() == want[2].digest(), f"stderr, seed {seed}"


def test_t_exec_5_a_command_that_prints_or_writes_our_marks_forges_nothing(bench):
    forged = "ready\\nexists\\n0 exited\\n<completed-0>\\nRDEV_EXIT=0\\nevent: done\\n[rdev: output cut here]\\n"
    id = bench.sh(f"printf '{forged}'; printf '{forged}' >&2; exit 7")
    progress = bench.ends(id)
    assert told(progress.outcome) == (7, Ending.EXITED)
    assert not progress.outcome.truncated
    assert bench.out(id) == bench.err(id) == forged.replace("\\n", "\n").encode()


def test_t_exec_11_bytes_of_every_kind_pass_untouched(bench):
    data = (
        bytes(range(256))
        + "\ud800".encode("utf-8", "surrogatepass")
        + "é😀".encode("utf-16")
        + b"\x1b[31mred\x1b[0m\0\rno newline \xf0\x9f"
    )
    id = bench.start("cat", stdin=True)
    bench.inputs[id].write(data)
    bench.inputs[id].finish()
    assert told(bench.ends(id).outcome) == (0, Ending.EXITED)
    assert bench.out(id) == data


def test_progress_grows_with_the_output_and_ends_with_all_of_it(bench):
    id = bench.sh("echo one; read -r _; echo two; echo three >&2", stdin=True)
    bench.prints(id, b"one\n")
    before = bench.cluster.advance(bench.project, id, wait=0)
    assert (before.stdout, before.stderr, before.outcome) == (4, 0, None)
    bench.inputs[id].write(b"\n")
    bench.inputs[id].finish()
    after = bench.ends(id)
    assert (after.stdout, after.stderr) == (8, 6)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "before its end"])
def test_t_exec_10_a_stream_over_its_cap_is_cut_visibly_and_the_code_stays(bench, late):
    line = "head -c 60000 /dev/zero; exit 9" if late else "head -c 3000000 /dev/zero; echo fine >&2; exit 9"
    id = bench.sh(line, cap=4096)
    progress = bench.ends(id)
    assert told(progress.outcome) == (9, Ending.EXITED)
    assert progress.outcome.truncated
    assert bench.out(id) == bytes(4096) + b"\n[rdev: output cut here]\n"
    assert progress.stdout == len(bench.out(id))
    assert bench.err(id) == (b"" if late else b"fine\n")


def test_t_exec_10_each_stream_has_a_cap_of_its_own(bench):
    id = bench.sh("head -c 9000 /dev/zero >&2; head -c 4096 /dev/zero", cap=4096)
    progress = bench.ends(id)
    assert bench.out(id) == bytes(4096)
    assert bench.err(id) == bytes(4096) + b"\n[rdev: output cut here]\n"
    assert progress.outcome.truncated


# whoever looks


def test_a_second_rdev_sees_the_same_bytes_and_the_same_outcome(bench):
    other = bench.place.another()
    id = bench.sh("echo one; read -r _; echo two; exit 5", stdin=True)
    assert bench.prints(id, b"one\n", other) == b"one\n"
    bench.inputs[id].write(b"\n")
    bench.inputs[id].finish()
    assert bench.ends(id, other) == bench.ends(id)
    assert told(bench.ends(id, bench.place.another()).outcome) == (5, Ending.EXITED)
    assert bench.out(id) == b"one\ntwo\n"


def test_t_exec_6_the_same_id_twice_is_one_process_and_two_viewers(bench):
    launch = bench.launch("sh", "-c", "echo ran >>ran; echo once; exit 3")
    first, second = bench.cluster, bench.place.another()
    first.start(bench.project, launch)
    assert second.start(bench.project, launch).input is None
    assert told(bench.ends(launch.id, first).outcome) == told(bench.ends(launch.id, second).outcome) == (3, Ending.EXITED)
    assert bench.out(launch.id) == b"once\n"
    second.start(bench.project, launch)  # also when it has ended long ago
    assert _read(bench, "ran") == b"ran\n"


def test_t_exec_6_the_same_id_from_many_at_once_is_one_process(bench):
    launch = bench.launch("sh", "-c", "echo ran >>ran; echo once; exit 3")
    clusters = [bench.place.another() for _ in range(8)]
    gate = threading.Barrier(len(clusters))

    def go(cluster):
        gate.wait()
        cluster.start(bench.project, launch)
        return told(bench.ends(launch.id, cluster).outcome)

    with ThreadPoolExecutor(len(clusters)) as pool:
        assert set(pool.map(go, clusters)) == {(3, Ending.EXITED)}
    assert bench.out(launch.id) == b"once\n"
    assert _read(bench, "ran") == b"ran\n"


def _read(bench, name: str) -> bytes:
    into = io.BytesIO()
    assert bench.cluster.run(bench.project, ["cat", name], stdout=into, timeout=30).code == 0
    return into.getvalue()


# how it is ended


def test_stop_ends_the_whole_group_with_term(bench, marker):
    id = bench.sh(f"(sleep 600; : {marker}) & trap 'echo bye; exit 0' TERM; echo up; wait")
    bench.prints(id, b"up\n")
    bench.cluster.stop(bench.project, id, "cancelled")
    assert told(bench.ends(id).outcome) == (0, Ending.CANCELLED)
    assert bench.out(id) == b"up\nbye\n"
    assert bench.left(marker) == []


def test_stop_from_a_second_rdev_kills_what_ignores_term_after_its_grace(bench, marker):
    id = bench.sh(f"trap '' TERM; echo up; while :; do sleep 0.1; done; : {marker}", grace_seconds=1)
    bench.prints(id, b"up\n")
    bench.place.another().stop(bench.project, id, "cancelled")
    assert told(bench.ends(id).outcome) == (137, Ending.CANCELLED)
    assert bench.left(marker) == []


def test_stop_waits_out_the_grace_of_a_command_that_tidies_up(bench):
    id = bench.sh("trap 'sleep 0.7; echo tidy; exit 4' TERM; echo up; while :; do sleep 0.05; done", grace_seconds=30)
    bench.prints(id, b"up\n")
    bench.cluster.stop(bench.project, id, "cancelled")
    bench.cluster.stop(bench.project, id, "cancelled")  # again changes nothing
    assert told(bench.ends(id).outcome) == (4, Ending.CANCELLED)
    assert bench.out(id) == b"up\ntidy\n"


def test_stop_right_after_the_start_is_not_forgotten(bench):
    for _ in range(10):
        id = bench.start("sleep", "600")
        bench.cluster.stop(bench.project, id, "cancelled")
        assert told(bench.ends(id).outcome)[1] is Ending.CANCELLED


def test_stop_changes_nothing_once_it_has_ended(bench):
    id = bench.sh("exit 6")
    before = bench.ends(id)
    bench.cluster.stop(bench.project, id, "cancelled")
    bench.cluster.signal(bench.project, id, signal.SIGTERM)
    assert bench.ends(id) == before


def test_t_exec_9_a_limit_holds_against_what_ignores_term_and_keeps_its_output(bench, marker):
    id = bench.sh(f"trap '' TERM; echo partial; while :; do sleep 0.1; done; : {marker}", limit_seconds=1, grace_seconds=1)
    progress = bench.ends(id)
    assert told(progress.outcome) == (137, Ending.TIMEOUT)
    assert bench.out(id) == b"partial\n"
    assert bench.left(marker) == []


def test_a_limit_that_is_not_reached_leaves_nothing_behind(bench, marker):
    limit = random.randrange(100_000, 1_000_000)
    id = bench.sh(f": {marker}", limit_seconds=limit)
    assert told(bench.ends(id).outcome) == (0, Ending.EXITED)
    assert bench.left(marker) == []
    end = time.monotonic() + 10
    while (left := [line for _, line, _ in bench.place.processes() if line == b"sleep\0%d\0" % limit]) and time.monotonic() < end:
        time.sleep(0.02)
    assert left == []


def test_a_signal_reaches_the_command_and_ends_nothing_by_itself(bench):
    numbers = [signal.SIGUSR1, signal.SIGINT, signal.SIGHUP]
    ids = [bench.sh(f"trap 'echo got; exit 8' {int(number)}; echo up; while :; do sleep 0.05; done") for number in numbers]
    for id, number in zip(ids, numbers, strict=True):
        bench.prints(id, b"up\n")
        bench.cluster.signal(bench.project, id, number)
    assert [told(bench.ends(id).outcome) for id in ids] == [(8, Ending.EXITED)] * 3
    assert [bench.out(id) for id in ids] == [b"up\ngot\n"] * 3


def test_t_exec_7_no_process_outlives_the_first_one(bench, marker):
    id = bench.sh(f"(trap '' TERM HUP; while :; do sleep 0.1; done; : {marker}) & echo gone; exit 2")
    assert told(bench.ends(id).outcome) == (2, Ending.EXITED)
    assert bench.out(id) == b"gone\n"
    assert bench.left(marker) == []


def test_one_that_left_the_group_and_holds_the_streams_is_not_waited_for(bench, marker):
    id = bench.sh(f"setsid sh -c 'sleep 600; : {marker}' & exit 2")
    try:
        assert told(bench.ends(id).outcome) == (2, Ending.EXITED)
    finally:
        bench.kill_all(marker)


def test_t_exec_10_one_that_holds_a_stream_that_was_cut_is_not_waited_for(bench, marker):
    id = bench.sh(f"head -c 100000 /dev/zero; setsid sh -c 'sleep 600; : {marker}' & sleep 0.3; exit 2", cap=4096)
    try:
        progress = bench.ends(id)
        assert told(progress.outcome) == (2, Ending.EXITED)
        assert progress.outcome.truncated
    finally:
        bench.kill_all(marker)


# stdin


def test_without_stdin_it_reads_an_end_at_once(bench):
    id = bench.sh("cat; echo done")
    assert told(bench.ends(id).outcome) == (0, Ending.EXITED)
    assert bench.out(id) == b"done\n"


def test_t_exec_12_an_empty_stdin_is_an_end_of_file(bench):
    id = bench.sh("cat; echo done", stdin=True)
    bench.inputs[id].finish()
    assert told(bench.ends(id).outcome) == (0, Ending.EXITED)
    assert bench.out(id) == b"done\n"


def test_t_exec_12_a_large_stdin_arrives_whole(bench):
    data = random.randbytes(8 * MIB)
    id = bench.start("sha256sum", stdin=True)
    for at in range(0, len(data), 1_000_003):
        assert bench.inputs[id].write(data[at : at + 1_000_003])
    bench.inputs[id].finish()
    assert told(bench.ends(id).outcome) == (0, Ending.EXITED)
    assert bench.out(id).split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_t_exec_12_a_command_that_stops_reading_ends_the_writing_and_keeps_its_code(bench):
    id = bench.sh("head -c 3; exec <&-; exit 5", stdin=True)
    end = time.monotonic() + 30
    while bench.inputs[id].write(b"abcdefgh" * 8192):
        assert time.monotonic() < end, "it still takes bytes that nobody reads"
    assert told(bench.ends(id).outcome) == (5, Ending.EXITED)
    assert bench.out(id) == b"abc"


def test_t_exec_12_a_command_that_ends_is_not_held_up_by_a_caller_with_nothing_to_say(bench, marker):
    id = bench.sh(f": {marker}; exit 3", stdin=True)
    assert told(bench.ends(id).outcome) == (3, Ending.EXITED)
    assert bench.left(marker) == []


def test_t_exec_12_a_break_of_stdin_never_looks_like_its_end(bench, marker):
    id = bench.sh(f"cat; echo it ended; : {marker}", stdin=True)
    bench.inputs[id].write(b"half")
    bench.prints(id, b"half")
    bench.place.cut(bench.inputs[id])
    assert told(bench.ends(id).outcome)[1] is Ending.STDIN
    assert bench.out(id) == b"half"
    assert bench.left(marker) == []


# rdev's own short commands


def test_run_carries_bytes_in_and_out_and_tells_the_code_and_stderr(bench):
    data, into = random.randbytes(3 * MIB), io.BytesIO()
    ran = bench.cluster.run(bench.project, ["sh", "-c", "cat; echo words >&2; exit 4"], stdin=io.BytesIO(data), stdout=into, timeout=60)
    assert (ran.code, ran.stderr) == (4, b"words\n")
    assert into.getvalue() == data


def test_run_may_leave_its_stdin_unread(bench):
    ran = bench.cluster.run(bench.project, ["sh", "-c", "exit 3"], stdin=io.BytesIO(bytes(4 * MIB)), timeout=60)
    assert ran.code == 3


def test_run_that_takes_too_long_is_unavailable_and_gone(bench, marker):
    with pytest.raises(Unavailable, match="timeout"):
        bench.cluster.run(bench.project, ["sh", "-c", f"sleep 600; : {marker}"], timeout=1)
    assert bench.left(marker) == []


def test_run_that_is_cut_off_by_its_caller_leaves_no_process(bench, marker):
    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is broken")

    with pytest.raises(OSError, match="the disk is broken"):
        bench.cluster.run(bench.project, ["sh", "-c", f"cat; sleep 600; : {marker}"], stdin=Breaks(), timeout=60)
    assert bench.left(marker) == []


def test_many_runs_at_once_do_not_mix(bench):
    def go(number):
        into = io.BytesIO()
        bench.cluster.run(bench.project, ["sh", "-c", f"echo {number}; sleep 0.1; echo {number}"], stdout=into, timeout=60)
        return into.getvalue()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(go, range(16))) == [f"{n}\n{n}\n".encode() for n in range(16)]

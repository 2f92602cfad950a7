"""rdev exec and rdev command attach as a user types them: codes, bytes, signals, terminals."""

import base64
import hashlib
import json
import os
import random
import re
import secrets
import select
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import RDEV

MIB = 1 << 20
PATIENCE = 60.0


@pytest.fixture
def marker():
    return f"marker{secrets.token_hex(8)}"


def until(true, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)
    return found


def newest(rdev):
    return json.loads(rdev("command", "list", "-o", "json").stdout)["items"][0]


def reads(stream, text):
    """Read a pipe until a text was in it; return all that was read."""
    found = b""
    end = time.monotonic() + PATIENCE
    while text not in found:
        assert select.select([stream], [], [], max(0.0, end - time.monotonic()))[0], f"never {text!r}, only {found!r}"
        data = os.read(stream.fileno(), 1 << 16)
        assert data, f"ended without {text!r}: {found!r}"
        found += data
    return found


# codes


def test_t_exec_3_the_exit_code_is_the_commands_own(rdev, project):
    codes = (0, 1, 2, 3, 124, 125, 126, 127, 128, 130, 137, 143, 255)
    assert [rdev("exec", project, "--", "sh", "-c", f"exit {code}").returncode for code in codes] == list(codes)


def test_t_exec_3_a_death_by_signal_is_128_and_its_number(rdev, project):
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)
    assert [rdev("exec", project, "--", "sh", "-c", f"kill -{int(n)} $$").returncode for n in numbers] == [128 + n for n in numbers]


def test_t_exec_3_what_cannot_run_is_127_126_125_or_2_and_no_traceback(rdev, project):
    found = [
        rdev("exec", project, "--", "no-such-program-anywhere"),
        rdev("exec", project, "--", "/etc"),
        rdev("exec", "-t", project, "--", "no-such-program-anywhere"),
        rdev("exec", "-t", project, "--", "/etc"),
        rdev("exec", "nosuch", "--", "true"),
        rdev("exec", "--no-such-flag", project, "--", "true"),
        rdev("exec", project, "true"),
        rdev("exec", project, "--"),
    ]
    assert [one.returncode for one in found] == [127, 126, 127, 126, 125, 2, 2, 2]
    assert not [one.stderr for one in found if b"Traceback" in one.stderr]


def test_t_exec_3_an_unknown_project_is_named_for_programs_too(rdev):
    found = rdev("exec", "nosuch", "-o", "json", "--", "true")
    assert found.returncode == 125
    assert json.loads(found.stderr)["error"]["code"] == "NOT_FOUND"
    assert found.stdout == b""


def test_t_exec_3_without_isolation_the_codes_are_the_same(rdev, project):
    lines = {"exit 3": 3, "kill -9 $$": 137, "exec no-such-program-anywhere": 127}
    assert {line: rdev("exec", "--isolation", "none", project, "--", "sh", "-c", line).returncode for line in lines} == lines


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
@pytest.mark.parametrize("part", ["", "workspace", "home"])
def test_a_pod_whose_folder_is_a_link_is_refused_before_anything_runs(rdev, project, home, tmp_path, part, isolation):
    (pod,) = Path(home["XDG_STATE_HOME"]).glob("rdev/local/pods/rdev-*")
    elsewhere = tmp_path / "elsewhere"
    (pod / part).rename(elsewhere)
    (pod / part).symlink_to(elsewhere)
    found = rdev("exec", "--isolation", isolation, "-o", "json", project, "--", "sh", "-c", "echo ran >ran; echo ran >~/ran")
    assert found.returncode == 125
    assert json.loads(found.stderr)["error"]["context"]["path"] == str(pod / part)
    assert [path for path in elsewhere.rglob("ran") if path.is_file()] == []
    assert rdev("project", "delete", project, "--yes").returncode == 0
    assert elsewhere.is_dir()


# bytes


def test_t_exec_5_a_command_that_prints_our_marks_forges_nothing(rdev, project):
    forged = '<completed-0>\nRDEV_EXIT=0\nevent: done\n\n{"type": "ended", "exit_code": 0}\nready\n0 exited\n'
    plain = rdev("exec", project, "--", "sh", "-c", 'printf %s "$1"; printf %s "$1" >&2; exit 7', "sh", forged)
    assert (plain.returncode, plain.stdout, plain.stderr) == (7, forged.encode(), forged.encode())
    lines = rdev("exec", "-o", "jsonl", project, "--", "sh", "-c", 'printf %s "$1"; exit 7', "sh", forged)
    events = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [one["type"] for one in events] == ["output", "ended"]
    assert events[0]["data"] == forged
    assert events[1]["exit_code"] == lines.returncode == 7


def test_t_exec_11_bytes_of_every_kind_pass_untouched_on_both_streams(rdev, project, tmp_path):
    data = bytes(range(256)) + "é😀".encode("utf-16") + b"\x1b[31mred\x1b[0m\0\r\xed\xa0\x80 no newline \xf0\x9f"
    found = rdev("exec", "-i", project, "--", "sh", "-c", "cat >all; cat all; cat all >&2", input=data)
    assert (found.returncode, found.stdout, found.stderr) == (0, data, data)


def test_t_exec_11_json_holds_text_as_text_and_other_bytes_as_base64(rdev, project):
    found = rdev("exec", "-o", "json", project, "--", "sh", "-c", r"printf 'caf\351'; echo café >&2; exit 3")
    document = json.loads(found.stdout)
    assert found.returncode == document["exit_code"] == 3
    assert base64.b64decode(document["stdout_b64"]) == b"caf\xe9"
    assert "stdout" not in document
    assert document["stderr"] == "café\n"
    assert found.stderr == b""


def test_t_exec_11_jsonl_never_splits_a_character_and_loses_no_byte(rdev, project):
    # the halves come seconds apart for a computer; the last one never gets its other half
    line = r"printf 'a\360\237'; sleep 0.6; printf '\230\200b'; sleep 0.6; printf '\303'; sleep 0.6; printf '\251 \342\202'"
    found = rdev("exec", "-o", "jsonl", project, "--", "sh", "-c", line)
    events = [json.loads(one) for one in found.stdout.splitlines()]
    data = [one["data"].encode() if "data" in one else base64.b64decode(one["data_b64"]) for one in events[:-1]]
    assert b"".join(data) == "a😀bé ".encode() + b"\xe2\x82"
    assert "".join(one.get("data", "") for one in events[:-1]) == "a😀bé "
    assert [one["offset"] for one in events[:-1]] == [sum(map(len, data[:at])) for at in range(len(data))]
    assert events[-1]["type"] == "ended"


def test_t_exec_10_large_outputs_pass_whole_in_little_memory(project, spawn):
    size = 200 * MIB
    base = _peak(spawn, "exec", project, "--", "true")[2]
    lines = "yes 'a line of some length, again and again' | head -c 209715200"
    one_line = "head -c 10485760 /dev/zero | tr '\\0' x; head -c 10485760 /dev/zero | tr '\\0' y >&2; exit 5"
    code, digest, peak, _ = _peak(spawn, "exec", project, "--", "sh", "-c", lines)
    want = hashlib.sha256()
    line = b"a line of some length, again and again\n"
    block = line * (1 << 14)
    whole, rest = divmod(size, len(block))
    for _ in range(whole):
        want.update(block)
    want.update(block[:rest])
    assert (code, digest) == (0, want.hexdigest())
    assert peak <= base + 64 * MIB
    code, digest, peak, errors = _peak(spawn, "exec", project, "--", "sh", "-c", one_line)
    assert (code, digest) == (5, hashlib.sha256(b"x" * 10 * MIB).hexdigest())
    assert errors == hashlib.sha256(b"y" * 10 * MIB).hexdigest()
    assert peak <= base + 64 * MIB


def test_t_exec_10_a_document_holds_a_mebibyte_of_a_stream_and_says_that_there_is_more(project, spawn, rdev):
    base = _peak(spawn, "exec", project, "--", "true")[2]
    code, _, peak, _ = _peak(spawn, "exec", "-o", "json", project, "--", "sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' x; exit 4")
    assert code == 4
    assert peak <= base + 64 * MIB
    document = json.loads(rdev("command", "output", newest(rdev)["id"], "-o", "json").stdout)
    assert len(document["stdout"]) == MIB
    assert document["output_cut"] is True
    assert document["stdout_bytes"] == 50_000_000


def _peak(spawn, *args):
    """(code, sha256 of stdout, most memory it ever had in bytes, sha256 of stderr)."""
    process = spawn(*args)
    sums = {}

    def drain(stream):
        found = hashlib.sha256()
        while data := stream.read(MIB):
            found.update(data)
        sums[stream] = found.hexdigest()

    threads = [threading.Thread(target=drain, args=(stream,)) for stream in (process.stdout, process.stderr)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, sums[process.stdout], usage.ru_maxrss * 1024, sums[process.stderr]


def test_a_reader_that_leaves_ends_the_command_as_a_pipe_would(project, spawn, left_behind, marker):
    process = spawn("exec", project, "--", "sh", "-c", f"while echo {marker}; do :; done")
    reads(process.stdout, marker.encode())
    process.stdout.close()
    assert process.wait(PATIENCE) == 141
    assert left_behind(marker) == []


def test_output_that_cannot_be_written_is_74_and_is_kept(rdev, project, home):
    with open("/dev/full", "wb") as full:
        found = subprocess.run([RDEV, "exec", project, "--", "echo", "hello"], env=home, stdout=full, stderr=subprocess.PIPE, check=False)
    assert found.returncode == 74
    assert b"No space left" in found.stderr
    id = re.search(rb"cmd_\w+", found.stderr)[0].decode()
    assert rdev("command", "attach", id).stdout == b"hello\n"


# durable


def test_t_exec_7_a_killed_client_leaves_a_command_that_attach_replays_whole(rdev, project, spawn, left_behind, marker):
    process = spawn(
        "exec", project, "--", "sh", "-c", f"for i in 1 2 3 4 5 6; do echo $i; echo e$i >&2; sleep 0.2; done; exit 9; : {marker}"
    )
    reads(process.stdout, b"2\n")
    process.kill()
    process.wait(10)
    id = newest(rdev)["id"]
    found = rdev("command", "attach", id)
    assert (found.returncode, found.stdout, found.stderr) == (9, b"1\n2\n3\n4\n5\n6\n", b"e1\ne2\ne3\ne4\ne5\ne6\n")
    again = rdev("command", "attach", id, "--offset", "4", "--stderr-offset", "15")
    assert (again.returncode, again.stdout, again.stderr) == (9, b"3\n4\n5\n6\n", b"e6\n")
    assert left_behind(marker) == []


def test_t_exec_7_a_killed_clients_command_can_be_cancelled_and_its_group_is_gone(rdev, project, spawn, left_behind, marker):
    process = spawn("exec", project, "--", "sh", "-c", f"(sleep 600; : {marker}) & echo up; wait")
    reads(process.stdout, b"up\n")
    process.kill()
    process.wait(10)
    assert left_behind(marker, 0) != []
    cancelled = rdev("command", "cancel", newest(rdev)["id"], "-o", "json")
    assert cancelled.returncode == 0
    assert json.loads(cancelled.stdout)["state"] == "cancelled"
    assert left_behind(marker) == []
    assert rdev("command", "attach", newest(rdev)["id"]).returncode == 130


def test_t_exec_7_a_killed_clients_command_keeps_its_time_limit(rdev, project, spawn, left_behind, marker):
    process = spawn("exec", "--timeout", "2s", project, "--", "sh", "-c", f"echo up; sleep 600; : {marker}")
    reads(process.stdout, b"up\n")
    process.kill()
    process.wait(10)
    assert left_behind(marker) == []
    assert rdev("command", "attach", newest(rdev)["id"]).returncode == 124


def test_t_exec_7_whoever_only_looks_on_leaves_the_command_running(rdev, project, spawn):
    id = (
        rdev("exec", "--no-wait", project, "--", "sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.05; done; exit 6")
        .stdout.decode()
        .strip()
    )
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        viewer = spawn("command", "attach", id)
        reads(viewer.stdout, b"up\n")
        viewer.send_signal(number)
        assert viewer.wait(PATIENCE) == code
    assert rdev("exec", project, "--", "touch", "go").returncode == 0
    assert rdev("command", "attach", id).returncode == 6


def test_t_exec_7_a_client_that_is_told_to_end_leaves_the_command_running(rdev, project, spawn):
    process = spawn("exec", project, "--", "sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.05; done; exit 6")
    reads(process.stdout, b"up\n")
    process.terminate()
    assert process.wait(PATIENCE) == 143
    id = re.search(rb"cmd_\w+", process.stderr.read())[0].decode()
    assert rdev("exec", project, "--", "touch", "go").returncode == 0
    assert rdev("command", "attach", id).returncode == 6


def test_many_viewers_at_once_see_the_same(rdev, project, spawn):
    id = rdev("exec", "--no-wait", project, "--", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done; exit 4").stdout.decode().strip()
    viewers = [spawn("command", "attach", id) for _ in range(4)]
    assert [(one.communicate(timeout=PATIENCE)[0], one.returncode) for one in viewers] == [(b"1\n2\n3\n", 4)] * 4


# Ctrl-C and limits


def test_t_exec_8_ctrl_c_once_is_term_then_130_and_nothing_is_run_again(rdev, project, spawn, left_behind, marker):
    line = f"echo ran >>runs; trap 'echo tidy; exit 3' TERM; echo up; while :; do sleep 0.05; done; : {marker}"
    process = spawn("exec", project, "--", "sh", "-c", line)
    reads(process.stdout, b"up\n")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert process.stdout.read() == b"tidy\n"
    assert left_behind(marker) == []
    assert rdev("exec", project, "--", "cat", "runs").stdout == b"ran\n"
    assert [one["state"] for one in json.loads(rdev("command", "list", "-o", "json").stdout)["items"]] == ["completed", "cancelled"]


def test_t_exec_8_what_ignores_term_is_killed_after_the_grace(project, spawn, left_behind, marker):
    process = spawn("exec", project, "--", "sh", "-c", f"trap '' TERM INT; echo up; while :; do sleep 0.05; done; : {marker}")
    reads(process.stdout, b"up\n")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert left_behind(marker) == []


def test_t_exec_8_ctrl_c_twice_leaves_at_once_and_the_group_is_gone_all_the_same(rdev, project, spawn, left_behind, marker):
    process = spawn("exec", project, "--", "sh", "-c", f"trap 'echo termed' TERM; echo up; while :; do sleep 0.05; done; : {marker}")
    reads(process.stdout, b"up\n")
    process.send_signal(signal.SIGINT)
    reads(process.stdout, b"termed\n")  # the first one has done its work
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert left_behind(marker, 0) != []  # it did not wait for the grace
    id = re.search(rb"cmd_\w+", process.stderr.read())[0].decode()
    assert left_behind(marker) == []
    assert rdev("command", "attach", id).returncode == 130


def test_t_exec_9_a_limit_ends_what_ignores_term_with_124_and_keeps_its_output(rdev, project, left_behind, marker):
    line = f"trap '' TERM; echo partial; while :; do sleep 0.05; done; : {marker}"
    found = rdev("exec", "--timeout", "1s", project, "--", "sh", "-c", line)
    assert (found.returncode, found.stdout) == (124, b"partial\n")
    assert b"time limit" in found.stderr
    assert left_behind(marker) == []
    document = newest(rdev)
    assert (document["reason"], document["state"], document["stdout_bytes"]) == ("timeout", "failed", 8)


# stdin


def test_t_exec_12_a_loop_that_reads_is_not_eaten_by_an_exec_in_it(rdev, project, home):
    script = f'while read -r word; do {shlex.quote(RDEV)} exec {project} -- echo "got $word"; done'
    found = subprocess.run(["sh", "-c", script], input=b"one\ntwo\nthree\n", env=home, capture_output=True, timeout=60, check=False)
    assert (found.stdout, found.stderr) == (b"got one\ngot two\ngot three\n", b"")


def test_t_exec_12_an_empty_stdin_is_an_end_of_file(rdev, project):
    found = rdev("exec", "-i", project, "--", "sh", "-c", "cat; echo done", input=b"")
    assert (found.returncode, found.stdout) == (0, b"done\n")


def test_t_exec_12_32_mib_of_stdin_arrive_whole(rdev, project):
    data = random.randbytes(32 * MIB)
    found = rdev("exec", "-i", project, "--", "sha256sum", input=data)
    assert (found.returncode, found.stdout.split()[0].decode()) == (0, hashlib.sha256(data).hexdigest())


def test_t_exec_12_a_command_that_reads_only_the_beginning_keeps_its_code(rdev, project):
    found = rdev("exec", "-i", project, "--", "sh", "-c", "head -c 3; exit 5", input=bytes(8 * MIB))
    assert (found.returncode, found.stdout) == (5, bytes(3))


def test_t_exec_12_a_command_that_ends_does_not_wait_for_a_stdin_that_stays_open(project, spawn, left_behind, marker):
    process = spawn("exec", "-i", project, "--", "sh", "-c", f"exit 3; : {marker}", stdin=subprocess.PIPE)
    assert process.wait(PATIENCE) == 3
    assert left_behind(marker) == []


def test_t_exec_12_a_client_killed_before_the_end_of_stdin_makes_the_outcome_unknown(rdev, project, spawn, left_behind, marker):
    process = spawn("exec", "-i", project, "--", "sh", "-c", f"cat; touch ended; : {marker}", stdin=subprocess.PIPE)
    process.stdin.write(b"half of it")
    process.stdin.flush()
    reads(process.stdout, b"half of it")
    process.kill()
    process.wait(10)
    found = rdev("command", "attach", newest(rdev)["id"])
    assert (found.returncode, found.stdout) == (74, b"half of it")
    document = newest(rdev)
    assert (document["state"], document["reason"]) == ("lost", "stdin")
    assert left_behind(marker) == []
    assert rdev("exec", project, "--", "test", "-e", "ended").returncode == 1  # it never saw an end of file


# a terminal


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_t_exec_12_a_terminal_has_the_callers_size_follows_it_and_is_put_back(project, screen, isolation):
    line = "test -t 0 && test -t 1 && test -t 2 && stty size; trap 'stty size' WINCH; echo up; read -r word; echo \"got $word\"; read -r more; exit 7"
    seen = screen("exec", "-t", "--isolation", isolation, project, "--", "sh", "-c", line)
    seen.shows(b"up\r\n")
    assert b"33 101\r\n" in seen.seen
    assert not seen.restored
    seen.resize(44, 122)
    # a read that the shell begins again after the trap
    os.write(seen.master, b"hello\r")
    seen.shows(b"44 122\r\n")
    os.write(seen.master, b"\r")
    os.write(seen.master, b"\r")
    assert seen.ends() == 7
    assert seen.restored


def test_t_exec_8_ctrl_c_in_a_terminal_is_the_commands_to_answer(project, screen):
    line = "trap 'echo interrupted; exit 6' INT; echo up; while :; do sleep 0.05; done"
    seen = screen("exec", "-t", project, "--", "sh", "-c", line)
    seen.shows(b"up\r\n")
    os.write(seen.master, b"\x03")
    assert seen.ends() == 6
    assert b"interrupted\r\n" in seen.seen
    assert seen.restored


def test_t_exec_8_ctrl_c_in_a_terminal_ends_what_does_not_answer_with_130(project, screen):
    seen = screen("exec", "-t", project, "--", "sh", "-c", "echo up; exec sleep 600")
    seen.shows(b"up\r\n")
    os.write(seen.master, b"\x03")
    assert seen.ends() == 130
    assert seen.restored


def test_t_exec_3_in_a_terminal_a_death_by_signal_is_128_and_its_number_and_no_word_of_a_shell(project, screen):
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM)
    for number in numbers:
        seen = screen("exec", "-t", project, "--", "sh", "-c", f"echo up >&2; kill -{int(number)} $$")
        assert (seen.ends(), seen.seen) == (128 + number, b"up\r\n")


def test_a_terminal_is_put_back_when_rdev_is_told_to_end(project, screen, left_behind, marker):
    seen = screen("exec", "-t", project, "--", "sh", "-c", f"echo up; sleep 600; : {marker}")
    seen.shows(b"up\r\n")
    assert not seen.restored
    seen.process.terminate()
    assert seen.ends() == 143
    assert seen.restored
    assert left_behind(marker) == []  # its terminal is gone, and so is it


def test_a_command_in_a_terminal_has_no_descriptor_of_ours(rdev, project):
    found = rdev("exec", "-t", project, "--", "sh", "-c", "ls /proc/$$/fd")
    assert {int(fd) for fd in found.stdout.split()} <= {0, 1, 2, 10}


def test_a_terminal_without_script_is_refused_before_anything_runs(rdev, project, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("cat", "mkdir", "mv", "sh", "git"):
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    found = rdev("exec", "-t", "--isolation", "none", project, "--", "touch", "ran", env={"PATH": str(folder)})
    assert found.returncode == 125
    assert b"script" in found.stderr
    assert rdev("exec", project, "--", "test", "-e", "ran").returncode == 1

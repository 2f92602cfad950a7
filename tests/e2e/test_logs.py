"""`rdev logs`: where a pod is a folder, the newest command's output, and no part of a log that is not there."""

import json
import subprocess
from collections.abc import Callable

import pytest

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]


def test_without_a_log_of_its_own_a_pod_shows_its_newest_commands_output(rdev: Rdev, project: str) -> None:
    assert rdev("exec", project, "--", "sh", "-c", "echo one; echo two >&2").returncode == 0
    for typed in (("logs", project), ("logs", project, "-f")):
        ran = rdev(*typed)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"one\n", b"two\n")
    assert json.loads(rdev("logs", project, "-o", "json").stdout)["stdout"] == "one\n"


@pytest.mark.parametrize("flags", [("--since", "5m"), ("--tail", "10"), ("--tail", "0"), ("--previous",), ("-p",), ("--timestamps",)])
def test_a_part_of_a_log_that_pods_do_not_have_here_is_refused_in_words(flags: tuple[str, ...], rdev: Rdev, project: str) -> None:
    assert rdev("exec", project, "--", "echo", "one").returncode == 0
    ran = rdev("logs", project, *flags, "-o", "json")
    error = json.loads(ran.stderr)["error"]
    assert (ran.returncode, ran.stdout, error["code"]) == (2, b"", "USAGE")
    assert "newest command's output" in error["hint"]


def test_the_log_of_a_project_that_is_not_there_is_3(rdev: Rdev) -> None:
    assert rdev("logs", "nope", "--tail", "5").returncode == 3

"""--idempotency-key: what is asked for twice under one key is done once, whatever befell the first."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]

STRUCK = Path(__file__).parents[1] / "support" / "struck.py"
LINE = "echo ran >>runs; cat runs; echo beside >&2; exit 7"


def asked(rdev: Rdev, *words: str) -> tuple[int, bytes, bytes]:
    done = rdev("shell", "--idempotency-key", "k-1", *words)
    return done.returncode, done.stdout, done.stderr


def runs(rdev: Rdev, project: str) -> int:
    return rdev("shell", project, "cat runs").stdout.count(b"ran")


def test_a_repeat_of_a_command_tells_its_output_and_ends_with_its_code(rdev: Rdev, project: str) -> None:
    first, second = asked(rdev, project, LINE), asked(rdev, project, LINE)
    assert first == second == (7, b"ran\n", b"beside\n")
    assert runs(rdev, project) == 1
    documents = [json.loads(rdev("shell", "--idempotency-key", "k-1", "-o", "json", project, LINE).stdout) for _ in range(2)]
    assert documents[0] == documents[1]
    assert (documents[0]["exit_code"], documents[0]["stdout"]) == (7, "ran\n")


def test_another_request_under_a_used_key_is_refused_and_runs_nothing(rdev: Rdev, project: str) -> None:
    asked(rdev, project, LINE)
    other = rdev("shell", "--idempotency-key", "k-1", "-o", "json", project, f"{LINE} ")
    assert (other.returncode, json.loads(other.stderr)["error"]["code"]) == (125, "IDEMPOTENCY_MISMATCH")
    create = rdev("project", "create", "other", "--idempotency-key", "k-1", "-o", "json")
    assert (create.returncode, json.loads(create.stderr)["error"]["code"]) == (2, "IDEMPOTENCY_MISMATCH")
    assert runs(rdev, project) == 1


def test_a_repeat_of_a_creation_tells_the_same_document_though_the_project_is_gone(rdev: Rdev) -> None:
    words = ("project", "create", "shop", "--description", "the shop", "--idempotency-key", "k-1", "-o", "json")
    first = rdev(*words)
    assert first.returncode == 0, first.stderr
    assert rdev("project", "delete", "shop", "--yes").returncode == 0
    second = rdev(*words)
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert rdev("project", "show", "shop").returncode == 3


def test_what_was_refused_leaves_its_key_free(rdev: Rdev) -> None:
    words = ("shell", "--idempotency-key", "k-1", "shop", LINE)
    assert rdev(*words).returncode == 125
    assert rdev("project", "create", "shop").returncode == 0
    assert rdev(*words).stdout == b"ran\n"


@pytest.mark.parametrize("key", ["", "two words", "k" * 256, "schlüssel"])
def test_a_key_is_one_visible_word(rdev: Rdev, key: str) -> None:
    assert rdev("shell", "--idempotency-key", key, "shop", LINE).returncode == 2


def test_many_at_once_under_one_key_are_one_command(rdev: Rdev, project: str) -> None:
    words = ("shell", "--idempotency-key", "k-1", "--timeout", "60s", project, LINE)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: rdev(*words, timeout=120), range(20)))
    assert {(one.returncode, one.stdout) for one in done} == {(7, b"ran\n")}
    assert runs(rdev, project) == 1


def test_a_command_runs_once_wherever_its_first_asker_is_killed(rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path) -> None:
    """A kill at every step that leaves a mark, each under a key of its own; the repeat ends as if nothing had happened."""
    struck, steps = -9, 0
    while struck == -9:
        steps += 1
        words = ("shell", "--idempotency-key", f"k-{steps}", project, f"echo {steps} >>runs; echo done; exit 7")
        argv = [sys.executable, str(STRUCK), str(steps), "SIGKILL", "--", *words]
        struck = subprocess.run(
            argv, env=dict(home), cwd=tmp_path, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        ).returncode
        again = rdev(*words)
        assert (again.returncode, again.stdout) == (7, b"done\n"), steps
    assert struck == 7
    assert steps > 8
    assert rdev("shell", project, "cat runs").stdout.split() == [str(number + 1).encode() for number in range(steps)]

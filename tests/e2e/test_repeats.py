"""--idempotency-key: what is asked for twice under one key is done once, whatever befell the first."""

import json
import subprocess
from collections.abc import Callable

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]

LINE = "echo ran >>/workspace/runs 2>/dev/null || echo ran >>runs; cat runs; echo beside >&2; exit 7"


def test_a_repeat_of_a_command_tells_its_output_and_ends_with_its_code(rdev: Rdev, project: str) -> None:
    first, second = (rdev("shell", "--idempotency-key", "k-1", project, LINE) for _ in range(2))
    assert (first.returncode, first.stdout, first.stderr) == (7, b"ran\n", b"beside\n")
    assert (second.returncode, second.stdout, second.stderr) == (7, b"ran\n", b"beside\n")
    assert rdev("shell", project, "cat runs").stdout == b"ran\n"
    assert len(json.loads(rdev("command", "list", "-o", "json").stdout)["items"]) == 2

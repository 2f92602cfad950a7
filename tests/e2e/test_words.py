"""What rdev tells a person: that it is true, that it can be typed, and that it fits the terminal."""

import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from rdev_cli.domain.errors import Invalid
from rdev_cli.domain.values import CommandId
from rdev_cli.ops import commands, known
from rdev_cli.wiring.services import Services

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]
SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def agent(rdev: Rdev, project: str) -> str:
    """A project, and an agent for it that does what its prompt says."""
    assert rdev("context", "set", "local", "--agent-path", f"claude={SUPPORT / 'claude'}").returncode == 0
    return project


# the demo


def test_a_demo_that_is_stopped_is_130_and_promises_nothing(spawn: Spawn, rdev: Rdev) -> None:
    process = spawn("demo", "--agent", "bundled")
    assert process.stdout is not None
    told = b""
    while b"> Write" not in told:
        told += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the agent was done before the signal came")
    assert process.returncode == 130
    assert b"Three things" not in out
    assert b"Look at what" not in out
    assert b"gone: record" in out
    assert b"rdev git" not in said
    assert rdev("project", "list", "-o", "name").stdout == b""


def test_a_demo_without_isolation_does_not_claim_a_check_that_nobody_ran(rdev: Rdev) -> None:
    ran = rdev("demo", "--agent", "bundled", "--isolation", "none")
    assert ran.returncode == 0, ran.stderr
    assert b"Bash" not in ran.stdout
    assert b"check passes" not in ran.stdout
    assert b"an isolated place" not in ran.stdout
    assert b"2 files changed" in ran.stdout


def test_what_the_demo_types_to_look_at_the_commit_works(rdev: Rdev, home: Mapping[str, str], tmp_path: Path) -> None:
    ran = rdev("demo", "--agent", "bundled", "--keep")
    line = next(line for line in ran.stdout.decode().splitlines() if "$ git clone" in line).partition("$ ")[2]
    shown = subprocess.run(["sh", "-c", line], env=dict(home), cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert shown.returncode == 0, shown.stderr
    assert b"site/health.html" in shown.stdout


# ids


def test_an_ambiguous_beginning_names_no_command(home: Mapping[str, str], rdev: Rdev, project: str, tmp_path: Path) -> None:
    assert rdev("exec", project, "--", "true").returncode == 0
    world = Services(environ=home, cwd=tmp_path)
    (one,) = commands.list_(world).items
    two = replace(one, id=CommandId(one.id[:-1] + ("0" if one.id[-1] != "0" else "1")))
    with pytest.raises(Invalid) as alone:
        known.command(world, one.id[:-1], whole=True)
    assert one.id in alone.value.hint
    with world.store.transaction() as tx:
        tx.put_command(two)
    for whole in (True, False):
        with pytest.raises(Invalid) as raised:
            known.command(world, one.id[:-1], whole=whole)
        assert "more than one" in raised.value.message
        assert one.id not in raised.value.hint
        assert two.id not in raised.value.hint
    world.close()


# git in the pod


def test_a_commit_by_hand_has_an_author_and_the_owners_own_one_wins(rdev: Rdev, project: str) -> None:
    def author() -> str:
        made = rdev("git", project, "--", "commit", "--quiet", "--allow-empty", "-m", "x")
        assert made.returncode == 0, made.stderr
        return rdev("git", project, "--", "log", "-1", "--format=%an <%ae> %cn").stdout.decode().strip()

    assert author() == "rdev <rdev@localhost> rdev"
    assert rdev("git", project, "--", "config", "--global", "user.name", "Ada").returncode == 0
    assert author() == "Ada <rdev@localhost> Ada"
    assert rdev("git", project, "--", "config", "user.name", "Grace").returncode == 0
    assert author() == "Grace <rdev@localhost> Grace"

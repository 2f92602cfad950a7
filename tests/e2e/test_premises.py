"""What rdev keeps on a machine: the doctor names what is left over, and uninstall takes exactly what is rdev's."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e.test_hand import on_terminal
from tests.support.keyrings import FAKE

pytestmark = pytest.mark.state

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]
HOUR = 3700


@pytest.fixture
def state(home: Mapping[str, str]) -> Path:
    return Path(home["XDG_STATE_HOME"]) / "rdev"


def checks(rdev: Rdev, **more: object) -> list[dict[str, str]]:
    ran = rdev("doctor", "-o", "json", **more)
    assert ran.returncode in (0, 9), ran.stderr
    items: list[dict[str, str]] = json.loads(ran.stdout)["items"]
    assert (ran.returncode == 9) == any(item["verdict"] == "failed" for item in items)
    return items


def named(found: list[dict[str, str]], beginning: str) -> list[dict[str, str]]:
    return [check for check in found if check["name"].startswith(beginning)]


def aged(path: Path) -> Path:
    os.utime(path, (time.time() - HOUR, time.time() - HOUR))
    return path


# the doctor


def test_a_used_installation_has_nothing_left_over_and_the_disk_is_counted(rdev: Rdev, project: str, state: Path) -> None:
    rdev("exec", project, "--", "sh", "-c", "head -c 5000000 /dev/urandom >big")
    found = checks(rdev)
    assert named(found, "leftover") == [{"name": "leftover", "verdict": "ok", "found": "everything has its record", "hint": ""}]
    (disk,) = named(found, "disk")
    assert disk["verdict"] == "ok"
    assert "pods 4." in disk["found"] or "pods 5." in disk["found"]
    assert "are free" in disk["found"]


def test_what_has_no_record_is_named_with_what_ends_it_and_that_works(rdev: Rdev, project: str, state: Path) -> None:
    local = state / "local"
    pod = next((local / "pods").iterdir())
    stray = local / "pods" / "rdev-gone-01234567"
    subprocess.run(["cp", "-r", pod, stray], check=True)
    (stray / "workspace" / "closed").mkdir(mode=0o500)
    repository = local / "repos" / "gone.git"
    subprocess.run(["cp", "-r", local / "repos" / "shop.git", repository], check=True)
    output = local / "spool" / "cmd_01j9gone00000000000a"
    output.mkdir(parents=True)
    aged(output)
    found = named(checks(rdev), "leftover")
    assert {check["verdict"] for check in found} == {"warning"}
    assert sorted(check["name"] for check in found) == ["leftover.output", "leftover.pod", "leftover.repository"]
    for path in (stray, repository, output):
        (one,) = [check for check in found if str(path) in check["found"]]
        assert subprocess.run(["sh", "-c", one["hint"]], capture_output=True, check=False).returncode == 0
        assert not path.exists()
    assert named(checks(rdev), "leftover")[0]["verdict"] == "ok"
    assert rdev("exec", project, "--", "true").returncode == 0


def test_rdevs_own_short_commands_are_left_over_only_when_they_are_old(rdev: Rdev, project: str, state: Path) -> None:
    (state / "local/spool").mkdir(exist_ok=True)
    for name in ("run_01234567_abcdef", "../pods/.probe-x"):
        folder = state / "local/spool" / name
        folder.mkdir()
        (folder / "exit").write_text("0 exited\n")
        (folder / "pid").write_text("0 0 0 0\n")
    assert named(checks(rdev), "leftover")[0]["verdict"] == "ok"
    for name in ("run_01234567_abcdef", "../pods/.probe-x"):
        aged(state / "local/spool" / name)
    assert len([check for check in named(checks(rdev), "leftover") if check["verdict"] == "warning"]) == 2


def test_what_runs_and_what_is_another_contexts_is_not_left_over(rdev: Rdev, project: str, state: Path) -> None:
    rdev("exec", project, "--no-wait", "--", "sleep", "60")
    assert rdev("context", "set", "other").returncode == 0
    assert rdev("project", "create", "else", "--context", "other").returncode == 0
    assert named(checks(rdev), "leftover")[0]["verdict"] == "ok"


def test_a_stranger_in_the_state_is_named(rdev: Rdev, project: str, state: Path) -> None:
    (state / "local/repos/notes").mkdir()
    (state / "local/letter.txt").write_text("mine")
    found = named(checks(rdev), "leftover")
    assert sorted(check["found"].partition(": ")[2] for check in found) == ["it is not rdev's", "it is not rdev's"]
    assert any(check["hint"].endswith(shlex.quote(str(state / "local/letter.txt"))) for check in found)


def test_a_file_open_to_others_is_a_warning_with_the_line_that_closes_it(rdev: Rdev, project: str, state: Path) -> None:
    path = state / "local/repos/shop.git"
    path.chmod(0o755)
    (one,) = named(checks(rdev), "files.open")
    assert (one["verdict"], str(path) in one["found"]) == ("warning", True)
    assert subprocess.run(["sh", "-c", one["hint"]], check=False).returncode == 0
    assert not named(checks(rdev), "files.open")
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_fails(rdev: Rdev, project: str, state: Path) -> None:
    os.chown(state / "local/repos/shop.git", 12345, 12345)
    (one,) = named(checks(rdev), "files.owner")
    assert (one["verdict"], one["hint"].startswith("sudo chown -R")) == ("failed", True)


def test_every_missing_tool_is_named_with_the_line_that_installs_it(rdev: Rdev, tmp_path: Path) -> None:
    shim = Path(__file__).parents[1] / "support" / "no_bubblewrap"
    (tmp_path / "bin").mkdir()
    found = {check["name"]: check for check in checks(rdev, env={"PATH": str(tmp_path / "bin"), "PYTHONPATH": str(shim)})}
    for name, verdict, line in (
        ("tool.git", "failed", "apt install git"),
        ("isolation", "failed", "apt install bubblewrap"),
        ("tool.script", "warning", "apt install bsdutils"),
        ("tool.setsid", "warning", "apt install util-linux"),
    ):
        assert (found[name]["verdict"], line in found[name]["hint"]) == (verdict, True), found[name]


# uninstall


def everything(home: Mapping[str, str]) -> list[str]:
    root = Path(home["HOME"])
    # who only reads a write-ahead log may leave its two files behind
    found = [path for path in root.rglob("*") if (not path.is_dir() or path.is_symlink()) and not path.name.endswith(("-wal", "-shm"))]
    return sorted(path.relative_to(root).as_posix() for path in found)


def test_uninstall_ends_what_runs_and_leaves_nothing_of_rdevs(
    rdev: Rdev, project: str, home: Mapping[str, str], left_behind: Callable[..., list[bytes]]
) -> None:
    marker = "86399.5"
    assert rdev("exec", project, "--no-wait", "--", "sleep", marker).returncode == 0
    assert rdev("exec", project, "--", "sh", "-c", "mkdir closed && touch closed/x && chmod 500 closed").returncode == 0
    assert rdev("context", "set", "other", "--isolation", "bubblewrap").returncode == 0
    assert rdev("project", "create", "else", "--context", "other").returncode == 0
    mine = Path(home["HOME"]) / "state" / "mine"
    mine.write_text("not rdev's")
    ran = rdev("uninstall", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert b"pip uninstall rdev" in ran.stderr
    assert everything(home) == ["state/mine"]
    assert sorted(path.name for path in (Path(home["HOME"]) / "state").iterdir()) == ["mine"]
    assert left_behind(marker) == []
    assert rdev("project", "list", "-o", "json").returncode == 0  # and rdev begins anew


def test_a_dry_run_lists_it_with_sizes_and_changes_nothing(rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    started = rdev("exec", project, "--no-wait", "--", "sleep", "60").stdout.decode().strip()
    before = everything(home)
    ran = rdev("uninstall", "--dry-run", "-o", "json")
    assert ran.returncode == 0
    items = json.loads(ran.stdout)["items"]
    assert [item["name"] for item in items if item["fate"] == "ended"] == [started]
    kinds = {item["kind"]: item["bytes"] for item in items if item["fate"] == "removed"}
    assert set(kinds) >= {"pod", "repository", "output", "state", "installation"}
    assert kinds["pod"] > 4096
    assert everything(home) == before
    assert b"MiB" in rdev("uninstall", "--dry-run").stdout or b"KiB" in rdev("uninstall", "--dry-run").stdout
    assert json.loads(rdev("command", "cancel", started, "-o", "json").stdout)["state"] == "cancelled"


def test_nobody_to_ask_is_a_refusal_that_names_the_flag(rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    before = everything(home)
    ran = rdev("uninstall", "-o", "json")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert json.loads(ran.stderr)["error"]["code"] == "CONFIRMATION"
    assert "--yes" in json.loads(ran.stderr)["error"]["hint"]
    assert everything(home) == before


def test_one_context_alone_cannot_be_uninstalled(rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    before = everything(home)
    ran = rdev("uninstall", "--yes", "--context", "local")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert b"every context" in ran.stderr
    assert everything(home) == before


def test_a_person_is_asked_and_may_say_no(rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path) -> None:
    before = everything(home)
    code, said = on_terminal(home, tmp_path, "uninstall", typing=b"n\n", columns=200)
    assert (code, b"for good? [y/N]" in said, everything(home)) == (130, True, before)
    code, said = on_terminal(home, tmp_path, "uninstall", typing=b"y\n", columns=200)
    assert (code, b"pip uninstall rdev" in said, everything(home)) == (0, True, [])


# uninstall: the keyring


@pytest.fixture
def keyring(rdev: Rdev, tmp_path: Path) -> dict[str, str]:
    """A keyring with entries of two contexts, of somebody else too; what else is kept stands in a file."""
    fake = {**FAKE, "FAKE_KEYRING": str(tmp_path / "entries.json")}
    (tmp_path / "entries.json").write_text('{"mail me": "theirs"}')
    assert rdev("context", "set", "other").returncode == 0
    assert rdev("context", "set", "filed", "--vault", "file").returncode == 0
    for context, name in (("local", "OPENAI_API_KEY"), ("local", "ANTHROPIC_API_KEY"), ("other", "GITEA_TOKEN"), ("filed", "IN_A_FILE")):
        assert rdev("credential", "set", name, "--context", context, input=b"canary-9", env=fake).returncode == 0
    return fake


def entries(keyring: Mapping[str, str]) -> list[str]:
    """What the keyring holds, without the installation's id."""
    return sorted(re.sub("[0-9a-f]{20}", "ID", key) for key in json.loads(Path(keyring["FAKE_KEYRING"]).read_text()))


OURS = ["rdev/ID/local ANTHROPIC_API_KEY", "rdev/ID/local OPENAI_API_KEY", "rdev/ID/other GITEA_TOKEN"]


def test_uninstall_takes_what_every_context_keeps_in_the_keyring_and_a_dry_run_lists_it(
    rdev: Rdev, home: Mapping[str, str], keyring: dict[str, str]
) -> None:
    assert rdev("context", "use", "other").returncode == 0
    assert entries(keyring) == ["mail me", *OURS]
    before = everything(home)
    listed = json.loads(rdev("uninstall", "--dry-run", "-o", "json", env=keyring).stdout)["items"]
    assert sorted((one["context"], one["name"], one["fate"]) for one in listed if one["kind"] == "keyring") == [
        ("local", "ANTHROPIC_API_KEY", "removed"), ("local", "OPENAI_API_KEY", "removed"), ("other", "GITEA_TOKEN", "removed"),
    ]  # fmt: skip
    assert (entries(keyring), everything(home)) == (["mail me", *OURS], before)
    ran = rdev("uninstall", "--yes", "-o", "json", env=keyring)
    lines = [{(one["context"], one["name"], one["fate"]) for one in items if not one["name"].endswith(("-wal", "-shm"))}
             for items in (listed, json.loads(ran.stdout)["items"])]  # fmt: skip
    assert (ran.returncode, lines[1]) == (0, lines[0])
    assert (entries(keyring), everything(home)) == (["mail me"], [])


@pytest.mark.parametrize("how", ["Locked", "none"])
def test_a_keyring_that_does_not_answer_is_7_the_rest_goes_and_the_same_command_goes_on(
    rdev: Rdev, project: str, home: Mapping[str, str], keyring: dict[str, str], how: str
) -> None:
    env = {**keyring, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring" if how == "none" else f"rdev_fake_keyring.{how}"}
    ran = rdev("uninstall", "--yes", "-o", "json", env=env)
    assert (ran.returncode, ran.stdout, b"canary" in ran.stderr) == (7, b"", False)
    error = json.loads(ran.stderr)["error"]
    assert [left.partition(": ")[0] for left in error["context"]["left"]] == [
        "ANTHROPIC_API_KEY, OPENAI_API_KEY of local in the keyring", "GITEA_TOKEN of other in the keyring",
    ]  # fmt: skip
    assert "unlock the keyring, then: rdev uninstall" in error["hint"]
    assert everything(home) == ["state/rdev/installation", "state/rdev/local/state.db", "state/rdev/other/state.db"]
    assert rdev("uninstall", "--yes", env=keyring).returncode == 0
    assert (entries(keyring), everything(home)) == (["mail me"], [])


def test_a_keyring_that_gives_one_entry_back_and_not_another_keeps_only_what_is_needed_to_go_on(
    rdev: Rdev, home: Mapping[str, str], keyring: dict[str, str]
) -> None:
    ran = rdev("uninstall", "--yes", env={**keyring, "PYTHON_KEYRING_BACKEND": "rdev_fake_keyring.Stuck"})
    assert (ran.returncode, b"GITEA_TOKEN of other" in ran.stderr) == (7, True)
    assert (entries(keyring), everything(home)) == (["mail me", OURS[2]], ["state/rdev/installation", "state/rdev/other/state.db"])
    line = ran.stderr.decode().rpartition("if it is gone for good: ")[2]
    assert subprocess.run(["sh", "-c", line], check=False).returncode == 0
    assert rdev("uninstall", "--yes").returncode == 0
    assert everything(home) == []


def test_what_the_keyring_holds_of_a_state_that_cannot_be_read_is_named_as_unknown(
    rdev: Rdev, home: Mapping[str, str], keyring: dict[str, str]
) -> None:
    (Path(home["XDG_STATE_HOME"]) / "rdev/local/state.db").write_bytes(b"no database")
    ran = rdev("uninstall", "--yes", "-o", "json", env=keyring)
    (kept,) = [one for one in json.loads(ran.stdout)["items"] if one["fate"] == "kept"]
    assert (ran.returncode, kept["kind"], kept["context"], "damaged" in kept["reason"]) == (0, "keyring", "local", True)
    assert re.fullmatch("rdev/[0-9a-f]{20}/local", kept["name"])
    assert (entries(keyring), everything(home)) == (["mail me", *OURS[:2]], [])


def test_settings_stay_when_they_are_asked_to(rdev: Rdev, home: Mapping[str, str]) -> None:
    assert rdev("context", "set", "other").returncode == 0
    items = json.loads(rdev("uninstall", "--yes", "--keep-config", "-o", "json").stdout)["items"]
    assert [(item["kind"], item["reason"]) for item in items if item["fate"] == "kept"] == [("config", "--keep-config")]
    assert everything(home) == ["config/rdev/config.yaml"]


def test_links_and_what_is_not_rdevs_stay_and_are_named(rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path) -> None:
    local, outside = Path(home["XDG_STATE_HOME"]) / "rdev/local", tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    assert rdev("context", "set", "other").returncode == 0
    config = Path(home["XDG_CONFIG_HOME"]) / "rdev/config.yaml"
    config.rename(outside / "config.yaml")
    config.symlink_to(outside / "config.yaml")
    (local / "repos/linked.git").symlink_to(outside)
    (local / "pods/rdev-linked-01234567").symlink_to(outside)
    (local / "spool").rename(outside / "spool")
    (local / "spool").symlink_to(outside / "spool")
    (local / "repos/notes").mkdir()
    (local / "repos/foreign.git").mkdir()
    (local / "pods/rdev-foreign-01234567").mkdir()
    (local / "pods/rdev-foreign-01234567/pod.json").write_text('{"installation": "another"}')
    (Path(home["XDG_CACHE_HOME"]) / "rdev").mkdir(parents=True, exist_ok=True)
    (Path(home["XDG_CACHE_HOME"]) / "rdev/mine.txt").write_text("mine")
    inside = sorted(path.name for path in outside.rglob("*"))
    items = json.loads(rdev("uninstall", "--yes", "-o", "json").stdout)["items"]
    kept = {Path(item["name"]).name: item["reason"] for item in items if item["fate"] == "kept"}
    assert kept == {
        "config.yaml": "it is a link", "linked.git": "it is a link", "rdev-linked-01234567": "it is a link", "spool": "it is a link", "notes": "it is not rdev's",
        "foreign.git": "it has no mark of rdev", "rdev-foreign-01234567": "it belongs to another installation", "mine.txt": "it is not rdev's",
    }  # fmt: skip
    assert sorted(path.name for path in outside.rglob("*")) == inside
    assert everything(home) == [
        "cache/rdev/mine.txt", "config/rdev/config.yaml", "state/rdev/local/pods/rdev-foreign-01234567/pod.json",
        "state/rdev/local/pods/rdev-linked-01234567", "state/rdev/local/repos/linked.git", "state/rdev/local/spool",
    ]  # fmt: skip
    assert (local / "repos/notes").is_dir()


def test_a_state_folder_that_is_a_link_is_not_touched(rdev: Rdev, project: str, home: Mapping[str, str], tmp_path: Path) -> None:
    real = tmp_path / "real"
    state = Path(home["XDG_STATE_HOME"]) / "rdev"
    state.rename(real)
    state.symlink_to(real)
    before = sorted(real.rglob("*"))
    (item,) = json.loads(rdev("uninstall", "--yes", "-o", "json").stdout)["items"]
    assert (item["fate"], item["reason"], item["name"]) == ("kept", "it is a link", str(state))
    assert sorted(real.rglob("*")) == before


def test_a_state_that_cannot_be_read_can_be_uninstalled(rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    (Path(home["XDG_STATE_HOME"]) / "rdev/local/state.db").write_bytes(b"no database")
    assert rdev("project", "list").returncode == 6
    assert rdev("uninstall", "--yes").returncode == 0
    assert everything(home) == []


def test_where_there_is_nothing_nothing_is_asked(rdev: Rdev, home: Mapping[str, str]) -> None:
    ran = rdev("uninstall")
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert b"rdev keeps nothing here" in ran.stderr
    assert everything(home) == []


def test_a_thing_that_cannot_be_removed_is_7_and_the_same_command_goes_on(rdev: Rdev, project: str, home: Mapping[str, str]) -> None:
    code = (
        "import sys; from rdev_cli.adapters.local import premises\n"
        "def broken(path):\n    raise PermissionError(13, 'Permission denied', str(path))\n"
        "premises.remove_tree = broken\nfrom rdev_cli.__main__ import main; sys.exit(main())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, "uninstall", "--yes", "-o", "json"], env=dict(home), capture_output=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (7, b"")
    error = json.loads(ran.stderr)["error"]
    assert (error["code"], error["hint"]) == ("PARTIAL", "rdev uninstall goes on")
    assert any("shop.git" in left for left in error["context"]["left"])
    assert (Path(home["XDG_STATE_HOME"]) / "rdev/installation").exists()
    assert rdev("uninstall", "--yes").returncode == 0
    assert everything(home) == []

"""Where settings come from, and which are refused: the tables of docs/config.md. T-CFG-1, T-YAML-1."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rdev_cli.adapters.shared import safe_yaml
from rdev_cli.domain.errors import Invalid
from rdev_cli.wiring.config import Config

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
NOBODY = 65534


@pytest.fixture
def config(home: Mapping[str, str]) -> Path:
    """A config.yaml that says `isolation: none`."""
    file = Path(home["XDG_CONFIG_HOME"]) / "rdev/config.yaml"
    file.parent.mkdir(parents=True, mode=0o700)
    file.write_text("contexts:\n  local:\n    isolation: none\n  work: {}\n")
    file.chmod(0o600)
    return file


def origin(rdev: Rdev, setting: str, *words: str, **options: object) -> tuple[str, str]:
    """Return (value, origin) of a setting in force."""
    ran = rdev("context", "view", *words, "-o", "json", **options)
    assert ran.returncode == 0, ran.stderr
    return next((s["value"], s["origin"]) for s in json.loads(ran.stdout)["items"] if s["name"] == setting)


def refused(ran: "subprocess.CompletedProcess[bytes]", code: int) -> str:
    """Return the words of a refusal that is one."""
    assert ran.returncode == code, (ran.returncode, ran.stderr)
    assert ran.stdout == b""
    assert b"Traceback" not in ran.stderr
    assert b"rdev failed" not in ran.stderr
    return ran.stderr.decode()


# the table of what is refused


@pytest.mark.parametrize(("mode", "code"), [(0o600, 0), (0o644, 0), (0o400, 0), (0o666, 4), (0o620, 4), (0o602, 4), (0o777, 4)])
def test_t_cfg_1_a_file_that_others_can_write_is_refused(mode: int, code: int, rdev: Rdev, config: Path) -> None:
    config.chmod(mode)
    ran = rdev("context", "view")
    if code:
        assert f"hint:  chmod 600 {config}" in refused(ran, code)
        assert refused(rdev("exec", "shop", "--", "ls"), 125)
    else:
        assert ran.returncode == 0, ran.stderr


def test_t_cfg_1_a_folder_that_everybody_can_write_is_refused_unless_it_is_sticky(rdev: Rdev, config: Path) -> None:
    config.parent.chmod(0o777)
    assert f"chmod 700 {config.parent}" in refused(rdev("context", "view"), 4)
    config.parent.chmod(0o1777)
    assert rdev("context", "view").returncode == 0


def test_t_cfg_1_a_file_of_another_user_is_refused(home: Mapping[str, str], config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # whoever is not root cannot give a file away, so the test becomes somebody else's instead
    monkeypatch.setattr(os, "geteuid", lambda: config.stat().st_uid + 1)
    if config.stat().st_uid == 0:
        os.chown(config, NOBODY, NOBODY)
    with pytest.raises(Exception, match="belongs to another user"):
        Config(home, {}, config.parent)


def test_t_cfg_1_a_link_is_followed_and_the_file_behind_it_judged(rdev: Rdev, config: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir(mode=0o700)
    real = config.rename(dotfiles / "rdev.yaml")
    config.symlink_to(real)
    assert origin(rdev, "isolation")[0] == "none"
    assert rdev("context", "set", "local", "--isolation", "bubblewrap").returncode == 0
    assert config.is_symlink()
    assert "bubblewrap" in real.read_text()
    real.chmod(0o666)
    refused(rdev("context", "view"), 4)
    real.chmod(0o600)
    dotfiles.chmod(0o777)
    assert f"chmod 700 {dotfiles}" in refused(rdev("context", "view"), 4)


def test_t_cfg_1_a_pipe_a_folder_and_a_loop_are_refused_at_once(rdev: Rdev, config: Path, tmp_path: Path) -> None:
    for path in (config, tmp_path / ".rdev.yaml"):
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        assert f"{path} is no file" in refused(rdev("project", "list", timeout=10), 2)
        path.unlink()
        path.mkdir(0o700)
        assert f"{path} is no file" in refused(rdev("project", "list"), 2)
        path.rmdir()
    config.symlink_to(config)
    refused(rdev("project", "list"), 4)


@pytest.mark.parametrize(
    "variable", ["RDEV_CONTEXT", "RDEV_PROJECT", "RDEV_ISOLATION", "RDEV_ANYTHING", "XDG_STATE_HOME", "XDG_CONFIG_HOME"]
)
def test_t_cfg_1_a_variable_with_a_newline_is_refused(variable: str, rdev: Rdev, tmp_path: Path) -> None:
    words = refused(rdev("project", "create", "shop", env={variable: f"{tmp_path}/a\nb"}), 2)
    assert len(words.splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["user"]


@pytest.mark.parametrize(
    "text",
    [
        "isolation: none", "contexts: {local: {isolation: maybe}}", "contexts: {local: {color: red}}", "contexts: [a]", "contexts: {local: 1}", "current: [a]",
        "current: 1", "[]", "text", "contexts: {A B: {}}", "contexts: {local: {show: /opt}}", "contexts: {local: {show: [opt]}}",
        "contexts: {local: {runtime: kubernetes}}", "contexts: {local: {agents: {claude: 1}}}", "contexts: {local: {agents: {gpt: {}}}}",
        "contexts: {local: {agents: {claude: {env: x}}}}", "contexts: {local: {agents: {claude: {env: {A: 1}}}}}",
        "contexts: {local: {agents: {claude: {env: {API_TOKEN: x}}}}}", "contexts: {local: {agents: {claude: {argv: x}}}}", "contexts: {local: {isolation: }}",
        "a: b: c", "? [a]\n: b",
    ],
)  # fmt: skip
def test_an_unknown_or_senseless_setting_is_refused(text: str, rdev: Rdev, config: Path) -> None:
    config.write_text(text + "\n")
    assert refused(rdev("project", "list"), 2).count("\n") == 2


def test_an_empty_file_says_nothing(rdev: Rdev, config: Path, tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "---\n"):
        config.write_text(text)
        (tmp_path / ".rdev.yaml").write_text(text)
        assert origin(rdev, "isolation") == ("bubblewrap", "default")


# precedence and origins


def test_a_flag_comes_before_the_environment_before_the_context_before_the_default(rdev: Rdev, config: Path) -> None:
    assert origin(rdev, "isolation", "--context", "work") == ("bubblewrap", "default")
    assert origin(rdev, "isolation") == ("none", f"context ({config})")
    assert origin(rdev, "isolation", env={"RDEV_ISOLATION": "bubblewrap"}) == ("bubblewrap", "environment (RDEV_ISOLATION)")
    settings = Config({**os.environ, "HOME": "/nonexistent", "RDEV_ISOLATION": "none"}, {"isolation": "bubblewrap"}, Path("/"))
    assert next((s.value, s.origin) for s in settings.view() if s.name == "isolation") == ("bubblewrap", "flag")


def test_the_context_comes_from_flag_environment_folder_file_default(rdev: Rdev, config: Path, tmp_path: Path) -> None:
    config.write_text("contexts: {a: {}, b: {}, c: {}, d: {}}\n")
    assert origin(rdev, "context") == ("local", "default")
    assert rdev("context", "use", "d").returncode == 0
    assert origin(rdev, "context") == ("d", str(config))
    (tmp_path / ".rdev.yaml").write_text("context: c\nproject: shop\n")
    assert origin(rdev, "context") == ("c", ".rdev.yaml")
    assert origin(rdev, "project") == ("shop", ".rdev.yaml")
    below = tmp_path / "x/y"
    below.mkdir(parents=True)
    assert origin(rdev, "context", cwd=below) == ("c", ".rdev.yaml")
    assert origin(rdev, "context", env={"RDEV_CONTEXT": "b", "RDEV_PROJECT": "other"}) == ("b", "environment (RDEV_CONTEXT)")
    assert origin(rdev, "project", env={"RDEV_PROJECT": "other"}) == ("other", "environment (RDEV_PROJECT)")
    assert origin(rdev, "context", "--context", "a", env={"RDEV_CONTEXT": "b"}) == ("a", "flag")
    assert [c["name"] for c in json.loads(rdev("context", "list", "-o", "json").stdout)["items"] if c["current"]] == ["c"]


def test_a_context_that_is_not_there_is_not_found_and_can_be_mended(rdev: Rdev, config: Path) -> None:
    assert "rdev context list" in refused(rdev("project", "list", "--context", "gone"), 3)
    refused(rdev("project", "list", env={"RDEV_CONTEXT": "gone"}), 3)
    refused(rdev("exec", "shop", "--context", "gone", "--", "ls"), 125)
    config.write_text("current: gone\n")
    refused(rdev("project", "list"), 3)
    assert rdev("context", "use", "local").returncode == 0
    assert rdev("project", "list").returncode == 0


def test_contexts_keep_their_state_apart(rdev: Rdev, config: Path) -> None:
    assert rdev("project", "create", "shop", "--context", "local").returncode == 0
    assert json.loads(rdev("project", "list", "--context", "work", "-o", "json").stdout)["items"] == []
    refused(rdev("project", "show", "shop", "--context", "work"), 3)


def test_a_folders_file_is_foreign_and_can_only_name(rdev: Rdev, tmp_path: Path) -> None:
    evil = {
        "project": "shop",
        "isolation": "none",
        "agents": {"claude": {"path": "/bin/sh"}},
        "show": ["/"],
        "state": "/tmp",
        "contexts": {"local": {"isolation": "none"}},
    }
    (tmp_path / ".rdev.yaml").write_text(json.dumps(evil))
    ran = rdev("context", "view", "-o", "json")
    found = {s["name"]: s["value"] for s in json.loads(ran.stdout)["items"]}
    assert (found["project"], found["isolation"], found["agents"], found["show"]) == ("shop", "bubblewrap", "{}", "[]")
    assert str(tmp_path / "user") in found["folder.state"]
    for key in ("isolation", "agents", "show", "state", "contexts"):
        assert f"'{key}' is ignored" in ran.stderr.decode()


def test_a_name_that_yaml_takes_for_something_else_must_be_quoted(rdev: Rdev, tmp_path: Path) -> None:
    for text in ("no", "012", "~", "2001-01-01", "[shop]"):
        (tmp_path / ".rdev.yaml").write_text(f"project: {text}\n")
        assert "in quotes" in refused(rdev("project", "list"), 2)
    (tmp_path / ".rdev.yaml").write_text('project: "no"\n')
    assert origin(rdev, "project") == ("no", ".rdev.yaml")


# the JSON twin


def test_the_twin_is_read_instead_and_forgotten_when_the_file_changes(
    rdev: Rdev, config: Path, home: Mapping[str, str], tmp_path: Path
) -> None:
    time.sleep(0.1)  # a file this young has no twin yet
    assert origin(rdev, "isolation")[0] == "none"
    (twin,) = (Path(home["XDG_CACHE_HOME"]) / "rdev").iterdir()
    assert twin.stat().st_mode & 0o777 == 0o600
    assert twin.parent.stat().st_mode & 0o777 == 0o700
    kept = json.loads(twin.read_bytes())
    kept["data"]["contexts"]["work"]["show"] = ["/from/the/twin"]
    twin.write_text(json.dumps(kept))
    assert origin(rdev, "show", "--context", "work")[0] == '["/from/the/twin"]'
    code = "import sys; sys.argv[1:] = ['context', 'list']; from rdev_cli.__main__ import main; main(); sys.exit('yaml' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], env=dict(home), cwd=tmp_path, capture_output=True, timeout=30, check=False).returncode
        == 0
    )
    times = config.stat()
    config.write_text(config.read_text().replace("none", "nope").replace("nope", "none").replace("work: {}", "play: {}"))
    os.utime(config, ns=(times.st_atime_ns, times.st_mtime_ns))  # the same length and the same time: ctime still tells
    assert origin(rdev, "show", "--context", "play")[0] == "[]"
    refused(rdev("context", "view", "--context", "work"), 3)


def test_a_broken_or_hostile_twin_changes_nothing(rdev: Rdev, config: Path, home: Mapping[str, str], tmp_path: Path) -> None:
    time.sleep(0.1)
    assert origin(rdev, "isolation")[0] == "none"
    (twin,) = (Path(home["XDG_CACHE_HOME"]) / "rdev").iterdir()
    for text in ("", "{", "[]", '{"of": []}', "null"):
        twin.write_text(text)
        assert origin(rdev, "isolation")[0] == "none"
    cache = twin.parent.rename(tmp_path / "elsewhere")
    twin.parent.symlink_to(cache)
    assert origin(rdev, "isolation")[0] == "none"
    twin.parent.unlink()
    twin.parent.write_text("a file")
    assert origin(rdev, "isolation")[0] == "none"


# YAML that hurts


BOMBS: dict[str, bytes] = {
    "aliases": b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
    "merge": b"a: &a {x: 1}\nb: {<<: *a}\n",
    "merge without alias": b"a: {<<: {x: 1}}\n",
    "anchor alone": b"a: &a 1\n",
    "deep flow": b"[" * 10000,
    "deep block": b"- " * 10000 + b"x",
    "deep keys": b"? " * 10000 + b"x",
    "many nodes": b"[" + b"1," * 20000 + b"]",
    "large": b"a" * (1 << 20),
    "twice": b"a: 1\nb: 2\na: 3\n",
    "python": b"a: !!python/object/apply:os.system [touch P]\n",
    "binary": b"a: !!binary aGVsbG8=\n",
    "custom tag": b"a: !x 1\n",
    "nul": b"a: \0\n",
    "mark": b"\xef\xbb\xbfa: 1\n",
    "utf-16": "a: 1\n".encode("utf-16"),
    "utf-16 without mark": "a: 1\n".encode("utf-16-le"),
    "latin-1": b"a: \xe9\n",
    "tab": b"a:\n\t- 1\n",
    "sixties": b"a: 1" + b":1" * 100_000,
    "digits": b"a: " + b"9" * 200_000,
    "float": b"a: 1" + b":1" * 5000 + b".5",
    "list as a key": b"? [a]\n: b\n",
    "two documents": b"a: 1\n---\nb: 2\n",
    "no such day": b"a: 2001-99-99\n",
    "control": b"a: \x1b[31m\n",
    "equals": b"a: =\n",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_t_yaml_1_what_is_no_plain_data_is_refused_in_no_time(bomb: str) -> None:
    start = time.process_time()
    with pytest.raises(Invalid) as refusal:
        safe_yaml.load(BOMBS[bomb], "x.yaml")
    assert time.process_time() - start < 1
    assert refusal.value.message.isprintable()
    if bomb in (
        "aliases",
        "merge",
        "merge without alias",
        "anchor alone",
        "deep flow",
        "deep block",
        "many nodes",
        "twice",
        "python",
        "tab",
        "list as a key",
    ):
        assert "line" in refusal.value.message
        assert "column" in refusal.value.message


@pytest.mark.parametrize("bomb", ["aliases", "deep flow", "large", "python", "sixties", "nul"])
def test_t_yaml_1_a_bomb_in_a_file_stops_one_command_with_words(bomb: str, rdev: Rdev, tmp_path: Path) -> None:
    (tmp_path / ".rdev.yaml").write_bytes(BOMBS[bomb])
    assert str(tmp_path / ".rdev.yaml") in refused(rdev("project", "list", timeout=10), 2)
    assert not (tmp_path / "P").exists()


def test_yaml_that_is_written_reads_the_same() -> None:
    for value in ({"a": "no"}, {"a": "012", "b": [1, 1.5, None, True]}, {"a": "x\u202ey\x1b"}, {"a": "\x85\u2028"}, {"a": "é\U0001f600"}):
        written = safe_yaml.dump(value)
        assert safe_yaml.load(written, "x") == value
        assert "\u202e" not in written.decode()

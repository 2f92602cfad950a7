"""Light start-up: what a short command must not import, each with its list."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest

# libraries that no short command may load, whatever else it does
HEAVY = {
    "asyncio", "cryptography", "fastapi", "git", "httpx", "jinja2", "keyring", "kubernetes", "pydantic", "requests", "rich", "sqlite_utils", "starlette",
    "urllib3", "uvicorn", "websocket", "yaml", "http.client", "http.server", "urllib.request", "unittest", "email",
}  # fmt: skip
# and what one that needs no state may not load either (subprocess is there: typer itself loads it)
STATE = {"sqlite3", "ssl", "socket", "logging", "rdev_cli.wiring", "rdev_cli.adapters"}
_REPORT = """
import json, os, sys
sys.argv = ["rdev", *json.loads(os.environ["HOUSE_ARGV"])]
from rdev_cli.__main__ import main
code = 0
try:
    code = main()
finally:
    with open(os.environ["HOUSE_REPORT"], "w") as file:
        json.dump([code, sorted(sys.modules)], file)
"""

# the report's own, and its modules': they are here before the answer begins
_START = set(
    subprocess.run(
        [sys.executable, "-c", "import json, os, sys; print(*sys.modules)"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
)

Loads = Callable[..., set[str]]


@pytest.fixture
def loads(home: Mapping[str, str], tmp_path: object) -> Loads:
    """Run a command line in a fresh interpreter and return the modules that it loaded."""

    def run(*argv: str) -> set[str]:
        report = f"{tmp_path}/modules.json"
        env = {**home, "HOUSE_ARGV": json.dumps(argv), "HOUSE_REPORT": report}
        ran = subprocess.run([sys.executable, "-c", _REPORT], env=env, capture_output=True, timeout=60, check=False, cwd=str(tmp_path))
        with open(report) as file:
            code, modules = json.load(file)
        assert code == 0, ran.stderr.decode(errors="replace")
        return set(modules)

    return run


def _found(modules: set[str], never: set[str]) -> set[str]:
    return {m for m in modules if any(m == n or m.startswith(f"{n}.") for n in never)}


def test_the_version_alone_loads_nothing_of_ours_but_the_door(loads: Loads) -> None:
    modules = loads("--version")
    assert {m for m in modules if m.startswith("rdev_cli")} == {"rdev_cli", "rdev_cli.__main__"}
    assert not _found(modules, {*HEAVY, *STATE, "typer", "click", "signal"})


# what a Tab may not load: each costs more than all the rest of an answer
SLOW = {
    *HEAVY,
    "typer",
    "click",
    "signal",
    "enum",
    "re",
    "dataclasses",
    "pathlib",
    "typing",
    "json",
    "ssl",
    "socket",
    "logging",
    "subprocess",
}


@pytest.mark.parametrize("words", [("",), ("project", "list", "-o", ""), ("exec", "shop", "--", "")])
def test_completion_of_words_loads_the_words_and_nothing_else(loads: Loads, words: tuple[str, ...]) -> None:
    modules = loads("__complete", *words)
    cli = "rdev_cli.faces.cli"
    ours = {"rdev_cli", "rdev_cli.__main__", "rdev_cli.faces", cli, f"{cli}.complete", f"{cli}.words"}
    assert {m for m in modules if m.startswith("rdev_cli")} == ours
    assert not _found(modules - _START, {*SLOW, *STATE})


@pytest.mark.parametrize("words", [("exec", "sh"), ("credential", "test", "")])
def test_completion_of_names_loads_sqlite_and_nothing_else(loads: Loads, project: str, words: tuple[str, ...]) -> None:
    modules = loads("__complete", *words)
    assert "sqlite3" in modules
    assert {m for m in modules if m.startswith(("rdev_cli.wiring", "rdev_cli.adapters"))} == {"rdev_cli.wiring", "rdev_cli.wiring.names"}
    assert not _found(modules - _START, SLOW)


def test_a_short_command_never_looks_for_garbage_not_even_when_it_leaves(home: Mapping[str, str], project: str) -> None:
    code = (
        "import gc, os, sys; looked = []; gc.callbacks.append(lambda when, what: looked.append(what['generation']))\n"
        "sys.argv[1:] = ['project', 'show', 'shop', '-o', 'name']; from rdev_cli.__main__ import main; main()\n"
        "os.write(2, f'{looked} {gc.get_freeze_count() > 1000}'.encode())"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=dict(home), capture_output=True, timeout=60, check=True)
    assert (ran.stdout, ran.stderr) == (f"{project}\n".encode(), b"[] True")


@pytest.mark.parametrize("argv", [("version",), ("schema",), ("--help",), ("project", "--help"), ("exec", "--help")])
def test_words_need_no_state(loads: Loads, argv: tuple[str, ...]) -> None:
    assert not _found(loads(*argv), HEAVY | STATE)


def test_help_of_the_root_builds_no_branch(loads: Loads) -> None:
    branches = {m for m in loads("--help") if m.startswith("rdev_cli.faces.cli.")}
    assert branches <= {"rdev_cli.faces.cli.main", "rdev_cli.faces.cli.face"}


def test_a_command_loads_no_other_command(loads: Loads) -> None:
    assert not _found(loads("version"), {"rdev_cli.faces.cli.projects", "rdev_cli.faces.cli.commands", "rdev_cli.faces.cli.demo"})


@pytest.mark.parametrize("form", ["json", "table"])
def test_a_list_loads_sqlite_and_little_else(loads: Loads, project: str, form: str) -> None:
    assert project
    modules = loads("project", "list", "-o", form)
    assert "sqlite3" in modules
    assert not _found(modules, {*HEAVY, "ssl", "socket", "rdev_cli.adapters.agents", "rdev_cli.adapters.local"})


def test_a_list_of_credentials_opens_no_vault(loads: Loads, rdev: Callable[..., "subprocess.CompletedProcess[bytes]"]) -> None:
    assert rdev("credential", "set", "GITEA_TOKEN", input=b"x").returncode == 0
    assert not _found(loads("credential", "list"), {*HEAVY, "ssl", "socket", "rdev_cli.adapters.vault", "rdev_cli.adapters.local"})


def test_exec_loads_what_it_runs_with(loads: Loads, project: str) -> None:
    modules = loads("exec", project, "--", "true")
    assert "subprocess" in modules
    never = {
        "ssl",
        "socket",
        "rdev_cli.adapters.agents",
        "rdev_cli.adapters.scripted",
        "rdev_cli.adapters.shelf",
        "rdev_cli.faces.cli.claude",
    }
    assert not _found(modules, {*HEAVY, *never})


def test_the_transport_to_a_cluster_loads_no_client_no_yaml_and_no_framing() -> None:
    program = "import sys, rdev_cli.adapters.kubernetes.api, rdev_cli.adapters.kubernetes.kubeconfig; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    never = (HEAVY - {"http.client", "email"}) | {"shutil", "subprocess", "tempfile", "websocket", "yaml", "typer"}
    assert not _found(set(ran.stdout.split()) - _START, never)

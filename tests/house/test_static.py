"""What no file of rdev may contain, read from the syntax tree. T-SHELL-3, T-SEC-3."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "rdev_cli"
FILES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(ROOT.rglob("*.py"))}
# `except Exception` stands in the undo, in the command line's last resort, around foreign code on a thread, in the loops' bodies (of the clock, of
# the looks at providers, of what streams are fed by), and nowhere else
BLIND = {
    "ops/ensure.py": 1, "faces/cli/main.py": 1, "adapters/shared/bounded.py": 1, "faces/loops/clockwork.py": 1, "wiring/serving.py": 1,
    "faces/http/feeds.py": 1, "faces/http/stream.py": 1, "faces/http/visits.py": 1, "faces/http/previewing.py": 1,
}  # fmt: skip
# who may open a socket: the demo's own model and the proof of isolation, on the loopback; the agent that comes with rdev, and the trial of a
# credential, which are told where to go; the transport to a cluster; the one to a Gitea; webhooks, by a rule for every address; the server,
# and what waits in it; ports of pods, on the loopback and over the transport to a cluster, and who carries them to a visitor
SOCKETS = {
    "adapters/scripted.py", "adapters/agents/bundled.py", "adapters/agents/trial.py", "adapters/local/probe.py",
    *(f"adapters/kubernetes/{name}.py" for name in ("access", "calling", "forwarding", "kubeconfig", "refusals", "socket", "wire")),
    "adapters/local/listening.py", "domain/preview.py", "faces/cli/previews.py",
    "adapters/gitea/calling.py", "adapters/webhooks/policy.py", "adapters/webhooks/sender.py",
    *(f"faces/http/{name}.py" for name in ("server", "guards", "wire", "stream", "feeds", "visits", "previewing", "front")),
}  # fmt: skip
NETWORK = {
    "socket",
    "socketserver",
    "ssl",
    "http",
    "urllib",
    "ftplib",
    "smtplib",
    "xmlrpc",
    "asyncio",
    "httpx",
    "requests",
    "aiohttp",
    "websocket",
}


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for such an expression, else what can be said of it."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def keyword(call: ast.Call, name: str) -> object:
    """Return a keyword's constant value, None if there is none."""
    return next((k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None)


def is_shell(words: list[ast.expr]) -> bool:
    """Say whether a list of words begins with a shell and `-c`."""
    texts = [word.value if isinstance(word, ast.Constant) else None for word in words[:2]]
    return (
        len(words) > 2
        and isinstance(texts[0], str)
        and texts[0].rpartition("/")[2] in ("sh", "bash", "dash")
        and str(texts[1]).startswith("-")
    )


def built(node: ast.expr) -> bool:
    """Say whether a text is put together from parts that are not all constants."""
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.BinOp):
        return not isinstance(node.left, ast.Constant) or not isinstance(node.right, ast.Constant)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("format", "join", "replace", "substitute")
    )


def faults(source: str) -> Iterator[str]:
    """Yield what must not stand in a file."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if keyword(node, "shell"):
                yield f"{line}: shell=True"
            if name in ("os.system", "os.popen", "eval", "exec", "subprocess.getoutput", "subprocess.getstatusoutput"):
                yield f"{line}: {name}"
            if name.endswith("create_subprocess_shell"):
                yield f"{line}: create_subprocess_shell"
            if name.endswith("delete_collection") or ".delete_collection_" in name:
                yield f"{line}: delete_collection"
            if keyword(node, "verify") is False or keyword(node, "check_hostname") is False or name.endswith("_create_unverified_context"):
                yield f"{line}: TLS not verified"
            if keyword(node, "pretty_exceptions_show_locals") is True:
                yield f"{line}: locals in tracebacks"
            if name.endswith(("yaml.load", "yaml.unsafe_load", "pickle.loads", "pickle.load", "marshal.loads")) and not name.startswith(
                "safe_yaml"
            ):
                yield f"{line}: {name}"
        if isinstance(node, ast.List | ast.Tuple) and is_shell(node.elts):
            yield from (f"{line}: a line of shell that is put together" for word in node.elts[2:3] if built(word))
        if (
            isinstance(node, ast.Return)
            and isinstance(node.value, ast.Call)
            and dotted(node.value.func) in ("typer.Exit", "Exit", "typer.Abort")
        ):
            yield f"{line}: return typer.Exit does nothing: raise it"
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            names = [f"{module}.{alias.name}" if module else alias.name for alias in node.names]
            if any(n == "kubernetes.stream" or n.startswith("kubernetes.stream.") for n in names):
                yield f"{line}: kubernetes.stream"
            if any(n.startswith("rich.traceback") for n in names):
                yield f"{line}: rich.traceback"


def blind(source: str) -> int:
    """Count the handlers that take everything and do not raise it again."""
    count = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            kinds = (
                [dotted(k) for k in (node.type.elts if isinstance(node.type, ast.Tuple) else [node.type])]
                if node.type
                else ["BaseException"]
            )
            again = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            count += bool({"Exception", "BaseException"} & set(kinds) and not again)
        if isinstance(node, ast.Call) and dotted(node.func).endswith("suppress"):
            count += sum(dotted(argument) in ("Exception", "BaseException") for argument in node.args)
    return count


@pytest.mark.parametrize("file", FILES)
def test_t_shell_3_no_file_holds_what_has_hurt_others(file: str) -> None:
    assert list(faults(FILES[file])) == []


@pytest.mark.parametrize("file", FILES)
def test_everything_is_caught_in_three_places_only(file: str) -> None:
    assert blind(FILES[file]) == BLIND.get(file, 0)


def test_only_what_is_named_here_can_open_a_socket() -> None:
    opens = set()
    for file, source in FILES.items():
        for node in ast.walk(ast.parse(source)):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            if NETWORK & {name.partition(".")[0] for name in names}:
                opens.add(file)
    assert opens == SOCKETS


@pytest.mark.parametrize("file", FILES)
def test_t_sel_1_and_t_exec_15_what_deletes_by_selector_or_shares_a_client_is_named_nowhere(file: str) -> None:
    assert not [name for name in ("kubernetes.stream", "delete_collection", "deletecollection") if name in FILES[file]]


@pytest.mark.parametrize(
    "bad",
    [
        "subprocess.run(x, shell=True)", "os.system(x)", "asyncio.create_subprocess_shell(x)", 'run(["sh", "-c", f"ls {x}"])',
        'run(("/bin/sh", "-ec", "ls " + x))', 'run(["bash", "-c", "ls {}".format(x)])', "def f():\n    return typer.Exit(1)",
        "import kubernetes.stream", "from kubernetes import stream", "from kubernetes.stream import stream", "api.delete_collection_namespaced_pod(x)",
        "client.get(u, verify=False)", "typer.Typer(pretty_exceptions_show_locals=True)", "yaml.load(x)", "eval(x)", "import rich.traceback",
    ],
)  # fmt: skip
def test_the_eye_sees_each_of_them(bad: str) -> None:
    assert len(list(faults(bad))) == 1


def test_the_eye_sees_a_handler_that_takes_everything() -> None:
    for bad in ("except Exception:", "except (OSError, Exception) as e:", "except:", "except BaseException:"):
        assert blind(f"try:\n    f()\n{bad}\n    pass\n") == 1
    assert blind("with contextlib.suppress(Exception):\n    f()\n") == 1
    assert blind("try:\n    f()\nexcept BaseException:\n    g()\n    raise\n") == 0

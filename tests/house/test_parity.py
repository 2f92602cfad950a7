"""The ledger and the faces: every operation is served, under one name, with one set of words."""

import importlib
import inspect
import pkgutil

import pytest
import typer
from fastapi import FastAPI
from fastapi.routing import APIRoute

import rdev_cli.faces.cli as cli_package
from rdev_cli.faces.cli.face import DOES, EXITS
from rdev_cli.faces.cli.main import TREE, root
from rdev_cli.faces.http.app import PUBLIC, create_app
from rdev_cli.faces.http.face import SERVED, STATUSES, Guarded, Routes
from rdev_cli.ops.ledger import LEDGER, Pace
from rdev_cli.wiring.services import Services

# operations that the command line does not serve, each with its reason
NO_COMMAND: dict[str, str] = {}

# operations that HTTP does not serve, each with its reason
NO_ROUTE = {
    "installation.remove": "it removes the ground that the server stands on; its owner types it",
    "session.attach": "a terminal has a person in front of it; over HTTP there are exec and the stream of its output",
    "context.use": "which context is the current one is a setting of the owner's command line; a server works in one",
    "context.set": "settings name files and programs of the server's machine, which are its owner's to choose",
    "context.install": "what it prints is for whoever may change a cluster, with their own kubectl; a running server has no use for it",
    "context.remove": "as context.set; and the server's own context cannot go while it works there",
}

# root lines that are not their operation's own, each with its reason
OTHER_WORDS = {"claude": "the operation runs any agent, this command runs one"}


def load_all() -> None:
    for module in pkgutil.iter_modules(cli_package.__path__):
        importlib.import_module(f"{cli_package.__name__}.{module.name}")


load_all()


def _command(words: str) -> object:
    found = root()
    for word in words.split():
        below = found.get_command(None, word)  # type: ignore[arg-type]
        assert below is not None, f"rdev {words}: there is no {word}"
        found = below  # type: ignore[assignment]
    return found


def test_every_operation_has_a_command_that_is_there() -> None:
    assert set(DOES) | set(NO_COMMAND) == set(LEDGER)
    assert not set(DOES) & set(NO_COMMAND)
    for typed in DOES.values():
        assert not hasattr(_command(typed), "commands"), f"rdev {typed} is a group"


def test_two_operations_do_not_share_a_command() -> None:
    assert len(set(DOES.values())) == len(DOES)


def _app(*more: Routes) -> FastAPI:
    return create_app(Services(environ={"HOME": "/nowhere"}), lambda key, address: None, more=more)  # type: ignore[arg-type, return-value]


def test_every_operation_has_a_route_that_is_there() -> None:
    there = {f"{method} {route.path}" for route in _app().routes for method in route.methods}  # type: ignore[attr-defined]
    assert set(SERVED) | set(NO_ROUTE) == set(LEDGER)
    assert not set(SERVED) & set(NO_ROUTE)
    assert {path for paths in SERVED.values() for path in paths} <= there


def test_a_route_carries_the_name_the_words_and_the_scope_of_its_operation() -> None:
    for below in _app().openapi()["paths"].values():
        for told in below.values():
            noun, verb = told["operationId"].split(".")[:2]
            entry = LEDGER[f"{noun}.{verb}"]
            assert (told["summary"], told["x-scope"]) == (entry.summary, entry.scope.value)
            assert told["security"] == [{"key": []}, {"bearer": []}]
            if told["operationId"] == entry.name:
                assert told["x-pace"] == entry.pace.value
            assert ("202" in told["responses"]) == (told["x-pace"] == Pace.LONG.value)


def test_every_route_asks_for_a_scope_or_is_public() -> None:
    for route in _app().routes:
        if isinstance(route, Guarded):
            assert route.scope
            assert route.path not in PUBLIC
        else:
            assert route.path in PUBLIC  # type: ignore[attr-defined]


def test_a_server_with_a_route_that_asks_for_nothing_does_not_start() -> None:
    with pytest.raises(TypeError, match="asks for no scope"):
        _app([APIRoute("/open", lambda: None, methods=["GET"])])


def test_an_operation_is_named_noun_verb_and_its_first_line_is_one_sentence() -> None:
    for name, entry in LEDGER.items():
        noun, dot, verb = name.partition(".")
        assert dot
        assert noun.isidentifier()
        assert verb.isidentifier()
        assert entry.summary.endswith("."), f"{name}: {entry.summary}"
        assert entry.summary[0].isupper()
        assert len(entry.summary) <= 120


def test_an_operation_takes_the_world_first_and_is_a_plain_function() -> None:
    for name, entry in LEDGER.items():
        assert inspect.isfunction(entry.func), name
        assert not inspect.iscoroutinefunction(entry.func), name
        assert next(iter(inspect.signature(entry.func).parameters)) == "world", name


def test_the_root_lists_the_words_that_its_branches_use() -> None:
    for name, (module, words) in TREE.items():
        app = importlib.import_module(f"rdev_cli.faces.cli.{module}").app
        built = typer.main.get_command(app)
        own = getattr(built, "short_help", None) or (built.help or "").strip().partition("\n")[0]
        assert own == words or name in OTHER_WORDS, f"rdev {name}: help says {own!r}, the root says {words!r}"


def test_every_command_takes_the_shared_options() -> None:
    def leaves(command: object) -> list[object]:
        below = getattr(command, "commands", None)
        return [leaf for one in below.values() for leaf in leaves(one)] if below else [command]

    for name in TREE:
        for leaf in leaves(_command(name)):
            options = {option for param in leaf.params for option in param.opts}  # type: ignore[attr-defined]
            assert {"-o", "--output", "--context", "-v", "--log-file"} <= options, f"{name}: {leaf.name}"  # type: ignore[attr-defined]


def test_every_option_has_its_twin_in_the_environment() -> None:
    def leaves(command: object) -> list[object]:
        below = getattr(command, "commands", None)
        return [leaf for one in below.values() for leaf in leaves(one)] if below else [command]

    seen = set()
    for name in TREE:
        for leaf in leaves(_command(name)):
            for param in leaf.params:  # type: ignore[attr-defined]
                if param.param_type_name == "option" and param.name != "isolation":
                    (long,) = [opt for opt in param.opts if opt.startswith("--")]
                    assert param.envvar == "RDEV_" + long[2:].upper().replace("-", "_")
                    seen.add(param.envvar)
    assert {"RDEV_OUTPUT", "RDEV_NO_WAIT", "RDEV_TIMEOUT", "RDEV_YES", "RDEV_LOG_FILE"} <= seen


def test_every_error_has_an_exit_code() -> None:
    errors = importlib.import_module("rdev_cli.domain.errors")
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.RdevError)}
    assert kinds == set(EXITS) == set(STATUSES)
    assert len(set(EXITS.values())) == len(EXITS)

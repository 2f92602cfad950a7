"""The application in this process, over a world of its own, with callers that hold any grant."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for a client of its own kind, which is not in the lock
    from starlette.testclient import TestClient

from rdev_cli.domain.access import Grant, Scope
from rdev_cli.faces.http.app import create_app
from rdev_cli.faces.http.face import unauthorized
from rdev_cli.wiring.services import Services

Caller = Callable[..., TestClient]


class Door:
    """Knows keys by heart: each is let in as what the test says."""

    def __init__(self) -> None:
        self.grants: dict[str, Grant] = {}

    def key(self, scopes: Sequence[Scope], projects: frozenset[str] | None) -> str:
        key = f"rdev_sk_{len(self.grants):08d}_{'0' * 32}"
        self.grants[key] = Grant(actor=f"key:key_{len(self.grants)}", scopes=frozenset(scopes), projects=projects)
        return key

    def __call__(self, presented: str, address: str) -> Grant:
        if presented not in self.grants:
            raise unauthorized()
        return self.grants[presented]


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def services(home: Mapping[str, str], tmp_path: Path) -> Iterator[Services]:
    made = Services(environ=home, cwd=tmp_path)
    yield made
    made.close()


@pytest.fixture
def caller(services: Services, door: Door) -> Iterator[Caller]:
    """Return a client of the application that holds a key with these scopes; `None` holds none."""
    app = create_app(services, door)
    opened: list[TestClient] = []

    def call(*scopes: Scope | None, projects: frozenset[str] | None = None) -> TestClient:
        headers = {} if scopes == (None,) else {"x-api-key": door.key([one for one in scopes if one], projects)}
        client = TestClient(app, headers=headers, raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return client

    yield call
    for client in opened:
        client.__exit__(None, None, None)

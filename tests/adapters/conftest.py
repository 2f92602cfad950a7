"""What several tests of adapters have in common: the scripted API server, and the transport to it."""

from collections.abc import Iterator

import pytest

from rdev_cli.adapters.kubernetes import calling
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.ports.timing import Stop
from tests.support.apiserver import ApiServer


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def stop() -> Stop:
    """What ends the calls of `api` that are under way."""
    return Stop()


@pytest.fixture
def api(server: ApiServer, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(calling, "_FIRST", 0.01)
    api = Api(server.access(), stop=stop)
    yield api
    api.close()

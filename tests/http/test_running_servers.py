"""What the command line knows of the servers of its context, whatever became of them."""

import os
import signal

import pytest

from rdev_cli.wiring.serving import announced, preview_base, running
from tests.conftest import Rdev, Spawn
from tests.support.serving import start

pytestmark = pytest.mark.state


def test_a_server_is_known_as_long_as_it_runs(services, spawn: Spawn, rdev: Rdev, project: str):
    assert running(services) == []
    one, other = start(spawn), start(spawn)
    assert running(services) == [one.url, other.url]
    other.stop(signal.SIGKILL)
    assert running(services) == [one.url]
    assert [path.name for path in services.folder.glob("*serving.*")] == [f"serving.{one.process.pid}"]
    one.stop()
    assert running(services) == []
    assert not list(services.folder.glob("*serving.*"))


def test_what_a_server_leaves_is_rdevs_to_remove(services, rdev: Rdev, project: str):
    with announced(services, "http://127.0.0.1:1"):
        os.link(services.folder / f"serving.{os.getpid()}", services.folder / ".serving.7.part")
        said = rdev("uninstall", "--dry-run", "-o", "json").stdout
        assert b"not rdev's" not in said


@pytest.mark.parametrize(
    ("domain", "url", "base"),
    [
        ("", "http://127.0.0.1:8080", "http://localhost:8080"), ("", "https://[::1]:8443", "https://localhost:8443"),
        ("", "unix:/run/rdev.sock", "http://localhost"), ("", "", ""), ("preview.example.org", "unix:/run/rdev.sock", "https://preview.example.org"),
    ],
)  # fmt: skip
def test_an_address_is_under_where_the_server_is(domain, url, base):
    assert preview_base(domain, url) == base

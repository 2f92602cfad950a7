"""What tests of operations share."""

from collections.abc import Iterator

import pytest

from rdev_cli.domain.project import ProjectSpec
from rdev_cli.ops import projects
from tests.fakes.world import MemoryWorld


@pytest.fixture
def world(tmp_path) -> Iterator[MemoryWorld]:
    """A world with the project `shop`."""
    one = MemoryWorld(tmp_path)
    projects.create(one, ProjectSpec(name="shop"))
    yield one
    one.close()

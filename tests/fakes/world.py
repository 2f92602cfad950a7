"""A world whose forge and cluster are twins; what it remembers is real, in a folder of its own."""

from functools import cached_property
from pathlib import Path

from rdev_cli.wiring.services import Services
from tests.fakes.cluster import MemoryCluster
from tests.fakes.forge import MemoryForge
from tests.fakes.pool import MemoryPool


class MemoryWorld(Services):
    """Services with twins behind two ports."""

    def __init__(self, folder: Path) -> None:
        super().__init__(environ={"HOME": str(folder), "PATH": "/usr/bin:/bin"}, cwd=folder, patience=0.3)

    @cached_property
    def forge(self) -> MemoryForge:
        return MemoryForge(self.installation)

    @cached_property
    def cluster(self) -> MemoryCluster:
        return MemoryCluster(self.spool, self.installation)

    @cached_property
    def pool(self) -> MemoryPool:
        return MemoryPool(self.cluster)

"""What a pool promises: a worker is one session's at a time, and what it is like is looked at and never assumed."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rdev_cli.adapters.kubernetes.pool import KubernetesPool
from rdev_cli.adapters.local.cluster import LocalCluster
from rdev_cli.adapters.local.pool import LocalPool
from rdev_cli.adapters.local.spool import FolderSpool
from rdev_cli.domain.project import ProjectState
from rdev_cli.domain.session import Place
from rdev_cli.domain.values import ProjectId
from rdev_cli.domain.worker import worker_pod
from rdev_cli.ports.pool import Pool
from rdev_cli.wiring.services import SystemClock
from tests.fakes.cluster import MemoryCluster
from tests.fakes.pool import MemoryPool
from tests.support import lab

WORKER = "wrk_01j9contract00000001"


def memory(folder: Path) -> SimpleNamespace:
    cluster = MemoryCluster(FolderSpool(folder / "spool", SystemClock()))
    return SimpleNamespace(pool=MemoryPool(cluster), cluster=cluster)


def local(folder: Path) -> SimpleNamespace:
    cluster = LocalCluster(folder, installation="contract", isolation="bubblewrap", shown=(), caller={"PATH": "/usr/bin:/bin"})
    return SimpleNamespace(pool=LocalPool(cluster, folder, "contract"), cluster=cluster)


def kubernetes(folder: Path, namespace: str) -> SimpleNamespace:
    cluster = lab.cluster(folder, namespace)
    return SimpleNamespace(pool=KubernetesPool(cluster, folder), cluster=cluster)


KINDS: dict[str, Callable[[Path], SimpleNamespace]] = {"memory": memory, "local": local}


def place(session: str = "ses_01j9contract00000001", worker: str = WORKER) -> Place:
    now = SystemClock().now()
    return Place(
        id=ProjectId(session), owner=ProjectId("prj_01j9contract00000001"), name="shop", description="", source="", network=True,
        state=ProjectState.READY, pod=worker_pod(worker), repository="", branch="main", created_at=now, updated_at=now,
    )  # fmt: skip


@pytest.fixture(params=[*KINDS, pytest.param("kubernetes", marks=pytest.mark.cluster)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimpleNamespace]:
    if request.param != "kubernetes":
        yield KINDS[request.param](tmp_path / "state")
        return
    one = kubernetes(tmp_path / "state", request.getfixturevalue("lab_namespace"))
    yield one
    one.pool.destroy(WORKER)
    lab.close(one.cluster)


@pytest.fixture
def pool(world: SimpleNamespace) -> Pool:
    return world.pool


def test_a_worker_stands_and_is_proved_when_it_is_made(pool):
    assert pool.standing() == () or list(pool.standing()) == []
    pool.ready()
    pool.make(WORKER)
    [one] = pool.standing()
    assert (one.worker, one.pod, one.session, one.doubt) == (WORKER, worker_pod(WORKER), "", "")
    evidence = pool.prove(WORKER)
    assert evidence.clean
    assert evidence.facts


def test_a_claimed_worker_is_that_sessions_alone(pool):
    pool.make(WORKER)
    assert pool.claim(WORKER, place())
    assert [one.session for one in pool.standing()] == [place().id]
    assert not pool.claim(WORKER, place("ses_01j9contract00000002"))
    assert pool.claim(WORKER, place())  # again is no other claim


def test_what_is_not_there_cannot_be_claimed_and_is_no_proof(pool):
    assert not pool.claim(WORKER, place())
    assert not pool.prove(WORKER).clean
    assert not pool.scrub(WORKER, place()).clean
    assert pool.destroy(WORKER) is False


def test_of_many_at_once_one_gets_it(pool):
    pool.make(WORKER)
    barrier, won = threading.Barrier(20), []

    def take(number: int) -> None:
        one = place(f"ses_{number}")
        barrier.wait()
        if pool.claim(WORKER, one):
            won.append(one.id)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(20)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(won) == 1
    assert [one.session for one in pool.standing()] == won


def test_a_given_back_worker_is_nobodys_and_can_be_claimed_by_the_next(pool):
    if pool.reused:
        assert pool.reused == "a directory serves once"
        return
    pool.make(WORKER)
    pool.claim(WORKER, place())
    assert pool.scrub(WORKER, place()).clean
    pool.give_back(WORKER, place())
    assert [one.session for one in pool.standing()] == [""]
    assert pool.claim(WORKER, place("ses_01j9contract00000002"))


def test_what_serves_once_says_so_and_is_never_clean_again(pool):
    if not pool.reused:
        return
    pool.make(WORKER)
    pool.claim(WORKER, place())
    assert pool.scrub(WORKER, place()).doubts == (pool.reused,)


@pytest.mark.parametrize("claimed", [False, True])
def test_a_destroyed_worker_is_gone_whoever_had_it(world, claimed):
    world.pool.make(WORKER)
    if claimed:
        world.pool.claim(WORKER, place())
    assert world.pool.destroy(WORKER) is True
    assert list(world.pool.standing()) == []
    assert world.pool.destroy(WORKER) is False


def test_a_claimed_pod_takes_work_like_any_other(world):
    world.pool.make(WORKER)
    world.pool.claim(WORKER, place())
    world.cluster.ensure_pod(place())
    assert not world.cluster.pod_present(place())  # until its work tree is filled
    world.cluster.mark_pod(place(), "c0ffee")
    assert (world.cluster.pod_present(place()), world.cluster.pod_commit(place())) == (True, "c0ffee")


def test_a_directory_that_somebody_wrote_in_is_doubted(tmp_path):
    pool = local(tmp_path).pool
    pool.make(WORKER)
    (tmp_path / "pods" / worker_pod(WORKER) / "workspace" / "left").touch()
    assert pool.prove(WORKER).doubts == ("there are files in it",)


def test_another_installations_workers_are_not_seen(tmp_path):
    one = local(tmp_path)
    one.pool.make(WORKER)
    assert LocalPool(one.cluster, tmp_path, "another").standing() == []
    assert os.listdir(tmp_path / "pods") == [worker_pod(WORKER)]

"""What a cluster promises about pods and the life of a command, held against each one there is.

How the runner runs real programs is `test_runner`'s; here stand the facts that an operation builds on.
"""

import inspect
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
from rdev_cli.adapters.local.cluster import LocalCluster
from rdev_cli.adapters.local.forge import LocalForge
from rdev_cli.adapters.local.spool import FolderSpool
from rdev_cli.domain.command import Ending, Launch, Outcome
from rdev_cli.domain.errors import Conflict, NotFound, Unavailable
from rdev_cli.domain.log import LogSpec
from rdev_cli.domain.project import Project, ProjectState
from rdev_cli.domain.values import ProjectId
from rdev_cli.ops import workspaces
from rdev_cli.ports import cluster as port
from rdev_cli.wiring.services import SystemClock
from tests.fakes.cluster import MemoryCluster
from tests.fakes.forge import MemoryForge
from tests.support import lab


def memory(folder: Path) -> SimpleNamespace:
    spool = FolderSpool(folder / "spool", SystemClock())
    one, other = MemoryCluster(spool), MemoryCluster(spool, "another")
    other.pods = one.pods
    return SimpleNamespace(cluster=one, another=other, spool=spool, forge=MemoryForge())


def local(folder: Path) -> SimpleNamespace:
    spool = FolderSpool(folder / "spool", SystemClock())
    one, other = (
        LocalCluster(folder, installation=name, isolation="bubblewrap", shown=(), caller={"PATH": "/usr/bin:/bin"})
        for name in ("contract", "another")
    )
    return SimpleNamespace(cluster=one, another=other, spool=spool, forge=LocalForge(folder, "contract"))


def kubernetes(folder: Path, namespace: str) -> SimpleNamespace:
    spool = FolderSpool(folder / "spool", SystemClock())
    one, other = (lab.cluster(folder, namespace, installation=name) for name in ("contract", "another"))
    return SimpleNamespace(cluster=one, another=other, spool=spool, forge=LocalForge(folder, "contract"))


KINDS: dict[str, Callable[[Path], SimpleNamespace]] = {"memory": memory, "local": local}


def project() -> Project:
    now = SystemClock().now()
    return Project(
        id=ProjectId("prj_01j9contract00000001"), name="shop", description="", source="", network=True, state=ProjectState.READY,
        pod="rdev-shop-00000001", repository="", branch="main", created_at=now, updated_at=now,
    )  # fmt: skip


@pytest.fixture(params=[*KINDS, pytest.param("kubernetes", marks=pytest.mark.cluster)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A forge, a cluster and their spool."""
    folder = tmp_path / "state" / "local"
    there = request.param == "kubernetes"
    one = kubernetes(folder, request.getfixturevalue("lab_namespace")) if there else KINDS[request.param](folder)
    yield one
    one.cluster.delete_pod(project())
    if there:
        for each in (one.cluster, one.another):
            lab.close(each)


@pytest.fixture
def cluster(world: SimpleNamespace) -> port.Cluster:
    world.cluster.ensure_pod(project())
    return world.cluster


def ends(cluster: port.Cluster, id: str) -> Outcome:
    end = time.monotonic() + 20
    while (outcome := cluster.advance(project(), id, wait=0.5).outcome) is None:
        assert time.monotonic() < end, f"{id} does not end"
    return outcome


@pytest.mark.parametrize("kind", [MemoryCluster, LocalCluster, KubernetesCluster])
def test_a_cluster_has_the_calls_of_the_port_in_its_shape(kind):
    calls = {name: call for name, call in vars(port.Cluster).items() if inspect.isfunction(call) and not name.startswith("_")}
    for name, call in calls.items():
        asked, given = inspect.signature(call).parameters, inspect.signature(getattr(kind, name)).parameters
        assert [(p.name, p.kind) for p in asked.values()] == [(p.name, p.kind) for p in given.values()], name


def test_a_pod_is_made_once_and_deleted_once(world):
    world.cluster.ready()
    assert not world.cluster.pod_present(project())
    assert world.cluster.ensure_pod(project())
    assert (world.cluster.pod_present(project()), world.cluster.pod_commit(project())) == (False, "")  # its work tree is not filled
    world.cluster.mark_pod(project(), "abc")
    assert (world.cluster.pod_present(project()), world.cluster.pod_commit(project())) == (True, "abc")
    assert world.cluster.pod_kept(project())
    assert not world.cluster.ensure_pod(project())
    assert [world.cluster.delete_pod(project()) for _ in (1, 2)] == [True, False]
    assert (world.cluster.pod_present(project()), world.cluster.pod_kept(project())) == (False, False)


def test_a_pod_of_another_installation_is_left_alone(world):
    world.cluster.ensure_pod(project())
    world.cluster.mark_pod(project(), "abc")
    for call in (world.another.pod_present, world.another.pod_kept, world.another.ensure_pod, world.another.delete_pod):
        with pytest.raises(Conflict):
            call(project())
    assert world.cluster.pod_present(project())


@pytest.mark.parametrize(("argv", "code"), [(("true",), 0), (("false",), 1), (("no-such-program",), 127)])
def test_a_command_ends_with_its_own_code(cluster, argv, code):
    cluster.start(project(), Launch(id="cmd_one", argv=argv))
    outcome = ends(cluster, "cmd_one")
    assert (outcome.code, outcome.ending, outcome.truncated) == (code, Ending.EXITED, False)


def test_the_same_id_again_starts_nothing(world, cluster):
    for _ in (1, 2):
        cluster.start(project(), Launch(id="cmd_one", argv=("echo", "a", "b")))
    assert ends(cluster, "cmd_one").code == 0
    progress = cluster.advance(project(), "cmd_one", wait=0)
    assert (progress.stdout, progress.stderr) == (4, 0)
    assert world.spool.read("cmd_one", "out", 0, 100) == b"a b\n"


def test_a_command_that_nobody_started_is_lost(cluster):
    assert cluster.advance(project(), "cmd_never", wait=0).outcome.ending is Ending.LOST


@pytest.mark.parametrize(("reason", "ending"), [("cancelled", Ending.CANCELLED), ("timeout", Ending.TIMEOUT)])
def test_a_stop_ends_a_command_with_its_reason_and_changes_nothing_later(cluster, reason, ending):
    cluster.start(project(), Launch(id="cmd_one", argv=("sleep", "600")))
    assert cluster.advance(project(), "cmd_one", wait=0).outcome is None
    cluster.stop(project(), "cmd_one", reason)
    assert ends(cluster, "cmd_one").ending is ending
    cluster.stop(project(), "cmd_one", "cancelled")
    assert ends(cluster, "cmd_one").ending is ending


def test_a_signal_ends_a_command_with_128_and_its_number(world, cluster):
    cluster.start(project(), Launch(id="cmd_one", argv=("cat",), stdin=True)).input.write(b"here")
    end = time.monotonic() + 20
    while world.spool.read("cmd_one", "out", 0, 100) != b"here":  # a command that is not there yet hears nothing
        assert time.monotonic() < end
        cluster.advance(project(), "cmd_one", after=(0, 0), wait=0.2)
    cluster.signal(project(), "cmd_one", 15)
    outcome = ends(cluster, "cmd_one")
    assert (outcome.code, outcome.ending) == (143, Ending.EXITED)


def test_stdin_reaches_a_command_and_ends_it_only_when_it_is_finished(world, cluster):
    started = cluster.start(project(), Launch(id="cmd_one", argv=("cat",), stdin=True))
    assert started.input.write(b"one ")
    assert started.input.write(b"two")
    assert cluster.advance(project(), "cmd_one", wait=0).outcome is None
    started.input.finish()
    assert ends(cluster, "cmd_one").code == 0
    assert world.spool.read("cmd_one", "out", 0, 100) == b"one two"


def test_a_port_that_nobody_of_the_pod_listens_at_is_no_connection_and_nor_is_a_pod_that_is_not_there(world, cluster):
    with pytest.raises(NotFound) as refused:
        cluster.dial(replace(project(), id=ProjectId("prj_01j9contract00000002"), pod="rdev-shop-00000002"), 3999, timeout=10)
    assert refused.value.code == "NO_POD"
    cluster.mark_pod(project(), "abc")
    code, channel = "", None
    try:
        channel = cluster.dial(project(), 3999, timeout=10)
    except Unavailable as e:
        code = e.code
    assert (channel is None) is (code == "NOT_LISTENING")
    if channel is not None:  # only the far end knows
        with socket.socket(fileno=channel.detach()) as one:
            one.settimeout(20)
            assert one.recv(1) == b""


def test_hosts_are_led_here_and_away_as_often_as_anybody_asks(cluster):
    for call in (cluster.expose, cluster.expose, cluster.conceal, cluster.conceal):
        call(project(), "a.preview.example.org")
    cluster.conceal(project())


def test_a_pod_that_writes_nothing_has_an_empty_log_or_none(cluster):
    page = cluster.log(project(), LogSpec(project="shop"), after="", most=100)
    assert page is None or page.log == b""


def test_commits_travel_in_both_directions_and_what_moved_on_twice_is_rescued(world, cluster):
    world.forge.ensure_repository(project())
    world.forge.seed(project(), {"README.md": (b"# shop\n", False)})
    assert workspaces.deliver(world, project(), "cmd_none") == ("", None)
    assert workspaces.bring_in(world, project(), fresh=True) is workspaces.Fit.IN
    assert workspaces.deliver(world, project(), "cmd_none") == ("", None)
    for id, argv, subject in (("cmd_none", ("true",), "nothing"), ("cmd_bad", ("false",), "bad"), ("cmd_one", ("touch", "one"), "one")):
        cluster.start(project(), Launch(id=id, argv=argv, commit=subject))
        ends(cluster, id)
    sha, delivery = workspaces.deliver(world, project(), "cmd_one")
    assert (delivery.branch, delivery.rescued, world.forge.head(project())) == ("main", False, sha)
    assert world.forge.commit(project(), sha).subject == "one"
    assert workspaces.deliver(world, project(), "cmd_one")[0] == sha  # brought once, named as often as anybody asks
    assert workspaces.bring_in(world, project()) is workspaces.Fit.IN
    assert workspaces.deliver(world, project(), "cmd_next") == ("", None)


def test_a_pod_that_is_made_again_has_what_the_forge_has(world, cluster):
    world.forge.ensure_repository(project())
    world.forge.seed(project(), {"README.md": (b"# shop\n", False)})
    for _ in (1, 2):
        assert workspaces.bring_in(world, project(), fresh=True) is workspaces.Fit.IN
        cluster.delete_pod(project())
        assert cluster.ensure_pod(project())
    assert workspaces.bring_in(world, project(), fresh=True) is workspaces.Fit.IN
    found, newest = workspaces._heads(world, project()), world.forge.head(project())
    assert (found.head, found.had, found.start, found.holds) == (newest, newest, newest, True)

"""Copies and logs on a real cluster: every byte both ways, with the tools of a full image and of a small one."""

import hashlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
from rdev_cli.adapters.kubernetes.manifests import CONTAINER, Shape
from rdev_cli.domain.errors import Conflict, NotFound, Partial, Unavailable
from rdev_cli.domain.files import CopySpec
from rdev_cli.domain.log import LogSpec, PodLog
from rdev_cli.domain.project import Project, ProjectState, pod_name
from rdev_cli.domain.values import ProjectId
from rdev_cli.ops import files, logs
from tests.fakes.world import MemoryWorld
from tests.ops.test_copies import NAMES, fill, shape
from tests.support import lab as support

pytestmark = pytest.mark.cluster
Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


class Lab:
    """A project with a pod in the cluster, and a folder here."""

    def __init__(self, folder: Path, image: str, namespace: str) -> None:
        self.here, self.namespace = folder / "here", namespace
        self.here.mkdir()
        self.world = MemoryWorld(folder)
        self.api = support.api()
        self.cluster = KubernetesCluster(
            self.api,
            folder=folder / "cluster",
            context="lab",
            namespace=namespace,
            shape=Shape(image=image, pull_policy="Never", cpu="1", memory="512Mi"),
            installation=self.world.installation,
            stop=lambda: self.world.stop,
            weaker=True,  # whether policies are in force is not what is asked here
        )
        self.world.cluster = self.cluster
        id = ProjectId(self.world.new_id("prj"))
        self.project = Project(
            id=id, name="shop", description="", source="", network=True, state=ProjectState.READY, pod=pod_name("shop", id), repository="",
            branch="main", created_at=self.world.clock.now(), updated_at=self.world.clock.now(),
        )  # fmt: skip
        with self.world.store.transaction() as tx:
            tx.put_project(self.project)
        self.cluster.ensure_pod(self.project)
        self.cluster.mark_pod(self.project, "0" * 40)

    def out(self, path: str, here: Path | None = None, **more: object) -> files.Copy:
        return files.copy(self.world, CopySpec(project="shop", path=path, here=str(here or self.here), out=True, **more))

    def into(self, here: Path, path: str, **more: object) -> files.Copy:
        return files.copy(self.world, CopySpec(project="shop", path=path, here=str(here), out=False, **more))

    def sh(self, line: str) -> bytes:
        """Run a line in the pod, past rdev."""
        return support.kubectl("-n", self.namespace, "exec", self.project.pod, "-c", CONTAINER, "--", "sh", "-c", f"cd /workspace; {line}")

    def close(self) -> None:
        self.cluster.delete_pod(self.project)
        support.close(self.cluster)
        self.world.close()


@pytest.fixture(scope="module", params=["RDEV_TEST_IMAGE", "RDEV_TEST_IMAGE_SMALL"])
def a_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, namespace: str) -> Iterator[Lab]:
    one = Lab(tmp_path_factory.mktemp("lab"), support.needed(request.param), namespace)
    yield one
    one.close()


@pytest.fixture
def lab(a_lab: Lab, tmp_path: Path) -> Lab:
    """The pod, with nothing in it, and an empty folder here."""
    a_lab.sh("rm -rf ..?* .[!.]* *")
    a_lab.here = tmp_path
    return a_lab


def test_t_file_1_every_name_and_every_byte_goes_in_and_comes_back(lab: Lab) -> None:
    (lab.here / "src").mkdir()
    fill(lab.here / "src")
    done = lab.into(lab.here / "src", "").done
    assert done.files == 2 * len(NAMES) + 11
    assert int(lab.sh("find src -type f -exec sh -c 'echo one' ';' | wc -l")) == done.files  # names hold newlines
    (lab.here / "back").mkdir()
    lab.out("src", lab.here / "back")
    assert shape(lab.here / "back" / "src") == shape(lab.here / "src")
    assert lab.sh("ls -A") == b"src\n"


def test_300_mb_go_in_and_come_back_byte_for_byte(lab: Lab) -> None:
    hashed = hashlib.sha256()
    with (lab.here / "big").open("wb") as file:
        for _ in range(300):
            hashed.update(piece := os.urandom(1 << 20))
            file.write(piece)
    lab.into(lab.here / "big", "there")
    assert lab.sh("sha256sum there").split()[0].decode() == hashed.hexdigest()
    lab.out("there", lab.here / "back")
    with (lab.here / "back").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == hashed.hexdigest()


def test_ten_thousand_small_files_go_in_and_come_back(lab: Lab) -> None:
    for number in range(10_000):
        folder = lab.here / "many" / f"d{number % 50}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(f"{number}\n".encode() * (number % 40))
    done = lab.into(lab.here / "many", ".").done
    assert (done.files, done.folders) == (10_000, 50)
    assert lab.sh("find many -type f | wc -l").strip() == b"10000"
    (lab.here / "back").mkdir()
    assert lab.out("many", lab.here / "back").done.files == 10_000
    assert shape(lab.here / "back" / "many") == shape(lab.here / "many")


def test_t_file_2_what_is_no_file_stays_in_the_pod_and_is_named(lab: Lab) -> None:
    lab.sh(
        "mkdir -p t/.git t/sub; ln -s /etc/passwd t/link; ln -s . t/loop; mkfifo t/fifo; echo x >t/sub/x; chmod 4777 t/sub/x; ln t/sub/x t/hard"
    )
    done = lab.out("t").done
    assert {(one.path, one.reason.value) for one in done.skipped} == {
        (".git", "git"),
        ("link", "link"),
        ("loop", "link"),
        ("fifo", "special"),
    }
    assert shape(lab.here / "t") == {b"sub": None, b"sub/x": (b"x\n", True), b"hard": (b"x\n", True)}
    assert (lab.here / "t/sub/x").stat().st_mode & 0o7777 == 0o755


def test_t_file_6_a_place_in_a_pod_that_cannot_take_it_is_refused_before_anything_is_written(lab: Lab) -> None:
    (lab.here / "a").write_bytes(b"x" * 100)
    lab.sh("mkdir full shut; echo mine >full/mine; chmod 500 shut")
    (lab.here / "full").mkdir()
    for here, path, error in (("full", "", Conflict), ("a", "no/x", NotFound), ("full", "full/mine", Conflict)):
        with pytest.raises(error):
            lab.into(lab.here / here, path)
    assert lab.sh("ls -A full; ls -A shut; cat full/mine") == b"mine\nmine\n"


def test_a_copy_that_breaks_off_keeps_no_half_file_and_can_be_made_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.sh("head -c 100000 /dev/zero >a; head -c 30000000 /dev/zero >b")
    real, struck = files.Receiver.write, []

    def write(self: files.Receiver, data: bytes) -> int:
        if not struck:
            struck.append(True)
            raise Unavailable("gone", hint="look")
        return real(self, data)

    monkeypatch.setattr(files.Receiver, "write", write)
    with pytest.raises((Unavailable, Partial)):
        lab.out(".", merge=True)
    monkeypatch.undo()
    assert [path for path in lab.here.iterdir() if path.stat().st_size not in (100_000, 30_000_000)] == []
    assert lab.out("b").done.bytes == 30_000_000


# logs


LINES = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done; trap 'exit 3' TERM; while :; do sleep 0.1; done"


@pytest.fixture
def talker(kubectl: Callable[..., bytes], namespace: str, a_lab: Lab) -> Iterator[Callable[..., PodLog]]:
    """A project whose pod writes by itself; returns what reads its log."""
    pod = f"talker-{secrets.token_hex(3)}"
    manifest = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
            "containers": [
                {"name": CONTAINER, "image": support.needed("RDEV_TEST_IMAGE_SMALL"), "imagePullPolicy": "Never", "command": ["sh", "-c", LINES]}
            ],
        },
    }  # fmt: skip
    support.kubectl("apply", "-f", "-", stdin=json.dumps(manifest).encode())
    kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
    with a_lab.world.store.transaction() as tx:
        tx.put_project(replace(a_lab.project, pod=pod))

    def read(after: str = "", **spec: object) -> PodLog:
        found = logs.read(a_lab.world, LogSpec(project="shop", **spec), after=after)
        assert found is not None
        return found

    def say(line: str) -> None:
        kubectl("exec", pod, "--", "sh", "-c", f"{{ {line}; }} >/proc/1/fd/1")

    end = time.monotonic() + 30
    while b"line 50\n" not in kubectl("logs", pod):  # a pod is ready before it has said a word
        assert time.monotonic() < end, "the pod says nothing"
        time.sleep(0.1)
    read.say, read.pod = say, pod  # type: ignore[attr-defined]
    yield read
    with a_lab.world.store.transaction() as tx:
        tx.put_project(a_lab.project)
    kubectl("delete", "pod", pod, "--wait=false", "--ignore-not-found")


def test_a_pods_log_is_read_by_pages_and_no_line_is_told_twice(talker: Callable[..., PodLog]) -> None:
    first = talker()
    assert first.log == b"".join(b"line %d\n" % number for number in range(1, 51))
    assert (first.ended, first.cut) == (False, False)
    assert talker(first.next).log == b""
    told, at = b"", first.next
    for number in range(20):
        talker.say(f"echo a{number}; echo b{number}")  # type: ignore[attr-defined]
        while f"b{number}\n".encode() not in told:
            page = talker(at)
            told, at = told + page.log, page.next
    assert told == b"".join(b"a%d\nb%d\n" % (number, number) for number in range(20))


def test_a_pods_log_may_be_cut_by_lines_and_age_and_have_times(talker: Callable[..., PodLog]) -> None:
    assert talker(tail=2).log == b"line 49\nline 50\n"
    assert talker(tail=0).log == b""
    assert talker(since_seconds=3600).log.startswith(b"line 1\n")
    lines = talker(timestamps=True, tail=3).log.splitlines()
    assert [line.split(b" ", 1)[1] for line in lines] == [b"line 48", b"line 49", b"line 50"]
    assert all(line.startswith(b"20") and b"Z " in line for line in lines)


def test_the_log_of_a_container_before_is_there_only_if_it_was_restarted(
    talker: Callable[..., PodLog], kubectl: Callable[..., bytes]
) -> None:
    with pytest.raises(NotFound, match="was not restarted"):
        talker(previous=True)
    talker.say("echo before")  # type: ignore[attr-defined]
    kubectl("exec", talker.pod, "--", "sh", "-c", "kill -TERM 1")  # type: ignore[attr-defined]
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", f"pod/{talker.pod}", "--timeout=60s")  # type: ignore[attr-defined]
    assert talker(previous=True).log.endswith(b"line 50\nbefore\n")
    assert talker(previous=True).ended
    assert not talker().log.endswith(b"before\n")


def test_a_log_of_a_pod_that_is_gone_is_not_found(talker: Callable[..., PodLog], kubectl: Callable[..., bytes]) -> None:
    kubectl("delete", "pod", talker.pod, "--wait=true", "--grace-period=0", "--force")  # type: ignore[attr-defined]
    with pytest.raises(NotFound, match="is not there"):
        talker()


# as a user types it


@pytest.fixture
def shop(there: Rdev) -> Iterator[Rdev]:
    """The executable, and a project `shop` in the cluster."""
    assert there("context", "set", "lab", "--allow-weaker").returncode == 0  # whether policies are in force is not what is asked here
    made = there("project", "create", "shop")
    assert made.returncode == 0, made.stderr.decode()
    yield there
    assert there("project", "delete", "shop", "--yes").returncode == 0


def test_cp_and_logs_are_typed_as_in_local(shop: Rdev, tmp_path: Path) -> None:
    ran = shop("cp", "shop:", ".")
    assert ran.returncode == 0, ran.stderr
    assert b"left out what is git's own: .git" in ran.stderr
    (tmp_path / "shop" / "new").write_bytes(bytes(range(256)) * 1000)
    assert shop("cp", "shop/new", "shop:site", "-o", "json").returncode == 0
    ran = shop("cp", "shop:site/new", "-")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, bytes(range(256)) * 1000, b"")
    assert shop("cp", "-", "shop:piped", input=b"piped").returncode == 0
    assert shop("exec", "shop", "--", "cat", "piped").stdout == b"piped"
    ran = shop("cp", "shop:nothing", ".")
    assert (ran.returncode, b"there is no nothing in the pod of shop" in ran.stderr) == (3, True)
    ran = shop("logs", "shop", "--tail", "5", "--timestamps", "-o", "json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert (document["project"], document["log"], document["ended"]) == ("shop", "", False)
    assert shop("logs", "shop", "--previous").returncode == 3


def test_logs_are_followed_until_somebody_stops_it(shop: Rdev, spawn: Spawn) -> None:
    following = spawn("logs", "shop", "-f")
    assert following.stdout is not None
    # what PID 1 has for stdout is the pod's log; its own user may write there
    assert shop("exec", "shop", "--", "sh", "-c", "echo hello >/proc/1/fd/1").returncode == 0
    assert following.stdout.readline() == b"hello\n"
    following.send_signal(signal.SIGINT)
    assert following.wait(20) == 130
    assert shop("logs", "shop").stdout == b"hello\n"


def test_a_stop_ends_a_copy_on_the_cluster_and_leaves_no_half_file(shop: Rdev, spawn: Spawn, tmp_path: Path) -> None:
    assert shop("shell", "shop", "head -c 500000000 /dev/zero >big").returncode == 0
    copying = spawn("cp", "shop:big", "got")
    spool = tmp_path / "user/state/rdev/lab/spool"
    end = time.monotonic() + 60
    while not list(spool.glob("run_*")):
        assert time.monotonic() < end
        time.sleep(0.05)
    copying.send_signal(signal.SIGINT)
    assert copying.wait(60) == 130
    assert not [path for path in tmp_path.iterdir() if path.name == "got" or ".rdev-" in path.name]

"""Measures the warm pool on a real cluster, and writes bench/POOL.md.

    python bench/pool.py [-n ROUNDS] [--workers N] [--to FILE]

Needs RDEV_TEST_KUBECONFIG and RDEV_TEST_IMAGE. Everything is measured within one process, start and imports left out: a claim is what a session
start asks of the pool, the record, the journal's line and the patch in the cluster. Makes the namespace t-bench-pool with N workers, and deletes it at the end.
"""

import argparse
import itertools
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bench import ROOT, Row, in_turns, most, publish  # the script beside this one
from rdev_cli.adapters.kubernetes import manifests, owned
from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.errors import Conflict
from rdev_cli.domain.project import Project, ProjectState, pod_name
from rdev_cli.domain.values import ProjectId
from rdev_cli.domain.worker import Worker, WorkerState
from rdev_cli.ops import pool
from rdev_cli.wiring.services import Services

NAMESPACE = "t-bench-pool"
TAKEN = f"{manifests.LABEL}taken"  # what the reference writes on a pod that it takes


def world(home: Path, namespace: str = NAMESPACE) -> Services:
    """Return the world of a user whose context is a namespace of the cluster."""
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "RDEV_CONTEXT": "lab"}
    made = Services(environ={**environ, "RDEV_CONTEXT": ""}, cwd=home)
    values = {"kubeconfig": os.environ["RDEV_TEST_KUBECONFIG"], "namespace": namespace, "image": os.environ["RDEV_TEST_IMAGE"]}
    made.settings.set("lab", {**values, "cpu": "500m", "memory": "256Mi"})
    return Services(environ=environ, cwd=home)


def project(there: Services) -> Project:
    """Return a project that is on record, and nowhere else."""
    id, now = ProjectId(there.new_id("prj")), there.clock.now()
    one = Project(
        id=id, name="bench", description="", source="", network=True, state=ProjectState.READY, pod=pod_name("bench", id), repository="",
        branch="main", created_at=now, updated_at=now,
    )  # fmt: skip
    with there.store.transaction() as tx:
        tx.put_project(one)
    return one


def idle_again(there: Services, mine: Project, worker: Worker) -> None:
    """Give a worker back without a look at it: nothing ran in it."""
    there.pool.give_back(worker.id, pool._place(mine, worker.session, worker.pod))  # noqa: SLF001 -- as a session has it
    with there.store.transaction() as tx:
        tx.put(replace(worker, state=WorkerState.IDLE, project="", session=""))


def cluster_of(there: Services) -> KubernetesCluster:
    """Return the cluster, which is the real one."""
    assert isinstance(there.cluster, KubernetesCluster)
    return there.cluster


def claims(rounds: int, there: Services, mine: Project) -> Row:
    """Measure one claim against the start of a pod like it, POST to Ready."""
    cluster, made = cluster_of(there), itertools.count()

    def warm() -> float:
        began = time.perf_counter()
        worker = pool.claim(there, mine, there.new_id("ses"))
        took = time.perf_counter() - began
        assert worker is not None
        idle_again(there, mine, worker)
        return took

    def cold() -> float:
        name = f"cold-{next(made)}"
        wanted = manifests.pod(name, manifests.labels("bench", name=name, role="bench"), cluster.shape, claimed=False)
        began = time.perf_counter()
        found = cluster.wait(cluster.api.create(cluster.pods, wanted))
        took = time.perf_counter() - began
        cluster.api.delete(f"{cluster.pods}/{name}", uid=found["metadata"]["uid"], grace=0)
        owned.gone(cluster.api, f"{cluster.pods}/{name}", found["metadata"]["uid"])
        return took

    found = in_turns(rounds, {"warm": warm, "cold": cold})
    return most("a claim of a warm worker", "a pod like it, POST to Ready", found["warm"], found["cold"], 0.05)


def at_once(count: int, take: Callable[[int], None]) -> list[float]:
    """Return how long each of so many callers waited that came at the same time."""
    took, barrier = [], threading.Barrier(count)

    def one(number: int) -> None:
        barrier.wait()
        began = time.perf_counter()
        take(number)
        took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == count, "a caller failed"
    return took


def many(rounds: int, count: int, there: Services, mine: Project) -> Row:
    """Measure so many claims at once against callers that list what is free and take the first, until they have one."""
    cluster, api = cluster_of(there), cluster_of(there).api
    which = Selector({f"{manifests.LABEL}installation": there.installation, manifests.WARM: "true"})
    ours: list[float] = []
    theirs: list[float] = []

    def first(number: int) -> None:
        while True:
            listed = api.whole(cluster.pods, {"labelSelector": str(which), "resourceVersion": "0"}, metadata=True).items
            free = sorted((one["metadata"] for one in listed if TAKEN not in one["metadata"]["labels"]), key=lambda meta: str(meta["name"]))
            if not free:
                continue  # a view from before: there is one for everybody
            meta = {"resourceVersion": free[0]["resourceVersion"], "labels": {TAKEN: str(number)}}
            try:
                api.patch(f"{cluster.pods}/{free[0]['name']}", {"metadata": meta})
            except Conflict:
                continue
            return

    def claimed(got: list[Worker]) -> Callable[[int], None]:
        def one(_: int) -> None:
            worker = pool.claim(there, mine, there.new_id("ses"))
            assert worker is not None
            got.append(worker)
            there.store.close()

        return one

    for turn in range(rounds + 1):
        got: list[Worker] = []
        mine_took, their_took = at_once(count, claimed(got)), at_once(count, first)
        assert len({one.pod for one in got}) == count, "a worker was lent twice"
        taken = {one["metadata"]["labels"][TAKEN] for one in api.list(cluster.pods, which).items}
        assert len(taken) == count, "the reference took one twice"
        for worker in got:
            api.patch(f"{cluster.pods}/{worker.pod}", {"metadata": {"labels": {TAKEN: None}}})
            idle_again(there, mine, worker)
        if turn:  # the first round is for warm connections
            ours += mine_took
            theirs += their_took
    p99 = [sorted(took)[min(len(took) - 1, int(len(took) * 0.99))] for took in (ours, theirs)]
    return most(f"{count} claims at once, p99", "list, take the first, again until it is one's own", p99[0], p99[1], 0.25)


def main() -> int:
    """Measure on the cluster that is named."""
    parser = argparse.ArgumentParser(description="Measure the warm pool.")
    parser.add_argument("-n", type=int, default=15, help="rounds (a third of them for the row of many)")
    parser.add_argument("--workers", type=int, default=20, help="how many come at once, each for a worker")
    parser.add_argument("--to", type=Path, default=ROOT / "bench" / "POOL.md", help="where the page goes")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="rdev-bench-") as place:
        there = world(Path(place))
        api = cluster_of(there).api
        api.create("/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": NAMESPACE}})
        try:
            time.sleep(2)  # its service account, without which no pod is taken
            mine = project(there)
            pool.fill(there, options.workers)
            random.seed(1)
            rows = [claims(options.n, there, mine), many(max(3, options.n // 3), options.workers, there, mine)]
        finally:
            found = api.get(f"/api/v1/namespaces/{NAMESPACE}")
            api.delete(f"/api/v1/namespaces/{NAMESPACE}", uid=found["metadata"]["uid"])
            there.close()
    return publish(rows, options.n, busy, script="bench/pool.py", to=options.to)


if __name__ == "__main__":
    sys.exit(main())

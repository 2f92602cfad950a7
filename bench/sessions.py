"""Measures sessions on a real cluster, and writes bench/SESSIONS.md.

    python bench/sessions.py [-n ROUNDS] [--to FILE]

Needs RDEV_TEST_KUBECONFIG and RDEV_TEST_IMAGE. Everything is measured within one process, start and imports left out: from `session start` to a session
that takes work, with its branch in the work tree. Makes the namespace t-bench-sessions, and deletes it at the end.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pool import cluster_of, world

from bench import ROOT, Row, in_turns, most, publish  # the scripts beside this one
from rdev_cli.domain.project import ProjectSpec
from rdev_cli.domain.session import SessionSpec
from rdev_cli.ops import pool, projects, sessions
from rdev_cli.wiring.services import Services

NAMESPACE = "t-bench-sessions"


def starts(rounds: int, there: Services) -> Row:
    """Measure a start on a worker of the pool against one that makes its pod."""

    def start(*, warm: bool) -> float:
        began = time.perf_counter()
        session = sessions.start(there, SessionSpec(project="bench"))
        took = time.perf_counter() - began
        assert bool(session.worker) is warm, "there was another pod than was wanted"
        sessions.end(there, session.id, discard=True)
        return took

    def warm() -> float:
        pool.fill(there, 1)
        return start(warm=True)

    def cold() -> float:
        pool.drain(there)
        return start(warm=False)

    found = in_turns(rounds, {"warm": warm, "cold": cold})
    return most("a session on a warm pod", "a session that makes its pod", found["warm"], found["cold"], 0.1)


def main() -> int:
    """Measure on the cluster that is named."""
    parser = argparse.ArgumentParser(description="Measure sessions.")
    parser.add_argument("-n", type=int, default=9, help="rounds")
    parser.add_argument("--to", type=Path, default=ROOT / "bench" / "SESSIONS.md", help="where the page goes")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="rdev-bench-") as place:
        there = world(Path(place), NAMESPACE)
        api = cluster_of(there).api
        api.create("/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": NAMESPACE}})
        try:
            time.sleep(2)  # its service account, without which no pod is taken
            projects.create(there, ProjectSpec(name="bench"))
            rows = [starts(options.n, there)]
        finally:
            found = api.get(f"/api/v1/namespaces/{NAMESPACE}")
            api.delete(f"/api/v1/namespaces/{NAMESPACE}", uid=found["metadata"]["uid"])
            there.close()
    return publish(rows, options.n, busy, script="bench/sessions.py", to=options.to)


if __name__ == "__main__":
    sys.exit(main())

"""What becomes of commands when the way to the cluster, the pod or its node fails: the truth, whole, or a name for what befell them."""

import hashlib
import io
import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from rdev_cli.adapters.kubernetes import hand
from rdev_cli.adapters.kubernetes.manifests import RUN
from rdev_cli.adapters.kubernetes.selector import Selector
from rdev_cli.domain.command import Ending
from tests.support import lab
from tests.support.cutting import Cutter

pytestmark = pytest.mark.cluster

RUNS = int(os.environ.get("RDEV_TEST_CUTS", "200"))
AT_ONCE = int(os.environ.get("RDEV_TEST_AT_ONCE", "24"))
SECONDS = float(os.environ.get("RDEV_TEST_SECONDS", "0"))
SIZE = 20 << 20


def test_t_exec_2_a_connection_cut_at_random_bytes_changes_no_byte_and_no_code(bench):
    """RDEV_TEST_CUTS runs of 20 MB; every connection, those of single requests too, is reset after a random number of bytes."""
    bench.kubectl("exec", bench.project.pod, "--", "sh", "-c", f"head -c {SIZE} /dev/urandom >data; head -c 1000000 /dev/urandom >less")
    want = [word.split()[0].decode() for word in bench.kubectl("exec", bench.project.pod, "--", "sha256sum", "data", "less").splitlines()]
    chance = random.Random()
    # as often in the few bytes that a beginning or an end takes as anywhere
    with Cutter(lab.address(), budget=lambda: chance.choice((chance.uniform(1, 40_000), chance.uniform(1, 1.5 * SIZE)))) as cutter:
        over = bench.another(cutter.port)
        for number in range(RUNS):
            code = chance.choice((0, 0, 1, 7, 255))
            id = bench.start("sh", "-c", f"cat data & cat less >&2; wait; exit {code}", over=over)
            outcome = bench.ends(id, over=over)
            found = [hashlib.sha256(bench.read(id, stream)).hexdigest() for stream in ("out", "err")]
            assert (outcome.code, outcome.ending, outcome.truncated, found) == (code, Ending.EXITED, False, want), (
                f"run {number}: {outcome.cause}"
            )
            for path in (bench.folder / "spool" / id).iterdir():
                path.unlink()
        lab.close(over)
    left, end = b"dd\n", time.monotonic() + 30
    while b"dd\n" in left:  # a container runtime ends nothing by itself when a connection breaks
        assert time.monotonic() < end, left
        left = bench.kubectl("exec", bench.project.pod, "--", "sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null; :")
    assert cutter.cuts >= RUNS, f"only {cutter.cuts} of {cutter.connections} connections were cut: nothing was tested"


def test_t_exec_13_a_way_that_forgets_quiet_connections_loses_nothing(bench, monkeypatch):
    monkeypatch.setattr(hand, "SILENCE", 6.0)
    with Cutter(lab.address(), quiet=2.0) as cutter:
        over = bench.another(cutter.port)
        id = bench.start("sh", "-c", "echo before; sleep 14; echo after; exit 3", over=over)
        outcome = bench.ends(id, over=over)
        lab.close(over)
    assert (outcome.code, outcome.ending, bench.read(id, "out")) == (3, Ending.EXITED, b"before\nafter\n")
    assert cutter.forgotten >= 1, "no connection was ever quiet: nothing was tested"


def test_t_exec_14_a_pod_that_is_deleted_in_mid_command_is_named(bench):
    id = bench.start("sh", "-c", "echo here; exec sleep 600")
    bench.prints(id, b"here\n")
    bench.kubectl("delete", "pod", bench.project.pod, "--wait=false")
    outcome = bench.ends(id)
    assert (outcome.ending, outcome.cause, bench.read(id, "out")) == (Ending.LOST, "Deleted", b"here\n")


def test_t_exec_14_a_pod_that_is_deleted_while_nobody_looks_is_named_at_the_next_look(bench):
    id = bench.start("sh", "-c", "echo here; exec sleep 600")
    bench.prints(id, b"here\n")
    lab.close(bench.cluster)
    bench.kubectl("delete", "pod", bench.project.pod, "--grace-period=0", "--force")
    outcome = bench.ends(id, over=bench.another())
    assert (outcome.ending, outcome.cause) == (Ending.LOST, "Deleted")


def test_t_exec_14_a_pod_that_was_made_again_has_not_run_the_command(bench):
    id = bench.start("sh", "-c", "echo here; exec sleep 600")
    bench.prints(id, b"here\n")
    bench.kubectl("delete", "pod", bench.project.pod, "--grace-period=1")
    other = bench.another()
    other.ensure_pod(bench.project)
    outcome = bench.ends(id, over=other)
    assert (outcome.ending, outcome.cause) == (Ending.LOST, "Deleted")


def test_t_exec_14_a_pod_that_is_evicted_in_mid_command_is_named(bench):
    id = bench.start("sh", "-c", "echo here; exec sleep 600")
    bench.prints(id, b"here\n")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": bench.project.pod, "namespace": bench.namespace}}
    path = f"/api/v1/namespaces/{bench.namespace}/pods/{bench.project.pod}/eviction"
    lab.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction).encode())
    outcome = bench.ends(id)
    assert (outcome.ending, outcome.cause) == (Ending.LOST, "Evicted")


def test_t_exec_14_a_container_that_is_restarted_in_mid_command_is_named(bench):
    id = bench.start("sh", "-c", "echo here; exec sleep 600")
    bench.prints(id, b"here\n")
    bench.kubectl("exec", bench.project.pod, "--", "sh", "-c", "kill -TERM 1", check=False)
    outcome = bench.ends(id)
    assert (outcome.ending, outcome.cause, bench.read(id, "out")) == (Ending.LOST, "Restarted", b"here\n")


def test_t_exec_14_what_had_ended_before_its_container_was_restarted_has_its_outcome(bench):
    id = bench.start("sh", "-c", "echo here; exit 5")
    end = time.monotonic() + 30
    while b"exit" not in bench.kubectl("exec", bench.project.pod, "--", "ls", f"{RUN}/{id}").split():
        assert time.monotonic() < end
    lab.close(bench.cluster)
    bench.kubectl("exec", bench.project.pod, "--", "sh", "-c", "kill -TERM 1", check=False)
    outcome = bench.ends(id, over=bench.another())
    assert (outcome.code, outcome.ending, bench.read(id, "out")) == (5, Ending.EXITED, b"here\n")


def test_t_exec_3_a_command_that_takes_more_memory_than_its_pod_has_is_named(bench):
    # where the kernel ends one process it is the command's own end; where it ends the whole container there is no record
    id = bench.start("sh", "-c", "exec tail /dev/zero")
    outcome = bench.ends(id)
    assert outcome.cause == "OOMKilled"
    assert (outcome.ending, outcome.code) in ((Ending.EXITED, 137), (Ending.LOST, -1))


def test_t_exec_15_many_execs_lists_and_watches_in_one_process_do_not_mix(bench):
    """RDEV_TEST_AT_ONCE of each at once for RDEV_TEST_SECONDS, and at least 200 execs."""
    one = bench.another()
    pods, mine = f"/api/v1/namespaces/{bench.namespace}/pods", Selector({"rdev.orchard9.ai/id": bench.project.id})
    over, end = threading.Event(), time.monotonic() + SECONDS

    def run(who: int) -> int:
        done = 0
        while not over.is_set() and (done * AT_ONCE < 200 or time.monotonic() < end):
            into = io.BytesIO()
            word = f"{who} {done}"
            one.run(bench.project, ["sh", "-c", f"echo {word}; echo {word}"], stdout=into, timeout=300)
            assert into.getvalue().decode() == f"{word}\n{word}\n"
            done += 1
        return done

    def look() -> int:
        done = 0
        while not over.is_set():
            assert [found["metadata"]["name"] for found in one.api.list(pods, mine).items] == [bench.project.pod]
            done += 1
            over.wait(0.2)
        return done

    def watch() -> int:
        seen = 0
        while not over.is_set():
            seen += sum(1 for _ in one.api.watch(pods, selector=mine, timeout=1.0))
        return seen

    with ThreadPoolExecutor(2 * AT_ONCE + 4) as pool:
        watches = [pool.submit(watch) for _ in range(4)]
        lists = [pool.submit(look) for _ in range(AT_ONCE)]
        runs = [pool.submit(run, who) for who in range(AT_ONCE)]
        try:
            done = sum(one.result() for one in as_completed(runs))
        finally:
            over.set()
        looked = [one.result() for one in lists]
        seen = [one.result() for one in watches]
    assert done >= 200
    assert min(looked) > 0, looked
    assert min(seen) > 0, seen

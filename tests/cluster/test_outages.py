"""Parts of the cluster that stop in mid-command. They are everybody's, so these tests run alone: `pytest -n0 -m outages`."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from rdev_cli.domain.command import Ending
from tests.support import lab

pytestmark = pytest.mark.outages

COUNT = "i=0; while [ $i -lt 60 ]; do echo $i; i=$((i+1)); sleep 0.25; done; exit 6"
COUNTED = b"".join(b"%d\n" % number for number in range(60))


def _pid(part: str) -> int:
    home = Path(os.environ.get("RDEV_LAB_HOME") or Path.home() / ".cache" / "rdev-lab")
    return int((home / "run" / f"{part}.pid").read_text().split()[0])


def _up() -> None:
    subprocess.run([lab.needed("RDEV_LAB_UP"), "kubernetes"], check=True, capture_output=True, timeout=300)


def test_an_api_server_that_is_restarted_in_mid_command_changes_no_byte_and_no_code(bench):
    lab.needed("RDEV_LAB_UP")
    id = bench.start("sh", "-c", COUNT)
    bench.prints(id, b"3\n")
    os.kill(_pid("kube-apiserver"), signal.SIGKILL)
    try:
        for _ in range(10):
            assert bench.cluster.advance(bench.project, id, wait=0.2).outcome is None
    finally:
        _up()
    outcome = bench.ends(id, within=120)
    assert (outcome.code, outcome.ending, bench.read(id, "out")) == (6, Ending.EXITED, COUNTED)


@pytest.mark.parametrize("how", ["frozen", "dead"])
def test_t_exec_14_a_node_that_does_not_answer_is_named_and_may_still_run_it(bench, how):
    lab.needed("RDEV_LAB_UP")
    id = bench.start("sh", "-c", "echo here; exec sleep 600")
    bench.prints(id, b"here\n")
    kubelet = _pid("kubelet")
    os.kill(kubelet, signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
    try:
        outcome = bench.ends(id)
    finally:
        if how == "frozen":
            os.kill(kubelet, signal.SIGCONT)
        else:
            _up()
        end = time.monotonic() + 120
        while b"True" not in lab.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"):
            assert time.monotonic() < end
            time.sleep(0.5)
    assert (outcome.ending, outcome.cause, bench.read(id, "out")) == (Ending.LOST, "NodeLost", b"here\n")

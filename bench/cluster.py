"""Measures the transport to a cluster against kubectl on the same cluster, and writes bench/CLUSTER.md.

    python bench/cluster.py [-n ROUNDS] [--bytes N] [--pods N] [--to FILE]

Needs RDEV_TEST_KUBECONFIG, RDEV_TEST_IMAGE_SMALL and kubectl on PATH or in RDEV_LAB_BIN. Both sides are whole processes that read the same
kubeconfig, in turns; "alone" is without `import typer`, the start that every command of rdev pays. Makes the namespace t-bench with one pod that runs and many that are never scheduled, and deletes it at the end.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from bench import PYTHON, ROOT, Row, in_turns, most, report  # the script beside this one
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.adapters.kubernetes.kubeconfig import load
from rdev_cli.domain.errors import Conflict

NAMESPACE = "t-bench"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
LABELS = {"rdev.orchard9.ai/bench": "true"}

# what a command of rdev does with the transport, after the start that every command has
_START = "import typer"
_CALL = (
    _START
    + """
import os, sys
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.adapters.kubernetes.kubeconfig import load
api = Api(load(os.environ, file=os.environ["RDEV_TEST_KUBECONFIG"]))
what, pods, argv = sys.argv[1], sys.argv[2], sys.argv[3:]
if what == "get":
    assert api.get(f"{pods}/box")["metadata"]["name"] == "box"
elif what == "list":
    from rdev_cli.adapters.kubernetes.selector import Selector
    assert len(api.list(pods, Selector({"rdev.orchard9.ai/bench": "true"}), metadata=True).items) == int(argv[0])
else:
    from rdev_cli.adapters.kubernetes.socket import Closed
    streams = api.exec(pods.split("/")[4], "box", "box", argv)
    try:
        while True:
            found = streams.read(60)
            if found is not None:
                os.write(found[0], found[1])
    except Closed:
        assert streams.status is not None and streams.status.code == 0, streams.why
    with open("/proc/self/status") as file:
        peak = next(line.split()[1] for line in file if line.startswith("VmHWM:"))
    if "RDEV_BENCH_PEAK" in os.environ:
        with open(os.environ["RDEV_BENCH_PEAK"], "w") as file:
            file.write(peak)
api.close()
"""
)


def pod(name: str, image: str, **spec: Any) -> dict[str, Any]:
    """Return a pod's manifest."""
    box = {"name": "box", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"]}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [box], **spec},
    }


def put(api: Api, path: str, body: dict[str, Any]) -> None:
    """Create what is not there yet."""
    try:
        api.create(path, body)
    except Conflict:
        pass


def prepare(api: Api, count: int) -> None:
    """Make the namespace, the pod that runs, and those that wait for a scheduler that never comes."""
    image = os.environ["RDEV_TEST_IMAGE_SMALL"]
    put(api, "/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": NAMESPACE}})
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    for _, found in api.watch(account, selector=None, name="default", timeout=60):
        if found:
            break
    put(api, PODS, pod("box", image))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(api, PODS, pod(f"waits-{number:04}", image, schedulerName="bench")), range(count - 1)))
    for _, found in api.watch(PODS, selector=None, name="box", timeout=60):
        if found["status"].get("phase") == "Running":
            return
    sys.exit("the pod does not start")


def timed(argv: list[str], spent: list[float] | None = None) -> Callable[[], float]:
    """Return what runs a command to its end and says how long it took; its CPU seconds go to `spent`."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        took = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if spent is not None:
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return took

    return run


def rows(rounds: int, count: int, size: int, kubectl: list[str]) -> list[Row]:
    """Measure."""
    ours = [PYTHON, "-c", _CALL]
    found: list[Row] = []
    selector = "rdev.orchard9.ai/bench=true"
    for work, mine, theirs, alone, whole in (
        ("get of one pod", ["get", PODS], ["get", "pod", "box", "-o", "json"], 1.1, 2.0),
        (f"list of {count} pods by label", ["list", PODS, str(count)], ["get", "pods", "-l", selector], 0.8, 2.0),
        ("exec `true`", ["exec", PODS, "true"], ["exec", "box", "--", "true"], 1.15, 1.6),
    ):
        things = {"start": timed([PYTHON, "-c", _START]), "ours": timed([*ours, *mine]), "kubectl": timed([*kubectl, *theirs])}
        took = in_turns(rounds, things)
        against = f"`kubectl {' '.join(theirs[:2])}`"
        found.append(most(f"{work}, alone", against, took["ours"] - took["start"], took["kubectl"], alone))
        found.append(most(f"{work}, with the start", against, took["ours"], took["kubectl"], whole))
        print(f"{work}: done", file=sys.stderr)
    peak = ROOT / "bench" / ".peak"
    os.environ["RDEV_BENCH_PEAK"] = str(peak)
    spent: dict[str, list[float]] = {"ours": [], "kubectl": []}
    line = ["head", "-c", str(size), "/dev/zero"]
    took = in_turns(
        max(3, rounds // 3),
        {
            "ours": timed([*ours, "exec", PODS, *line], spent["ours"]),
            "kubectl": timed([*kubectl, "exec", "box", "--", *line], spent["kubectl"]),
        },
    )
    out = most(f"{size // 1_000_000} MB out of an exec", "`kubectl exec`", took["ours"], took["kubectl"], 1.05)
    speed = {name: f"{size / seconds / 1e6:.0f} MB/s" for name, seconds in took.items()}
    found.append(replace(out, value=speed["ours"], reference=speed["kubectl"]))
    cpu = {name: sorted(values)[len(values) // 2] for name, values in spent.items()}
    found.append(most("CPU of it", "`kubectl exec`", cpu["ours"], cpu["kubectl"], 0.6))
    held = int(peak.read_text()) / 1024
    peak.unlink()
    found.append(
        Row(work="memory of it (peak)", against="", value=f"{held:.0f} MiB", reference="", ratio="", target="≤ 64 MiB", kept=held <= 64)
    )
    return found


def main() -> int:
    """Measure against kubectl on the cluster that is named."""
    parser = argparse.ArgumentParser(description="Measure the transport against kubectl.")
    parser.add_argument("-n", type=int, default=15, help="rounds (a third of them for the long row)")
    parser.add_argument("--pods", type=int, default=1000, help="how many pods a list has")
    parser.add_argument("--bytes", type=int, default=300_000_000, help="how much output")
    parser.add_argument("--to", type=Path, default=ROOT / "bench" / "CLUSTER.md", help="where the page goes")
    options = parser.parse_args()
    config = os.environ["RDEV_TEST_KUBECONFIG"]
    kubectl = [os.path.join(os.environ.get("RDEV_LAB_BIN", ""), "kubectl"), "--kubeconfig", config, "-n", NAMESPACE]
    api = Api(load(os.environ, file=config))
    busy = os.getloadavg()[0]
    prepare(api, options.pods)
    try:
        measured = rows(options.n, options.pods, options.bytes, kubectl)
    finally:
        uid = api.get(f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["uid"]
        api.delete(f"/api/v1/namespaces/{NAMESPACE}", uid=uid)
        api.close()
    page = report(measured, options.n, busy).replace("bench/bench.py", "bench/cluster.py").partition("## Why")[0].rstrip() + "\n"
    written = options.to.read_text() if options.to.exists() else ""
    if "## Why" in written:  # what people wrote below the table stays
        page += "\n## Why" + written.partition("## Why")[2]
    options.to.write_text(page)
    print(page)
    return 0 if all(row.kept for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measures the transport to a cluster against kubectl on the same cluster, and writes bench/CLUSTER.md.

    python bench/cluster.py [-n ROUNDS] [--bytes N] [--pods N] [--objects N] [--to FILE]

Needs RDEV_TEST_KUBECONFIG, RDEV_TEST_IMAGE_SMALL and kubectl on PATH or in RDEV_LAB_BIN. Both sides are whole processes that read the same
kubeconfig, in turns; "alone" is without `import typer`, the start that every command of rdev pays. Makes the namespace t-bench with one pod that
runs, many that are never scheduled and a few that come and go, and deletes it at the end. A few minutes on two cores.
"""

import argparse
import compileall
import itertools
import json
import os
import resource
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from bench import PYTHON, ROOT, Row, in_turns, most, publish  # the script beside this one
from rdev_cli.adapters.kubernetes import manifests, owned
from rdev_cli.adapters.kubernetes.api import Api
from rdev_cli.adapters.kubernetes.kubeconfig import load
from rdev_cli.domain.errors import Conflict

NAMESPACE = "t-bench"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
LABELS = {"rdev.orchard9.ai/bench": "true"}
INSTALLATION = "ins-bench"  # of the objects that GC lists, none of which is listed by the label above

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
elif what == "owned":
    from rdev_cli.adapters.kubernetes import owned
    assert len(owned.inventory(api, pods.split("/")[4], argv[0]).items) == int(argv[1])
elif what == "ready":
    from pathlib import Path
    from rdev_cli.adapters.kubernetes import manifests
    from rdev_cli.adapters.kubernetes.cluster import KubernetesCluster
    from rdev_cli.ports.timing import Stop
    name, shape, marks = argv[0], manifests.Shape(image=argv[1]), {"rdev.orchard9.ai/role": "bench"}
    cluster = KubernetesCluster(
        api, folder=Path(), context="bench", namespace=pods.split("/")[4], shape=shape, installation="", stop=Stop
    )
    assert cluster.claim(name, marks)
    cluster.wait(api.create(pods, manifests.pod(name, marks, shape, claimed=True)))
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


# prints the peak memory of a command (KiB): what the kernel says of a process counts its parent's until the exec, so the parent is a small one
_PEAK = "import os, sys; print(os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)[2].ru_maxrss, file=sys.stderr)"


def pod(name: str, image: str, labels: dict[str, str] = LABELS, **spec: Any) -> dict[str, Any]:
    """Return a pod's manifest."""
    box = {"name": "box", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"]}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": labels},
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


def calls(rounds: int, count: int, kubectl: list[str]) -> list[Row]:
    """Measure single calls, and what each side needs for them."""
    ours = [PYTHON, "-c", _CALL]
    found: list[Row] = []
    selector = "rdev.orchard9.ai/bench=true"
    for work, mine, theirs, alone, whole, memory in (
        ("get of one pod", ["get", PODS], ["get", "pod", "box", "-o", "json"], 1.1, 2.0, 0.0),
        (f"list of {count} pods by label", ["list", PODS, str(count)], ["get", "pods", "-l", selector], 0.8, 2.0, 0.5),
        ("exec `true`", ["exec", PODS, "true"], ["exec", "box", "--", "true"], 1.15, 1.6, 0.5),
    ):
        things = {"start": timed([PYTHON, "-c", _START]), "ours": timed([*ours, *mine]), "kubectl": timed([*kubectl, *theirs])}
        took = in_turns(rounds, things)
        against = f"`kubectl {' '.join(theirs[:2])}`"
        found.append(most(f"{work}, alone", against, took["ours"] - took["start"], took["kubectl"], alone))
        found.append(most(f"{work}, with the start", against, took["ours"], took["kubectl"], whole))
        if memory:
            found.append(held(f"{work}, memory of the whole", against, rounds, [*ours, *mine], [*kubectl, *theirs], memory))
        print(f"{work}: done", file=sys.stderr)
    return found


def peak(argv: list[str]) -> Callable[[], float]:
    """Return what runs a command to its end and says how much memory it had at most (MiB)."""

    def run() -> float:
        helper = [PYTHON, "-ISc", _PEAK, *argv]
        told = subprocess.run(helper, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
        return int(told.stderr.split()[-1]) / 1024

    return run


def held(work: str, against: str, rounds: int, mine: list[str], theirs: list[str], limit: float) -> Row:
    """Measure peak memory."""
    found = in_turns(max(3, rounds // 3), {"ours": peak(mine), "kubectl": peak(theirs)})
    row = most(work, against, found["ours"], found["kubectl"], limit)
    return replace(row, value=f"{found['ours']:.0f} MiB", reference=f"{found['kubectl']:.0f} MiB")


def starts(rounds: int, api: Api, kubectl: list[str]) -> Row:
    """Measure from the first POST to Ready: the same claim, then the same pod with it, and the wait for both."""
    image, made = os.environ["RDEV_TEST_IMAGE_SMALL"], itertools.count()
    marks, shape = {"rdev.orchard9.ai/role": "bench"}, manifests.Shape(image=os.environ["RDEV_TEST_IMAGE_SMALL"])
    claims = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"

    def once(prepared: Callable[[str], list[str]]) -> float:
        name = f"starts-{next(made)}"
        took = timed(prepared(name))()
        for path in (f"{PODS}/{name}", f"{claims}/{name}"):  # its end is not to run into the next one's start
            uid = api.get(path)["metadata"]["uid"]
            api.delete(path, uid=uid, grace=0)
            owned.gone(api, path, uid)
        return took

    def ours(name: str) -> list[str]:
        return [PYTHON, "-c", _CALL, "ready", PODS, name, image]

    def theirs(name: str) -> list[str]:
        claim = json.dumps(manifests.claim(name, marks, shape))
        overrides = json.dumps(manifests.pod(name, marks, shape, claimed=True))
        line = 'printf %s "$1" | "${@:5}" create -f - && "${@:5}" run "$2" --image="$3" --overrides="$4" && "${@:5}" wait --for=condition=Ready "pod/$2"'
        return ["bash", "-c", line, "bash", claim, name, image, overrides, *kubectl]

    found = in_turns(max(3, rounds // 3), {"ours": lambda: once(ours), "kubectl": lambda: once(theirs)})
    against = "`kubectl create` of the claim, `run` of the pod, `wait`"
    return most("a project's claim and pod, POST to Ready, with the start", against, found["ours"], found["kubectl"], 1.3)


def leftovers(rounds: int, count: int, api: Api, kubectl: list[str]) -> list[Row]:
    """Measure how everything of one installation is listed, as GC does before it judges: with the UIDs that it deletes by."""
    image = os.environ["RDEV_TEST_IMAGE_SMALL"]
    marks = {"rdev.orchard9.ai/installation": INSTALLATION}
    start = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        made = (pod(f"left-{number:05}", image, labels=marks, schedulerName="bench") for number in range(count))
        list(pool.map(lambda one: put(api, PODS, one), made))
    print(f"{count} pods made in {time.monotonic() - start:.0f} s", file=sys.stderr)
    mine = [PYTHON, "-c", _CALL, "owned", PODS, INSTALLATION, str(count)]
    kinds = "pods,persistentvolumeclaims,networkpolicies"
    theirs = [*kubectl, "get", kinds, "-l", f"rdev.orchard9.ai/installation={INSTALLATION}", "-o", "json"]
    work, against = f"GC's list of {count} objects", "`kubectl get -o json` of the same"
    took = in_turns(max(3, rounds // 3), {"ours": timed(mine), "kubectl": timed(theirs)})
    return [
        most(f"{work}, with the start", against, took["ours"], took["kubectl"], 0.25),
        held(f"{work}, memory", against, 3, mine, theirs, 0.3),
    ]


def output(rounds: int, size: int, kubectl: list[str]) -> list[Row]:
    """Measure much output of one exec."""
    ours = [PYTHON, "-c", _CALL]
    found: list[Row] = []
    note = ROOT / "bench" / ".peak"
    os.environ["RDEV_BENCH_PEAK"] = str(note)
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
    most_held = int(note.read_text()) / 1024
    note.unlink()
    del os.environ["RDEV_BENCH_PEAK"]
    found.append(
        Row(
            work="memory of it (peak)",
            against="",
            value=f"{most_held:.0f} MiB",
            reference="",
            ratio="",
            target="≤ 64 MiB",
            kept=most_held <= 64,
        )
    )
    return found


def main() -> int:
    """Measure against kubectl on the cluster that is named."""
    parser = argparse.ArgumentParser(description="Measure the transport against kubectl.")
    parser.add_argument("-n", type=int, default=15, help="rounds (a third of them for the long row)")
    parser.add_argument("--pods", type=int, default=1000, help="how many pods a list has")
    parser.add_argument("--objects", type=int, default=10_000, help="how much GC lists")
    parser.add_argument("--bytes", type=int, default=300_000_000, help="how much output")
    parser.add_argument("--to", type=Path, default=ROOT / "bench" / "CLUSTER.md", help="where the page goes")
    options = parser.parse_args()
    for folder in (ROOT / "rdev_cli", Path(sysconfig.get_path("purelib"))):  # as it is for everybody whose Python may write bytecode
        compileall.compile_dir(folder, quiet=2)
    config = os.environ["RDEV_TEST_KUBECONFIG"]
    kubectl = [os.path.join(os.environ.get("RDEV_LAB_BIN", ""), "kubectl"), "--kubeconfig", config, "-n", NAMESPACE]
    api = Api(load(os.environ, file=config))
    busy = os.getloadavg()[0]
    prepare(api, options.pods)
    try:
        measured = calls(options.n, options.pods, kubectl)
        measured += output(options.n, options.bytes, kubectl)
        measured.append(starts(options.n, api, kubectl))
        measured += leftovers(options.n, options.objects, api, kubectl)
    finally:
        uid = api.get(f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["uid"]
        api.delete(f"/api/v1/namespaces/{NAMESPACE}", uid=uid)
        api.close()
    return publish(measured, options.n, busy, script="bench/cluster.py", to=options.to)


if __name__ == "__main__":
    sys.exit(main())

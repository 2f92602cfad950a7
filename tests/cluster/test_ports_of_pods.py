"""Ports of pods in a real cluster: dialled through the API server, to that pod and no other, and hosts of previews led to rdev's server."""

import hashlib
import os
import socket
import threading
import time
from dataclasses import replace

import pytest

from rdev_cli.adapters.kubernetes import forwarding
from rdev_cli.adapters.kubernetes.manifests import LABEL
from rdev_cli.domain.errors import NotFound
from rdev_cli.ports.cluster import Channel
from tests.support import lab

pytestmark = pytest.mark.cluster
# what a program in the image listens with: `echo` gives back what it reads, `end` says something and closes
_SERVER = r"""
use strict; use IO::Socket::INET; use IO::Handle;
my ($port, $what) = @ARGV;
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 64, ReuseAddr => 1) or die "no: $!";
$SIG{CHLD} = "IGNORE"; STDOUT->autoflush(1); print "listens\n";
while (my $c = $s->accept) {
  next if fork; binmode $c; my $b;
  if ($what eq "end") { syswrite $c, "bye"; exit }
  while (sysread $c, $b, 65536) { my $o = 0; while ($o < length $b) { $o += syswrite $c, $b, length($b) - $o, $o } }
  exit;
}
"""


def _listens(bench, port: int, what: str) -> None:
    bench.prints(bench.start("perl", "-e", _SERVER, str(port), what), b"listens")


def _dial(bench, port: int) -> socket.socket:
    channel: Channel = bench.cluster.dial(bench.project, port, timeout=20)
    one = socket.socket(fileno=channel.detach())
    one.settimeout(30)
    return one


def _rest(one: socket.socket) -> bytes:
    found = b""
    while data := one.recv(1 << 16):
        found += data
    return found


def test_bytes_go_both_ways_exactly_and_an_end_is_an_end(bench):
    _listens(bench, 3000, "echo")
    _listens(bench, 3001, "end")
    data = os.urandom(8 << 20)
    with _dial(bench, 3000) as one:
        threading.Thread(target=one.sendall, args=(data,), daemon=True).start()
        got = hashlib.sha256()
        left = len(data)
        while left:
            part = one.recv(min(left, 1 << 16))
            assert part
            got.update(part)
            left -= len(part)
        assert got.digest() == hashlib.sha256(data).digest()
    with _dial(bench, 3001) as one:
        assert _rest(one) == b"bye"


def test_many_connections_are_apart(bench):
    _listens(bench, 3000, "echo")
    several = [_dial(bench, 3000) for _ in range(10)]
    for number, one in enumerate(several):
        one.sendall(b"%d" % number)
    assert [one.recv(10) for one in several] == [b"%d" % number for number in range(10)]
    for one in several:
        one.close()
    end = time.monotonic() + 10
    while [thread for thread in threading.enumerate() if thread.name == "preview"]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_comes_after_half_an_end_still_arrives(bench):
    _listens(bench, 3000, "echo")
    with _dial(bench, 3000) as one:
        one.sendall(b"last words")
        one.shutdown(socket.SHUT_WR)
        assert one.recv(100) == b"last words"


def test_a_port_that_nobody_listens_at_ends_without_a_byte(bench):
    with _dial(bench, 3999) as one:
        assert _rest(one) == b""


def test_t_pv_4_only_the_pod_with_these_marks_is_dialled(bench, monkeypatch):
    _listens(bench, 3000, "echo")
    for other in (
        replace(bench.project, id="ses_01j9another000000001"),
        replace(bench.project, name="another"),
        replace(bench.project, pod="rdev-gone"),
    ):
        with pytest.raises(NotFound) as refused:
            bench.cluster.dial(other, 3000, timeout=20)
        assert refused.value.code == "NO_POD"
    asked = forwarding._looked
    changed = []

    def looked(*words):
        found = asked(*words)
        if not changed:  # between the look and the connection it goes to somebody else, as a pod of the pool does
            changed.append(bench.kubectl("label", "pod", bench.project.pod, f"{LABEL}id=ses_01j9another000000001", "--overwrite"))
        return found

    monkeypatch.setattr(forwarding, "_looked", looked)
    with pytest.raises(NotFound):
        bench.cluster.dial(bench.project, 3000, timeout=20)
    assert changed


def test_the_end_of_a_pod_ends_its_connections(bench):
    _listens(bench, 3000, "echo")
    with _dial(bench, 3000) as one:
        bench.kubectl("delete", "pod", bench.project.pod, "--grace-period=0", "--force")
        assert _rest(one) == b""
    with pytest.raises(NotFound):
        bench.cluster.dial(bench.project, 3000, timeout=20)


def test_t_pv_6_hosts_are_led_to_the_server_and_taken_away_by_their_marks(bench):
    hosts = ["a" * 26 + ".preview.example.org", "b" * 26 + ".preview.example.org"]
    for host in (*hosts, hosts[0]):
        bench.cluster.expose(bench.project, host)
    other = lab.cluster(bench.folder, bench.namespace, installation="another")
    other.expose(bench.project, "c" * 26 + ".preview.example.org")

    def there() -> list[str]:
        return sorted(bench.kubectl("get", "ingresses", "-o", "jsonpath={.items[*].spec.rules[0].host}").decode().split())

    try:
        assert len(there()) == 3
        backend = bench.kubectl("get", "ingresses", "-o", "jsonpath={.items[*].spec.rules[0].http.paths[0].backend.service.name}")
        assert set(backend.decode().split()) == {"rdev-serve"}
        bench.cluster.conceal(bench.project, hosts[0])
        assert hosts[0] not in there()
        for _ in (1, 2):
            bench.cluster.conceal(bench.project)
        assert there() == ["c" * 26 + ".preview.example.org"]
    finally:
        other.conceal(bench.project)
        lab.close(other)

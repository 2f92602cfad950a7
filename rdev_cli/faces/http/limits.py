"""How much and from whom: the hosts that are asked for, the address behind a proxy, and requests a minute."""

import ipaddress
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rdev_cli.wiring.serving import Network, is_address

_NAMED = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?)(?::([0-9]{1,5}))?")
_MINUTE = 60.0
KNOWN = 20_000  # names that are counted at a time: at most a few MiB, whoever asks
FAILURES = 60  # a minute, by source and by the beginning of a key


class Hosts:
    """The hosts that may be asked for: those of this machine with the server's own port, and those that were allowed."""

    def __init__(self, own: Sequence[str], port: int, allowed: Sequence[str]) -> None:
        self._own, self._port = {name.strip("[]").lower() for name in own}, port
        self._allowed = {name.lower() for name in allowed}

    def allow(self, host: str, reached: str) -> bool:
        """Say whether a Host header names this server; `reached` is the address at which the connection came in, empty for a socket's file.

        A page of a foreign site can make a browser ask for a name of its own that points here, but never for an address
        that is not its own: so the address that was reached is always a good one.
        """
        match = _NAMED.fullmatch(host)
        if match is None:
            return False
        name, port = match[1].strip("[]").lower(), match[2]
        if name in self._allowed or host.lower() in self._allowed or f"[{name}]" in self._allowed:
            return True
        if self._port == 0:  # a socket's file
            return name == "localhost"
        mine = name in self._own or (is_address(name) and name == reached.lower())
        return mine and int(port or 80) == self._port

    def allow_origin(self, origin: str, reached: str) -> bool:
        """Say whether a page of this origin may ask: only one that came from this server."""
        scheme, _, rest = origin.partition("://")
        return scheme in ("http", "https") and self.allow(rest, reached)


def unwrapped(text: str) -> str:
    """Return an address in its plain form: without a zone, and IPv4 where it is only dressed as IPv6; empty if it is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)


class Proxies:
    """The proxies whose word about a client's address is taken."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def trust(self, address: str) -> bool:
        """Say whether an address is a proxy's."""
        if not address:
            return False
        found = ipaddress.ip_address(address)
        return any(found.version == network.version and found in network for network in self._networks)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return whose request it is: the peer, or what the nearest trusted proxy says; empty if that is no address.

        `forwarded` are the X-Forwarded-For headers. Each hop adds itself on the right, so that only what stands right of the first
        hop that is not ours was written by a proxy of ours, and it wrote that hop.
        """
        address = unwrapped(peer)
        if not self.trust(address):
            return address
        for hop in reversed([part.strip() for line in forwarded for part in line.split(",")]):
            with_port = re.fullmatch(r"\[(.+)\](?::[0-9]+)?|([0-9.]+):[0-9]+", hop)
            address = unwrapped((with_port[1] or with_port[2]) if with_port else hop)
            if not self.trust(address):
                return address
        return address


def source(address: str) -> str:
    """Return what failures are counted by: an IPv4 address, or the network of an IPv6 one, whose owner has 2^64 of them."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False))


@dataclass(frozen=True, slots=True)
class Count:
    """What is left after one more."""

    limit: int
    remaining: int
    reset: int  # seconds until there is room for one more, or until the window is over
    over: bool


class Window:
    """Counts by name over a sliding minute: what came in this one, and the part of the last one that is not yet a minute ago.

    Bounded: where too many names are counted, the one that was longest quiet goes first.
    """

    def __init__(self, limit: int, most: int = KNOWN, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._most, self._clock = limit, most, clock
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()  # name -> (which minute, in it, in the one before)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, name: str) -> Count:
        """Count one more, unless the limit is reached, and return how it stands."""
        now = self._clock()
        minute = int(now / _MINUTE)
        passed = now / _MINUTE - minute
        with self._lock:
            which, here, before = self._counts.pop(name, (minute, 0, 0))
            if which != minute:
                here, before = 0, here if which == minute - 1 else 0
            used = here + before * (1 - passed)
            over = used + 1 > self._limit
            self._counts[name] = (minute, here if over else here + 1, before)
            while len(self._counts) > self._most:
                self._counts.popitem(last=False)
        remaining = 0 if over else int(self._limit - used - 1)
        # until enough of the last minute is a minute ago; all that came in this one is so only after the next
        enough = 1 - (self._limit - 1 - here) / before if before and here < self._limit else 1.0
        wait = (enough - passed) * _MINUTE if over else (1 - passed) * _MINUTE
        return Count(self._limit, remaining, max(1, int(wait + 1)), over)

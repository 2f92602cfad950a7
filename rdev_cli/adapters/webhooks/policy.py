"""Where a webhook may be sent: the rule for an address, the rule for a URL, and nothing that was not checked."""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rdev_cli.adapters.shared.bounded import within
from rdev_cli.domain.errors import Cancelled, Denied, Invalid, RdevError, Unavailable
from rdev_cli.domain.values import shown
from rdev_cli.ports.timing import FAST_LOOKUP, Stop

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]

PORTS = (443, 4443, 8443, 9443)
URL_MAX = 2000  # characters

# What no public endpoint has, though `is_global` of some Python says otherwise: shared, protocol and documentation ranges, benchmarks, 6to4
# relays, multicast. A cluster's own ranges are private ones.
_NEVER_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
# Of IPv6 only what is given out for the internet, and in that neither Teredo and its neighbours, 6to4, documentation nor SRv6. All that holds
# an IPv4 address inside (mapped, compatible, NAT64, 6to4, Teredo) is thereby refused, whichever it is.
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NEVER_6 = tuple(ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))

_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,253})(?::([1-9][0-9]{0,4}))?(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# names that mean something on this machine, in this network or in this cluster, whatever they resolve to
_INNER = (
    "localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private", "svc", "test", "invalid", "example", "onion",
    "home.arpa",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart once: what is looked up, connected to and said to the other side is this, and no other reading of the text."""

    scheme: str
    host: str  # a name, or an address without brackets
    port: int
    path: str  # with the query

    @property
    def literal(self) -> Address | None:
        """The address, if the host is one."""
        return _literal(self.host)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def closed(address: Address) -> bool:
    """Say whether nothing is ever sent to this address, unless somebody allowed it by name."""
    if (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
    ):
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _NEVER_4)
    return address.scope_id is not None or address not in _PUBLIC_6 or any(address in network for network in _NEVER_6)


def parsed(url: str) -> Target:
    """Return a URL's parts, or raise Invalid: lower case ASCII, a strict host, no user, no fragment, nothing that two parsers read in two ways."""
    match = _URL.fullmatch(url) if len(url) <= URL_MAX else None
    if match is None:
        raise _bad(url, "write https://HOST/PATH: lower-case host, no user, no fragment, everything else percent-encoded")
    scheme, host, port, path, query = match.groups()
    host = host.strip("[]")
    if _literal(host) is None:
        labels = host.split(".")
        if ":" in host or not all(_LABEL.fullmatch(label) for label in labels) or not re.search("[a-z]", labels[-1]):
            raise _bad(url, "name the host in full, or by an address as it is usually written: hooks.example.com, 203.0.113.7")
        if labels[-1].startswith("0x"):
            raise _bad(url, "an address is four numbers with dots between")
    elif str(_literal(host)) != host or (":" in host) is not ("[" in url):
        raise _bad(url, f"write the address as it is usually written: {_literal(host)}, IPv6 in brackets")
    number = int(port) if port else 443 if scheme == "https" else 80
    if number > 65535:
        raise _bad(url, "a port is at most 65535")
    return Target(scheme, host, number, (path or "/") + (query or ""))


def _bad(url: str, hint: str) -> Invalid:
    return Invalid(f"'{shown(url)}' is no URL of a webhook", hint=hint, field="url", code="WEBHOOK_URL")


def system_addresses(host: str, port: int) -> Sequence[str]:
    """Ask the system for all addresses of a name."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Policy:
    """The rule with what an operator let through; `resolve` is the only way to an address."""

    def __init__(self, allowed: Sequence[Network] = (), *, resolve: Resolve = system_addresses) -> None:
        self._allowed, self._resolve = allowed, resolve

    def addresses(self, target: Target, stop: Stop) -> Sequence[str]:
        """Return what may be connected to, in the order of the system; Denied if any address of the name is closed, Unavailable if it has none."""
        literal = target.literal
        if literal is None and not self._allowed and _inner(target.host):
            raise _denied(target, "it is a name of this machine, its network or its cluster")
        found = [literal] if literal is not None else self._looked_up(target, stop)
        if all(self._let(address) for address in found):
            return [str(address) for address in found]
        if literal is None and _inner(target.host):
            raise _denied(target, "it is a name of this machine, its network or its cluster")
        if any(closed(address) and not self._let(address) for address in found):
            raise _denied(target, "it leads to an address that is not public")
        if target.scheme != "https":
            raise _denied(target, "a message goes out by https only")
        if target.port not in PORTS:
            raise _denied(target, f"port {target.port} is not one of {', '.join(map(str, PORTS))}")
        return [str(address) for address in found]

    def _let(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._allowed)

    def _looked_up(self, target: Target, stop: Stop) -> Sequence[Address]:
        try:
            texts = within(FAST_LOOKUP, partial(self._resolve, target.host, target.port), what="the name service", stop=stop)
            found = [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]
        except Cancelled:
            raise
        except (RdevError, ValueError) as e:
            raise _unknown(target) from e
        if not found:
            raise _unknown(target)
        return found


def _inner(host: str) -> bool:
    return "." not in host or any(host.endswith(f".{name}") for name in _INNER)


def _denied(target: Target, why: str) -> Denied:
    return Denied(
        f"nothing is sent to {target.host}: {why}",
        hint="use a public endpoint; whoever runs rdev can allow addresses by CIDR: RDEV_WEBHOOK_ALLOW=10.1.0.0/16",
        code="ADDRESS_NOT_ALLOWED",
        host=target.host,
        port=target.port,
    )


def _unknown(target: Target) -> Unavailable:
    return Unavailable(
        f"the name {target.host} cannot be looked up", hint="check the name, and that it is public", code="HOST_UNKNOWN", host=target.host
    )


def networks(text: str) -> Sequence[Network]:
    """Return the networks that RDEV_WEBHOOK_ALLOW names, with commas or blanks between; Invalid for what is none."""
    found: list[Network] = []
    for word in re.split(r"[,\s]+", text.strip()):
        try:
            if word:
                found.append(ipaddress.ip_network(word))
        except ValueError as e:
            raise Invalid(
                f"RDEV_WEBHOOK_ALLOW: '{shown(word)}' is no network",
                hint="write networks with commas between: 10.1.0.0/16,127.0.0.0/8",
                field="RDEV_WEBHOOK_ALLOW",
            ) from e
    return found

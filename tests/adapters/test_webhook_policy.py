"""Where a webhook may be sent: a thousand spellings of what is closed, and names that resolve to it. T-WH-1, T-WH-2."""

import ipaddress
import itertools
import random
import socket
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from rdev_cli.adapters.webhooks.policy import Policy, closed, networks, parsed, system_addresses
from rdev_cli.adapters.webhooks.sender import HttpSender
from rdev_cli.domain.errors import Denied, Invalid, RdevError, Unavailable
from rdev_cli.domain.values import Secret
from rdev_cli.ports.timing import Stop

SECRET = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
PUBLIC = "93.184.215.14"
CLOSED_4 = (
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.42.0.1", "10.43.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "192.0.0.1", "192.0.0.8", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
CLOSED_6 = (
    "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff00::1", "ff02::1", "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "3fff::1", "5f00::1", "4000::1", "::ffff:7f00:1", "::7f00:1",
)  # fmt: skip


def spelled(text: str) -> Iterator[str]:
    """Yield an IPv4 address as people and parsers have written it, and as IPv6 addresses carry it."""
    a, b, c, d = parts = [int(part) for part in text.split(".")]
    number = int(ipaddress.IPv4Address(text))
    yield from (
        text,
        f"{text}.",
        str(number),
        hex(number),
        f"0{number:o}",
        f"0X{number:X}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{c << 8 | d}",
    )
    yield from (".".join(map(hex, parts)), ".".join(f"0{part:o}" for part in parts), ".".join(f"{part:03d}" for part in parts))
    yield from (
        f"{hex(a)}.{b}.0{c:o}.{d}",
        "".join(chr(ord(sign) + 0xFEE0) if sign.isdigit() else sign for sign in text),
        text.replace(".", "\u3002"),
    )
    high, low = f"{a << 8 | b:x}", f"{c << 8 | d:x}"
    for inside in (
        f"::ffff:{text}",
        f"::ffff:{high}:{low}",
        f"::{high}:{low}",
        f"64:ff9b::{high}:{low}",
        f"2002:{high}:{low}::1",
        f"::ffff:0:{high}:{low}",
    ):
        yield f"[{inside}]"
    yield f"[2001:0:{high}:{low}:0:ffff:{~(a << 8 | b) & 0xFFFF:x}:{~(c << 8 | d) & 0xFFFF:x}]"


def urls() -> Sequence[str]:
    """Every spelling, in every dress."""
    hosts = [spelling for text in CLOSED_4 for spelling in spelled(text)] + [f"[{text}]" for text in CLOSED_6]
    hosts += [f"[{text}%25lo]" for text in CLOSED_6] + [f"[{ipaddress.IPv6Address(text).exploded}]" for text in CLOSED_6]
    hosts += [
        "localhost", "LOCALHOST", "localhost.", "a.localhost", "metadata", "metadata.google.internal", "kubernetes", "kubernetes.default.svc",
        "api.shop.svc.cluster.local", "printer.local", "router.lan", "db.internal", "127.1", "0", "0x7f.1", "017700000001", "127.0.0.1.localdomain",
        "", ".", "..", "-", "a..b", "a_b.example.com", "exa mple.com", "ex%61mple.com", "example.com%00.evil", "bücher.example", "\uff45xample.com", "example.com\\@evil",
        "1.1.1.1@127.0.0.1", "user:pass@example.com", "@127.0.0.1", "example.com@", "example.com#@127.0.0.1", "127.0.0.1#example.com", "[::1", "::1", "[]", "[1.1.1.1]",
    ]  # fmt: skip
    found = [f"https://{host}/" for host in hosts] + [f"http://{host}" for host in hosts]
    found += [
        f"https://{PUBLIC}:{port}/"
        for port in (0, 21, 22, 25, 80, 2375, 2379, 3306, 5432, 6379, 6443, 8080, 9200, 10250, 11211, 65536, 99999)
    ]
    found += [
        f"{scheme}://{PUBLIC}/"
        for scheme in ("http", "ftp", "file", "gopher", "dict", "ws", "wss", "ldap", "jar", "HTTPS", "https+http", "javascript", "data")
    ]
    found += [
        f"https:/{PUBLIC}/",
        f"https:{PUBLIC}",
        f"//{PUBLIC}/",
        f"https://{PUBLIC}/#f",
        f"https://{PUBLIC}/a b",
        f"https://{PUBLIC}/\r\nX: y",
        f"https:\\\\{PUBLIC}\\",
    ]
    found += [
        f" https://{PUBLIC}/",
        f"https://{PUBLIC}/ ",
        f"https://{PUBLIC}\t/",
        f"https://{PUBLIC}:/",
        f"https://{PUBLIC}:0443/",
        f"https://{PUBLIC}:+443/",
        "",
        "https://",
        "x" * 5000,
    ]
    return found


URLS = urls()


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every connection that anybody begins; it is refused there."""
    seen: list[Any] = []
    open_ = [True]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect" and open_[0]:
            seen.append(args[1])
            raise OSError("not in this test")

    sys.addaudithook(hook)
    yield seen
    open_[0] = False


def lying(host: str, port: int) -> Sequence[str]:
    """Resolve as the system does what is an address in some spelling, and everything else to a public address."""
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)]
    except OSError:
        return [PUBLIC]


def test_t_wh_1_a_thousand_spellings_of_what_is_closed_are_refused_when_asked_for_and_when_sent_to(touched: list[Any]) -> None:
    assert len(set(URLS)) >= 1000
    policy = Policy(resolve=lying)
    sender = HttpSender(policy)
    let = []
    for url in URLS:
        try:
            policy.addresses(parsed(url), Stop())
            let.append(url)
        except RdevError as refused:
            assert refused.code in ("WEBHOOK_URL", "ADDRESS_NOT_ALLOWED"), url  # noqa: PT017
            assert refused.message.isprintable()  # noqa: PT017
        outcome = sender.send(url, id="dlv_1", body="{}", secrets=[SECRET], at=datetime.now(UTC), stop=Stop())
        assert outcome.status is None
        assert outcome.error
    assert let == []
    assert touched == []
    # the eye is open: what is public would be connected to
    sender.send(f"https://{PUBLIC}/", id="dlv_1", body="{}", secrets=[SECRET], at=datetime.now(UTC), stop=Stop())
    assert touched == [(PUBLIC, 443)]


def test_t_wh_1_an_address_is_open_only_where_the_internet_is() -> None:
    for text in (*CLOSED_4, *CLOSED_6):
        assert closed(ipaddress.ip_address(text)), text
    for text in (PUBLIC, "1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001:82f::200e"):
        assert not closed(ipaddress.ip_address(text)), text
    some = random.Random(7)
    for _ in range(2000):
        inside = some.getrandbits(32)
        for carrier in (
            (0xFFFF << 32) | inside,
            inside,
            (0x64FF9B << 96) | inside,
            (0x2002 << 112) | (inside << 80),
            (0x20010000 << 96) | inside,
        ):
            assert closed(ipaddress.IPv6Address(carrier)), ipaddress.IPv6Address(carrier)


def test_t_wh_1_good_urls_are_taken_apart_as_they_are_written() -> None:
    one = parsed("https://hooks.example.com:8443/a/b%20c?d=e&f")
    assert (one.scheme, one.host, one.port, one.path) == ("https", "hooks.example.com", 8443, "/a/b%20c?d=e&f")
    assert (parsed("https://[2606:4700:4700::1111]").host, parsed("https://xn--bcher-kva.example.com/").port) == (
        "2606:4700:4700::1111",
        443,
    )


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"], [PUBLIC, "127.0.0.1"], [PUBLIC, "::1"], ["2606:4700:4700::1111", "10.0.0.1"], [*[PUBLIC] * 99, "169.254.169.254"],
        ["fe80::1%eth0"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"],
    ],
)  # fmt: skip
def test_t_wh_2_a_name_with_one_closed_address_is_refused_whole(answer: list[str], touched: list[Any]) -> None:
    policy = Policy(resolve=lambda host, port: answer)
    with pytest.raises(Denied):
        policy.addresses(parsed("https://hooks.example.com/"), Stop())
    outcome = HttpSender(policy).send(
        "https://hooks.example.com/", id="dlv_1", body="{}", secrets=[SECRET], at=datetime.now(UTC), stop=Stop()
    )
    assert "not public" in outcome.error
    assert touched == []


def test_t_wh_2_a_name_that_answers_otherwise_the_second_time_is_asked_once_and_only_what_was_checked_is_connected_to(
    touched: list[Any],
) -> None:
    answers = itertools.chain([[PUBLIC, "1.1.1.1"]], itertools.repeat(["127.0.0.1"]))
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    HttpSender(Policy(resolve=resolve)).send(
        "https://hooks.example.com/", id="dlv_1", body="{}", secrets=[SECRET], at=datetime.now(UTC), stop=Stop()
    )
    assert asked == ["hooks.example.com"]
    assert touched == [(PUBLIC, 443), ("1.1.1.1", 443)]


def test_a_name_that_nobody_knows_is_unavailable() -> None:
    def resolve(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "unknown")

    for answer in (resolve, lambda host, port: []):
        with pytest.raises(Unavailable) as refused:
            Policy(resolve=answer).addresses(parsed("https://hooks.example.com/"), Stop())
        assert refused.value.code == "HOST_UNKNOWN"


def test_what_the_operator_names_is_let_through_on_any_port_and_nothing_beside_it() -> None:
    policy = Policy(networks("127.0.0.0/8, fd00::/64"), resolve=system_addresses)
    assert list(policy.addresses(parsed("http://127.0.0.1:9/"), Stop())) == ["127.0.0.1"]
    assert list(policy.addresses(parsed("http://[fd00::7]:9/"), Stop())) == ["fd00::7"]
    for url in ("http://10.0.0.1/", f"http://{PUBLIC}/", "https://[::1]/", "https://[fd00:1::1]/"):
        with pytest.raises(Denied):
            policy.addresses(parsed(url), Stop())
    mixed = Policy(networks("10.0.0.0/8"), resolve=lambda host, port: ["10.0.0.1", "127.0.0.1"])
    with pytest.raises(Denied):
        mixed.addresses(parsed("https://hooks.example.com/"), Stop())
    inner = Policy(networks("10.0.0.0/8"), resolve=lambda host, port: ["10.0.0.1"])
    assert list(inner.addresses(parsed("http://receiver.shop.svc.cluster.local:8080/"), Stop())) == ["10.0.0.1"]


def test_a_network_that_is_none_is_refused() -> None:
    for text in ("10.0.0.1/8", "all", "0.0.0.0/33"):
        with pytest.raises(Invalid, match="RDEV_WEBHOOK_ALLOW"):
            networks(text)

"""Who is asked for, who asks, and how much: the tables. T-REB-1, T-IP-1, T-IP-2, T-KEY-6."""

import pytest

from rdev_cli.domain.errors import Invalid
from rdev_cli.faces.http.limits import Hosts, Proxies, Window, source, unwrapped
from rdev_cli.wiring.serving import ServeSpec, proxies, rate, size

HOSTS = Hosts(("localhost", "127.0.0.1", "::1"), 8080, ("rdev.example.org", "other.example.org:8443", "2001:db8::7"))


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:8080", True), ("LOCALHOST:8080", True), ("127.0.0.1:8080", True), ("[::1]:8080", True), ("10.1.2.3:8080", True),
        ("rdev.example.org", True), ("RDEV.example.org:443", True), ("other.example.org:8443", True), ("[2001:db8::7]:9", True),
        ("localhost", False), ("127.0.0.1", False), ("localhost:80", False), ("localhost:0", False), ("localhost:8081", False), ("localhost.:8080", False),
        ("evil.com", False), ("evil.com:8080", False), ("127.0.0.1.evil.com:8080", False), ("localhost.evil.com:8080", False), ("10.1.2.4:8080", False),
        ("other.example.org", False), ("other.example.org:8444", False), ("127.1:8080", False), ("0.0.0.0:8080", False), ("2130706433:8080", False),
        ("user@localhost:8080", False), ("localhost:8080@evil.com", False), ("localhost:8080/admin?", False), ("localhost:8080#", False),
        ("", False), (" ", False), (":8080", False), ("localhost:", False), ("localhost:8080,evil.com", False), ("localhost:\uff18\uff10\uff18\uff10", False),
        ("[::1%25eth0]:8080", False), ("[::1]8080", False), ("rdev.example.org.", False), ("x.rdev.example.org", False), ("\x00", False), ("-:8080", False),
    ],
)  # fmt: skip
def test_t_reb_1_a_host_is_the_servers_own_with_its_port_or_one_that_was_allowed(host: str, known: bool) -> None:
    assert HOSTS.allow(host, "10.1.2.3") is known


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("http://localhost:8080", True), ("https://rdev.example.org", True), ("http://evil.com", False), ("null", False), ("", False),
        ("file://", False), ("http://localhost:8080.evil.com", False), ("chrome-extension://localhost:8080", False), ("localhost:8080", False),
    ],
)  # fmt: skip
def test_t_reb_1_a_page_may_ask_only_where_it_came_from(origin: str, own: bool) -> None:
    assert HOSTS.allow_origin(origin, "127.0.0.1") is own


def test_a_sockets_file_is_localhost_and_what_was_allowed() -> None:
    hosts = Hosts(("localhost",), 0, ("rdev.example.org",))
    assert [hosts.allow(host, "") for host in ("localhost", "localhost:99", "rdev.example.org", "evil.com", "127.0.0.1")] == [
        True, True, True, False, False,
    ]  # fmt: skip


TRUSTED = Proxies(proxies(["10.0.0.0/8", "fd00::/8", "192.0.2.7"]))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", ["10.0.0.1"], "203.0.113.5"),  # not from a proxy: whatever it says of itself is nothing
        ("203.0.113.5", [], "203.0.113.5"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.5, 10.9.9.9"], "203.0.113.5"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.5"], "203.0.113.5"),
        ("fd00::1%eth0", ["2001:db8::1"], "2001:db8::1"),
        ("192.0.2.7", ["203.0.113.5:4711"], "203.0.113.5"),
        ("192.0.2.7", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("192.0.2.8", ["203.0.113.5"], "192.0.2.8"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # nobody but proxies
        ("10.0.0.1", ["garbage, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5, garbage"], ""),  # the proxy itself cannot say: no address, which no key's networks hold
        ("10.0.0.1", ["unknown"], ""),
        ("10.0.0.1", [""], ""),
        ("", ["203.0.113.5"], ""),  # a socket's file
    ],
)
def test_t_ip_1_a_client_is_its_peer_or_what_the_nearest_trusted_proxy_says(peer: str, forwarded: list[str], client: str) -> None:
    assert TRUSTED.client(peer, forwarded) == client


@pytest.mark.parametrize(
    ("given", "holds", "not_"),
    [
        ("10.0.0.1/32", "10.0.0.1", "10.0.0.2"),
        ("::1/128", "::1", "::2"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.0.0.1", "11.0.0.1"),
    ],
)
def test_t_ip_2_a_network_holds_an_address_in_each_of_its_spellings(given: str, holds: str, not_: str) -> None:
    one = Proxies(proxies([given]))
    assert (one.trust(unwrapped(holds)), one.trust(unwrapped(not_))) == (True, False)


@pytest.mark.parametrize("given", ["*", "", "0.0.0.0/0", "::/0", "10.0.0.1/8", "10.0.0.0/33", "proxy", "10.0.0.0/8,10.1.0.0/16"])
def test_t_ip_2_what_is_no_network_or_everybody_is_no_proxy(given: str) -> None:
    with pytest.raises(Invalid) as e:
        proxies([given])
    assert e.value.context["field"] == "trusted-proxy"


class Time:
    now = 600.0

    def __call__(self) -> float:
        return self.now


def test_a_window_slides_and_says_when_there_is_room_again() -> None:
    clock = Time()
    window = Window(10, clock=clock)
    counts = [window.add("a") for _ in range(11)]
    assert [count.over for count in counts] == [False] * 10 + [True]
    assert [count.remaining for count in counts] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert not window.add("b").over
    clock.now += counts[-1].reset - 2
    assert window.add("a").over
    clock.now += 60 + 6  # nine tenths of what came in the last minute are not a minute ago
    assert not window.add("a").over
    clock.now += 120
    assert window.add("a").remaining == 9


def test_a_window_never_lets_through_more_than_its_limit_and_a_half_in_any_minute() -> None:
    clock, let = Time(), list[float]()
    window = Window(60, clock=clock)
    for _ in range(3000):
        clock.now += 0.1
        if not window.add("a").over:
            let.append(clock.now)
    assert max(sum(start <= at < start + 60 for at in let) for start in let) <= 90
    assert len(let) >= 290  # and in five minutes close to five times as much


def test_t_key_6_a_million_sources_are_counted_in_bounded_memory() -> None:
    window = Window(60, most=20_000)
    for number in range(1_000_000):
        window.add(f"from {number}")
    assert len(window) == 20_000


def test_t_key_6_whoever_owns_a_network_is_one_source() -> None:
    assert source("2001:db8:1:2:3::4") == source("2001:db8:1:2:ffff::") == "2001:db8:1:2::/64"
    assert source("203.0.113.5") == "203.0.113.5"


@pytest.mark.parametrize(("text", "count"), [("4096", 4096), ("512Ki", 512 << 10), ("10Mi", 10 << 20)])
def test_a_size_is_bytes_ki_or_mi(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "1K", "1 Mi", "1e6", "1Gi", "99999Mi", "१"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        size(text)


@pytest.mark.parametrize("text", ["", "0/min", "60", "60/s", "-1/min", "1.5/min", "99999999/min"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        rate(text)
    assert rate("600/min") == 600


@pytest.mark.parametrize(
    "given", [{"host": ""}, {"host": "a b"}, {"allow_hosts": ("x/y",)}, {"allow_hosts": ("a:0",)}, {"unix": "here.sock"}]
)
def test_a_place_that_is_none_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        ServeSpec(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("host", "public"), [("127.0.0.1", False), ("127.9.9.9", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("::", True), ("10.0.0.1", True), ("box", True)])  # fmt: skip
def test_all_but_the_loopback_is_public(host: str, public: bool) -> None:
    assert ServeSpec(host=host).public is public

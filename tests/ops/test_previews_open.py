"""Opening and closing ports of sessions: one address for each, told to nobody who did not ask, and nothing left that leads to it."""

import re

import pytest

from rdev_cli.domain.access import Scope, local
from rdev_cli.domain.errors import Conflict, Invalid, NotFound, RdevError, Unavailable
from rdev_cli.domain.preview import Preview, PreviewState, addressed, label, port
from rdev_cli.domain.session import SessionSpec
from rdev_cli.ops import previews, sessions
from tests.fakes.world import MemoryWorld

pytestmark = pytest.mark.state
DOMAIN = "https://preview.example.org"


@pytest.fixture
def session(world: MemoryWorld) -> str:
    return str(sessions.start(world, SessionSpec(project="shop")).id)


def _told(world: MemoryWorld, session: str) -> list[tuple[str, object]]:
    return [(e.kind, e.data["port"]) for e in world.store.events(after=0, subject=session) if e.kind.startswith("preview.")]


def test_a_label_holds_130_bits_and_is_one_of_the_dns():
    assert label(b"\0" * 17) == "0" * 26
    assert len({label(bytes([n]) * 17) for n in range(256)}) == 256
    assert re.fullmatch("[0-9a-z]{26}", label(b"\xff" * 17))
    for bit in range(130):  # each one of them shows
        assert label((1 << bit).to_bytes(17)) != "0" * 26


def test_an_address_is_under_the_server_or_the_domain():
    assert addressed("x", "") == "http://x.localhost:8080/"
    assert addressed("x", "https://preview.example.org") == "https://x.preview.example.org/"


@pytest.mark.parametrize("text", ["02280", "+80", "80 ", "0x50", "-", "", "0", "65536", "٣٠٠٠", "1e3", "3_0"])
def test_t_pv_1_a_port_is_written_as_one_writes_it(text):
    with pytest.raises(Invalid):
        port(text)


def test_the_same_port_has_the_same_address_until_it_is_closed(world, session):
    one = previews.open_(world, session, 3000)
    assert previews.open_(world, session, 3000) == one
    moved = previews.open_(world, session, 3000, base="http://localhost:9")
    assert (moved.id, moved.host) == (one.id, one.host)
    assert previews.list_(world, session) == [moved]
    closed = previews.close(world, session, 3000)
    assert closed.state is PreviewState.CLOSED
    assert previews.close(world, session, 3000) == closed
    assert previews.list_(world, session) == []
    assert previews.found(world, one.id) is None
    assert previews.open_(world, session, 3000).id != one.id
    assert _told(world, session) == [("preview.opened", 3000), ("preview.closed", 3000), ("preview.opened", 3000)]


def test_no_line_of_the_journal_holds_an_address(world, session):
    one = previews.open_(world, session, 3000)
    previews.close(world, session, 3000)
    assert not any(one.id in str(event.data) or one.id in event.subject for event in world.store.events(after=0))


def test_a_port_that_never_was_open_cannot_be_closed(world, session):
    with pytest.raises(NotFound):
        previews.close(world, session, 3000)
    for wrong in (0, 65536):
        with pytest.raises(Invalid):
            previews.open_(world, session, wrong)


def test_ports_of_a_session_are_bounded(world, session):
    for number in range(previews.MOST):
        previews.open_(world, session, 3000 + number)
    with pytest.raises(Conflict) as refused:
        previews.open_(world, session, 2999)
    assert refused.value.code == "TOO_MANY"
    assert previews.open_(world, session, 3000)


def test_a_session_that_takes_no_work_opens_nothing_and_its_end_closes_all(world, session):
    one, other = (previews.open_(world, session, number) for number in (3000, 3001))
    sessions.end(world, session)
    assert all(world.store.find(Preview, each.id).state is PreviewState.CLOSED for each in (one, other))
    assert previews.found(world, one.id) is None
    with pytest.raises(Conflict):
        previews.open_(world, session, 3000)
    with pytest.raises(Conflict):
        previews.reach(world, session, 3000, timeout=1)


def test_a_place_whose_pods_have_no_way_in_says_so(world):
    from rdev_cli.domain.project import ProjectSpec
    from rdev_cli.ops import projects

    projects.create(world, ProjectSpec(name="alone", network=False))
    found = sessions.start(world, SessionSpec(project="alone"))
    assert previews.open_(world, found.id, 3000)  # in a cluster there is one
    world.cluster.here = True
    with pytest.raises(Conflict) as refused:
        previews.open_(world, found.id, 3001)
    assert refused.value.code == "NO_NETWORK"


def test_of_another_tenants_sessions_nothing_is_seen(world, session):
    one = previews.open_(world, session, 3000)
    grant = local("key:other")
    other = world.acting(type(grant)(actor="key:other", scopes=frozenset(Scope), projects=frozenset({"another"})))
    for call in (
        lambda: previews.open_(other, session, 3000),
        lambda: previews.close(other, session, 3000),
        lambda: previews.list_(other, session),
    ):
        with pytest.raises(NotFound):
            call()
    assert previews.list_(other) == []
    assert previews.found(other, one.id) is None


# under a domain


def test_under_a_domain_a_host_is_led_here_and_no_more_at_the_end(world, session):
    one = previews.open_(world, session, 3000, base=DOMAIN)
    other = previews.open_(world, session, 3001, base=DOMAIN)
    assert set(world.cluster.exposed) == {one.host, other.host}
    previews.close(world, session, 3000)
    assert set(world.cluster.exposed) == {other.host}
    sessions.end(world, session)
    assert not world.cluster.exposed


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_host_that_cannot_be_led_here_is_not_open(world, session, when):
    world.cluster.trouble.add(f"expose:{when}")
    with pytest.raises(Unavailable):
        previews.open_(world, session, 3000, base=DOMAIN)
    assert previews.list_(world, session) == []
    world.cluster.trouble.clear()
    sessions.end(world, session)
    assert not world.cluster.exposed


def test_t_pv_6_what_could_not_be_taken_away_is_tried_again_and_leads_nowhere_meanwhile(world, session):
    one = previews.open_(world, session, 3000, base=DOMAIN)
    world.cluster.trouble.add("conceal:before")
    with pytest.raises(RdevError):
        previews.close(world, session, 3000)
    assert previews.found(world, one.id) is None
    with pytest.raises(RdevError):
        sessions.end(world, session)
    assert world.cluster.exposed
    world.cluster.trouble.clear()
    sessions.end(world, session)
    assert not world.cluster.exposed

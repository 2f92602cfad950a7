"""The page: who is let in and how they leave, what each key sees of it, and that nothing foreign ever becomes a part of it."""

import contextlib
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from rdev_cli.domain.access import KeySpec, Scope
from rdev_cli.domain.command import Command, CommandKind, CommandState
from rdev_cli.domain.errors import Unavailable
from rdev_cli.domain.preview import Preview
from rdev_cli.domain.review import CheckRun, Finding, Receipt, Severity, Verdict
from rdev_cli.domain.session import Session, SessionState
from rdev_cli.domain.values import clean
from rdev_cli.faces.http import page, rendering, signing_in, sittings
from rdev_cli.faces.http.app import create_app
from rdev_cli.faces.http.face import Guarded
from rdev_cli.ops import commands, keys
from rdev_cli.wiring.services import Services
from rdev_cli.wiring.serving import Standing
from tests.conftest import Rdev, Spawn
from tests.support.markup import Document
from tests.support.serving import ADMIN
from tests.support.serving import Server as Serve
from tests.support.serving import start as serve
from tests.support.wire import Answer, Wire

pytestmark = pytest.mark.state

OWN = ("origin", "http://testserver")
EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>\x1b[31m</code></pre></bdi>\u202e&amp;{{ 7*7 }}'
ENDING = "0" * 12
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Clock:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return time.monotonic()


class Browser:
    """A person's browser, as far as cookies go; it follows no redirect."""

    def __init__(self, wire: Wire, peer: str = "127.0.0.1") -> None:
        self._wire, self.peer, self.cookie = wire, peer, ""

    def get(self, target: str, *headers: tuple[str, str]) -> Answer:
        return self._wire.ask("GET", target, [*self._sent(), *headers], peer=self.peer)

    def post(self, target: str, body: str = "", *headers: tuple[str, str]) -> Answer:
        form = ("content-type", "application/x-www-form-urlencoded")
        answer = self._wire.ask("POST", target, [form, *self._sent(), *(headers or (OWN,))], body.encode(), peer=self.peer)
        if match := re.match("rdev_page=([^;]*);", answer.headers.get("set-cookie", "")):
            self.cookie = match[1]
        return answer

    def sign_in(self, key: str) -> "Browser":
        answer = self.post("/ui/login", f"key={key}&to=")
        assert (answer.status, answer.headers["location"]) == (303, "/ui/"), answer.body
        return self

    def read(self, target: str, status: int = 200) -> Document:
        answer = self.get(target)
        assert answer.status == status, (target, answer.headers.get("location"), answer.body)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        found = Document(answer.body.decode())
        assert found.faults == []
        return found

    def _sent(self) -> list[tuple[str, str]]:
        return [("cookie", f"rdev_page={self.cookie}")] if self.cookie else []


class Site(NamedTuple):
    app: Any
    wire: Wire
    clock: Clock
    services: Services

    def browser(self, *scopes: Scope, peer: str = "127.0.0.1", **more: Any) -> Browser:
        """A browser that is signed in with a new key of these scopes; not signed in without any."""
        found = Browser(self.wire, peer)
        return found.sign_in(self.key(*scopes, **more).key) if scopes else found

    def key(self, *scopes: Scope, **more: Any) -> Any:
        return keys.create(self.services, KeySpec(name="mine", scopes=scopes, **more))


@pytest.fixture
def site(services: Services) -> Iterator[Site]:
    clock = Clock()
    vars(services)["clock"] = clock
    standing = [Standing(name="state", at=NOW, well_at=NOW), Standing(name="cluster", code="SILENT", error="words of a provider", at=NOW)]
    loops = [SimpleNamespace(name="jobs", passes=3, failures=1, well_at=NOW.timestamp())]
    app = create_app(
        services, lambda key, address: keys.authenticate(services, key, address=address), more=(page.routes(lambda: standing, loops),)
    )
    made = Site(app, Wire(app), clock, services)
    yield made
    made.wire.close()


def paths(app: Any, **names: str) -> Iterator[tuple[str, Scope | None]]:
    """Each page with its scope; what a path names is what `names` says."""
    for route in app.routes:
        if isinstance(route, rendering.Paged):
            given = {"project": "shop", "command": "cmd_" + "0" * 20, "session": "ses_" + "0" * 20, "receipt": "rcp_" + "0" * 20, **names}
            yield route.path_format.format(**given, rest="nothing"), route.scope


class Full(NamedTuple):
    """One of everything in a project, under names of its own."""

    command: str
    session: str
    receipt: str

    def names(self, project: str) -> dict[str, str]:
        return {"project": project, **self._asdict()}


def fill(services: Services, name: str, text: str, number: int) -> Full:
    """Give a project a running session with a preview, a command, and a receipt, in which all that can be foreign is this text."""
    found = services.store.find_project(name)
    assert found is not None
    ids = Full(*(f"{kind}_{str(number) * 20}" for kind in ("cmd", "ses", "rcp")))
    with services.store.transaction() as tx:
        tx.put_project(replace(found, branch=found.branch, description=re.sub("[\x00-\x1f]", "", text)))
        tx.put(
            Session(
                id=ids.session, project=name, project_id=found.id, state=SessionState.READY, pod="rdev-pod", branch=text, actor=text,
                created_at=NOW, active_at=NOW, rescue=text, ttl_seconds=10_000_000, idle_seconds=9_000_000,
            )
        )  # fmt: skip
        for port, url in ((3000, f"http://{'a' * 26}.localhost:8080/"), (3001, "javascript:alert(3)")):
            tx.put(
                Preview(
                    id=str(port % 9) * 25 + str(number), project=name, session=ids.session, port=port, url=url, actor="me", created_at=NOW
                )
            )
        tx.put_command(
            Command(
                id=ids.command, project=name, project_id=found.id, kind=CommandKind.AGENT, argv=("claude", text, "\udcff"),
                state=CommandState.COMPLETED, exit_code=0, actor=text, created_at=NOW, ended_at=NOW, duration_ms=61_000, model=text,
                answer=text, agent="claude", delivered=text, commit="c" * 40, input_tokens=5, stdout_bytes=len(text.encode()),
            )
        )  # fmt: skip
        tx.append("agent.said", ids.command, {"project": name, "text": text})
        tx.append("agent.used", ids.command, {"project": name, "tool": text, "target": text})
        tx.append("agent.answered", ids.command, {"project": name, "text": text, "failed": True})
        tx.put(
            Receipt(
                id=ids.receipt, project=name, project_id=found.id, branch=text, target=text, base="b" * 40, commit="c" * 40, tree="d" * 40,
                diff_sha256="e" * 64, image="local", verdict=Verdict.FAILED, actor=text, created_at=NOW, signer=text,
                checks=(CheckRun(step=text, line=text, command="", exit_code=1, duration_ms=5, stdout_sha256="", stderr_sha256=""),),
                findings=(Finding(severity=Severity.ERROR, source=text, message=text, file=text, line=3),),
            )
        )  # fmt: skip
    out = services.spool.path(ids.command, "out")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(text.encode())
    return ids


# who is let in


def test_a_stranger_is_shown_the_form_and_nothing_else(site: Site, project: str) -> None:
    stranger = site.browser()
    assert stranger.get("/").headers["location"] == "/ui/"
    seen = [stranger.get(path) for path, _ in paths(site.app)]
    assert len(seen) >= 14
    assert {answer.status for answer in seen} == {303}
    assert {answer.body for answer in seen} == {b""}
    assert all(re.fullmatch(r"/ui/login\?to=%2Fui%2F[a-z0-9_%F]*", answer.headers["location"]) for answer in seen)
    form = stranger.read(seen[2].headers["location"])
    assert [one["action"] for one in form.all("form")] == ["/ui/login"]
    assert [one["value"] for one in form.all("input") if one["name"] == "to"] == ["/ui/projects/shop"]
    assert not re.search("context|local|shop", form.text)
    assert form.links == ["#main", "/ui/"]  # and nothing of a name of this machine, as it was not asked for by one
    assert stranger.get("/ui/static/page.css").headers["content-type"] == "text/css; charset=utf-8"


def test_a_key_opens_it_and_the_cookie_says_nothing_of_the_key(site: Site, project: str) -> None:
    key = site.key(Scope.PROJECTS_READ)
    browser = site.browser()
    answer = browser.post("/ui/login", f"key=%20{key.key}%0A&to=/ui/projects/shop")
    assert (answer.status, answer.headers["location"], answer.body) == (303, "/ui/projects/shop", b"")
    assert re.fullmatch(r"rdev_page=[A-Za-z0-9_-]{43}; Path=/ui; HttpOnly; SameSite=Strict", answer.headers["set-cookie"])
    assert key.key[-32:] not in str(answer.headers)
    assert browser.cookie not in str(vars(site.app.state.sittings))
    assert "signed in with the key mine" in browser.read("/ui/projects/shop").text
    assert browser.get("/ui/login").headers["location"] == "/ui/"  # who is in needs no form


def test_by_https_the_cookie_never_goes_by_anything_else(site: Site) -> None:
    answer = site.browser().post("/ui/login", f"key={site.key(Scope.ADMIN).key}", ("origin", "https://testserver"))
    assert answer.headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("key", ["", "x", ADMIN, f"rdev_sk_00000000_{'0' * 32}", "%3Cscript%3Ealert(1)%3C/script%3E", "%FF%00", "a" * 5000])
def test_a_key_that_is_none_is_401_and_never_repeated(site: Site, key: str) -> None:
    browser = site.browser()
    answer = browser.post("/ui/login", f"key={key}&to=/ui/health")
    form = Document(answer.body.decode())
    assert (answer.status, browser.cookie) == (401, "")
    assert "That is no key that opens anything here." in form.text
    assert form.faults == []
    assert "value" not in next(one for one in form.all("input") if one["name"] == "key")
    assert [one["value"] for one in form.all("input") if one["name"] == "to"] == ["/ui/health"]
    assert len(form.all("script")) == 0
    assert not key or len(key) < 2 or key.encode() not in answer.body


def test_a_form_that_is_none_is_refused(site: Site) -> None:
    key = site.key(Scope.ADMIN).key
    answer = site.wire.ask("POST", "/ui/login", [OWN, ("content-type", "application/json")], json.dumps({"key": key}).encode())
    assert answer.status == 400
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "to",
    [
        "//evil.example",
        "https://evil.example/ui/",
        "/ui/../projects",
        "/ui//evil",
        "/ui/\\evil",
        "/ui/@evil",
        "/ui/login",
        "/ui/logout",
        "/uix",
        "/ui/x%0d%0aset-cookie:a=b",
        "javascript:alert(1)",
        "/projects",
    ],
)
def test_nobody_is_led_elsewhere_by_signing_in(site: Site, to: str) -> None:
    where = site.browser().post("/ui/login", f"key={site.key(Scope.ADMIN).key}&to={to}").headers["location"]
    assert where in ("/ui/", "/ui//evil")  # the last is a path of this server, and no other
    assert Document(site.browser().get(f"/ui/login?to={to}").body.decode()).all("input")[2]["value"] in ("/ui/", "/ui//evil")


@pytest.mark.parametrize(
    "headers",
    [
        [], [("origin", "null")], [("origin", "http://evil.example")], [("origin", f"http://{'a' * 26}.testserver")],
        [("origin", "http://testserver:8080")], [OWN, OWN], [("origin", "ftp://testserver")], [OWN, ("sec-fetch-site", "same-site")],
        [OWN, ("sec-fetch-site", "cross-site")], [("referer", "http://testserver/ui/login")],
    ],
)  # fmt: skip
def test_only_a_form_of_the_page_itself_signs_in_or_out(site: Site, headers: list[tuple[str, str]]) -> None:
    key = site.key(Scope.ADMIN).key
    form = [("content-type", "application/x-www-form-urlencoded"), *headers]
    answer = site.wire.ask("POST", "/ui/login", form, f"key={key}".encode())
    assert (answer.status, answer.headers.get("set-cookie")) == (403, None)
    assert b"FOREIGN_ORIGIN" in answer.body
    browser = site.browser(Scope.ADMIN)
    out = site.wire.ask("POST", "/ui/logout", [("cookie", f"rdev_page={browser.cookie}"), *form])
    assert out.status == 403
    assert browser.get("/ui/health").status == 200


def test_signing_out_ends_it_for_every_copy_of_the_cookie(site: Site) -> None:
    browser = site.browser(Scope.ADMIN)
    copied = browser.cookie
    answer = browser.post("/ui/logout")
    assert (answer.status, answer.headers["location"]) == (303, "/ui/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    browser.cookie = copied
    assert browser.get("/ui/health").headers["location"] == "/ui/login?to=%2Fui%2Fhealth"
    assert site.browser().post("/ui/logout").status == 303  # a stranger has nothing to end


def test_the_end_of_a_key_is_the_end_of_what_it_opened(site: Site) -> None:
    key = site.key(Scope.ADMIN)
    browser = site.browser().sign_in(key.key)
    assert browser.get("/ui/health").status == 200
    keys.revoke(site.services, key.id)
    gone = browser.get("/ui/health")
    assert gone.headers["location"] == "/ui/login?to=%2Fui%2Fhealth&why=KEY_REVOKED"
    assert "The key was revoked." in browser.read(gone.headers["location"]).text
    assert browser.get("/ui/health").headers["location"] == "/ui/login?to=%2Fui%2Fhealth"  # and is forgotten
    assert "was revoked" in Document(browser.post("/ui/login", f"key={key.key}").body.decode()).text


def test_a_sitting_ends_after_twelve_hours_and_with_its_key(site: Site) -> None:
    browser, short = site.browser(Scope.ADMIN), site.browser(Scope.ADMIN, expires_seconds=3600)
    assert short.get("/ui/health").status == 200
    site.clock.ahead = timedelta(hours=1, seconds=1)
    assert short.get("/ui/health").headers["location"].endswith("why=KEY_EXPIRED")
    site.clock.ahead = timedelta(hours=11, minutes=59)
    assert browser.get("/ui/health").status == 200
    site.clock.ahead = timedelta(hours=12, seconds=1)
    assert browser.get("/ui/health").status == 303


def test_a_key_for_some_addresses_opens_nothing_elsewhere_and_a_stolen_cookie_ends_nothing(site: Site) -> None:
    browser = site.browser(Scope.ADMIN, cidrs=("10.0.0.0/8",), peer="10.1.2.3")
    assert browser.get("/ui/health").status == 200
    thief = site.browser(peer="192.0.2.1")
    thief.cookie = browser.cookie
    assert (thief.get("/ui/health").status, b"IP_NOT_ALLOWED" in thief.get("/ui/health").body) == (403, True)
    assert browser.get("/ui/health").status == 200
    other = thief.post("/ui/login", f"key={site.key(Scope.ADMIN, cidrs=('10.0.0.0/8',)).key}")
    assert (other.status, "set-cookie" in other.headers) == (403, False)


def test_a_cookie_that_is_not_sent_once_and_whole_is_none(site: Site) -> None:
    good = site.browser(Scope.ADMIN).cookie
    for sent in (
        f"rdev_page={good}; rdev_page={'x' * 43}",
        f"rdev_page={good}x",
        f"RDEV_PAGE={good}",
        f"rdev_page={good[:-1]}",
        "rdev_page=",
    ):
        assert site.browser().get("/ui/health", ("cookie", sent)).status == 303, sent
    assert site.browser().get("/ui/health", ("cookie", f"a=b; rdev_page={good}; c")).status == 200


def test_a_header_with_a_key_signs_nobody_in_and_the_cookie_opens_no_route_of_the_api(site: Site) -> None:
    key = site.key(Scope.ADMIN).key
    for header in (("x-api-key", key), ("authorization", f"Bearer {key}")):
        assert site.browser().get("/ui/health", header).status == 303
    browser = site.browser(Scope.ADMIN)
    asked = 0
    for route in site.app.routes:
        if isinstance(route, Guarded):
            for method in route.methods:
                answer = site.wire.ask(method, route.path, [("cookie", f"rdev_page={browser.cookie}"), OWN])
                assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), (method, route.path)
                asked += 1
    assert asked > 50


def test_there_are_only_so_many_at_a_time_and_the_oldest_goes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sittings, "EACH", 2)
    monkeypatch.setattr(sittings, "MOST", 3)
    key, other = site.key(Scope.ADMIN).key, site.key(Scope.ADMIN).key
    mine = [site.browser().sign_in(key) for _ in range(3)]
    assert [one.get("/ui/health").status for one in mine] == [303, 200, 200]
    theirs = [site.browser().sign_in(other) for _ in range(2)]
    assert [one.get("/ui/health").status for one in (*mine, *theirs)] == [303, 303, 200, 200, 200]


def test_signing_in_again_leaves_one_sitting(site: Site) -> None:
    browser = site.browser(Scope.ADMIN)
    first = browser.cookie
    browser.sign_in(site.key(Scope.ADMIN).key)
    assert browser.cookie != first
    assert browser.get("/ui/health").status == 200
    browser.cookie = first
    assert browser.get("/ui/health").status == 303


# what each key sees


def test_every_page_has_a_scope_of_its_own_and_without_it_is_403(site: Site, project: str) -> None:
    for scope in (Scope.PROJECTS_READ, Scope.SESSIONS_READ, Scope.AUDIT_READ, Scope.BUILDS_READ, Scope.PROJECTS_EXECUTE):
        browser = site.browser(scope)
        for path, needed in paths(site.app):
            if path.endswith(("/events", "/output")) and needed == scope:
                continue  # it would go on
            answer = browser.get(path)
            want = {303, 200, 404} if needed in (None, scope) else {403}
            assert answer.status in want, (scope, path, answer.status)
            if answer.status == 403:
                assert f"this needs the scope {needed}" in Document(answer.body.decode()).text


def test_the_way_from_the_start_leads_to_what_a_key_may_see(site: Site) -> None:
    assert site.browser(Scope.SESSIONS_READ).get("/ui/").headers["location"] == "/ui/sessions"
    assert site.browser(Scope.KEYS_READ).get("/ui/").headers["location"] == "/ui/health"
    menu = [link for link in site.browser(Scope.SESSIONS_READ).read("/ui/sessions").links if link.startswith("/ui/")]
    assert menu == ["/ui/", "/ui/sessions", "/ui/health", "/ui/sessions?all=1"]


def test_a_key_for_one_project_sees_nothing_of_another(site: Site, project: str, rdev: Rdev) -> None:
    assert rdev("project", "create", "other").returncode == 0
    mine, theirs = fill(site.services, "shop", "words of shop", 1), fill(site.services, "other", "words of other", 2)
    scopes = tuple(set(Scope) - {Scope.ADMIN, Scope.AUDIT_READ})
    browser = site.browser(*scopes, projects=("shop",))
    for path in ("/ui/", "/ui/sessions", "/ui/sessions?all=1", "/ui/commands", "/ui/commands?running=1"):
        text = browser.read(path).text
        assert "other" not in text, path
        assert "shop" in text or "running" in path, path
    for path, _ in paths(site.app, **theirs.names("other")):
        if any(name in path for name in theirs.names("other").values()):
            assert browser.get(path).status == 404, path
            assert b"words of other" not in browser.get(path).body
    for path, _ in paths(site.app, **mine.names("shop")):
        if any(name in path for name in mine) and not path.endswith(("/events", "/output")):
            assert "words of shop" in browser.read(path).text, path


def test_only_whole_ids_name_a_thing(site: Site, project: str) -> None:
    made = fill(site.services, "shop", "x", 1)
    browser = site.browser(Scope.ADMIN)
    for path in (
        f"/ui/commands/{made.command[:10]}",
        f"/ui/sessions/{made.session[:10]}",
        f"/ui/receipts/{made.receipt[:10]}",
        "/ui/projects/sho",
    ):
        assert browser.get(path).status == 404, path
    assert browser.get("/ui/projects/%3Cb%3E").status == 422


def test_what_a_session_still_has_is_shown_with_where_it_leads(site: Site, project: str) -> None:
    made = fill(site.services, "shop", "b", 1)
    links = site.browser(Scope.SESSIONS_READ).read(f"/ui/sessions/{made.session}").links
    assert f"http://{'a' * 26}.localhost:8080/" in links
    assert not [link for link in links if link.startswith("javascript")]


def test_health_tells_a_providers_words_to_whoever_may_read_them(site: Site) -> None:
    anybody, auditor = site.browser(Scope.PROJECTS_READ).read("/ui/health").text, site.browser(Scope.AUDIT_READ).read("/ui/health").text
    assert "SILENT" in anybody
    assert "words of a provider" not in anybody
    assert "jobs" not in anybody
    assert "words of a provider" in auditor
    assert "jobs" in auditor
    assert "not ready" in auditor


def test_the_doctor_is_asked_by_an_admin_alone(site: Site) -> None:
    found = site.browser(Scope.ADMIN).read("/ui/doctor")
    assert "journal" in found.text


def test_lists_go_on_where_they_are_long(site: Site, project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "ROWS", 2)
    monkeypatch.setattr(page, "PROJECTS", 1)
    shop = site.services.store.find_project("shop")
    assert shop is not None
    with site.services.store.transaction() as tx:
        tx.put_project(replace(shop, id="prj_x", name="zoo"))
        for n in range(5):
            tx.put_command(
                Command(
                    id=f"cmd_{n:020d}", project="shop", project_id=shop.id, kind=CommandKind.EXEC, argv=("true",), actor="me",
                    state=CommandState.COMPLETED, created_at=NOW,
                )
            )  # fmt: skip
    browser = site.browser(Scope.ADMIN)
    seen, place = [], "/ui/commands"
    for _ in range(3):
        links = browser.read(place).links
        seen += [link.rpartition("_")[2] for link in links if link.startswith("/ui/commands/")]
        place = next((link for link in links if "before=" in link), "")
    assert (seen, place) == ([f"{n:020d}" for n in (4, 3, 2, 1, 0)], "")
    first = browser.read("/ui/")
    assert ("/ui/projects/shop" in first.links, "/ui/projects/zoo" in first.links, "/ui/?after=shop" in first.links) == (True, False, True)
    assert "/ui/projects/zoo" in browser.read("/ui/?after=shop").links
    assert browser.get("/ui/commands?before=%3Cb%3E").status == 200  # what is no place in a list is the beginning


def test_where_a_provider_does_not_answer_the_rest_is_shown_and_said_to_be_old(
    site: Site, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fill(site.services, "shop", "x", 1)

    def silent(*_: object, **__: object) -> Any:
        raise Unavailable("the place <b>does not answer")

    for name in ("list_", "follow", "reconcile"):
        monkeypatch.setattr(commands, name, silent)
    monkeypatch.setattr(type(site.services.forge), "head", silent)
    browser = site.browser(Scope.ADMIN)
    for path in ("/ui/", "/ui/projects/shop", "/ui/commands", f"/ui/commands/{made.command}", f"/ui/sessions/{made.session}"):
        text = browser.read(path).text
        assert text.count("the place <b>does not answer") == 1, path
        assert made.command in text or path == "/ui/" or "sessions" in path, path


def test_looking_changes_nothing(site: Site, project: str) -> None:
    made = fill(site.services, "shop", "x", 1)
    browser = site.browser(Scope.ADMIN)
    before = site.services.store.last_event()
    for path, _ in paths(site.app, **made.names("shop")):
        if not path.endswith(("/events", "/output")):
            browser.get(path)
    assert site.services.store.last_event() == before
    for path, _ in paths(site.app, **made.names("shop")):
        for method in ("POST", "PUT", "PATCH", "DELETE", "HEAD"):
            if (method, path) != ("POST", "/ui/"):
                assert site.wire.ask(method, path, [("cookie", f"rdev_page={browser.cookie}"), OWN]).status == 405, (method, path)


# nothing foreign becomes a part of it


def test_foreign_text_is_never_markup(site: Site, project: str) -> None:
    made = fill(site.services, "shop", EVIL, 1)
    browser = site.browser(Scope.ADMIN)
    seen = 0
    for path, _ in paths(site.app, **made.names("shop")):
        if path.endswith(("/events", "/output", "/doctor", "nothing")):
            continue
        found = browser.read(path)
        seen += found.text.count("<script>alert(2)</script>")
        assert len(found.all("script")) == 1, path
        assert not found.all("img"), path
        assert not [name for _, given in found.elements for name in given if name.startswith("on") or name == "style"], path
        assert "\u202e" not in found.text, path
        assert "\x1b" not in found.text, path
        assert "{{ 7*7 }}" in found.text or path in ("/ui/", "/ui/health"), path
        links = found.links
        assert all(re.match("/ui/|/docs|#|http://a{26}", link) for link in links), links
    assert seen > 15


def test_every_answer_has_its_policy(site: Site, project: str) -> None:
    browser = site.browser(Scope.ADMIN)
    answers = [
        site.browser().get("/"), site.browser().get("/ui/login"), site.browser().get("/ui/health"), browser.get("/ui/"), browser.get("/ui/nothing"),
        browser.get("/ui/projects/none"), browser.get("/ui/static/page.js"), site.browser().post("/ui/login", "key=x"),
        site.browser().post("/ui/logout", "", ("origin", "null")), site.browser().post("/ui/login", f"key={site.key(Scope.ADMIN).key}"),
    ]  # fmt: skip
    for answer in answers:
        policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert "unsafe" not in str(policy)
        assert {policy[name] for name in ("script-src", "style-src", "connect-src", "form-action")} == {"'self'"}
        assert {policy[name] for name in ("base-uri", "frame-ancestors", "trusted-types")} == {"'none'"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert [answer.headers["cache-control"] for answer in answers].count("no-store") == len(answers) - 1


def test_pages_load_nothing_from_elsewhere_and_nothing_is_in_line(site: Site, project: str) -> None:
    for name in rendering.FILES:
        text = rendering.file(name).decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"://|@import|url\(", text), name
    found = site.browser(Scope.ADMIN).read("/ui/")
    loaded = [one.get("src") or one.get("href") for tag in ("script", "link") for one in found.all(tag)]
    assert all(re.fullmatch(r"/ui/static/[a-z.]+\?v=[0-9a-f]{12}", place or "") for place in loaded)
    assert not found.all("style")
    for place in loaded:
        answer = site.browser().get(place or "")
        assert (answer.status, answer.headers["cache-control"]) == (200, "max-age=31536000, immutable")


def test_every_page_can_be_read_by_its_structure(site: Site, project: str) -> None:
    made = fill(site.services, "shop", "x", 1)
    browser = site.browser(Scope.ADMIN)
    titles = set()
    for path in ("/ui/login", *(path for path, _ in paths(site.app, **made.names("shop")) if not path.endswith(("/events", "/output")))):
        found = (site.browser() if path == "/ui/login" else browser).read(path, 404 if path.endswith("nothing") else 200)
        assert found.all("html") == [{"lang": "en"}], path
        assert [tag for tag, _ in found.elements].count("h1") == 1, path
        assert found.headings[0] == 1, path
        assert all(later <= earlier + 1 for earlier, later in zip(found.headings, found.headings[1:], strict=False)), (path, found.headings)
        assert (len(found.all("main")), len(found.all("header")), len(found.all("footer"))) == (1, 1, 1), path
        ids = [given["id"] for _, given in found.elements if "id" in given]
        assert len(ids) == len(set(ids)), path
        named = {
            name
            for _, given in found.elements
            for at in ("aria-labelledby", "aria-describedby", "for")
            for name in given.get(at, "").split()
        }
        assert named <= set(ids), path
        assert found.links[0] == "#main", path
        assert all("scope" in one for one in found.all("th")), path
        titles.add("".join(text for around, text in found.texts if around[-1:] == ("title",)))
    assert len(titles) == 11  # each but those that say what is wrong has its own


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\x1b[1;31mb\x1b[0mc", "abc"), (b"\x1b]0;title\x07x\x1b]8;;http://e\x1b\\y", "xy"), (b"\x1bP1$r\x1b\\z\x1b(Bq\x1b7", "zq"),
        (b"1%\r2%\r\n3", "1%\n2%\n3"), (b"\x00\x08\x7f\xc2\x85", r"\x00\x08\x7f\x85"), (b"a\tb\n", "a\tb\n"), (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u202eevil\u2066".encode(), r"\u202eevil\u2066"), (b"\x1b[31", r"\x1b[31"), (b"<b>&amp;", "<b>&amp;"), (b"", ""),
    ],
)  # fmt: skip
def test_what_a_terminal_would_obey_is_shown_or_left_out(data: bytes, text: str) -> None:
    assert clean(rendering.printed(data), lines=True) == text


def test_a_long_output_is_shown_from_where_its_end_begins_at_a_whole_character(
    site: Site, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fill(site.services, "shop", "é" * 1000 + "end", 1)
    monkeypatch.setattr(page, "TAIL", 8)
    found = site.browser(Scope.ADMIN).read(f"/ui/commands/{made.command}")
    assert "éé" + "end" in found.text
    assert "The first 1.9 KiB are left out" in found.text
    assert "\ufffd" not in found.text


# live, on a server as a user starts one


@contextlib.contextmanager
def asked(
    server: Serve, target: str, cookie: str = "", method: str = "GET", body: str = "", origin: str = ""
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    headers = {"origin": origin or server.url, "content-type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    try:
        connection.request(method, target, body or None, {**headers, **({"cookie": f"rdev_page={cookie}"} if cookie else {})})
        answer = connection.getresponse()
        try:
            yield answer
        finally:
            answer.close()
    finally:
        connection.close()


def status_of(*words: Any, **more: Any) -> int:
    with asked(*words, **more) as answer:
        return answer.status


def _cookie(server: Serve, key: str) -> str:
    with asked(server, "/ui/login", method="POST", body=f"key={key}") as answer:
        assert answer.status == 303, answer.read()
        return re.match("rdev_page=([^;]+)", answer.getheader("set-cookie") or "")[1]  # type: ignore[index]


def _until(answer: http.client.HTTPResponse, word: bytes) -> bytes:
    """Read lines of a stream up to one that holds a word."""
    found = b""
    while word not in found:
        line = answer.readline()
        assert line, (word, found)
        found += line
    return found


def _running(rdev: Rdev) -> str:
    ran = rdev(
        "exec",
        "shop",
        "--no-wait",
        "-o",
        "name",
        "--",
        "sh",
        "-c",
        "i=0; while [ $i -lt 300 ]; do echo line$i; i=$((i+1)); sleep 0.2; done",
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.decode().strip()


@pytest.mark.parametrize("end", ["sign out", "revoke"])
def test_a_stream_ends_with_the_sitting_or_the_key(end: str, spawn: Spawn, rdev: Rdev, project: str) -> None:
    key = json.loads(rdev("key", "create", "--name", "me", "--scope", "projects:read", "-o", "json").stdout)
    server = serve(spawn)
    cookie = _cookie(server, key["key"])
    command = _running(rdev)
    with asked(server, f"/ui/commands/{command}/output?after=0-0", cookie) as answer:
        assert (answer.status, (answer.getheader("content-type") or "").partition(";")[0]) == (200, "text/event-stream")
        _until(answer, b"line2")
        if end == "sign out":
            assert status_of(server, "/ui/logout", cookie, "POST") == 303
        else:
            assert rdev("key", "revoke", key["id"], "--yes").returncode == 0
        began = time.monotonic()
        last = _until(answer, b"event: error")
        last += answer.read()
        assert time.monotonic() - began < 10
    assert (b"UNAUTHORIZED" if end == "sign out" else b"KEY_REVOKED") in last
    assert status_of(server, f"/ui/commands/{command}", cookie) == 303
    assert rdev("command", "cancel", command).returncode == 0


def test_what_is_guessed_too_often_is_429_and_the_page_is_counted_by_its_routes(spawn: Spawn, rdev: Rdev, project: str) -> None:
    server = serve(spawn)
    cookie = _cookie(server, ADMIN)
    assert status_of(server, "/ui/projects/shop", cookie) == 200
    figures = server.ask("GET", "/metrics")[2].decode()
    assert 'path="/ui/projects/{project}"' in figures
    assert "/ui/projects/shop" not in figures
    assert ADMIN not in server.said()
    statuses = [status_of(server, "/ui/login", method="POST", body=f"key=rdev_sk_00000000_{n:032x}") for n in range(70)]
    assert statuses[:50] == [401] * 50
    assert statuses[-1] == 429
    assert status_of(server, "/ui/projects/shop", cookie) == 200  # who is in stays in
    assert _cookie(server, ADMIN)  # and a good key comes in


def test_a_page_of_another_site_or_of_a_preview_cannot_ask(spawn: Spawn) -> None:
    server = serve(spawn)
    cookie = _cookie(server, ADMIN)
    for origin in ("http://evil.example", f"http://{'a' * 26}.localhost:{server.port}", "null"):
        assert status_of(server, "/ui/logout", cookie, "POST", origin=origin) == 403
    assert status_of(server, "/ui/health", cookie) == 200


def test_on_ones_own_machine_the_page_has_a_name_that_shares_no_cookie(spawn: Spawn) -> None:
    server = serve(spawn)
    with asked(server, "/ui/login") as answer:
        links = Document(answer.read().decode()).links
    assert f"http://rdev.localhost:{server.port}/ui/" in links
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    try:
        host = f"rdev.localhost:{server.port}"
        connection.request(
            "POST", "/ui/login", f"key={ADMIN}", {"host": host, "origin": f"http://{host}", "content-type": signing_in._FORM}
        )
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("location")) == (303, "/ui/")
    finally:
        connection.close()


def test_the_use_of_a_key_by_the_page_is_noted(site: Site) -> None:
    key = site.key(Scope.ADMIN)
    browser = site.browser().sign_in(key.key)
    browser.get("/ui/health")
    assert set(site.app.state.sittings.used) == {key.id}


def test_the_public_list_is_what_a_stranger_needs(site: Site) -> None:
    assert {
        "/", "/ui", "/ui/login", "/ui/logout", "/ui/static/page.css", "/ui/static/page.js", "/ui/static/icon.svg",
    } == signing_in.PUBLIC  # fmt: skip
    methods: Callable[[str], set[str]] = lambda path: {m for r in site.app.routes if r.path == path for m in r.methods}
    assert {path: methods(path) for path in ("/ui/login", "/ui/logout")} == {"/ui/login": {"GET", "POST"}, "/ui/logout": {"POST"}}

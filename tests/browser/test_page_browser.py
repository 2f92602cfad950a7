"""The page in a real browser: by keyboard alone, live and without scripts, and held to WCAG by axe-core."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Rdev
from tests.support.serving import ADMIN, Server, start

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCRIPT = '<script>document.title="taken"</script><img src=x onerror=alert(1)>'
# escapes and characters that are cut anywhere when they come in pieces
HARD = "\x1b[1;31mred\x1b[0m é € 😀 \x1b]0;title\x07\x1b]8;;http://e\x1b\\link 10%\r20%\r\n\x00\u202e<b>&amp;\ttab\x9b \x1b(B\x7f end\n"
STATES = "() => [document.activeElement.tagName, document.activeElement.getAttribute('href') || document.activeElement.id]"


def sign_in(tab: "Page", server: Server, place: str = "/", key: str = ADMIN) -> None:
    """Sign in as a person does who has no mouse."""
    tab.goto(server.url + place)
    tab.locator("#key:focus").wait_for()
    tab.keyboard.type(key)
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Sign out").wait_for()


def started(rdev: Rdev, script: str) -> str:
    """Start a line of shell in the project and return the command's id."""
    ran = rdev("exec", "shop", "--no-wait", "-o", "name", "--", "sh", "-c", script)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.decode().strip()


def ask(server: Server, method: str, path: str, body: Any = None) -> Any:
    status, _, found = server.ask(method, path, body)
    assert status < 300, found
    return found["data"]


def until(true: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def filled(project: str, server: Server, rdev: Rdev) -> dict[str, str]:
    """The pages there are, by name, where there is one of everything."""
    ended = started(rdev, "echo out; echo err >&2; exit 3")
    session = ask(server, "POST", "/sessions", {"project": "shop"})["id"]
    until(lambda: ask(server, "GET", f"/sessions/{session}")["state"] == "ready", 60)
    ask(server, "POST", f"/sessions/{session}/previews", {"port": 3000})
    ask(server, "POST", f"/sessions/{session}/exec", {"argv": ["true"]})
    agent = ask(server, "POST", "/projects/shop/agents", {"prompt": "look", "agent": "bundled"})["id"]
    until(lambda: all(ask(server, "GET", f"/commands/{one}")["state"] not in ("pending", "running") for one in (ended, agent)), 60)
    running = started(rdev, "i=0; while [ $i -lt 600 ]; do echo line$i; i=$((i+1)); sleep 0.5; done")
    return {
        "projects": "/ui/", "project": "/ui/projects/shop", "sessions": "/ui/sessions", "session": f"/ui/sessions/{session}",
        "commands": "/ui/commands", "running": f"/ui/commands/{running}", "ended": f"/ui/commands/{ended}", "agent": f"/ui/commands/{agent}",
        "health": "/ui/health", "doctor": "/ui/doctor", "wrong": "/ui/nothing",
    }  # fmt: skip


# what everybody can use


def violations(tab: "Page") -> list[str]:
    """What axe-core has against a page as it is now."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab, options={"runOnly": {"type": "tag", "values": RULES}}).response
    assert len(found["passes"]) > 15, "it looked at nothing"
    return [f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]]


def test_axe_sees_what_is_wrong(tab: "Page", server: Server) -> None:
    tab.goto(server.url)
    tab.evaluate(
        "document.querySelector('label').remove(); document.querySelector('#help').style.color = '#bbb'; document.documentElement.lang = ''"
    )
    assert {one.partition(":")[0] for one in violations(tab)} >= {"color-contrast", "html-has-lang", "label"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_holds_to_wcag_in_light_and_dark_and_fits_a_narrow_screen(
    scheme: Any, browser: "Browser", server: Server, filled: dict[str, str]
) -> None:
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    tab = context.new_page()
    try:
        tab.goto(f"{server.url}/ui/login")
        found = {"login": violations(tab)}
        tab.locator("#key:focus").wait_for()
        tab.keyboard.type("wrong")
        tab.keyboard.press("Enter")
        tab.get_by_role("alert").wait_for()
        found["refused"] = violations(tab)
        sign_in(tab, server)
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        for name, path in filled.items():
            for width in (1280, 320):  # 320 is 1280 at 400 %
                tab.set_viewport_size({"width": width, "height": 800})
                tab.goto(server.url + path)
                found[f"{name} {width}"] = violations(tab)
                assert tab.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
                assert tab.evaluate("document.getAnimations().length") == 0
        assert {name: wrong for name, wrong in found.items() if wrong} == {}
    finally:
        context.close()


def test_everything_is_reached_by_keyboard_in_the_order_in_which_it_is_read_and_the_focus_is_seen(
    tab: "Page", server: Server, filled: dict[str, str]
) -> None:
    sign_in(tab, server)
    for path in filled.values():
        tab.goto(server.url + path)
        wanted = tab.evaluate("[...document.querySelectorAll('a, button, input, [tabindex=\"0\"]')].length")
        seen = []
        for _ in range(wanted):
            tab.keyboard.press("Tab")
            seen.append(
                tab.evaluate(
                    "() => { const all = [...document.querySelectorAll('a, button, input, [tabindex=\"0\"]')], one = document.activeElement,"
                    " style = getComputedStyle(one), box = one.getBoundingClientRect();"
                    " return [all.indexOf(one), style.outlineStyle + ' ' + style.outlineWidth, box.width > 0 && box.height > 0"
                    " && box.bottom > 0 && box.top < innerHeight] }"
                )
            )
        assert seen == [[n, "solid 3px", True] for n in range(wanted)], path
    tab.goto(f"{server.url}/ui/projects/shop")
    tab.keyboard.press("Tab")
    assert tab.evaluate(STATES) == ["A", "#main"]
    tab.keyboard.press("Enter")
    assert tab.evaluate(STATES) == ["MAIN", "main"]
    tab.keyboard.press("Tab")
    assert tab.evaluate(STATES) == ["A", "/ui/"]  # the first of the content, and not of the menu
    tab.goto(f"{server.url}/ui/health")
    while "BUTTON" not in tab.evaluate(STATES):
        tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.get_by_label("API key").wait_for()
    assert tab.evaluate(STATES) == ["INPUT", "key"]


# signing in


def test_a_stranger_sees_the_form_and_nothing_else(tab: "Page", server: Server, project: str) -> None:
    tab.goto(server.url)
    assert tab.title() == "Sign in · rdev"
    text = tab.locator("body").inner_text()
    assert "API key" in text
    assert not re.search("shop|context|health", text.lower())
    apart = f"http://rdev.localhost:{server.port}/ui/"
    assert tab.get_by_role("link").all_inner_texts() == ["Skip to the content", "rdev", apart]
    tab.goto(f"{server.url}/ui/projects/shop")
    assert "shop" not in tab.locator("body").inner_text()
    tab.locator("#key:focus").wait_for()
    tab.keyboard.type(ADMIN)
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name="shop", level=1).wait_for()  # and is brought to where they wanted to go


def test_no_script_has_the_cookie_and_it_opens_nothing_but_the_page(tab: "Page", server: Server, complaints: list[str]) -> None:
    sign_in(tab, server)
    assert complaints == []
    assert tab.evaluate("document.cookie") == ""
    (cookie,) = tab.context.cookies()
    assert (cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == ("/ui", True, "Strict")
    assert cookie["value"] not in tab.content()
    assert tab.evaluate("fetch('/projects', {credentials: 'include'}).then(answer => answer.status)") == 401
    assert ADMIN not in tab.content() + json.dumps(tab.context.storage_state())


def test_under_its_own_name_no_other_port_of_the_machine_is_given_the_cookie(tab: "Page", server: Server) -> None:
    tab.goto(server.url)
    tab.get_by_role("link", name="rdev.localhost").click()
    tab.locator("#key:focus").wait_for()
    tab.keyboard.type(ADMIN)
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Sign out").wait_for()
    (cookie,) = tab.context.cookies()
    assert cookie["domain"] == "rdev.localhost"
    for name in ("127.0.0.1", "localhost"):
        assert tab.context.cookies(f"http://{name}:{server.port + 1}/ui/") == []


def test_a_form_of_another_site_is_refused_although_the_browser_is_signed_in(tab: "Page", server: Server) -> None:
    sign_in(tab, server)
    tab.goto("data:text/html,<form method=post action='" + server.url + "/ui/logout'><button>Win</button></form>")
    tab.get_by_role("button").click()
    tab.get_by_text("FOREIGN_ORIGIN").wait_for()
    tab.goto(f"{server.url}/ui/health")
    tab.get_by_role("button", name="Sign out").wait_for()


def test_after_signing_out_going_back_shows_nothing(tab: "Page", server: Server, project: str) -> None:
    sign_in(tab, server, "/ui/projects/shop")
    tab.get_by_role("button", name="Sign out").click()
    tab.get_by_label("API key").wait_for()
    tab.go_back()
    tab.get_by_label("API key").wait_for()
    assert "rdev-shop" not in tab.locator("body").inner_text()


# what is live


@pytest.fixture
def untaken(tab: "Page") -> Iterator[None]:
    """Nothing that a command prints ever ran: no dialog, no other title."""
    dialogs: list[str] = []
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    yield
    assert dialogs == []
    assert "taken" not in tab.title()


def test_output_comes_as_it_is_printed_as_text_and_the_end_is_told(
    tab: "Page", server: Server, project: str, rdev: Rdev, untaken: None, complaints: list[str]
) -> None:
    rdev("exec", "shop", "--", "sh", "-c", "mkfifo go on")  # two: who reads one again may meet the end of the first who wrote
    command = started(rdev, f"echo first; read x <go; printf '%s\\n' '{SCRIPT}'; echo wrong >&2; read x <on; exit 7")
    sign_in(tab, server, f"/ui/commands/{command}")
    tab.get_by_text("This page follows what happens.").wait_for()
    out, err = tab.locator("#stdout"), tab.locator("#stderr")
    assert (out.inner_text(), err.inner_text()) == ("first\n", "")
    rdev("exec", "shop", "--", "sh", "-c", "echo >go")
    tab.locator("#stderr", has_text="wrong").wait_for()
    tab.locator("#stdout", has_text="onerror").wait_for()
    assert (out.locator("*").count(), err.locator("*").count()) == (0, 0)
    assert out.text_content() == "first\n" + SCRIPT + "\n"
    rdev("exec", "shop", "--", "sh", "-c", "echo >on")
    tab.get_by_role("status").filter(has_text="It ended: failed, exit code 7.").wait_for()
    tab.get_by_text("failed exit code 7").wait_for()  # the facts, too
    assert complaints == []


def test_what_came_live_in_pieces_is_what_a_new_look_shows(tab: "Page", server: Server, project: str, rdev: Rdev, untaken: None) -> None:
    octal = "".join(f"\\\\{byte:03o} " for byte in HARD.encode() + b"\xff\xfe!\n").split()
    command = started(rdev, f'sleep 2; for b in {" ".join(octal)}; do printf "$b"; sleep 0.03; done'.replace("\\\\", "\\\\"))
    sign_in(tab, server, f"/ui/commands/{command}")
    tab.get_by_role("status").filter(has_text="It ended").wait_for()
    live = tab.locator("#stdout").text_content()
    tab.reload()
    assert tab.locator("#stdout").text_content() == live
    assert live is not None
    assert live.startswith("red é € 😀 link 10%\n20%\n\\x00\\u202e<b>&amp;\ttab\\x9b \\x7f end\n".replace("\\x9b", "\\x9b"))
    assert live.endswith("\ufffd\ufffd!\n")


def test_a_pages_list_follows_what_others_do_and_keeps_the_focus_where_it_was(
    tab: "Page", server: Server, project: str, rdev: Rdev, complaints: list[str]
) -> None:
    first = started(rdev, "true")
    sign_in(tab, server, "/ui/projects/shop")
    tab.get_by_text("This page follows what happens.").wait_for()
    tab.get_by_role("link", name=first).focus()
    second = started(rdev, "exit 4")
    row = tab.get_by_role("row").filter(has_text=second)
    row.get_by_text("failed exit 4").wait_for()
    assert tab.evaluate(STATES) == ["A", f"/ui/commands/{first}"]
    assert complaints == []


def test_a_tab_that_nobody_looks_at_holds_no_connection_and_misses_nothing(tab: "Page", server: Server, project: str, rdev: Rdev) -> None:
    def streams() -> str:
        return re.search(r"^rdev_sse_connections_active ([0-9.]+)", server.ask("GET", "/metrics")[2].decode(), re.MULTILINE)[1]  # type: ignore[index]

    command = started(rdev, "i=0; while [ $i -lt 60 ]; do echo line$i; i=$((i+1)); sleep 0.1; done")
    sign_in(tab, server, f"/ui/commands/{command}")
    tab.locator("#stdout", has_text="line3").wait_for()
    look = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); document.dispatchEvent(new Event('visibilitychange')) }"
    tab.evaluate(look, True)
    until(lambda: streams() == "0.0")
    time.sleep(1)
    tab.evaluate(look, False)
    tab.get_by_role("status").filter(has_text="It ended").wait_for()
    assert tab.locator("#stdout").text_content() == "".join(f"line{n}\n" for n in range(60))


def test_a_revoked_key_ends_what_is_shown_live(tab: "Page", server: Server, project: str, rdev: Rdev) -> None:
    key = json.loads(rdev("key", "create", "--name", "me", "--scope", "projects:read", "-o", "json").stdout)
    sign_in(tab, server, "/ui/projects/shop", key["key"])
    tab.get_by_text("This page follows what happens.").wait_for()
    rdev("key", "revoke", key["id"], "--yes")
    tab.get_by_text("This page follows no longer: this key was revoked.").wait_for()
    tab.reload()
    tab.get_by_text("The key was revoked.").wait_for()


def test_a_server_that_begins_anew_knows_nobody_and_the_page_says_so(
    tab: "Page", spawn: Any, server: Server, project: str, rdev: Rdev
) -> None:
    sign_in(tab, server, "/ui/projects/shop")
    tab.get_by_text("This page follows what happens.").wait_for()
    assert server.stop() == 0
    tab.get_by_text("The connection was lost; it is tried again.").wait_for()
    start(spawn, "--port", str(server.port))
    tab.get_by_text("This page follows no longer: reload it, or sign in again.").wait_for(timeout=60_000)
    tab.reload()
    tab.locator("#key:focus").wait_for()
    tab.keyboard.type(ADMIN)
    tab.keyboard.press("Enter")
    tab.get_by_text("This page follows what happens.").wait_for()  # and leads back to where one was


# without scripts


def test_all_of_it_can_be_read_without_scripts(browser: "Browser", server: Server, filled: dict[str, str], rdev: Rdev) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    try:
        sign_in(tab, server)
        tab.get_by_role("link", name="shop", exact=True).click()
        tab.get_by_role("heading", name="shop", level=1).wait_for()
        assert "Create shop from the skeleton" in tab.locator("main").inner_text()
        tab.get_by_role("link", name=filled["running"].rpartition("/")[2]).click()
        tab.get_by_text("Reload this page for what came since").wait_for()
        before = tab.locator("#stdout").inner_text()
        until(lambda: (tab.reload(), len(tab.locator("#stdout").inner_text()) > len(before))[1])
        tab.get_by_role("link", name="Sessions").click()
        tab.get_by_role("link", name=filled["session"].rpartition("/")[2]).click()
        assert re.fullmatch(
            r"http://[0-9a-z]{26}\.localhost:[0-9]+/", tab.get_by_role("link", name=".localhost").get_attribute("href") or ""
        )
        tab.get_by_role("link", name="Health").click()
        tab.get_by_text("the server is ready").wait_for()
        tab.get_by_role("button", name="Sign out").click()
        tab.get_by_label("API key").wait_for()
    finally:
        context.close()


def test_no_page_breaks_its_own_policy_or_fails_at_anything(
    tab: "Page", server: Server, filled: dict[str, str], complaints: list[str]
) -> None:
    sign_in(tab, server)
    for name, path in filled.items():
        if name != "wrong":
            tab.goto(server.url + path)
            tab.wait_for_timeout(300)
    assert complaints == []

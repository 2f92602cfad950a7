"""The page about the API, as a browser shows it."""

from typing import TYPE_CHECKING

import pytest

from tests.support.serving import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_the_page_about_the_api_shows_the_paths_and_nothing_is_refused_or_broken(
    server: Server, tab: "Page", complaints: list[str]
) -> None:
    tab.goto(f"{server.url}/docs")
    tab.get_by_text("GET /projects/{project}", exact=True).wait_for()
    assert complaints == []

"""A fraud analyst in headless Chromium: the guided first run, one click to an audit, a review by keyboard, links that reopen it."""

from __future__ import annotations

import pytest
from test_journey_arena import _settle
from test_journeys import Server, environment, page, server  # noqa: F401 - fixtures

from core.store.store import Store
from core.store.triage import matching_entries

pytestmark = pytest.mark.browser


def test_from_the_first_click_to_a_review_by_keyboard(server: Server, page, store_url: str) -> None:  # noqa: F811
    page.goto(server.url)
    page.get_by_role("button", name="Judge a sample").click()
    page.get_by_role("paragraph").filter(has_text="Spoof score (nats)").wait_for()
    page.get_by_role("button", name="Audit the samples").click()
    page.wait_for_url("**/Batch_audit?audit=1")
    page.get_by_text("finished: 15 of 15 files").wait_for()
    _settle(page)

    entry = matching_entries(Store(store_url), 1)[0]
    page.goto(f"{server.url}/Batch_audit?audit=1&entry={entry}")  # as a colleague opens the link
    form = page.locator("[data-testid=stForm]").first
    form.get_by_label("Your name").wait_for()
    _settle(page)
    assert page.locator(".js-plotly-plot .heatmaplayer").first.is_visible()
    form.get_by_role("radio").first.or_(form.get_by_role("button").first).first.focus()
    page.keyboard.press("Space")
    form.get_by_label("Your name").focus()
    page.keyboard.type("A. Analyst")
    page.keyboard.press("Tab")
    page.keyboard.type("heard it")
    page.keyboard.press("Control+Enter")
    page.get_by_text("1 recording(s) reviewed as").wait_for()

    page.goto(server.url)
    page.get_by_role("link", name="Audit 1").wait_for()
    assert page.get_by_text("New here?").count() == 0

"""A researcher in headless Chromium: two systems compared, the address that reopens it, the choice kept from page to page."""

from __future__ import annotations

import pytest
from test_journey_arena import _IMPORT_MS, _settle
from test_journeys import Server, environment, page, server  # noqa: F401 - fixtures

pytestmark = pytest.mark.browser


def test_a_comparison_is_reopened_and_kept(server: Server, page) -> None:  # noqa: F811
    pair = ("resnet50_waveform", "resnet50_spectrogram")
    page.goto(f"{server.url}/Compare")
    page.get_by_role("button", name=f"Waveform against spectrogram: {pair[0]}").click(timeout=_IMPORT_MS)
    page.wait_for_url(f"**/Compare?set=*system={pair[0]}&system={pair[1]}")
    _settle(page)
    answer = page.get_by_test_id("stAlert").filter(has_text="EER").first.inner_text()
    assert all(name in answer for name in pair)

    address = page.url
    again = page.context.browser.new_page()
    again.set_default_timeout(60_000)
    again.goto(address)
    assert again.get_by_test_id("stAlert").filter(has_text="EER").first.inner_text(timeout=_IMPORT_MS) == answer

    page.get_by_role("link", name="Attack accuracy").click()
    page.wait_for_url("**/Attack_accuracy?set=*")
    _settle(page)
    chosen = page.get_by_test_id("stMultiSelect").first.inner_text()
    assert all(name in chosen for name in pair)
    page.get_by_text("Equal error rate", exact=True).click()
    _settle(page)
    page.get_by_label("Help for Metric").or_(page.get_by_test_id("stTooltipIcon")).first.wait_for()

"""The page Saliency in headless Chromium: from an audit, layer, method, sounds, a dragged box, export.

With EARWITNESS_PICTURES=1 the screenshot replaces the README's picture.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from test_journeys import Server, _picture, environment, page, server  # noqa: F401 - fixtures

from core.checkpoints import detector_named
from core.records import ScanSettings, TriageFilter
from core.scanning.browse import SAMPLES_FOLDER
from core.scanning.scan import prepare_audit, run_audit
from core.store.triage import matching_entries

pytestmark = pytest.mark.browser
_FIGURE = "[class*='st-key-saliency-figure'] .js-plotly-plot"
_SPECTROGRAM = """plot => {
  const edge = plot.getBoundingClientRect(), x = plot._fullLayout.xaxis3, y = plot._fullLayout.yaxis3;
  return [edge.left + x._offset, edge.top + y._offset, x._length, y._length];
}"""
_IMPORT_MS = 240_000
"""The first page of a server imports torch, which takes long on a busy machine."""


def _settled(page) -> None:  # noqa: F811
    page.wait_for_timeout(500)
    page.get_by_role("button", name="All of it (HTML)").wait_for(timeout=_IMPORT_MS)
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget], [data-stale=true]')")


def _choose(page, label: str, text: str) -> None:  # noqa: F811
    """Another choice in a list, which makes another map."""
    before = _drawn(page)
    page.get_by_label(label, exact=True).first.click()
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    deadline = time.monotonic() + 120
    while _drawn(page) in (before, None):
        assert time.monotonic() < deadline, "the map is still the same"
        page.wait_for_timeout(300)
    _settled(page)


def _drawn(page) -> str | None:  # noqa: F811
    return page.locator(_FIGURE).first.evaluate(
        "plot => JSON.stringify((plot._fullData || []).filter(t => t.type === 'heatmap')[1]?.z)"
    )


def _play(page, number: int) -> None:  # noqa: F811
    sound = page.locator("audio").nth(number)
    sound.scroll_into_view_if_needed()
    sound.evaluate("sound => sound.play()")
    page.wait_for_function(f"document.querySelectorAll('audio')[{number}].currentTime > 0.2")
    page.locator(f"{_FIGURE} > .playback-line").first.wait_for()
    sound.evaluate("sound => sound.pause()")


def test_evidence_is_seen_heard_boxed_and_taken_along(server: Server, page, store, tmp_path: Path) -> None:  # noqa: F811
    run_audit(store, prepare_audit(store, str(SAMPLES_FOLDER / "flite"), detector_named(), ScanSettings()))
    entry_id = matching_entries(store, 1, TriageFilter(text="slt_invoice"))[0]
    page.goto(f"{server.url}/Batch_audit?audit=1&entry={entry_id}")
    page.get_by_text("See, hear and test what the detector looked at").click(timeout=_IMPORT_MS)
    page.get_by_role("heading", name="Saliency").wait_for()
    _settled(page)
    assert f"entry={entry_id}" in page.url
    _choose(page, "Method", "Grad")
    _choose(page, "Layer", "22")
    _choose(page, "Method", "Occlusion")
    assert page.get_by_label("Layer", exact=True).count() == 0
    assert page.locator("audio").count() == 3
    for number in range(3):
        _play(page, number)

    plot = page.locator(_FIGURE).first
    plot.scroll_into_view_if_needed()
    left, top, width, height = plot.evaluate(_SPECTROGRAM)
    page.mouse.move(left + 0.2 * width, top + 0.5 * height)
    page.mouse.down()
    page.mouse.move(left + 0.4 * width, top + 0.7 * height, steps=6)
    page.mouse.move(left + 0.6 * width, top + 0.95 * height, steps=6)
    page.mouse.up()
    page.get_by_text("Without the box the score").wait_for()
    _settled(page)
    assert "Hz" in page.get_by_text("The box:").inner_text()
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")
    _picture(page, "saliency", tmp_path)

    with page.expect_download() as download:
        page.get_by_role("button", name="All of it (HTML)").click()
    report = Path(download.value.path()).read_text(encoding="utf-8")
    assert "Without the box the score" in report
    assert report.count("data:audio/wav;base64,") == 3
    with page.expect_download() as download:
        page.get_by_role("button", name="Picture (PNG)").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    page.get_by_role("button", name="Remove the box").click()
    page.get_by_text("Drag a box over the spectrogram").wait_for()

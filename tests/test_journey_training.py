"""The Training page in headless Chromium: curves that grow by themselves, a network that lights up, a failed publication.

With EARWITNESS_PICTURES=1 the screenshot of the network replaces the README's picture.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_folders import points, write_run
from test_journeys import Server, _picture, environment, page, server  # noqa: F401 - fixtures

pytestmark = pytest.mark.browser
_PLOTS = "[...document.querySelectorAll('.js-plotly-plot')]"
_NUM_DEV = _PLOTS + ".some(plot => plot.data.some(line => line.mode === 'lines+markers' && line.y.length === {}))"
_IS_LIT = _PLOTS + ".some(plot => plot.data[0].type === 'mesh3d' && plot.data[0].intensity)"
_IMPORT_MS = 240_000
"""The first page of a server imports torch, which takes long on a busy machine."""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EARWITNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(tmp_path / "installed"))
    return tmp_path / "runs"


def test_a_run_is_watched_looked_into_and_published(runs: Path, server: Server, page, tmp_path: Path) -> None:  # noqa: F811
    folder = write_run(runs / "mine" / "seed-0", state="running", epoch=3)
    write_run(runs / "mine" / "seed-1", seed=1, epoch=6, metrics=points(6, floor=0.12))
    page.goto(f"{server.url}/Training")
    page.get_by_text("Runs to compare").wait_for(timeout=_IMPORT_MS)
    page.wait_for_function(_NUM_DEV.format(3))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in points(5)))
    page.wait_for_function(_NUM_DEV.format(5))  # nobody touched the page
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"state": "failed", "message": "the disk is full"}))
    page.get_by_text("failed: the disk is full").wait_for()

    page.get_by_role("tab", name="Network").click()
    page.get_by_text("306,738").wait_for()
    page.locator(".js-plotly-plot .gl-container canvas").first.wait_for()
    assert not page.evaluate(_IS_LIT)
    page.get_by_label("Sample").last.click()
    page.keyboard.type("flite_slt_invoice")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="makes of the recording").wait_for()
    page.locator(".js-plotly-plot .heatmaplayer").first.wait_for()
    page.wait_for_function(_IS_LIT)
    _picture(page, "training-network", tmp_path)

    page.get_by_role("tab", name="Publish").click()
    page.get_by_label("Name of the detector").fill("from-a-page")
    page.get_by_label("Name of the detector").press("Enter")
    page.get_by_role("button", name="Publish", exact=True).click()
    page.get_by_text("could not be published").wait_for(timeout=_IMPORT_MS)  # the run's data folder is not there
    assert not (tmp_path / "installed" / "from-a-page").exists()

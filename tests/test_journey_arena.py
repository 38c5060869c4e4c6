"""The arena in headless Chromium: three published score files are dropped, and the table says what the organisers' code says.

With EARWITNESS_PICTURES=1 the screenshots replace the README's pictures.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from published_scores import FIXTURES
from test_journeys import Server, _picture, environment, page, server, settled  # noqa: F401 - fixtures

pytestmark = pytest.mark.browser
SYSTEMS = ("air-softmax", "air-amsoftmax", "air-ocsoftmax")
_IMPORT_MS = 240_000
"""The first page of a server imports torch, which takes long on a busy machine."""


def _csv(page, name: str) -> list[dict[str, str]]:  # noqa: F811
    with page.expect_download() as download:
        page.get_by_role("button", name=name).first.click()
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_published_score_files_give_the_organisers_figures(server: Server, page, tmp_path: Path) -> None:  # noqa: F811
    if not FIXTURES.is_dir():
        pytest.skip("needs ../shared/fixtures")
    expected = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
    page.goto(f"{server.url}/Attack_accuracy")
    page.get_by_text("Add systems").first.click(timeout=_IMPORT_MS)
    settled(page)
    page.locator("input[type=file]").first.set_input_files([FIXTURES / f"{name}.LA.eval.scores.txt.gz" for name in SYSTEMS])
    page.get_by_text("looks inverted").wait_for(timeout=_IMPORT_MS)
    assert page.get_by_text("all fit 7,355 bona fide and 63,882 spoofed trials").count() == 2
    page.get_by_text("Turn the sign").click()
    page.get_by_role("button", name="Import 3 of 3 systems").click(timeout=_IMPORT_MS)
    page.wait_for_url("**/Attack_accuracy?set=*", timeout=_IMPORT_MS)
    settled(page)
    _picture(page, "attack-accuracy", tmp_path)

    page.get_by_text("Equal error rate", exact=True).click()
    page.get_by_text("Heat map", exact=True).click()
    settled(page)
    rows = {row["key"]: row for row in _csv(page, "CSV")}
    for name in SYSTEMS:
        column = f"{name}.LA.eval"
        assert 100 * float(rows["total"][column]) == pytest.approx(expected[name]["eer"], abs=1e-3)
        for attack, value in expected[name]["per_attack"].items():
            assert 100 * float(rows[attack][column]) == pytest.approx(value, abs=1e-3)
            assert float(rows[attack][f"{column} low"]) <= float(rows[attack][column]) <= float(rows[attack][f"{column} high"])
    with page.expect_download() as download:
        page.locator(".js-plotly-plot").first.hover()
        page.locator(".modebar-btn[data-title*='Download plot']").first.click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")

    page.get_by_text("Table", exact=True).click()
    settled(page)
    box = page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
    page.mouse.click(box["x"] + 250, box["y"] + 35 * 12 + 17)  # A17 of the first system: human and A07 to A16 stand above it
    page.get_by_role("heading", name="Errors of air-softmax.LA.eval: A17").wait_for(timeout=_IMPORT_MS)

    query = page.url.partition("?")[2]
    page.goto(f"{server.url}/Confusion_matrices?{query}")
    page.get_by_text("0.0 % of bona fide speech and 100.0 % of spoofs are called right").wait_for(timeout=_IMPORT_MS)
    assert page.get_by_text("Accuracy is 89.7 %, because 63,882 of 71,237 trials are spoofs").count() == 1
    settled(page)
    _picture(page, "confusion-matrices", tmp_path)
    page.goto(f"{server.url}/Compare?{query}")
    page.get_by_text("is better than").first.wait_for(timeout=_IMPORT_MS)
    settled(page)
    _picture(page, "compare", tmp_path)

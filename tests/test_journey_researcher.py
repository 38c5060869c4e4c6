"""A researcher in headless Chromium: two systems compared, the address that reopens it, the choice kept from page to page;
fingerprints; variants of her own, trained, watched and held against each other."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from test_journey_arena import _IMPORT_MS
from test_journey_training import runs  # noqa: F401 - fixture
from test_journeys import Server, environment, page, server, settled  # noqa: F401 - fixtures

from core.metrics import equal_error_rate
from core.models import MODELS
from tests.tiny_training import tiny_network, tiny_recipe, write_tiny
from training.data import load_split
from training.loop import train
from training.publish import publish

pytestmark = pytest.mark.browser
_VARIANTS = {"plain": {"masks_images": False}, "masked": {"masks_images": True}}


@pytest.fixture
def score_files(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:  # noqa: F811
    """Scores on its test part of two variants that were trained on one small set; their runs lie where the page looks."""
    monkeypatch.setitem(MODELS, "tiny", tiny_network)
    data = write_tiny(tmp_path / "data", sizes={"train": 40, "dev": 40, "test": 24})
    splits = load_split(data, "train"), load_split(data, "dev")
    for name, changes in _VARIANTS.items():
        recipe = tiny_recipe(channel_share=0.0, multiplies_bona_fide=False, **changes)
        train(recipe, splits, data, runs / name, seed=3, device="cpu")
        publish([runs / name], name=name, out=tmp_path / "out", scores_out=tmp_path / "scores")
    return [tmp_path / "scores" / f"{name}.test.csv" for name in _VARIANTS]


def test_comparisons_are_kept_and_a_variant_is_trained(
    score_files: list[Path],
    server: Server,  # noqa: F811
    page,  # noqa: F811
) -> None:
    pair = ("resnet50_waveform", "resnet50_spectrogram")
    page.goto(f"{server.url}/Compare")
    page.get_by_role("button", name=f"Waveform against spectrogram: {pair[0]}").click(timeout=_IMPORT_MS)
    page.wait_for_url(f"**/Compare?set=*system={pair[0]}&system={pair[1]}")
    settled(page)
    answer = page.get_by_test_id("stAlert").filter(has_text="EER").first.inner_text()
    assert all(name in answer for name in pair)

    address = page.url
    again = page.context.browser.new_page()
    again.set_default_timeout(60_000)
    again.goto(address)
    assert again.get_by_test_id("stAlert").filter(has_text="EER").first.inner_text(timeout=_IMPORT_MS) == answer
    again.close()

    page.get_by_role("link", name="Attack accuracy").click()
    page.wait_for_url("**/Attack_accuracy?set=*")
    settled(page)
    chosen = page.get_by_test_id("stMultiSelect").first.inner_text()
    assert all(name in chosen for name in pair)
    page.get_by_text("Equal error rate", exact=True).click()
    settled(page)
    page.get_by_label("Help for Metric").or_(page.get_by_test_id("stTooltipIcon")).first.wait_for()

    page.get_by_role("link", name="Attack fingerprints").click()
    page.get_by_role("heading", name="All groups").wait_for(timeout=_IMPORT_MS)

    page.get_by_role("link", name="Training").click()
    page.get_by_text("Runs to compare").wait_for(timeout=_IMPORT_MS)
    shown = page.get_by_test_id("stMultiSelect").first.inner_text()
    assert all(name in shown for name in _VARIANTS)

    page.get_by_role("link", name="Attack accuracy").click()
    page.get_by_text("Add systems").first.click()
    settled(page)
    page.locator("input[type=file]").first.set_input_files(score_files)
    page.get_by_role("button", name="Import 2 of 2 systems").click(timeout=_IMPORT_MS)
    page.wait_for_url("**/Attack_accuracy?set=*plain*")
    page.get_by_role("link", name="Compare", exact=True).click()
    page.wait_for_url("**/Compare?set=*plain*")
    answer = page.get_by_test_id("stAlert").filter(has_text="EER").first.inner_text(timeout=_IMPORT_MS)
    for file in score_files:
        table = pd.read_csv(file)
        eer, _ = equal_error_rate(table["spoof_score"].to_numpy(), (table["label"] == "spoof").to_numpy())
        assert f"{100 * eer:.2f}" in answer

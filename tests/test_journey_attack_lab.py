"""The pages Attack lab and Stress test in headless Chromium: make, hear, keep; the heat map, one recording, a leaky set.

With EARWITNESS_PICTURES=1 the screenshots replace the README's pictures.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from stress_records import stress_table
from test_journeys import Server, _picture, environment, page, server, settled  # noqa: F401 - fixtures

from core.scanning.browse import SAMPLES_FOLDER
from core.stress.table_files import find_tables, own_stress_folder, save_table

pytestmark = pytest.mark.browser
SAMPLE = SAMPLES_FOLDER / "flite" / "flite_slt_invoice.flac"
_IMPORT_MS = 240_000
"""The first page of a server imports torch, which takes long on a busy machine."""


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_RESULTS", str(tmp_path / "results"))


def _play(page, number: int) -> None:  # noqa: F811
    sound = page.locator("audio").nth(number)
    sound.scroll_into_view_if_needed()
    sound.evaluate("sound => sound.play()")
    page.wait_for_function(f"document.querySelectorAll('audio')[{number}].currentTime > 0.2")
    sound.evaluate("sound => sound.pause()")


def test_spoofs_are_made_heard_judged_and_kept(server: Server, page, tmp_path: Path) -> None:  # noqa: F811
    page.goto(f"{server.url}/Attack_lab?attack=mel_smoothing&attack=lpc_copy&attack=pitch_shift&attack=partial")
    page.get_by_role("heading", name="Attack lab").wait_for(timeout=_IMPORT_MS)
    page.get_by_text("Nothing chosen yet").wait_for()
    settled(page)
    page.locator("input[type=file]").first.set_input_files(SAMPLE)
    make = page.get_by_role("button", name="Make 4 spoofs")
    make.click(timeout=_IMPORT_MS)
    page.get_by_text("What detectors say").wait_for(timeout=_IMPORT_MS)
    page.get_by_role("button", name="Pack a ZIP").wait_for(timeout=_IMPORT_MS)
    settled(page)
    page.locator("audio").nth(4).wait_for()  # players come a moment after the rest of the page
    assert page.locator("audio").count() == 5
    for number in (0, 4):
        _play(page, number)
    page.get_by_text("See one beside its source").click()
    page.locator(".js-plotly-plot .heatmaplayer").nth(1).wait_for()
    assert "attack=partial" in page.url
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")
    _picture(page, "attack-lab", tmp_path)

    page.get_by_role("button", name="Pack a ZIP").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download (").click(timeout=_IMPORT_MS)
    with zipfile.ZipFile(download.value.path()) as archive:
        lines = archive.read("protocol.txt").decode().splitlines()
        assert sum(name.endswith(".flac") for name in archive.namelist()) == len(lines) == 5
    field = page.get_by_label("New folder, on the machine that runs Earwitness")
    field.fill(str(tmp_path / "spoofs"))
    field.press("Enter")
    settled(page)
    page.get_by_role("button", name="Write it").click()
    page.get_by_text("They are in").wait_for(timeout=_IMPORT_MS)
    assert len((tmp_path / "spoofs" / "protocol.txt").read_text().splitlines()) == 5


def test_conditions_a_recording_and_a_leaky_set(server: Server, page, tmp_path: Path) -> None:  # noqa: F811
    if not find_tables().found:
        save_table(stress_table(), own_stress_folder() / "made.json")
    page.goto(f"{server.url}/Stress_test")
    page.get_by_role("heading", name="Stress test").wait_for(timeout=_IMPORT_MS)
    page.locator(".js-plotly-plot .heatmaplayer").first.wait_for(timeout=_IMPORT_MS)
    settled(page)
    _picture(page, "stress-test", tmp_path)
    page.get_by_text("Difference to clean", exact=True).click()
    settled(page)
    assert page.locator(".js-plotly-plot").count() == 1

    page.get_by_role("tab", name="One recording").click()
    page.get_by_text("Nothing chosen yet").wait_for()
    page.get_by_role("combobox").first.click()
    page.keyboard.type("slt_invoice")
    page.keyboard.press("Enter")
    page.get_by_text("Hear it").wait_for(timeout=_IMPORT_MS)
    settled(page)
    assert page.get_by_text("Survives a phone call", exact=True).is_visible()
    _play(page, 1)
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")
    _picture(page, "survival-card", tmp_path)

    _write_leaky_set(tmp_path / "leaky")
    page.get_by_role("tab", name="Shortcuts").click()
    page.get_by_text("A folder with a protocol", exact=True).click()
    field = page.get_by_label("Folder with recordings, on the machine that runs Earwitness")
    field.fill(str(tmp_path / "leaky"))
    field.press("Enter")
    settled(page)
    page.get_by_role("button", name="Probe the set").click()
    page.get_by_text("30 bona fide, 30 spoofs").wait_for(timeout=_IMPORT_MS)
    settled(page)
    assert "uration" in page.get_by_test_id("stAlert").first.inner_text()


def _write_leaky_set(folder: Path) -> None:
    """Noise whose length gives the label away."""
    folder.mkdir()
    rng, lines = np.random.default_rng(0), []
    for i in range(60):
        is_spoof = i % 2 == 1
        num_samples = 8_000 + (6_000 if is_spoof else 0) + int(rng.integers(0, 2_000))
        soundfile.write(folder / f"r{i}.wav", 0.1 * rng.standard_normal(num_samples), 16_000)
        lines.append(f"s{i} r{i} - {'A01 spoof' if is_spoof else '- bonafide'}")
    (folder / "protocol.txt").write_text("\n".join(lines) + "\n")

"""Attack fingerprints: empty, working and failing; two groups compared, frames, grouping, and a detector that has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from test_fingerprints import NUM_BANDS, made_set

from core.checkpoints import detector_named
from core.fingerprints import files as fingerprint_files
from core.fingerprints.files import own_fingerprint_folder, save_fingerprints
from core.fingerprints.records import FingerprintSet

HOME = str(Path(__file__).parents[1] / "Home.py")


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def _figures(page: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]


def _run(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


@pytest.fixture
def page(tiny_detector, store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Nothing is shipped, nothing measured yet."""
    monkeypatch.setattr(fingerprint_files, "SHIPPED_FINGERPRINTS", tmp_path / "none")
    return AppTest.from_file(HOME, default_timeout=120).switch_page("pages/9_Attack_fingerprints.py")


def _made(**changes: str) -> FingerprintSet:
    """Three attacks and bona fide speech; A17 has a peak between 6 and 8 kHz."""
    profiles = np.random.default_rng(0).gamma(2.0, 0.5, size=(48, NUM_BANDS))
    profiles[12:24, -2:] += 3
    attacks = [""] * 12 + ["A17"] * 12 + ["A10"] * 12 + ["A<b>"] * 12
    measured = made_set(profiles, attacks, [f"s{i}" for i in range(48)])
    return replace(measured, summary=replace(measured.summary, detector_name="tiny", **changes))


def test_empty_state_teaches(page: AppTest) -> None:
    words = _words(_run(page))
    assert "Nothing to look at yet" in words
    assert "python -m core fingerprints FOLDER --protocol PROTOCOL" in words
    assert not _figures(page)


def test_two_attacks_are_compared_in_pictures_and_plain_words(page: AppTest, tiny_detector) -> None:
    save_fingerprints(_made(detector_hash=tiny_detector.hash), own_fingerprint_folder())
    _run(page)
    key = "fingerprint-0000000000000000-attack"
    page.selectbox(key=f"{key}-first").select("A17").run()
    page.selectbox(key=f"{key}-second").select("A10").run()
    assert not page.exception
    assert not page.error
    assert not page.warning
    assert "It looks more at 6.0-8.0 kHz for A17 than for A10: " in _words(page)
    bands, zones, time, heat = _figures(page)
    names = [trace.get("name") for trace in bands["data"]]
    assert {"A17", "A10", "bona fide", "A17 less A10"} <= set(names)
    assert heat["layout"]["yaxis"]["ticktext"] == ["bona fide (12)", "all spoofs (36)", "A10 (12)", "A17 (12)", "A&lt;b&gt; (12)"]
    assert zones["layout"]["yaxis"]["ticktext"][1] == "speech"
    assert "From the first sound (0 %)" in time["layout"]["xaxis"]["title"]["text"]
    assert [button.label for button in page.get("download_button")] == ["CSV"] * 4
    words = _words(page)
    assert "None of the single maps was tested" in words
    assert "describes **the detector**" in words
    assert "lies in bands where it lies for bona fide speech too" in words


def test_views_and_axes_change_the_figures(page: AppTest, tiny_detector) -> None:
    save_fingerprints(_made(detector_hash=tiny_detector.hash), own_fingerprint_folder())
    _run(page)
    as_it_is = _figures(page)[3]["data"][0]["z"]
    page.button_group(key="fingerprint-heat").set_value("Less bona fide").run()
    assert not page.exception
    assert _figures(page)[3]["data"][0]["z"] != as_it_is
    page.button_group(key="fingerprint-axis").set_value("Seconds from the first sound").run()
    assert not page.exception
    assert "first sound (s)" in _figures(page)[2]["layout"]["xaxis"]["title"]["text"]


def test_groups_without_pauses_are_told(page: AppTest, tiny_detector) -> None:
    save_fingerprints(_made(detector_hash=tiny_detector.hash), own_fingerprint_folder())
    _run(page)
    page.button_group(key="fingerprint-frames").set_value("pauses").run()
    assert not page.exception
    assert "has no map with pauses only in it" in page.error[0].value.replace("\\", "")


def test_a_detector_that_changed_and_a_damaged_file_are_told(page: AppTest) -> None:
    manifest = save_fingerprints(_made(), own_fingerprint_folder())
    (own_fingerprint_folder() / "broken.json").write_text("[")
    words = _words(_run(page))
    assert "tiny is another one today" in words
    assert "broken.json is no stored fingerprints, or damaged" in words
    assert len(_figures(page)) == 4
    manifest.with_suffix(".npz").unlink()
    _run(page)
    assert "damaged" in page.error[0].value
    assert not _figures(page)


def test_the_shipped_ones_open(store_url: str) -> None:
    page = AppTest.from_file(HOME, default_timeout=120).switch_page("pages/9_Attack_fingerprints.py")
    words = _words(_run(page))
    assert not page.error
    assert len(_figures(page)) == 4
    assert detector_named("vgg27-spectrogram").hash[:12] in words
    page.button_group(key=next(g.key for g in page.button_group if g.key.endswith("-grouping"))).set_value("attack").run()
    assert not page.exception
    assert len(_figures(page)) == 4


def test_the_choices_are_in_the_address(page: AppTest, tiny_detector) -> None:
    save_fingerprints(_made(), own_fingerprint_folder())
    _run(page)
    page.selectbox(key=next(box.key for box in page.selectbox if box.label == "What it looks at in")).set_value("A10")
    _run(page)
    address = dict(page.query_params)
    assert (address["first"], address["by"], address["frames"]) == ("A10", "attack", "all")
    other = AppTest.from_file(HOME, default_timeout=120).switch_page("pages/9_Attack_fingerprints.py")
    for name, value in (address | {"second": "A17"}).items():
        other.query_params[name] = value
    _run(other)
    assert [box.value for box in other.selectbox if box.label in ("What it looks at in", "against")] == ["A10", "A17"]

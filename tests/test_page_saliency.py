"""Saliency: empty, working and failing; one map and two, the badge, the box, the link from an audit."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints import detector_named
from core.explanation import attributions
from core.explanation import map_tests as explanation_tests
from core.explanation.evidence_audio import counterfactual_score, evidence_audio
from core.explanation.excerpts import read_excerpt
from core.explanation.explain import explain, explainable_layers
from core.explanation.records import TimeFrequencyBox
from core.records import ScanSettings, TriageFilter
from core.scanning.browse import SAMPLES_FOLDER
from core.scanning.scan import prepare_audit, run_audit
from core.store.triage import matching_entries

HOME = str(Path(__file__).parents[1] / "Home.py")
SAMPLE = SAMPLES_FOLDER / "flite" / "flite_slt_invoice.flac"


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text, *app.success]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


@pytest.fixture
def page(lively_detector, store_url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("EARWITNESS_ROOTS", str(tmp_path))
    monkeypatch.setattr(attributions, "PATCHES_PER_SIDE", (3, 4))
    monkeypatch.setattr(explanation_tests, "NUM_RANDOM", 2)  # quicker; the tests of maps have tests of their own
    monkeypatch.setattr(explanation_tests, "NUM_RANDOM_NETWORKS", dict.fromkeys(explanation_tests.NUM_RANDOM_NETWORKS, 1))
    return AppTest.from_file(HOME, default_timeout=120).switch_page("pages/6_Saliency.py")


@pytest.fixture
def opened(page: AppTest) -> AppTest:
    """The page with a sample chosen."""
    page.run()
    return page.selectbox(key="sample").select(SAMPLE).run()


def _figures(page: AppTest) -> int:
    return len(page.get("plotly_chart"))


def test_empty_state(page: AppTest) -> None:
    page.run()
    assert not page.exception
    assert "Nothing chosen yet" in _words(page)
    assert _figures(page) == 0


def test_a_sample_shows_score_badge_picture_sounds_bands_and_exports(opened: AppTest, lively_detector) -> None:
    assert not opened.exception
    assert not opened.error
    samples = read_excerpt(SAMPLE).samples
    explanation = explain(lively_detector, samples)
    metrics = {metric.label: metric.value for metric in opened.metric}
    assert opened.selectbox(key="saliency-map-0-method-3").value == "occlusion"
    assert "Not measured for this detector" in _words(opened)  # the pointing game
    assert metrics["Spoof score (nats)"] == f"{explanation.spoof_score:+.2f}"
    assert _figures(opened) == 2
    audio = evidence_audio(lively_detector, samples, explanation)
    assert f"Score {audio.score_only:+.2f}: " in _words(opened)
    assert f"Score {audio.score_without:+.2f}: " in _words(opened)
    assert len(opened.get("audio")) == 3
    table = opened.table[0].value
    assert "Saliency on pauses" in table.index
    assert [button.label for button in opened.get("download_button")] == ["All of it (HTML)", "Picture (PNG)"]


def test_layers_are_offered_the_deepest_first_and_change_the_map(opened: AppTest, lively_detector) -> None:
    next(box for box in opened.selectbox if box.label == "Method").select("grad_cam").run()
    layers = next(box for box in opened.selectbox if box.label == "Layer")
    assert layers.value == explainable_layers(lively_detector)[-1]
    layers.select(explainable_layers(lively_detector)[0]).run()
    assert not opened.exception
    assert not opened.error
    assert next(box for box in opened.selectbox if box.label == "Layer").value == explainable_layers(lively_detector)[0]


def test_a_map_that_does_not_beat_random_is_greyed_with_words(opened: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every map is "moved" to where it is: none can beat that.
    monkeypatch.setattr(explanation_tests, "_moved", lambda saliency, generator: saliency)
    next(box for box in opened.selectbox if box.label == "Method").select("grad_cam").run()
    assert not opened.exception
    assert "does not beat random" in _words(opened)
    assert "drawn in grey" in _words(opened)
    assert "Does not beat random" in _words(opened)


def test_two_methods_side_by_side_with_their_agreement(opened: AppTest) -> None:
    opened.button_group(key="saliency-view").set_value("Two methods").run()
    methods = [box for box in opened.selectbox if box.label == "Method"]
    assert methods[0].value != methods[1].value
    assert not opened.exception
    assert not opened.error
    assert _figures(opened) == 3
    assert "Agreement of the two maps" in _words(opened)
    assert len(opened.get("audio")) == 5


def test_two_detectors_need_two(opened: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.button_group(key="saliency-view").set_value("Two detectors").run()
    assert not opened.exception
    assert not opened.error
    names = [box.value for box in opened.selectbox if box.label == "Detector"]
    assert names == [0, 1]  # `lively` and the shipped one
    assert "Agreement of the two maps" in _words(opened)


def test_a_box_by_numbers_gives_the_score_without_it_and_can_be_removed(opened: AppTest, lively_detector) -> None:
    assert "Drag a box over the spectrogram" in _words(opened)
    fields = {field.label: field for field in opened.number_input}
    fields["From (s)"].set_value(1.0)
    fields["To (s)"].set_value(2.0)
    fields["From (Hz)"].set_value(500.0)
    fields["To (Hz)"].set_value(3_000.0)
    next(button for button in opened.button if button.label == "Score without it").click().run()
    assert not opened.exception
    box = TimeFrequencyBox(start_s=1.0, end_s=2.0, low_hz=500.0, high_hz=3_000.0)
    score = counterfactual_score(lively_detector, read_excerpt(SAMPLE).samples, box)
    metrics = {metric.label: metric for metric in opened.metric}
    assert metrics["Without the box, lively"].value == f"{score.score_after:+.2f}"
    assert "1.00 to 2.00 s, 500 to 3,000 Hz" in _words(opened)
    opened.button(key="saliency-box-remove").click().run()
    assert "Drag a box over the spectrogram" in _words(opened)


def test_a_box_of_no_width_is_told(opened: AppTest) -> None:
    fields = {field.label: field for field in opened.number_input}
    fields["From (s)"].set_value(2.0)
    fields["To (s)"].set_value(2.0)
    next(button for button in opened.button if button.label == "Score without it").click().run()
    assert not opened.exception
    assert "expected ends above starts" in _words(opened)


@pytest.fixture
def audited(page: AppTest, store, lively_detector, tmp_path: Path, write_recordings) -> AppTest:
    """The page, opened on a file of an audit of two recordings and a text file."""
    write_recordings(tmp_path / "calls", 2)
    (tmp_path / "calls" / "broken.wav").write_text("no audio")
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), lively_detector, ScanSettings()))
    page.query_params["entry"] = str(matching_entries(store, 1, TriageFilter())[0])
    return page


def test_a_linked_file_of_an_audit_opens_with_its_detector(audited: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_DETECTOR", detector_named("vgg27-spectrogram").name)
    audited.run()
    assert not audited.exception
    assert not audited.error
    assert ".wav" in _words(audited)
    assert next(metric.label for metric in audited.metric) == "Spoof score (nats)"
    assert _figures(audited) == 2
    detector = next(box for box in audited.selectbox if box.label == "Detector")
    assert detector.options[detector.index] == "lively"


def test_a_refused_file_is_told_why(audited: AppTest, store) -> None:
    audited.query_params["entry"] = str(matching_entries(store, 1, TriageFilter(text="broken"))[0])
    audited.run()
    assert not audited.exception
    assert "refused this recording" in _words(audited)


@pytest.mark.parametrize(("change", "words"), [("gone", "no longer there"), ("changed", "has changed since its audit")])
def test_a_file_that_is_gone_or_changed_is_told(audited: AppTest, store, tmp_path: Path, change: str, words: str) -> None:
    paths = sorted((tmp_path / "calls").glob("r*.wav"))
    for path in paths:
        if change == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes() + b"\0\0")
    audited.run()
    assert not audited.exception
    assert words in _words(audited)


@pytest.mark.parametrize(("value", "words"), [("x", "a number is expected"), ("9999", "no file 9999")])
def test_wrong_addresses_are_told(page: AppTest, value: str, words: str) -> None:
    page.query_params["entry"] = value
    page.run()
    assert not page.exception
    assert words in _words(page)


def test_an_entry_of_an_audit_links_here(audited: AppTest, store) -> None:
    entry_id = audited.query_params["entry"]
    entry = AppTest.from_file(HOME, default_timeout=120).switch_page("pages/1_Batch_audit.py")
    entry.query_params["audit"] = "1"
    entry.query_params["entry"] = entry_id
    entry.run()
    assert not entry.exception
    links = [link.proto for link in entry.get("page_link")]
    assert any(link.label.startswith("See, hear and test") for link in links)

"""Batch audit: empty, working and failing."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.records import ScanSettings, TriageFilter
from core.scan import prepare_audit, run_audit
from core.triage import matching_entries, triage_page

HOME = str(Path(__file__).parents[1] / "Home.py")


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text, *app.success]
    return "\n".join(str(part.value) for part in parts)


@pytest.fixture
def page(tiny_detector, store_url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("EARWITNESS_ROOTS", str(tmp_path))
    return AppTest.from_file(HOME, default_timeout=60).switch_page("pages/1_Batch_audit.py")


@pytest.fixture
def finished(page: AppTest, store, tiny_detector, tmp_path: Path, write_recordings) -> AppTest:
    """The page, opened on an audit of 6 recordings in two folders and one broken file."""
    write_recordings(tmp_path / "calls" / "a", 4)
    write_recordings(tmp_path / "calls" / "b", 2, first_seed=10)
    (tmp_path / "calls" / "broken *name*.wav").write_text("no audio")
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), tiny_detector, ScanSettings()))
    page.query_params["audit"] = "1"
    return page.run()


def test_empty_state(page: AppTest, tmp_path: Path) -> None:
    page.run()
    page.text_input(key="folder-typed").set_value(str(tmp_path)).run()
    assert not page.exception
    assert "No audits yet" in _words(page)
    assert not next(button for button in page.button if button.label == "Start the audit").disabled


def test_a_folder_outside_the_roots_cannot_be_chosen(page: AppTest) -> None:
    page.run()
    page.text_input(key="folder-typed").set_value("/etc").run()
    assert not page.exception
    assert "outside the folders" in _words(page)
    assert next(button for button in page.button if button.label == "Start the audit").disabled


def test_a_typed_beginning_is_completed(page: AppTest, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    page.run()
    page.text_input(key="folder-typed").set_value(str(tmp_path / "rec")).run()
    page.button(key=f"complete-{tmp_path / 'recordings'}").click().run()
    assert page.text_input(key="folder-typed").value == str(tmp_path / "recordings")


def test_look_first_counts_and_scores_nothing(page: AppTest, store, tmp_path: Path, write_recordings) -> None:
    write_recordings(tmp_path / "calls", 5)
    page.run()
    page.text_input(key="folder-typed").set_value(str(tmp_path / "calls")).run()
    next(button for button in page.button if button.label == "Look first").click().run()
    assert not page.exception
    metrics = {metric.label: metric.value for metric in page.metric}
    assert metrics["Files"] == "5"
    assert "PCM_16 5" in _words(page)
    assert store.recent_audits() == ()


def test_a_finished_audit_shows_counts_table_and_charts(finished: AppTest, store) -> None:
    assert not finished.exception
    audit = store.audit(1)
    metrics = {metric.label: metric.value for metric in finished.metric}
    assert metrics["Refused"] == "1"
    assert int(metrics["Spoof"]) == audit.num_spoof
    frame = finished.dataframe[0].value
    assert len(frame) == 7
    scores = frame["Score (nats)"].dropna()
    assert scores.is_monotonic_decreasing
    assert len(finished.get("plotly_chart")) == 2
    assert [button.label for button in finished.get("download_button")] == ["CSV", "PARQUET", "JSONL", "XLSX"]


def test_filters_narrow_the_table(finished: AppTest) -> None:
    finished.button_group(key="verdicts-1").set_value(["refused"]).run()
    assert list(finished.dataframe[0].value["Path"]) == ["broken *name*.wav"]
    finished.button_group(key="verdicts-1").set_value([]).run()
    finished.text_input(key="text-1").set_value("B/R").run()
    assert sorted(finished.dataframe[0].value["Path"]) == ["b/r0010.wav", "b/r0011.wav"]
    finished.text_input(key="text-1").set_value("nothing like this").run()
    assert "No file matches" in _words(finished)


def test_a_linked_file_opens_with_its_evidence(finished: AppTest, store) -> None:
    entry_id = matching_entries(store, 1, TriageFilter())[0]
    finished.query_params["entry"] = str(entry_id)
    finished.run()
    assert not finished.exception
    row = triage_page(store, 1).rows[0]
    assert row.path in _words(finished)
    assert any(
        metric.label == "Spoof score (nats)" and float(metric.value) == pytest.approx(row.spoof_score, abs=0.006)
        for metric in finished.metric
    )


def test_a_file_that_moved_is_told(finished: AppTest, store, tmp_path: Path) -> None:
    row = triage_page(store, 1).rows[0]
    (tmp_path / "calls" / row.path).rename(tmp_path / "elsewhere.wav")
    finished.query_params["entry"] = str(row.entry_id)
    finished.run()
    assert not finished.exception
    assert "no longer where it was" in _words(finished)
    assert any(metric.label == "Spoof score (nats)" for metric in finished.metric)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("audit", "99", "no audit 99"), ("audit", "x", "a number is expected"), ("entry", "9999", "no file 9999")],
)
def test_wrong_addresses_are_told(finished: AppTest, name: str, value: str, words: str) -> None:
    finished.query_params[name] = value
    finished.run()
    assert not finished.exception
    assert words in _words(finished)


def test_an_audit_whose_detector_is_gone(finished: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(tmp_path / "none"))
    finished.run()
    assert not finished.exception
    assert any("No detector is called" in error.value for error in finished.error)

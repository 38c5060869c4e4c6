"""Batch audit: empty, working and failing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import soundfile
import streamlit as st
from streamlit.testing.v1 import AppTest
from stress_records import phone_share, stress_table

from core.checkpoints import detector_named
from core.detect import Scorer
from core.records import ScanSettings, TriageFilter
from core.scanning.discovery import find_files
from core.scanning.scan import prepare_audit, run_audit
from core.store.ledger import Ledger
from core.store.triage import matching_entries, triage_page
from core.stress.table_files import StressTables

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


def test_the_table_does_not_wait_for_the_charts(finished: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.components.audit_charts.show_charts", lambda *_: st.stop())
    finished.run()
    assert [len(table.value) for table in finished.dataframe] == [7]


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


def test_a_folder_of_telephone_calls_is_advised_on(
    page: AppTest, store, tiny_detector, tmp_path: Path, write_recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in write_recordings(tmp_path / "calls", 2):
        soundfile.write(path, soundfile.read(path)[0][::2], 8_000, subtype="ULAW")
    measured = stress_table(detector_name="tiny", detector_hash=tiny_detector.hash, shares=(phone_share(30),))
    better = detector_named("vgg27-telephone")
    best = stress_table(detector_name=better.name, detector_hash=better.hash, shares=(phone_share(1),))
    tables = StressTables(found=((tmp_path, measured), (tmp_path, best)), problems=())
    monkeypatch.setattr("pages.components.resources.stress_tables", lambda: tables)
    advice = "tiny turns 75 % of its clear verdicts"
    page.run()
    page.text_input(key="folder-typed").set_value(str(tmp_path / "calls")).run()
    next(button for button in page.button if button.label == "Look first").click().run()
    warning = page.warning[0].value.replace("\\", "")
    assert warning.startswith(f"Sampled at 8 kHz or less: about 2 of 2. On telephone lines {advice}")
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), tiny_detector, ScanSettings()))
    page.query_params["audit"] = "1"
    warning = page.run().warning[0].value.replace("\\", "")
    assert warning.startswith(f"Telephone bandwidth in 2 of 2 recordings. On telephone lines {advice}")
    page.query_params["entry"] = "1"
    assert [warning.value.replace("\\", "").startswith("On telephone lines") for warning in page.run().warning].count(True) == 1


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
    assert len(finished.dataframe[0].value) == 7  # what is in the store is shown all the same


def _select(page: AppTest, *rows: int) -> AppTest:
    page.session_state[page.dataframe[0].key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    return page.run()


def _save_review(page: AppTest, verdict: str, *, everything: bool = False) -> AppTest:
    page.text_input(key="reviewer-field").set_value("A. Analyst")
    next(box for box in page.checkbox if "Apply to all" in box.label).set_value(everything)
    return next(button for button in page.button if button.label == verdict.capitalize()).click().run()


def _reviewed(store) -> set[str]:
    return {row.path for row in triage_page(store, 1, TriageFilter(review="reviewed")).rows}


def test_results_that_come_in_move_no_other_file_under_a_selection(
    page: AppTest, store, tiny_detector, tmp_path: Path, write_recordings
) -> None:
    folder = tmp_path / "calls"
    write_recordings(folder, 6)
    ledger = Ledger(
        store, prepare_audit(store, str(folder), tiny_detector, ScanSettings()), f"{os.uname().nodename}:{os.getpid()}:t"
    )
    ledger.claim()
    ledger.add_entries(list(find_files(str(folder), ScanSettings())))
    ledger.mark_listed()
    scorer = Scorer(tiny_detector)
    pending = ledger.pending_files(after=0, limit=10)
    records = [(file.entry_id, scorer.score_file(folder / os.fsdecode(file.path_bytes))) for file in pending]
    records.sort(key=lambda item: item[1].detections[0].spoof_score)
    ledger.record_results(scored=records[:3], reused=[])
    page.query_params["audit"] = "1"
    page.run()
    seen = page.dataframe[0].value["Path"][0]
    ledger.record_results(scored=records[3:], reused=[])  # higher scores, after the analyst looked
    _save_review(_select(page, 0), "spoof")
    assert _reviewed(store) == {seen}
    assert page.dataframe[0].value["Path"][0] != seen  # the newest order, now that nothing is selected


def test_a_review_of_all_matches_is_of_all_and_only_once(finished: AppTest, store) -> None:
    finished.button_group(key="verdicts-1").set_value(["spoof", "inconclusive", "bona fide"]).run()
    _save_review(_select(finished, 0), "bona fide", everything=True)
    assert len(_reviewed(store)) == 6
    _select(finished, 1)
    assert not next(box for box in finished.checkbox if "Apply to all" in box.label).value


def test_a_deselected_file_closes_and_a_review_opens_the_next(finished: AppTest, store) -> None:
    paths = [row.path for row in triage_page(store, 1).rows]
    assert paths[0] in _words(_select(finished, 0))
    assert paths[0] not in _words(_select(finished))
    _save_review(_select(finished, 0), "spoof")
    assert paths[1] in _words(finished)
    assert paths[0] not in _words(finished)
    finished.button(key="desk-Previous").click().run()
    assert paths[0] in _words(finished)
    assert "A. Analyst: spoof" in _words(finished)
    _save_review(_select(finished, len(paths) - 1), "inconclusive")
    assert paths[-1] in _words(finished)  # there is no next one
    assert "A. Analyst: inconclusive" in _words(finished)


def test_what_a_review_takes_out_of_the_filter_is_followed_by_the_next(finished: AppTest, store) -> None:
    paths = [row.path for row in triage_page(store, 1).rows]
    finished.selectbox(key="review-1").set_value("Not yet reviewed").run()
    _select(finished, 1)
    for path in paths[2:5]:
        _save_review(finished, "spoof")
        assert path in _words(finished)
    assert _reviewed(store) == set(paths[1:4])
    assert list(finished.dataframe[0].value["Path"]) == [paths[0], *paths[4:]]


def test_a_linked_file_can_be_reviewed(finished: AppTest, store) -> None:
    row = triage_page(store, 1).rows[1]
    finished.query_params["entry"] = str(row.entry_id)
    _save_review(finished.run(), "inconclusive")
    assert _reviewed(store) == {row.path}


def test_a_file_of_another_audit_is_told(finished: AppTest, store, tiny_detector, tmp_path: Path, write_recordings) -> None:
    write_recordings(tmp_path / "others", 1, first_seed=20)
    run_audit(store, prepare_audit(store, str(tmp_path / "others"), tiny_detector, ScanSettings()))
    finished.query_params["entry"] = str(matching_entries(store, 2)[0])
    finished.run()
    assert "belongs to audit 2, not 1" in _words(finished)
    assert "r0020.wav" not in _words(finished)


def test_a_file_that_changed_is_told_and_not_played(finished: AppTest, store, tmp_path: Path, speech_like) -> None:
    row = triage_page(store, 1).rows[0]
    soundfile.write(tmp_path / "calls" / row.path, speech_like(3, 99), 16_000)
    finished.query_params["entry"] = str(row.entry_id)
    finished.run()
    assert not finished.exception
    assert "has changed since the audit" in _words(finished)
    assert not finished.get("audio")


def test_names_that_are_not_utf8_or_turn_the_reading_direction(
    page: AppTest, store, tiny_detector, tmp_path: Path, speech_like
) -> None:
    (tmp_path / "calls").mkdir()
    for name in (b"l\xe9gal.wav", "txt\u202egnp.wav".encode(), b"line\nbreak.wav"):
        with open(os.path.join(os.fsencode(tmp_path / "calls"), name), "wb") as file:
            soundfile.write(file, speech_like(3, len(name)), 16_000, format="WAV")
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), tiny_detector, ScanSettings()))
    page.query_params["audit"] = "1"
    for row in range(3):
        _select(page.run(), row)
        assert not page.exception
        assert len(page.get("audio")) == 1
    assert sorted(page.dataframe[0].value["Path"]) == ["l\\xe9gal.wav", "line\\nbreak.wav", "txt\\u202egnp.wav"]


def test_another_filter_begins_on_the_first_page(page: AppTest, store, tiny_detector, tmp_path: Path, write_recordings) -> None:
    write_recordings(tmp_path / "calls", 52)
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), tiny_detector, ScanSettings()))
    page.query_params["audit"] = "1"
    next(field for field in page.run().number_input if field.label == "Page").set_value(2).run()
    assert len(page.dataframe[0].value) == 2
    page.text_input(key="text-1").set_value("r000").run()
    assert len(page.dataframe[0].value) == 10


def test_unfamiliar_recordings_are_filtered_and_warned_of(
    lively_detector, store, tmp_path: Path, write_recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARWITNESS_ROOTS", str(tmp_path))
    write_recordings(tmp_path / "calls", 8)
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), lively_detector, ScanSettings()))
    unfamiliar = triage_page(store, 1, TriageFilter(unfamiliar=True)).rows
    assert 0 < len(unfamiliar) < 8
    page = AppTest.from_file(HOME, default_timeout=60).switch_page("pages/1_Batch_audit.py")
    page.query_params["audit"], page.query_params["entry"] = "1", str(unfamiliar[0].entry_id)
    page.run()
    page.selectbox(key="familiar-1").set_value("Unfamiliar").run()
    assert not page.exception
    table = next(frame.value for frame in page.dataframe if "Remarks" in frame.value)
    assert table["Remarks"].tolist() == ["unfamiliar"] * len(unfamiliar)
    words = _words(page)
    assert "**Unfamiliar.**" in words
    assert "was not measured" in words  # how often it is raised for nothing: nobody measured it for this detector
    assert "What to do" in words
    page.selectbox(key="familiar-1").set_value("Not unfamiliar").run()
    table = next(frame.value for frame in page.dataframe if "Remarks" in frame.value)
    assert table["Remarks"].tolist() == [""] * (8 - len(unfamiliar))

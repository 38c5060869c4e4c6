"""Stress test: empty, working and failing; the heat map, one recording's card, the shortcut report, links."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamlit.testing.v1 import AppTest
from stress_records import effects, run_in_pytorch, shortcut_report, stress_table

from core.records import ScanSettings, TriageFilter
from core.scanning.browse import SAMPLES_FOLDER
from core.scanning.scan import prepare_audit, run_audit
from core.shortcuts import report_files
from core.shortcuts.records import ShortcutAudit
from core.shortcuts.report_files import own_shortcut_folder, save_audit
from core.store.triage import matching_entries
from core.stress import recording, table_files
from core.stress.conditions import CONDITIONS, apply_condition, conditions_named
from core.stress.recording import stress_recording
from core.stress.table_files import own_stress_folder, save_table

HOME = str(Path(__file__).parents[1] / "Home.py")
SAMPLE = SAMPLES_FOLDER / "flite" / "flite_slt_invoice.flac"
FEW = conditions_named(["gain", "band"])


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text, *app.success, *app.code]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


@pytest.fixture
def page(lively_detector, store_url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("EARWITNESS_ROOTS", str(tmp_path))
    monkeypatch.setenv("EARWITNESS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(table_files, "SHIPPED_STRESS", tmp_path / "none")
    monkeypatch.setattr(report_files, "SHIPPED_SHORTCUTS", tmp_path / "none")
    monkeypatch.setattr(recording, "CONDITIONS", {condition.name: condition for condition in FEW})
    run_in_pytorch(monkeypatch)
    return AppTest.from_file(HOME, default_timeout=120).switch_page("pages/8_Stress_test.py")


def _run(page: AppTest, view: str | None = None) -> AppTest:
    if view:
        page.query_params["view"] = view
    page.run()
    assert not page.exception
    return page


def test_without_results_the_page_says_how_to_get_some(page: AppTest) -> None:
    _run(page)
    assert "No stress test has been run yet" in _words(page)
    assert f"python -m core stress FOLDER --protocol PROTOCOL.txt --out {own_stress_folder()}" in _words(page)
    assert not page.get("plotly_chart")


def test_own_results_are_a_heat_map_with_intervals_beside_it(page: AppTest) -> None:
    save_table(stress_table(), own_stress_folder() / "mine.json")
    _run(page)
    assert len(page.get("plotly_chart")) == 1
    assert "95 % intervals from 200 resamples of speakers" in _words(page)
    assert "A note." in _words(page)
    page.button_group(key="stress-view-True").set_value("Intervals").run()
    page.selectbox(key="stress-attack").select("A07").run()
    assert not page.exception
    assert len(page.get("plotly_chart")) == 1
    page.button_group(key="stress-view-True").set_value("Table").run()
    table = page.dataframe[0].value
    assert table["Condition"][0] == "As it is"
    assert table["A07"][4] == "35.0 % (33.0 to 37.0)"
    page.button_group(key="stress-figures").set_value("change").run()
    assert page.dataframe[0].value["A07"][4] == "+25.0 (+23.0 to +27.0)"
    page.button_group(key="stress-view-True").set_value("Verdicts that stay").run()
    assert not page.exception
    assert len(page.get("plotly_chart")) == 1


def test_families_and_attacks_narrow_the_table(page: AppTest) -> None:
    save_table(stress_table(), own_stress_folder() / "mine.json")
    _run(page)
    page.multiselect(key="stress-families").select("phone").run()
    page.button_group(key="stress-view-True").set_value("Table").run()
    page.multiselect(key="stress-attacks-2").select("A07").run()
    assert not page.exception
    assert list(page.dataframe[0].value.columns) == ["Condition", "All spoofs", "A07"]
    assert list(page.dataframe[0].value["Condition"]) == ["As it is", CONDITIONS["phone_gsm"].title]


def test_a_set_without_labels_shows_verdicts_alone(page: AppTest) -> None:
    shares = tuple(share for share in stress_table().shares if share.label == "all")
    save_table(stress_table(attacks=(), cells={}, shares=shares), own_stress_folder() / "mine.json")
    _run(page)
    assert len(page.get("plotly_chart")) == 1
    assert page.button_group(key="stress-view-False").value == "Verdicts that stay"


def test_a_damaged_result_is_told_and_costs_only_itself(page: AppTest) -> None:
    save_table(stress_table(), own_stress_folder() / "mine.json")
    (own_stress_folder() / "bad.json").write_text("{")
    _run(page)
    assert "bad.json" in _words(page)
    assert len(page.get("plotly_chart")) == 1


def test_a_linked_result_opens(page: AppTest) -> None:
    save_table(stress_table(), own_stress_folder() / "a.json")
    save_table(stress_table(set_name="the other"), own_stress_folder() / "b.json")
    page.query_params["table"] = "b"
    _run(page)
    assert "the other" in _words(page)


def test_one_recording_asks_for_one(page: AppTest) -> None:
    _run(page, "recording")
    assert "Nothing chosen yet" in _words(page)


def test_a_card_of_a_sample(page: AppTest, lively_detector) -> None:
    _run(page, "recording")
    page.selectbox(key="sample").select(SAMPLE).run()
    assert not page.exception
    assert not page.error
    from core.explanation.excerpts import read_excerpt

    samples = read_excerpt(SAMPLE).samples
    card = stress_recording(lively_detector, samples, FEW)
    metrics = {metric.label: metric.value for metric in page.metric}
    assert metrics["Spoof score (nats)"] == f"{card.score:+.2f}"
    assert metrics["Survives"] == f"{card.num_survived} of {len(FEW)}"
    assert card.words in _words(page)
    assert len(page.get("plotly_chart")) == 1
    table = page.dataframe[0].value
    assert set(table["In words"]) == {flip.words for flip in card.smallest_flip}
    assert len(page.get("audio")) == 2
    heard = next(box for box in page.selectbox if box.label == "Condition")
    heard.select("band_4k").run()
    assert not page.exception
    row = next(row for row in card.rows if row.condition.name == "band_4k")
    assert f"{row.score:+.2f}: {row.verdict}" in _words(page)
    assert np.array_equal(apply_condition(samples, CONDITIONS["band_4k"]), apply_condition(samples, CONDITIONS["band_4k"]))


def test_silence_has_no_verdict_to_stress(page: AppTest, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(32_000), 16_000)
    _run(page, "recording")
    page.button_group(key="source").set_value("A file").run()
    page.file_uploader(key="upload").set_value([("s.wav", (tmp_path / "s.wav").read_bytes(), "audio/wav")]).run()
    assert not page.exception
    assert "no verdict to stress" in _words(page)


@pytest.fixture
def audited(page: AppTest, store, lively_detector, tmp_path: Path, write_recordings) -> AppTest:
    """The page, opened on a file of an audit whose recordings have labels."""
    write_recordings(tmp_path / "calls", 4)
    paths = sorted((tmp_path / "calls").glob("*.wav"))
    lines = [f"s{i} {path.stem} - {'A01 spoof' if i % 2 else '- bonafide'}" for i, path in enumerate(paths)]
    protocol = tmp_path / "calls" / "protocol.txt"
    protocol.write_text("\n".join(lines) + "\n")
    settings = ScanSettings(protocol=str(protocol))
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), lively_detector, settings))
    return page


def test_a_linked_file_opens_its_card_or_is_told_gone(audited: AppTest, store, tmp_path: Path) -> None:
    audited.query_params["entry"] = str(matching_entries(store, 1, TriageFilter())[0])
    _run(audited)
    assert "Survives" in {metric.label for metric in audited.metric}
    for path in (tmp_path / "calls").glob("*.wav"):
        path.unlink()
    _run(audited)
    assert "no longer there" in _words(audited)


def test_shortcuts_without_labels_say_where_labels_come_from(page: AppTest) -> None:
    _run(page, "shortcuts")
    assert "No audit has labels by a protocol yet" in _words(page)


def test_too_small_a_set_is_told(audited: AppTest) -> None:
    _run(audited, "shortcuts")
    audited.button(key="shortcut-probe").click().run()
    assert not audited.exception
    assert audited.error


def test_a_planted_leak_is_found_and_told(page: AppTest, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    folder.mkdir()
    lines = []
    for i in range(60):
        is_spoof = i % 2 == 1
        samples = 0.1 * rng.standard_normal(8_000 + (6_000 if is_spoof else 0) + int(rng.integers(0, 2_000)))
        soundfile.write(folder / f"r{i}.wav", samples, 16_000)
        lines.append(f"s{i} r{i} - {'A01 spoof' if is_spoof else '- bonafide'}")
    (folder / "protocol.txt").write_text("\n".join(lines) + "\n")
    _run(page, "shortcuts")
    page.button_group(key="shortcut-source-2").set_value("A folder with a protocol").run()
    page.text_input(key="folder-typed").set_value(str(folder)).run()
    page.button(key="shortcut-probe").click().run()
    assert not page.exception
    assert "uration" in page.error[0].value
    assert len(page.get("plotly_chart")) == 1
    assert "30 bona fide, 30 spoofs" in _words(page)


def test_a_folder_without_a_protocol_is_told(page: AppTest, tmp_path: Path) -> None:
    _run(page, "shortcuts")
    page.button_group(key="shortcut-source-2").set_value("A folder with a protocol").run()
    page.text_input(key="folder-typed").set_value(str(tmp_path)).run()
    assert not page.exception
    assert "There is no file" in _words(page)


@pytest.mark.parametrize("is_clean", [False, True])
def test_a_stored_audit_is_shown_with_its_detector(page: AppTest, *, is_clean: bool) -> None:
    audit = ShortcutAudit(
        report=shortcut_report(is_clean=is_clean),
        detector_name="tiny",
        detector_hash="ab" * 32,
        effects=effects(),
        created="2026-11-25T12:00:00+00:00",
    )
    save_audit(audit, own_shortcut_folder() / "mine.json")
    _run(page, "shortcuts")
    assert len(page.get("plotly_chart")) == 2
    assert ("This set is clean." if is_clean else "This set leaks.") in _words(page)
    assert "Moves." in _words(page)


def test_a_detector_is_watched_while_features_change(audited: AppTest) -> None:
    _run(audited, "shortcuts")
    audited.button(key="shortcut-intervene").click().run()
    assert not audited.exception
    assert audited.error or len(audited.get("plotly_chart")) == 1

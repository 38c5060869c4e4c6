"""Attack accuracy: empty, working and failing; import, threshold, errors, recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arenas import NUM_EACH, fill, protocol_lines, score_lines, scores_of, small_set
from streamlit.testing.v1 import AppTest

from core.evaluation import shipped_results
from core.evaluation.evaluate import errors_of, group_table
from core.evaluation.operating_points import OperatingPoint, thresholds_at
from core.evaluation.reads import entry_of
from core.evaluation.systems import add_system, attach_protocol, list_trial_sets, load_systems
from core.evaluation.trial_sets import make_trial_set
from core.records import ScanSettings
from core.scanning.scan import prepare_audit, run_audit

HOME = str(Path(__file__).parents[1] / "Home.py")


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text, *app.success, *app.header]
    return "\n".join(str(part.value) for part in parts)


@pytest.fixture
def page(store_url: str) -> AppTest:
    return AppTest.from_file(HOME, default_timeout=120).switch_page("pages/3_Attack_accuracy.py")


@pytest.fixture
def no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_results, "SHIPPED_RESULTS", tmp_path)


def _run(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def _table(page: AppTest):
    """The table of groups: the first one on the page."""
    return page.dataframe[0]


def _click(page: AppTest, row: int, system: str) -> AppTest:
    page.session_state[_table(page).key] = {"selection": {"rows": [], "columns": [], "cells": [(row, system)]}}
    return _run(page)


def _import(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    page.file_uploader(key="import-scores-0").set_value([(name, data, "text/plain") for name, data in files])
    return _run(page)


def _button(page: AppTest, words: str):
    return next(button for button in page.button if words in button.label)


def test_empty_state_teaches(page: AppTest, no_results: None) -> None:
    words = _words(_run(page))
    assert "Nothing to look at yet" in words
    assert "utterance attack key score" in words
    assert "No audits yet" in words
    assert not page.dataframe


def test_what_verdicts_leave_undecided_is_shown_of_systems_with_verdicts(page: AppTest) -> None:
    page.query_params["set"] = shipped_results.shipped_results().trial_set.key
    page.query_params["system"] = ["vgg27-telephone", "lfcc-gmm"]
    _run(page)
    assert "What do verdicts leave undecided?" in _words(page)
    (row,) = next(frame.value for frame in page.dataframe if "Spoofs undecided" in frame.value).to_dict("records")
    assert (row["System"], row["Inconclusive"]) == ("vgg27-telephone", "-1.47 to +1.03")
    assert (row["Bona fide undecided"], row["Decided spoofs wrong"]) == ("40.0 % (34.9 to 45.1)", "7.1 % (3.3 to 12.5)")


def test_the_shipped_results_are_there_from_the_start(page: AppTest) -> None:
    _run(page)
    assert page.selectbox(key="arena-set").options == ["Earwitness corpus, test: 684 trials"]
    titles = list(_table(page).value.iloc[:, 0])
    assert titles[0] == "Human (bona fide)"
    assert titles[-1] == "Total"


@pytest.mark.parametrize("metric", ["accuracy", "eer", "miss_rate", "auc"])
def test_every_metric_has_its_figure_interval_and_count(page: AppTest, store, metric: str) -> None:
    trial_set = fill(store)
    page.session_state["metric"] = metric
    _run(page)
    expected = group_table(load_systems(store, trial_set.key, ["system 0", "system 1"]), metric=metric)
    shown = _table(page).value
    assert list(shown.iloc[:, 0]) == [row.title for row in expected.rows]
    for i, cells in enumerate(expected.cells):
        for name, cell in zip(expected.systems, cells, strict=True):
            assert shown[name][i] == pytest.approx(cell.value, nan_ok=True) if cell.value is not None else np.isnan(shown[name][i])
    published = [name for name in shown.columns if "published" in name]
    assert published == {"accuracy": ["CNN-Multiply (published)", "CNN-3000 (published)"], "eer": ["AASIST (published)"]}.get(
        metric, []
    )
    styler = _table(page).proto.arrow_data.styler
    assert b" to " in styler.display_values
    assert f"n {NUM_EACH}".encode() in styler.display_values
    assert "background-color" in styler.styles


def test_the_unreported_attack_is_shown_as_missing(page: AppTest, store) -> None:
    fill(store)
    _run(page)
    shown = _table(page).value.set_index("Attack")["CNN-Multiply (published)"]
    assert shown["A07"] == 0.9988
    assert np.isnan(shown["A08"])


def test_the_threshold_moves_table_and_errors(page: AppTest, store) -> None:
    trial_set = fill(store)
    _run(page)
    page.session_state["point-kind-3"] = "false alarm"
    _run(page)
    page.select_slider(key="point-share").set_value(0.2)
    _run(page)
    systems = load_systems(store, trial_set.key, ["system 0", "system 1"])
    thresholds = thresholds_at(systems, OperatingPoint(kind="false alarm", value=0.2))
    expected = group_table(systems, metric="accuracy", thresholds=thresholds)
    assert list(_table(page).value["system 1"]) == [cells[1].value for cells in expected.cells]
    assert _table(page).value["system 1"][0] == pytest.approx(0.8)
    _click(page, 0, "system 1")
    assert len(page.dataframe[1].value) == NUM_EACH * 0.2


def test_a_click_lists_the_errors_of_the_cell_worst_first(page: AppTest, store) -> None:
    trial_set = fill(store)
    _run(page)
    assert "Click a cell" in _words(page)
    row = list(_table(page).value["Attack"]).index("A17")
    _click(page, row, "system 1")
    (system,) = load_systems(store, trial_set.key, ["system 1"])
    errors = errors_of(system, row_key="A17")
    assert list(page.dataframe[1].value["Utterance"]) == [trial.utterance for trial in errors]
    assert page.dataframe[1].value["Score"].is_monotonic_increasing
    assert "VAE" in _words(page)  # how A17 is made
    _click(page, row, "CNN-3000 (published)")  # has no scores to list
    assert len(page.dataframe) == 1


def test_the_worst_attack_of_a_system_comes_first_when_asked(page: AppTest, store) -> None:
    fill(store)
    _run(page)
    box = next(box for box in page.selectbox if box.label == "Order")
    box.set_value("system 1")
    _run(page)
    shown = _table(page).value
    assert shown["Attack"][1] == "A17"
    assert shown["Attack"].iloc[-1] == "Total"


@pytest.mark.parametrize("view", ["Heat map", "Intervals"])
def test_the_table_as_a_figure_with_its_downloads(page: AppTest, store, view: str) -> None:
    fill(store)
    page.session_state["group-view"] = view
    page.session_state["picture-format"] = "SVG"
    _run(page)
    (figure,) = page.get("plotly_chart")
    assert json.loads(figure.proto.config)["toImageButtonOptions"]["format"] == "svg"
    assert [button.label for button in page.get("download_button")] == ["CSV"]
    assert not page.dataframe


# Which set, which systems ----------------------------------------------------------------------------------------


def test_the_address_names_set_and_systems(page: AppTest, store) -> None:
    trial_set = fill(store, num_systems=4)
    page.query_params["set"] = trial_set.key
    page.query_params["system"] = ["system 3", "system 1"]
    _run(page)
    assert page.multiselect[0].value == ["system 3", "system 1"]
    page.multiselect[0].set_value(["system 2"])
    _run(page)
    assert page.query_params["system"] in ("system 2", ["system 2"])
    assert page.query_params["set"] in (trial_set.key, [trial_set.key])


def test_an_address_of_a_set_that_is_gone_is_told(page: AppTest, store) -> None:
    fill(store)
    page.query_params["set"] = "0123456789abcdef"
    assert "not in this store" in _words(_run(page))
    assert "system 0" in _table(page).value


def test_a_system_is_removed(page: AppTest, store) -> None:
    trial_set = fill(store)
    _run(page)
    page.selectbox(key=f"arena-remove-{trial_set.key}").set_value("system 0")
    _button(page, "Remove").click()
    _run(page)
    assert page.multiselect[0].options == ["system 1"]
    assert [system.name for system in list_trial_sets(store)[0].systems] == ["system 1"]


# Import ----------------------------------------------------------------------------------------------------------


def test_files_with_labels_are_imported_and_opened(page: AppTest, store, no_results: None) -> None:
    trial_set = small_set()
    scores = [scores_of(trial_set, seed=seed) for seed in (1, 2)]
    files = [(f"mine-{i}.txt", score_lines(trial_set, values)) for i, values in enumerate(scores)]
    _import(_run(page), *files)
    assert "all fit 40 bona fide and 120 spoofed trials" in _words(page)
    page.text_input(key="import-set-0").set_value("My trials")
    _button(page, "Import 2 of 2 systems").click()
    _run(page)
    assert page.multiselect[0].value == ["mine-0", "mine-1"]
    (summary,) = list_trial_sets(store)
    assert summary.name == "My trials"
    (first,) = load_systems(store, summary.key, ["mine-0"])
    assert first.scores == pytest.approx(scores[0], abs=1e-6)  # turned: higher means spoof


def test_an_inverted_file_is_told_and_turned_only_when_asked(page: AppTest, store) -> None:
    trial_set = small_set()
    scores = scores_of(trial_set, seed=1)
    _import(_run(page), ("inverted.txt", score_lines(trial_set, -scores)))
    words = _words(page)
    assert "looks inverted" in words
    assert "Decide on the sign" in words
    assert _button(page, "Import the system").disabled
    page.radio(key="import-0-0-sign").set_value("flip")
    _run(page)
    _button(page, "Import the system").click()
    _run(page)
    (system,) = load_systems(store, trial_set.key, ["inverted"])
    assert system.is_flipped
    assert system.scores == pytest.approx(scores, abs=1e-6)
    assert "signs of its scores were turned on import" in _words(page)


def test_a_set_of_one_class_is_not_what_the_page_opens_with(page: AppTest, store) -> None:
    trial_set = fill(store)
    spoofs = make_trial_set("A few reviews", trial_set.table[trial_set.is_spoof])
    add_system(store, spoofs, "system 0", scores_of(spoofs, seed=0), is_flipped=False, note="")
    assert list_trial_sets(store)[0].key == spoofs.key
    assert _run(page).selectbox(key="arena-set").value == trial_set.key
    assert not page.error


def test_plain_scores_take_their_labels_from_a_protocol(page: AppTest, store) -> None:
    trial_set = small_set()
    scores = scores_of(trial_set, seed=1)
    lines = "".join(f"{name} {-score}\n" for name, score in zip(trial_set.table["utterance"], scores, strict=True))
    _run(page).radio(key="import-source").set_value("A protocol file")
    _import(_run(page), ("plain.txt", lines.encode()))
    assert "Now say which trials are spoofed" in _words(page)
    page.file_uploader(key="import-protocol-0").set_value(("la.trl.txt", protocol_lines(trial_set), "text/plain"))
    _run(page)
    _button(page, "Import the system").click()
    _run(page)
    assert list_trial_sets(store)[0].key == trial_set.key


def test_columns_without_usual_names_are_asked_for(page: AppTest, store) -> None:
    trial_set = fill(store)
    scores = scores_of(trial_set, seed=5)
    lines = "".join(f"{name};{score}\n" for name, score in zip(trial_set.table["utterance"], scores, strict=True))
    _run(page).radio(key="import-source").set_value("A set that is here already")
    _run(page).selectbox(key="import-into").set_value(trial_set.key)
    _import(page, ("odd.csv", ("clip;llr\n" + lines).encode()))
    assert "Which holds the utterance" in _words(page)
    page.selectbox(key="import-0-0-column-utterance").set_value("clip")
    page.selectbox(key="import-0-0-column-score").set_value("llr")
    _run(page)
    page.button_group(key="import-0-0-higher").set_value("spoof")
    _run(page)
    _button(page, "Import the system").click()
    _run(page)
    assert load_systems(store, trial_set.key, ["odd"])[0].scores == pytest.approx(scores)


def _lines(trial_set) -> list[bytes]:
    return score_lines(trial_set, scores_of(trial_set, seed=1)).splitlines(keepends=True)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda lines: [*lines[:4], b"LA_E_0000004 - bonafide\n", *lines[5:]], "line 5: expected 4 columns"),
        (
            lambda lines: [*lines[:7], lines[7].rsplit(b" ", 1)[0] + b" nan\n", *lines[8:]],
            "line 8: the score of LA_E_0000007 is NaN",
        ),
        (lambda lines: [*lines[:7], lines[7].rsplit(b" ", 1)[0] + b" loud\n", *lines[8:]], "line 8: the score is 'loud'"),
        (lambda lines: [*lines, lines[3]], "line 161: LA_E_0000003 occurs twice, first in line 4"),
        (lambda lines: lines[:30], "lines 1 to 30: all 30 scored trials are bona fide"),
    ],
)
def test_bad_files_are_told_with_the_line(page: AppTest, store_url: str, make, words: str) -> None:
    _import(_run(page), ("bad.txt", b"".join(make(_lines(small_set())))))
    told = "\n".join(error.value.replace("\\", "") for error in page.error)
    assert words in told
    assert _button(page, "Import the system").disabled


def test_a_file_of_another_set_is_told(page: AppTest, store) -> None:
    trial_set = fill(store)
    _run(page).radio(key="import-source").set_value("A set that is here already")
    _run(page).selectbox(key="import-into").set_value(trial_set.key)
    _import(page, ("other.txt", b"PA_E_1 0.1\nPA_E_2 0.2\n"))
    told = page.error[0].value.replace("\\", "")
    assert "line 1: PA_E_1 is not in Small set" in told
    assert "another set" in told


def test_a_name_that_is_taken_is_told(page: AppTest, store) -> None:
    trial_set = fill(store)
    _import(_run(page), ("system 0.txt", score_lines(trial_set, scores_of(trial_set, seed=9))))
    _button(page, "Import the system").click()
    assert "has a system 'system 0' already" in _words(_run(page)).replace("\\", "")


# Audits ----------------------------------------------------------------------------------------------------------


def test_an_audit_with_a_protocol_is_a_system_whose_errors_play(
    page: AppTest, store, lively_detector, tmp_path: Path, write_recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recordings(tmp_path / "calls", 6)
    audit = run_audit(store, prepare_audit(store, str(tmp_path / "calls"), lively_detector, ScanSettings()))
    # Labels that the detector must get wrong: the lower half of its scores is called spoof.
    labels = "".join(f"s r{seed:04d} - {'A01 spoof' if seed < 3 else '- bonafide'}\n" for seed in range(6))
    _run(page)
    assert f"Audit {audit.id}" in page.selectbox(key="label-audit").options[0]
    page.file_uploader(key="label-protocol").set_value(("calls.txt", labels.encode(), "text/plain"))
    _run(page)
    _button(page, "Attach the labels").click()
    _run(page)
    assert page.selectbox(key="arena-set").value == f"audit-{audit.id}"
    table = _table(page).value
    system = table.columns[1]
    page.session_state["point-kind-4"] = "score"
    _run(page)
    slider = next(slider for slider in page.slider if slider.label == "Score")
    slider.set_value(slider.min)  # all is called spoof: every bona fide recording is an error
    _run(page)
    _click(page, 0, system)
    errors = page.dataframe[1]
    assert len(errors.value) == 3
    page.session_state[errors.key] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    _run(page)
    assert len(page.get("audio")) == 1
    for words in ("Open it in its audit", "what the detector looked at"):
        link = next(link for link in page.get("page_link") if words in link.proto.label)
        assert "entry=" in link.proto.query_string
    (tmp_path / "calls" / f"{errors.value['Utterance'][0]}.wav").unlink()
    _run(page)
    assert "cannot be played" in _words(page)


def test_scores_without_audio_say_how_to_hear_them(page: AppTest, store) -> None:
    fill(store)
    _run(page)
    _click(page, 3, "system 1")
    page.session_state[page.dataframe[1].key] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    assert "not at hand" in _words(_run(page))


def test_a_recording_is_found_by_its_name_in_any_audit(store, tiny_detector, tmp_path: Path, write_recordings) -> None:
    paths = write_recordings(tmp_path / "calls" / "deep", 2)
    paths[0].rename(paths[0].with_name("LA_E_0000003.wav"))
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), tiny_detector, ScanSettings()))
    trial_set = fill(store)
    (system,) = load_systems(store, trial_set.key, ["system 1"])
    trials = errors_of(system, row_key="human", threshold=-100.0)
    found = {trial.utterance: entry_of(store, trial) for trial in trials}
    assert [name for name, entry_id in found.items() if entry_id is not None] == ["LA_E_0000003"]


def test_one_class_only_is_told_and_a_score_can_still_be_chosen(
    page: AppTest, store, lively_detector, tmp_path: Path, write_recordings
) -> None:
    write_recordings(tmp_path / "calls", 3)
    audit = run_audit(store, prepare_audit(store, str(tmp_path / "calls"), lively_detector, ScanSettings()))
    table = {"utterance": ["r0000", "r0001", "r0002"], "label": ["spoof"] * 3, "attack": ["A01"] * 3}
    attach_protocol(store, audit.id, make_trial_set("spoofs only", pd.DataFrame(table)))
    page.query_params["set"] = f"audit-{audit.id}"
    assert "needs both classes" in _words(_run(page))
    page.session_state["point-kind-4"] = "own"
    _run(page)
    assert not page.error
    assert list(_table(page).value.iloc[:, 0]) == ["A01", "Total"]


def test_an_unreadable_store_is_told(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_DB", "sqlite:////proc/none/test.db")
    _run(page)
    assert any("cannot be opened" in error.value for error in page.error)

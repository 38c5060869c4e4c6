"""Confusion matrices: empty, working and failing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arenas import NUM_EACH, fill
from streamlit.testing.v1 import AppTest

from core.calibration import choose_thresholds
from core.evaluation import shipped_results
from core.evaluation.confusion import confusion_matrix, verdict_table
from core.evaluation.operating_points import OperatingPoint, scored_trials, thresholds_at
from core.evaluation.systems import attach_protocol, load_systems
from core.evaluation.trial_sets import parse_trial_set
from core.records import ScanSettings
from core.scanning.scan import prepare_audit, run_audit

HOME = str(Path(__file__).parents[1] / "Home.py")


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text, *app.success]
    return "\n".join(str(part.value) for part in parts)


@pytest.fixture
def page(store_url: str) -> AppTest:
    return AppTest.from_file(HOME, default_timeout=120).switch_page("pages/4_Confusion_matrices.py")


def _run(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def _open(page: AppTest, store):
    """Opens the page on systems 0 and 1 of the small set."""
    trial_set = fill(store)
    page.query_params["set"] = trial_set.key
    page.query_params["system"] = ["system 0", "system 1"]
    _run(page)
    return trial_set


def _figures(page: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]


def _cells(figure: dict) -> list[str]:
    return next(trace["text"] for trace in figure["data"] if trace["type"] == "scatter")


def test_empty_state_teaches(page: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_results, "SHIPPED_RESULTS", tmp_path)
    assert "Nothing to look at yet" in _words(_run(page))
    assert not page.get("plotly_chart")


def test_matrices_stand_beside_the_detector_that_always_says_spoof(page: AppTest, store) -> None:
    trial_set = _open(page, store)
    systems = load_systems(store, trial_set.key, ["system 0", "system 1"])
    thresholds = thresholds_at(systems, OperatingPoint(kind="eer"))
    figures = _figures(page)
    for system, figure in zip(systems, figures):
        matrix = confusion_matrix(system, thresholds[system.name])
        shown = [int(cell.split("<b>")[1].split("</b>")[0]) for cell in _cells(figure)]
        assert shown == [matrix.true_spoof, matrix.missed, matrix.false_alarm, matrix.true_bona_fide]
    always = ["<b>120</b><br>100.0 %", "<b>0</b><br>0.0 %", "<b>40</b><br>100.0 %", "<b>0</b><br>0.0 %"]
    assert _cells(figures[2]) == always
    words = _words(page).replace("\\", "")
    assert "0.0 % of bona fide speech and 100.0 % of spoofs are called right" in words
    assert "Accuracy is 75.0 %, because 120 of 160 trials are spoofs" in words
    assert len(figures) == 3 + 2  # and a histogram for each system


def test_the_threshold_moves_the_matrices(page: AppTest, store) -> None:
    fill(store)
    page.session_state["point-kind-3"] = "score"
    _run(page)
    slider = next(slider for slider in page.slider if slider.label == "Score")
    slider.set_value(slider.max)
    _run(page)
    counts = [int(cell.split("<b>")[1].split("</b>")[0]) for cell in _cells(_figures(page)[0])]
    assert counts[0] <= 1  # nearly nothing is called spoof
    assert counts[3] == NUM_EACH


@pytest.mark.parametrize(
    ("tab", "num_figures", "words"),
    [
        ("DET", 4, "where both errors are equal"),
        ("Reliability", 4, "On the diagonal the claim holds"),
        ("Verdicts by attack", 5, "limits from this very set"),
    ],
)
def test_what_lies_behind_the_matrices(page: AppTest, store, tab: str, num_figures: int, words: str) -> None:
    page.session_state["confusion-tab"] = tab
    trial_set = _open(page, store)
    figures = _figures(page)
    assert len(figures) == num_figures
    assert words in _words(page)
    assert len(page.get("download_button")) == num_figures
    if tab == "Verdicts by attack":
        (system,) = load_systems(store, trial_set.key, ["system 0"])
        table = verdict_table(system, choose_thresholds(*scored_trials(system), max_error=0.01))
        expected = [
            count for row in table.rows for count in (row.num_bona_fide, row.num_inconclusive, row.num_spoof, row.num_refused)
        ]
        assert [int(cell.split("<b>")[1].split("</b>")[0]) for cell in _cells(figures[3])] == expected


def test_an_audit_has_its_own_limits_and_its_refusals_stand_apart(
    page: AppTest, store, lively_detector, tmp_path: Path, write_recordings
) -> None:
    write_recordings(tmp_path / "calls", 4)
    (tmp_path / "calls" / "r0009.wav").write_text("no audio")
    audit = run_audit(store, prepare_audit(store, str(tmp_path / "calls"), lively_detector, ScanSettings()))
    lines = "".join(f"s r{seed:04d} - {'A01 spoof' if seed in (0, 9) else '- bonafide'}\n" for seed in (0, 1, 2, 3, 9))
    attach_protocol(store, audit.id, parse_trial_set(lines.encode(), file_name="calls.txt"))
    page.query_params["set"] = f"audit-{audit.id}"
    page.session_state["confusion-tab"] = "Verdicts by attack"
    _run(page)
    assert "its own limits" in _words(page)
    assert "1 trials have no score" in _words(page)
    assert _cells(_figures(page)[-1])[-1] == "<b>1</b><br>50.0 %"  # the refused spoof: not called bona fide

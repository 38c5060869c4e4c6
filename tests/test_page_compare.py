"""Compare: empty, working and failing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arenas import fill, scores_of
from streamlit.testing.v1 import AppTest

from core.evaluation import shipped_results
from core.evaluation.comparison import compare_systems
from core.evaluation.systems import add_system, load_systems, remove_system

HOME = str(Path(__file__).parents[1] / "Home.py")


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text, *app.success]
    return "\n".join(str(part.value) for part in parts)


@pytest.fixture
def page(store_url: str) -> AppTest:
    return AppTest.from_file(HOME, default_timeout=120).switch_page("pages/5_Compare.py")


def _run(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def _of(page: AppTest, store, trial_set):
    return compare_systems(*load_systems(store, trial_set.key, ["system 0", "system 2"]))


@pytest.fixture
def opened(page: AppTest, store):
    """The page on systems 0 (good) and 2 (bad) of the small set."""
    trial_set = fill(store, num_systems=3)
    page.query_params["set"] = trial_set.key
    page.query_params["system"] = ["system 0", "system 2"]
    return page, trial_set


def test_empty_state_teaches(page: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_results, "SHIPPED_RESULTS", tmp_path)
    assert "Nothing to look at yet" in _words(_run(page))


def test_one_system_alone_says_what_to_do(page: AppTest, store) -> None:
    fill(store, num_systems=1)
    assert "This set has one system" in _words(_run(page))


def test_the_better_one_is_told_with_interval_and_significance(opened, store) -> None:
    page, trial_set = opened
    _run(page)
    comparison = _of(page, store, trial_set)
    (total,) = comparison.totals
    words = _words(page).replace("\\", "")
    assert "**system 0** is better than **system 2**" in words
    assert f"EER {100 * total.first:.2f} % against {100 * total.second:.2f} %" in words
    rows = page.dataframe[0].value.set_index("Attack")
    for row in comparison.rows:
        if row.difference is not None:
            assert rows.loc[row.title, "Difference"] == pytest.approx(100 * row.difference.value)
            assert rows.loc[row.title, "p"] == pytest.approx(row.p_adjusted)
    assert rows.loc["A17", "Better"] == "system 0"
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    assert sum(len(trace["x"]) for trace in figure["data"]) == len(rows) - 1  # not of human alone


def test_two_alike_show_no_difference(page: AppTest, store) -> None:
    trial_set = fill(store, num_systems=1)
    scores = load_systems(store, trial_set.key, ["system 0"])[0].scores
    add_system(store, trial_set, "twin", 2 * scores + 1, is_flipped=False, note="")
    page.session_state["compare-tab"] = "Disagreements"
    words = _words(_run(page))
    assert "No difference is shown" in words
    assert "say the same of every recording" in words


def test_disagreements_are_listed_widest_first_and_say_how_to_hear_them(opened, store) -> None:
    page, trial_set = opened
    page.session_state["compare-tab"] = "Disagreements"
    _run(page)
    expected = _of(page, store, trial_set).disagreements
    table = page.dataframe[0]
    assert list(table.value["Utterance"]) == [trial.utterance for trial in expected]
    assert table.value["Margin"].is_monotonic_decreasing
    page.session_state[table.key] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    assert "not at hand" in _words(_run(page))


def test_scores_against_scores(opened, store) -> None:
    page, _ = opened
    page.session_state["compare-tab"] = "Scores"
    _run(page)
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    assert {trace["name"] for trace in figure["data"]} == {"spoof", "bona fide"}
    assert "160 recordings; correlation" in _words(page)
    assert [button.label for button in page.get("download_button")] == ["CSV"]


def test_the_pair_is_in_the_address_and_must_differ(opened, store) -> None:
    page, trial_set = opened
    _run(page)
    page.selectbox(key=f"arena-second-{trial_set.key}").set_value("system 1")
    _run(page)
    assert page.query_params["system"] == ["system 0", "system 1"]
    page.selectbox(key=f"arena-second-{trial_set.key}").set_value("system 0")
    assert "Choose two different systems" in _words(_run(page))


def test_waveform_against_spectrogram_is_a_preset(page: AppTest, store) -> None:
    fill(store)
    _run(page)
    next(button for button in page.button if "Waveform against spectrogram" in button.label).click()
    _run(page)
    assert page.query_params["system"] == ["resnet50_waveform", "resnet50_spectrogram"]
    assert len(page.dataframe) == 1


def test_a_system_that_was_removed_meanwhile_is_replaced(opened, store) -> None:
    page, trial_set = opened
    _run(page)
    remove_system(store, trial_set.key, "system 2")
    _run(page)
    assert page.query_params["system"] == ["system 0", "system 1"]


def test_new_scores_under_an_old_name_are_measured_anew(opened, store) -> None:
    page, trial_set = opened
    _run(page)
    before = page.dataframe[0].value["Second"].iloc[-1]
    remove_system(store, trial_set.key, "system 2")
    add_system(store, trial_set, "system 2", scores_of(trial_set, seed=9, gap=8.0), is_flipped=False, note="")
    _run(page)
    assert page.dataframe[0].value["Second"].iloc[-1] < before / 2

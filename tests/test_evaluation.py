"""core.evaluation.evaluate: tables solved by hand, the organisers' figures, errors, and the summary."""

from __future__ import annotations

import json

import numpy as np
import pytest
from published_scores import ASV_SCORES, PUBLISHED_SIGNS
from scored_sets import published_figures, published_set, published_system, system, trials

from core.calibration import Thresholds
from core.errors import CoreError
from core.evaluation.evaluate import errors_of, evaluation_summary, group_table, threshold_range
from core.evaluation.records import METRIC_TITLES, Cell, GroupTable
from core.evaluation.tandem import read_asv_scores
from core.metrics import area_under_curve

NAN = float("nan")


def cells(table: GroupTable, name: str = "one") -> dict[str, Cell]:
    column = table.systems.index(name)
    return {row.key: row_cells[column] for row, row_cells in zip(table.rows, table.cells, strict=True)}


def values(table: GroupTable, name: str = "one") -> dict[str, float | None]:
    return {key: cell.value for key, cell in cells(table, name).items()}


BY_HAND = trials("bbbbssss", attack=[None] * 4 + ["x", "x", "y", "y"])
SCORES = [0.0, 1.0, 2.0, 5.0, 3.0, 6.0, 1.5, 7.0]


def test_accuracy_and_miss_rate_by_hand() -> None:
    table = group_table([system(BY_HAND, SCORES)], metric="accuracy", thresholds={"one": 2.5})
    assert values(table) == {"human": 0.75, "x": 1.0, "y": 0.5, "total": 0.75}
    assert table.thresholds == {"one": 2.5}
    table = group_table([system(BY_HAND, SCORES)], metric="miss_rate", thresholds={"one": 2.5})
    assert values(table) == {"human": None, "x": 0.0, "y": 0.5, "total": 0.25}
    assert "bona fide speech alone" in cells(table)["human"].note
    assert [row.num_trials for row in table.rows] == [4, 2, 2, 8]


def test_eer_and_area_by_hand() -> None:
    # x against 0 1 2 5: 3 and 6 beat 3 and 4 of 4. At 3 one of four bona fide is above and no spoof is below; at 5 half of
    # the spoofs are below and a quarter above: the curves cross where the miss rate passes 1/4.
    table = group_table([system(BY_HAND, SCORES)], metric="eer", num_resamples=200)
    assert values(table)["x"] == pytest.approx(0.25)
    assert values(table)["human"] is None
    table = group_table([system(BY_HAND, SCORES)], metric="auc", num_resamples=200)
    assert values(table) == pytest.approx({"human": None, "x": 7 / 8, "y": 6 / 8, "total": 13 / 16})


def test_the_threshold_is_where_errors_are_equal_unless_given() -> None:
    table = group_table([system(BY_HAND, SCORES), system(BY_HAND, SCORES, "two")], metric="accuracy", thresholds={"two": 100.0})
    assert values(table, "two") == {"human": 1.0, "x": 0.0, "y": 0.0, "total": 0.5}
    assert values(table, "one")["total"] == 0.75
    assert 2.0 < table.thresholds["one"] <= 3.0


def test_trials_without_a_score_are_in_no_figure_and_said() -> None:
    table = group_table([system(BY_HAND, [0, 1, NAN, 5, 3, NAN, NAN, NAN])], metric="accuracy", thresholds={"one": 2.5})
    found = cells(table)
    assert (found["human"].value, found["human"].num_trials) == (pytest.approx(2 / 3), 3)
    assert "1 of 4 trials have no score" in found["human"].note
    assert (found["y"].value, found["y"].num_trials, found["y"].note) == (None, 0, "No trial of this row has a score.")
    assert found["total"].value == 0.75
    assert any("4 of 8 trials have no score" in warning for warning in table.warnings)


def test_a_condition_without_one_class_has_no_eer() -> None:
    trial_set = trials("bbss", codec=["a", "b", "a", "c"])
    table = group_table([system(trial_set, [0, 1, 2, 3])], metric="eer", grouping="codec", num_resamples=200)
    found = cells(table)
    assert (found["a"].value, found["b"].value, found["c"].value) == (0.0, None, None)
    assert found["b"].note == "This row has no spoof with a score."
    assert found["c"].note == "This row has no bona fide trial with a score."


def test_shares_of_single_trials_have_wilsons_interval() -> None:
    # Brown, Cai and DasGupta (2001): 8 of 10 give 0.490 to 0.943.
    trial_set = trials("b" * 10)
    table = group_table([system(trial_set, [0] * 8 + [1] * 2)], metric="accuracy", thresholds={"one": 0.5})
    cell = cells(table)["human"]
    assert (cell.value, cell.low, cell.high) == (0.8, pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert "Wilson" in table.interval_method


def test_shares_of_speakers_vary_as_much_as_the_speakers_do() -> None:
    # Ten speakers of ten trials: five always right, five always wrong. Each trial by itself would give 0.40 to 0.60; the
    # mean of ten draws of 0 or 1 has 0.2 and 0.8 as its 2.5 and 97.5 percentiles.
    speakers = [f"s{i // 10}" for i in range(100)]
    trial_set = trials("b" * 100, speaker=speakers)
    table = group_table([system(trial_set, [float(i < 50) for i in range(100)])], metric="accuracy", thresholds={"one": 0.5})
    cell = cells(table)["human"]
    assert (cell.value, cell.low, cell.high) == (0.5, pytest.approx(0.2), pytest.approx(0.8))
    assert "10 speakers" in table.interval_method
    assert any("10 speakers; with so few" in warning for warning in table.warnings)


@pytest.mark.parametrize("metric", ["eer", "auc"])
def test_curves_of_speakers_vary_as_much_as_the_speakers_do(metric: str) -> None:
    rng = np.random.default_rng(3)
    offsets = np.repeat(rng.normal(0, 2, 40), 20)  # each of 40 speakers speaks 20 times with an offset of its own
    labels = "b" * 400 + "s" * 400
    scores = offsets + rng.normal(0, 0.5, 800) + np.array([0.0] * 400 + [2.0] * 400)
    widths = []
    for speaker in (None, [f"s{i // 20}" for i in range(800)]):
        trial_set = trials(labels, **({} if speaker is None else {"speaker": speaker}))
        cell = cells(group_table([system(trial_set, scores)], metric=metric, num_resamples=300))["total"]
        assert cell.low < cell.value < cell.high
        widths.append(cell.high - cell.low)
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize("name", sorted(PUBLISHED_SIGNS))
def test_the_table_of_published_systems_is_the_organisers(name: str) -> None:
    expected = published_figures(name)
    table = group_table([published_system(name)], metric="eer", num_resamples=20)
    found = values(table, name)
    assert 100 * found.pop("total") == pytest.approx(expected["eer"], abs=1e-3)
    assert found.pop("human") is None
    assert {key: 100 * value for key, value in found.items()} == pytest.approx(expected["per_attack"], abs=1e-3)
    assert any("as the ASVspoof organisers take them" in warning for warning in table.warnings)
    for row in table.rows[1:]:
        cell = cells(table, name)[row.key]
        assert cell.low <= cell.value <= cell.high


def test_areas_of_a_published_system_are_those_of_core_metrics() -> None:
    one = published_system("air-softmax")
    attacks, is_spoof = published_set().table["attack"], published_set().is_spoof
    found = values(group_table([one], metric="auc", num_resamples=20), "air-softmax")
    for attack in ("A10", "A17"):
        chosen = ~is_spoof | (attacks == attack).to_numpy(dtype=bool)
        assert found[attack] == pytest.approx(area_under_curve(one.scores[chosen], is_spoof[chosen]), abs=1e-12)


def test_sorting_leaves_human_and_totals_in_place() -> None:
    table = group_table([system(BY_HAND, SCORES)], metric="accuracy", thresholds={"one": 2.5})
    assert [row.key for row in table.sorted_by("one").rows] == ["human", "y", "x", "total"]
    assert [row.key for row in table.sorted_by("one", descending=True).rows] == ["human", "x", "y", "total"]
    assert [row.key for row in table.sorted_by(None, descending=True).rows] == ["human", "y", "x", "total"]
    assert values(table.sorted_by("one")) == values(table)
    with pytest.raises(CoreError, match="no system 'three'"):
        table.sorted_by("three")


def test_missing_figures_are_sorted_last() -> None:
    trial_set = trials("bbss", codec=["a", "b", "a", "c"])
    table = group_table([system(trial_set, [0, 1, 2, 3])], metric="eer", grouping="codec", num_resamples=200)
    for descending in (False, True):
        assert table.sorted_by("one", descending=descending).rows[1].key == "a"


def test_the_frame_for_csv() -> None:
    frame = group_table([system(BY_HAND, SCORES)], metric="accuracy", thresholds={"one": 2.5}).to_frame()
    assert frame["key"].tolist() == ["human", "x", "y", "total"]
    assert frame["one"].tolist() == [0.75, 1.0, 0.5, 0.75]
    assert {"one low", "one high", "one num_trials", "one note", "kind", "trials", "description"} <= set(frame.columns)


def test_what_cannot_be_put_side_by_side() -> None:
    one, other = system(BY_HAND, SCORES), system(trials("bs"), [0, 1], "two")
    with pytest.raises(CoreError, match="choose at least one"):
        group_table([], metric="eer")
    with pytest.raises(CoreError, match="different trials"):
        group_table([one, other], metric="eer")
    with pytest.raises(CoreError, match="one name"):
        group_table([one, one], metric="eer")
    with pytest.raises(CoreError, match="no metric 'beauty'"):
        group_table([one], metric="beauty")
    with pytest.raises(CoreError, match="class"):
        group_table([system(trials("bb"), [0, 1])], metric="accuracy")


def test_one_class_only_has_accuracy_at_a_given_threshold_and_no_eer() -> None:
    one = system(trials("bb"), [0, 1])
    assert values(group_table([one], metric="accuracy", thresholds={"one": 0.5})) == {"human": 0.5, "total": 0.5}
    table = group_table([one], metric="eer")
    assert (values(table), table.thresholds) == ({"human": None, "total": None}, {})


def test_inverted_and_flipped_systems_are_told() -> None:
    table = group_table([system(BY_HAND, [-score for score in SCORES], is_flipped=True)], metric="accuracy")
    assert any("below chance" in warning for warning in table.warnings)
    assert any("turned on import" in warning for warning in table.warnings)


def test_mixed_parts_of_asvspoof_are_told() -> None:
    trial_set = trials("bss", attack=[None, "A01", "A07"])
    table = group_table([system(trial_set, [0, 1, 2])], metric="auc", num_resamples=100)
    assert [row.key for row in table.rows] == ["human", "A01", "A07", "total: A01-A06", "total: A07-A19"]
    assert any("never averaged" in warning for warning in table.warnings)


def test_errors_come_worst_first() -> None:
    trial_set = trials("bbbss", attack=[None] * 3 + ["x", "y"], path=["a.wav", "b.wav", None, None, "e.wav"], speaker=["m"] * 5)
    one = system(trial_set, [3.0, 9.0, NAN, 1.0, 0.0], audit_id=7, origin="audit", thresholds=Thresholds(lower=0, upper=1))
    human = errors_of(one, row_key="human", threshold=2.0)
    assert [(trial.utterance, trial.score, trial.path, trial.label) for trial in human] == [
        ("u1", 9.0, "b.wav", "bona fide"),
        ("u0", 3.0, "a.wav", "bona fide"),
    ]
    assert (human[0].audit_id, human[0].attack, human[0].speaker) == (7, None, "m")
    everything = errors_of(one, row_key="total", threshold=2.0)
    assert [trial.utterance for trial in everything] == ["u1", "u4", "u0", "u3"]
    assert [trial.utterance for trial in errors_of(one, row_key="total", threshold=2.0, limit=2)] == ["u1", "u4"]
    assert errors_of(one, row_key="x", threshold=0.5) == ()
    assert errors_of(one, row_key="y", threshold=0.5)[0].attack == "y"
    with pytest.raises(CoreError, match="no row 'z'"):
        errors_of(one, row_key="z")


def test_the_slider_holds_nearly_all_scores() -> None:
    trial_set = trials("b" * 1000 + "s" * 1001)
    scores = np.linspace(0.0, 2000.0, 2001)
    scores[5] = NAN
    low, high = threshold_range([system(trial_set, scores)])
    assert (low, high) == (pytest.approx(2.0, abs=0.1), pytest.approx(1998.0, abs=0.1))
    with pytest.raises(CoreError, match="no threshold"):
        threshold_range([system(trial_set, np.full(2001, NAN))])


def test_the_summary_of_a_published_system() -> None:
    expected = published_figures("air-amsoftmax")
    summary = evaluation_summary(published_system("air-amsoftmax"), asv=read_asv_scores(ASV_SCORES), num_resamples=20)
    figures = {figure.key: figure for figure in summary.figures}
    assert 100 * figures["eer"].value == pytest.approx(expected["eer"], abs=1e-3)
    assert figures["eer_interpolated"].value == pytest.approx(figures["eer"].value, abs=1e-4)
    assert figures["min_tdcf_2019"].value == pytest.approx(expected["min_tdcf"], abs=1e-5)
    by_attack = {figure.key: 100 * figure.value for figure in summary.eer_by_attack}
    assert by_attack == pytest.approx(expected["per_attack"], abs=1e-3)
    assert (summary.num_bona_fide, summary.num_spoof) == (expected["nb"], expected["ns"])
    for figure in (*summary.figures, *summary.eer_by_attack):
        assert figure.key == "threshold" or figure.low <= figure.value <= figure.high, figure


def test_the_summary_by_hand() -> None:
    summary = evaluation_summary(system(BY_HAND, SCORES), threshold=2.5, num_resamples=200)
    figures = {figure.key: figure.value for figure in summary.figures}
    assert figures["threshold"] == 2.5
    assert (figures["accuracy"], figures["miss"], figures["false_alarm"]) == (0.75, 0.25, 0.25)
    assert (figures["precision"], figures["recall"], figures["f1"]) == (0.75, 0.75, 0.75)
    assert figures["auc"] == pytest.approx(13 / 16)
    assert "min_tdcf_2019" not in figures
    assert summary.is_own_threshold
    assert json.loads(json.dumps(summary.to_dict(), allow_nan=False))["figures"][0]["key"] == "eer"


def test_the_summary_leaves_out_what_is_not_defined() -> None:
    summary = evaluation_summary(system(BY_HAND, SCORES), threshold=100.0, num_resamples=200)
    assert "precision" not in {figure.key for figure in summary.figures}


def test_metrics_are_offered_by_name() -> None:
    assert list(METRIC_TITLES) == ["accuracy", "eer", "miss_rate", "auc"]

"""core.evaluation.comparison: differences, significance, disagreements and scatter, by hand and on published systems."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from scored_sets import published_figures, published_system, system, trials

from core.errors import CoreError
from core.evaluation.comparison import compare_systems, holm, mcnemar, score_scatter
from core.metrics import equal_error_rate

NAN = float("nan")
SET = trials("bbbbssss", attack=[None] * 4 + ["x", "x", "y", "y"], speaker=["m", "n"] * 4, path=[f"{i}.wav" for i in range(8)])
FIRST = system(SET, [0.0, 1.0, 2.0, 5.0, 3.0, 6.0, 1.5, 7.0], "first")
SECOND = system(SET, [0.0, 0.0, 0.0, 0.0, 9.0, 9.0, 9.0, 0.0], "second", audit_id=3)
AT = {"first": 2.5, "second": 4.0}


def test_differences_and_errors_by_hand() -> None:
    comparison = compare_systems(FIRST, SECOND, thresholds=AT, num_resamples=200)
    rows = {row.key: row for row in comparison.rows}
    assert list(rows) == ["human", "x", "y", "total"]
    assert (rows["human"].difference, rows["human"].first, rows["human"].p_adjusted) == (None, None, None)
    assert (rows["x"].first, rows["x"].second) == (pytest.approx(0.25), 0.0)
    for key, chosen in {"x": [0, 1, 2, 3, 4, 5], "y": [0, 1, 2, 3, 6, 7], "total": list(range(8))}.items():
        eers = [equal_error_rate(one.scores[chosen], SET.is_spoof[chosen])[0] for one in (FIRST, SECOND)]
        assert (rows[key].first, rows[key].second) == pytest.approx(tuple(eers))
        assert rows[key].difference.value == pytest.approx(eers[0] - eers[1])
    # The first errs on u3 and u6, the second on u7.
    assert (rows["human"].errors.only_first, rows["human"].errors.only_second) == (1, 0)
    assert (rows["total"].errors.only_first, rows["total"].errors.only_second, rows["total"].errors.both) == (2, 1, 0)
    assert rows["total"].errors.p_value == 1.0
    assert comparison.totals == (rows["total"],)


def test_disagreements_come_with_the_widest_margin_first() -> None:
    comparison = compare_systems(FIRST, SECOND, thresholds=AT, num_resamples=200)
    assert comparison.num_disagreements == 3
    found = {trial.utterance: trial for trial in comparison.disagreements}
    assert {name: trial.right for name, trial in found.items()} == {"u3": "second", "u6": "second", "u7": "first"}
    margins = [trial.margin for trial in comparison.disagreements]
    assert margins == sorted(margins, reverse=True)
    u7 = found["u7"]
    assert u7.margin == pytest.approx(4.5 / np.std(FIRST.scores) + 4.0 / np.std(SECOND.scores))
    assert (u7.first_score, u7.second_score, u7.attack, u7.speaker, u7.path, u7.audit_id) == (7.0, 0.0, "y", "n", "7.wav", 3)
    assert len(compare_systems(FIRST, SECOND, thresholds=AT, num_resamples=200, limit=1).disagreements) == 1


def test_only_trials_that_both_scored_are_compared() -> None:
    second = system(SET, [0.0, 0.0, 0.0, NAN, 9.0, 9.0, 9.0, NAN], "second")
    comparison = compare_systems(FIRST, second, thresholds=AT, num_resamples=200)
    assert comparison.num_common == 6
    assert {row.key: row.num_trials for row in comparison.rows} == {"human": 3, "x": 2, "y": 1, "total": 6}
    assert comparison.rows[1].first == 0.0  # without u3
    assert [trial.utterance for trial in comparison.disagreements] == ["u6"]
    with pytest.raises(CoreError, match="no trial that both scored"):
        compare_systems(FIRST, system(SET, [NAN] * 8, "second"), thresholds=AT)


def test_equal_systems_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1, 100), rng.normal(1, 1, 100)])
    trial_set = trials("b" * 100 + "s" * 100)
    comparison = compare_systems(system(trial_set, scores), system(trial_set, 2 * scores, "two"), num_resamples=200)
    assert comparison.totals[0].difference.value == pytest.approx(0.0)
    assert not comparison.totals[0].is_significant
    assert comparison.disagreements == ()
    assert "single trials" in comparison.interval_method


def test_published_systems_differ_where_they_should() -> None:
    first, second = published_system("air-softmax"), published_system("air-ocsoftmax")
    comparison = compare_systems(first, second, num_resamples=60, limit=5)
    rows = {row.key: row for row in comparison.rows}
    for key in ("A17", "A18"):
        expected = published_figures("air-softmax")["per_attack"][key] - published_figures("air-ocsoftmax")["per_attack"][key]
        assert 100 * rows[key].difference.value == pytest.approx(expected, abs=0.01)
    assert rows["A17"].difference.low > 0.1
    assert rows["total"].is_significant
    assert rows["A17"].p_adjusted >= rows["A17"].difference.p_value
    assert rows["A17"].errors.only_first > rows["A17"].errors.only_second
    assert rows["A17"].errors.p_value < 1e-6
    assert len(comparison.disagreements) == 5
    assert comparison.to_frame()["key"].tolist() == list(rows)


def test_other_sets_and_names_are_refused() -> None:
    with pytest.raises(CoreError, match="different trials"):
        compare_systems(FIRST, system(trials("bs"), [0, 1], "second"))
    with pytest.raises(CoreError, match="one name"):
        compare_systems(FIRST, FIRST)


def test_holm_by_hand() -> None:
    # Holm (1979): 0.01 x 4, 0.02 x 3, 0.03 x 2, then never falling.
    assert holm(np.array([0.03, 0.01, 0.5, 0.02])) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm(np.array([0.4, 0.9])) == pytest.approx([0.8, 0.9])
    assert holm(np.array([])).tolist() == []


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 9), (5, 5), (30, 12)])
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


def test_scatter_is_a_fair_choice() -> None:
    trial_set = trials("b" * 300 + "s" * 700)
    scores = np.arange(1000.0)
    scatter = score_scatter(system(trial_set, scores), system(trial_set, -scores, "two"), max_points=200)
    assert (len(scatter.utterances), scatter.num_common) == (200, 1000)
    assert scatter.correlation == pytest.approx(-1.0)
    assert 30 < scatter.labels.count("bona fide") < 90
    assert np.array_equal(scatter.first_scores, -scatter.second_scores)
    assert scatter.utterances[0] == f"u{int(scatter.first_scores[0])}"
    few = score_scatter(system(SET, FIRST.scores), system(SET, np.zeros(8), "two"))
    assert (len(few.utterances), few.attacks[0], few.attacks[4]) == (8, None, "x")
    assert np.isnan(few.correlation)

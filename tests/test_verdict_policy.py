"""core.evaluation.verdict_policy: thresholds and expectations by hand, on scores whose error rates are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from core.calibration import Thresholds
from core.errors import CoreError
from core.evaluation import verdict_policy
from core.evaluation.verdict_policy import Policy, measured_scores, outlook, outlooks

# 10 bona fide: one at +2, two between -1 and 1; 10 spoofs: two below -1, three between.
SCORES = np.array([2.0, 0.0, 0.5, *[-3.0] * 7, -2.0, -2.0, 0.0, 0.1, 0.2, *[3.0] * 5])
IS_SPOOF = np.arange(20) >= 10
MEASURED = (SCORES, IS_SPOOF, np.arange(20))


@pytest.mark.parametrize(
    ("prevalence", "ratio", "expected"),
    [(0.5, 1.0, 0.0), (0.01, 1.0, math.log(99)), (0.5, 10.0, math.log(10)), (0.1, 1 / 9, 0.0)],
)
def test_the_threshold_that_costs_least(prevalence: float, ratio: float, expected: float) -> None:
    assert Policy(prevalence=prevalence, cost_ratio=ratio).threshold == pytest.approx(expected)


def test_the_threshold_costs_least_for_true_likelihood_ratios() -> None:
    # Scores of N(+-1, 1) have the log-likelihood ratio 2 x; the cost at other thresholds is higher.
    policy = Policy(prevalence=0.1, cost_ratio=3.0)

    def cost(threshold: float) -> float:
        beyond = 0.5 * math.erfc((threshold / 2 + 1) / math.sqrt(2))  # bona fide above
        below = 0.5 * math.erfc((1 - threshold / 2) / math.sqrt(2))  # spoofs below
        return 3.0 * 0.9 * beyond + 0.1 * below

    assert all(cost(policy.threshold) < cost(policy.threshold + step) for step in (-0.2, -0.01, 0.01, 0.2))


def test_what_to_expect_in_a_folder() -> None:
    found = outlook(MEASURED, Thresholds(lower=-1.0, upper=1.0), Policy(prevalence=0.1, cost_ratio=1.0), 1_000, title="x")
    assert found.false_accusations.value == pytest.approx(900 * 0.1)
    assert found.missed.value == pytest.approx(100 * 0.2)
    assert found.undecided.value == pytest.approx(900 * 0.2 + 100 * 0.3)
    assert found.innocent_share.value == pytest.approx(90 / (90 + 100 * 0.5))
    for interval in (found.false_accusations, found.missed, found.undecided, found.innocent_share):
        assert interval.low < interval.value < interval.high
    assert found.cells[1].startswith("90 (")


def test_nobody_is_accused_at_a_threshold_above_all() -> None:
    found = outlook(MEASURED, Thresholds(lower=9.0, upper=9.0), Policy(prevalence=0.1, cost_ratio=1.0), 1_000, title="x")
    assert (found.false_accusations.value, found.innocent_share.value, found.missed.value) == (0.0, 0.0, 100.0)
    # None of 10 speakers: up to 1 - 0.025^(1/10) = 30.85 % (Clopper-Pearson), and then all that are called are innocent.
    assert found.false_accusations.high == pytest.approx(900 * binomtest(0, 10).proportion_ci(0.95, "exact").high)
    assert (found.false_accusations.high, found.innocent_share.high) == (pytest.approx(277.65, abs=0.01), 1.0)


def test_no_missed_spoof_seen_is_no_certainty() -> None:
    found = outlook(MEASURED, Thresholds(lower=-9.0, upper=1.0), Policy(prevalence=0.1, cost_ratio=1.0), 1_000, title="x")
    assert (found.missed.value, found.missed.high) == (0.0, pytest.approx(30.85, abs=0.01))


def test_the_shipped_detector_was_measured_and_others_were_not(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, is_spoof, speakers = measured_scores("vgg27-spectrogram")
    assert len(scores) == len(is_spoof) == len(speakers) == 684
    assert measured_scores("nobody") is None
    policy = Policy(prevalence=0.01, cost_ratio=1.0)
    assert outlooks("nobody", Thresholds(lower=0.0, upper=0.0), policy, 10) == ()
    rows = outlooks("vgg27-spectrogram", Thresholds(lower=-1.0, upper=1.0), policy, 40_000)
    assert [row.thresholds.upper for row in rows] == [1.0, pytest.approx(math.log(99))]
    assert rows[0].false_accusations.value > rows[1].false_accusations.value
    monkeypatch.setattr(verdict_policy, "shipped_results", lambda: None)
    assert measured_scores("vgg27-spectrogram") is None


@pytest.mark.parametrize(("prevalence", "ratio"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (0.5, math.inf), (math.nan, 1.0)])
def test_impossible_policies_are_refused(prevalence: float, ratio: float) -> None:
    with pytest.raises(CoreError, match="between 0 and 1"):
        Policy(prevalence=prevalence, cost_ratio=ratio)


@pytest.mark.parametrize(("lower", "upper", "words"), [(-1, 1, ""), (-1, 3.5, "above the highest"), (-3.5, 1, "below the lowest")])
def test_figures_beyond_all_measured_scores_are_called_extrapolated(lower: float, upper: float, words: str) -> None:
    found = outlook(MEASURED, Thresholds(lower=lower, upper=upper), Policy(prevalence=0.1, cost_ratio=1.0), 1_000, title="x")
    assert words in found.beyond
    assert bool(found.beyond) is bool(words)
    assert not words or "20 measured scores (-3.00 to +3.00)" in found.beyond

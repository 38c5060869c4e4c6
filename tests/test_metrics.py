"""core.metrics: cases solved by hand, and independent implementations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from published_scores import PUBLISHED_SIGNS, published_scores
from sklearn.metrics import roc_auc_score, roc_curve

from core.errors import CoreError
from core.metrics import (
    accuracy,
    area_under_curve,
    asvspoof_equal_error_rate,
    balanced_accuracy,
    equal_error_rate,
    error_rates,
    log_likelihood_ratio_cost,
)


def trials(bona_fide: list[float], spoof: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels from the two classes' scores."""
    return np.array(bona_fide + spoof, dtype=np.float64), np.array([False] * len(bona_fide) + [True] * len(spoof))


def gaussians(num: int, seed: int, *, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    is_spoof = rng.random(num) < 0.7
    return rng.standard_normal(num) + shift * is_spoof, is_spoof


@pytest.mark.parametrize(
    ("bona_fide", "spoof", "eer"),
    [
        ([0, 1, 2], [3, 4, 5], 0.0),  # perfect
        ([3, 4, 5], [0, 1, 2], 1.0),  # inverted
        ([0, 2], [1, 3], 0.5),  # at threshold 2 one of two is wrong in each class
        ([1, 2, 3, 6], [4, 5, 0, 7], 0.25),
        ([0, 0], [0, 0], 0.5),  # all tied: from (miss 0, false alarm 1) straight to (1, 0)
        ([0, 1], [1, 2], 0.25),  # tie across classes: from (0, 1/2) at 1 to (1/2, 0) at 2
        ([0, 1, 1, 1], [1, 2], 3 / 10),  # from (0, 3/4) to (1/2, 0): 3/4 - 3/4 s = 1/2 s, s = 3/5
        ([0], [1], 0.0),
    ],
)
def test_equal_error_rate_by_hand(bona_fide: list[float], spoof: list[float], eer: float) -> None:
    assert equal_error_rate(*trials(bona_fide, spoof))[0] == pytest.approx(eer, abs=1e-12)


def test_threshold_by_hand() -> None:
    # Between (0, 1/2) at 1 and (1/2, 0) at 2 the rates meet midway.
    assert equal_error_rate(*trials([0, 1], [1, 2])) == (pytest.approx(0.25), pytest.approx(1.5))
    assert equal_error_rate(*trials([0, 1, 2], [3, 4, 5]))[1] == 3.0


def test_error_rates_by_hand() -> None:
    thresholds, miss, false_alarm = error_rates(*trials([0, 1], [1, 2]))
    assert thresholds[:3].tolist() == [0.0, 1.0, 2.0]
    assert thresholds[3] == np.nextafter(2.0, np.inf)
    assert miss.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert false_alarm.tolist() == [1.0, 0.5, 0.0, 0.0]


def _roc_crossing(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    """EER by searching scikit-learn's ROC curve finely for the point where both errors are equal."""
    false_alarm, hit, _ = roc_curve(is_spoof, scores, drop_intermediate=False)
    position = np.linspace(0, len(hit) - 1, 2_000_001)
    index = np.arange(len(hit))
    miss, alarm = 1 - np.interp(position, index, hit), np.interp(position, index, false_alarm)
    nearest = np.argmin(np.abs(miss - alarm))
    return float((miss[nearest] + alarm[nearest]) / 2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("decimals", [1, 12])
def test_equal_error_rate_is_where_the_roc_curve_crosses(seed: int, decimals: int) -> None:
    scores, is_spoof = gaussians(37 + 20 * seed, seed)
    scores = scores.round(decimals)  # with one decimal, many ties
    assert equal_error_rate(scores, is_spoof)[0] == pytest.approx(_roc_crossing(scores, is_spoof), abs=2e-4)


def test_equal_error_rate_of_two_gaussians() -> None:
    # Unit variance, means 2 apart: the EER is Phi(-1) = 0.1587.
    scores, is_spoof = gaussians(400_000, 0, shift=2.0)
    eer, threshold = equal_error_rate(scores, is_spoof)
    assert eer == pytest.approx(0.158655, abs=3e-3)
    assert threshold == pytest.approx(1.0, abs=0.02)


def test_turning_the_sign_and_the_classes_changes_nothing() -> None:
    scores, is_spoof = gaussians(500, 3)
    assert equal_error_rate(-scores, ~is_spoof)[0] == pytest.approx(equal_error_rate(scores, is_spoof)[0], abs=1e-12)
    assert equal_error_rate(np.exp(scores), is_spoof)[0] == pytest.approx(equal_error_rate(scores, is_spoof)[0], abs=1e-12)


FIGURES = [lambda s, y: equal_error_rate(s, y)[0], log_likelihood_ratio_cost, balanced_accuracy, error_rates]
FIGURES += [accuracy, area_under_curve, asvspoof_equal_error_rate]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    ("scores", "is_spoof", "message"),
    [
        ([1.0, 2.0], [True, True], "only one is present"),
        ([1.0, 2.0], [False, False], "only one is present"),
        ([], [], "only one is present"),
        ([1.0, math.nan], [True, False], "1 scores are not finite"),
        ([math.inf, 1.0], [True, False], "1 scores are not finite"),
        ([1.0, 2.0, 3.0], [True, False], r"one length, got \(3,\) and \(2,\)"),
    ],
)
def test_wrong_trials_are_refused(figure: Callable, scores: list, is_spoof: list, message: str) -> None:
    with pytest.raises(CoreError, match=message):
        figure(np.array(scores), np.array(is_spoof, dtype=bool))


def test_cllr_by_hand() -> None:
    assert log_likelihood_ratio_cost(*trials([0.0, 0.0, 0.0], [0.0])) == 1.0  # says nothing: 1 bit
    # ln 3 for spoof and -ln 3 for bona fide cost log2(1 + 1/3) each.
    assert log_likelihood_ratio_cost(*trials([-math.log(3)], [math.log(3)])) == pytest.approx(math.log2(4 / 3), abs=1e-12)
    # A wrong ln 3 costs log2(4); the mean over classes, not trials, is taken.
    assert log_likelihood_ratio_cost(*trials([math.log(3)], [0.0, 0.0, 0.0])) == pytest.approx((2 + 1) / 2, abs=1e-12)
    assert log_likelihood_ratio_cost(*trials([-900.0], [900.0])) == 0.0
    assert log_likelihood_ratio_cost(*trials([-900.0], [-900.0])) == pytest.approx(450 / math.log(2))


def test_cllr_as_its_definition_reads() -> None:
    scores, is_spoof = gaussians(300, 5)
    spoof, bona_fide = scores[is_spoof], scores[~is_spoof]
    expected = sum(math.log2(1 + math.exp(-s)) for s in spoof) / len(spoof) / 2
    expected += sum(math.log2(1 + math.exp(s)) for s in bona_fide) / len(bona_fide) / 2
    assert log_likelihood_ratio_cost(scores, is_spoof) == pytest.approx(expected, rel=1e-12)


def test_balanced_accuracy_by_hand() -> None:
    scores, is_spoof = trials([-1.0, -1.0, -1.0, 0.0], [0.0, -2.0])  # 3 of 4 and 1 of 2; at the threshold is spoof
    assert balanced_accuracy(scores, is_spoof) == (3 / 4 + 1 / 2) / 2
    assert balanced_accuracy(scores, is_spoof, threshold=0.5) == (1 + 0) / 2


def test_accuracy_by_hand() -> None:
    scores, is_spoof = trials([-1.0, -1.0, -1.0, 0.0], [0.0, -2.0])
    assert accuracy(scores, is_spoof) == 4 / 6
    assert accuracy(scores, is_spoof, threshold=0.5) == 4 / 6
    assert accuracy(scores, is_spoof, threshold=-3.0) == 2 / 6  # everything is called spoof


def test_a_constant_score_is_called_spoof_and_tells_nothing() -> None:
    scores, is_spoof = trials([1.0] * 6, [1.0] * 2)
    assert accuracy(scores, is_spoof) == 0.25
    assert balanced_accuracy(scores, is_spoof) == equal_error_rate(scores, is_spoof)[0] == area_under_curve(scores, is_spoof) == 0.5


def test_area_under_curve_by_hand() -> None:
    assert area_under_curve(*trials([0, 1], [2, 3])) == 1.0
    assert area_under_curve(*trials([2, 3], [0, 1])) == 0.0
    assert area_under_curve(*trials([0, 1], [1, 2])) == 3.5 / 4  # of four pairs three are in order, one is tied


@pytest.mark.parametrize("decimals", [0, 12])
def test_area_under_curve_is_scikit_learns(decimals: int) -> None:
    scores, is_spoof = gaussians(400, 7)
    scores = scores.round(decimals)
    assert area_under_curve(scores, is_spoof) == pytest.approx(roc_auc_score(is_spoof, scores), abs=1e-12)


def test_the_organisers_eer_is_the_nearest_point() -> None:
    # Points (bona fide rejected, spoof accepted): (0, 1), (0, 1/2), (1/3, 1/2), (1/3, 0) ...; nearest at the third.
    assert asvspoof_equal_error_rate(*trials([3.0, 0.0, -1.0], [4.0, 1.0])) == pytest.approx((1 / 3 + 1 / 2) / 2)
    # Equal scores are taken one by one, bona fide first: (0, 1), (1, 1), (1, 0).
    assert asvspoof_equal_error_rate(*trials([0.0], [0.0])) == pytest.approx(1.0)


@pytest.mark.parametrize("system", sorted(PUBLISHED_SIGNS))
def test_the_organisers_eer_of_published_scores(system: str) -> None:
    scores, is_spoof, attacks, expected = published_scores(system)
    assert (int((~is_spoof).sum()), int(is_spoof.sum())) == (expected["nb"], expected["ns"])
    assert 100 * asvspoof_equal_error_rate(scores, is_spoof) == pytest.approx(expected["eer"], abs=1e-9)
    # The interpolated figure differs by less than the step of one bona fide trial, 100 / 7,355 points.
    assert 100 * equal_error_rate(scores, is_spoof)[0] == pytest.approx(expected["eer"], abs=100 / 7_355)
    for attack, eer in expected["per_attack"].items():
        chosen = ~is_spoof | (attacks == attack)
        assert 100 * asvspoof_equal_error_rate(scores[chosen], is_spoof[chosen]) == pytest.approx(eer, abs=1e-3), attack

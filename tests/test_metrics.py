"""core.metrics: cases solved by hand, and independent implementations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from published_scores import PUBLISHED_SIGNS, published_scores
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from core.errors import CoreError
from core.metrics import (
    ASVSPOOF_5,
    DetectionCosts,
    Rates,
    accuracy,
    actual_detection_cost,
    area_under_curve,
    asvspoof_equal_error_rate,
    balanced_accuracy,
    detection_cost,
    detection_rates,
    equal_error_rate,
    error_rates,
    hull_points,
    log_likelihood_ratio_cost,
    min_detection_cost,
    min_log_likelihood_ratio_cost,
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
FIGURES += [accuracy, area_under_curve, asvspoof_equal_error_rate, min_log_likelihood_ratio_cost]
FIGURES += [lambda s, y: detection_rates(s, y, 0.0), lambda s, y: min_detection_cost(s, y, ASVSPOOF_5)]
FIGURES += [lambda s, y: actual_detection_cost(s, y, ASVSPOOF_5)]


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


def test_rates_by_hand() -> None:
    # 3 spoofs of which 2 are found, 5 bona fide of which 1 is called spoof; a score at the threshold is called spoof.
    scores, is_spoof = trials([-2.0, -1.0, -1.0, -0.5, 3.0], [0.5, 2.0, -3.0])
    assert detection_rates(scores, is_spoof, 0.5) == Rates(
        miss=1 / 3,
        false_alarm=1 / 5,
        accuracy=6 / 8,
        balanced_accuracy=pytest.approx((2 / 3 + 4 / 5) / 2),
        precision=2 / 3,
        recall=2 / 3,
        f1=2 / 3,
    )
    nothing = detection_rates(scores, is_spoof, 4.0)
    assert (nothing.miss, nothing.false_alarm, nothing.recall, nothing.f1) == (1.0, 0.0, 0.0, 0.0)
    assert math.isnan(nothing.precision)
    everything = detection_rates(scores, is_spoof, -4.0)
    assert (everything.miss, everything.false_alarm, everything.precision, everything.f1) == (0.0, 1.0, 3 / 8, 6 / 11)


@pytest.mark.parametrize("threshold", [-1.5, 0.0, 0.7, 2.5])
def test_rates_are_scikit_learns(threshold: float) -> None:
    scores, is_spoof = gaussians(300, 8)
    rates, said_spoof = detection_rates(scores, is_spoof, threshold), scores >= threshold
    assert rates.precision == pytest.approx(precision_score(is_spoof, said_spoof))
    assert rates.recall == pytest.approx(recall_score(is_spoof, said_spoof))
    assert rates.miss == pytest.approx(1 - recall_score(is_spoof, said_spoof))
    assert rates.f1 == pytest.approx(f1_score(is_spoof, said_spoof))
    assert rates.accuracy == pytest.approx(accuracy_score(is_spoof, said_spoof))
    assert rates.balanced_accuracy == pytest.approx(balanced_accuracy_score(is_spoof, said_spoof))
    assert rates.false_alarm == pytest.approx(1 - recall_score(~is_spoof, ~said_spoof))


def test_detection_cost_by_hand() -> None:
    # Misses cost 0.2 x 5 = 1, false alarms 0.8 x 0.5 = 0.4, so that always calling spoof costs 0.4.
    costs = DetectionCosts(prior_spoof=0.2, cost_miss=5.0, cost_false_alarm=0.5)
    assert detection_cost(0.1, 0.5, costs) == pytest.approx((0.1 + 0.2) / 0.4)
    assert detection_cost(0.0, 1.0, costs) == 1.0
    assert costs.threshold == pytest.approx(math.log(0.4))
    # Points (miss, false alarm): (0, 1) (0, 3/4) (1/2, 3/4) (1/2, 1/2) (1/2, 1/4) (1/2, 0) (1, 0).
    scores, is_spoof = trials([-3.0, -1.0, 0.0, 1.0], [-2.0, 2.0])
    assert min_detection_cost(scores, is_spoof, costs) == pytest.approx(0.75)  # the second; (1/2, 0) costs 0.5 / 0.4
    # At log 0.4 = -0.9 half of the spoofs are missed and half of the bona fide are called spoof.
    assert actual_detection_cost(scores, is_spoof, costs) == pytest.approx((0.5 + 0.2) / 0.4)
    assert min_detection_cost(*trials([0.0, 0.0], [0.0]), costs) == 1.0  # says nothing


def test_costs_of_asvspoof_5() -> None:
    # The plan gives 0.5 (spoofs accepted) and 0.95 (bona fide rejected) and normalises to accepted + 1.9 rejected.
    assert detection_cost(0.3, 0.1, ASVSPOOF_5) == pytest.approx(0.3 + 1.9 * 0.1)
    assert ASVSPOOF_5.threshold == pytest.approx(math.log(1.9))


@pytest.mark.parametrize("costs", [ASVSPOOF_5, DetectionCosts(prior_spoof=0.6, cost_miss=1.0, cost_false_alarm=7.0)])
def test_detection_costs_by_brute_force(costs: DetectionCosts) -> None:
    scores, is_spoof = gaussians(150, 9)
    scores = scores.round(1)

    def cost_at(threshold: float) -> float:
        miss, alarm = np.mean(scores[is_spoof] < threshold), np.mean(scores[~is_spoof] >= threshold)
        of_misses, of_alarms = costs.prior_spoof * costs.cost_miss, (1 - costs.prior_spoof) * costs.cost_false_alarm
        return (of_misses * miss + of_alarms * alarm) / min(of_misses, of_alarms)

    every = [cost_at(threshold) for threshold in [*np.unique(scores), 99.0]]
    assert min_detection_cost(scores, is_spoof, costs) == pytest.approx(min(every), abs=1e-12)
    assert actual_detection_cost(scores, is_spoof, costs) == pytest.approx(cost_at(costs.threshold), abs=1e-12)


@pytest.mark.parametrize("values", [(0.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0.5, 0.0, 1.0), (0.5, 1.0, math.inf), (0.5, 1.0, math.nan)])
def test_costs_that_cannot_be_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(CoreError, match=r"prior_spoof|costs must be"):
        DetectionCosts(prior_spoof=values[0], cost_miss=values[1], cost_false_alarm=values[2])


def test_min_cllr_by_hand() -> None:
    assert min_log_likelihood_ratio_cost(*trials([0, 1], [2, 3])) == 0.0  # separable
    assert min_log_likelihood_ratio_cost(*trials([2, 3], [0, 1])) == 1.0  # inverted: all is pooled and says nothing
    assert min_log_likelihood_ratio_cost(*trials([0, 0, 0], [0])) == 1.0
    # By rising score: bona fide, then (spoof, bona fide) pooled, then spoof. In the block the ratio is (1/2) / (1/2) = 1,
    # and of each class half of the trials cost log2(2) = 1.
    assert min_log_likelihood_ratio_cost(*trials([0, 2], [1, 3])) == pytest.approx(0.5)
    # One spoof of three and two bona fide of two in the block: ratio (1/3) / (2/2).
    spoof_cost, bona_fide_cost = math.log2(1 + 3) / 3, math.log2(1 + 1 / 3)
    assert min_log_likelihood_ratio_cost(*trials([1, 2], [0, 3, 4])) == pytest.approx((spoof_cost + bona_fide_cost) / 2)


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_min_cllr_is_cllr_after_scikit_learns_isotonic_regression(decimals: int) -> None:
    scores, is_spoof = gaussians(500, 10)
    scores = scores.round(decimals)
    share = IsotonicRegression().fit(scores, is_spoof.astype(float)).predict(scores).clip(1e-12, 1 - 1e-12)
    ratios = np.log(share / (1 - share)) - math.log(is_spoof.sum() / (~is_spoof).sum())
    least = min_log_likelihood_ratio_cost(scores, is_spoof)
    assert least == pytest.approx(log_likelihood_ratio_cost(ratios, is_spoof), abs=1e-9)
    assert min_log_likelihood_ratio_cost(np.exp(scores / 3), is_spoof) == pytest.approx(least, abs=1e-12)
    assert all(least <= log_likelihood_ratio_cost(a * scores + b, is_spoof) for a in (0.3, 1, 3) for b in (-1, 0, 1))


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_hull_points_are_those_of_a_convex_hull(decimals: int) -> None:
    scores, is_spoof = gaussians(200, 11)
    _, miss, false_alarm = error_rates(scores.round(decimals), is_spoof)
    x, y = 1 - false_alarm, miss  # the lower hull of a curve that rises, by the cross product of Andrew's monotone chain
    chain: list[int] = []
    for i in range(len(x)):
        while len(chain) > 1:
            a, b = chain[-2:]
            if (x[b] - x[a]) * (y[i] - y[a]) - (y[b] - y[a]) * (x[i] - x[a]) > 1e-12:
                break
            chain.pop()
        chain.append(i)
    hull = hull_points(miss, x)
    assert set(chain) <= set(hull)
    # What else is kept lies on the hull's straight pieces.
    along = x + y  # rises from every point to the next
    assert y[hull] == pytest.approx(np.interp(along[hull], along[chain], y[chain]), abs=1e-12)
    for prior in (0.01, 0.1, 0.4, 0.9):
        costs = DetectionCosts(prior_spoof=prior, cost_miss=1.0, cost_false_alarm=1.0)
        best = detection_cost(miss, false_alarm, costs).min()
        assert detection_cost(miss[hull], false_alarm[hull], costs).min() == pytest.approx(best, abs=1e-12)


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
    # Equal scores are taken one by one, bona fide first: (0, 1), (0, 1/2), (1, 1/2), (1, 0).
    assert asvspoof_equal_error_rate(*trials([0.0], [0.0, 1.0])) == pytest.approx(1 / 4)
    # Where all are equal that order would decide everything: (0, 1), (1, 1), (1, 0).
    assert asvspoof_equal_error_rate(*trials([0.0, 0.0], [0.0])) == pytest.approx(1 / 2)


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

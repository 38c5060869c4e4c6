"""core.evaluation.curves: by hand, against scikit-learn, and what the points left out of a picture may not change."""

from __future__ import annotations

import numpy as np
import pytest
from published_scores import published_scores
from scipy.special import ndtri
from scipy.stats import binomtest
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from core.errors import CoreError
from core.evaluation.curves import det_curve, reliability, roc_curve, wilson_interval
from core.metrics import DetectionCosts, area_under_curve, crossing_of, detection_cost, error_rates


def gaussians(num: int, seed: int, *, shift: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    is_spoof = rng.random(num) < 0.7
    return rng.standard_normal(num) + shift * is_spoof, is_spoof


def test_det_curve_by_hand() -> None:
    scores, is_spoof = np.array([0.0, 1.0, 2.0, 1.5, 3.0, 4.0]), np.array([False, False, False, True, True, True])
    curve = det_curve(scores, is_spoof)
    # Thresholds 1 and 3 lie within straight stretches: the points at 0, 1.5, 2, 3 (a turn) and the end remain.
    assert curve.miss == pytest.approx([0, 0, 1 / 3, 1 / 3, 1])
    assert curve.false_alarm == pytest.approx([1, 1 / 3, 1 / 3, 0, 0])
    assert curve.thresholds[:4].tolist() == [0.0, 1.5, 2.0, 3.0]


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_without_thinning_the_curve_is_the_whole_one(decimals: int) -> None:
    scores, is_spoof = gaussians(500, 0)
    scores = scores.round(decimals)
    _, miss, false_alarm = error_rates(scores, is_spoof)
    curve = det_curve(scores, is_spoof)
    along, kept = miss + 1 - false_alarm, curve.miss + 1 - curve.false_alarm
    assert np.interp(along, kept, curve.miss) == pytest.approx(miss, abs=1e-12)
    false_alarm_here, hit, _ = reference.roc_curve(is_spoof, scores, drop_intermediate=True)
    roc = roc_curve(scores, is_spoof)
    assert np.interp(false_alarm_here + hit, (roc.false_alarm + roc.hit)[::-1], roc.hit[::-1]) == pytest.approx(hit, abs=1e-12)
    assert roc.area == area_under_curve(scores, is_spoof)


def published() -> tuple[np.ndarray, np.ndarray]:
    return published_scores("air-softmax")[:2]


@pytest.mark.parametrize("trials", [published, lambda: gaussians(50_000, 1)])
def test_thinning_loses_no_operating_point_that_matters(trials: object) -> None:
    scores, is_spoof = trials()
    thresholds, miss, false_alarm = error_rates(scores, is_spoof)
    curve = det_curve(scores, is_spoof)
    assert 500 < len(curve.miss) <= 2_000
    assert np.isin(curve.thresholds, thresholds).all()
    assert crossing_of(curve.miss, curve.false_alarm)[0] == crossing_of(miss, false_alarm)[0]
    for prior in (0.001, 0.05, 0.5, 0.99):
        costs = DetectionCosts(prior_spoof=prior, cost_miss=1.0, cost_false_alarm=1.0)
        best = detection_cost(miss, false_alarm, costs).min()
        assert detection_cost(curve.miss, curve.false_alarm, costs).min() == pytest.approx(best, abs=1e-12)
    # On both kinds of axes no point that was left out lies a visible distance from the drawn line.
    kept, along = curve.miss - curve.false_alarm, miss - false_alarm
    assert np.abs(np.interp(along, kept, curve.miss) - miss).max() < 0.003
    seen = (miss > 2e-3) & (false_alarm > 2e-3) & (miss < 0.9) & (false_alarm < 0.9)
    assert np.abs(ndtri(np.interp(along, kept, curve.miss)[seen]) - ndtri(miss[seen])).max() < 0.05


def test_max_points_is_obeyed() -> None:
    scores, is_spoof = gaussians(20_000, 2)
    curve = det_curve(scores, is_spoof, max_points=200)
    assert 100 < len(curve.miss) <= 200
    assert (curve.miss[0], curve.false_alarm[0], curve.miss[-1], curve.false_alarm[-1]) == (0.0, 1.0, 1.0, 0.0)


def test_reliability_by_hand() -> None:
    # Ratios of 1/3, 1 and 3 predict 1/4, 1/2 and 3/4. With 2 spoofs and 4 bona fide each spoof counts twice a bona fide.
    scores = np.log(np.array([1 / 3, 1 / 3, 1.0, 3.0, 3.0, 3.0]))
    is_spoof = np.array([False, False, False, False, True, True])
    curve = reliability(scores, is_spoof, num_bins=3)
    assert [b.count for b in curve.bins] == [2, 1, 3]
    assert [(b.lower, b.upper) for b in curve.bins] == [(0, pytest.approx(1 / 3)), (1 / 3, 2 / 3), (2 / 3, 1)]
    assert [b.predicted for b in curve.bins] == pytest.approx([1 / 4, 1 / 2, 3 / 4])
    assert [b.observed for b in curve.bins] == pytest.approx([0, 0, 4 / 5])
    # Weights: bona fide 1/8 each, spoofs 1/4 each.
    assert curve.calibration_error == pytest.approx(2 / 8 * 1 / 4 + 1 / 8 * 1 / 2 + 5 / 8 * 1 / 20)
    low, high = wilson_interval(2, 3)
    last = curve.bins[-1]
    assert (last.low, last.high) == pytest.approx((low / (low + (1 - low) / 2), high / (high + (1 - high) / 2)))
    assert (curve.bins[0].low, curve.bins[0].predicted < curve.bins[0].high) == (0.0, True)


def test_reliability_is_scikit_learns_at_the_trials_own_prior() -> None:
    scores, is_spoof = gaussians(3_000, 3)
    prior = float(is_spoof.mean())
    curve = reliability(scores - 1, is_spoof, prior_spoof=prior, num_bins=10)
    predicted = 1 / (1 + np.exp(-(scores - 1 + np.log(prior / (1 - prior)))))
    observed, mean = calibration_curve(is_spoof, predicted, n_bins=10)
    assert [b.observed for b in curve.bins] == pytest.approx(observed)
    assert [b.predicted for b in curve.bins] == pytest.approx(mean)
    assert sum(b.count for b in curve.bins) == 3_000


@pytest.mark.parametrize("prior", [0.1, 0.5, 0.8])
def test_true_likelihood_ratios_are_reliable_at_any_prior(prior: float) -> None:
    # For unit Gaussians 0 and 2 the log-likelihood ratio of x is 2 x - 2.
    scores, is_spoof = gaussians(200_000, 4)
    good = reliability(2 * scores - 2, is_spoof, prior_spoof=prior)
    assert good.calibration_error < 0.01
    assert np.mean([b.low <= b.predicted <= b.high for b in good.bins]) > 0.7
    assert reliability(6 * scores - 6, is_spoof, prior_spoof=prior).calibration_error > 0.03  # far too sure


def test_scores_far_out_and_wrong_arguments() -> None:
    curve = reliability(np.array([-900.0, 900.0]), np.array([False, True]))
    assert [(b.predicted, b.observed) for b in curve.bins] == [(pytest.approx(0), 0.0), (1.0, 1.0)]
    for wrong in ({"prior_spoof": 0.0}, {"prior_spoof": 1.0}, {"num_bins": 0}):
        with pytest.raises(CoreError, match="a prior between 0 and 1 and at least one bin"):
            reliability(np.array([0.0, 1.0]), np.array([False, True]), **wrong)
    for curve_of in (det_curve, roc_curve, reliability):
        with pytest.raises(CoreError, match="only one is present"):
            curve_of(np.array([0.0, 1.0]), np.array([True, True]))


@pytest.mark.parametrize(("right", "total"), [(0, 5), (5, 5), (3, 10), (990, 1_000)])
def test_wilson_interval_is_scipys(right: int, total: int) -> None:
    expected = binomtest(right, total).proportion_ci(method="wilson")
    assert wilson_interval(right, total) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert wilson_interval(right, total)[0] <= right / total <= wilson_interval(right, total)[1]

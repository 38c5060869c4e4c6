"""core.evaluation.weighted_figures: every figure of weights is the plain figure of trials repeated so often."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from published_scores import published_scores

from core import metrics
from core.evaluation import tandem
from core.evaluation.draws import resampled_weights
from core.evaluation.weighted_figures import (
    WeightedFigure,
    running_sums,
    weighted_accuracy,
    weighted_actual_detection_cost,
    weighted_area_under_curve,
    weighted_balanced_accuracy,
    weighted_cllr,
    weighted_eer,
    weighted_min_detection_cost,
    weighted_min_tandem_cost,
    weighted_rate,
)

ASV = tandem.AsvErrorRates(miss=0.02, false_alarm=0.02, spoof_miss=0.24)
COSTS = metrics.DetectionCosts(prior_spoof=0.3, cost_miss=2.0, cost_false_alarm=1.5)
# Weighted figure, plain figure, and the tolerance: counts are exact, sums of logarithms are taken in another order.
PAIRS = {
    "EER": (weighted_eer, lambda s, y: metrics.equal_error_rate(s, y)[0], 0.0),
    "accuracy": (weighted_accuracy, metrics.accuracy, 0.0),
    "balanced accuracy": (weighted_balanced_accuracy, metrics.balanced_accuracy, 0.0),
    "min t-DCF": (weighted_min_tandem_cost(ASV), lambda s, y: tandem.min_tandem_cost(s, y, ASV), 0.0),
    "AUC": (weighted_area_under_curve, metrics.area_under_curve, 1e-12),
    "min t-DCF 2021": (
        weighted_min_tandem_cost(ASV, costs=tandem.ASVSPOOF_2021),
        lambda s, y: tandem.min_tandem_cost(s, y, ASV, costs=tandem.ASVSPOOF_2021),
        0.0,
    ),
    "min DCF": (weighted_min_detection_cost(COSTS), lambda s, y: metrics.min_detection_cost(s, y, COSTS), 0.0),
    "actual DCF": (weighted_actual_detection_cost(COSTS), lambda s, y: metrics.actual_detection_cost(s, y, COSTS), 0.0),
    "F1": (weighted_rate("f1", threshold=0.5), lambda s, y: metrics.detection_rates(s, y, 0.5).f1, 0.0),
    "precision": (weighted_rate("precision"), lambda s, y: metrics.detection_rates(s, y, 0.0).precision, 0.0),
    "Cllr": (weighted_cllr, metrics.log_likelihood_ratio_cost, 1e-12),
}


def gaussians(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    is_spoof = rng.random(num) < 0.6
    return rng.standard_normal(num) + is_spoof, is_spoof


def repeating(figure: Callable[[np.ndarray, np.ndarray], float]) -> WeightedFigure:
    """The slow definition: trials are repeated and the plain figure is taken."""
    return lambda s, y: lambda weights: np.array([figure(np.repeat(s, w), np.repeat(y, w)) for w in weights])


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("decimals", [0, 12])
@pytest.mark.parametrize("num_groups", [None, 7, 40])
def test_a_weighted_figure_is_that_of_repeated_trials(name: str, decimals: int, num_groups: int | None) -> None:
    weighted, plain, tolerance = PAIRS[name]
    scores, is_spoof = gaussians(150, 1)
    scores = scores.round(decimals)
    groups = None if num_groups is None else np.random.default_rng(2).integers(num_groups, size=150)
    for weights in resampled_weights(is_spoof, groups=groups, num_resamples=60, seed=3):
        fast, slow = weighted(scores, is_spoof)(weights), repeating(plain)(scores, is_spoof)(weights)
        assert np.abs(fast - slow).max() <= tolerance
    everything = weighted(scores, is_spoof)(np.ones((1, 150), dtype=int))[0]
    assert abs(everything - plain(scores, is_spoof)) <= tolerance


def test_all_trials_of_asvspoof_2019_are_resampled_exactly() -> None:
    scores, is_spoof, attacks, _ = published_scores("air-softmax")
    groups = np.where(is_spoof, attacks, np.arange(len(scores)) % 67)
    for weights in resampled_weights(is_spoof, groups=groups, num_resamples=3, seed=0):
        assert (weighted_eer(scores, is_spoof)(weights) == repeating(PAIRS["EER"][1])(scores, is_spoof)(weights)).all()


def test_precision_is_missing_where_nothing_is_called_spoof() -> None:
    scores, is_spoof = np.array([-1.0, -2.0, 1.0]), np.array([False, True, True])
    values = weighted_rate("precision")(scores, is_spoof)(np.array([[1, 1, 1], [1, 2, 0]]))
    assert values[0] == 1.0
    assert np.isnan(values[1])


def test_running_sums_by_hand() -> None:
    sums = running_sums(np.array([[1, 2, 3], [0, 5, 1]], dtype=np.int32), np.array([2, 0, 1, 0]))
    assert sums.tolist() == [[0, 3, 4, 6, 7], [0, 1, 1, 6, 6]]

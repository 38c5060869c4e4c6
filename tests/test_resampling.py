"""core.resampling: every weighted figure is the plain figure of repeated trials; intervals and differences known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from published_scores import published_scores

from core import metrics, tandem
from core.errors import CoreError
from core.resampling import (
    WeightedFigure,
    bootstrap_interval,
    bootstrap_mean,
    paired_difference,
    paired_mean_difference,
    resampled_weights,
    weighted_accuracy,
    weighted_area_under_curve,
    weighted_balanced_accuracy,
    weighted_cllr,
    weighted_eer,
    weighted_min_tandem_cost,
)

ASV = tandem.AsvErrorRates(miss=0.02, false_alarm=0.02, spoof_miss=0.24)
# Weighted figure, plain figure, and the tolerance: counts are exact, sums of logarithms are taken in another order.
PAIRS = {
    "EER": (weighted_eer, lambda s, y: metrics.equal_error_rate(s, y)[0], 0.0),
    "accuracy": (weighted_accuracy, metrics.accuracy, 0.0),
    "balanced accuracy": (weighted_balanced_accuracy, metrics.balanced_accuracy, 0.0),
    "min t-DCF": (weighted_min_tandem_cost(ASV), lambda s, y: tandem.min_tandem_cost(s, y, ASV), 0.0),
    "AUC": (weighted_area_under_curve, metrics.area_under_curve, 1e-12),
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


def test_intervals_are_those_of_the_slow_definition() -> None:
    scores, is_spoof = gaussians(200, 4)
    groups = np.arange(200) // 5
    slow = repeating(PAIRS["EER"][1])
    assert bootstrap_interval(weighted_eer, scores, is_spoof, groups=groups) == bootstrap_interval(
        slow, scores, is_spoof, groups=groups
    )
    other = scores + np.random.default_rng(5).standard_normal(200)
    assert paired_difference(weighted_eer, scores, other, is_spoof, num_resamples=200) == paired_difference(
        slow, scores, other, is_spoof, num_resamples=200
    )


def test_all_trials_of_asvspoof_2019_are_resampled_exactly() -> None:
    scores, is_spoof, attacks, _ = published_scores("air-softmax")
    groups = np.where(is_spoof, attacks, np.arange(len(scores)) % 67)
    for weights in resampled_weights(is_spoof, groups=groups, num_resamples=3, seed=0):
        assert (weighted_eer(scores, is_spoof)(weights) == repeating(PAIRS["EER"][1])(scores, is_spoof)(weights)).all()


def test_interval_holds_the_value_and_repeats() -> None:
    scores, is_spoof = gaussians(200, 1)
    interval = bootstrap_interval(weighted_eer, scores, is_spoof, num_resamples=200)
    assert interval.low < interval.value < interval.high
    assert interval.value == metrics.equal_error_rate(scores, is_spoof)[0]
    assert interval == bootstrap_interval(weighted_eer, scores, is_spoof, num_resamples=200)
    assert interval != bootstrap_interval(weighted_eer, scores, is_spoof, num_resamples=200, seed=1)


def test_interval_of_a_mean_is_the_normal_one() -> None:
    # The mean of n numbers has a 95 % interval of +-1.96 s / sqrt(n).
    scores, is_spoof = gaussians(1_000, 2)
    half = 1.96 * scores.std() / math.sqrt(1_000)
    mean = bootstrap_interval(lambda s, _: lambda w: w @ s / w.sum(axis=1), scores, is_spoof, num_resamples=2_000)
    for interval in (mean, bootstrap_mean(scores, num_resamples=2_000)):
        assert interval.value == pytest.approx(scores.mean())
        assert interval.low == pytest.approx(scores.mean() - half, abs=0.1 * half)
        assert interval.high == pytest.approx(scores.mean() + half, abs=0.1 * half)


def test_groups_are_drawn_whole() -> None:
    groups = np.array(list("aaabbcccccd") * 2)
    is_spoof = np.arange(len(groups)) < 11  # each group has as many of both
    blocks = list(resampled_weights(is_spoof, groups=groups, num_resamples=100, seed=0))
    weights = np.concatenate(blocks)
    assert weights.shape == (100, 22)
    for group in "abcd":
        assert (weights[:, groups == group] == weights[:, groups == group][:, :1]).all()
    assert (weights[:, [0, 3, 5, 10]].sum(axis=1) == 4).all()  # four groups, drawn four times
    assert weights[:, 0].mean() == pytest.approx(1.0, abs=0.3)


def test_blocks_hold_all_resamples_of_a_large_set() -> None:
    is_spoof = np.arange(300_000) % 2 == 0  # more trials than a block has weights
    blocks = list(resampled_weights(is_spoof, groups=np.arange(300_000) % 10, num_resamples=3, seed=0))
    assert [block.shape for block in blocks] == [(1, 300_000)] * 3


def test_groups_widen_the_interval() -> None:
    # Ten recordings of each of 20 speakers that score alike carry the evidence of 20, not of 200.
    rng = np.random.default_rng(4)
    speakers = np.repeat(np.arange(20), 10)
    is_spoof = speakers % 2 == 1
    scores = np.repeat(rng.standard_normal(20), 10) + is_spoof
    alone = bootstrap_interval(weighted_eer, scores, is_spoof, num_resamples=300)
    grouped = bootstrap_interval(weighted_eer, scores, is_spoof, groups=speakers, num_resamples=300)
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)


def test_resamples_that_lose_a_class_are_drawn_again() -> None:
    scores, is_spoof = np.array([0.0, 1.0]), np.array([False, True])  # half of all resamples hold one class only
    interval = bootstrap_interval(weighted_eer, scores, is_spoof, num_resamples=50)
    assert (interval.low, interval.value, interval.high) == (0.0, 0.0, 0.0)


def test_a_system_equals_itself() -> None:
    scores, is_spoof = gaussians(100, 1)
    difference = paired_difference(weighted_eer, scores, 2 * scores, is_spoof, num_resamples=99)
    assert (difference.value, difference.low, difference.high, difference.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_clear_difference_is_significant_and_turns_with_the_order() -> None:
    scores, is_spoof = gaussians(400, 6)
    better = scores + 2 * is_spoof
    one = paired_difference(weighted_eer, better, scores, is_spoof, num_resamples=499)
    other = paired_difference(weighted_eer, scores, better, is_spoof, num_resamples=499)
    assert one.high < 0
    assert one.p_value == 2 / 500
    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))
    assert other.p_value == one.p_value


def test_p_values_of_equal_systems_are_uniform() -> None:
    p_values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        is_spoof = np.arange(150) % 2 == 0
        first, second = (rng.standard_normal(150) + is_spoof for _ in range(2))
        p_values.append(paired_difference(weighted_eer, first, second, is_spoof, num_resamples=200).p_value)
    # Of 200 uniform p-values 10 +- 3 lie below 5 %; the percentile bootstrap of a quantile is a little conservative.
    assert 0.005 <= np.mean(np.array(p_values) < 0.05) <= 0.095
    assert 0.35 <= np.mean(np.array(p_values) < 0.5) <= 0.65


def test_mean_difference_over_units() -> None:
    first, second = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.2, 0.3, 0.4, 0.5])
    difference = paired_mean_difference(first, second, num_resamples=99)
    assert difference.value == pytest.approx(-0.1)
    assert (difference.low, difference.high) == (pytest.approx(-0.1), pytest.approx(-0.1))
    assert difference.p_value == 0.02


def test_wrong_trials_are_refused() -> None:
    scores, is_spoof = gaussians(10, 1)
    with pytest.raises(CoreError, match="only one is present"):
        bootstrap_interval(weighted_eer, scores, np.ones(10, dtype=bool))
    with pytest.raises(CoreError, match="one length"):
        paired_difference(weighted_eer, scores, scores[:9], is_spoof)
    with pytest.raises(CoreError, match="a group for each of 10 trials, got 9"):
        bootstrap_interval(weighted_eer, scores, is_spoof, groups=np.arange(9))

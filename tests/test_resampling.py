"""core.evaluation.resampling: intervals and differences known beforehand, and those of the slow definition."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from core import metrics
from core.errors import CoreError
from core.evaluation.draws import resampled_weights
from core.evaluation.resampling import (
    bootstrap_areas,
    bootstrap_eers,
    bootstrap_interval,
    bootstrap_intervals,
    bootstrap_mean,
    paired_difference,
    paired_eers,
    paired_mean_difference,
)
from core.evaluation.weighted_figures import WeightedFigure, weighted_area_under_curve, weighted_cllr, weighted_eer


def gaussians(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    is_spoof = rng.random(num) < 0.6
    return rng.standard_normal(num) + is_spoof, is_spoof


def repeating(figure: Callable[[np.ndarray, np.ndarray], float]) -> WeightedFigure:
    """The slow definition: trials are repeated and the plain figure is taken."""
    return lambda s, y: lambda weights: np.array([figure(np.repeat(s, w), np.repeat(y, w)) for w in weights])


def test_intervals_are_those_of_the_slow_definition() -> None:
    scores, is_spoof = gaussians(200, 4)
    groups = np.arange(200) // 5
    slow = repeating(lambda s, y: metrics.equal_error_rate(s, y)[0])
    assert bootstrap_interval(weighted_eer, scores, is_spoof, groups=groups) == bootstrap_interval(
        slow, scores, is_spoof, groups=groups
    )
    other = scores + np.random.default_rng(5).standard_normal(200)
    assert paired_difference(weighted_eer, scores, other, is_spoof, num_resamples=200) == paired_difference(
        slow, scores, other, is_spoof, num_resamples=200
    )


def test_interval_holds_the_value_and_repeats() -> None:
    scores, is_spoof = gaussians(200, 1)
    interval = bootstrap_interval(weighted_eer, scores, is_spoof, num_resamples=200)
    assert interval.low < interval.value < interval.high
    assert interval.value == metrics.equal_error_rate(scores, is_spoof)[0]
    assert interval == bootstrap_interval(weighted_eer, scores, is_spoof, num_resamples=200)
    assert interval != bootstrap_interval(weighted_eer, scores, is_spoof, num_resamples=200, seed=1)


def test_several_figures_share_their_resamples() -> None:
    scores, is_spoof = gaussians(200, 1)
    figures = {"EER": weighted_eer, "Cllr": weighted_cllr}
    together = bootstrap_intervals(figures, scores, is_spoof, num_resamples=100)
    assert together == {name: bootstrap_interval(figure, scores, is_spoof, num_resamples=100) for name, figure in figures.items()}


ATTACKS = np.array([None, "A01", "A02", "A03"], dtype=object)


def attacked(num: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, is_spoof and attacks; a quarter of the spoofs is of no named attack, bona fide trials have names to ignore."""
    scores, is_spoof = gaussians(num, seed)
    return scores.round(2), is_spoof, ATTACKS[np.random.default_rng(seed).integers(4, size=num)]


@pytest.mark.parametrize("num_groups", [None, 12])
def test_pooled_figures_of_attacks_are_the_plain_intervals(num_groups: int | None) -> None:
    scores, is_spoof, attacks = attacked(300, 7)
    groups = None if num_groups is None else np.arange(300) % num_groups
    plain = {"groups": groups, "num_resamples": 100, "seed": 3}
    eers = bootstrap_eers(scores, is_spoof, attacks, **plain)
    assert list(eers) == ["", "A01", "A02", "A03"]
    assert eers[""] == bootstrap_interval(weighted_eer, scores, is_spoof, **plain)
    area, expected = (
        bootstrap_areas(scores, is_spoof, attacks, **plain)[""],
        bootstrap_interval(weighted_area_under_curve, scores, is_spoof, **plain),
    )
    assert (area.value, area.low, area.high) == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)


def test_eers_of_attacks_are_those_of_their_trials() -> None:
    scores, is_spoof, attacks = attacked(300, 8)
    groups = np.arange(300) // 10
    other = scores + np.random.default_rng(0).standard_normal(300)
    eers = bootstrap_eers(scores, is_spoof, attacks, groups=groups, num_resamples=200)
    differences = paired_eers(scores, other, is_spoof, attacks, groups=groups, num_resamples=200)
    weights = np.concatenate(list(resampled_weights(is_spoof, groups=groups, num_resamples=200, seed=0)))
    for attack in ("A01", "A02", "A03"):
        chosen = ~is_spoof | (attacks == attack)
        first, second = (weighted_eer(of[chosen], is_spoof[chosen])(weights[:, chosen]) for of in (scores, other))
        assert (eers[attack].low, eers[attack].high) == tuple(np.percentile(first, [2.5, 97.5]))
        assert eers[attack].value == metrics.equal_error_rate(scores[chosen], is_spoof[chosen])[0]
        assert (differences[attack].low, differences[attack].high) == tuple(np.percentile(first - second, [2.5, 97.5]))
    pooled = paired_difference(weighted_eer, scores, other, is_spoof, groups=groups, num_resamples=200)
    assert differences[""] == pooled


def test_resamples_that_lose_an_attack_are_left_out_of_its_interval() -> None:
    # The only spoof of A01 scores above all, so that its EER is 0 wherever it is drawn; A02's are below all.
    scores = np.array([0.0, 1.0, 2.0, 3.0, 9.0, -1.0, -2.0])
    is_spoof = np.array([False] * 4 + [True] * 3)
    attacks = np.array([None] * 4 + ["A01", "A02", "A02"], dtype=object)
    eers = bootstrap_eers(scores, is_spoof, attacks, num_resamples=200)
    assert (eers["A01"].low, eers["A01"].value, eers["A01"].high) == (0.0, 0.0, 0.0)
    assert (eers["A02"].low, eers["A02"].value, eers["A02"].high) == (1.0, 1.0, 1.0)
    areas = bootstrap_areas(scores, is_spoof, attacks, num_resamples=200)
    assert (areas["A01"].low, areas["A01"].high, areas["A02"].low, areas["A02"].high) == (1.0, 1.0, 0.0, 0.0)
    difference = paired_eers(scores, -scores, is_spoof, attacks, num_resamples=200)["A01"]
    assert (difference.value, difference.low, difference.high) == (-1.0, -1.0, -1.0)
    assert difference.p_value < 0.05


def test_interval_of_an_eer_is_the_normal_one() -> None:
    # Of two unit Gaussians 2 apart the EER is Phi(-1); the variance of its estimate is (p q / n of spoofs + p q / n of bona
    # fide) / 4, as both classes' densities are equal at the threshold.
    rng = np.random.default_rng(0)
    is_spoof = np.arange(6_000) < 4_000
    scores = rng.standard_normal(6_000) + 2 * is_spoof
    attacks = np.where(is_spoof, "A01", None).astype(object)
    interval = bootstrap_eers(scores, is_spoof, attacks, num_resamples=2_000)["A01"]
    spread = math.sqrt(0.158655 * 0.841345 * (1 / 4_000 + 1 / 2_000) / 4)
    assert interval.value == pytest.approx(0.158655, abs=3 * spread)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_trials_without_a_group_stand_alone() -> None:
    is_spoof = np.array([False, True] * 4)
    groups = np.array(["b", "b", None, "a", "a", None, float("nan"), "b"], dtype=object)
    weights = np.concatenate(list(resampled_weights(is_spoof, groups=groups, num_resamples=200, seed=0)))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] == weights[:, 7]).all()
    assert (weights[:, 3] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 3, 5, 6]].sum(axis=1) == 5).all()  # five groups
    assert (weights[:, 2] != weights[:, 5]).any()
    named = np.array(["b", "b", "x", "a", "a", "y", "z", "b"])
    same = np.concatenate(list(resampled_weights(is_spoof, groups=named, num_resamples=200, seed=0)))
    assert (weights == same).all()


def test_the_size_of_blocks_changes_no_resample() -> None:
    is_spoof = np.arange(50) % 2 == 0
    large = np.concatenate(list(resampled_weights(is_spoof, groups=None, num_resamples=30, seed=1)))
    small = list(resampled_weights(is_spoof, groups=None, num_resamples=30, seed=1, block_weights=100))
    assert [len(block) for block in small] == [2] * 15
    assert (np.concatenate(small) == large).all()


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
    with pytest.raises(CoreError, match="only one is present"):
        bootstrap_eers(scores, np.zeros(10, dtype=bool), np.full(10, "A01"))
    with pytest.raises(CoreError, match="an attack for each of 10 trials, got 9"):
        bootstrap_eers(scores, is_spoof, np.full(9, "A01"))
    with pytest.raises(CoreError, match="a group for each of 10 trials, got 9"):
        bootstrap_interval(weighted_eer, scores, is_spoof, groups=np.arange(9))

"""core.metrics: cases solved by hand, and independent implementations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from core.errors import CoreError
from core.metrics import balanced_accuracy, bootstrap_interval, equal_error_rate, error_rates, log_likelihood_ratio_cost


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


def _eer(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    return equal_error_rate(scores, is_spoof)[0]


def test_interval_holds_the_value_and_repeats() -> None:
    scores, is_spoof = gaussians(200, 1)
    interval = bootstrap_interval(_eer, scores, is_spoof, num_resamples=200)
    assert interval.low < interval.value < interval.high
    assert interval.value == _eer(scores, is_spoof)
    assert interval == bootstrap_interval(_eer, scores, is_spoof, num_resamples=200)
    assert interval != bootstrap_interval(_eer, scores, is_spoof, num_resamples=200, seed=1)


def test_interval_of_a_mean_is_the_normal_one() -> None:
    # The mean of n numbers has a 95 % interval of +-1.96 s / sqrt(n).
    scores, is_spoof = gaussians(1_000, 2)
    interval = bootstrap_interval(lambda s, _: float(s.mean()), scores, is_spoof, num_resamples=2_000)
    half = 1.96 * scores.std() / math.sqrt(1_000)
    assert interval.low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(scores.mean() + half, abs=0.1 * half)


def test_groups_are_drawn_whole() -> None:
    groups = np.array(list("aaabbcccccd") * 2)
    scores = np.array([ord(group) for group in groups], dtype=np.float64)
    is_spoof = np.arange(len(groups)) < 11  # each group has as many of both

    def check(drawn: np.ndarray, labels: np.ndarray) -> float:
        sizes = {value: int((drawn == value).sum()) for value in set(drawn)}
        assert all(size % (2 * "aaabbcccccd".count(chr(int(value)))) == 0 for value, size in sizes.items())
        assert labels.sum() * 2 == len(labels)
        return len(drawn)

    bootstrap_interval(check, scores, is_spoof, groups=groups, num_resamples=100)


def test_groups_widen_the_interval() -> None:
    # Ten recordings of each of 20 speakers that score alike carry the evidence of 20, not of 200.
    rng = np.random.default_rng(4)
    speakers = np.repeat(np.arange(20), 10)
    is_spoof = speakers % 2 == 1
    scores = np.repeat(rng.standard_normal(20), 10) + is_spoof
    alone = bootstrap_interval(_eer, scores, is_spoof, num_resamples=300)
    grouped = bootstrap_interval(_eer, scores, is_spoof, groups=speakers, num_resamples=300)
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)


def test_resamples_that_lose_a_class_are_drawn_again() -> None:
    scores, is_spoof = trials([0.0], [1.0])  # half of all resamples hold one class only
    interval = bootstrap_interval(_eer, scores, is_spoof, num_resamples=50)
    assert (interval.low, interval.value, interval.high) == (0.0, 0.0, 0.0)

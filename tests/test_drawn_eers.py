"""core.evaluation.drawn_eers and core.evaluation.grouped_curves: the shortcuts give what whole resamples give."""

from __future__ import annotations

import numpy as np
import pytest
from published_scores import published_scores

from core.evaluation.attack_curves import attack_curves
from core.evaluation.drawn_eers import drawn_eers
from core.evaluation.grouped_curves import grouped_curves
from core.evaluation.resampling import bootstrap_eers
from core.metrics import equal_error_rate


def overlapping(num_trials: int, decimals: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(decimals)
    is_spoof = rng.random(num_trials) < 0.7
    scores = (rng.standard_normal(num_trials) + 1.5 * is_spoof).round(decimals)
    return scores, is_spoof, np.array(["A01", "A02", None], dtype=object)[rng.choice(3, num_trials, p=[0.8, 0.1, 0.1])]


@pytest.mark.parametrize("decimals", [1, 12])
def test_drawn_counts_give_the_distribution_of_whole_resamples(decimals: int) -> None:
    scores, is_spoof, attacks = overlapping(300, decimals)
    drawn = drawn_eers(scores, is_spoof, attacks, num_resamples=20_000, seed=1)
    whole = bootstrap_eers(scores, is_spoof, attacks, num_resamples=20_000, seed=2)
    assert drawn.keys() == whole.keys() == {"", "A01", "A02"}
    for key, interval in drawn.items():
        assert interval.value == whole[key].value
        # Percentiles of 20,000 resamples are uncertain by about a hundredth of the interval's width.
        width = whole[key].high - whole[key].low
        assert (interval.low, interval.high) == pytest.approx((whole[key].low, whole[key].high), abs=0.05 * width), key


def test_the_figure_of_all_trials_is_the_exact_one() -> None:
    scores, is_spoof, attacks = overlapping(300, 12)
    found = drawn_eers(scores, is_spoof, attacks, num_resamples=100)
    assert found[""].value == pytest.approx(equal_error_rate(scores, is_spoof)[0], abs=1e-12)


def test_an_attack_of_one_trial_and_classes_that_do_not_overlap() -> None:
    scores, is_spoof = np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True])
    found = drawn_eers(scores, is_spoof, np.array([None, None, "x", "y"], dtype=object), num_resamples=100)
    assert all((interval.value, interval.low, interval.high) == (0.0, 0.0, 0.0) for interval in found.values())


@pytest.mark.parametrize("decimals", [0, 12])
@pytest.mark.parametrize("figure", ["eers", "areas"])
def test_counts_of_groups_give_what_weights_of_trials_give(decimals: int, figure: str) -> None:
    scores, is_spoof, attacks = overlapping(2000, decimals)
    rng = np.random.default_rng(5)
    ids = rng.integers(9, size=2000)
    curves = attack_curves(scores, is_spoof, attacks)
    counts = rng.multinomial(9, np.full(9, 1 / 9), size=50).astype(np.int32)
    found = getattr(grouped_curves(curves, ids), figure)(counts)
    assert found == pytest.approx(getattr(curves, figure)(counts[:, ids]), abs=1e-12, nan_ok=True)


def test_a_resample_without_an_attack_has_no_figure_of_it() -> None:
    scores, is_spoof = np.arange(400.0), np.arange(400) >= 200
    curves = attack_curves(scores, is_spoof, np.array([None] * 200 + ["x", "y"] * 100, dtype=object))
    grouped = grouped_curves(curves, np.arange(400) % 2)
    for figure in (grouped.eers, grouped.areas):
        assert np.isnan(figure(np.array([[2, 0]]))).tolist() == [[False, False, True]]


def test_too_many_groups_are_left_to_weights() -> None:
    scores, is_spoof, attacks, _ = published_scores("air-softmax")
    curves = attack_curves(scores, is_spoof, attacks)
    assert grouped_curves(curves, np.arange(len(scores)) % 67) is not None
    assert grouped_curves(curves, np.arange(len(scores)) % 700) is None

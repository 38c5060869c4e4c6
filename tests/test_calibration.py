"""core.calibration: known log-likelihood ratios come back, bounds hold, verdicts change where they should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.calibration import Calibration, Thresholds, choose_thresholds, fit_calibration
from core.errors import CoreError, DetectorError
from core.metrics import log_likelihood_ratio_cost
from core.records import Verdict


def gaussians(num: int, *, share_spoof: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Raw scores from N(1, 2) for bona fide and N(4, 2) for spoof, standard deviation 2."""
    rng = np.random.default_rng(seed)
    is_spoof = rng.random(num) < share_spoof
    return rng.normal(np.where(is_spoof, 4.0, 1.0), 2.0), is_spoof


@pytest.mark.parametrize("share_spoof", [0.5, 0.9])
def test_known_ratio_of_gaussians_comes_back(share_spoof: float) -> None:
    # ln N(x; m1, s) / N(x; m0, s) = (m1 - m0) / s^2 x - (m1^2 - m0^2) / (2 s^2) = 3/4 x - 15/8, whatever the mixture.
    calibration = fit_calibration(*gaussians(200_000, share_spoof=share_spoof))
    assert calibration.slope == pytest.approx(3 / 4, rel=0.02)
    assert calibration.offset == pytest.approx(-15 / 8, rel=0.02)
    assert calibration.prior_spoof == 0.5


def test_calibration_lowers_cllr_on_other_data() -> None:
    calibration = fit_calibration(*gaussians(5_000))
    raw, is_spoof = gaussians(5_000, seed=1)
    # Where the ratio is known, so is its cost; the estimate comes close to it.
    best = log_likelihood_ratio_cost(0.75 * raw - 15 / 8, is_spoof)
    assert log_likelihood_ratio_cost(calibration.slope * raw + calibration.offset, is_spoof) == pytest.approx(best, abs=0.003)
    assert log_likelihood_ratio_cost(raw, is_spoof) > best + 0.2


def test_affine_map_by_hand() -> None:
    calibration = Calibration(slope=2.0, offset=-1.0)
    assert calibration.spoof_score(3.0) == 5.0


def test_probability_by_hand() -> None:
    even = Calibration(slope=1.0, offset=0.0)
    assert even.probability(0.0) == 0.5
    assert even.probability(math.log(3)) == pytest.approx(0.75, abs=1e-12)
    # Odds of 3 for spoof, from prior odds of 1 to 9: 3/9, so a quarter.
    assert Calibration(slope=1.0, offset=0.0, prior_spoof=0.1).probability(math.log(3)) == pytest.approx(0.25, abs=1e-12)


@pytest.mark.parametrize(("spoof_score", "probability"), [(1e6, 1.0), (-1e6, 0.0), (-701.0, 0.0), (-690.0, math.exp(-690.0))])
def test_probability_of_extreme_scores(spoof_score: float, probability: float) -> None:
    assert Calibration(slope=1.0, offset=0.0).probability(spoof_score) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize(
    "fields",
    [
        {"slope": 0.0},
        {"slope": -1.0},
        {"slope": math.inf},
        {"slope": math.nan},
        {"offset": math.nan},
        {"prior_spoof": 0.0},
        {"prior_spoof": 1.0},
    ],
)
def test_impossible_calibrations_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(DetectorError):
        Calibration(**{"slope": 1.0, "offset": 0.0} | fields)


def test_fitting_needs_both_classes_and_the_right_sign() -> None:
    raw, is_spoof = gaussians(500)
    for labels in (np.ones(500, dtype=bool), np.zeros(500, dtype=bool)):
        with pytest.raises(CoreError, match="both classes"):
            fit_calibration(raw, labels)
    with pytest.raises(CoreError, match="worse than chance or inverted"):
        fit_calibration(-raw, is_spoof)


@pytest.mark.parametrize("max_error", [0.0, 0.02, 0.05, 0.3])
@pytest.mark.parametrize("decimals", [1, 8])
def test_both_wrong_verdicts_stay_below_the_bound(max_error: float, decimals: int) -> None:
    scores, is_spoof = gaussians(700, seed=3)
    scores = scores.round(decimals)
    thresholds = choose_thresholds(scores, is_spoof, max_error=max_error)
    called_spoof, called_bona_fide = scores >= thresholds.upper, scores < thresholds.lower
    assert called_spoof[~is_spoof].mean() <= max_error
    assert called_bona_fide[is_spoof].mean() <= max_error


def test_the_band_is_no_wider_than_it_must_be() -> None:
    scores, is_spoof = gaussians(700, seed=3)
    thresholds = choose_thresholds(scores, is_spoof, max_error=0.05)
    assert thresholds.lower < thresholds.upper
    next_lower = scores[scores < thresholds.upper].max()
    assert (scores >= next_lower)[~is_spoof].mean() > 0.05
    next_higher = scores[scores > thresholds.lower].min()
    assert (scores < next_higher)[is_spoof].mean() > 0.05


def test_thresholds_by_hand() -> None:
    scores = np.array([0.0, 1.0, 2.0, 7.0, 3.0, 6.0, 8.0, 9.0])
    is_spoof = np.array([False] * 4 + [True] * 4)
    # No error allowed: nothing bona fide reaches 8, no spoof lies below 3.
    assert choose_thresholds(scores, is_spoof, max_error=0.0) == Thresholds(lower=3.0, upper=8.0)
    # One in four allowed: upper could fall to 3 and lower rise to 6; they cross, so both lie midway.
    assert choose_thresholds(scores, is_spoof, max_error=0.25) == Thresholds(lower=4.5, upper=4.5)


def test_a_perfect_detector_needs_no_band() -> None:
    thresholds = choose_thresholds(np.array([0.0, 1.0, 5.0, 6.0]), np.array([False, False, True, True]))
    assert thresholds.lower == thresholds.upper == 5.0


def test_verdicts_at_the_boundaries() -> None:
    thresholds = Thresholds(lower=-1.0, upper=2.0)
    below, above = np.nextafter(-1.0, -np.inf), np.nextafter(2.0, -np.inf)
    verdicts = [thresholds.verdict(score) for score in (-99.0, below, -1.0, 0.0, above, 2.0, 99.0)]
    assert verdicts == [Verdict.BONA_FIDE] * 2 + [Verdict.INCONCLUSIVE] * 3 + [Verdict.SPOOF] * 2


def test_without_a_band_nothing_is_inconclusive() -> None:
    thresholds = Thresholds(lower=0.0, upper=0.0)
    assert [thresholds.verdict(score) for score in (-1e-9, 0.0, 1e-9)] == [Verdict.BONA_FIDE, Verdict.SPOOF, Verdict.SPOOF]


def test_crossed_thresholds_are_refused() -> None:
    with pytest.raises(DetectorError, match=r"lower threshold 2.0 is above the upper 1.0"):
        Thresholds(lower=2.0, upper=1.0)

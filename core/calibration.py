"""From raw scores to log-likelihood ratios, and from those to verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.errors import CoreError, DetectorError
from core.metrics import error_rates
from core.records import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Affine map from a raw score to a log-likelihood ratio in nats, and the prior for probabilities."""

    slope: float
    offset: float
    prior_spoof: float = 0.5
    """Probability of spoof before listening; 0.5 favours neither side."""

    def __post_init__(self) -> None:
        if not (self.slope > 0 and math.isfinite(self.slope) and math.isfinite(self.offset)):
            raise DetectorError(f"calibration needs a positive finite slope, got {self.slope} and offset {self.offset}")
        if not 0 < self.prior_spoof < 1:
            raise DetectorError(f"prior_spoof is {self.prior_spoof}; expected a value between 0 and 1")

    def spoof_score(self, raw: float) -> float:
        """The calibrated log-likelihood ratio, nats."""
        return self.slope * raw + self.offset

    def probability(self, spoof_score: float) -> float:
        """Posterior probability of spoof at `prior_spoof`."""
        log_odds = spoof_score + math.log(self.prior_spoof / (1 - self.prior_spoof))
        return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The inconclusive band: below `lower` is bona fide, from `upper` on is spoof, between is inconclusive."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:
            raise DetectorError(f"the lower threshold {self.lower} is above the upper {self.upper}")

    def verdict(self, spoof_score: float) -> Verdict:
        """The verdict on a calibrated score."""
        if spoof_score >= self.upper:
            return Verdict.SPOOF
        return Verdict.BONA_FIDE if spoof_score < self.lower else Verdict.INCONCLUSIVE


def verdict_of(score: float, thresholds: Thresholds | None) -> Verdict:
    """The verdict on a score; without thresholds it is inconclusive."""
    return thresholds.verdict(score) if thresholds else Verdict.INCONCLUSIVE


def fit_calibration(raw: np.ndarray, is_spoof: np.ndarray) -> Calibration:
    """Affine calibration by logistic regression with both classes weighted to equal prior.

    Args:
        raw: `[trial]` raw scores of a set that training did not see.
        is_spoof: `[trial]` bool.

    Raises:
        CoreError: one class only, or raw scores that do not rise with spoof.

    Source: Brummer and du Preez (2006), section 5; at equal prior the fitted log odds are the log-likelihood ratio.
    """
    from sklearn.linear_model import LogisticRegression

    if is_spoof.all() or not is_spoof.any():
        raise CoreError("calibration needs both classes, bona fide and spoof")
    fitted = LogisticRegression(C=np.inf, class_weight="balanced").fit(np.asarray(raw, dtype=np.float64)[:, None], is_spoof)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:
        raise CoreError("raw scores do not rise with spoof on the calibration set: the detector is worse than chance or inverted")
    return Calibration(slope=slope, offset=offset)


def choose_thresholds(scores: np.ndarray, is_spoof: np.ndarray, *, max_error: float = 0.05) -> Thresholds:
    """The narrowest band that keeps both wrong verdicts at `max_error` or less on the given set.

    `upper` is the lowest threshold at which at most `max_error` of bona fide is called spoof; `lower` the highest
    at which at most `max_error` of spoof is called bona fide. Where they cross, the detector needs no band and
    both are put midway.
    """
    thresholds, miss, false_alarm = error_rates(scores, is_spoof)
    upper = float(thresholds[np.argmax(false_alarm <= max_error)])
    lower = float(thresholds[np.nonzero(miss <= max_error)[0][-1]])
    if lower > upper:
        lower = upper = (lower + upper) / 2
    return Thresholds(lower=lower, upper=upper)

"""Every figure of one system on one set, with its interval, as the summary of an evaluation lists them."""

from __future__ import annotations

import numpy as np

from core.evaluation.group_figures import ScoredTrials
from core.evaluation.groupings import Group
from core.evaluation.records import Figure
from core.evaluation.resampling import Interval, bootstrap_intervals
from core.evaluation.tandem import ASVSPOOF_2019, ASVSPOOF_2021, AsvErrorRates
from core.evaluation.weighted_figures import (
    FigureOfWeights,
    WeightedFigure,
    weighted_actual_detection_cost,
    weighted_area_under_curve,
    weighted_cllr,
    weighted_min_detection_cost,
    weighted_min_tandem_cost,
    weighted_rate,
)
from core.metrics import ASVSPOOF_5, equal_error_rate

_TITLES = {
    "auc": ("Area under the ROC curve", "The chance that a spoof scores above bona fide speech."),
    "accuracy": ("Accuracy", "Share of all trials called right at the threshold; it depends on how many of them are spoofs."),
    "balanced_accuracy": ("Balanced accuracy", "Mean of the two classes' shares called right at the threshold."),
    "miss": ("Miss rate", "Share of the spoofs called bona fide at the threshold."),
    "false_alarm": ("False alarm rate", "Share of bona fide speech called spoof at the threshold."),
    "precision": ("Precision", "Share of the trials called spoof that are spoofs, at the threshold."),
    "recall": ("Recall", "Share of the spoofs called spoof at the threshold."),
    "f1": ("F1", "Harmonic mean of precision and recall."),
    "cllr": ("Cllr (bits)", "Cost of the scores taken as log-likelihood ratios in nats: 1 is what saying nothing costs."),
    "min_cllr": ("min Cllr (bits)", "Cllr after the best rising map of the scores: what their order alone costs."),
    "min_dcf": ("min DCF", "Detection cost of ASVspoof 5 (spoofs 5 %, a miss costs 10) at the best threshold."),
    "actual_dcf": ("Actual DCF", "The same cost where log-likelihood ratios call for it; it asks for calibrated scores."),
    "min_tdcf_2019": ("min t-DCF (2019)", "Tandem cost with the speaker verifier, legacy costs of ASVspoof 2019."),
    "min_tdcf_2021": ("min t-DCF (2021)", "Tandem cost with the speaker verifier, revision of ASVspoof 2021."),
}
_RATES = ("accuracy", "balanced_accuracy", "miss", "false_alarm", "precision", "recall", "f1")


def threshold_figure(threshold: float) -> Figure:
    """The threshold as a figure; it has no interval."""
    words = "Scores at or above it are called spoof."
    return Figure(key="threshold", title="Threshold", value=threshold, low=None, high=None, description=words)


def eer_figures(trials: ScoredTrials, total: Group, interval: Interval, *, as_asvspoof: bool) -> list[Figure]:
    """The EER of a total as tables have it; if that is the organisers', the interpolated one beside it."""
    words = "Where as many spoofs are missed as bona fide trials are called spoof"
    key, title = total.key.replace("total", "eer", 1), total.title.replace("Total", "EER", 1)
    if not as_asvspoof:
        return [figure_of(key, title, interval, f"{words}, interpolated.")]
    rows = trials.scored(np.concatenate([total.bona_fide, total.spoof]))
    value = equal_error_rate(trials.scores[rows], trials.is_spoof[rows])[0]
    between = Interval(value=value, low=min(interval.low, value), high=max(interval.high, value))
    return [
        figure_of(key, f"{title}, as ASVspoof takes it", interval, f"{words}, at the nearest operating point."),
        figure_of(key.replace("eer", "eer_interpolated", 1), f"{title}, interpolated", between, f"{words}, interpolated."),
    ]


def set_figures(
    scores: np.ndarray,
    is_spoof: np.ndarray,
    *,
    threshold: float,
    asv: AsvErrorRates | None,
    groups: np.ndarray | None,
    num_resamples: int,
) -> list[Figure]:
    """All figures but the EERs, on shared resamples. There is no precision where nothing is called spoof.

    Args:
        scores: `[trial]`, finite, of both classes.
        asv: of the speaker verifier; without it there is no t-DCF.
        groups: `[trial]` speakers, or None.
    """
    figures: dict[str, WeightedFigure] = {"auc": weighted_area_under_curve}
    figures |= {name: weighted_rate(name, threshold=threshold) for name in _RATES}
    if not (scores >= threshold).any():
        del figures["precision"]
    figures |= {"cllr": weighted_cllr, "min_cllr": weighted_min_cllr}
    figures |= {"min_dcf": weighted_min_detection_cost(ASVSPOOF_5), "actual_dcf": weighted_actual_detection_cost(ASVSPOOF_5)}
    if asv is not None:
        figures |= {
            "min_tdcf_2019": weighted_min_tandem_cost(asv, costs=ASVSPOOF_2019),
            "min_tdcf_2021": weighted_min_tandem_cost(asv, costs=ASVSPOOF_2021),
        }
    found = bootstrap_intervals(figures, scores, is_spoof, groups=groups, num_resamples=num_resamples)
    return [figure_of(key, _TITLES[key][0], interval, _TITLES[key][1]) for key, interval in found.items()]


def figure_of(key: str, title: str, interval: Interval, description: str) -> Figure:
    """An interval under its name."""
    return Figure(key=key, title=title, value=interval.value, low=interval.low, high=interval.high, description=description)


def weighted_min_cllr(scores: np.ndarray, is_spoof: np.ndarray) -> FigureOfWeights:
    """`core.metrics.min_log_likelihood_ratio_cost` of resamples.

    Neighbours of one class never part in the best rising map, whatever they weigh, so that only runs of a class (and ties of
    both) are handed to the isotonic regression.
    """
    order = np.argsort(scores, kind="stable")
    ordered, spoof = scores[order], is_spoof[order]
    ties = np.concatenate([[0], np.flatnonzero(np.diff(ordered)) + 1])
    share = np.add.reduceat(spoof.astype(np.float64), ties) / np.diff(np.append(ties, len(spoof)))
    goes_on = (share[1:] == share[:-1]) & np.isin(share[1:], (0.0, 1.0))
    starts = ties[np.concatenate([[True], ~goes_on])]

    def values(weights: np.ndarray) -> np.ndarray:
        of_order = weights[:, order]
        of_spoof = np.add.reduceat(of_order * spoof, starts, axis=1)
        of_bona_fide = np.add.reduceat(of_order, starts, axis=1) - of_spoof
        return np.array([_min_cllr(*counts) for counts in zip(of_spoof, of_bona_fide, strict=True)])

    return values


def _min_cllr(spoof: np.ndarray, bona_fide: np.ndarray) -> float:
    """Of counts by rising score, `[run]` each."""
    from scipy.optimize import isotonic_regression

    total = spoof + bona_fide
    spoof, bona_fide, total = spoof[total > 0], bona_fide[total > 0], total[total > 0]
    blocks = isotonic_regression(spoof / total, weights=total).blocks[:-1]
    spoof, bona_fide = np.add.reduceat(spoof, blocks), np.add.reduceat(bona_fide, blocks)
    num_spoof, num_bona_fide = spoof.sum(), bona_fide.sum()
    mixed = (spoof > 0) & (bona_fide > 0)
    odds = spoof[mixed] * num_bona_fide / (bona_fide[mixed] * num_spoof)
    of_spoof = (spoof[mixed] * np.log2(1 + 1 / odds)).sum() / num_spoof
    return float((of_spoof + (bona_fide[mixed] * np.log2(1 + odds)).sum() / num_bona_fide) / 2)

"""What the inconclusive band of a detector costs and gives: shares left undecided, and errors among the rest. Stores nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.calibration import Thresholds
from core.evaluation.draws import group_ids, resampled_weights
from core.evaluation.operating_points import scored_trials
from core.evaluation.resampling import Interval, most_unseen
from core.evaluation.system_records import System
from core.metrics import checked_trials
from core.reports import percent

WIDTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
"""How many times as wide as it is the band is tried; 0 decides everything at its middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandCoverage:
    """One band on labelled scores, every share with its 95 % interval."""

    width: float
    """Over that of the detector's own band."""
    thresholds: Thresholds
    undecided_bona_fide: Interval
    """Share of bona fide recordings that are inconclusive."""
    undecided_spoof: Interval
    """Share of spoofs that are inconclusive."""
    wrong_bona_fide: Interval | None
    """Share of the decided bona fide recordings that are called spoof; None where none is decided."""
    wrong_spoof: Interval | None
    """Share of the decided spoofs that are called bona fide; None where none is decided."""

    @property
    def shares(self) -> tuple[Interval | None, ...]:
        """All four, in the order of `COLUMNS`."""
        return self.undecided_bona_fide, self.undecided_spoof, self.wrong_bona_fide, self.wrong_spoof


COLUMNS = ("Bona fide left undecided", "Spoofs left undecided", "Wrong among decided bona fide", "Wrong among decided spoofs")
"""What the shares of a band are called."""


def band_coverage(
    scores: np.ndarray,
    is_spoof: np.ndarray,
    speakers: np.ndarray,
    thresholds: Thresholds,
    *,
    widths: Sequence[float] = (1.0,),
    num_resamples: int = 1_000,
) -> tuple[BandCoverage, ...]:
    """What bands around the middle of a detector's own leave undecided, and how often the rest is wrong.

    Args:
        scores: `[trial]`, finite.
        is_spoof: `[trial]` bool.
        speakers: `[trial]` ids, who are resampled; a trial without one (None, NaN) stands alone.
        thresholds: the detector's own band.
        widths: of the bands, over that of the detector's own.

    Raises:
        CoreError: one class only, or a score that is not finite.
    """
    scores, is_spoof = checked_trials(scores, is_spoof)
    middle, half = (thresholds.lower + thresholds.upper) / 2, (thresholds.upper - thresholds.lower) / 2
    # At its own width the band is the stored one, to the last bit.
    bands = [thresholds if w == 1 else Thresholds(lower=middle - w * half, upper=middle + w * half) for w in widths]
    columns = np.stack([is_spoof, *(column for band in bands for column in _columns(scores, is_spoof, band))], axis=1)
    columns = np.concatenate([columns, np.ones((len(scores), 1))], axis=1).astype(np.float64)
    resamples = resampled_weights(is_spoof, groups=speakers, num_resamples=num_resamples, seed=0)
    resampled = np.concatenate([weights @ columns for weights in resamples])
    units = [len(np.unique(group_ids(speakers)[chosen])) for chosen in (~is_spoof, is_spoof)]
    counts = np.concatenate([columns.sum(axis=0)[None], resampled])
    return tuple(
        _coverage(width, band, counts, 1 + 4 * i, units) for i, (width, band) in enumerate(zip(widths, bands, strict=True))
    )


def system_bands(system: System) -> tuple[BandCoverage, ...]:
    """The bands of a system at `WIDTHS`, on the trials that have a score.

    None where it has no verdicts of its own (imported scores), or scores of one class only.
    """
    scores, is_spoof = scored_trials(system)
    if system.thresholds is None or not is_spoof.any() or is_spoof.all():
        return ()
    speakers = system.trial_set.table["speaker"].to_numpy()[np.isfinite(system.scores)]
    return band_coverage(scores, is_spoof, speakers, system.thresholds, widths=WIDTHS)


def band_frame(bands: Sequence[BandCoverage]) -> pd.DataFrame:
    """The bands as a table: width, thresholds, and each share with the ends of its interval, 0 to 1."""
    rows = []
    for band in bands:
        row = {"width": band.width, "bona fide below": band.thresholds.lower, "spoof from": band.thresholds.upper}
        for name, share in zip(COLUMNS, band.shares, strict=True):
            ends = (share.value, share.low, share.high) if share else (None, None, None)
            row |= dict(zip((name.lower(), f"{name.lower()}, low", f"{name.lower()}, high"), ends, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def share_words(share: Interval | None) -> str:
    """A share with its interval, in per cent."""
    return "none decided" if share is None else f"{percent(share.value)} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _columns(scores: np.ndarray, is_spoof: np.ndarray, band: Thresholds) -> tuple[np.ndarray, ...]:
    """Decided and wrong of each class, bona fide first, `[trial]` bool each."""
    accused, cleared = scores >= band.upper, scores < band.lower
    decided = accused | cleared
    return decided & ~is_spoof, accused & ~is_spoof, decided & is_spoof, cleared & is_spoof


def _coverage(width: float, band: Thresholds, counts: np.ndarray, first: int, units: Sequence[int]) -> BandCoverage:
    """Sums of the columns `[1 + resample, column]` as shares; the first row is all trials once."""
    num_spoof, num = counts[:, 0], counts[:, -1]
    shares = []
    for of_class, column, num_units in ((num - num_spoof, first, units[0]), (num_spoof, first + 2, units[1])):
        decided, wrong = counts[:, column], counts[:, column + 1]
        # Where the band has no width, nothing can fall into it.
        undecided = _interval(of_class - decided, of_class, num_units if band.lower < band.upper else None)
        shares.append((undecided, _interval(wrong, decided, num_units)))
    (undecided_bona_fide, wrong_bona_fide), (undecided_spoof, wrong_spoof) = shares
    return BandCoverage(
        width=width,
        thresholds=band,
        undecided_bona_fide=undecided_bona_fide,
        undecided_spoof=undecided_spoof,
        wrong_bona_fide=wrong_bona_fide,
        wrong_spoof=wrong_spoof,
    )


def _interval(part: np.ndarray, whole: np.ndarray, num_units: int | None) -> Interval | None:
    """Share of all trials (first) with the percentiles of the resamples in which there is a whole."""
    if not whole[0]:
        return None
    there = whole[1:] > 0
    low, high = np.percentile(part[1:][there] / whole[1:][there], [2.5, 97.5])
    # A bootstrap would call a share certain that was seen never, or always.
    high = most_unseen(num_units) if num_units and part[0] == 0 else high
    low = 1 - most_unseen(num_units) if num_units and part[0] == whole[0] else low
    return Interval(value=float(part[0] / whole[0]), low=float(low), high=float(high))

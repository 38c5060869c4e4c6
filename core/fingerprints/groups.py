"""Mean maps of groups of recordings, with intervals over speakers. Compares no groups (`comparison` does), draws nothing."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.evaluation.curves import wilson_interval
from core.evaluation.draws import group_ids
from core.evaluation.group_figures import speaker_draws
from core.evaluation.records import Grouping
from core.evaluation.resampling import Interval
from core.evaluation.trial_attributes import available_groupings, coded
from core.evaluation.trial_sets import TrialSet, make_trial_set
from core.fingerprints.records import (
    ALL_SPOOFS,
    BONA_FIDE,
    FRAME_TITLES,
    ZONES,
    Curve,
    Fingerprint,
    FingerprintSet,
    GroupSize,
    TestedShare,
    ZoneShare,
)

NUM_RESAMPLES = 1_000
_MIN_REACH = 0.5
"""Share of the recordings that must reach a time for a mean to be given there: of fewer, it would be of the long ones only."""
_GROUPINGS = ("family", "attack", "generator", "known")


def groupings_of(measured: FingerprintSet) -> tuple[Grouping, ...]:
    """What the spoofs can be grouped by, families first where they are known."""
    available = available_groupings(_trial_set(measured))
    return tuple(grouping for grouping in _GROUPINGS if grouping in available)


@functools.lru_cache(maxsize=16)
def fingerprints_of(measured: FingerprintSet, grouping: Grouping) -> tuple[Fingerprint, ...]:
    """Bona fide, all spoofs, then every group in its natural order; those without a single map are left out.

    Raises:
        CoreError: the set knows nothing of the grouping.
    """
    rows = rows_of(measured, grouping)
    reference = measured.profile("all")[rows[BONA_FIDE]]
    with np.errstate(invalid="ignore"):
        bona_fide = np.nanmean(reference, axis=0) if np.isfinite(reference).any() else None
    with_maps = {key: of_group for key, of_group in rows.items() if measured.has_map[of_group].any()}
    return tuple(_fingerprint(measured, key, of_group, bona_fide) for key, of_group in with_maps.items())


def with_at_least(fingerprints: Sequence[Fingerprint], num_recordings: int) -> tuple[Fingerprint, ...]:
    """Those of so many recordings or more, and bona fide."""
    return tuple(f for f in fingerprints if f.key == BONA_FIDE or f.size.num_recordings >= num_recordings)


def passing_share(measured: FingerprintSet, label: str | None = None) -> TestedShare | None:
    """How many of the maps that were tested passed, of a label or of all; None where none was tested."""
    table = measured.table if label is None else measured.table[measured.table["label"] == label]
    tested = table["tested"][table["tested"] != ""]
    if tested.empty:
        return None
    passed = int((tested == "passes").sum())
    low, high = wilson_interval(passed, len(tested))
    return TestedShare(num_tested=len(tested), num_passed=passed, low=low, high=high)


def rows_of(measured: FingerprintSet, grouping: Grouping) -> dict[str, np.ndarray]:
    """Rows of the table of bona fide speech, of all spoofs, and of each group of spoofs."""
    trial_set = _trial_set(measured)
    codes, titles = coded(trial_set, grouping)
    is_spoof = trial_set.is_spoof
    rows = {BONA_FIDE: np.flatnonzero(~is_spoof), ALL_SPOOFS: np.flatnonzero(is_spoof)}
    for code, title in enumerate(titles):
        found = np.flatnonzero(is_spoof & (codes == code))
        if len(found):
            rows.setdefault(title, found)
    return rows


def _trial_set(measured: FingerprintSet) -> TrialSet:
    """The recordings as the groupings of evaluations take them."""
    table = measured.table.drop(columns=["status", "tested"]).replace("", None)
    table["known_system"] = table["known_system"].map({"True": True, "False": False}).astype("boolean")
    return make_trial_set(measured.summary.set_name, table, key=measured.summary.set_key)


def _fingerprint(measured: FingerprintSet, key: str, rows: np.ndarray, bona_fide: np.ndarray | None) -> Fingerprint:
    status = measured.table["status"].to_numpy()[rows]
    with_map = rows[measured.has_map[rows]]
    speakers = speakers_of(measured, with_map)
    draws = _Draws(len(with_map), speakers)
    share, time = (measured.arrays[name][with_map] for name in ("zone_share", "zone_time"))
    zones = draws.curve(share)
    of_time = time.mean(axis=0)
    onset = measured.arrays["onset"][with_map]
    reach = np.isfinite(onset).mean(axis=0)
    mean = measured.profile("all")[with_map].mean(axis=0)
    return Fingerprint(
        key=key,
        size=GroupSize(
            num_recordings=len(with_map),
            num_empty=int((status == "empty").sum()),
            num_refused=int((status == "refused").sum()),
            num_units=draws.num_units,
            unit="recordings" if speakers is None else "speakers",
            num_known=num_known(measured, with_map),
        ),
        bands={frames: draws.curve(measured.profile(frames)[with_map]) for frames in FRAME_TITLES},
        zones=tuple(
            ZoneShare(
                zone=zone,
                share=Interval(value=float(zones.value[i]), low=float(zones.low[i]), high=float(zones.high[i])),
                of_time=float(of_time[i]),
            )
            for i, zone in enumerate(ZONES)
        ),
        relative=draws.curve(measured.arrays["relative"][with_map]),
        onset=draws.curve(np.where(reach >= _MIN_REACH, onset, np.nan)),
        onset_reach=reach,
        common_with_bona_fide=float("nan") if bona_fide is None else _common(mean, bona_fide),
    )


class _Draws:
    """Resamples of a group's recordings: of whole speakers, or one by one.

    Args:
        num: recordings.
        speakers: `[recording]`; None: one by one.
    """

    def __init__(self, num: int, speakers: np.ndarray | None) -> None:
        self.ids = np.arange(num) if speakers is None else group_ids(speakers)
        self.num_units = int(self.ids.max()) + 1
        self.counts = speaker_draws(self.num_units, NUM_RESAMPLES)

    def curve(self, values: np.ndarray) -> Curve:
        """Mean of `[recording, point]` over those where it is known, with its 95 % percentile interval; none of a single unit."""
        is_known = np.isfinite(values)
        sums, nums = (np.zeros((self.num_units, values.shape[1])) for _ in range(2))
        np.add.at(sums, self.ids, np.where(is_known, values, 0.0))
        np.add.at(nums, self.ids, is_known)
        with np.errstate(invalid="ignore"):  # no recording of a resample may be known there
            value = sums.sum(axis=0) / nums.sum(axis=0)
            resampled = (self.counts @ sums) / (self.counts @ nums)
        varies = (nums > 0).sum(axis=0) > 1
        if self.num_units == 1:
            ends = np.full((2, len(value)), np.nan)
        elif np.isfinite(resampled).all():
            ends = np.percentile(resampled, [2.5, 97.5], axis=0)
        else:  # several times as slow
            ends = np.full((2, len(value)), np.nan)
            ends[:, varies] = np.nanpercentile(resampled[:, varies], [2.5, 97.5], axis=0)
        return Curve(value=value, low=ends[0], high=ends[1])


def _common(first: np.ndarray, second: np.ndarray) -> float:
    """How much two profiles have in common when each is brought to a sum of 1: 1 of the same, 0 of none."""
    return float(np.minimum(first / first.sum(), second / second.sum()).sum())


def speakers_of(measured: FingerprintSet, rows: np.ndarray) -> np.ndarray | None:
    """Speakers of the rows, None for one who is not known; None where fewer than two are: the recordings then stand alone."""
    speakers = pd.Series(measured.table["speaker"].to_numpy()[rows], dtype=object).replace("", None)
    return speakers.to_numpy() if speakers.nunique() > 1 else None


def num_known(measured: FingerprintSet, rows: np.ndarray) -> int:
    """Speakers of the rows, each recording alone where its speaker is not known."""
    speakers = pd.Series(measured.table["speaker"].to_numpy()[rows], dtype=object).replace("", None)
    return int(speakers.nunique() + speakers.isna().sum())

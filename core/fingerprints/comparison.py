"""What two groups' fingerprints differ in, with an interval that stands being searched for bands. Draws nothing."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from core.evaluation.draws import group_ids
from core.evaluation.records import Grouping
from core.fingerprints.groups import num_known, rows_of, speakers_of
from core.fingerprints.records import (
    FRAME_TITLES,
    Curve,
    DifferingBands,
    FingerprintComparison,
    FingerprintError,
    FingerprintSet,
    Frames,
)

NUM_SHUFFLES = 1_999
MIN_UNITS = 5
"""Speakers (recordings where they are not known) from which on a group is taken to stand for its kind."""


def compare_fingerprints(
    measured: FingerprintSet, grouping: Grouping, first: str, second: str, *, frames: Frames = "all"
) -> FingerprintComparison:
    """What the mean map of one group has over bands that another's has not.

    The interval is simultaneous, so that bands may be picked out after looking: of groups that are alike, one in twenty pairs
    has a band in which the interval keeps off 0. It comes of shuffling speakers (recordings where they are not known) between
    the groups.

    Raises:
        FingerprintError: the two are the same, or one has no maps.

    Source: the maximum over bands: Westfall and Young (1993), "Resampling-based multiple testing", single-step maxT.
    """
    if first == second:
        raise FingerprintError("A group does not differ from itself; choose two.")
    rows = rows_of(measured, grouping)
    profile = measured.profile(frames)
    chosen = []
    for key in (first, second):
        of_group = rows.get(key, np.zeros(0, dtype=int))
        of_group = of_group[np.isfinite(profile[of_group]).all(axis=1)]
        if not len(of_group):
            raise FingerprintError(f"{key} has no map with {FRAME_TITLES[frames].lower()} in it.")
        chosen.append(of_group)
    together = np.concatenate(chosen)
    is_first = np.repeat([True, False], [len(of_group) for of_group in chosen])
    speakers = speakers_of(measured, together)
    means = [profile[of_group].mean(axis=0, dtype=np.float64) for of_group in chosen]
    difference = _shuffled_difference(profile[together].astype(np.float64), is_first, speakers)
    return FingerprintComparison(
        first=first,
        second=second,
        frames=frames,
        difference=difference,
        differing=_differing(measured.band_edges, difference, *means),
        is_reliable=min(num_known(measured, of_group) for of_group in chosen) >= MIN_UNITS,
    )


def _shuffled_difference(profile: np.ndarray, is_first: np.ndarray, speakers: np.ndarray | None) -> Curve:
    """The first group's mean less the second's, with an interval for all bands at once.

    A bootstrap would call chance a difference where one group is small: of eight recordings, none may have any saliency in a band
    where one in ten has, and their spread is then 0. Shuffling asks what groups of these sizes differ by when they are alike.

    Args:
        profile: `[recording, band]`.
        is_first: `[recording]`.
        speakers: `[recording]`; a speaker's recordings in a group stay together. None: each alone.
    """
    ids = np.arange(len(is_first)) if speakers is None else group_ids(speakers)
    ids = np.unique(2 * ids + is_first, return_inverse=True)[1]
    num_units = int(ids.max()) + 1
    sums, nums = np.zeros((num_units, profile.shape[1])), np.bincount(ids).astype(np.float64)
    np.add.at(sums, ids, profile)
    of_first = np.zeros(num_units, dtype=bool)
    of_first[ids] = is_first
    order = np.random.default_rng(0).random((NUM_SHUFFLES, num_units)).argsort(axis=1)
    chosen = np.concatenate([of_first[None], order < of_first.sum()]).astype(np.float64)
    means = [(part @ sums) / (part @ nums)[:, None] for part in (chosen, 1 - chosen)]
    differences = means[0] - means[1]  # the first is what was seen
    spread = np.sqrt(np.square(differences).mean(axis=0))
    largest = np.abs(differences / np.where(spread > 0, spread, 1.0)).max(axis=1)
    half = np.quantile(largest, 0.95, method="higher") * spread
    return Curve(value=differences[0], low=differences[0] - half, high=differences[0] + half)


def _differing(edges: np.ndarray, difference: Curve, first: np.ndarray, second: np.ndarray) -> tuple[DifferingBands, ...]:
    """Runs of neighbouring bands on one side of 0."""
    side = (difference.low > 0).astype(int) - (difference.high < 0).astype(int)
    found, position = [], 0
    for sign, run in groupby(side.tolist()):
        start, position = position, position + len(list(run))
        if sign:
            inside = slice(start, position)
            found.append(
                DifferingBands(
                    low=float(edges[start]),
                    high=float(edges[position]),
                    first=float(first[inside].mean()),
                    second=float(second[inside].mean()),
                )
            )
    return tuple(found)

"""What a bootstrap draws: how often each trial, or each group of trials, occurs in each resample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from core.errors import CoreError

_BLOCK_WEIGHTS = 2**18
"""Weights of resamples that are worked on at once: they stay in cache."""


def resampled_weights(
    is_spoof: np.ndarray, *, groups: np.ndarray | None, num_resamples: int, seed: int, block_weights: int = _BLOCK_WEIGHTS
) -> Iterator[np.ndarray]:
    """How often each trial occurs in each resample, in blocks `[resample, trial]` int32; every resample has both classes.

    Args:
        groups: `[trial]` ids; a trial without one (None, NaN) stands alone.
        block_weights: about how many weights a block holds; it changes no resample.
    """
    ids = np.arange(len(is_spoof)) if groups is None else group_ids(groups)
    block: list[np.ndarray] = []
    for counts in drawn_counts(is_spoof, ids, num_resamples=num_resamples, seed=seed):
        block.append(counts)
        if (len(block) + 1) * len(ids) > block_weights:
            yield np.stack(block) if groups is None else np.stack(block)[:, ids]
            block = []
    if block:
        yield np.stack(block) if groups is None else np.stack(block)[:, ids]


def drawn_counts(is_spoof: np.ndarray, ids: np.ndarray, *, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group occurs in each resample, `[group]` int32; every resample has both classes."""
    rng = np.random.default_rng(seed)
    if len(ids) != len(is_spoof):
        raise CoreError(f"expected a group for each of {len(is_spoof)} trials, got {len(ids)}")
    num_groups = int(ids.max()) + 1
    sizes = np.stack([np.bincount(ids, weights=chosen, minlength=num_groups) for chosen in (is_spoof, ~is_spoof)])
    for _ in range(num_resamples):
        while True:
            counts = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)
            if (sizes @ counts > 0).all():
                break
        yield counts.astype(np.int32)


def group_ids(groups: np.ndarray) -> np.ndarray:
    """Consecutive numbers in the order of the sorted groups, those of trials without a group after them."""
    ids, names = pd.factorize(np.asarray(groups), sort=True)
    alone = ids < 0
    ids[alone] = len(names) + np.arange(np.count_nonzero(alone))
    return ids

"""Dividing a corpus that has no splits into train and dev, no speaker in both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.trees import CorpusError

DEV_SHARE = 0.2
"""Share of each class that dev should get."""
_NUM_PASSES = 3
"""The first fills dev, the others correct it."""


def split_by_speaker(speakers: Sequence[str], is_spoof: Sequence[bool], *, seed: int) -> list[str]:
    """`train` or `dev` for each recording: about 80 to 20 in both classes, speakers disjoint, both classes in both.

    Speakers are visited in an order that the seed decides; one changes sides when that brings dev's shares of the two classes
    closer to a fifth, measured as the sum of their squared distances.

    Raises:
        CorpusError: a class has one speaker only.
    """
    names, of_recording = np.unique(np.asarray(speakers, dtype=object).astype(str), return_inverse=True)
    counts = np.zeros((len(names), 2), dtype=np.int64)
    np.add.at(counts, (of_recording, np.asarray(is_spoof, dtype=np.int64)), 1)
    totals = counts.sum(axis=0)
    for label, column in (("bona fide", 0), ("spoof", 1)):
        if np.count_nonzero(counts[:, column]) < 2:
            raise CorpusError(
                f"All {label} recordings are of one speaker, so they cannot be on both sides of a split with disjoint speakers. "
                "Give a manifest with a column `split`, or put everything into one split with --as-split."
            )
    order = np.random.default_rng(seed).permutation(len(names))
    in_dev, dev = np.zeros(len(names), dtype=bool), np.zeros(2, dtype=np.int64)

    def distance(of: np.ndarray) -> float:
        return float((((of / totals) - DEV_SHARE) ** 2).sum())

    for _ in range(_NUM_PASSES):
        for speaker in order:
            moved = dev + counts[speaker] * (-1 if in_dev[speaker] else 1)
            if distance(moved) < distance(dev) and np.all(moved < totals):
                in_dev[speaker], dev = not in_dev[speaker], moved
    for column in (0, 1):
        if dev[column] == 0:
            # There is one: two speakers or more have the class, all in train. Were one of them the last in train to have the
            # other class, the next one would not have it, and may go.
            able = [s for s in order if counts[s, column] and np.all(dev + counts[s] < totals)]
            chosen = min(able, key=lambda s: distance(dev + counts[s]))
            in_dev[chosen], dev = True, dev + counts[chosen]
    return ["dev" if in_dev[speaker] else "train" for speaker in of_recording]

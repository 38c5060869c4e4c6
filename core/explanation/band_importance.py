"""How the saliency of a map spreads over frequency bands (or amplitudes, or coefficients), beside an even spread. Draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.explanation.records import Explanation
from core.explanation.saliency_words import map_names

EDGES_HZ = (0, 300, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_001)
"""Below 300 Hz and above 3.4 kHz a telephone passes nothing: what lies there is the first to be lost."""
_NUM_OTHER_BANDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BandImportance:
    """One band of rows."""

    title: str
    """E.g. `300 to 1,000 Hz`."""
    low: float
    high: float
    share: float
    """Share of the map's saliency that lies in the band."""
    even_share: float
    """Share of the map's rows in the band: what a map without preference would have."""


def band_importance(explanation: Explanation) -> tuple[BandImportance, ...]:
    """Bands from the lowest up, those without rows left out; the shares of an empty map are 0.

    Source of the telephone's limits: ITU-T G.712 (2001), 300 to 3,400 Hz.
    """
    rows = explanation.rows
    if explanation.has_frequencies:
        edges = list(EDGES_HZ)
        titles = [f"{low:,} to {min(high, 8_000):,} Hz" for low, high in pairwise(EDGES_HZ)]
    else:
        edges = [*np.linspace(rows[0], rows[-1], _NUM_OTHER_BANDS + 1)[:-1], np.nextafter(rows[-1], np.inf)]
        titles = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    per_row = explanation.saliency.sum(axis=1, dtype=np.float64)
    total = per_row.sum() or 1.0
    bands = []
    for title, (low, high) in zip(titles, pairwise(edges), strict=True):
        inside = (rows >= low) & (rows < high)
        if inside.any():
            share, even = float(per_row[inside].sum() / total), float(inside.mean())
            bands.append(BandImportance(title=title, low=float(low), high=float(high), share=share, even_share=even))
    return tuple(bands)


def compared_bands(explanations: Sequence[Explanation]) -> dict[str, tuple[BandImportance, ...]]:
    """Bands of maps side by side, by their names; a map whose rows mean something else than the first one's is left out."""
    named = zip(map_names(explanations), explanations, strict=True)
    label = explanations[0].row_label
    return {name: band_importance(explanation) for name, explanation in named if explanation.row_label == label}

"""One map as a few numbers: over bands in speech and in pauses, over parts of the recording, over time from its onset."""

from __future__ import annotations

import numpy as np
import torch

from core.explanation.records import Explanation
from core.fingerprints.records import NUM_RELATIVE, ONSET_EDGES_S, ZONES, MapProfile
from core.quality import FRAME_SAMPLES, active_frames

NUM_BANDS = 56
"""Four rows of a feature image each: 125 Hz of a log spectrogram, finer than any of the methods but integrated gradients."""


def band_starts(num_rows: int) -> np.ndarray:
    """First row of each band, `[band]`: as equal as whole rows allow."""
    num_bands = min(NUM_BANDS, num_rows)
    return np.arange(num_bands) * num_rows // num_bands


def band_edges(rows: np.ndarray) -> np.ndarray:
    """Ends of the bands, `[band + 1]`, half-way between the centres of neighbouring rows; none below 0 where no row is."""
    middles = (rows[1:] + rows[:-1]) / 2
    first, last = rows[0] - (middles[0] - rows[0]), rows[-1] + (rows[-1] - middles[-1])
    edges = np.concatenate([[max(0.0, first) if rows[0] >= 0 else first], middles, [last]])
    return np.append(edges[band_starts(len(rows))], edges[-1])


def profile_of(explanation: Explanation, samples: torch.Tensor | np.ndarray) -> MapProfile:
    """Sums a map up.

    Args:
        explanation: a map that is not empty.
        samples: `[time]` at 16 kHz, the explained ones; at least one frame of them is active.
    """
    is_active = active_frames(torch.as_tensor(samples, dtype=torch.float32)).numpy()
    saliency = explanation.saliency.astype(np.float64)
    saliency = saliency / saliency.mean()
    at = np.minimum((explanation.time_s * explanation.sample_rate_hz / FRAME_SAMPLES).astype(int), len(is_active) - 1)
    is_speech = is_active[at]
    per_frame = saliency.mean(axis=0)
    frame_s = FRAME_SAMPLES / explanation.sample_rate_hz
    active = np.flatnonzero(is_active)
    onset_s, end_s = active[0] * frame_s, (active[-1] + 1) * frame_s
    zones = _zones(at, is_speech, first=active[0], last=active[-1])
    hop_s = explanation.time_s[1] - explanation.time_s[0] if len(explanation.time_s) > 1 else explanation.duration_s
    frame_edges_s = np.append(explanation.time_s - hop_s / 2, explanation.time_s[-1] + hop_s / 2)
    frame_edges_s[0], frame_edges_s[-1] = 0.0, max(explanation.duration_s, frame_edges_s[-2] + 1e-9)
    return MapProfile(
        speech=_band_means(saliency, is_speech),
        pauses=_band_means(saliency, ~is_speech),
        zone_share=np.bincount(zones, per_frame, minlength=len(ZONES)) / per_frame.sum(),
        zone_time=np.bincount(zones, minlength=len(ZONES)) / len(zones),
        relative=_means_between(per_frame, frame_edges_s, np.linspace(onset_s, end_s, NUM_RELATIVE + 1)),
        onset=_means_between(per_frame, frame_edges_s, onset_s + np.array(ONSET_EDGES_S)),
    )


def _band_means(saliency: np.ndarray, is_chosen: np.ndarray) -> np.ndarray:
    """Mean of each band over the chosen frames, NaN where none is."""
    starts = band_starts(len(saliency))
    if not is_chosen.any():
        return np.full(len(starts), np.nan)
    per_row = saliency[:, is_chosen].mean(axis=1)
    return np.add.reduceat(per_row, starts) / np.diff(np.append(starts, len(saliency)))


def _zones(at: np.ndarray, is_speech: np.ndarray, *, first: int, last: int) -> np.ndarray:
    """Number of the zone of each frame of the map, `[frame]`; `at` is the 20 ms frame in which it lies."""
    outside = np.where(at < first, ZONES.index("before the onset"), ZONES.index("after the end"))
    inside = np.where(is_speech, ZONES.index("speech"), ZONES.index("pauses within"))
    return np.where((at < first) | (at > last), outside, inside)


def _means_between(per_frame: np.ndarray, frame_edges_s: np.ndarray, edges_s: np.ndarray) -> np.ndarray:
    """Mean over time between neighbouring edges of what is constant within a frame; NaN beyond the recording."""
    # The integral up to a time is linear within a frame; means are its differences.
    integral = np.concatenate([[0.0], np.cumsum(per_frame * np.diff(frame_edges_s))])
    means = np.diff(np.interp(edges_s, frame_edges_s, integral)) / np.diff(edges_s)
    is_inside = (edges_s[:-1] >= frame_edges_s[0] - 1e-9) & (edges_s[1:] <= frame_edges_s[-1] + 1e-9)
    return np.where(is_inside, means, np.nan)

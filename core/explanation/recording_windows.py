"""A recording in memory as the windows that a detector judges, and maps on them brought onto one time axis and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from core.audio import MIN_DURATION_S, SAMPLE_RATE_HZ
from core.checkpoints import Detector
from core.detect import aggregate_scores
from core.errors import AudioRefusal
from core.explanation.records import ExplanationError
from core.features import ImageAxes
from core.quality import MIN_ACTIVE_S, has_sound
from core.records import SegmentScore
from core.segments import WindowStream

MAX_EXPLAINED_S = 600.0
"""A map of ten minutes has 224 x 33,566 cells, 30 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingWindows:
    """All windows of a recording."""

    samples: torch.Tensor
    """`[window, time]`."""
    start_s: tuple[float, ...]
    is_judged: tuple[bool, ...]
    """Whether each holds enough sound."""
    duration_s: float
    window_s: float

    @property
    def judged(self) -> list[int]:
        """Numbers of the windows that hold enough sound."""
        return [i for i, is_judged in enumerate(self.is_judged) if is_judged]

    def places(self, window: int, time_s: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Where frames of the recording lie in a window: pairs of frame numbers and times within the window.

        A recording shorter than a window is repeated to fill it, so that a frame lies in it more than once.
        """
        if self.duration_s >= self.window_s:
            within = time_s - self.start_s[window]
            frames = np.flatnonzero((within > -1e-9) & (within < self.window_s))
            return [(frames, within[frames])]
        repeated = [time_s + i * self.duration_s for i in range(math.ceil(self.window_s / self.duration_s))]
        return [(frames, within[frames]) for within in repeated if len(frames := np.flatnonzero(within < self.window_s))]


def samples_from(samples: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Samples of a recording as `[time]` float32.

    Raises:
        ExplanationError: they are not one channel, or longer than `MAX_EXPLAINED_S`.
        AudioRefusal: they are not finite, or too few.
    """
    samples = torch.as_tensor(samples, dtype=torch.float32)
    if samples.dim() != 1:
        raise ExplanationError(f"expected the samples of one channel, [time] at 16 kHz; got shape {list(samples.shape)}")
    if len(samples) < MIN_DURATION_S * SAMPLE_RATE_HZ:
        raise AudioRefusal("too_short", f"{len(samples) / SAMPLE_RATE_HZ:.2f} s of audio; at least {MIN_DURATION_S} s is needed.")
    if len(samples) > MAX_EXPLAINED_S * SAMPLE_RATE_HZ:
        length = f"{len(samples) / SAMPLE_RATE_HZ / 60:.1f} minutes"
        raise ExplanationError(
            f"The recording has {length}; at most {MAX_EXPLAINED_S / 60:.0f} are explained at once. Cut a part out."
        )
    if not torch.isfinite(samples).all():
        raise AudioRefusal("non_finite", "The samples hold NaN or infinity.")
    return samples


def windows_of(detector: Detector, samples: torch.Tensor) -> RecordingWindows:
    """The windows of a recording `[time]`, as a scan cuts them."""
    stream = WindowStream(detector.manifest.window_samples)
    placed = [*stream.push(samples), *stream.finish()]
    return RecordingWindows(
        samples=torch.stack([window for _, window in placed]),
        start_s=tuple(start / SAMPLE_RATE_HZ for start, _ in placed),
        is_judged=tuple(has_sound(window) for _, window in placed),
        duration_s=len(samples) / SAMPLE_RATE_HZ,
        window_s=detector.manifest.window_s,
    )


def segments_of(detector: Detector, windows: RecordingWindows, raw: torch.Tensor) -> tuple[SegmentScore, ...]:
    """Scores of all windows, from the raw ones of those judged; NaN for the others."""
    calibration = detector.manifest.calibration
    scores = (raw if calibration is None else calibration.slope * raw + calibration.offset).tolist()
    by_window = dict(zip(windows.judged, scores, strict=True))
    return tuple(
        SegmentScore(
            start_s=start_s, end_s=min(windows.duration_s, start_s + windows.window_s), spoof_score=by_window.get(i, math.nan)
        )
        for i, start_s in enumerate(windows.start_s)
    )


def recording_score(detector: Detector, segments: tuple[SegmentScore, ...]) -> float | None:
    """The recording's score, as a scan gives it; None where no window was judged."""
    scores = [segment.spoof_score for segment in segments if not math.isnan(segment.spoof_score)]
    return aggregate_scores(scores, detector.manifest.aggregate) if scores else None


def refuse_unjudged(windows: RecordingWindows) -> None:
    """Raises when no window can be judged.

    Raises:
        AudioRefusal: `no_speech`.
    """
    if not any(windows.is_judged):
        raise AudioRefusal("no_speech", f"No window of {windows.window_s:g} s holds {MIN_ACTIVE_S} s of sound.")


def stitch(maps: np.ndarray, windows: RecordingWindows, axes: ImageAxes) -> tuple[np.ndarray, np.ndarray]:
    """Maps of the judged windows on one time axis; where windows overlap, their mean.

    Windows slide by no whole number of frames: each map is read between its frames, linearly.

    Args:
        maps: `[judged window, row, column]`.
        windows: of the recording.
        axes: of a window.

    Returns:
        `[row, frame]` float32, 0 where no window was judged, and `[frame]` times in s.
    """
    first_s, hop_s = axes.time_s[0], axes.time_s[1] - axes.time_s[0]
    num_frames = max(1, math.floor((windows.duration_s - first_s) / hop_s - 1e-6) + 1)
    time_s = first_s + np.arange(num_frames) * hop_s
    total, count = np.zeros((maps.shape[1], num_frames)), np.zeros(num_frames)
    for window, one in zip(windows.judged, maps, strict=True):
        for frames, within_s in windows.places(window, time_s):
            total[:, frames] += between((within_s - first_s) / hop_s, one)
            count[frames] += 1
    return (total / np.maximum(count, 1)).astype(np.float32), time_s


def cut(saliency: np.ndarray, time_s: np.ndarray, windows: RecordingWindows, window: int, axes: ImageAxes) -> np.ndarray:
    """The part of a map of the whole recording that lies in one window, `[row, column]`."""
    at_s = np.asarray(axes.time_s) + windows.start_s[window]
    if windows.duration_s < windows.window_s:
        at_s = at_s % windows.duration_s
    return between((at_s - time_s[0]) / (time_s[1] - time_s[0]), saliency) if len(time_s) > 1 else np.repeat(saliency, len(at_s), 1)


def between(position: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values `[..., n]` read at positions `[m]` counted in their last axis, linearly; beyond the ends, the ends'."""
    # A position that rounding moved off a whole number would mix a neighbour into a 0, which ranks would feel.
    whole = np.round(position)
    position = np.clip(np.where(abs(position - whole) < 1e-6, whole, position), 0, values.shape[-1] - 1)
    low = np.minimum(position.astype(int), max(0, values.shape[-1] - 2))
    share = position - low
    return values[..., low] * (1 - share) + values[..., np.minimum(low + 1, values.shape[-1] - 1)] * share

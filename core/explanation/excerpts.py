"""The part of a recording that is looked into: at most half a minute of one channel, in memory, with what is drawn of it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from core.audio import SAMPLE_RATE_HZ, AudioReader
from core.errors import AudioRefusal
from core.preview import PART_S, RecordingPreview, preview_samples
from core.records import SegmentScore

MAX_EXCERPT_S = 30.0
"""14 windows of 4 s: occlusion, the slowest method, takes about 5,000 network calls. Longer recordings are looked into in parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundSpan:
    """A stretch of a recording that is all sound or all pause."""

    start_s: float
    end_s: float
    is_active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """Samples with where they come from. All times but `start_s` and `recording_s` count from the excerpt's beginning."""

    samples: np.ndarray
    """`[time]` float32, 16 kHz."""
    start_s: float
    """Where it begins in the recording."""
    recording_s: float
    """Length of the whole recording."""
    channel: str
    """`mix`, or the channel's number from `1`."""
    preview: RecordingPreview
    spans: tuple[SoundSpan, ...]
    """Sound and pauses in turn, from the beginning to the end."""

    @property
    def duration_s(self) -> float:
        """Length of the excerpt."""
        return len(self.samples) / SAMPLE_RATE_HZ

    @property
    def end_s(self) -> float:
        """Where it ends in the recording."""
        return self.start_s + self.duration_s


def read_excerpt(path: str | os.PathLike[str], *, channel: str = "mix", start_s: float = 0.0) -> Excerpt:
    """Decodes a recording and keeps the excerpt; of a long one little else is decoded, and its length is what the file declares.

    Args:
        path: the file.
        channel: `mix`, or the number of a channel from `1`.
        start_s: where the excerpt begins; it is at most `MAX_EXCERPT_S` long.

    Raises:
        AudioRefusal: the recording cannot be decoded, or it ends before the excerpt begins.
    """
    reader = AudioReader(path, channels="mix" if channel == "mix" else "each")
    declared_s = reader.info.duration_s or 0.0
    is_long = declared_s > PART_S
    reader.start_s = start_s if is_long else 0.0
    row = 0 if channel == "mix" else int(channel) - 1
    if row >= reader.num_channels:
        raise AudioRefusal("undecodable", f"The recording has {reader.num_channels} channel(s); channel {channel} was asked for.")
    first = round(start_s * SAMPLE_RATE_HZ)
    last = first + int(MAX_EXCERPT_S * SAMPLE_RATE_HZ)
    parts, position = [], first if is_long else 0
    for block in reader:
        parts.append(block[row, max(0, first - position) : max(0, last - position)].numpy())
        position += block.shape[1]
        if is_long and position >= last:
            break
        # Else read on: the length of the whole recording is known at its end only.
    samples = np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)
    if not len(samples):
        raise AudioRefusal("too_short", f"The recording is {position / SAMPLE_RATE_HZ:.1f} s long; nothing is at {start_s:.1f} s.")
    return Excerpt(
        samples=samples,
        start_s=first / SAMPLE_RATE_HZ,
        recording_s=max(position / SAMPLE_RATE_HZ, declared_s if is_long else 0.0),
        channel=channel,
        preview=preview_samples(samples),
        spans=_spans(samples),
    )


def excerpt_start_s(segments: Sequence[SegmentScore], duration_s: float) -> float:
    """Where to begin in a recording that is longer than an excerpt: its highest-scoring segment is then in the middle."""
    judged = [segment for segment in segments if not math.isnan(segment.spoof_score)]
    if not judged or duration_s <= MAX_EXCERPT_S:
        return 0.0
    highest = max(judged, key=lambda segment: segment.spoof_score)
    middle_s = (highest.start_s + highest.end_s) / 2
    return round(min(max(0.0, middle_s - MAX_EXCERPT_S / 2), duration_s - MAX_EXCERPT_S), 1)


def _spans(samples: np.ndarray) -> tuple[SoundSpan, ...]:
    """Runs of active and of other 20 ms frames; what is left of the last frame belongs to the last run."""
    import torch

    from core.quality import FRAME_SAMPLES, active_frames

    frame_s = FRAME_SAMPLES / SAMPLE_RATE_HZ
    spans, position = [], 0
    for is_active, run in groupby(active_frames(torch.from_numpy(samples)).tolist()):
        end = position + len(list(run))
        spans.append(SoundSpan(start_s=position * frame_s, end_s=end * frame_s, is_active=is_active))
        position = end
    return tuple(spans)

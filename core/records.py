"""Records that cross layers: what a recording is, what a detector said of it. No behaviour beyond reading."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the detector says of a recording. `refused` is never counted as bona fide."""

    SPOOF = "spoof"
    INCONCLUSIVE = "inconclusive"
    BONA_FIDE = "bona fide"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What the container declares, read without decoding all of it."""

    container: str
    """Short name of the file format, e.g. `WAV`, `FLAC`, `MP4`."""
    codec: str
    """Name of the coding, e.g. `PCM_16`, `OPUS`, `aac`."""
    sample_rate_hz: int
    """Samples per second as stored."""
    num_channels: int
    """Channels as stored."""
    duration_s: float | None
    """Declared length; None where the container does not say."""
    size_bytes: int
    """Size of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalQuality:
    """What was measured on the decoded samples of one channel."""

    level_db: float
    """RMS of the active frames, dB re full scale."""
    peak_db: float
    """Largest absolute sample, dB re full scale."""
    clipped_share: float
    """Share of samples at or beyond 0.999 of full scale."""
    silence_share: float
    """Share of 20 ms frames that are not active."""
    bandwidth_hz: float
    """Frequency below which the long-term spectrum stays within 50 dB of its maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentScore:
    """One window as the detector saw it."""

    start_s: float
    end_s: float
    spoof_score: float
    """Calibrated log-likelihood ratio, nats; NaN where the window held too little signal to be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What one detector says of one channel (or the mixdown) of one recording."""

    channel: str
    """`mix`, or the channel's number from `1`."""
    verdict: Verdict
    spoof_score: float | None
    """Aggregate of the segments' calibrated log-likelihood ratios, nats; None when refused."""
    probability: float | None
    """Posterior probability of spoof at the detector's stated prior; None when refused."""
    segments: tuple[SegmentScore, ...]
    duration_s: float
    """Length of what was decoded."""
    quality: SignalQuality | None
    warnings: tuple[str, ...]
    """Codes of `core.quality.WARNINGS`."""
    reason_code: str | None = None
    """A key of `core.errors.REFUSAL_CODES` when refused."""
    reason: str | None = None
    """Why it was refused, one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRecording:
    """A file, what it declares, and the detections on it (one, or one per channel)."""

    path: str
    sha256: str | None
    """Hash of the file's bytes; None when it could not be read."""
    info: AudioInfo | None
    detections: tuple[Detection, ...]

"""Records that cross layers: what a recording is, what a detector said of it. No behaviour beyond reading."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from enum import StrEnum

SAMPLE_RATE_HZ = 16_000
"""Rate of all audio inside the program."""
NARROWBAND_HZ = 8_000
"""Sampling rate of telephone lines."""
STALE_S = 30.0
"""A worker beats once a second; one that was silent for this long is taken for dead."""

FAMILIAR_UP_TO = 1.0
"""Distances from a detector's training data count in limits (`core.familiarity`); above this a recording is unfamiliar."""


def is_unfamiliar(training_distance: float | None) -> bool:
    """Whether a recording at this distance is warned of; not where nobody can tell."""
    return training_distance is not None and training_distance > FAMILIAR_UP_TO


def is_silent(heartbeat_at: float | None) -> bool:
    """Whether a last heartbeat is too old for a living worker, or too far in the future: from before the clock was set back."""
    return heartbeat_at is None or abs(time.time() - heartbeat_at) > STALE_S


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
    """Calibrated log-likelihood ratio, nats (raw where the detector is not calibrated); NaN where there was too little signal."""
    is_estimated: bool = False
    """Whether only a fusion's fast network judged it; what the others would say is the mean over the evenly spaced windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What one detector says of one channel (or the mixdown) of one recording."""

    channel: str
    """`mix`, or the channel's number from `1`."""
    verdict: Verdict
    spoof_score: float | None
    """Aggregate of the segments' calibrated log-likelihood ratios, nats; None when refused."""
    probability: float | None
    """Posterior probability of spoof at the detector's stated prior; None when refused or the detector is not calibrated."""
    segments: tuple[SegmentScore, ...]
    duration_s: float
    """Length of what was decoded."""
    quality: SignalQuality | None
    warnings: tuple[str, ...]
    """Codes of `core.terms.WARNINGS`."""
    training_distance: float | None = None
    """How unlike the detector's training data it is (`core.familiarity`): above 1 it is unfamiliar. None where nobody can tell."""
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


class AuditStatus(StrEnum):
    """Where an audit stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Shown, never stored: running by the ledger, but its worker is dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSettings:
    """What an audit looks at and how."""

    channels: str = "mix"
    """`mix` scores the average of the channels, `each` every channel by itself."""
    pattern: str = ""
    """Glob on the path within the folder, e.g. `2024/*.wav`; empty for all."""
    all_files: bool = False
    """Whether files without a known audio ending are tried too."""
    include_hidden: bool = False
    """Whether files and folders whose name starts with a dot are looked at."""
    follow_links: bool = False
    """Whether links that lead out of the folder are followed."""
    protocol: str | None = None
    """Path of a protocol that labels the recordings."""
    subset: str = "eval"
    """Which subset of an ASVspoof 2021 protocol (`core.protocols.SUBSETS`)."""
    one_means: str | None = None
    """Which class 1 is, where the protocol's labels are 0 and 1."""

    def to_dict(self) -> dict[str, str | bool | None]:
        """As audits keep them: the last two only where they say something, so that audits from before them go on."""
        said = asdict(self)
        return {name: value for name, value in said.items() if (name, value) not in (("subset", "eval"), ("one_means", None))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A folder, a detector, and how far the scoring is."""

    id: int
    folder: str
    detector_hash: str
    detector_name: str
    settings: ScanSettings
    status: AuditStatus
    requested: str
    """What the analyst last asked for: `run`, `pause` or `cancel`."""
    message: str | None
    """Why it failed, or what of the folder was left out, for the analyst."""
    worker: str | None
    """`host:pid:token` of the process that scores it."""
    heartbeat_at: float | None
    created_at: float
    """Seconds since 1970, UTC."""
    finished_at: float | None
    seconds_running: float
    """Time that workers spent on it."""
    is_listed: bool
    """Whether the folder was listed to its end, so that `num_files` is final."""
    num_files: int
    num_done: int
    num_spoof: int
    num_inconclusive: int
    num_bona_fide: int
    num_refused: int
    num_reused: int
    """Done without scoring: known by hash, or a duplicate within the audit."""
    audio_s: float
    """Length of all recordings done."""

    @property
    def num_judged(self) -> int:
        """Done and not refused."""
        return self.num_spoof + self.num_inconclusive + self.num_bona_fide

    @property
    def share_done(self) -> float:
        """0 to 1."""
        return self.num_done / self.num_files if self.num_files else float(self.is_listed)

    @property
    def rate_per_s(self) -> float | None:
        """Recordings per second of working time; None before the first."""
        return self.num_done / self.seconds_running if self.num_done and self.seconds_running > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Expected time to the end at the rate so far."""
        return (self.num_files - self.num_done) / self.rate_per_s if self.rate_per_s else None

    @property
    def is_stale(self) -> bool:
        """Whether the last heartbeat is not a living worker's."""
        return is_silent(self.heartbeat_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that discovery found."""

    path_bytes: bytes
    """Path relative to the audit's folder, exactly as the system gives it."""
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingFile:
    """A file of an audit that is still to be scored."""

    entry_id: int
    path_bytes: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """An analyst's own verdict on a recording."""

    verdict: Verdict
    reviewer: str
    note: str
    created_at: float
    audit_id: int | None
    """The audit in which it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageRow:
    """A line of the triage table: a file and its riskiest channel."""

    entry_id: int
    path: str
    folder: str
    verdict: Verdict | None
    """None while pending."""
    spoof_score: float | None
    probability: float | None
    duration_s: float | None
    codec: str | None
    reason: str | None
    training_distance: float | None
    """As in `Detection`."""
    duplicate_of: int | None
    """Entry that holds the same bytes and came first in this audit."""
    label: str | None
    attack: str | None
    review: Review | None
    """The newest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageFilter:
    """Which rows of the triage table, in which order. Empty tuples and None mean all."""

    verdicts: tuple[str, ...] = ()
    min_score: float | None = None
    max_score: float | None = None
    folder: str | None = None
    """This folder and all below it."""
    codecs: tuple[str, ...] = ()
    text: str = ""
    """Part of the path, upper or lower case."""
    review: str | None = None
    """`reviewed`, `unreviewed`, or a verdict given by an analyst."""
    unfamiliar: bool | None = None
    """Whether it is unlike the detector's training data; False lets those through of which nobody can tell."""
    order: str = "risk"
    """`risk` (highest score first), `safe` (lowest first), `path`, or `duration` (longest first)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriagePage:
    """Some rows of a filtered triage table and how many there are in all."""

    rows: tuple[TriageRow, ...]
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramBin:
    """How many files have a spoof score of at least `low` and below `high` (nats)."""

    low: float
    high: float
    num: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderShare:
    """Verdict counts of one folder."""

    folder: str
    num_spoof: int
    num_inconclusive: int
    num_bona_fide: int
    num_refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDetail:
    """All that is known of one file of an audit."""

    row: TriageRow
    audit_id: int
    absolute_path: str
    sha256: str | None
    info: AudioInfo | None
    detections: tuple[Detection, ...]
    reviews: tuple[Review, ...]
    """Newest first."""
    duplicates: tuple[str, ...]
    """Paths of the other files of this audit with the same bytes."""

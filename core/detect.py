"""From files to verdicts: windows of many recordings share a batch; scores go back to their recordings.

Memory stays bounded for any length: a recording is streamed, and at most one batch of windows is held.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch

from core.audio import SAMPLE_RATE_HZ, AudioReader, Channels, sha256_of
from core.calibration import verdict_of
from core.checkpoints import Detector
from core.errors import AudioRefusal
from core.models import raw_scores
from core.quality import MIN_ACTIVE_S, QualityMeter, has_sound, warnings_for
from core.records import AudioInfo, Detection, ScoredRecording, SegmentScore, Verdict
from core.runtime import open_session
from core.segments import WindowStream

BATCH_WINDOWS = 16
"""Windows per network call: the activations of 16 stay in cache; larger batches measured slower on the CPU."""


class Scorer:
    """A detector ready to score files. Safe to share between threads.

    Args:
        detector: which one.
        backend: `onnx` for scanning, `torch` where gradients or reference values are needed.
        num_threads: threads within one network call of ONNX Runtime.
    """

    def __init__(self, detector: Detector, *, backend: Literal["onnx", "torch"] = "onnx", num_threads: int = 1) -> None:
        self.detector, self.num_threads = detector, num_threads
        self.front_end = detector.build_front_end()
        if backend == "onnx":
            self._raw_scores = open_session(detector, num_threads=num_threads)
        else:
            model = detector.load_model()
            self._raw_scores = lambda image: raw_scores(model(image))

    @torch.inference_mode()
    def score_windows(self, windows: torch.Tensor) -> torch.Tensor:
        """Spoof scores of windows `[batch, time]`, shape `[batch]`: in nats, or as they are where nothing calibrates them."""
        raw = self._raw_scores(self.front_end(windows))
        calibration = self.detector.manifest.calibration
        return raw if calibration is None else calibration.slope * raw + calibration.offset

    def score_files(
        self, paths: Iterable[str | os.PathLike[str]], *, channels: Channels = "mix", stop: threading.Event | None = None
    ) -> Iterator[ScoredRecording]:
        """Scores many files, batched across them.

        A file that cannot be judged gives a refusal with its reason; it never stops the others.

        Args:
            paths: the files.
            channels: `mix` scores the average of the channels, `each` every channel by itself.
            stop: when set, the iteration ends soon, without the files that are not complete.

        Yields:
            One record per file, in the order of the paths.
        """
        waiting: deque[_Job] = deque()
        batch: list[_Window] = []
        for path in paths:
            job = _Job(path, channels, self.detector)
            waiting.append(job)
            for window in job.windows():
                batch.append(window)
                if stop is not None and stop.is_set():
                    return
                if len(batch) == BATCH_WINDOWS:
                    self._run(batch)
                    batch = []
            job.is_decoded = True
            while waiting and waiting[0].is_complete:
                yield waiting.popleft().record()
        self._run(batch)
        for job in waiting:
            yield job.record()

    def score_file(self, path: str | os.PathLike[str], *, channels: Channels = "mix") -> ScoredRecording:
        """Scores one file."""
        return next(self.score_files([path], channels=channels))

    def _run(self, batch: list[_Window]) -> None:
        if not batch:
            return
        scores = self.score_windows(torch.stack([window.samples for window in batch])).tolist()
        for window, score in zip(batch, scores, strict=True):
            window.job.num_unscored -= 1
            if math.isfinite(score):
                window.track.scores[window.index] = score
            else:
                window.track.num_without_score += 1


def aggregate_scores(scores: list[float], aggregate: str) -> float:
    """A recording's score from its segments', by the name of an aggregate (`core.checkpoints.AGGREGATES`)."""
    return max(scores) if aggregate == "max" else math.fsum(scores) / len(scores)


@dataclass
class _Track:
    """One channel on its way: quality so far, window starts, and their scores (NaN until known or when skipped)."""

    stream: WindowStream
    meter: QualityMeter = field(default_factory=QualityMeter)
    starts: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    num_without_score: int = 0
    """Windows for which the network gave NaN or infinity."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Samples `[time]` to be scored, and where the score goes."""

    job: _Job
    track: _Track
    index: int
    samples: torch.Tensor


class _Job:
    """One file on its way from samples to a record."""

    def __init__(self, path: str | os.PathLike[str], channels: Channels, detector: Detector) -> None:
        self.path, self.channels, self.detector = path, channels, detector
        self.sha256: str | None = None
        self.info: AudioInfo | None = None
        self.refusal: AudioRefusal | None = None
        self.is_truncated = False
        self.tracks: list[_Track] = []
        self.num_unscored = 0
        self.is_decoded = False

    @property
    def is_complete(self) -> bool:
        """Whether all windows are there and scored."""
        return self.is_decoded and self.num_unscored == 0

    def windows(self) -> Iterator[_Window]:
        """Decodes the file; yields each window that is to be scored."""
        try:
            self.sha256 = sha256_of(self.path)
            reader = AudioReader(self.path, channels=self.channels)
            self.info = reader.info
            self.tracks = [_Track(WindowStream(self.detector.manifest.window_samples)) for _ in range(reader.num_channels)]
            for block in reader:
                for track, samples in zip(self.tracks, block, strict=True):
                    track.meter.update(samples)
                    yield from self._placed(track, track.stream.push(samples))
            for track in self.tracks:
                yield from self._placed(track, track.stream.finish())
            self.is_truncated = reader.is_truncated
        except AudioRefusal as refusal:
            self.refusal = refusal

    def _placed(self, track: _Track, windows: Iterator[tuple[int, torch.Tensor]]) -> Iterator[_Window]:
        for start, window in windows:
            track.starts.append(start)
            track.scores.append(math.nan)
            if has_sound(window):
                self.num_unscored += 1
                yield _Window(self, track, len(track.scores) - 1, window)

    def record(self) -> ScoredRecording:
        """The finished record; all windows must have been scored."""
        if self.refusal is not None:
            detections = (_refused("mix" if self.channels == "mix" else "1", self.refusal, duration_s=0.0),)
        else:
            names = ["mix"] if self.channels == "mix" else [str(i + 1) for i in range(len(self.tracks))]
            detections = tuple(self._detection(name, track) for name, track in zip(names, self.tracks, strict=True))
        return ScoredRecording(path=os.fspath(self.path), sha256=self.sha256, info=self.info, detections=detections)

    def _detection(self, channel: str, track: _Track) -> Detection:
        manifest, duration_s, quality = self.detector.manifest, track.meter.duration_s, track.meter.result()
        scored = [score for score in track.scores if not math.isnan(score)]
        try:
            track.meter.check()
            if track.num_without_score:
                lost = f"NaN or infinity for {track.num_without_score} of {len(track.scores)} segments"
                raise AudioRefusal("no_score", f"The detector's network gives {lost}; it cannot judge this recording.")
            if not scored:
                raise AudioRefusal("no_speech", f"No window of {manifest.window_s:g} s holds {MIN_ACTIVE_S} s of sound.")
        except AudioRefusal as refusal:
            return _refused(channel, refusal, duration_s=duration_s)
        spoof_score = aggregate_scores(scored, manifest.aggregate)
        return Detection(
            channel=channel,
            verdict=verdict_of(spoof_score, manifest.thresholds),
            spoof_score=spoof_score,
            probability=manifest.calibration.probability(spoof_score) if manifest.calibration else None,
            segments=tuple(
                SegmentScore(
                    start_s=start / SAMPLE_RATE_HZ,
                    end_s=min(duration_s, (start + manifest.window_samples) / SAMPLE_RATE_HZ),
                    spoof_score=score,
                )
                for start, score in zip(track.starts, track.scores, strict=True)
            ),
            duration_s=duration_s,
            quality=quality,
            warnings=warnings_for(quality, self.info, duration_s=duration_s, is_truncated=self.is_truncated),
        )


def _refused(channel: str, refusal: AudioRefusal, *, duration_s: float) -> Detection:
    return Detection(
        channel=channel,
        verdict=Verdict.REFUSED,
        spoof_score=None,
        probability=None,
        segments=(),
        duration_s=duration_s,
        quality=None,
        warnings=(),
        reason_code=refusal.code,
        reason=str(refusal),
    )

"""From files to verdicts: windows of many recordings share a batch; scores go back to their recordings.

Memory stays bounded for any length: a recording is streamed, and at most one batch of windows is held.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch

from core.audio import SAMPLE_RATE_HZ, Channels
from core.calibration import verdict_of
from core.checkpoints import BFLOAT16, Detector, DetectorManifest
from core.errors import DetectorError, ScanError
from core.familiarity import load_familiarity, mean_distance
from core.models import raw_scores
from core.quality import MIN_ACTIVE_S
from core.records import Detection, ScoredRecording, SegmentScore, Verdict, is_unfamiliar
from core.runtime import embedding_scorer, open_embedding_session, open_session
from core.sketches import ChannelSketch, Decoding, Sketch

BATCH_WINDOWS, GPU_BATCH_WINDOWS = 16, 128
"""Windows per network call: the activations of 16 stay in cache; larger batches measured slower on the CPU. A GPU starts
some dozen kernels per call, whatever its size."""

WindowScore = tuple[float, float]
"""Of a window: its spoof score, and how far it lies from the training data (NaN where the detector cannot tell)."""


class Scorer:
    """A detector ready to score files. Safe to share between threads.

    Args:
        detector: which one.
        backend: `onnx` for scanning, `torch` where gradients or reference values are needed.
        num_threads: threads within one network call of ONNX Runtime.
        device: where the backend `torch` computes; ONNX Runtime computes on the CPU.
    """

    def __init__(
        self, detector: Detector, *, backend: Literal["onnx", "torch"] = "onnx", num_threads: int = 1, device: str = "cpu"
    ) -> None:
        self.batch_windows = BATCH_WINDOWS if device == "cpu" else GPU_BATCH_WINDOWS
        self.detector, self.num_threads, self.device = detector, num_threads, device if backend == "torch" else "cpu"
        self.front_end = detector.build_front_end().to(self.device)
        self.familiarity = load_familiarity(detector)
        """What tells how far windows lie from the training data; None where the detector has no statistics of it."""
        has_embedding = self.familiarity is not None
        if backend == "onnx":
            open_network = open_embedding_session if has_embedding else open_session
            self._network = open_network(detector, num_threads=num_threads)
        else:
            model = detector.load_model().to(device)
            self._network = embedding_scorer(model) if has_embedding else lambda image: raw_scores(model(image).float())

    @torch.inference_mode()
    def judge_windows(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of windows `[batch, time]` and their distances from the training data, `[batch]` each.

        Scores are in nats, or as they are where nothing calibrates them; distances are NaN where the detector cannot tell.
        """
        shown = self.front_end(windows.to(self.device))
        # For PyTorch; elsewhere the network was opened in its precision.
        with torch.autocast(self.device, torch.bfloat16, enabled=self.detector.manifest.precision == BFLOAT16):
            found = self._network(shown)
        raw, embeddings = found if self.familiarity is not None else (found, None)
        raw, calibration = raw.cpu(), self.detector.manifest.calibration
        scores = raw if calibration is None else calibration.slope * raw + calibration.offset
        if embeddings is None:
            return scores, torch.full_like(scores, math.nan)
        return scores, self.familiarity.distances(embeddings.cpu())

    def score_windows(self, windows: torch.Tensor) -> torch.Tensor:
        """The scores alone."""
        return self.judge_windows(windows)[0]

    def score_files(
        self, paths: Iterable[str | os.PathLike[str]], *, channels: Channels = "mix", is_stopped: Callable[[], bool] = bool
    ) -> Iterator[ScoredRecording]:
        """Scores many files, batched across them.

        A file that cannot be judged gives a refusal with its reason; it never stops the others.

        Args:
            paths: the files.
            channels: `mix` scores the average of the channels, `each` every channel by itself.
            is_stopped: asked at every block and window; at its yes the iteration ends, without the files that are not complete.

        Yields:
            One record per file, in the order of the paths.
        """
        waiting: deque[_Job] = deque()
        batch: list[_Window] = []
        for path in paths:
            job = _Job(path, channels, self.detector.manifest, on_block=is_stopped)
            waiting.append(job)
            for window in job.windows():
                batch.append(window)
                if is_stopped():
                    return
                if len(batch) == self.batch_windows:
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
        scores, distances = self.judge_windows(torch.stack([window.samples for window in batch]))
        for window, score, distance in zip(batch, scores.tolist(), distances.tolist(), strict=True):
            window.job.scores[window.place] = score, distance
            window.job.num_unscored -= 1


def gpu_scorer(detector: Detector) -> Scorer:
    """A scorer on this machine's GPU, in PyTorch.

    Raises:
        ScanError: there is no GPU that PyTorch can use.
        DetectorError: the detector was made elsewhere.
    """
    if not torch.cuda.is_available():
        raise ScanError("PyTorch finds no GPU that it can use here (NVIDIA, with its driver); leave out --device cuda.")
    if detector.is_foreign:
        raise DetectorError(f"{detector.name} came as an ONNX graph, which runs on the CPU here; leave out --device cuda.")
    return Scorer(detector, backend="torch", device="cuda")


def aggregate_scores(scores: list[float], aggregate: str) -> float:
    """A recording's score from its segments', by the name of an aggregate (`core.checkpoints.AGGREGATES`)."""
    return max(scores) if aggregate == "max" else math.fsum(scores) / len(scores)


def record_of(sketch: Sketch, scores: Mapping[tuple[int, int], WindowScore], manifest: DetectorManifest) -> ScoredRecording:
    """A recording's record, from what was found on decoding and what the network said.

    Args:
        sketch: the recording but for its scores.
        scores: (channel, number of the window) -> what was found of it, of all windows that held enough sound.
        manifest: the detector's.
    """
    detections = tuple(
        _detection(channel, [scores.get((number, index)) for index in range(len(channel.starts))], manifest)
        for number, channel in enumerate(sketch.channels)
    )
    return ScoredRecording(path=sketch.path, sha256=sketch.sha256, info=sketch.info, detections=detections)


@dataclass(frozen=True, slots=True)
class _Window:
    """Samples `[time]` to be scored, and where the score goes: channel and number of the window."""

    job: _Job
    place: tuple[int, int]
    samples: torch.Tensor


@dataclass
class _Job:
    """One file on its way from samples to a record."""

    path: str | os.PathLike[str]
    channels: Channels
    manifest: DetectorManifest
    on_block: Callable[[], object]
    scores: dict[tuple[int, int], WindowScore] = field(default_factory=dict)
    num_unscored: int = 0
    is_decoded: bool = False

    def __post_init__(self) -> None:
        self.decoding = Decoding(self.path, self.channels, self.manifest.window_samples, on_block=self.on_block)

    @property
    def is_complete(self) -> bool:
        """Whether all windows are there and scored."""
        return self.is_decoded and self.num_unscored == 0

    def windows(self) -> Iterator[_Window]:
        """Decodes the file; yields each window that is to be scored."""
        for channel, index, samples in self.decoding.windows():
            self.num_unscored += 1
            yield _Window(self, (channel, index), samples)

    def record(self) -> ScoredRecording:
        """The finished record; all windows must have been scored."""
        return record_of(self.decoding.sketch(), self.scores, self.manifest)


def _detection(channel: ChannelSketch, found: list[WindowScore | None], manifest: DetectorManifest) -> Detection:
    """The detection on a channel, of whose windows those without a score held too little sound."""
    scores = [None if window is None else window[0] for window in found]
    refusal, judged = channel.refusal, [score for score in scores if score is not None]
    num_lost = sum(not math.isfinite(score) for score in judged)
    if refusal is None and num_lost:
        lost = f"NaN or infinity for {num_lost} of {len(scores)} segments"
        refusal = "no_score", f"The detector's network gives {lost}; it cannot judge this recording."
    elif refusal is None and not judged:
        refusal = "no_speech", f"No window of {manifest.window_s:g} s holds {MIN_ACTIVE_S} s of sound."
    if refusal is not None:
        return _refused(channel, *refusal)
    spoof_score = aggregate_scores(judged, manifest.aggregate)
    distance = mean_distance([window[1] for window in found if window is not None])
    return Detection(
        channel=channel.name,
        verdict=verdict_of(spoof_score, manifest.thresholds),
        spoof_score=spoof_score,
        probability=manifest.calibration.probability(spoof_score) if manifest.calibration else None,
        segments=tuple(
            SegmentScore(
                start_s=start / SAMPLE_RATE_HZ,
                end_s=min(channel.duration_s, (start + manifest.window_samples) / SAMPLE_RATE_HZ),
                spoof_score=math.nan if score is None else score,
            )
            for start, score in zip(channel.starts, scores, strict=True)
        ),
        duration_s=channel.duration_s,
        quality=channel.quality,
        warnings=(*channel.warnings, *(("unfamiliar",) if is_unfamiliar(distance) else ())),
        training_distance=distance,
    )


def _refused(channel: ChannelSketch, code: str, reason: str) -> Detection:
    return Detection(
        channel=channel.name,
        verdict=Verdict.REFUSED,
        spoof_score=None,
        probability=None,
        segments=(),
        duration_s=channel.duration_s,
        quality=None,
        warnings=(),
        reason_code=code,
        reason=reason,
    )

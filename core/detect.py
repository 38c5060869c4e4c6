"""From files to verdicts: windows of many recordings share a batch; scores go back to their recordings.

Memory stays bounded for any length: a recording is streamed, and at most one batch of windows is held.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch

from core.audio import SAMPLE_RATE_HZ, Channels
from core.calibration import verdict_of
from core.checkpoints import BFLOAT16, Detector, DetectorManifest
from core.errors import DetectorError, ScanError
from core.familiarity import load_familiarity, mean_distance
from core.fusion import SecondPass
from core.models import raw_scores
from core.quality import MIN_ACTIVE_S
from core.records import Detection, ScoredRecording, SegmentScore, Verdict, is_unfamiliar
from core.runtime import embedding_scorer, open_embedding_session, open_session
from core.sketches import ChannelSketch, Decoding, Sketch

BATCH_WINDOWS, GPU_BATCH_WINDOWS = 16, 128
"""Windows per network call: the activations of 16 stay in cache; larger batches measured slower on the CPU. A GPU starts
some dozen kernels per call, whatever its size."""


class WindowScore(NamedTuple):
    """What was found of a window."""

    score: float
    """Its spoof score."""
    distance: float
    """How far it lies from the training data; NaN where the detector cannot tell."""
    is_estimated: bool = False
    """As of `SegmentScore`."""


class Scorer:
    """A detector ready to score files. Safe to share between threads.

    A fusion's fast network judges every window, the others the windows that `core.fusion.SecondPass` chooses.

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
        self.familiarity = load_familiarity(detector)
        """What tells how far windows lie from the training data; None where the detector has no statistics of it."""
        self._parts = [
            _Part(branch, backend, num_threads, self.device, has_embedding=self.familiarity is not None and number == 0)
            for number, branch in enumerate(detector.branches)
        ]

    @torch.inference_mode()
    def judge_windows(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of windows `[batch, time]` by all networks and their distances from the training data, `[batch]` each.

        Scores are in nats, or as they are where nothing calibrates them; distances are NaN where the detector cannot tell.
        """
        fast, distances = self._judge_fast(windows)
        return self._calibrated(fast + self._judge_rest(windows)), distances

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
        again: list[_Window] = []  # of the second pass
        for path in paths:
            job = _Job(path, channels, self.detector.manifest, on_block=is_stopped)
            waiting.append(job)
            for window in job.windows():
                batch.append(window)
                if is_stopped():
                    return
                if len(batch) == self.batch_windows:
                    again += self._run(batch)
                    batch = []
                while len(again) >= self.batch_windows:
                    self._run_again(again[: self.batch_windows])
                    del again[: self.batch_windows]
            again += job.end_first_pass()
            while waiting and waiting[0].is_complete:
                yield self._record(waiting.popleft())
        again += self._run(batch)
        for first in range(0, len(again), self.batch_windows):
            if is_stopped():
                return
            self._run_again(again[first : first + self.batch_windows])
        for job in waiting:
            yield self._record(job)

    def score_file(self, path: str | os.PathLike[str], *, channels: Channels = "mix") -> ScoredRecording:
        """Scores one file."""
        return next(self.score_files([path], channels=channels))

    def contributions(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the fast network and what the others contribute to the raw scores of windows `[batch, time]`, `[batch]` each."""
        return self._judge_fast(windows)[0], self._judge_rest(windows)

    def second_pass_s(self) -> float:
        """Seconds that the networks of the second pass take for a window here, with this scorer's threads."""
        windows = torch.zeros(self.batch_windows, self.detector.manifest.window_samples)
        self._judge_rest(windows)  # the first call of a session is slower
        started = time.perf_counter()
        self._judge_rest(windows)
        return (time.perf_counter() - started) / len(windows)

    @torch.inference_mode()
    def _judge_fast(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the first network contributes to the raw score, and the distances."""
        raw, embeddings = self._parts[0](windows)
        if embeddings is None:
            return raw, torch.full_like(raw, math.nan)
        return raw, self.familiarity.distances(embeddings)

    @torch.inference_mode()
    def _judge_rest(self, windows: torch.Tensor) -> torch.Tensor:
        """What the other networks contribute; 0 of a detector with one."""
        return sum((part(windows)[0] for part in self._parts[1:]), torch.zeros(len(windows)))

    def _calibrated(self, raw: torch.Tensor) -> torch.Tensor:
        calibration = self.detector.manifest.calibration
        return raw if calibration is None else calibration.slope * raw + calibration.offset

    def _run(self, batch: list[_Window]) -> list[_Window]:
        """Judges windows; returns those for the second pass of recordings whose first this ended."""
        if not batch:
            return []
        has_second_pass = self.detector.manifest.num_second_pass > 0
        judge = self._judge_fast if has_second_pass else self.judge_windows
        scores, distances = judge(torch.stack([window.samples for window in batch]))
        for window, score, distance in zip(batch, scores.tolist(), distances.tolist(), strict=True):
            window.job.take_first(window, score, distance)
        return [again for job in dict.fromkeys(window.job for window in batch) for again in job.second_pass()]

    def _run_again(self, batch: list[_Window]) -> None:
        rest = self._judge_rest(torch.stack([window.samples for window in batch]))
        for window, score in zip(batch, rest.tolist(), strict=True):
            window.job.take_second(window, score)

    def _record(self, job: _Job) -> ScoredRecording:
        return record_of(job.decoding.sketch(), job.found(self._calibrated), self.detector.manifest)


class _Part:
    """One network with its front end: from windows `[batch, time]` to what it contributes to the raw score, and embeddings.

    Args:
        detector: the network, as a detector of its own.
        has_embedding: whether embeddings are wanted; None is given in their place where they are not.
    """

    def __init__(self, detector: Detector, backend: str, num_threads: int, device: str, *, has_embedding: bool) -> None:
        self._device, self._has_embedding = device, has_embedding
        self._is_bfloat16 = detector.manifest.precision == BFLOAT16
        self._weight = detector.branch_weight
        self.front_end = detector.build_front_end().to(device)
        if backend == "onnx":
            open_network = open_embedding_session if has_embedding else open_session
            self._network = open_network(detector, num_threads=num_threads)
        else:
            model = detector.load_model().to(device)
            self._network = embedding_scorer(model) if has_embedding else lambda image: raw_scores(model(image).float())

    def __call__(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        shown = self.front_end(windows.to(self._device))
        # For PyTorch; elsewhere the network was opened in its precision.
        with torch.autocast(self._device, torch.bfloat16, enabled=self._is_bfloat16):
            found = self._network(shown)
        raw, embeddings = found if self._has_embedding else (found, None)
        raw = raw.cpu()
        return raw if self._weight == 1.0 else self._weight * raw, None if embeddings is None else embeddings.cpu()


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


@dataclass(eq=False)
class _Job:
    """One file on its way from samples to a record."""

    path: str | os.PathLike[str]
    channels: Channels
    manifest: DetectorManifest
    on_block: Callable[[], object]
    scores: dict[tuple[int, int], WindowScore] = field(default_factory=dict)
    """What was found in the first pass; the scores are what the fast network contributes where a second follows."""
    rest: dict[tuple[int, int], float] = field(default_factory=dict)
    """What the other networks contribute."""
    num_unscored: int = 0
    is_decoded: bool = False
    _chosen: dict[int, SecondPass] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.decoding = Decoding(self.path, self.channels, self.manifest.window_samples, on_block=self.on_block)

    @property
    def is_complete(self) -> bool:
        """Whether all windows are there and scored, and chosen ones by all networks."""
        return self.is_decoded and self.num_unscored == 0

    def windows(self) -> Iterator[_Window]:
        """Decodes the file; yields each window that is to be scored."""
        for channel, index, samples in self.decoding.windows():
            self.num_unscored += 1
            yield _Window(self, (channel, index), samples)

    def take_first(self, window: _Window, score: float, distance: float) -> None:
        """Takes what the first pass says of a window; the windows of a channel come in order."""
        self.scores[window.place] = WindowScore(score, distance)
        self.num_unscored -= 1
        if num := self.manifest.num_second_pass:
            channel, index = window.place
            self._chosen.setdefault(channel, SecondPass(num)).offer(index, score, window.samples)

    def end_first_pass(self) -> list[_Window]:
        """Says that all windows were given; returns those of the second pass where all others are judged."""
        self.is_decoded = True
        return self.second_pass()

    def second_pass(self) -> list[_Window]:
        """The windows that the other networks are to judge, once the fast one has judged all; none before that, or twice."""
        if not self.is_complete or self.rest or not self._chosen:
            return []
        chosen = [
            _Window(self, (channel, index), samples)
            for channel, choice in self._chosen.items()
            for index, samples in choice.chosen().items()
        ]
        self.num_unscored, self.rest = len(chosen), {window.place: math.nan for window in chosen}
        return chosen

    def take_second(self, window: _Window, rest: float) -> None:
        """Takes what the other networks say of a window."""
        self.rest[window.place] = rest
        self.num_unscored -= 1

    def found(self, calibrated: Callable[[torch.Tensor], torch.Tensor]) -> dict[tuple[int, int], WindowScore]:
        """The finished scores; for windows that only the fast network judged, the mean of the evenly spaced stands in."""
        if not self._chosen:
            return self.scores
        means = {}
        for channel, choice in self._chosen.items():
            even = [self.rest[channel, index] for index in sorted(choice.even())]
            means[channel] = math.fsum(even) / len(even)
        places = list(self.scores)
        raw = [self.scores[place][0] + self.rest.get(place, means[place[0]]) for place in places]
        finished = calibrated(torch.tensor(raw)).tolist()
        return {
            place: WindowScore(score, self.scores[place].distance, place not in self.rest)
            for place, score in zip(places, finished, strict=True)
        }


def _detection(channel: ChannelSketch, found: list[WindowScore | None], manifest: DetectorManifest) -> Detection:
    """The detection on a channel, of whose windows those without a score held too little sound."""
    scores = [None if window is None else window.score for window in found]
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
    distance = mean_distance([window.distance for window in found if window is not None])
    return Detection(
        channel=channel.name,
        verdict=verdict_of(spoof_score, manifest.thresholds),
        spoof_score=spoof_score,
        probability=manifest.calibration.probability(spoof_score) if manifest.calibration else None,
        segments=tuple(
            SegmentScore(
                start_s=start / SAMPLE_RATE_HZ,
                end_s=min(channel.duration_s, (start + manifest.window_samples) / SAMPLE_RATE_HZ),
                spoof_score=math.nan if window is None else window.score,
                is_estimated=window is not None and window.is_estimated,
            )
            for start, window in zip(channel.starts, found, strict=True)
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

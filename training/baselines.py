"""What a detector must beat: always saying spoof, the classical LFCC-GMM, and the shortcut probes. Writes score files."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchaudio
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from core.audio import SAMPLE_RATE_HZ
from core.calibration import fit_calibration
from core.checkpoints import Figure
from core.errors import CoreError
from training.data import LabelledSplit, load_split, to_float
from training.evaluate import pooled_eer
from training.probes import PROBES, run_probe
from training.scores import write_scores

BASELINES = ("always-spoof", "lfcc-gmm", "probes")
"""Names of the command line."""
ALWAYS_SPOOF_SCORE = 1.0
"""Any positive number says spoof; a constant one says it without evidence, so that Cllr is above 1 bit."""
NUM_COEFFICIENTS = 20
_HOP_SAMPLES, _FRAME_SAMPLES, _FFT_SAMPLES = SAMPLE_RATE_HZ // 100, SAMPLE_RATE_HZ // 50, 512
"""A frame of 20 ms every 10 ms, as in the baseline of ASVspoof 2019."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GmmConfig:
    """Size of the two mixtures. ASVspoof's baseline fits 512 components on all frames; a sample of them takes minutes."""

    num_components: int = 512
    """Diagonal Gaussians per class."""
    num_frames: int = 250_000
    """Frames per class that the mixtures are fitted on, drawn at random."""
    max_iterations: int = 25
    """Of expectation-maximisation, from k-means++ centres."""

    def __post_init__(self) -> None:
        if self.num_components < 1 or self.num_frames < self.num_components or self.max_iterations < 1:
            raise CoreError(f"the mixtures need at least a component, a frame for each and an iteration, got {self}")


class FrameLfcc(torch.nn.Module):
    """Linear-frequency cepstra of 20 ms frames with their first and second differences, 60 numbers a frame.

    The lowest coefficient is the mean log energy of the bands. Level is brought to an RMS of 1 first.
    """

    def __init__(self) -> None:
        super().__init__()
        geometry = {"n_fft": _FFT_SAMPLES, "win_length": _FRAME_SAMPLES, "hop_length": _HOP_SAMPLES, "center": False}
        self.transform = torchaudio.transforms.LFCC(
            SAMPLE_RATE_HZ, n_filter=NUM_COEFFICIENTS, n_lfcc=NUM_COEFFICIENTS, log_lf=True, speckwargs=geometry
        )

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """`[time]` in -1 to 1 to `[frame, 60]`."""
        samples = torch.nn.functional.pad(samples, (0, max(0, _FFT_SAMPLES - len(samples))))
        cepstrum = self.transform(samples / samples.square().mean().sqrt().clamp_min(1e-6))
        slope = torchaudio.functional.compute_deltas(cepstrum)
        return torch.cat([cepstrum, slope, torchaudio.functional.compute_deltas(slope)]).T


class LfccGmm:
    """Two Gaussian mixtures, one per class; the raw score of a recording is the mean log-likelihood ratio of its frames.

    Source: Sahidullah, Kinnunen and Hanilci (2015), "A comparison of features for synthetic speech detection".
    """

    def __init__(self, config: GmmConfig) -> None:
        self.config, self.front_end = config, FrameLfcc()
        self.mixtures: dict[bool, GaussianMixture] = {}
        self.has_converged = True

    def fit(self, split: LabelledSplit, *, seed: int) -> None:
        """Fits both mixtures on frames drawn at random from all recordings of their class.

        Raises:
            CoreError: a class has fewer frames than a mixture has components.
        """
        rng = np.random.default_rng(seed)
        for spoof in (False, True):
            chosen = np.nonzero(split.is_spoof == spoof)[0]
            frames = _thinned((self._frames(split, i) for i in chosen), self.config.num_frames / max(1, len(chosen)), rng)
            if len(frames) < self.config.num_components:
                label = "spoof" if spoof else "bona fide"
                raise CoreError(
                    f"{label} speech of {split.name} gives {len(frames)} frames, fewer than the {self.config.num_components} "
                    "components of a mixture; use more data or fewer components."
                )
            self.mixtures[spoof] = GaussianMixture(
                self.config.num_components,
                covariance_type="diag",
                max_iter=self.config.max_iterations,
                init_params="k-means++",
                reg_covar=1e-3,
                random_state=seed,
            )
            with warnings.catch_warnings():  # said by `has_converged`
                warnings.simplefilter("ignore", ConvergenceWarning)
                self.mixtures[spoof].fit(frames)
            self.has_converged &= bool(self.mixtures[spoof].converged_)

    def score(self, split: LabelledSplit) -> np.ndarray:
        """Raw scores `[recording]`, nats per frame."""
        scores = np.zeros(len(split))
        for i in range(len(split)):
            frames = self._frames(split, i)
            scores[i] = (self.mixtures[True].score_samples(frames) - self.mixtures[False].score_samples(frames)).mean()
        return scores

    @torch.inference_mode()
    def _frames(self, split: LabelledSplit, i: int) -> np.ndarray:
        return self.front_end(to_float(split.recording(int(i)))).numpy()


def run_baseline(name: str, data: Path, *, scores_out: Path, config: GmmConfig | None = None, seed: int = 0) -> tuple[Figure, ...]:
    """Makes one baseline on a prepared folder, writes its score files over test, prints what it did.

    Args:
        name: one of `BASELINES`.
        data: folder that `python -m training prepare` wrote, with train, dev and test.
        scores_out: folder for `NAME.test.csv`.
        config: of the mixtures of `lfcc-gmm`; the default one for None.

    Returns:
        The pooled EER on test of each system that was written.

    Raises:
        CoreError: unknown name, a split that is missing or has one class only.
    """
    if name not in BASELINES:
        raise CoreError(f"unknown baseline {name!r}; expected one of {', '.join(BASELINES)}")
    test = load_split(data, "test")
    if name == "always-spoof":
        systems = [(name, np.full(len(test), ALWAYS_SPOOF_SCORE))]
    else:
        train, dev = load_split(data, "train"), load_split(data, "dev")
        if name == "lfcc-gmm":
            systems = [(name, _lfcc_gmm(train, dev, test, config or GmmConfig(), seed))]
        else:
            systems = list(_probes(train, dev, test))
    figures = []
    for system, scores in systems:
        write_scores(scores_out / f"{system}.test.csv", scores, test.index)
        figures.append(pooled_eer("test", system, scores, test))
    return tuple(figures)


def _lfcc_gmm(train: LabelledSplit, dev: LabelledSplit, test: LabelledSplit, config: GmmConfig, seed: int) -> np.ndarray:
    started = time.monotonic()
    system = LfccGmm(config)
    system.fit(train, seed=seed)
    ended = "converged" if system.has_converged else f"stopped after {config.max_iterations} iterations"
    print(
        f"lfcc-gmm: {config.num_components} components a class (the literature has 512), on about {config.num_frames:,} "
        f"frames a class, {ended}; fitted in {time.monotonic() - started:.0f} s",
        flush=True,
    )
    calibration = fit_calibration(system.score(dev), dev.is_spoof)
    return calibration.slope * system.score(test) + calibration.offset


def _probes(train: LabelledSplit, dev: LabelledSplit, test: LabelledSplit) -> Iterator[tuple[str, np.ndarray]]:
    for name in PROBES:
        probe = run_probe(name, train=train, dev=dev, test=test)
        print(f"{name}: {probe.classifier} (dev EER {probe.dev_eer:.1%})", flush=True)
        yield name, probe.scores


def _thinned(recordings: Iterator[np.ndarray], num_each: float, rng: np.random.Generator) -> np.ndarray:
    """About `num_each` frames of each recording on average, drawn at random: long recordings give more than short ones."""
    parts: list[np.ndarray] = []
    num_seen = 0
    for i, frames in enumerate(recordings, start=1):
        num_seen += len(frames)
        # Of the frames so far, the share that keeps to the budget: the mean length is not known before the end.
        share = min(1.0, num_each * i / num_seen)
        parts.append(frames[rng.random(len(frames)) < share])
    return np.concatenate(parts) if parts else np.zeros((0, 3 * NUM_COEFFICIENTS), dtype=np.float32)

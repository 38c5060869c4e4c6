"""Shortcut probes: what silence, loudness, duration or bandwidth alone give away, measured like a detector.

A probe that beats chance shows a way to look good on this data without hearing any trace of synthesis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.audio import SAMPLE_RATE_HZ
from core.calibration import fit_calibration
from core.errors import CoreError
from core.metrics import equal_error_rate
from core.quality import ACTIVE_DB, ACTIVE_RANGE_DB, FRAME_SAMPLES, frame_levels_db
from training.data import LabelledSplit, to_float

_FFT_SAMPLES = 512
_EDGE_SHARES = (0.5, 0.9, 0.99, 0.999)
"""Shares of the power below a spectral edge; the outer ones show the band limit of a codec or resampler."""
_FLOOR_DB = -120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeScores:
    """One probe, fitted on train, its classifier chosen and calibrated on dev."""

    name: str
    classifier: str
    """Which kind had the lower EER on dev."""
    dev_eer: float
    scores: np.ndarray
    """Calibrated spoof scores of test, nats; all 0 when the probe found nothing on dev."""


def silence_measures(samples: torch.Tensor) -> list[float]:
    """Shares of the frames that are silent before the first sound, after the last one, and in all; and both edges in s."""
    levels = frame_levels_db(samples)
    num = len(levels)
    active = torch.nonzero(levels > max(ACTIVE_DB, float(levels.max()) - ACTIVE_RANGE_DB)).flatten() if num else levels
    if not len(active):
        edge_s = num * FRAME_SAMPLES / SAMPLE_RATE_HZ
        return [1.0, 1.0, 1.0, edge_s, edge_s]
    leading, trailing = int(active[0]), num - 1 - int(active[-1])
    edges_s = [frames * FRAME_SAMPLES / SAMPLE_RATE_HZ for frames in (leading, trailing)]
    return [leading / num, trailing / num, 1 - len(active) / num, *edges_s]


def loudness_measures(samples: torch.Tensor) -> list[float]:
    """RMS level, peak, and the level of the 10 % quietest and of the loudest 20 ms frames, all in dBFS."""
    levels = frame_levels_db(samples)
    rms, peak = float(samples.square().mean().sqrt()), float(samples.abs().max())
    frames = [float(torch.quantile(levels, 0.1)), float(levels.max())] if len(levels) else [_FLOOR_DB, _FLOOR_DB]
    return [20 * np.log10(max(rms, 1e-6)), 20 * np.log10(max(peak, 1e-6)), *frames]


def duration_measures(samples: torch.Tensor) -> list[float]:
    """Length in s."""
    return [len(samples) / SAMPLE_RATE_HZ]


def bandwidth_measures(samples: torch.Tensor) -> list[float]:
    """Frequencies in Hz below which 50, 90, 99 and 99.9 % of the power lie, and the power above 7 kHz in dB re all of it."""
    padded = torch.nn.functional.pad(samples, (0, max(0, _FFT_SAMPLES - len(samples))))
    window = torch.hann_window(_FFT_SAMPLES)
    power = torch.stft(padded, _FFT_SAMPLES, window=window, center=False, return_complex=True).abs().square().sum(dim=-1).double()
    total = float(power.sum())
    if total <= 0:
        return [0.0] * len(_EDGE_SHARES) + [_FLOOR_DB]
    bin_hz = SAMPLE_RATE_HZ / _FFT_SAMPLES
    below = torch.cumsum(power, 0) / total
    edges = [float(torch.searchsorted(below, share)) * bin_hz for share in _EDGE_SHARES]
    return [*edges, 10 * np.log10(max(float(power[int(7_000 / bin_hz) :].sum()) / total, 1e-12))]


PROBES: dict[str, Callable[[torch.Tensor], list[float]]] = {
    "probe-silence": silence_measures,
    "probe-loudness": loudness_measures,
    "probe-duration": duration_measures,
    "probe-bandwidth": bandwidth_measures,
}
"""Name -> what it measures of samples `[time]` in -1 to 1."""


def run_probe(name: str, *, train: LabelledSplit, dev: LabelledSplit, test: LabelledSplit) -> ProbeScores:
    """Fits a linear and a non-linear classifier on train, keeps the one that is better on dev, and scores test.

    Raises:
        CoreError: no such probe, or a split with one class only.
    """
    if name not in PROBES:
        raise CoreError(f"unknown probe {name!r}; expected one of {', '.join(PROBES)}")
    for split in (train, dev):
        if split.is_spoof.all() or not split.is_spoof.any():
            raise CoreError(f"the split {split.name} holds one class only; a probe needs bona fide and spoof.")
    measured = {split.name: _measure(PROBES[name], split) for split in (train, dev, test)}
    candidates = []
    for kind, classifier in _classifiers().items():
        classifier.fit(measured[train.name], train.is_spoof)
        raw = _log_odds(classifier, measured[dev.name])
        candidates.append((equal_error_rate(raw, dev.is_spoof)[0], kind, classifier, raw))
    dev_eer, kind, classifier, raw = min(candidates, key=lambda candidate: candidate[0])
    test_raw = _log_odds(classifier, measured[test.name])
    return ProbeScores(name=name, classifier=kind, dev_eer=dev_eer, scores=_calibrated(test_raw, raw, dev.is_spoof))


def _calibrated(test_raw: np.ndarray, dev_raw: np.ndarray, dev_is_spoof: np.ndarray) -> np.ndarray:
    try:
        calibration = fit_calibration(dev_raw, dev_is_spoof)
    except CoreError:  # no better than chance on dev: the probe knows nothing
        return np.zeros(len(test_raw))
    return calibration.slope * test_raw + calibration.offset


def _classifiers() -> dict[str, ClassifierMixin]:
    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1_000)),
        "gradient boosting": HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=30, class_weight="balanced", random_state=0
        ),
    }


def _log_odds(classifier: ClassifierMixin, measured: np.ndarray) -> np.ndarray:
    return classifier.decision_function(measured).astype(np.float64)


def _measure(measures: Callable[[torch.Tensor], list[float]], split: LabelledSplit) -> np.ndarray:
    """`[recording, measure]`."""
    return np.array([measures(to_float(split.recording(i))) for i in range(len(split))])

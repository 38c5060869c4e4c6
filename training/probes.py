"""Shortcut probes as baselines: what silence, loudness, duration or bandwidth alone give away, fitted and judged like a detector.

The features are `core.shortcuts.features`'; the audit of a data set by cross-validation is `core.shortcuts.probes`.

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

from core.calibration import fit_calibration
from core.errors import CoreError
from core.metrics import equal_error_rate
from core.shortcuts.features import MEASURES
from training.data import LabelledSplit, to_float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeScores:
    """One probe, fitted on train, its classifier chosen and calibrated on dev."""

    name: str
    classifier: str
    """Which kind had the lower EER on dev."""
    dev_eer: float
    scores: np.ndarray
    """Calibrated spoof scores of test, nats; all 0 when the probe found nothing on dev."""


PROBES: dict[str, Callable[[torch.Tensor], list[float]]] = {f"probe-{name}": measure for name, measure in MEASURES.items()}
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

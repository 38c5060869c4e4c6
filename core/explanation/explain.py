"""What a detector looked at in a recording: one map over the whole of it, stitched from its windows.

Refuses to judge whether the map means anything: that is `core.explanation.map_tests`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import numpy as np
import torch

from core.audio import SAMPLE_RATE_HZ
from core.checkpoints import Detector
from core.explanation.attributions import window_maps
from core.explanation.detector_views import DetectorView, view_of
from core.explanation.recording_windows import (
    MAX_EXPLAINED_S,
    recording_score,
    refuse_unjudged,
    samples_from,
    segments_of,
    stitch,
    windows_of,
)
from core.explanation.records import (
    DEFAULT_METHOD,
    METHODS,
    TARGETS,
    Explanation,
    ExplanationError,
    Method,
    Target,
    available_methods,
)

__all__ = [
    "MAX_EXPLAINED_S",
    "Explanation",
    "Method",
    "Target",
    "explain",
    "explainable_layers",
    "score_samples",
]


def explain(
    detector: Detector,
    samples: np.ndarray | torch.Tensor,
    *,
    method: Method = DEFAULT_METHOD,
    layer: str | None = None,
    target: Target = "spoof_minus_bona_fide",
) -> Explanation:
    """Where in a recording a detector finds evidence. Threads may call it at once; gradients of one detector take turns.

    Args:
        detector: which one. One made elsewhere has no gradients: only occlusion explains it.
        samples: `[time]` float32 at 16 kHz.
        method: `grad_cam`, `integrated_gradients` or `occlusion`.
        layer: of Grad-CAM, one of `explainable_layers`; the last for None.
        target: evidence for what.

    Raises:
        ExplanationError: the detector cannot be explained so, or the recording is too long.
        AudioRefusal: there is too little sound.
    """
    view = view_of(detector)
    layer = _checked(view, method, layer, target)
    samples = samples_from(samples)
    windows = windows_of(detector, samples)
    refuse_unjudged(windows)
    shown = view.shown(windows.samples[windows.judged])
    segments = segments_of(detector, windows, view.raw_scores(windows.samples[windows.judged], shown))
    saliency, time_s = stitch(window_maps(view, shown, method=method, layer=layer, target=target), windows, view.axes)
    peak = saliency.max()
    return Explanation(
        saliency=saliency / peak if peak > 0 else saliency,
        time_s=time_s,
        rows=np.asarray(view.axes.rows),
        row_label=view.axes.row_label,
        method=method,
        layer=layer,
        target=target,
        detector_name=detector.name,
        detector_hash=detector.hash,
        spoof_score=recording_score(detector, segments),
        segments=segments,
        sample_rate_hz=SAMPLE_RATE_HZ,
        duration_s=windows.duration_s,
        versions=dict(_versions()),
    )


def explainable_layers(detector: Detector) -> tuple[str, ...]:
    """Convolutional layers that Grad-CAM can explain, the deepest last; none of a network made elsewhere."""
    return view_of(detector).layers


def score_samples(detector: Detector, samples: np.ndarray | torch.Tensor) -> float | None:
    """The spoof score of samples `[time]`, as a scan gives it; None where there is too little sound to judge.

    Raises:
        AudioRefusal: too short, or not finite.
    """
    windows = windows_of(detector, samples_from(samples))
    if not any(windows.is_judged):
        return None
    view = view_of(detector)
    judged = windows.samples[windows.judged]
    return recording_score(detector, segments_of(detector, windows, view.raw_scores(judged, view.shown(judged))))


def _checked(view: DetectorView, method: Method, layer: str | None, target: Target) -> str | None:
    """The layer that is meant; raises where the detector cannot be explained so."""
    if method not in METHODS:
        raise ExplanationError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")
    if target not in TARGETS:
        raise ExplanationError(f"unknown target {target!r}; expected one of {', '.join(TARGETS)}")
    detector = view.detector
    if method not in available_methods(detector):
        raise ExplanationError(
            f"{detector.name} was made elsewhere and came as an ONNX graph: its gradients and layers cannot be looked into. "
            "Only the method occlusion explains it."
        )
    if method != "grad_cam":
        if layer is not None:
            raise ExplanationError(f"{method} looks at no layer, and {layer!r} was asked for; leave the layer out.")
        return None
    if not view.layers:
        raise ExplanationError(f"{detector.name} has no convolutional layer; choose integrated_gradients or occlusion.")
    if layer is not None and layer not in view.layers:
        raise ExplanationError(f"{detector.name} has no convolutional layer {layer!r}; it has {', '.join(view.layers)}")
    return layer or view.layers[-1]


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, version(name)) for name in ("captum", "numpy", "onnxruntime", "torch", "torchaudio"))

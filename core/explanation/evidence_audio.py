"""What a map's evidence sounds like, alone and taken away, and what the detector says of a recording without a part.

Masks scale the magnitudes of a short-time spectrum; the phase stays the original one.
"""

from __future__ import annotations

import numpy as np
import torch

from core.audio import SAMPLE_RATE_HZ
from core.checkpoints import Detector
from core.errors import AudioRefusal
from core.explanation import masked_stft
from core.explanation.explain import score_samples
from core.explanation.recording_windows import between, samples_from
from core.explanation.records import CounterfactualScore, EvidenceAudio, Explanation, ExplanationError, TimeFrequencyBox

QUANTILE = 0.9
"""The most salient tenth of the map counts as evidence."""
MAX_GAIN_DB = 30.0
"""A part is raised by no more than this to the recording's level: beyond, noise is all that one would hear."""


def only_evidence(samples: np.ndarray | torch.Tensor, explanation: Explanation, quantile: float = QUANTILE) -> np.ndarray:
    """The salient part of samples `[time]`, at the recording's level; float32.

    Args:
        samples: the explained ones.
        explanation: where the evidence lies. Rows that are no frequencies count by their mean: then it is moments.
        quantile: the share of the map's cells that counts as no evidence.
    """
    samples, mask = _sound_and_mask(samples, explanation, quantile)
    return _levelled(masked_stft.masked(samples, mask), samples)


def without_evidence(samples: np.ndarray | torch.Tensor, explanation: Explanation, quantile: float = QUANTILE) -> np.ndarray:
    """What is left when the salient part is taken away: the complement of `only_evidence`, at the recording's level."""
    samples, mask = _sound_and_mask(samples, explanation, quantile)
    return _levelled(masked_stft.masked(samples, 1 - mask), samples)


def evidence_audio(
    detector: Detector, samples: np.ndarray | torch.Tensor, explanation: Explanation, *, quantile: float = QUANTILE
) -> EvidenceAudio:
    """Both parts, and what the detector says of the recording and of each.

    Raises:
        ExplanationError: the map is of another recording, or the quantile is none.
        AudioRefusal: there is too little sound in the recording.
    """
    only, without = only_evidence(samples, explanation, quantile), without_evidence(samples, explanation, quantile)
    return EvidenceAudio(
        only=only,
        without=without,
        score=_score(detector, samples),
        score_only=score_samples(detector, only),
        score_without=score_samples(detector, without),
        share_of_cells=float(_evidence(explanation, quantile).mean()),
    )


def counterfactual_score(detector: Detector, samples: np.ndarray | torch.Tensor, box: TimeFrequencyBox) -> CounterfactualScore:
    """The recording's score as it is, and with silence in place of what lies in a box.

    Raises:
        ExplanationError: nothing of the recording lies in the box.
        AudioRefusal: there is too little sound in the recording.
    """
    samples = samples_from(samples)
    axes = masked_stft.axes(len(samples))
    hertz, time_s = np.array(axes.rows), np.array(axes.time_s)
    rows, frames = (hertz >= box.low_hz) & (hertz <= box.high_hz), (time_s >= box.start_s) & (time_s <= box.end_s)
    if not rows.any() or not frames.any():
        raise ExplanationError(
            f"Nothing of the recording lies between {box.low_hz:g} and {box.high_hz:g} Hz and {box.start_s:g} and {box.end_s:g} s; "
            f"it has {len(samples) / SAMPLE_RATE_HZ:g} s and {SAMPLE_RATE_HZ // 2:,} Hz."
        )
    mask = torch.from_numpy(1.0 - np.outer(rows, frames)).float()
    return CounterfactualScore(
        score_before=_score(detector, samples), score_after=score_samples(detector, masked_stft.masked(samples, mask))
    )


def _score(detector: Detector, samples: np.ndarray | torch.Tensor) -> float:
    score = score_samples(detector, samples)
    if score is None:
        raise AudioRefusal("no_speech", f"No window of {detector.manifest.window_s:g} s holds enough sound to judge.")
    return score


def _evidence(explanation: Explanation, quantile: float) -> np.ndarray:
    """Which cells are evidence, `[row, frame]` bool."""
    if not 0 < quantile < 1:
        raise ExplanationError(f"the quantile is {quantile:g}; expected a value between 0 and 1, e.g. {QUANTILE}")
    saliency = explanation.saliency
    if not explanation.has_frequencies:
        saliency = np.broadcast_to(saliency.mean(axis=0), saliency.shape)
    return (saliency >= np.quantile(saliency, quantile)) & (saliency > 0)


def _sound_and_mask(
    samples: np.ndarray | torch.Tensor, explanation: Explanation, quantile: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples `[time]` and the evidence as a mask `[bin, frame]` of their spectrum, 0 to 1: its edges are slopes."""
    samples = samples_from(samples)
    if abs(len(samples) / SAMPLE_RATE_HZ - explanation.duration_s) > 1e-6:
        raise ExplanationError(f"the map is of {explanation.duration_s:g} s of audio, not of {len(samples) / SAMPLE_RATE_HZ:g} s")
    axes = masked_stft.axes(len(samples))
    evidence = _evidence(explanation, quantile).astype(np.float32)
    time_s, hertz = np.array(axes.time_s), np.array(axes.rows)
    evidence = between(np.interp(time_s, explanation.time_s, np.arange(len(explanation.time_s))), evidence)
    if not explanation.has_frequencies:
        return samples, torch.from_numpy(np.broadcast_to(evidence[0], (len(hertz), len(time_s))).astype(np.float32))
    mask = between(np.interp(hertz, explanation.rows, np.arange(len(explanation.rows))), evidence.T).T
    # What lies above the rows the detector never saw: it is no evidence.
    top_hz = explanation.rows[-1] + (explanation.rows[-1] - explanation.rows[-2]) / 2
    return samples, torch.from_numpy(mask * (hertz <= top_hz)[:, None]).float()


def _levelled(part: torch.Tensor, whole: torch.Tensor) -> np.ndarray:
    """A part at the level of the whole, but below full scale."""
    level = float(part.square().mean().sqrt())
    if level == 0:
        return part.numpy()
    gain = min(float(whole.square().mean().sqrt()) / level, 10 ** (MAX_GAIN_DB / 20))
    peak = float(part.abs().max())
    return (part * min(gain, max(1.0, float(whole.abs().max())) / peak)).float().numpy()

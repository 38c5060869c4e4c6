"""Scoring a labelled split, in the same windows as serving, and the figures that a model card prints."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from core.calibration import Thresholds
from core.checkpoints import Figure
from core.metrics import Interval, balanced_accuracy, bootstrap_interval, equal_error_rate, log_likelihood_ratio_cost
from core.models import raw_scores
from core.segments import split_windows
from training.data import LabelledSplit, to_float

MIN_PER_GROUP = 5
"""Attacks and families with fewer recordings get no figure of their own."""


@torch.inference_mode()
def score_split(model: torch.nn.Module, front_end: torch.nn.Module, split: LabelledSplit, *, batch_size: int = 64) -> np.ndarray:
    """Raw spoof score of each recording: the mean over its windows, `[recording]`."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    windows = [split_windows(to_float(samples)) for samples in split.samples]
    owners = torch.repeat_interleave(torch.arange(len(windows)), torch.tensor([len(w) for w in windows]))
    scores = []
    for batch in torch.cat(windows).split(batch_size):
        image = front_end(batch.to(device)).contiguous(memory_format=torch.channels_last)
        scores.append(raw_scores(model(image).float()).cpu())
    model.train(was_training)
    sums = torch.zeros(len(windows)).index_add(0, owners, torch.cat(scores))
    return (sums / torch.bincount(owners)).numpy()


def figures_of(name: str, scores: np.ndarray, split: LabelledSplit) -> tuple[Figure, ...]:
    """All figures of one split: pooled, within sources, by knowledge of the system, by family.

    Args:
        name: what to call the split.
        scores: calibrated spoof scores, `[recording]`, all finite.
        split: labels, speakers, sources and attacks in the same order.

    Intervals are bootstraps over speakers, for the mean within sources over sources.
    """
    spoof = split.is_spoof
    everything = np.ones(len(scores), dtype=bool)
    figures = [
        pooled_eer(name, "EER", scores, split),
        _figure(name, "balanced accuracy at 0", balanced_accuracy, scores, split, everything),
        _figure(name, "Cllr (bits)", log_likelihood_ratio_cost, scores, split, everything),
        *_within_sources(name, scores, split),
    ]
    known = np.array(split.known_systems)
    for label, chosen in (("known systems", spoof & known), ("unknown systems", spoof & ~known)):
        if chosen.any():
            figures.append(_figure(name, f"EER, {label}", _eer, scores, split, chosen | ~spoof))
    figures += [_figure(name, f"EER, {family}", _eer, scores, split, mask) for family, mask in _masks(split.families, spoof)]
    return tuple(figures)


def pooled_eer(split_name: str, name: str, scores: np.ndarray, split: LabelledSplit) -> Figure:
    """EER over all of a split, with its interval over speakers."""
    return _figure(split_name, name, _eer, scores, split, np.ones(len(scores), dtype=bool))


def attack_figures(name: str, scores: np.ndarray, split: LabelledSplit) -> tuple[Figure, ...]:
    """EER of each attack with at least `MIN_PER_GROUP` recordings against all bona fide, by attack."""
    attacks = tuple(trial.attack or "-" for trial in split.trials)
    masks = _masks(attacks, split.is_spoof)
    return tuple(_figure(name, attack, _eer, scores, split, mask, num_resamples=300) for attack, mask in masks)


def verdict_shares(scores: np.ndarray, is_spoof: np.ndarray, thresholds: Thresholds) -> dict[str, tuple[float, float, float]]:
    """Label -> shares called bona fide, inconclusive and spoof."""
    shares = {}
    for label, chosen in (("bona fide", ~is_spoof), ("spoof", is_spoof)):
        below, above = float((scores[chosen] < thresholds.lower).mean()), float((scores[chosen] >= thresholds.upper).mean())
        shares[label] = (below, 1 - below - above, above)
    return shares


def _eer(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    return equal_error_rate(scores, is_spoof)[0]


def _figure(
    split_name: str, name: str, figure, scores: np.ndarray, split: LabelledSplit, mask: np.ndarray, *, num_resamples: int = 1_000
) -> Figure:
    spoof = split.is_spoof[mask]
    interval = bootstrap_interval(figure, scores[mask], spoof, groups=split.speakers[mask], num_resamples=num_resamples)
    return _as_figure(split_name, name, interval, spoof)


def _within_sources(name: str, scores: np.ndarray, split: LabelledSplit) -> Iterator[Figure]:
    """Mean of the EERs inside each source that has both labels, with a bootstrap over sources; nothing where none has."""
    groups, spoof = np.array(split.groups), split.is_spoof
    both = sorted({g for g, s in zip(groups, spoof) if s} & {g for g, s in zip(groups, spoof) if not s})
    if not both:
        return
    values = np.array([_eer(scores[groups == group], spoof[groups == group]) for group in both])
    means = np.random.default_rng(0).choice(values, size=(1_000, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    interval = Interval(value=float(values.mean()), low=float(low), high=float(high))
    yield _as_figure(name, f"EER, mean within {len(both)} sources", interval, spoof[np.isin(groups, both)])


def _masks(groups: tuple[str, ...], spoof: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Each group of spoofs that is large enough, with the mask of it and all bona fide."""
    for group in sorted({g for g, s in zip(groups, spoof) if s}):
        chosen = spoof & (np.array(groups) == group)
        if chosen.sum() >= MIN_PER_GROUP:
            yield group, chosen | ~spoof


def _as_figure(split: str, name: str, interval: Interval, spoof: np.ndarray) -> Figure:
    return Figure(
        split=split,
        name=name,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        num_bona_fide=int((~spoof).sum()),
        num_spoof=int(spoof.sum()),
    )

"""Scoring a labelled split, in the same windows as serving, and the figures that cards and reports print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import torch

from core.calibration import Thresholds
from core.checkpoints import Detector, Figure
from core.evaluation.resampling import Interval, bootstrap_interval, bootstrap_mean
from core.evaluation.tandem import AsvErrorRates
from core.evaluation.weighted_figures import (
    WeightedFigure,
    weighted_accuracy,
    weighted_area_under_curve,
    weighted_balanced_accuracy,
    weighted_cllr,
    weighted_eer,
    weighted_min_tandem_cost,
)
from core.metrics import equal_error_rate
from core.models import raw_scores
from core.quality import has_sound
from core.reports import figure_words
from core.segments import split_windows
from training.data import LabelledSplit, to_float

MIN_PER_GROUP = 5
"""Attacks and families with fewer recordings get no figure of their own."""


class Labelled(Protocol):
    """What figures need: a table with `label`, `attack`, `speaker`, `group`, `family`, `known_system`.

    A `training.data.LabelledSplit` and a `training.scores.SystemScores` both have it.
    """

    @property
    def index(self) -> pd.DataFrame:
        """One row per recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A detector measured on a split."""

    scores: np.ndarray
    """Calibrated spoof score of each recording, nats."""
    figures: tuple[Figure, ...]
    by_attack: tuple[Figure, ...]


def evaluate(detector: Detector, split: LabelledSplit, *, asv: AsvErrorRates | None = None) -> Evaluation:
    """Scores a split with an installed detector and measures it.

    Args:
        asv: the speaker verifier for the t-DCF; None where the corpus has none.

    Raises:
        CoreError: the split has one class only, or the detector is damaged.
    """
    manifest = detector.manifest
    raw = score_split(detector.load_model(), detector.build_front_end(), split, aggregate=manifest.aggregate)
    scores = manifest.calibration.slope * raw + manifest.calibration.offset
    return Evaluation(
        scores=scores,
        figures=figures_of(split.name, scores, split, asv=asv),
        by_attack=attack_figures(split.name, scores, split),
    )


@torch.inference_mode()
def score_split(
    model: torch.nn.Module, front_end: torch.nn.Module, split: LabelledSplit, *, batch_size: int = 64, aggregate: str = "mean"
) -> np.ndarray:
    """Raw spoof score of each recording, `[recording]`: the mean (or max) over its windows.

    Only one batch of windows is held at a time, so that a split of any size needs no more memory than its samples.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    scores, owners = [], []
    for windows, owner in window_batches(split, batch_size):
        shown = front_end(windows.to(device))
        shown = shown.contiguous(memory_format=torch.channels_last) if shown.ndim == 4 else shown  # a fusion is shown the samples
        scores.append(raw_scores(model(shown).float()).cpu())
        owners.append(owner)
    model.train(was_training)
    if not scores:
        return np.zeros(0, dtype=np.float32)
    reduce = "amax" if aggregate == "max" else "mean"
    of_recordings = torch.zeros(len(split)).scatter_reduce(0, torch.cat(owners), torch.cat(scores), reduce, include_self=False)
    return of_recordings.numpy()


def figures_of(name: str, scores: np.ndarray, split: Labelled, *, asv: AsvErrorRates | None = None) -> tuple[Figure, ...]:
    """All figures of one split: pooled, within sources, by knowledge of the system, by family.

    Args:
        name: what to call the split.
        scores: calibrated spoof scores, `[recording]`, all finite.
        split: labels, speakers, sources and attacks in the same order.
        asv: the speaker verifier for the min t-DCF, which is left out without one.

    Intervals are bootstraps over speakers, for the mean within sources over sources.
    """
    spoof, known = is_spoof(split), split.index["known_system"]
    pooled = {
        "EER": weighted_eer,
        "accuracy at 0": weighted_accuracy,
        "balanced accuracy at 0": weighted_balanced_accuracy,
        "AUC": weighted_area_under_curve,
        "Cllr (bits)": weighted_cllr,
    }
    if asv is not None:
        pooled["min t-DCF"] = weighted_min_tandem_cost(asv)
    everything = np.ones(len(scores), dtype=bool)
    figures = [_figure(name, title, figure, scores, split, everything) for title, figure in pooled.items()]
    figures += _within_sources(name, scores, split)
    for title, value in (("known systems", True), ("unknown systems", False)):
        chosen = spoof & (known == value).fillna(False).to_numpy(dtype=bool)
        if chosen.any():
            figures.append(_figure(name, f"EER, {title}", weighted_eer, scores, split, chosen | ~spoof))
    families = _masks(split.index["family"], spoof)
    figures += [_figure(name, f"EER, {family}", weighted_eer, scores, split, mask) for family, mask in families]
    return tuple(figures)


def pooled_eer(split_name: str, name: str, scores: np.ndarray, split: Labelled) -> Figure:
    """EER over all of a split, with its interval over speakers."""
    return _figure(split_name, name, weighted_eer, scores, split, np.ones(len(scores), dtype=bool))


def attack_figures(name: str, scores: np.ndarray, split: Labelled) -> tuple[Figure, ...]:
    """EER of each attack with at least `MIN_PER_GROUP` recordings against all bona fide, by attack."""
    masks = _masks(split.index["attack"], is_spoof(split))
    return tuple(_figure(name, attack, weighted_eer, scores, split, mask) for attack, mask in masks)


def within_source_eers(scores: np.ndarray, split: Labelled) -> dict[str, float]:
    """Source -> EER inside it, of every source that has both labels, by name."""
    groups, spoof = split.index["group"].to_numpy(dtype=str), is_spoof(split)
    both = np.intersect1d(groups[spoof], groups[~spoof])
    return {str(group): equal_error_rate(scores[groups == group], spoof[groups == group])[0] for group in both}


def is_spoof(split: Labelled) -> np.ndarray:
    """`[recording]` bool."""
    return (split.index["label"] == "spoof").to_numpy(dtype=bool)


def figure_lines(evaluation: Evaluation) -> list[str]:
    """All figures as lines of text for a terminal: name, value, 95 % interval, how many bona fide and spoofs."""
    rows = [("", "value", "95 % interval", "bona fide", "spoof")]
    for prefix, figures in (("", evaluation.figures), ("EER of ", evaluation.by_attack)):
        rows += [
            (prefix + figure.name, *figure_words(figure), f"{figure.num_bona_fide:,}", f"{figure.num_spoof:,}")
            for figure in figures
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))]) for row in rows]


def verdict_shares(scores: np.ndarray, is_spoof: np.ndarray, thresholds: Thresholds) -> dict[str, tuple[float, float, float]]:
    """Label -> shares called bona fide, inconclusive and spoof."""
    shares = {}
    for label, chosen in (("bona fide", ~is_spoof), ("spoof", is_spoof)):
        below, above = float((scores[chosen] < thresholds.lower).mean()), float((scores[chosen] >= thresholds.upper).mean())
        shares[label] = (below, 1 - below - above, above)
    return shares


def window_batches(split: LabelledSplit, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Windows `[batch, 64000]` of all recordings in order, and which recording each is of, `[batch]`."""
    windows: list[torch.Tensor] = []
    owners: list[int] = []
    for i in range(len(split)):
        every = split_windows(to_float(split.recording(i)))
        # As in serving: only windows with enough sound are judged.
        for window in [window for window in every if has_sound(window)] or every:
            windows.append(window)
            owners.append(i)
            if len(windows) == batch_size:
                yield torch.stack(windows), torch.tensor(owners)
                windows, owners = [], []
    if windows:
        yield torch.stack(windows), torch.tensor(owners)


def _figure(split_name: str, name: str, figure: WeightedFigure, scores: np.ndarray, split: Labelled, mask: np.ndarray) -> Figure:
    spoof, speakers = is_spoof(split)[mask], split.index["speaker"].to_numpy(dtype=str)[mask]
    return _as_figure(split_name, name, bootstrap_interval(figure, scores[mask], spoof, groups=speakers), spoof)


def _within_sources(name: str, scores: np.ndarray, split: Labelled) -> Iterator[Figure]:
    """Mean of the EERs inside each source that has both labels, with a bootstrap over sources; nothing where none has."""
    eers = within_source_eers(scores, split)
    if eers:
        chosen = split.index["group"].isin(eers).to_numpy(dtype=bool)
        interval = bootstrap_mean(np.array(list(eers.values())))
        yield _as_figure(name, f"EER, mean within {len(eers)} sources", interval, is_spoof(split)[chosen])


def _masks(column: pd.Series, spoof: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Each value of the column with enough spoofs, with the mask of those and all bona fide."""
    values = column.where(spoof)
    for value, num in sorted(values.value_counts().items()):
        if num >= MIN_PER_GROUP:
            yield str(value), (values == value).to_numpy(dtype=bool, na_value=False) | ~spoof


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

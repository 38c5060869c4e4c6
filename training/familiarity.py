"""Statistics of what a detector was trained on, and what the warning of unfamiliar recordings is worth: fitted, measured, written.

Means and directions come from train, the limit from dev; test is only reported. Changes no detector.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from core.calibration import Calibration
from core.checkpoints import Detector, Figure
from core.detect import aggregate_scores
from core.errors import DetectorError
from core.evaluation.resampling import bootstrap_intervals, most_unseen
from core.evaluation.weighted_figures import FigureOfWeights, WeightedFigure
from core.familiarity import (
    POOLED,
    WARNED,
    WRONG_MORE,
    WRONG_OTHERS,
    WRONG_WARNED,
    Familiarity,
    save_familiarity,
)
from core.records import is_unfamiliar
from core.runtime import EmbeddingScorer, open_embedding_session
from core.stress.conditions import CONDITIONS, Condition, apply_condition
from core.whole_files import replace_file
from training.data import LabelledSplit, load_split, split_names, to_float, to_int16
from training.evaluate import window_batches

LIMIT_SHARE = 0.95
"""So that 5 % of recordings like those of dev are warned of."""
NUM_DIRECTIONS = 128
"""Those of the largest variance within the classes. Chosen, as the shrinkage and the means per class, because for both shipped
detectors they separated dev from dev under eight conditions best, among: 32 to all directions, shrinkages of 0 to 0.5, one mean for
both classes, relative distances (Ren et al. 2021), nearest neighbours (Sun et al. 2022), and means over frequencies too."""
SHRINKAGE = 0.1
"""Of the variances towards their mean."""
CONDITIONS_MEASURED = (
    "phone_g711_alaw", "phone_gsm", "mp3_16k", "opus_8k", "noise_white_10db", "noise_babble_5db", "room_large", "speed_1.1",
)  # fmt: skip
"""The same eight: strong ones of the families that change what is heard."""
_BATCH_WINDOWS = 16
_MIN_COMPARED = 10
"""Errors with and without a warning are compared where there are so many recordings of each."""


def add_familiarity(
    detector: Detector,
    data: Path,
    *,
    network: EmbeddingScorer | None = None,
    results_out: Path | None = None,
    say: Callable[[str], None] = print,
) -> Familiarity:
    """Writes the statistics into a detector's folder, with what the warning is worth on test where there is one.

    Args:
        detector: one of ours.
        data: folder that `prepare` wrote, with what it was trained on.
        network: its network, opened already; opened in ONNX Runtime when None.
        results_out: folder for what was measured under conditions besides (`NAME.json`); None leaves conditions out.
        say: told of each step.

    Raises:
        CoreError: no prepared data, no train or dev in it, a network without an embedding, or a folder that cannot be written.
    """
    if detector.is_foreign:
        raise DetectorError(f"{detector.name} was made elsewhere: what it was trained on and what its layers see is not known.")
    network, front_end = network or open_embedding_session(detector), detector.build_front_end()
    fast = detector.branches[0]  # of a fusion: its embeddings are what is asked for
    embedder = (open_embedding_session(fast), fast.build_front_end()) if detector.manifest.branches else (network, front_end)
    familiarity = fit_familiarity(*embedder, load_split(data, "train"), load_split(data, "dev"), detector.hash)
    say(f"{detector.name}: distances from {familiarity.data['train'][:12]}, the limit is {familiarity.limit:.2f}")
    if "test" in split_names(data):
        conditions = [CONDITIONS[name] for name in CONDITIONS_MEASURED] if results_out else []
        figures = measure_warning(network, front_end, load_split(data, "test"), familiarity, detector, conditions, say=say)
        familiarity = replace(familiarity, figures=tuple(figure for figure in figures if figure.split in ("test", POOLED)))
        if results_out:
            _write_results(results_out / f"{detector.name}.json", detector, familiarity, figures)
    save_familiarity(detector.folder, familiarity)
    return familiarity


def fit_familiarity(
    network: EmbeddingScorer, front_end: torch.nn.Module, train: LabelledSplit, dev: LabelledSplit, detector_hash: str
) -> Familiarity:
    """Class means and the whitening of what is left on train, and the limit that `LIMIT_SHARE` of dev's recordings keep."""
    _, embeddings, owners = embed_split(network, front_end, train)
    kinds = torch.from_numpy(train.is_spoof)[owners].long()
    means = torch.stack([embeddings[kinds == kind].double().mean(dim=0) for kind in (0, 1)])
    within = embeddings.double() - means[kinds]
    variances, directions = torch.linalg.eigh(within.T @ within / len(within))
    shrunk = (1 - SHRINKAGE) * variances + SHRINKAGE * variances.mean()
    whitening = (directions / shrunk.sqrt())[:, -NUM_DIRECTIONS:]  # eigenvalues rise
    unscaled = Familiarity(
        detector_hash=detector_hash,
        means=means.float(),
        whitening=whitening.float().contiguous(),
        limit=1.0,
        limit_share=LIMIT_SHARE,
        data={"train": train.data_hash, "dev": dev.data_hash},
    )
    _, embeddings, owners = embed_split(network, front_end, dev)
    distances = _of_recordings(unscaled.distances(embeddings), owners, "mean")
    return replace(unscaled, limit=float(np.quantile(distances, LIMIT_SHARE)))


@torch.inference_mode()
def embed_split(
    network: EmbeddingScorer, front_end: torch.nn.Module, split: LabelledSplit
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Raw scores `[window]`, embeddings `[window, size]`, and which recording each window of serving is of, `[window]`."""
    found = [(*network(front_end(windows)), owner) for windows, owner in window_batches(split, _BATCH_WINDOWS)]
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def measure_warning(
    network: EmbeddingScorer,
    front_end: torch.nn.Module,
    test: LabelledSplit,
    familiarity: Familiarity,
    detector: Detector,
    conditions: Sequence[Condition] = (),
    *,
    say: Callable[[str], None] = print,
) -> tuple[Figure, ...]:
    """How often recordings are warned of, as they are and under conditions, and how often calls at a score of 0 are wrong then.

    Args:
        test: a split that neither statistics nor limit saw.
        detector: whose calibration and aggregate count.
        conditions: under which it is measured besides; the last figures are of all of them together.
        say: told after each.
    """
    told: list[Figure] = []
    changed: list[tuple[np.ndarray, np.ndarray]] = []
    for condition in (None, *conditions):
        split = test if condition is None else _changed(test, condition)
        raw, embeddings, owners = embed_split(network, front_end, split)
        calibration: Calibration = detector.manifest.calibration
        scores = calibration.slope * _of_recordings(raw, owners, detector.manifest.aggregate) + calibration.offset
        distances = _of_recordings(familiarity.distances(embeddings), owners, "mean")
        told += warning_figures(test.name if condition is None else condition.title, scores, distances, test)
        warned = next(figure for figure in reversed(told) if figure.name == WARNED)
        say(f"{detector.name}, {warned.split}: {warned.value:.1%} warned of ({warned.low:.1%} to {warned.high:.1%})")
        if condition is not None:
            changed.append((scores, distances))
    if changed:
        told += warning_figures(POOLED, *map(np.concatenate, zip(*changed, strict=True)), test)
    return tuple(told)


def warning_figures(name: str, scores: np.ndarray, distances: np.ndarray, split: LabelledSplit) -> list[Figure]:
    """The figures of `core.familiarity` on a split, or on it several times over, with intervals over speakers.

    Args:
        name: what the figures are of.
        scores: calibrated, `[recording]`, or those of the same recordings changed in several ways, one after another.
        distances: in limits, in the same order.
    """
    times = len(scores) // len(split)
    is_spoof, speakers = np.tile(split.is_spoof, times), np.tile(split.speakers, times)
    warned, wrong = np.array([is_unfamiliar(distance) for distance in distances]), (scores >= 0) != is_spoof

    def share(part: np.ndarray, whole: np.ndarray) -> WeightedFigure:
        return lambda *_: lambda weights: weights @ (part & whole) / (weights @ whole)

    def more(*trials: np.ndarray) -> FigureOfWeights:
        first, second = (share(wrong, whole)(*trials) for whole in (warned, ~warned))
        return lambda weights: first(weights) - second(weights)

    everyone = np.ones(len(warned), dtype=bool)
    shares = {WARNED: (warned, everyone), f"{WARNED}, bona fide": (warned, ~is_spoof), f"{WARNED}, spoofs": (warned, is_spoof)}
    shares |= {WRONG_WARNED: (wrong, warned), WRONG_OTHERS: (wrong, ~warned)}
    shares = {which: (part, whole) for which, (part, whole) in shares.items() if whole.any()}
    figures = {which: share(*masks) for which, masks in shares.items()}
    if min(warned.sum(), (~warned).sum()) >= _MIN_COMPARED:
        figures[WRONG_MORE] = more
    with np.errstate(invalid="ignore"):  # a resample may lack all that are warned of: it is left out
        found = bootstrap_intervals(figures, scores, is_spoof, groups=speakers)
    for which, (part, whole) in shares.items():
        unseen = most_unseen(len(np.unique(speakers[whole])))
        if not (part & whole).any():
            found[which] = replace(found[which], high=unseen)
        elif (part | ~whole).all():
            found[which] = replace(found[which], low=1 - unseen)
    counts = {"num_bona_fide": int((~is_spoof).sum()), "num_spoof": int(is_spoof.sum())}
    return [Figure(split=name, name=which, **asdict(interval), **counts) for which, interval in found.items()]


def _changed(split: LabelledSplit, condition: Condition) -> LabelledSplit:
    """A split with every recording under a condition, the same at each call."""
    changed = []
    for number, utterance in enumerate(split.index["utterance"]):
        samples = to_float(split.recording(number)).numpy()
        changed.append(to_int16(torch.from_numpy(apply_condition(samples, condition, seed=zlib.crc32(utterance.encode())))))
    lengths = torch.tensor([len(samples) for samples in changed])
    return replace(split, samples=torch.cat(changed), starts=lengths.cumsum(0) - lengths, lengths=lengths)


def _of_recordings(values: torch.Tensor, owners: torch.Tensor, aggregate: str) -> np.ndarray:
    """`[recording]` from `[window]`, whose recordings come one after another."""
    parts = torch.split(values, torch.bincount(owners).tolist())
    return np.array([aggregate_scores(part.tolist(), aggregate) for part in parts])


def _write_results(path: Path, detector: Detector, familiarity: Familiarity, figures: Sequence[Figure]) -> None:
    content = {
        "detector": detector.name,
        "detector_hash": detector.hash,
        "limit_share": familiarity.limit_share,
        "data": familiarity.data,
        "figures": [asdict(figure) for figure in figures],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise DetectorError(f"{path} cannot be written: {error.strerror}") from None

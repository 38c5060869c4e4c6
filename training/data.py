"""A labelled split in memory: int16 samples, labels, attacks, speakers; and balanced random crops of it."""

from __future__ import annotations

import csv
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.audio import SAMPLE_RATE_HZ, load
from core.errors import CoreError
from core.features import WINDOW_SAMPLES
from core.protocols import Trial, read_protocol
from core.quality import ACTIVE_DB, FRAME_SAMPLES, frame_levels_db

SPLITS = ("train", "dev", "test")
_MAX_TRIM_RANGE_DB = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSplit:
    """Decoded recordings of one split, all arrays in one order."""

    trials: tuple[Trial, ...]
    paths: tuple[Path, ...]
    samples: tuple[torch.Tensor, ...]
    """int16 `[time]` at 16 kHz each."""
    groups: tuple[str, ...]
    """Where a recording came from: the corpus table's `source`, else its attack or label."""
    families: tuple[str, ...]
    """Kind of attack by the corpus table (`tts-neural` ...); `recording` for bona fide."""
    known_systems: tuple[bool, ...]
    """Whether the attack's system also occurs in train."""
    data_hash: str
    """SHA-256 over utterance, label and samples: the identity of what was trained on."""

    @property
    def is_spoof(self) -> np.ndarray:
        """`[recording]` bool."""
        return np.array([trial.label == "spoof" for trial in self.trials])

    @property
    def speakers(self) -> np.ndarray:
        """`[recording]` speaker ids."""
        return np.array([trial.speaker for trial in self.trials])


def corpus_root() -> Path:
    """The corpus folder: `EARWITNESS_CORPUS`, or `../shared/corpus`."""
    return Path(os.environ.get("EARWITNESS_CORPUS", "../shared/corpus"))


def load_split(corpus: Path, split: str) -> LabelledSplit:
    """Decodes `corpus/SPLIT/*` as listed in `corpus/protocols/EW.SPLIT.txt`.

    Raises:
        CoreError: no such corpus, or audio that the protocol names is missing.
    """
    protocol = corpus / "protocols" / f"EW.{split}.txt"
    if not protocol.is_file():
        raise CoreError(f"No protocol at {protocol}. Set EARWITNESS_CORPUS to the corpus folder, or pass --corpus.")
    trials = tuple(read_protocol(protocol).values())
    files = {path.stem: path for path in (corpus / split).iterdir()}
    missing = [trial.utterance for trial in trials if trial.utterance not in files]
    if missing:
        raise CoreError(f"{len(missing)} recordings of {protocol} are missing in {corpus / split}, the first is {missing[0]}.")
    paths = tuple(files[trial.utterance] for trial in trials)
    with ThreadPoolExecutor() as pool:
        samples = tuple(pool.map(_load_int16, paths))
    table = _corpus_table(protocol.with_suffix(".csv"))
    rows = [table.get(trial.utterance, {}) for trial in trials]
    digest = hashlib.sha256()
    for trial, audio in zip(trials, samples, strict=True):
        digest.update(f"{trial.utterance} {trial.label}\n".encode() + audio.numpy().tobytes())
    return LabelledSplit(
        trials=trials,
        paths=paths,
        samples=samples,
        groups=tuple(row.get("source") or trial.attack or trial.label for row, trial in zip(rows, trials, strict=True)),
        families=tuple(row.get("family") or "unknown" for row in rows),
        known_systems=tuple(row.get("known_system") == "True" for row in rows),
        data_hash=digest.hexdigest(),
    )


def balanced_weights(split: LabelledSplit) -> torch.Tensor:
    """Sampling weight of each recording, `[recording]`: both classes equally often, large sources damped.

    Within a class a source of n recordings gets a total weight of sqrt(n), so that a collection of hundreds does
    not drown the pages that hold both classes.
    """
    keys = [(bool(spoof), group) for spoof, group in zip(split.is_spoof, split.groups, strict=True)]
    counts = {key: keys.count(key) for key in set(keys)}
    weights = torch.tensor([counts[key] ** -0.5 for key in keys], dtype=torch.float64)
    for spoof in (False, True):
        chosen = torch.from_numpy(split.is_spoof == spoof)
        weights[chosen] /= weights[chosen].sum()
    return weights


def random_crop(samples: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A window `[64000]` float32 from int16 `[time]`: edge silence trimmed by chance, then cropped or repeated."""
    if rng.random() < 0.75:
        samples = trim_edges(samples, keep_s=rng.uniform(0.0, 0.1), range_db=rng.uniform(25.0, _MAX_TRIM_RANGE_DB))
    if len(samples) > WINDOW_SAMPLES:
        start = int(rng.integers(len(samples) - WINDOW_SAMPLES + 1))
        samples = samples[start : start + WINDOW_SAMPLES]
    else:
        # Some crops are shorter than the recording, so that its duration is no cue.
        length = int(len(samples) * rng.uniform(0.6, 1.0)) if rng.random() < 0.5 else len(samples)
        start = int(rng.integers(len(samples) - length + 1))
        samples = samples[start : start + length].repeat(-(-WINDOW_SAMPLES // max(1, length)))
        shift = int(rng.integers(WINDOW_SAMPLES)) if rng.random() < 0.5 else 0
        samples = samples.roll(-shift)[:WINDOW_SAMPLES]
    return to_float(samples)


def trim_edges(samples: torch.Tensor, *, keep_s: float, range_db: float) -> torch.Tensor:
    """Cuts leading and trailing frames more than `range_db` below the loudest, keeping `keep_s` at each edge."""
    levels = frame_levels_db(to_float(samples))
    active = torch.nonzero(levels > max(ACTIVE_DB, float(levels.max()) - range_db)).flatten()
    if not len(active):
        return samples
    keep = int(keep_s * SAMPLE_RATE_HZ)
    first, last = int(active[0]) * FRAME_SAMPLES - keep, (int(active[-1]) + 1) * FRAME_SAMPLES + keep
    return samples[max(0, first) : last]


def to_int16(samples: torch.Tensor) -> torch.Tensor:
    """Samples in -1 to 1 as int16, what is beyond clipped."""
    return (samples * 32_768).round().clamp(-32_768, 32_767).to(torch.int16)


def to_float(samples: torch.Tensor) -> torch.Tensor:
    """int16 as float32 in -1 to 1."""
    return samples.float() / 32_768


def _load_int16(path: Path) -> torch.Tensor:
    return to_int16(load(path)[0])


def _corpus_table(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        return {row["utt"]: row for row in csv.DictReader(file)}

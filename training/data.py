"""A labelled split of a prepared folder, memory-mapped: int16 samples, labels, attacks, speakers; and sampling weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from core.errors import CoreError

SPLITS = ("train", "dev", "test")
"""What a prepared folder may hold; ASVspoof's eval is `test`."""
SCHEMA_VERSION = 1
SAMPLES_FILE, INDEX_FILE, MANIFEST_FILE = "samples.i16", "index.parquet", "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSplit:
    """Recordings of one split, all arrays in one order."""

    name: str
    """One of `SPLITS`."""
    index: pd.DataFrame
    """A row per recording: utterance, path, label, attack, speaker, group, family, known_system, ..."""
    samples: torch.Tensor
    """int16 `[time]` at 16 kHz, all recordings one after another."""
    starts: torch.Tensor
    """int64 `[recording]`: where in `samples` each begins."""
    lengths: torch.Tensor
    """int64 `[recording]`: how many samples each has."""
    data_hash: str
    """SHA-256 over utterance, label and samples: the identity of what was trained on."""

    def __len__(self) -> int:
        return len(self.index)

    def recording(self, number: int) -> torch.Tensor:
        """int16 `[time]` of one recording."""
        start = int(self.starts[number])
        return self.samples[start : start + int(self.lengths[number])]

    @property
    def is_spoof(self) -> np.ndarray:
        """`[recording]` bool."""
        return (self.index["label"] == "spoof").to_numpy(copy=True)

    @property
    def speakers(self) -> np.ndarray:
        """`[recording]` speaker ids."""
        return self.index["speaker"].to_numpy(dtype=object)

    @property
    def groups(self) -> np.ndarray:
        """`[recording]`: the page or collection a recording came from, else its attack or label."""
        return self.index["group"].to_numpy(dtype=object)


def by_corpus(split: LabelledSplit) -> dict[str, np.ndarray]:
    """Which recordings are of each corpus, `[recording]` bool, by the names of its figures: `test` of the first, then `test2`."""
    corpora = split.index["corpus"].to_numpy(dtype=str)
    names = list(dict.fromkeys(corpora))
    return {split.name if number == 1 else f"{split.name}{number}": corpora == name for number, name in enumerate(names, 1)}


def chosen_of(split: LabelledSplit, chosen: np.ndarray) -> LabelledSplit:
    """The chosen recordings of a split, `[recording]` bool; the samples stay where they are."""
    rows = torch.from_numpy(chosen)
    index = split.index[chosen].reset_index(drop=True)
    return replace(split, index=index, starts=split.starts[rows], lengths=split.lengths[rows])


def load_split(folder: Path, split: str) -> LabelledSplit:
    """Opens one split of a folder made by `python -m training prepare`; its samples are mapped, not read.

    Raises:
        CoreError: not a finished prepared folder, of another version, damaged, or without that split.
    """
    manifest_path = folder / MANIFEST_FILE
    if not manifest_path.is_file():
        raise CoreError(
            f"{folder} is no prepared data (no {MANIFEST_FILE}). First run `python -m training prepare SOURCE {folder}`."
        )
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        version = manifest.get("schema_version")
        index = pd.read_parquet(folder / INDEX_FILE) if version == SCHEMA_VERSION else None
        num_there = (folder / SAMPLES_FILE).stat().st_size // 2 if version == SCHEMA_VERSION else 0
    except (ValueError, OSError, AttributeError) as error:  # AttributeError: the manifest is no object
        raise CoreError(f"{folder} is damaged ({error}); prepare it again.") from None
    if index is None:
        raise CoreError(f"{folder} has schema version {version}; this program reads {SCHEMA_VERSION}.")
    index = index[index["split"] == split].reset_index(drop=True)
    if not len(index):
        raise CoreError(f"{folder} holds no recordings of the split {split!r}; it has {', '.join(manifest['data_hash'])}.")
    first, end = int(index["start"].min()), int((index["start"] + index["num_samples"]).max())
    if end > num_there:
        raise CoreError(f"{folder / SAMPLES_FILE} holds {num_there:,} samples and {end:,} are expected; prepare it again.")
    # Mapped copy-on-write: torch takes only writable arrays, and nothing writes.
    mapped = np.memmap(folder / SAMPLES_FILE, dtype="<i2", mode="c", offset=2 * first, shape=(end - first,))
    return LabelledSplit(
        name=split,
        index=index,
        samples=torch.from_numpy(mapped),
        starts=torch.from_numpy(index["start"].to_numpy(dtype=np.int64) - first),
        lengths=torch.from_numpy(index["num_samples"].to_numpy(dtype=np.int64, copy=True)),
        data_hash=manifest["data_hash"][split],
    )


def split_names(folder: Path) -> tuple[str, ...]:
    """The splits that a prepared folder holds, which `load_split` has opened one of before."""
    return tuple(json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["data_hash"])


def balanced_weights(split: LabelledSplit) -> torch.Tensor:
    """Sampling weight of each recording, `[recording]`: both classes equally often, large sources damped.

    Within a class a source of n recordings gets a total weight of sqrt(n), so that a collection of hundreds does
    not drown the pages that hold both classes.
    """
    keys = pd.Series(split.index["label"].astype(str) + "\n" + split.index["group"].astype(str))
    weights = torch.from_numpy(keys.map(keys.value_counts()).to_numpy(dtype=np.float64) ** -0.5)
    for spoof in (False, True):
        chosen = torch.from_numpy(split.is_spoof == spoof)
        weights[chosen] /= weights[chosen].sum()
    return weights


def to_int16(samples: torch.Tensor) -> torch.Tensor:
    """Samples in -1 to 1 as int16, what is beyond clipped."""
    return (samples * 32_768).round().clamp(-32_768, 32_767).to(torch.int16)


def to_float(samples: torch.Tensor) -> torch.Tensor:
    """int16 as float32 in -1 to 1."""
    return samples.float() / 32_768

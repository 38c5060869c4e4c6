"""Training recordings that have been through real codings: telephone lines and messengers. Both classes alike."""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch

from core.stress.codecs import round_trip
from training.data import LabelledSplit, balanced_weights, to_float, to_int16

CODINGS = (
    *(("gsm", 0), ("pcm_alaw", 0), ("pcm_mulaw", 0)),
    *(("amr_nb", rate) for rate in (4_750, 7_400, 12_200)),
    *(("opus", rate) for rate in (8_000, 16_000, 24_000)),
    *(("mp3", rate) for rate in (16_000, 32_000, 64_000)),
    *(("aac", rate) for rate in (24_000, 48_000)),
)
"""Coding and bits per second, all equally frequent."""


def add_coded(split: LabelledSplit, num_coded: int, *, seed: int) -> LabelledSplit:
    """The split with recordings of both classes appended that were encoded and decoded; held in memory.

    Args:
        split: a training split.
        num_coded: how many, drawn with `balanced_weights`; the split itself comes back for 0.
        seed: decides recordings and codings.

    Raises:
        CoreError: this machine lacks a coding.
    """
    if not num_coded:
        return split
    rng = np.random.default_rng([seed, 2])
    weights = balanced_weights(split).double().numpy()
    chosen = rng.choice(len(split), num_coded, p=weights / weights.sum())
    codings = [CODINGS[i] for i in rng.integers(len(CODINGS), size=num_coded)]
    recordings = [to_float(split.recording(i)).numpy() for i in chosen]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        coded = [to_int16(torch.from_numpy(made)) for made in pool.map(_coded, recordings, codings, chunksize=16)]
    return appended(split, coded, _rows(split, chosen, codings))


def appended(split: LabelledSplit, recordings: list[torch.Tensor], rows: pd.DataFrame) -> LabelledSplit:
    """The split with more recordings, int16 `[time]` each, and their rows of the index."""
    digest = hashlib.sha256(split.data_hash.encode())
    for recording in recordings:
        digest.update(recording.numpy().tobytes())
    lengths = torch.tensor([len(recording) for recording in recordings])
    return LabelledSplit(
        name=split.name,
        index=pd.concat([split.index, rows], ignore_index=True),
        samples=torch.cat([split.samples, *recordings]),
        starts=torch.cat([split.starts, len(split.samples) + lengths.cumsum(0) - lengths]),
        lengths=torch.cat([split.lengths, lengths]),
        data_hash=digest.hexdigest(),
    )


def _coded(samples: np.ndarray, coding: tuple[str, int]) -> np.ndarray:
    codec, bit_rate = coding
    return round_trip(samples, codec=codec, bit_rate=bit_rate).astype(np.float32)


def _rows(split: LabelledSplit, chosen: np.ndarray, codings: list[tuple[str, int]]) -> pd.DataFrame:
    rows = split.index.iloc[chosen].copy()
    rows["utterance"] = [f"{name}_{codec}_{rate}" for name, (codec, rate) in zip(rows["utterance"], codings, strict=True)]
    return rows

"""Spoofs that we make ourselves for training: sentences by installed engines. Copies of speech are made in the batches.

The corpus holds little classical synthesis. Everything made here passes through what the corpus's recordings went
through (edge silence cut at random, level set at random, Opus at 48 kbit/s), so that only the making differs.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import soundfile
import torch
import torchaudio

from core.attacks.speech_engines import Side, random_sentence, speak
from core.audio import SAMPLE_RATE_HZ
from training.coded import appended
from training.crops import trim_edges
from training.data import LabelledSplit, to_float

_ESPEAK_LANGUAGES = "en-us en-gb en-gb-scotland en-gb-x-rp en-029 de fr-fr es it nl pl pt sv".split()
_ESPEAK_VARIANTS = ["", *(f"+m{i}" for i in range(1, 8)), *(f"+f{i}" for i in range(1, 5)), "+croak"]
_FLITE_VOICES = ("awb", "kal16", "rms", "slt")
_MAX_S = 4.6
"""The corpus's longest recording."""


def add_spoken(split: LabelledSplit, num_spoken: int, *, seed: int) -> LabelledSplit:
    """The split with sentences by espeak-ng (two thirds), flite and festival appended as spoofs; held in memory.

    Args:
        split: a training split.
        num_spoken: how many sentences; the split itself comes back for 0.
        seed: decides texts, voices and everything random.

    Raises:
        CoreError: an engine is not installed.
    """
    if not num_spoken:
        return split
    rng = np.random.default_rng([seed, 1])
    sides = [_random_side(rng) for _ in range(num_spoken)]
    with ThreadPoolExecutor() as pool:
        spoken = [_finished(made, rng) for made in pool.map(_spoken_at_16_khz, sides)]
    rows = pd.DataFrame([_row(number, side) for number, side in enumerate(sides)])
    return appended(split, spoken, rows.astype({"known_system": "boolean"}))


def _random_side(rng: np.random.Generator) -> Side:
    text = random_sentence(rng)
    engine = rng.choice(["espeak-ng", "flite", "festival"], p=[0.66, 0.24, 0.1])
    if engine == "espeak-ng":
        return Side("espeak-ng", str(rng.choice(_ESPEAK_LANGUAGES)) + str(rng.choice(_ESPEAK_VARIANTS)), text)
    return Side("flite", str(rng.choice(_FLITE_VOICES)), text) if engine == "flite" else Side("festival", "kal_diphone", text)


def _spoken_at_16_khz(side: Side) -> torch.Tensor:
    samples, rate_hz = speak(side)
    return torchaudio.functional.resample(torch.from_numpy(samples), rate_hz, SAMPLE_RATE_HZ)


def _finished(samples: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Made speech float `[time]` as int16, treated as the corpus was."""
    whole = (samples / samples.abs().max().clamp_min(1e-6) * 16_000).to(torch.int16)
    cut = trim_edges(whole, keep_s=rng.uniform(0.04, 0.2), range_db=40.0)[: int(_MAX_S * SAMPLE_RATE_HZ)]
    cut = to_float(cut)
    level_db = 10 * torch.log10(cut.square().mean().clamp_min(1e-9))
    cut = (cut * 10 ** ((rng.uniform(-30, -19) - float(level_db)) / 20)).clamp(-1, 1)
    coded = io.BytesIO()
    soundfile.write(coded, cut.numpy(), SAMPLE_RATE_HZ, format="OGG", subtype="OPUS", compression_level=0.75)
    coded.seek(0)
    decoded, _ = soundfile.read(coded, dtype="int16")
    return torch.from_numpy(decoded)


def _row(number: int, side: Side) -> dict[str, object]:
    return {
        "utterance": f"MADE_{number:05d}",
        "label": "spoof",
        "attack": side.engine,
        "speaker": f"{side.engine}-{side.voice}",
        "corpus": "made",
        "split": "train",
        "group": f"made by {side.engine}",
        "family": "made",
        "known_system": True,
    }

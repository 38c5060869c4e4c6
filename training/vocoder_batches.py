"""Crops of bona fide speech for the vocoder: who is drawn when follows from seed and step alone."""

from __future__ import annotations

import numpy as np
import torch

from core.errors import CoreError
from training.data import LabelledSplit, balanced_weights, to_float

LEVEL = 0.05
"""Root mean square that every recording is brought to, as `core.attacks.neural` does."""
_MAX_GAIN_DB = 3.0


class BonaFideCrops:
    """Random crops of a split's bona fide recordings, large sources damped; spoofs are never drawn.

    Args:
        split: what to cut from.
        crop_samples: length of a crop; a shorter recording is repeated.
        seed: decides all randomness.

    Raises:
        CoreError: no bona fide recording, or only silence.
    """

    def __init__(self, split: LabelledSplit, *, crop_samples: int, seed: int) -> None:
        self._split, self._crop_samples, self._seed = split, crop_samples, seed
        self._weights = balanced_weights(split) if split.is_spoof.any() else torch.ones(len(split), dtype=torch.float64)
        self._weights[torch.from_numpy(split.is_spoof)] = 0.0
        self._levels = torch.tensor([_level(split, i) if self._weights[i] else 0.0 for i in range(len(split))])
        self._weights[self._levels <= 0] = 0.0
        if not self._weights.sum():
            raise CoreError(f"the {split.name} split holds no bona fide speech; the vocoder learns from nothing else")

    @property
    def chosen(self) -> torch.Tensor:
        """Numbers of the recordings that may be drawn."""
        return torch.nonzero(self._weights).flatten()

    def batch(self, step: int, size: int) -> torch.Tensor:
        """Crops of one step, `[size, crop_samples]` float32, at a level within 3 dB of `LEVEL`."""
        generator = generator_at(self._seed, 0, step)
        drawn = torch.multinomial(self._weights, size, replacement=True, generator=generator)
        places, gains = torch.rand(2, size, generator=generator, dtype=torch.float64)
        crops = [self._crop(int(i), float(place)) for i, place in zip(drawn, places, strict=True)]
        gains = LEVEL / self._levels[drawn] * 10 ** (_MAX_GAIN_DB * (2 * gains.float() - 1) / 20)
        return torch.stack(crops) * gains.unsqueeze(1)

    def _crop(self, number: int, place: float) -> torch.Tensor:
        recording = self._split.recording(number)
        if len(recording) < self._crop_samples:
            recording = recording.repeat(-(-self._crop_samples // len(recording)))
        start = int(place * (len(recording) - self._crop_samples + 1))
        return to_float(recording[start : start + self._crop_samples])


def bona_fide_recordings(split: LabelledSplit) -> list[torch.Tensor]:
    """Each bona fide recording of a split, `[time]` float32, at `LEVEL`; silence is left out."""
    there = [i for i in range(len(split)) if not split.is_spoof[i] and _level(split, i) > 0]
    return [to_float(split.recording(i)) * (LEVEL / _level(split, i)) for i in there]


def generator_at(seed: int, *where: int) -> torch.Generator:
    """A generator that follows from the seed and a place in the run."""
    state = np.random.SeedSequence([seed, *where]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def _level(split: LabelledSplit, number: int) -> float:
    return float(to_float(split.recording(number)).square().mean().sqrt())

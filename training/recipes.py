"""Named ways to train a detector: plain functions that return a validated configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import CoreError
from core.features import FeatureConfig
from core.models import MODELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides how a detector is trained."""

    name: str
    model: str
    features: FeatureConfig
    num_epochs: int
    """An epoch draws as many crops as the training split has recordings."""
    batch_size: int = 64
    learning_rate: float = 4e-4
    """Peak of a one-cycle schedule."""
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    average_decay: float = 0.995
    """Decay per step of the running average of the weights, which is what is kept."""
    num_spoken: int = 0
    """Sentences by installed engines, added to the training split (`training.made`)."""
    num_copied: int = 0
    """Griffin-Lim copies of training speech, added likewise."""
    augment_share: float = 0.6
    """Share of the crops that pass through a random channel."""

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise CoreError(f"recipe {self.name}: unknown model {self.model!r}")
        if self.num_epochs < 1 or self.batch_size < 2:
            raise CoreError(f"recipe {self.name}: needs at least 1 epoch and a batch of 2")
        if not 0 < self.learning_rate < 1 or not 0 <= self.augment_share <= 1:
            raise CoreError(f"recipe {self.name}: learning_rate and augment_share must lie between 0 and 1")


def vgg27_spectrogram() -> Recipe:
    """vgg27 on the log spectrogram with balanced crops and random channels: the first shipped detector."""
    return Recipe(
        name="vgg27_spectrogram",
        model="vgg27",
        features=FeatureConfig(kind="log_spectrogram"),
        num_epochs=30,
        num_spoken=450,
        num_copied=250,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"vgg27_spectrogram": vgg27_spectrogram}
"""Name -> recipe."""


def recipe_named(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        CoreError: no such recipe.
    """
    if name not in RECIPES:
        raise CoreError(f"unknown recipe {name!r}; expected one of {', '.join(RECIPES)}")
    return RECIPES[name]()

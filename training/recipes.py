"""Named ways to train a detector: plain functions that return a validated configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from core.detector_config import FeatureConfig
from core.errors import CoreError
from core.models import MODELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides how a detector is trained, but for the data and the seed."""

    name: str
    model: str
    """Key of `core.models.MODELS`."""
    features: FeatureConfig
    num_epochs: int
    batch_size: int = 64
    num_shards: int = 4
    """Parts of a batch with randomness of their own; as many processes can share a batch."""
    learning_rate: float = 4e-4
    """Peak of the schedule."""
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    average_decay: float = 0.0
    """Decay per step of the running average of the weights, which is what is kept; 0 keeps the weights themselves."""
    pretrained: bool = False
    """Start from ImageNet weights where they are at hand (`core.models`); the run records whether they were."""
    sampling: Literal["balanced", "once"] = "once"
    """`once`: each recording once an epoch. `balanced`: both classes equally often, large sources damped."""
    max_spoofs: int | None = None
    """Train on that many spoofs, drawn at random, and all bona fide."""
    multiplies_bona_fide: bool = False
    """Bona fide images are repeated to about the number of spoofs, the repeats rotated, sheared and flipped."""
    random_crops: bool = False
    """Random windows with edge silence trimmed by chance, in place of the first 4 s."""
    channel_share: float = 0.0
    """Share of the windows that pass through a random channel (`training.augment`)."""
    masks_images: bool = False
    """Whether random bands of rows and columns are blanked (SpecAugment)."""
    copy_share: float = 0.0
    """Share of the spoofs in a batch that are replaced by copies of its bona fide windows (`core.attacks`)."""
    num_spoken: int = 0
    """Sentences by installed engines, added to the training split (`training.made`)."""
    num_coded: int = 0
    """Recordings of both classes that went through a telephone's or messenger's coding, added too (`training.coded`)."""
    patience: int = 1_000
    """Epochs without a lower dev EER after which training stops."""

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise CoreError(f"recipe {self.name}: unknown model {self.model!r}; expected one of {', '.join(MODELS)}")
        if self.num_epochs < 1 or self.patience < 1 or self.num_shards < 1:
            raise CoreError(f"recipe {self.name}: num_epochs, patience and num_shards must be at least 1")
        if self.batch_size < 2 or self.batch_size % self.num_shards:
            raise CoreError(f"recipe {self.name}: a batch of {self.batch_size} does not divide into {self.num_shards} shards")
        if self.sampling not in ("balanced", "once") or self.schedule not in ("one_cycle", "constant"):
            raise CoreError(
                f"recipe {self.name}: sampling is {self.sampling!r} and schedule {self.schedule!r}; "
                "expected balanced or once, and one_cycle or constant"
            )
        if self.sampling == "balanced" and (self.multiplies_bona_fide or self.max_spoofs is not None):
            raise CoreError(
                f"recipe {self.name}: balanced sampling draws both classes equally, so nothing is multiplied or left out"
            )
        if not 0 < self.learning_rate < 1:
            raise CoreError(f"recipe {self.name}: the learning rate is {self.learning_rate}; expected between 0 and 1")
        shares = {name: getattr(self, name) for name in ("channel_share", "copy_share", "label_smoothing", "average_decay")}
        for name, share in shares.items():
            if not 0 <= share < 1 + 1e-9:
                raise CoreError(f"recipe {self.name}: {name} is {share}; expected 0 to 1")


def cnn_multiply() -> Recipe:
    """vgg27 on the spectrogram image, bona fide multiplied to about the number of spoofs by geometric transforms."""
    return Recipe(
        name="cnn_multiply",
        model="vgg27",
        features=FeatureConfig(kind="log_spectrogram"),
        num_epochs=8,
        learning_rate=4e-4,
        multiplies_bona_fide=True,
    )


def cnn_3000() -> Recipe:
    """vgg27 on the spectrogram image, 3,000 spoofs drawn at random, nothing multiplied."""
    return Recipe(
        name="cnn_3000",
        model="vgg27",
        features=FeatureConfig(kind="log_spectrogram"),
        num_epochs=8,
        learning_rate=4e-4,
        max_spoofs=3_000,
    )


def resnet50_waveform() -> Recipe:
    """ResNet-50 on the drawn waveform, as published: learning rate 1e-4, batch 50, 4 epochs."""
    return Recipe(
        name="resnet50_waveform",
        model="resnet50",
        features=FeatureConfig(kind="waveform"),
        num_epochs=4,
        batch_size=50,
        num_shards=2,
        learning_rate=1e-4,
        schedule="constant",
        pretrained=True,
    )


def resnet50_spectrogram() -> Recipe:
    """ResNet-50 on the spectrogram image, as published: learning rate 1e-4, batch 40, 3 epochs."""
    return Recipe(
        name="resnet50_spectrogram",
        model="resnet50",
        features=FeatureConfig(kind="log_spectrogram"),
        num_epochs=3,
        batch_size=40,
        learning_rate=1e-4,
        schedule="constant",
        pretrained=True,
    )


def earwitness() -> Recipe:
    """Our best within three times the cost of vgg27: EfficientNet-Lite0 on three resolutions, from ImageNet weights.

    Copies of the batch's own speech keep the network from telling classes apart by speaker, room or source.
    """
    return Recipe(
        name="earwitness",
        model="efficientnet_lite0",
        features=FeatureConfig(kind="multi_resolution"),
        num_epochs=9,
        learning_rate=1e-3,
        weight_decay=0.02,
        label_smoothing=0.05,
        average_decay=0.98,
        pretrained=True,
        sampling="balanced",
        random_crops=True,
        channel_share=0.6,
        masks_images=True,
        copy_share=0.3,
        num_spoken=240,
    )


def telephone() -> Recipe:
    """vgg27 at its own cost, among copies by a neural vocoder and speech from real telephone lines and messengers."""
    return Recipe(
        name="telephone",
        model="vgg27",
        features=FeatureConfig(kind="log_spectrogram"),
        num_epochs=22,
        learning_rate=6e-4,
        weight_decay=0.02,
        label_smoothing=0.05,
        average_decay=0.995,
        sampling="balanced",
        random_crops=True,
        channel_share=0.6,
        masks_images=True,
        copy_share=0.35,
        num_spoken=450,
        num_coded=2_400,
    )


def spectrogram() -> Recipe:
    """vgg27 on both corpora, from the weights of an earlier vgg27-spectrogram (`--from`): what ships as the fast detector."""
    return Recipe(
        name="spectrogram",
        model="vgg27",
        features=FeatureConfig(kind="log_spectrogram"),
        num_epochs=4,
        learning_rate=4e-4,
        weight_decay=0.02,
        label_smoothing=0.05,
        average_decay=0.99,
        sampling="balanced",
        random_crops=True,
        channel_share=0.5,
        masks_images=True,
        copy_share=0.25,
        num_coded=1_200,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__: recipe
    for recipe in (cnn_multiply, cnn_3000, resnet50_waveform, resnet50_spectrogram, earwitness, telephone, spectrogram)
}
"""Name -> recipe."""


def recipe_named(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        CoreError: no such recipe.
    """
    if name not in RECIPES:
        raise CoreError(f"unknown recipe {name!r}; expected one of {', '.join(RECIPES)}")
    return RECIPES[name]()


def recipe_from(fields: dict[str, Any]) -> Recipe:
    """The recipe that a run folder or a detector recorded.

    Raises:
        CoreError: fields of another version of this program.
    """
    try:
        return Recipe(**fields | {"features": FeatureConfig(**fields["features"])})
    except (TypeError, KeyError) as error:
        raise CoreError(f"the recorded recipe is of another version of Earwitness ({error}); train again.") from None

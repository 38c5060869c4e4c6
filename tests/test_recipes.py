"""training.recipes: the published settings, that each can be built, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from core.detector_config import WINDOW_SAMPLES, FeatureConfig
from core.errors import CoreError
from core.features import build_front_end
from core.models import build_model
from training.recipes import RECIPES, Recipe, recipe_from, recipe_named


@pytest.mark.parametrize("name", RECIPES)
def test_front_end_and_network_fit(name: str) -> None:
    recipe = recipe_named(name)
    assert recipe.name == name
    torch.manual_seed(0)
    images = build_front_end(recipe.features)(0.1 * torch.randn(2, WINDOW_SAMPLES))
    assert images.shape == (2, recipe.features.num_channels, 224, 224)
    network = build_model(recipe.model).eval()
    with torch.inference_mode():
        logits = network(images)
    assert logits.shape == (2, 2)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", RECIPES)
def test_recorded_recipes_come_back(name: str) -> None:
    recipe = recipe_named(name)
    assert recipe_from(json.loads(json.dumps(asdict(recipe)))) == recipe


def test_the_published_settings() -> None:
    multiply, limited = recipe_named("cnn_multiply"), recipe_named("cnn_3000")
    assert (multiply.model, multiply.features.kind, multiply.multiplies_bona_fide, multiply.max_spoofs) == (
        "vgg27", "log_spectrogram", True, None,
    )  # fmt: skip
    assert (limited.model, limited.features.kind, limited.multiplies_bona_fide, limited.max_spoofs) == (
        "vgg27", "log_spectrogram", False, 3_000,
    )  # fmt: skip
    for name, kind, batch_size, num_epochs in (
        ("resnet50_waveform", "waveform", 50, 4),
        ("resnet50_spectrogram", "log_spectrogram", 40, 3),
    ):
        recipe = recipe_named(name)
        assert (recipe.model, recipe.features.kind, recipe.batch_size, recipe.num_epochs) == (
            "resnet50",
            kind,
            batch_size,
            num_epochs,
        )
        assert (recipe.learning_rate, recipe.schedule, recipe.pretrained) == (1e-4, "constant", True)
    for recipe in map(recipe_named, ("cnn_multiply", "cnn_3000", "resnet50_waveform", "resnet50_spectrogram")):
        # As published: the first seconds of each recording, once, and nothing that we added.
        assert recipe.sampling == "once"
        ours = (recipe.random_crops, recipe.masks_images, recipe.channel_share, recipe.copy_share, recipe.num_spoken)
        assert not any(ours)


def test_recipes_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        recipe_named("cnn_3000").batch_size = 2


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(CoreError, match=r"unknown recipe 'best'; expected one of .*cnn_multiply"):
        recipe_named("best")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "vgg99"}, "unknown model 'vgg99'; expected one of .*vgg27"),
        ({"num_epochs": 0}, "must be at least 1"),
        ({"patience": 0}, "must be at least 1"),
        ({"num_shards": 0}, "must be at least 1"),
        ({"batch_size": 1, "num_shards": 1}, "a batch of 1"),
        ({"batch_size": 10, "num_shards": 4}, "a batch of 10 does not divide into 4 shards"),
        ({"learning_rate": 0.0}, "learning rate is 0.0"),
        ({"sampling": "twice"}, "sampling is 'twice'"),
        ({"schedule": "cosine"}, "schedule 'cosine'"),
        ({"sampling": "balanced", "max_spoofs": 3_000}, "nothing is multiplied or left out"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"channel_share": 1.5}, "channel_share is 1.5; expected 0 to 1"),
        ({"copy_share": -0.1}, "copy_share is -0.1"),
        ({"label_smoothing": 2.0}, "label_smoothing is 2.0"),
        ({"average_decay": float("nan")}, "average_decay is nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(CoreError, match=rf"recipe cnn_3000: .*{message}"):
        replace(recipe_named("cnn_3000"), **changes)


def test_recorded_recipes_of_another_version_are_told() -> None:
    fields = asdict(Recipe(name="r", model="vgg27", features=FeatureConfig(), num_epochs=1))
    for other in (
        fields | {"novelty": 1},
        {"name": "r"},
        fields | {"features": {"kind": "mel", "bands": 3}},
        fields | {"features": None},
    ):
        with pytest.raises(CoreError, match="of another version of Earwitness"):
            recipe_from(other)

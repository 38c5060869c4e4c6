"""`python -m training` with one recipe more, `tiny`, and in float64, for `test_distributed_training`; takes the same arguments.

Two halves of a batch round differently from the whole. Max-pooling and ReLU turn a last digit into another path, so that in
float32 gradients differ by up to 1 % already in the first step, which would hide an error of the same size.
"""

from __future__ import annotations

import contextlib
import sys

import torch

from core.detector_config import FeatureConfig
from training.recipes import RECIPES, Recipe


def tiny() -> Recipe:
    """vgg27 in 4 steps: batches of 8 in 4 shards, random crops, channels and masks, so that all randomness is shared out."""
    return Recipe(
        name="tiny",
        model="vgg27",
        features=FeatureConfig(),
        num_epochs=2,
        batch_size=8,
        num_shards=4,
        learning_rate=1e-3,
        sampling="balanced",
        average_decay=0.5,
        random_crops=True,
        channel_share=0.5,
        masks_images=True,
    )


RECIPES["tiny"] = tiny

if __name__ == "__main__":
    from training import loop
    from training.__main__ import main

    own_part, score_split, build_model = loop._own_part, loop.score_split, loop.build_model

    def in_float64(*arguments: object, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = own_part(*arguments, **options)
        return images.double(), labels

    loop.faster_precision = lambda *_: "float32"  # what is measured here is in float64
    loop._LOG_EVERY_STEPS = 1  # a line for each step
    loop._own_part = in_float64
    loop.score_split = lambda network, front_end, dev: score_split(network, lambda samples: front_end(samples).double(), dev)
    loop.build_model = lambda name, **options: build_model(name, **options).double()
    torch.autocast = lambda *arguments, **options: contextlib.nullcontext()
    sys.exit(main())

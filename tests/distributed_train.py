"""`python -m training` with one recipe more, `tiny`, and in float32, for `test_distributed_training`; takes the same arguments.

In bfloat16 the halves of a batch round differently from the whole, which would hide an error of the same size.
"""

from __future__ import annotations

import contextlib
import sys

import torch

from core.features import FeatureConfig
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
    from training.__main__ import main

    torch.autocast = lambda *arguments, **options: contextlib.nullcontext()
    sys.exit(main())

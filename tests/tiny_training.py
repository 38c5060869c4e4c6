"""A network, a recipe and data that train in a second; `python -m tests.tiny_training HOLD_AT train tiny ...` trains them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.detector_config import FeatureConfig
from core.models import MODELS
from tests.prepared_data import noise, write_prepared
from training import loop
from training.__main__ import main
from training.recipes import RECIPES, Recipe

SIZES = {"train": 40, "dev": 12, "test": 12}
STEPS_PER_EPOCH = 10
LOG_EVERY_STEPS = 3


def tiny_network(*, pretrained: bool = False) -> nn.Sequential:
    """Some 900 parameters with batch normalisation and dropout, on a one-channel image."""
    return nn.Sequential(
        nn.AvgPool2d(8), nn.Conv2d(1, 6, 5, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(216, 2),
    )  # fmt: skip


def tiny_recipe(**changes: Any) -> Recipe:
    """Everything that is random but copies, on `tiny`, which must be in `MODELS`."""
    fields = {
        "name": "tiny", "model": "tiny", "features": FeatureConfig(), "num_epochs": 2, "batch_size": 4, "num_shards": 2,
        "learning_rate": 0.01, "average_decay": 0.5, "multiplies_bona_fide": True, "random_crops": True, "channel_share": 0.5,
        "masks_images": True,
    }  # fmt: skip
    return Recipe(**fields | changes)


def make_sound(is_spoof: bool, rng: np.random.Generator) -> np.ndarray:
    """Noise of half a second or so; spoofs are low-passed."""
    samples = noise(int(rng.uniform(0.3, 0.8) * 16_000), rng)
    return np.convolve(samples, np.ones(4) / 4, mode="same") if is_spoof else samples


def write_tiny(folder: Path, **changes: Any) -> Path:
    """A prepared folder of such sounds."""
    return write_prepared(folder, make_sound, **{"sizes": SIZES} | changes)


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` without what differs from one time to the next."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("time_s", "samples_per_s", "data_share")} for line in lines]


def equal_trees(first: Any, second: Any) -> bool:
    """Whether two states are the same to the last bit, lists and tuples taken alike."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal_trees(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal_trees, first, second))
    return first == second


def _hold_at(step: int) -> None:
    """Stops for good before that step, having said so: whoever reads it may kill the process."""
    own_part = loop._own_part

    def held(batches: Any, drawn: torch.Tensor, **where: Any) -> Any:
        if where["epoch"] * batches.steps_per_epoch + where["step"] == step:
            print("held", flush=True)
            time.sleep(600)
        return own_part(batches, drawn, **where)

    loop._own_part = held


if __name__ == "__main__":
    torch.set_num_threads(1)
    MODELS["tiny"] = tiny_network
    RECIPES["tiny"] = tiny_recipe
    loop._CHECKPOINT_EVERY_S, loop._LOG_EVERY_STEPS = -1.0, LOG_EVERY_STEPS
    loop.faster_precision = lambda *_: "bfloat16"  # as the tests set it in their own process
    _hold_at(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))

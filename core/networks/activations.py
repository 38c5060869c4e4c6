"""What a network does with one recording: how strongly each layer answers, and a layer's feature maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from core.networks.anatomy import FeatureBox, watched

MAX_MAPS, MAX_MAP_SIZE = 32, 56
"""Feature maps kept of a layer, and their longer side; larger ones are averaged down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """How strongly each layer answers to one image."""

    image_level: float
    """Mean absolute value of the image."""
    levels: tuple[float, ...]
    """Mean absolute value of each layer's output, in the order of `Anatomy.layers`."""

    def of(self, box: FeatureBox) -> float:
        """The level of a box."""
        return self.image_level if box.layer < 0 else self.levels[box.layer]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMaps:
    """The most active channels of one layer."""

    channels: tuple[int, ...]
    """Their numbers from 0, the most active (mean absolute value) first."""
    maps: np.ndarray
    """`[channel, row, column]` float32; frequency rises with the row index."""
    num_channels: int
    """How many the layer has."""


@torch.inference_mode()
def watch_activations(model: nn.Module, image: torch.Tensor) -> Activations:
    """The level of every layer's output for one image `[1, channel, row, column]`."""
    levels: list[float] = []
    with watched(model, lambda name, module, given, made: levels.append(float(made.abs().mean()))):
        model(image)
    return Activations(image_level=float(image.abs().mean()), levels=tuple(levels))


@torch.inference_mode()
def feature_maps(model: nn.Module, image: torch.Tensor, box: FeatureBox) -> FeatureMaps:
    """The output that a box of the picture stands for, as small maps."""
    outputs = [image]
    position = -1

    def keep(name: str, module: nn.Module, given: torch.Tensor, made: torch.Tensor) -> None:
        nonlocal position
        position += 1
        if position == box.layer:
            outputs.append(made.clone())  # the next layer may work in place

    if box.layer >= 0:
        with watched(model, keep):
            model(image)
    maps = _channels_first(outputs[-1][0], box)
    order = maps.abs().mean(dim=(1, 2)).argsort(descending=True, stable=True)
    if box.height * box.width > 1:  # a dense layer's values are a list, not pictures: all of them
        order = order[:MAX_MAPS]
    step = math.ceil(max(box.height, box.width) / MAX_MAP_SIZE)
    small = nn.functional.avg_pool2d(maps[order][None], step, ceil_mode=True)[0] if step > 1 else maps[order]
    return FeatureMaps(channels=tuple(order.tolist()), maps=small.float().numpy(), num_channels=box.num_channels)


def _channels_first(output: torch.Tensor, box: FeatureBox) -> torch.Tensor:
    """An output without its batch as `[channel, row, column]`."""
    shape = (box.num_channels, box.height, box.width)
    if output.dim() > 1 and output.shape != shape:  # `[time, channel]` and `[row, column, channel]`
        output = output.movedim(-1, 0)
    return output.reshape(shape)

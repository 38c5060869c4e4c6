"""What a network is made of: its layers in order, with shapes, parameters and MACs, and the feature maps worth drawing.

Everything is read from the real network by forward hooks on one image; nothing is derived from its name.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

MAX_BOXES = 60
"""More feature maps than this are more than a picture shows."""

_ALL_SHOWN = 100
"""Networks of more layers than this are drawn by what changes shape."""
_LOCK = threading.Lock()  # hooks on a shared network would also fire in another thread's call
_STARTS_GROUP = (nn.modules.conv._ConvNd, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One call of one module."""

    name: str
    """Its path within the network, e.g. `layer1.0.conv2`; a second call of the same module ends in ` (2)`."""
    kind: str
    """Class name, e.g. `Conv2d`."""
    shape: tuple[int, ...]
    """Of the output, without the batch."""
    num_parameters: int
    """Counted at the module's first call."""
    num_macs: int | None
    """Multiply-accumulates for one image; None where the kind of layer has weights and no formula here."""
    starts_group: bool
    """Whether it makes a new feature map; what follows it (normalisation, non-linearity) only changes its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBox:
    """A feature map as the picture shows it: what a convolution, a pool or a dense layer made, after what follows it."""

    layer: int
    """Position in `Anatomy.layers` of the layer whose output it is; -1 for the image."""
    name: str
    kind: str
    num_channels: int
    height: int
    width: int

    @property
    def title(self) -> str:
        """What it is called: kind and path, e.g. `Conv2d layer1.0.conv2`."""
        return self.name if self.layer < 0 else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """The layers of a network in the order in which they run."""

    image_shape: tuple[int, int, int]
    """Channels, rows and columns of what the front end gives."""
    layers: tuple[Layer, ...]
    num_parameters: int

    @property
    def num_macs(self) -> int:
        """Multiply-accumulates for one image, over the layers that have a number."""
        return sum(layer.num_macs or 0 for layer in self.layers)

    @property
    def has_all_macs(self) -> bool:
        """Whether every layer has a number."""
        return all(layer.num_macs is not None for layer in self.layers)

    def boxes(self) -> tuple[FeatureBox, ...]:
        """The feature maps worth drawing, the image first: all of a small network, the changes of shape of a large one."""
        ends = [i for i in range(1, len(self.layers)) if self.layers[i].starts_group] + [len(self.layers)]
        starts = [0, *ends[:-1]]
        channels, height, width = self.image_shape
        boxes = [FeatureBox(layer=-1, name="image", kind="Input", num_channels=channels, height=height, width=width)]
        for start, end in zip(starts, ends, strict=True):
            if self.layers[start].starts_group:
                boxes.append(self._box(start, end))
        if len(self.layers) > _ALL_SHOWN:
            boxes = _without_asides(boxes)
            last = len(boxes) - 1
            boxes = [box for i, box in enumerate(boxes) if i in (0, last) or _size(box) != _size(boxes[i - 1])]
        if len(boxes) > MAX_BOXES:
            boxes = [boxes[round(i * (len(boxes) - 1) / (MAX_BOXES - 1))] for i in range(MAX_BOXES)]
        return tuple(boxes)

    def _box(self, start: int, end: int) -> FeatureBox:
        """The box of the group of layers `start` to `end`: its last output of the shape that its first layer made."""
        first = self.layers[start]
        last = start
        while last + 1 < end and self.layers[last + 1].shape == first.shape:
            last += 1
        num_channels, height, width = _size_of(first)
        return FeatureBox(layer=last, name=first.name, kind=first.kind, num_channels=num_channels, height=height, width=width)


@torch.inference_mode()
def describe_network(model: nn.Module, image: torch.Tensor) -> Anatomy:
    """Runs one image through the network and writes down every layer.

    Args:
        model: in evaluation mode.
        image: `[1, channel, row, column]`, as its front end gives it.
    """
    layers: list[Layer] = []
    num_calls: dict[str, int] = {}

    def note(name: str, module: nn.Module, given: torch.Tensor, made: torch.Tensor) -> None:
        num_calls[name] = num_calls.get(name, 0) + 1
        is_first = num_calls[name] == 1
        layers.append(
            Layer(
                name=name if is_first else f"{name} ({num_calls[name]})",
                kind=type(module).__name__,
                shape=tuple(made.shape[1:]),
                num_parameters=sum(p.numel() for p in module.parameters(recurse=False)) if is_first else 0,
                num_macs=_macs(module, given, made),
                starts_group=isinstance(module, _STARTS_GROUP),
            )
        )

    with watched(model, note):
        model(image)
    return Anatomy(
        image_shape=tuple(image.shape[1:]), layers=tuple(layers), num_parameters=sum(p.numel() for p in model.parameters())
    )


@contextmanager
def watched(model: nn.Module, note: Callable[[str, nn.Module, torch.Tensor, torch.Tensor], None]) -> Iterator[None]:
    """While it lasts, `note(name, module, input, output)` is called for every layer that runs."""

    def hook(name: str) -> Callable[..., None]:
        def call(module: nn.Module, given: tuple, made: object) -> None:
            tensor = made[0] if isinstance(made, tuple | list) else made
            if isinstance(tensor, torch.Tensor) and given and isinstance(given[0], torch.Tensor):
                note(name, module, given[0], tensor)

        return call

    with _LOCK:
        handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules() if _is_layer(module)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _is_layer(module: nn.Module) -> bool:
    """Layers are modules without parts, and those that hold parameters of their own."""
    return not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))


def _macs(module: nn.Module, given: torch.Tensor, made: torch.Tensor) -> int | None:
    """Multiply-accumulates of one layer for one image; biases, normalisation and pooling count as none."""
    if isinstance(module, nn.modules.conv._ConvNd):
        # Every output value sums over the kernel in every input channel of its group. Transposed: every input value
        # is spread over the kernel in every output channel of its group.
        values, channels = (given, module.out_channels) if module.transposed else (made, module.in_channels)
        return values[0].numel() * (channels // module.groups) * math.prod(module.kernel_size)
    if isinstance(module, nn.Linear):
        return made[0].numel() * module.in_features
    # A scale per channel is no matrix.
    has_matrix = any(sum(size > 1 for size in parameter.shape) > 1 for parameter in module.parameters(recurse=False))
    return None if has_matrix else 0


def _size_of(layer: Layer) -> tuple[int, int, int]:
    """Channels, rows and columns of an output: `[c]`, `[time, c]`, `[c, h, w]`, or `[h, w, c]` from a dense layer."""
    shape = layer.shape
    if len(shape) == 3:
        return (shape[2], *shape[:2]) if layer.kind == "Linear" else shape
    return (shape[1], 1, shape[0]) if len(shape) == 2 else (math.prod(shape), 1, 1)


def _size(box: FeatureBox) -> tuple[int, int, int]:
    return box.num_channels, box.height, box.width


def _without_asides(boxes: list[FeatureBox]) -> list[FeatureBox]:
    """Without single values that are only looked at on the way (squeeze and excitation)."""
    last_map = max(i for i, box in enumerate(boxes) if box.height * box.width > 1)
    return [box for i, box in enumerate(boxes) if i > last_map or box.height * box.width > 1]

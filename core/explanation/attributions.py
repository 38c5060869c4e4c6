"""Maps of single windows by Grad-CAM, integrated gradients (both by Captum) and occlusion. Knows nothing of recordings.

All give evidence for the target only: what speaks against it is 0. Values are in the target's units, so that windows compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam
from torch import nn

from core.explanation.detector_views import BATCH, CHUNK, DetectorView, members_of, target_values
from core.explanation.records import Method, Target

INTEGRATION_STEPS = 32
PATCHES_PER_SIDE = (7, 14)
"""Patches of occlusion over rows and over columns; they slide by half, which makes 13 x 27 of them."""


def window_maps(
    view: DetectorView,
    shown: torch.Tensor,
    *,
    method: Method,
    layer: str | None,
    target: Target,
    model: nn.Module | None = None,
    is_coarse: bool = False,
) -> np.ndarray:
    """Maps of what a detector was shown, `[window, row, column]` float64, at least 0.

    Args:
        view: the detector.
        shown: `[window, channel, row, column]`, as `view.shown` gives it.
        method: how.
        layer: of Grad-CAM, as `view.layers` names it.
        target: evidence for what.
        model: a network in the detector's place, e.g. one with random weights.
        is_coarse: patches of occlusion side by side instead of sliding by half: a quarter of the work. A fusion's always are.
    """
    if method == "occlusion":
        is_coarse = is_coarse or bool(view.detector.manifest.branches)
        return np.stack([_occlusion(view, one, target=target, model=model, is_coarse=is_coarse) for one in shown])
    with view.lock, undisturbed(network := view.model if model is None else model), torch.enable_grad():

        def value(image: torch.Tensor) -> torch.Tensor:
            return target_values(network(image), target)

        if view.detector.manifest.branches:
            return np.stack([_fusion_map(view, network, one, method=method, layer=layer, target=target) for one in shown])
        if method == "grad_cam":
            return np.concatenate([_grad_cam(value, network, part.clone(), layer) for part in shown.split(BATCH)])
        return np.stack([_integrated_gradients(value, one[None].clone()) for one in shown])


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Puts a network into evaluation mode, its weights without gradients; afterwards all is as before, also after a failure."""
    modes = [(module, module.training) for module in model.modules()]
    weights = [(weight, weight.requires_grad, weight.grad) for weight in model.parameters()]
    try:
        model.eval().requires_grad_(False)
        yield
    finally:
        for module, is_training in modes:
            module.training = is_training
        for weight, needs_gradient, gradient in weights:
            weight.requires_grad_(needs_gradient)
            weight.grad = gradient


def randomised(model: nn.Module, generator: torch.Generator, make: Callable[[], nn.Module]) -> nn.Module:
    """A network of the same make whose weights are drawn at random, each tensor with the spread that it had.

    Args:
        model: whose.
        generator: of the random numbers.
        make: gives another network of the same weights.
    """
    other = make()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        for weight in other.parameters():
            # Kernels scatter around 0; biases and the gains of normalisation keep their mean.
            mean = weight.mean() if weight.dim() < 2 else torch.zeros(())
            spread = (weight - mean).square().mean().sqrt()
            weight.copy_(mean + spread * torch.randn(weight.shape, generator=generator))
    return other.eval().to(memory_format=torch.channels_last)


def _grad_cam(value: Callable[[torch.Tensor], torch.Tensor], network: nn.Module, image: torch.Tensor, layer: str) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017): the layer's channels, weighted by their mean gradient, summed and rectified."""
    image.requires_grad_()  # the weights have no gradients: without this there would be no graph
    maps = 0
    for member in members_of(network):
        made = LayerGradCam(value, member.get_submodule(layer)).attribute(image, relu_attributions=True)
        maps = maps + LayerAttribution.interpolate(made.detach(), tuple(image.shape[-2:]), interpolate_mode="bilinear")
    return maps[:, 0].double().numpy()


def _fusion_map(
    view: DetectorView, network: nn.Module, one: torch.Tensor, *, method: Method, layer: str | None, target: Target
) -> np.ndarray:
    """A map over the short-time spectrum `[1, bin, frame]` of one window, by the gradients of a mask on it that is 1 everywhere.

    Grad-CAM is of the fast network, whose image is the lowest bins of this very spectrum on frames of its own.
    """

    one = one.clone()  # made in inference mode, which allows no gradients

    def value(mask: torch.Tensor) -> torch.Tensor:
        return target_values(network(view.fed(one * mask)), target)

    mask = torch.ones(1, *one.shape)
    if method == "integrated_gradients":
        return _integrated_gradients(value, mask)
    mask.requires_grad_()
    made = LayerGradCam(value, members_of(network)[0].get_submodule(layer)).attribute(mask, relu_attributions=True)
    num_rows = view.detector.branches[0].manifest.features.image_shape[1]
    placed = LayerAttribution.interpolate(made.detach(), (num_rows, one.shape[-1]), interpolate_mode="bilinear")
    return nn.functional.pad(placed, (0, 0, 0, one.shape[-2] - num_rows))[0, 0].double().numpy()


def _integrated_gradients(value: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> np.ndarray:
    """Integrated gradients (Sundararajan et al. 2017) from the hidden image, summed over channels, what is negative left out."""
    made = IntegratedGradients(value).attribute(image, n_steps=INTEGRATION_STEPS, internal_batch_size=BATCH)
    return made.detach().sum(dim=1)[0].clamp_min(0).double().numpy()


def _occlusion(view: DetectorView, one: torch.Tensor, *, target: Target, model: nn.Module | None, is_coarse: bool) -> np.ndarray:
    """How far the target falls when a patch is hidden, averaged over the patches that cover a cell (Zeiler and Fergus 2014)."""
    rows, columns = (_spans(size, num, is_coarse=is_coarse) for size, num in zip(one.shape[-2:], PATCHES_PER_SIDE, strict=True))
    patches = [(row, column) for row in rows for column in columns]
    before = view.values(one[None], target=target, model=model)
    total, count = np.zeros(one.shape[-2:]), np.zeros(one.shape[-2:])
    for start in range(0, len(patches), CHUNK):
        part = patches[start : start + CHUNK]
        hidden = one.repeat(len(part), 1, 1, 1)
        for image, (row, column) in zip(hidden, part, strict=True):
            image[:, row, column] = 0
        falls = (before - view.values(hidden, target=target, model=model)).tolist()
        for (row, column), fall in zip(part, falls, strict=True):
            total[row, column] += fall
            count[row, column] += 1
    return np.maximum(total / count, 0)


def _spans(size: int, num: int, *, is_coarse: bool) -> list[slice]:
    """Spans of `size / num` cells that slide by half of it, or lie side by side."""
    length = math.ceil(size / num)
    step = length if is_coarse else max(1, length // 2)
    starts = [*range(0, max(1, size - length), step), max(0, size - length)]
    return [slice(start, start + length) for start in dict.fromkeys(starts)]

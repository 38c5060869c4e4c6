"""What all makers share: their form, and the level that each ends with."""

from __future__ import annotations

from collections.abc import Callable

import torch

Maker = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""From samples `[batch, time]` at 16 kHz and a source of all randomness to made speech of the same shape and level."""


def at_level_of(made: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
    """`made` `[batch, time]`, each recording at the root mean square of the same one in `samples`."""
    level, wanted = made.square().mean(dim=-1, keepdim=True).sqrt(), samples.square().mean(dim=-1, keepdim=True).sqrt()
    return made * wanted / level.clamp_min(1e-9)

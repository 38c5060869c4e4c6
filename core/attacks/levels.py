"""The level of made speech: what every maker ends with."""

from __future__ import annotations

import torch


def at_level_of(made: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
    """`made` `[batch, time]`, each recording at the root mean square of the same one in `samples`."""
    level, wanted = made.square().mean(dim=-1, keepdim=True).sqrt(), samples.square().mean(dim=-1, keepdim=True).sqrt()
    return made * wanted / level.clamp_min(1e-9)

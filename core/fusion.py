"""Several networks, each with its own front end, as one: their weighted scores are summed. The first is the fast one.

On long recordings the fast network judges every window, the others only some: `SecondPass` says which.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import torch
from torch import nn

from core.detector_config import Branch
from core.features import build_front_end
from core.models import build_model, raw_scores

_Held = tuple[float, int, torch.Tensor]
"""A window's fast score, its number with a minus, its samples `[time]`."""


class Fusion(nn.Module):
    """From samples to two logits whose difference is the weighted sum of the networks' raw scores.

    Args:
        branches: what it is made of.
    """

    def __init__(self, branches: Sequence[Branch]) -> None:
        super().__init__()
        self.weights = [branch.weight for branch in branches]
        self.networks = nn.ModuleList(build_model(branch.model) for branch in branches)
        self._front_ends = [build_front_end(branch.features) for branch in branches]  # in a list: they hold no weights

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """`[batch, 64000]` to logits `[batch, 2]`."""
        parts = zip(self.weights, self._front_ends, self.networks, strict=True)
        raw = sum(weight * raw_scores(network(front_end.to(samples.device)(samples))) for weight, front_end, network in parts)
        return torch.stack([-raw / 2, raw / 2], dim=1)


class SecondPass:
    """Which windows of one channel all networks judge: half of them evenly spaced, half those that the fast one finds riskiest.

    A channel arrives window by window and its length is not known before its end, so that the spacing doubles whenever too many
    are held. Where there are no more windows than may be judged, all are.

    Args:
        num_windows: how many all networks may judge, at least 2.
    """

    def __init__(self, num_windows: int) -> None:
        self._num_windows, self._num_even = num_windows, num_windows // 2 + 1
        self._num_seen, self._spacing = 0, 1
        self._even: list[_Held] = []
        self._risky: list[_Held] = []  # a heap: the least risky first

    def offer(self, index: int, fast: float, samples: torch.Tensor) -> None:
        """Takes the next window `[time]`, in order, and the fast network's score of it."""
        held = fast, -index, samples  # of two alike the earlier is the riskier
        if self._num_seen % self._spacing:
            self._push(held)
        else:
            self._even.append(held)
        self._num_seen += 1
        while self._num_seen > self._num_windows and len(self._even) > self._num_even:
            self._spacing *= 2
            for dropped in self._even[1::2]:
                self._push(dropped)
            self._even = self._even[::2]

    def chosen(self) -> dict[int, torch.Tensor]:
        """Number of each window that all networks judge -> its samples, in order."""
        return {-index: samples for _, index, samples in sorted(self._even + self._risky, key=lambda held: -held[1])}

    def even(self) -> set[int]:
        """Numbers of those that are evenly spaced: they stand for the windows that only the fast network judges."""
        return {-index for _, index, _ in self._even}

    def _push(self, held: _Held) -> None:
        heapq.heappush(self._risky, held)
        if len(self._risky) > self._num_windows - self._num_even:
            heapq.heappop(self._risky)

"""What a fusion's second pass may leave out: long recordings joined from dev, judged with every number of windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch

from core.checkpoints import Detector
from core.detect import BATCH_WINDOWS, Scorer
from core.errors import CoreError
from core.fusion import SecondPass
from core.metrics import equal_error_rate
from core.quality import has_sound
from core.resample import SAMPLE_RATE_HZ
from core.segments import split_windows
from training.data import LabelledSplit, to_float

NUMBERS = (4, 8, 12, 16, 24)
"""How many windows all networks judge, beside all of them and none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFigures:
    """What one number of windows costs and saves."""

    num_windows: int
    """That all networks may judge; 0 for all, -1 for none."""
    eer: float
    share_judged: float
    """Of all windows."""
    mean_change: float
    """Mean absolute difference of recordings' scores from those with all windows judged by all, nats."""


def measure_passes(detector: Detector, split: LabelledSplit, *, length_s: float = 60.0) -> tuple[int, tuple[PassFigures, ...]]:
    """How many joined recordings there were, and the figures of each number of windows.

    Args:
        detector: a fusion.
        split: dev.
        length_s: recordings of one source and label are joined until they are as long.

    Raises:
        CoreError: the detector has one network, or the split is too small to join.
    """
    if not detector.manifest.branches:
        raise CoreError(f"{detector.name} has one network, so that it has no second pass.")
    joined = list(_joined(split, length_s))
    is_spoof = np.array([spoof for spoof, _ in joined])
    if len(joined) < 2 or is_spoof.all() or not is_spoof.any():
        raise CoreError(f"the split has {len(joined)} joined recordings of {length_s:g} s; both classes are needed.")
    scorer, slope = Scorer(detector.thorough), detector.manifest.calibration.slope
    judged = [_judge(scorer, samples) for _, samples in joined]
    whole = np.array([float((fast + rest).mean()) for fast, rest in judged])
    figures = []
    for num in (-1, *NUMBERS, 0):
        scores, shares = zip(*(_score(fast, rest, num) for fast, rest in judged), strict=True)
        figures.append(
            PassFigures(
                num_windows=num,
                eer=equal_error_rate(np.array(scores), is_spoof)[0],
                share_judged=float(np.average(shares, weights=[len(fast) for fast, _ in judged])),
                mean_change=float(slope * np.abs(np.array(scores) - whole).mean()) if num >= 0 else float("nan"),
            )
        )
    return len(joined), tuple(figures)


def passes_json(detector: Detector, split: LabelledSplit, num: int, figures: tuple[PassFigures, ...]) -> dict:
    """What was measured, for a file."""
    return {
        "detector": detector.name,
        "detector_hash": detector.hash,
        "split": split.name,
        "data_hash": split.data_hash,
        "num_recordings": num,
        "figures": [asdict(figure) | ({"mean_change": None} if figure.num_windows < 0 else {}) for figure in figures],
    }


def _joined(split: LabelledSplit, length_s: float) -> Iterator[tuple[bool, torch.Tensor]]:
    """Whether it is a spoof, and samples `[time]`, of recordings of one source and label joined in their order."""
    waiting: dict[tuple[str, bool], list[torch.Tensor]] = defaultdict(list)
    for number, (group, is_spoof) in enumerate(zip(split.groups, split.is_spoof, strict=True)):
        parts = waiting[str(group), bool(is_spoof)]
        parts.append(to_float(split.recording(number)))
        if sum(map(len, parts)) >= length_s * SAMPLE_RATE_HZ:
            yield bool(is_spoof), torch.cat(parts)
            parts.clear()


def _judge(scorer: Scorer, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the fast network and what the others contribute to each window with enough sound, `[window]` each."""
    windows = torch.stack([window for window in split_windows(samples) if has_sound(window)])
    parts = [scorer.contributions(part) for part in windows.split(BATCH_WINDOWS)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _score(fast: torch.Tensor, rest: torch.Tensor, num: int) -> tuple[float, float]:
    """A recording's raw score, and the share of its windows that all networks judged."""
    if num < 0:
        return float(fast.mean()), 0.0
    if num == 0:
        return float((fast + rest).mean()), 1.0
    choice = SecondPass(num)
    for index, score in enumerate(fast.tolist()):
        choice.offer(index, score, fast[index])
    chosen = list(choice.chosen())
    others = torch.full_like(rest, float(rest[sorted(choice.even())].mean()))
    others[chosen] = rest[chosen]
    return float((fast + others).mean()), len(chosen) / len(fast)

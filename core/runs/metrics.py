"""The curves of a training run, read from its `metrics.jsonl` while it is being written."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from core.runs.folders import METRICS_FILE, RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPoint:
    """What was measured on some steps of training."""

    epoch: float
    step: int
    loss: float
    accuracy: float
    samples_per_s: float
    data_share: float
    """Share of a step's time that went into getting data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevPoint:
    """What was measured on dev after an epoch."""

    epoch: float
    step: int
    loss: float
    accuracy: float
    eer: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """A run's curves, by rising step."""

    train: tuple[TrainPoint, ...] = ()
    dev: tuple[DevPoint, ...] = ()

    @property
    def best(self) -> DevPoint | None:
        """The first point with the lowest dev EER."""
        return min(self.dev, key=lambda point: point.eer, default=None)


def read_metrics(folder: Path) -> Metrics:
    """A run's curves. A line that was cut off is left out; what a resumed run did again replaces what it did before."""
    train: list[TrainPoint] = []
    dev: list[DevPoint] = []
    try:
        lines = (folder / METRICS_FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return Metrics()
    except OSError as error:
        raise RunError(f"{folder / METRICS_FILE} cannot be read: {error.strerror}.") from None
    for line in lines:
        point = _point(line)
        if point is None:
            continue
        points = train if isinstance(point, TrainPoint) else dev
        # Several dev points in one epoch are possible only in a run that was resumed from before it.
        while points and points[-1].step >= point.step:
            points.pop()
        points.append(point)
    return Metrics(train=tuple(train), dev=tuple(dev))


def _point(line: bytes) -> TrainPoint | DevPoint | None:
    try:
        content = json.loads(line)
        kind = {"train": TrainPoint, "dev": DevPoint}[content["split"]]
        return kind(**{field.name: (int if field.name == "step" else float)(content[field.name]) for field in fields(kind)})
    except (ValueError, TypeError, KeyError):
        return None

"""Windows cut from a split in batches, on the device that holds its samples: at random, or always from the start."""

from __future__ import annotations

from functools import cached_property

import torch

from core.detector_config import WINDOW_SAMPLES
from core.quality import ACTIVE_DB, FRAME_SAMPLES, rms_levels_db
from core.resample import SAMPLE_RATE_HZ
from training.data import LabelledSplit, to_float

_TRIM_RANGES_DB = (25.0, 30.0, 35.0, 40.0)
"""A frame this far below the loudest may count as edge silence; drawn at random."""
_TRIM_SHARE = 0.75
_MAX_KEPT_S = 0.1
_MIN_SAMPLES = SAMPLE_RATE_HZ // 10


class CropSampler:
    """Windows `[batch, 64000]` float32 of a split's recordings.

    Args:
        split: what to cut from; its samples are moved to the device once.
        device: where windows are made.
    """

    def __init__(self, split: LabelledSplit, device: torch.device) -> None:
        self.device = device
        self.samples = split.samples.to(device)
        self.starts, self.lengths = split.starts.to(device), split.lengths.to(device)
        self._split = split
        self._window = torch.arange(WINDOW_SAMPLES, device=device)

    @cached_property
    def _bounds(self) -> torch.Tensor:
        """`[recording, 1 + range, 2]`, measured when it is first needed."""
        return torch.stack([_active_bounds(self._split.recording(i)) for i in range(len(self._split))]).to(self.device)

    def from_start(self, chosen: torch.Tensor) -> torch.Tensor:
        """The first 4 s of each chosen recording `[batch]`, a shorter one repeated."""
        return self._windows(self.starts[chosen], self.lengths[chosen], torch.zeros_like(chosen))

    def random(self, chosen: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A random window of each chosen recording `[batch]`.

        Edge silence is trimmed by chance; a longer recording is cut anywhere, a shorter one repeated from a random
        phase. Some are cut shorter than they are, so that duration is no cue.
        """

        def uniform() -> torch.Tensor:
            return torch.rand(len(chosen), device=self.device, generator=generator)

        row = torch.where(uniform() < _TRIM_SHARE, 1 + (uniform() * len(_TRIM_RANGES_DB)).long(), 0)
        first, end = self._bounds[chosen, row].unbind(-1)
        kept = (uniform() * _MAX_KEPT_S * SAMPLE_RATE_HZ).long() * (row > 0)
        first, end = (first - kept).clamp_min(0), torch.minimum(end + kept, self.lengths[chosen])
        length = torch.maximum(end - first, torch.minimum(self.lengths[chosen] - first, torch.full_like(first, _MIN_SAMPLES)))
        shorter = torch.where(uniform() < 0.5, 0.6 + 0.4 * uniform(), 1.0)
        used = torch.where(length > WINDOW_SAMPLES, WINDOW_SAMPLES, (length * shorter).long().clamp_min(1))
        offset = first + (uniform() * (length - used + 1)).long()
        phase = (uniform() * WINDOW_SAMPLES).long() * ((uniform() < 0.5) & (length <= WINDOW_SAMPLES))
        return self._windows(self.starts[chosen] + offset, used, phase)

    def _windows(self, starts: torch.Tensor, lengths: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
        """Each stretch repeated to fill the window, beginning `phases` samples in."""
        position = (self._window + phases[:, None]) % lengths[:, None] + starts[:, None]
        return to_float(self.samples[position])


def trim_edges(samples: torch.Tensor, *, keep_s: float, range_db: float) -> torch.Tensor:
    """int16 `[time]` without leading and trailing frames more than `range_db` below the loudest; `keep_s` stays at each edge."""
    first, end = _active_span(rms_levels_db(to_float(samples)), range_db, len(samples))
    keep = int(keep_s * SAMPLE_RATE_HZ)
    return samples[max(0, first - keep) : end + keep]


def _active_bounds(samples: torch.Tensor) -> torch.Tensor:
    """First and end sample `[1 + range, 2]`: of the whole recording, then within each of `_TRIM_RANGES_DB`."""
    levels = rms_levels_db(to_float(samples))
    spans = [(0, len(samples))] + [_active_span(levels, range_db, len(samples)) for range_db in _TRIM_RANGES_DB]
    return torch.tensor(spans)


def _active_span(levels: torch.Tensor, range_db: float, num_samples: int) -> tuple[int, int]:
    """The first sample of the first active frame and the end of the last; everything where no frame is active."""
    if not len(levels):
        return 0, num_samples
    active = torch.nonzero(levels > max(ACTIVE_DB, float(levels.max()) - range_db)).flatten()
    return (int(active[0]) * FRAME_SAMPLES, (int(active[-1]) + 1) * FRAME_SAMPLES) if len(active) else (0, num_samples)

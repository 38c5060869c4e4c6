"""What a detector costs: parameters, multiply-accumulates, and segments/s on two cores as the scan runs them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import torch

from core.checkpoints import Detector
from core.detect import BATCH_WINDOWS
from core.detector_config import WINDOW_SAMPLES
from core.networks.anatomy import Anatomy, describe_network
from core.runtime import open_session

NUM_CORES = 2
NUM_REPEATS = 3
"""Each speed is the median of this many measurements; the detectors take turns, so that a busy moment hits all alike."""
_NUM_BATCHES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCost:
    """What one detector costs."""

    num_parameters: int
    num_macs: int
    """Multiply-accumulates of the network for one segment; the front end is not counted."""
    segments_per_s: float
    """Front end and network (ONNX Runtime) together, on `num_cores` cores with one thread each."""
    num_cores: int


def measure_costs(detectors: Sequence[Detector]) -> tuple[DetectorCost, ...]:
    """Measures all in one run, in turn, in the order given."""
    num_cores = min(NUM_CORES, len(os.sched_getaffinity(0)))
    noise = torch.randn(BATCH_WINDOWS, WINDOW_SAMPLES, generator=torch.Generator().manual_seed(0)) * 0.1
    runs = [_runner(detector, noise) for detector in detectors]
    times: list[list[float]] = [[] for _ in runs]
    with ThreadPoolExecutor(num_cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for run in runs:  # warm caches and allocators
            _pass(pool, run, num_cores)
        for _ in range(NUM_REPEATS):
            for measured, run in zip(times, runs, strict=True):
                measured.append(_pass(pool, run, _NUM_BATCHES))
    costs = []
    for detector, measured in zip(detectors, times, strict=True):
        anatomies = [_anatomy_of(branch, noise[:1]) for branch in detector.branches]
        num_parameters, num_macs = (sum(getattr(a, name) for a in anatomies) for name in ("num_parameters", "num_macs"))
        rate = _NUM_BATCHES * BATCH_WINDOWS / median(measured)
        costs.append(DetectorCost(num_parameters=num_parameters, num_macs=num_macs, segments_per_s=rate, num_cores=num_cores))
    return tuple(costs)


def _anatomy_of(detector: Detector, windows: torch.Tensor) -> Anatomy:
    with torch.inference_mode():
        image = detector.build_front_end()(windows)
    return describe_network(detector.load_model(), image)


def _runner(detector: Detector, windows: torch.Tensor):
    front_end, session = detector.build_front_end(), open_session(detector)

    def run(_: int) -> None:
        with torch.inference_mode():
            session(front_end(windows))

    return run


def _pass(pool: ThreadPoolExecutor, run, num_batches: int) -> float:
    """Seconds that so many batches take on all cores."""
    started = time.perf_counter()
    for _ in pool.map(run, range(num_batches)):
        pass
    return time.perf_counter() - started

"""Networks to look into, opened from a detector or a run with the front end that feeds them, and the images they get."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from core.audio import SAMPLE_RATE_HZ, AudioReader
from core.checkpoints import Detector
from core.detector_config import WINDOW_SAMPLES, FeatureConfig
from core.errors import AudioRefusal, DetectorError
from core.features import build_front_end
from core.models import build_model
from core.networks.anatomy import Anatomy, describe_network
from core.quality import MIN_ACTIVE_S, has_sound
from core.runs.folders import RUN_FILE, WEIGHTS_FILE, Run, RunError
from core.segments import WindowStream


@dataclass(frozen=True)
class Network:
    """A network with its weights and the front end that feeds it, in evaluation mode on the CPU."""

    model: nn.Module
    front_end: nn.Module

    @cached_property
    def anatomy(self) -> Anatomy:
        """Its layers, read from an image of silence."""
        with torch.inference_mode():
            return describe_network(self.model, self.front_end(torch.zeros(1, WINDOW_SAMPLES)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingImage:
    """What a network is shown of a recording."""

    start_s: float
    """Where the window begins."""
    image: torch.Tensor
    """`[1, channel, row, column]`."""


def open_network(source: Detector | Run) -> Network:
    """The network of a detector, or of a run with its best weights so far.

    Raises:
        DetectorError: a detector's weights are damaged.
        RunError: a run has no weights yet or they are damaged, or its recipe names no network or front end of this program.
    """
    if isinstance(source, Detector):
        return Network(source.load_model(), source.build_front_end())
    return _open_run(source)


def version_of(source: Detector | Run) -> str:
    """Text that changes when the weights do: a running run's get better."""
    if isinstance(source, Detector):
        return source.hash
    try:
        status = (source.folder / WEIGHTS_FILE).stat()
    except OSError:
        return f"{source.folder}"
    return f"{source.folder} {status.st_mtime_ns} {status.st_size}"


def recording_image(path: str | os.PathLike[str], front_end: nn.Module) -> RecordingImage:
    """The first window of a recording that holds enough sound, as a network sees it.

    Raises:
        AudioRefusal: the recording cannot be decoded, or no window can be judged.
    """
    for start, window in _windows(path):
        if has_sound(window):
            with torch.inference_mode():
                return RecordingImage(start_s=start / SAMPLE_RATE_HZ, image=front_end(window[None]))
    raise AudioRefusal("no_speech", f"No window of 4 s holds {MIN_ACTIVE_S} s of sound; there is nothing to show.")


def _open_run(run: Run) -> Network:
    path = run.folder / WEIGHTS_FILE
    if not path.is_file():
        raise RunError(f"{run.name} has no {WEIGHTS_FILE} yet; it is written after the first epoch.")
    try:
        model = build_model(run.recipe["model"])
        front_end = build_front_end(FeatureConfig(**run.recipe["features"]))
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.folder / RUN_FILE}: the recipe needs model and features; {error}.") from None
    except DetectorError as error:
        raise RunError(f"{run.folder / RUN_FILE}: {error}.") from None
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise RunError(f"{path} does not hold the weights of a {run.recipe['model']}: {str(error).splitlines()[0]}") from None
    return Network(model.eval(), front_end)


def _windows(path: str | os.PathLike[str]) -> Iterator[tuple[int, torch.Tensor]]:
    """First sample and samples of every window of the mixdown, read only as far as they are taken."""
    stream = WindowStream()
    for block in AudioReader(path):
        yield from stream.push(block[0])
    yield from stream.finish()

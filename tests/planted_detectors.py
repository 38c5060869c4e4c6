"""Detectors whose decision is known by construction, and recordings in which the evidence lies where it was put."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core import models
from core.calibration import Calibration, Thresholds
from core.checkpoints import Detector, DetectorManifest, save_detector
from core.detector_config import FeatureConfig
from core.explanation import detector_views

RATE_HZ = 16_000
TONE_HZ = 2_500.0


def find_tone() -> nn.Sequential:
    """Spoof where a horizontal line is: a cell 3 bins off on either side is 1.5 standard deviations lower, over 9 frames."""
    convolution = nn.Conv2d(1, 1, (7, 9), padding=(3, 4))
    across = torch.tensor([-0.5, 0, 0, 1, 0, 0, -0.5])
    with torch.no_grad():
        convolution.weight.copy_(across[:, None].expand(7, 9)[None, None] / 9)
        convolution.bias.fill_(-1.5)
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), _head(200.0))


def hear_nothing() -> nn.Sequential:
    """Always the same score: its head has no weights."""
    network = find_tone()
    with torch.no_grad():
        network[-1].weight.zero_()
        network[-1].bias.copy_(torch.tensor([0.0, 0.5]))
    return network


def take_mean() -> nn.Sequential:
    """The mean of the image."""
    convolution = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        convolution.weight.fill_(1.0)
        convolution.bias.zero_()
    return nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), _head(1.0))


class Unlearnt(nn.Module):
    """`find_tone` without a single weight that could be learnt: everything is a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = find_tone()
        for module in self.layers.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.layers(image)


def _head(slope: float) -> nn.Linear:
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0], [slope]]))
        head.bias.zero_()
    return head


PLANTED = {"find_tone": find_tone, "hear_nothing": hear_nothing, "take_mean": take_mean, "unlearnt": Unlearnt}


@dataclass(frozen=True)
class PlantedDetectors:
    """Makes and keeps detectors in a scratch folder."""

    folder: Path

    def __call__(self, model: str, *, num_members: int = 1, kind: str = "log_spectrogram") -> Detector:
        """The detector of a network of `PLANTED`."""
        manifest = DetectorManifest(
            name=f"{model}-{kind}-{num_members}",
            summary="Known by construction.",
            model=model,
            features=FeatureConfig(kind=kind),
            aggregate="mean",
            num_members=num_members,
            calibration=Calibration(slope=2.0, offset=1.0),
            thresholds=Thresholds(lower=0.0, upper=1.0),
            provenance={},
        )
        return save_detector(self.folder / manifest.name, models.build_model(model, num_members=num_members), manifest)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlantedDetectors:
    """Function of a name: that detector. Runs in PyTorch alone: an ONNX export of each would take seconds."""

    def session(detector: Detector, *, num_threads: int):
        model = detector.load_model()
        return torch.inference_mode()(lambda image: models.raw_scores(model(image)))

    export = detector_views.open_session
    monkeypatch.setattr(
        detector_views,
        "open_session",
        lambda detector, **options: (export if detector.is_foreign else session)(detector, **options),
    )
    for name, build in PLANTED.items():
        monkeypatch.setitem(models.MODELS, name, build)
    return PlantedDetectors(tmp_path / "planted")


def recording_with_tone(duration_s: float = 4.0, *, start_s: float = 1.0, end_s: float = 1.8) -> np.ndarray:
    """Faint noise, a louder tone of `TONE_HZ` from `start_s` to `end_s`, and the loudest: noise in the last 0.4 s; float32."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    samples = 1e-3 * rng.standard_normal(len(time_s))
    samples += 0.1 * np.sin(2 * np.pi * TONE_HZ * time_s) * ((time_s >= start_s) & (time_s < end_s))
    samples += 0.1 * rng.standard_normal(len(time_s)) * (time_s >= duration_s - 0.4)
    return samples.astype(np.float32)

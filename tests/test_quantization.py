"""core.precision.quantization: a detector of its own, close to the first one, made again to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core.checkpoints import Detector, detector_named
from core.commands.program import main
from core.detect import Scorer
from core.errors import DetectorError
from core.precision.quantization import quantize_detector


def test_it_scores_close_to_the_first_and_is_another(speech_like: Callable, tmp_path: Path) -> None:
    shipped = detector_named("vgg27-spectrogram")
    made = quantize_detector(shipped, "small", out=tmp_path)
    windows = torch.stack([torch.from_numpy(speech_like(4.0, seed)) for seed in range(16)])
    whole, small = (Scorer(detector).score_windows(windows) for detector in (shipped, made))
    assert torch.corrcoef(torch.stack([whole, small]))[0, 1] > 0.98
    assert not torch.equal(whole, small)
    assert made.hash != shipped.hash
    assert (made.manifest.thresholds, made.manifest.figures) == (shipped.manifest.thresholds, ())
    again = quantize_detector(shipped, "again", out=tmp_path)
    assert again.graph_path.read_bytes() == made.graph_path.read_bytes()
    with pytest.raises(DetectorError, match="cannot be quantised"):
        quantize_detector(made, "twice", out=tmp_path)


def test_the_command(lively_detector: Detector, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["quantize-detector", "--name", "small", "--out", str(tmp_path)]) == 0
    assert "Measure it before you rely on it" in capsys.readouterr().out
    assert main(["quantize-detector", "--name", "small", "--out", str(tmp_path)]) == 1
    assert "already" in capsys.readouterr().err

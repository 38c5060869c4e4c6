"""core.foreign.quantization: a detector of its own, close to the first one, made again to the byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core.checkpoints import Detector
from core.commands.program import main
from core.detect import Scorer
from core.errors import DetectorError
from core.foreign.quantization import quantize_detector


def test_it_scores_close_to_the_first_and_is_another(lively_detector: Detector, speech_like: Callable, tmp_path: Path) -> None:
    made = quantize_detector(lively_detector, "small", out=tmp_path)
    windows = torch.stack([torch.from_numpy(speech_like(4.0, seed)) for seed in range(16)])
    whole, small = (Scorer(detector).score_windows(windows) for detector in (lively_detector, made))
    assert torch.corrcoef(torch.stack([whole, small]))[0, 1] > 0.98
    assert not torch.equal(whole, small)
    assert made.hash != lively_detector.hash
    assert (made.manifest.thresholds, made.manifest.figures) == (lively_detector.manifest.thresholds, ())
    again = quantize_detector(lively_detector, "again", out=tmp_path)
    assert again.graph_path.read_bytes() == made.graph_path.read_bytes()
    with pytest.raises(DetectorError, match="cannot be quantised"):
        quantize_detector(made, "twice", out=tmp_path)


def test_the_command(lively_detector: Detector, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["quantize-detector", "--name", "small", "--out", str(tmp_path)]) == 0
    assert "Measure it before you rely on it" in capsys.readouterr().out
    assert main(["quantize-detector", "--name", "small", "--out", str(tmp_path)]) == 1
    assert "already" in capsys.readouterr().err

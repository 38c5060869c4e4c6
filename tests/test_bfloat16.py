"""core.precision.bfloat16: a detector of its own with the first one's weights, close to it; OpenVINO reports to nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from core.checkpoints import BFLOAT16, Detector, detector_named, load_detector
from core.commands.program import main
from core.detect import Scorer
from core.errors import DetectorError
from core.familiarity import load_familiarity
from core.precision.bfloat16 import bfloat16_detector
from core.precision.quantization import quantize_detector
from core.runtime import open_session

openvino = pytest.importorskip("openvino", reason="needs OpenVINO: pip install -r requirements-openvino.txt")

ROOT = Path(__file__).parents[1]
_SCORING = """
import sys
import torch
from core.checkpoints import detector_named
from core.detect import Scorer
Scorer(detector_named(sys.argv[1])).score_windows(torch.zeros(1, 64_000))
assert "openvino" in sys.modules
"""


@pytest.fixture
def made(lively_detector: Detector, tmp_path: Path) -> Detector:
    return bfloat16_detector(lively_detector, "made", out=tmp_path / "made")


@pytest.fixture
def windows(speech_like: Callable) -> torch.Tensor:
    return torch.stack([torch.from_numpy(speech_like(4.0, seed)) for seed in range(24)])


def test_it_is_a_detector_of_its_own_with_the_same_weights(lively_detector: Detector, made: Detector) -> None:
    weights, first = (detector.load_model().state_dict() for detector in (made, lively_detector))
    assert all(torch.equal(weights[name], first[name]) for name in first)
    assert load_detector(made.folder) == made
    assert made.hash != lively_detector.hash
    assert (made.manifest.precision, made.manifest.figures) == (BFLOAT16, ())
    assert made.manifest.thresholds == lively_detector.manifest.thresholds
    familiarity = load_familiarity(made)
    assert torch.equal(familiarity.means, load_familiarity(lively_detector).means)
    assert familiarity.figures == ()


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_it_scores_close_to_the_first(lively_detector: Detector, made: Detector, windows: torch.Tensor, backend: str) -> None:
    (scores, distances), (wanted, wanted_distances) = (
        Scorer(detector, backend=backend).judge_windows(windows) for detector in (made, lively_detector)
    )
    assert scores.dtype == distances.dtype == torch.float32
    assert torch.corrcoef(torch.stack([scores, wanted]))[0, 1] > 0.99
    torch.testing.assert_close(distances, wanted_distances, rtol=0.05, atol=0)
    if backend == "torch" or "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert (scores - wanted).abs().max() > 1e-3  # 32 bits give 1e-5 from each other


def test_a_window_scores_the_same_whatever_it_shares_a_batch_with(made: Detector, windows: torch.Tensor) -> None:
    scorer = Scorer(made)
    together = scorer.score_windows(windows)
    assert torch.equal(torch.cat([scorer.score_windows(part) for part in windows.split(5)]), together)
    with ThreadPoolExecutor(4) as pool:
        assert torch.equal(torch.cat(list(pool.map(scorer.score_windows, windows.split(3)))), together)


def test_shipped_weights_score_the_samples_alike(tmp_path: Path) -> None:
    shipped = detector_named("vgg27-spectrogram")
    made = bfloat16_detector(shipped, "made", out=tmp_path)
    assert made.card.startswith("# made\n")
    assert shipped.card in made.card
    paths = sorted((ROOT / "data" / "samples").rglob("*.flac"))
    for one, other in zip(*(Scorer(detector).score_files(paths) for detector in (made, shipped)), strict=True):
        assert one.detections[0].spoof_score == pytest.approx(other.detections[0].spoof_score, abs=0.2)


def test_what_cannot_be_put_into_it(made: Detector, lively_detector: Detector, tmp_path: Path) -> None:
    for detector in (made, quantize_detector(lively_detector, "small", out=tmp_path)):
        with pytest.raises(DetectorError, match="only our own networks in float32 can"):
            bfloat16_detector(detector, "twice", out=tmp_path)
    with pytest.raises(DetectorError, match="already"):
        bfloat16_detector(lively_detector, "made", out=made.folder.parent)


def test_without_openvino_it_says_what_to_install(
    lively_detector: Detector, made: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    for work in (lambda: open_session(made), lambda: bfloat16_detector(lively_detector, "another", out=tmp_path)):
        with pytest.raises(DetectorError, match=r"pip install -r requirements-openvino\.txt"):
            work()
    assert not (tmp_path / "another").exists()


def test_the_command(lively_detector: Detector, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["quantize-detector", "--to", "bfloat16", "--name", "fast", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "Measure it before you rely on it" in capsys.readouterr().out
    assert load_detector(tmp_path / "fast").manifest.precision == BFLOAT16


def test_openvino_reports_to_nobody(made: Detector, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "XDG_CACHE_HOME")}
    home = tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "EARWITNESS_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", _SCORING, str(made.folder)], env=environment | own, cwd=ROOT, check=True)
    assert list(home.iterdir()) == []  # where it reports, it keeps a number of this user, too

"""core.scanning.benchmark, run for real on a few recordings: every figure is there, and copies count as recordings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from core.checkpoints import Detector
from core.commands.program import main
from core.detect import Scorer
from core.errors import ScanError
from core.scanning import benchmark, gpu_benchmark
from core.scanning.browse import SAMPLES_FOLDER
from core.scanning.first_result import first_of_command_s, first_of_dashboard_s
from core.scanning.measuring import num_cores


def test_every_figure_is_in_the_report(tiny_detector: Detector, speech_like: Callable, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(benchmark, "NUM_REPEATS", 1)
    folder, scratch = tmp_path / "audio", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    for seed, ending in enumerate(["wav", "flac", "ogg"]):
        soundfile.write(folder / f"r{seed}.{ending}", speech_like(3.0, seed), 16_000)
    report = benchmark.run_benchmark(str(folder), tiny_detector, scratch=scratch, peer=tiny_detector, sizes=[7], num_entries=200)
    costs_ms = {
        name: float(cost.replace(",", ""))
        for name, cost in re.findall(r"^\| (.+?) \| [\d,]+ \| ([\d,.]+) \|$", report, re.MULTILINE)
    }
    parts_ms = [cost for name, cost in costs_ms.items() if name.startswith("part: ")]
    assert len(parts_ms) == 4
    assert costs_ms["limit that follows from the parts"] == pytest.approx(sum(parts_ms), abs=0.05)
    assert costs_ms["the scan (list, hash, decode, score, store)"] > 0
    assert report.count("Scan against the plain loop with `tiny`") == 2
    size, _, share, peak_mib = re.search(r"^\| (\d+) \| ([\d,]+) \| ([\d.]+) \| ([\d,]+) \|$", report, re.MULTILINE).groups()
    assert (size, float(share) > 0, int(peak_mib.replace(",", "")) > 50) == ("7", True, True)
    assert [0 < float(took_s) < 60 for took_s in re.findall(r"First result in the store: ([\d.]+) s", report)] == [True, True]
    assert "| triage: highest scores |" in report
    assert list(scratch.glob("*recordings")) == []


@pytest.mark.parametrize("of", [first_of_command_s, first_of_dashboard_s])
def test_a_first_result_that_never_comes_is_no_figure(of: Callable, tiny_detector: Detector, tmp_path: Path) -> None:
    gone = replace(tiny_detector, hash="f" * 64, folder=tmp_path / "gone")
    with pytest.raises(ScanError, match="ended without one"):
        of(str(SAMPLES_FOLDER), gone, tmp_path / "store.db")


def test_a_gpus_figures_follow_from_its_rates(
    tiny_detector: Detector, speech_like: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a GPU: the CPU computes in PyTorch in its place, in the measured parts and in the scan.
    monkeypatch.setattr(gpu_benchmark, "NUM_REPEATS", 1)
    monkeypatch.setattr(gpu_benchmark, "gpu_scorer", lambda detector: Scorer(detector, backend="torch"))
    (tmp_path / "audio").mkdir()
    for seed in range(2):
        soundfile.write(tmp_path / "audio" / f"r{seed}.wav", speech_like(3.0, seed), 16_000)
    report = gpu_benchmark.run_gpu_benchmark(str(tmp_path / "audio"), tiny_detector, scratch=tmp_path)
    decoding, gpu, scan = (float(rate.replace(",", "")) for rate in re.findall(r"^\| .+ \| ([\d,]+) \|$", report, re.MULTILINE))
    (share,) = re.findall(r"computes (\d+)%", report)
    (cores,) = re.findall(r"enough for it: ([\d.]+)", report)
    assert float(share) == pytest.approx(100 * scan / gpu, rel=0.2, abs=1)
    assert float(cores) == pytest.approx(gpu * num_cores() / decoding, rel=0.2, abs=0.1)


def test_without_a_gpu_the_command_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["benchmark", str(tmp_path), "--device", "cuda"]) == 1
    assert "leave out --device cuda" in capsys.readouterr().err
    assert main(["benchmark", str(tmp_path), "--device", "cuda", "--sizes", "10"]) == 1
    assert "--sizes and --entries are about the CPU" in capsys.readouterr().err


def test_copies_without_room_are_not_begun(tiny_detector: Detector, speech_like: Callable, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "r.wav", speech_like(2.0, 0), 16_000)
    material = benchmark.gather_material(str(tmp_path), tiny_detector.manifest.window_samples)
    with pytest.raises(ScanError, match="set TMPDIR to a place with more room"):
        benchmark._scan_of_size(10**12, material, tiny_detector, tmp_path)

"""`torchrun --nproc_per_node=2` on the training command against one process: the same loss curve and weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

from training.prepare import prepare

# After `--`, or torchrun takes our `--run` for an abbreviation of its own `--run-path` and stops.
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "--"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, speech_like) -> Path:
    """Sixteen recordings to train on and six for dev, spoofs low-passed."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "protocols").mkdir()
    for number, (split, num) in enumerate((("train", 16), ("dev", 6))):
        (root / split).mkdir()
        for i in range(num):
            samples = speech_like(1.5 + i % 3, 100 * number + i)
            samples = np.convolve(samples, np.ones(16) / 16, mode="same") if i % 2 else samples
            soundfile.write(root / split / f"{split}{i}.flac", samples, 16_000)
        lines = [f"{split}S{i % 4} {split}{i} - {'A01' if i % 2 else '-'} {'spoof' if i % 2 else 'bonafide'}\n" for i in range(num)]
        (root / "protocols" / f"EW.{split}.txt").write_text("".join(lines))
    prepare(root, root / "prepared", num_workers=0, say=lambda _: None)
    return root / "prepared"


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The run folders of one process and of two."""
    folder = tmp_path_factory.mktemp("runs")
    for name, launcher in (("one", ["-m"]), ("two", TORCHRUN)):
        arguments = ["train", "tiny", "--data", str(data), "--run", str(folder / name), "--device", "cpu"]
        command = [sys.executable, *launcher, "tests.distributed_train", *arguments]
        # As many threads in both: torchrun gives each process one, and a sum over two threads rounds otherwise.
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return folder / "one", folder / "two"


def _measured(run: Path, split: str, figure: str) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[figure] for line in lines if line["split"] == split]


def test_the_loss_curve_is_the_same(runs: tuple[Path, Path]) -> None:
    one, two = runs
    for split, steps in (("train", [1, 2, 3, 4]), ("dev", [2, 4])):
        assert _measured(one, split, "step") == _measured(two, split, "step") == steps
        assert _measured(two, split, "loss") == pytest.approx(_measured(one, split, "loss"), rel=1e-5)


def test_each_line_is_written_once_and_the_run_says_how_many_it_was(runs: tuple[Path, Path]) -> None:
    one, two = runs
    for run, num in ((one, 1), (two, 2)):
        assert _measured(run, "dev", "epoch") == [1, 2]
        assert json.loads((run / "run.json").read_text())["num_processes"] == num
        assert json.loads((run / "state.json").read_text())["state"] == "finished"


def test_the_weights_are_the_same_but_for_rounding(runs: tuple[Path, Path]) -> None:
    one, two = (load_file(run / "best.safetensors") for run in runs)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        np.testing.assert_allclose(two[name], tensor, rtol=1e-4, atol=1e-5, err_msg=name)

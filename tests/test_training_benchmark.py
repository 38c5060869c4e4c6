"""The benchmark of the input pipelines, run for real on a tiny corpus: what it pairs, counts, prints and refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import soundfile
import torch

from core.errors import CoreError
from training.benchmark import run_benchmark
from training.benchmark_report import BenchmarkOptions, BenchmarkResult, PipelineRate, as_markdown
from training.file_dataset import FileItems, image_batches, zipped
from training.prepare import prepare
from training.trees import open_tree

OPTIONS = BenchmarkOptions(num_recordings=10, batch_size=4, num_workers=1, num_steps=1)


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory, speech_like) -> Path:
    """Twelve recordings of 1 to 5 s to train on, four for dev."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "protocols").mkdir()
    for split, num in (("train", 12), ("dev", 4)):
        (root / split).mkdir()
        for i in range(num):
            soundfile.write(root / split / f"{split}{i}.flac", speech_like(1 + i % 5, i), 16_000)
        lines = [f"{split}S{i % 3} {split}{i} - {'A01' if i % 2 else '-'} {'spoof' if i % 2 else 'bonafide'}\n" for i in range(num)]
        (root / "protocols" / f"EW.{split}.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def data(corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, prepared."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare(corpus_folder, folder, num_workers=0, say=lambda _: None)
    return folder


@pytest.fixture(scope="module")
def result(data: Path, corpus_folder: Path) -> BenchmarkResult:
    return run_benchmark(data, corpus_folder, OPTIONS)


def test_every_way_is_measured(result: BenchmarkResult) -> None:
    assert list(result.rates) == ["files", "zip", "packed", "augmented"]
    for rate in result.rates.values():
        assert min(rate.samples_per_s, rate.trained_per_s) > 0
        assert 0 < rate.data_share < 1
    assert result.num_recordings == 10
    # Evenly spread over 12 recordings, 0, 1, 2, 3, 4, 6, 7, 8, 9, 10 are measured: of 1 to 5 s, 30 s in all.
    assert result.duration_s == pytest.approx(3.0)
    assert result.upload_bytes == 2 * 30 * 16_000


def test_the_report_holds_the_figures_and_their_ratio() -> None:
    rate = PipelineRate(samples_per_s=100.0, trained_per_s=20.0, data_share=0.25)
    slow = BenchmarkResult(
        rates={"files": rate, "zip": rate, "packed": dataclasses.replace(rate, samples_per_s=1_150.0), "augmented": rate},
        num_recordings=7,
        duration_s=3.25,
        upload_s=0.5,
        upload_bytes=3 << 20,
        unpack_s=0.125,
    )
    text = as_markdown(slow, OPTIONS)
    assert "| usual: open, decode, crop, image for each item; DataLoader | 100 | 1.00 x | 20 | 25.0% |" in text
    assert "| ours: packed array on the device; crop, image in batches | 1,150 | 11.50 x | 20 | 25.0% |" in text
    assert "the same work: 11.5 x" in text
    assert "is not reached on this machine" in text
    assert f"torch {torch.__version__}" in text
    quick = dataclasses.replace(slow, rates=slow.rates | {"packed": dataclasses.replace(rate, samples_per_s=1_201.0)})
    assert "is beaten on this machine" in as_markdown(quick, OPTIONS)


def test_the_command_writes_the_table(data: Path, corpus_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from training.__main__ import main

    out = tmp_path / "report.md"
    few = ["--recordings", "8", "--batch-size", "4", "--workers", "0", "--steps", "1"]
    command = ["benchmark", "--data", str(data), "--files", str(corpus_folder), *few]
    assert main([*command, "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert out.read_text().count("\n| ") == 6
    assert main([*command, "--files", str(data)]) == 1
    assert "0 of the training split's 12 recordings have their file" in capsys.readouterr().err


def test_a_file_that_has_changed_is_told(data: Path, corpus_folder: Path, tmp_path: Path) -> None:
    for path in (corpus_folder / "train").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    soundfile.write(tmp_path / "train4.flac", torch.zeros(16_000).numpy(), 16_000)
    with pytest.raises(CoreError, match=r"train4\.flac is not the file that .* was prepared from"):
        run_benchmark(data, tmp_path, OPTIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "tpu"}, "expected cpu or cuda"),
        ({"batch_size": 1}, "a batch of at least 2"),
        ({"num_recordings": 7}, "less than two batches"),
    ],
)
def test_options_that_cannot_be_are_told(change: dict, message: str) -> None:
    with pytest.raises(CoreError, match=message):
        dataclasses.replace(OPTIONS, **change)


def test_the_usual_way_makes_images_of_files_and_of_zips(corpus_folder: Path, tmp_path: Path) -> None:
    names = ["train/train0.flac", "train/train4.flac"]
    items = FileItems(open_tree(corpus_folder), names)
    from_zip, unpack_s = zipped(items.tree, names, tmp_path)
    assert unpack_s > 0
    assert len(items) == len(from_zip) == 2
    assert (tmp_path / "unpacked" / "1.flac").read_bytes() == (corpus_folder / names[1]).read_bytes()
    for each in (items, from_zip):
        image = each[0]  # 1 s, repeated four times: the crop of 4 s is all of it
        assert image.shape == (1, 224, 224)
        assert image.mean() == pytest.approx(0, abs=1e-4)
        assert torch.equal(image, items[0])
    batches = list(image_batches(from_zip, num_batches=3, batch_size=2, num_workers=0, device=torch.device("cpu")))
    assert [batch.shape for batch in batches] == [(2, 1, 224, 224)] * 3

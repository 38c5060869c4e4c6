"""Our input pipeline against the usual one, on the same recordings in one run. Prints rates and ratios, judges no detector.

Ours is the packed int16 array on the device, cropped, augmented and turned into images in batches there; the usual one is
`training.file_dataset`, from loose files and from a zip read in place.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import gcd
from pathlib import Path, PurePosixPath
from statistics import median

import torch
from torch.nn.functional import cross_entropy

from core.audio import SAMPLE_RATE_HZ, load, sha256_of
from core.detector_config import FeatureConfig
from core.errors import CoreError
from core.models import build_model
from training.batches import BatchMaker
from training.benchmark_report import NUM_REPEATS, BenchmarkOptions, BenchmarkResult, PipelineRate
from training.data import LabelledSplit, load_split
from training.file_dataset import FileItems, image_batches, zipped
from training.recipes import Recipe
from training.trees import Tree, open_tree


def run_benchmark(data: Path, files: Path, options: BenchmarkOptions) -> BenchmarkResult:
    """Measures every way of feeding.

    Args:
        data: a prepared folder.
        files: the folder or zip with the files that its training split was made from.
        options: how much.

    Raises:
        CoreError: the folder is not prepared, too few recordings of it have their file in `files`, or a file has changed.
    """
    split, names = _same_recordings(load_split(data, "train"), open_tree(files), options)
    tree, device = open_tree(files), torch.device(options.device)
    for name, sha256 in zip(names, split.index["sha256"], strict=True):
        with tree.opened(name) as path:
            if sha256_of(path) != sha256:
                raise CoreError(f"{tree.described(name)} is not the file that {data} was prepared from.")
            load(path)  # into the page cache; and what cannot be decoded is told here
    started = time.perf_counter()
    plain = _maker(split, options)
    _synchronise(device)
    upload_s = time.perf_counter() - started
    augmenting = _maker(split, options, channel_share=1.0, masks_images=True)
    with tempfile.TemporaryDirectory() as scratch:
        zip_items, unpack_s = zipped(tree, names, Path(scratch))
        usual = partial(image_batches, batch_size=options.batch_size, num_workers=options.num_workers, device=device)
        rates = _rates(
            {
                "files": lambda num: usual(FileItems(tree, names), num_batches=num),
                "zip": lambda num: usual(zip_items, num_batches=num),
                "packed": partial(_packed_batches, plain),
                "augmented": partial(_packed_batches, augmenting),
            },
            num_batches=len(names) // options.batch_size,
            num_steps=options.num_steps,
            device=device,
        )
    return BenchmarkResult(
        rates=rates,
        num_recordings=len(names),
        duration_s=float(split.lengths.double().mean()) / SAMPLE_RATE_HZ,
        upload_s=upload_s,
        upload_bytes=split.samples.nbytes,
        unpack_s=unpack_s,
    )


def _same_recordings(split: LabelledSplit, tree: Tree, options: BenchmarkOptions) -> tuple[LabelledSplit, list[str]]:
    """The part of the split that is measured, and its files, paired by the file's name without its ending."""
    by_stem = {PurePosixPath(name).stem: name for name in tree.sizes()}
    rows = [row for row, utterance in enumerate(split.index["utterance"]) if utterance in by_stem]
    if len(rows) < 2 * options.batch_size:
        raise CoreError(
            f"{len(rows):,} of the training split's {len(split):,} recordings have their file in {tree.root}; expected two batches "
            f"of {options.batch_size} at least. Give the corpus that the data were prepared from as --files."
        )
    num = min(options.num_recordings, len(rows))
    rows = [rows[i * len(rows) // num] for i in range(num)]
    lengths = split.lengths[rows]
    part = dataclasses.replace(
        split,
        index=split.index.iloc[rows].reset_index(drop=True),
        samples=torch.cat([split.recording(row) for row in rows]),
        starts=lengths.cumsum(0) - lengths,
        lengths=lengths,
    )
    return part, [by_stem[utterance] for utterance in part.index["utterance"]]


def _rates(
    ways: dict[str, Callable[[int], Iterator[torch.Tensor]]], *, num_batches: int, num_steps: int, device: torch.device
) -> dict[str, PipelineRate]:
    made: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(NUM_REPEATS):
        for name, batches in ways.items():
            made[name].append(_made_per_s(batches(num_batches), device))
    trained = {name: _trained_per_s(batches(num_steps + 1), device) for name, batches in ways.items()}
    return {
        name: PipelineRate(samples_per_s=median(made[name]), trained_per_s=trained[name][0], data_share=trained[name][1])
        for name in ways
    }


def _maker(split: LabelledSplit, options: BenchmarkOptions, **changes: object) -> BatchMaker:
    """What feeds a training of vgg27 on log spectrograms, with random crops."""
    recipe = Recipe(
        name="benchmark",
        model="vgg27",
        features=FeatureConfig(),
        num_epochs=1,
        batch_size=options.batch_size,
        num_shards=gcd(options.batch_size, 4),
        sampling="balanced",
        random_crops=True,
        **changes,
    )
    return BatchMaker(recipe, split, seed=0, device=torch.device(options.device))


def _packed_batches(maker: BatchMaker, num_batches: int) -> Iterator[torch.Tensor]:
    """Image batches made on the device, as the training loop asks for them."""
    for number in range(num_batches):
        epoch, step = divmod(number, maker.steps_per_epoch)
        shards = maker.epoch(epoch)[step].chunk(maker.recipe.num_shards)
        yield torch.cat([maker.shard(shard, epoch=epoch, step=step, number=i)[0] for i, shard in enumerate(shards)])


def _made_per_s(batches: Iterator[torch.Tensor], device: torch.device) -> float:
    """Samples/s after the first batch, so that the start of workers and kernels does not count."""
    next(batches)
    _synchronise(device)
    started, num = time.perf_counter(), 0
    for batch in batches:
        num += len(batch)
    _synchronise(device)
    return num / (time.perf_counter() - started)


def _trained_per_s(batches: Iterator[torch.Tensor], device: torch.device) -> tuple[float, float]:
    """Samples/s of training steps of vgg27 after the first, and the share of their time that is waiting for data."""
    torch.manual_seed(0)
    model = build_model("vgg27").to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters())
    num, waited_s, started, began = -1, 0.0, 0.0, time.perf_counter()
    for image in batches:
        _synchronise(device)
        waited_s += time.perf_counter() - began
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = model(image.contiguous(memory_format=torch.channels_last)).float()
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(logits, torch.arange(len(image), device=device) % 2).backward()
        optimizer.step()
        _synchronise(device)
        began, num = time.perf_counter(), num + 1
        if num == 0:
            started, waited_s = began, 0.0
    return num * len(image) / (began - started), waited_s / (began - started)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

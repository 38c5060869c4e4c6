"""The usual input pipeline, to measure ours against: a dataset that opens and decodes a file for each item. Trains nothing."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from core.audio import load
from core.detector_config import WINDOW_SAMPLES, FeatureConfig
from core.features import build_front_end
from training.trees import Tree, open_tree


class FileItems(Dataset):
    """An item is a file opened, decoded, cropped to 4 s and turned into a log spectrogram `[1, 224, 224]`.

    Args:
        tree: folder or zip.
        names: its files.
    """

    def __init__(self, tree: Tree, names: Sequence[str]) -> None:
        self.tree, self.names = tree, names
        self.front_end = build_front_end(FeatureConfig())

    def __len__(self) -> int:
        return len(self.names)

    @torch.no_grad()
    def __getitem__(self, index: int) -> torch.Tensor:
        with self.tree.opened(self.names[index]) as path:
            samples = load(path)[0]
        samples = samples.repeat(-(-WINDOW_SAMPLES // len(samples)))
        start = int(torch.randint(len(samples) - WINDOW_SAMPLES + 1, ()))
        return self.front_end(samples[start : start + WINDOW_SAMPLES].unsqueeze(0))[0]


def image_batches(
    items: FileItems, *, num_batches: int, batch_size: int, num_workers: int, device: torch.device
) -> Iterator[torch.Tensor]:
    """Images `[batch, 1, 224, 224]` on the device by a `DataLoader` with workers, of items drawn at random."""
    sampler = RandomSampler(items, replacement=True, num_samples=num_batches * batch_size)
    loader = DataLoader(items, batch_size, sampler=sampler, num_workers=num_workers, pin_memory=device.type == "cuda")
    for batch in loader:
        yield batch.to(device, non_blocking=True)


def zipped(tree: Tree, names: Sequence[str], scratch: Path) -> tuple[FileItems, float]:
    """The same items out of a zip written into `scratch`, and the seconds that copying and unpacking that zip takes."""
    members = [f"{number}{PurePosixPath(name).suffix}" for number, name in enumerate(names)]
    path = scratch / "recordings.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored: the recordings are compressed already
        for member, name in zip(members, names, strict=True):
            archive.writestr(member, tree.read_bytes(name))
    started = time.perf_counter()
    with zipfile.ZipFile(shutil.copyfile(path, scratch / "copy.zip")) as archive:
        archive.extractall(scratch / "unpacked")
    return FileItems(open_tree(path), members), time.perf_counter() - started

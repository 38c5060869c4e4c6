"""Small corpora in the layouts of the public ones, for tests."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000


def write_tone(path: Path, number: int, *, seconds: float = 0.3, rate_hz: int = RATE_HZ) -> Path:
    """A short tone with noise, different for each number; the ending decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + number) * time_s) + 0.01 * rng.standard_normal(len(time_s)), rate_hz)
    return path


def write_asvspoof2019(folder: Path, *, access: str = "LA", splits: Iterable[str] = ("train", "dev", "eval"), num: int = 4) -> Path:
    """`ACCESS/` in the official layout, `num` trials a split, every second one spoofed; returns the folder above it."""
    root = folder / access
    for split, number in zip(splits, range(0, 1_000, 100), strict=False):
        lines = []
        for index in range(num):
            utterance = f"{access}_{split[0].upper()}_{number + index:07d}"
            environment = "abc" if access == "PA" else "-"
            attack = ("AB" if access == "PA" else "A01") if index % 2 else "-"
            speaker = f"{access}_{number + index // 2:04d}"
            lines.append(f"{speaker} {utterance} {environment} {attack} {'spoof' if index % 2 else 'bonafide'}")
            write_tone(root / f"ASVspoof2019_{access}_{split}" / "flac" / f"{utterance}.flac", number + index)
        protocol = root / f"ASVspoof2019_{access}_cm_protocols" / f"ASVspoof2019.{access}.cm.{ending_of(split)}.txt"
        protocol.parent.mkdir(exist_ok=True)
        protocol.write_text("\n".join(lines) + "\n")
    return folder


def ending_of(split: str) -> str:
    """`train.trn`, `dev.trl` or `eval.trl`."""
    return f"{split}.{'trn' if split == 'train' else 'trl'}"


def protocol_of(folder: Path, split: str = "train") -> Path:
    """The protocol of LA that `write_asvspoof2019` wrote."""
    return folder / "LA" / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{ending_of(split)}.txt"


def zipped(folder: Path, path: Path) -> Path:
    """Everything below a folder, as a zip with the same names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path

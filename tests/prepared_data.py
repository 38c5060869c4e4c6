"""A prepared folder made by hand, for tests of what reads one: tones and noise with labels, attacks, speakers and sources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

RATE_HZ = 16_000
ATTACKS = ("slow", "buzz")
SPLIT_SIZES = {"train": 60, "dev": 40, "test": 40}


def write_prepared(
    folder: Path, make: Callable[[bool, np.random.Generator], np.ndarray], *, sizes: dict[str, int] = SPLIT_SIZES
) -> Path:
    """Writes a folder as `python -m training prepare` does.

    Args:
        make: function of is_spoof and a generator: samples `[time]` in -1 to 1.
        sizes: split -> number of recordings, every other one a spoof.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng, rows, start, hashes = np.random.default_rng(0), [], 0, {}
    with open(folder / "samples.i16", "wb") as file:
        for split, num in sizes.items():
            digest = hashlib.sha256()
            for i in range(num):
                spoof = i % 2 == 1
                samples = np.clip(make(spoof, rng) * 32_768, -32_768, 32_767).astype("<i2")
                file.write(samples.tobytes())
                audio_hash = hashlib.sha256(samples.tobytes()).hexdigest()
                label = "spoof" if spoof else "bona fide"
                digest.update(f"{split}{i} {label} {audio_hash}\n".encode())
                rows.append(
                    {
                        "utterance": f"{split}{i}",
                        "path": f"/nowhere/{split}{i}.flac",
                        "label": label,
                        "attack": ATTACKS[i // 2 % 2] if spoof else None,
                        "speaker": f"S{i // 4}",
                        "corpus": "made",
                        "split": split,
                        "environment": None,
                        "group": f"page{i % 4 // 2}",
                        "family": f"family-{ATTACKS[i // 2 % 2]}" if spoof else "recording",
                        "known_system": i // 2 % 2 == 0 if spoof else None,
                        "start": start,
                        "num_samples": len(samples),
                        "sha256": audio_hash,
                        "audio_sha256": audio_hash,
                    }
                )
                start += len(samples)
            hashes[split] = digest.hexdigest()
    index = pd.DataFrame(rows)
    index["known_system"] = index["known_system"].astype("boolean")
    index.to_parquet(folder / "index.parquet")
    manifest = {"schema_version": 1, "source": "made", "corpus": "made", "made_at": "", "counts": {}, "data_hash": hashes}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def noise(num_samples: int, rng: np.random.Generator, *, level: float = 0.1) -> np.ndarray:
    """White noise `[time]`."""
    return level * rng.standard_normal(num_samples)

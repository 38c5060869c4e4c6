"""Frozen features: every recording, and changed views of it, through a pretrained encoder once, pooled and kept on disk.

Heads are then searched in seconds (`training.heads`). OUT holds `features.f16` (memory-mapped, `[row, feature]`), `rows.parquet`
and `manifest.json`, which says how many rows are done: a run that was killed goes on there and ends with the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from core.detector_config import FeatureConfig
from core.errors import CoreError
from core.features import build_front_end
from core.quality import has_sound
from core.segments import split_windows
from core.stress.codecs import round_trip
from core.whisper import WhisperConfig
from core.whole_files import replace_file
from training.augment import augment_samples
from training.batches import COPY_MAKERS
from training.coded import CODINGS
from training.crops import CropSampler
from training.data import LabelledSplit, load_split, split_names, to_float
from training.pretrained import ORIGIN, PRETRAINED, WHISPER_FILE, load_whisper

FEATURES_FILE, ROWS_FILE, MANIFEST_FILE = "features.f16", "rows.parquet", "manifest.json"
SCHEMA_VERSION = 1
_BATCH = 16
_CHANNEL_SHARE, _CODED_SHARE = 0.6, 0.25
"""Of the changed views: through a random channel; then through a real codec."""
_SAVED_EVERY_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenSet:
    """What `make_features` wrote, opened."""

    features: np.ndarray
    """`[row, feature]` float16, memory-mapped."""
    rows: pd.DataFrame
    """A row each: `split`, `recording` (its number in the split), `view` (`plain`, `changed`, `copy`), `is_spoof`, `group`."""
    manifest: dict

    def of(self, split: str, *views: str) -> np.ndarray:
        """Numbers of the rows of a split, of these views or of all."""
        chosen = self.rows["split"] == split
        return np.flatnonzero(chosen & self.rows["view"].isin(views) if views else chosen)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows that are made together; all that is random in them follows from the seed and their first row."""

    split: str
    view: str
    recordings: tuple[int, ...]
    starts: tuple[int, ...] = ()
    """Of `plain` windows of dev and test: their number within the recording."""

    @property
    def num_rows(self) -> int:
        return len(self.recordings) * (2 if self.view == "copy" else 1)


def make_features(
    data: Path,
    out: Path,
    *,
    source: Path = PRETRAINED / WHISPER_FILE,
    config: WhisperConfig | None = None,
    num_views: int = 1,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> FrozenSet:
    """Computes what is not there yet.

    Of train: the first 4 s of each recording as it is; `num_views` random crops, changed by rooms, lines, noise and codecs; and
    with each changed bona fide crop a copy of it by a vocoder, a spoof that went through the same changes. Of dev and test: the
    windows of serving.

    Args:
        data: a prepared folder.
        out: where features go; an unfinished one is gone on with.
        source: Whisper's weights (`training.pretrained`).
        config: the encoder's shape; Whisper base's first four blocks for None.
        num_views: changed crops of each training recording.
        seed: decides crops, makers and changes.

    Raises:
        CoreError: `out` is of other data or options, or weights or data are not there.
    """
    config = config or WhisperConfig()
    splits = {name: load_split(data, name) for name in ("train", *(name for name in split_names(data) if name != "train"))}
    encoder, front_end = load_whisper(source, config), build_front_end(FeatureConfig(kind="whisper_mel"))
    batches = list(_planned(splits, num_views=num_views, seed=seed))
    rows = _rows(batches, splits)
    described = {
        "schema_version": SCHEMA_VERSION,
        "encoder": ORIGIN,
        "num_blocks": config.num_blocks,
        "num_features": encoder.num_features,
        "data": str(data.absolute()),
        "data_hash": {name: split.data_hash for name, split in splits.items()},
        "num_views": num_views,
        "seed": seed,
        "num_rows": len(rows),
    }
    done = _begun(out, described, rows)
    mode = "r+" if (out / FEATURES_FILE).is_file() else "w+"
    features = np.memmap(out / FEATURES_FILE, dtype=np.float16, mode=mode, shape=(len(rows), encoder.num_features))
    crops = CropSampler(splits["train"], torch.device("cpu"))
    at, began, saved, first = 0, time.monotonic(), time.monotonic(), done
    for batch in batches:
        if at >= done:
            windows = _windows(batch, splits, crops, torch.Generator().manual_seed(_seed_of(seed, at)))
            with torch.inference_mode():
                features[at : at + len(windows)] = encoder.pooled(front_end(windows)).half().numpy()
        at += batch.num_rows
        if at > done and (time.monotonic() - saved > _SAVED_EVERY_S or at == len(rows)):
            features.flush()
            replace_file(out / MANIFEST_FILE, json.dumps(described | {"num_done": at}, indent=1) + "\n")
            saved, per_s = time.monotonic(), (at - first) / (time.monotonic() - began)
            say(f"{at:,} of {len(rows):,} windows, {per_s:.1f}/s, {(len(rows) - at) / per_s / 60:.0f} min left")
    return open_features(out)


def open_features(folder: Path) -> FrozenSet:
    """Opens finished features.

    Raises:
        CoreError: there are none, or they are unfinished.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        if manifest["num_done"] < manifest["num_rows"]:
            raise CoreError(f"{folder} is unfinished; run `python -m training features` again, it goes on.")
        shape = manifest["num_rows"], manifest["num_features"]
        features = np.memmap(folder / FEATURES_FILE, dtype=np.float16, mode="r", shape=shape)
        return FrozenSet(features=features, rows=pd.read_parquet(folder / ROWS_FILE), manifest=manifest)
    except (OSError, ValueError, KeyError) as error:
        raise CoreError(f"{folder} holds no features ({error}); make them with `python -m training features`.") from None


def _begun(out: Path, described: dict, rows: pd.DataFrame) -> int:
    """How many rows are done already; begins the folder where there is none."""
    path = out / MANIFEST_FILE
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(out / ROWS_FILE)
        replace_file(path, json.dumps(described | {"num_done": 0}, indent=1) + "\n")
        return 0
    there = json.loads(path.read_text(encoding="utf-8"))
    num_done = there.pop("num_done", 0)
    if differing := [name for name in described if there.get(name) != described[name]]:
        raise CoreError(f"{out} holds features with another {', '.join(differing)}; choose another folder.")
    return num_done


def _planned(splits: dict[str, LabelledSplit], *, num_views: int, seed: int) -> Iterator[_Batch]:
    """All batches, in order."""
    for name, split in splits.items():
        if name == "train":
            for part in _parts(np.arange(len(split)), _BATCH):
                yield _Batch(name, "plain", part)
            continue
        places = [(number, window) for number in range(len(split)) for window in _judged(split, number)]
        for part in _parts(np.arange(len(places)), _BATCH):
            chosen = [places[i] for i in part]
            yield _Batch(name, "plain", tuple(number for number, _ in chosen), tuple(window for _, window in chosen))
    train, order = splits["train"], np.random.default_rng(seed)
    for _ in range(num_views):
        spoofs, bona_fide = (order.permutation(np.flatnonzero(train.is_spoof == wanted)) for wanted in (True, False))
        for part in _parts(spoofs, _BATCH):
            yield _Batch("train", "changed", part)
        for part in _parts(bona_fide, _BATCH // 2):
            yield _Batch("train", "copy", part)


def _parts(numbers: np.ndarray, size: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(numbers), size):
        yield tuple(numbers[start : start + size].tolist())


def _judged(split: LabelledSplit, number: int) -> list[int]:
    """Numbers of the windows of a recording that serving judges."""
    windows = split_windows(to_float(split.recording(number)))
    return [i for i, window in enumerate(windows) if has_sound(window)] or list(range(len(windows)))


def _rows(batches: list[_Batch], splits: dict[str, LabelledSplit]) -> pd.DataFrame:
    table = []
    for batch in batches:
        for view in ("changed", "copy") if batch.view == "copy" else (batch.view,):
            table += [(batch.split, number, view) for number in batch.recordings]
    rows = pd.DataFrame(table, columns=["split", "recording", "view"])
    for name, split in splits.items():
        chosen = rows["split"] == name
        numbers = rows.loc[chosen, "recording"].to_numpy()
        rows.loc[chosen, "is_spoof"] = split.is_spoof[numbers] | (rows.loc[chosen, "view"] == "copy").to_numpy()
        rows.loc[chosen, "group"] = split.groups[numbers]
    return rows.astype({"is_spoof": bool})


def _windows(batch: _Batch, splits: dict[str, LabelledSplit], crops: CropSampler, generator: torch.Generator) -> torch.Tensor:
    """`[row, 64000]`."""
    if batch.split != "train":
        split = splits[batch.split]
        return torch.stack(
            [
                split_windows(to_float(split.recording(number)))[window]
                for number, window in zip(batch.recordings, batch.starts, strict=True)
            ]
        )
    chosen = torch.tensor(batch.recordings)
    if batch.view == "plain":
        return crops.from_start(chosen)
    samples = crops.random(chosen, generator)
    if batch.view == "changed":
        return _changed(samples, generator)
    maker = COPY_MAKERS[int(torch.randint(len(COPY_MAKERS), (1,), generator=generator))]
    with torch.no_grad():
        copies = maker(samples, generator)
    state = generator.get_state()
    changed = _changed(samples, generator)
    return torch.cat([changed, _changed(copies, generator.set_state(state))])  # nothing but the copying tells the two apart


def _changed(samples: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Some through a random channel, some through a codec; drawn from the generator alone."""
    through, coded = torch.rand(2, len(samples), generator=generator)
    codings = torch.randint(len(CODINGS), (len(samples),), generator=generator).tolist()
    made = torch.where((through < _CHANNEL_SHARE)[:, None], augment_samples(samples, generator), samples)
    some = torch.nonzero(coded < _CODED_SHARE).flatten().tolist()
    with ThreadPoolExecutor() as pool:
        for i, samples_of in zip(some, pool.map(lambda i: _coded(made[i], codings[i]), some), strict=True):
            made[i] = samples_of
    return made


def _coded(samples: torch.Tensor, number: int) -> torch.Tensor:
    codec, bit_rate = CODINGS[number]
    return torch.from_numpy(round_trip(samples.numpy(), codec=codec, bit_rate=bit_rate).astype(np.float32))


def _seed_of(seed: int, row: int) -> int:
    return int(np.random.SeedSequence([seed, row]).generate_state(1, np.uint64)[0] >> np.uint64(1))

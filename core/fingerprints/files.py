"""Fingerprints on disk: the journal of a measurement that may be interrupted, and the finished arrays with their manifest."""

from __future__ import annotations

import fcntl
import functools
import io
import json
import os
import re
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from core.evaluation.own_results import own_folder
from core.evaluation.shipped_results import SHIPPED_RESULTS
from core.explanation.records import METHODS
from core.fingerprints.records import (
    PROFILE_ARRAYS,
    TABLE_COLUMNS,
    FingerprintError,
    FingerprintSet,
    FingerprintSummary,
    MapProfile,
    Status,
)
from core.whole_files import replace_file

SCHEMA_VERSION = 1
SHIPPED_FINGERPRINTS = SHIPPED_RESULTS / "fingerprints"
_PARTIAL = ".partial.jsonl"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


def own_fingerprint_folder() -> Path:
    """Where fingerprints go when no folder is named; it need not be there."""
    return own_folder("fingerprints")


def stem_of(summary: FingerprintSummary) -> str:
    """Name of the files of a detector, method, layer and set, without ending."""
    layer = f"-{summary.layer}" if summary.layer else ""
    name = f"{summary.detector_name}-{summary.detector_hash[:8]}.{summary.method}{layer}.{summary.set_key}"
    return re.sub(r"[^\w.+-]", "_", name)


def list_fingerprints() -> tuple[tuple[tuple[Path, FingerprintSummary], ...], tuple[str, ...]]:
    """The stored fingerprints, shipped ones first, methods in their usual order; and a sentence for each that cannot be read."""
    found, problems = [], []
    for folder in (SHIPPED_FINGERPRINTS, own_fingerprint_folder()):
        of_folder = []
        for manifest in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            try:
                of_folder.append((manifest, _summary_of(manifest)))
            except FingerprintError as error:
                problems.append(str(error))
        found += sorted(of_folder, key=lambda pair: METHODS.index(pair[1].method))
    return tuple(found), tuple(problems)


def load_fingerprints(manifest: Path) -> FingerprintSet:
    """Reads what `save_fingerprints` wrote; again only when a file changed.

    Raises:
        FingerprintError: a file is missing, damaged, or of another version.
    """
    try:
        states = tuple(path.stat() for path in (manifest, manifest.with_suffix(".npz")))
    except OSError as error:
        raise _damaged(manifest, error) from None
    return _load(manifest, tuple((state.st_mtime_ns, state.st_size) for state in states))


@functools.lru_cache(maxsize=4)
def _load(manifest: Path, states: tuple[tuple[int, int], ...]) -> FingerprintSet:
    summary = _summary_of(manifest)
    try:
        with np.load(manifest.with_suffix(".npz"), allow_pickle=False) as file:
            arrays = {name: file[name].astype(np.float32) for name in PROFILE_ARRAYS}
            edges = file["band_edges"]
            table = pd.DataFrame({name: pd.Series(file[name].tolist(), dtype=object) for name in TABLE_COLUMNS})
    except _DAMAGED as error:
        raise _damaged(manifest, error) from None
    lengths = {len(values) for values in arrays.values()} | {len(table), summary.num_recordings}
    if len(lengths) > 1 or arrays["speech"].shape[1] != len(edges) - 1:
        raise _damaged(manifest, f"its arrays hold {', '.join(map(str, sorted(lengths)))} recordings")
    for values in arrays.values():
        values.flags.writeable = False
    return FingerprintSet(summary=summary, band_edges=edges, table=table, arrays=arrays)


def save_fingerprints(measured: FingerprintSet, folder: Path) -> Path:
    """Writes `STEM.npz` and, last, `STEM.json`; returns the latter.

    Raises:
        FingerprintError: they are there already, or the folder cannot be written.
    """
    manifest = folder / f"{stem_of(measured.summary)}.json"
    refuse_finished(manifest)
    # Saliency to one part in a thousand: intervals are a hundred times as wide.
    content = {name: values.astype(np.float16) for name, values in measured.arrays.items()}
    content |= {name: measured.table[name].to_numpy(dtype=str) for name in TABLE_COLUMNS}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, band_edges=measured.band_edges, **content)
    text = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(measured.summary)}, indent=1, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, data in ((manifest.with_suffix(".npz"), buffer.getvalue()), (manifest, text.encode())):
            replace_file(path, data)
    except OSError as error:
        raise FingerprintError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return manifest


def refuse_finished(manifest: Path) -> None:
    """Raises where fingerprints were measured already.

    Raises:
        FingerprintError: the manifest is there.
    """
    if manifest.exists():
        raise FingerprintError(f"{manifest} is there already: this was measured. Remove it, or name another folder.")


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """What is known of one recording."""

    utterance: str
    status: Status
    reason: str = ""
    """Why there is no map, in words."""
    tested: str = ""
    profile: MapProfile | None = None


class Journal:
    """One line of JSON per recording, on disk before the next one is looked at; a line that was cut off is dropped.

    Args:
        path: of the finished manifest; the journal lies beside it until `finish`.
        key: says which measurement this is.

    Raises:
        FingerprintError: it cannot be written, is of another measurement, or another process writes it.
    """

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        self.path = path.with_name(path.stem + _PARTIAL)
        key = {"schema_version": SCHEMA_VERSION, **key}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self.path.open("a+b")
        except OSError as error:
            raise FingerprintError(f"{path.parent} cannot be written: {error.strerror or error}.") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.lines = self._read(key)
        except BlockingIOError:
            self._file.close()
            raise FingerprintError(f"{self.path} is being written by another process; wait for it, or end it.") from None
        except FingerprintError:
            self._file.close()
            raise

    def add(self, line: JournalLine) -> None:
        """Writes what was found of a recording; a later line of the same utterance replaces an earlier one."""
        content = {field.name: getattr(line, field.name) for field in fields(line) if field.name != "profile"}
        if line.profile is not None:
            arrays = {name: getattr(line.profile, name) for name in PROFILE_ARRAYS}
            content["profile"] = {name: _numbers(values) for name, values in arrays.items()}
        self._write(content)
        self.lines[line.utterance] = line

    def close(self) -> None:
        """Leaves the journal for the next run."""
        self._file.close()

    def finish(self) -> None:
        """Removes the journal, when its content is stored elsewhere."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, key: dict[str, Any]) -> dict[str, JournalLine]:
        self._file.seek(0)
        data = self._file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._file.truncate(len(complete))
        if not complete:
            self._write(key)
            return {}
        head, *rest = complete.splitlines()
        try:
            if json.loads(head) != key:
                raise FingerprintError(f"{self.path} is of another measurement; remove it or name another folder.")
            lines = [_line_of(json.loads(line)) for line in rest]
        except _DAMAGED as error:
            raise FingerprintError(f"{self.path} is damaged: {error}. Remove it and begin anew.") from None
        return {line.utterance: line for line in lines}


def _line_of(content: dict[str, Any]) -> JournalLine:
    profile = content.pop("profile", None)
    if profile is not None:
        profile = MapProfile(**{name: np.array(values, dtype=np.float64) for name, values in profile.items()})
    return JournalLine(**content, profile=profile)


def _numbers(values: np.ndarray) -> list[float | None]:
    """As exact as they are stored, so that a run that was interrupted gives the same bytes."""
    return [None if np.isnan(value) else float(value) for value in values.astype(np.float16)]


def _summary_of(manifest: Path) -> FingerprintSummary:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        version = content.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise FingerprintError(f"{manifest} has schema version {version}; this program reads {SCHEMA_VERSION}.")
        if content["method"] not in METHODS:
            raise FingerprintError(f"{manifest} is of the method {content['method']!r}, which this program does not know.")
        return FingerprintSummary(**content)
    except _DAMAGED as error:
        raise _damaged(manifest, error) from None


def _damaged(manifest: Path, why: object) -> FingerprintError:
    return FingerprintError(f"{manifest} is no stored fingerprints, or damaged: {why}. Remove it, and measure again.")

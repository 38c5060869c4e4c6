"""One file of int16 samples and an append-only journal, so that a killed preparation goes on where it stopped. Reads no corpus.

While it is under way OUT holds `samples.i16` and `journal.jsonl`: a first line that identifies the listing, then one line for each
recording in its order. Samples reach the disk before the lines that name them, so what the journal names is there.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from training.data import INDEX_FILE, MANIFEST_FILE, SAMPLES_FILE
from training.decoding import DecodedRecording
from training.trees import CorpusError

JOURNAL_NAME = "journal.jsonl"
SAMPLE_BYTES = 2
_FLUSH_EVERY_S = 2.0
"""At most this much work is lost when the machine stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRecording:
    """Where a recording stands in `samples.i16`."""

    start: int
    """In samples."""
    num_samples: int
    """0 when refused."""
    sha256: str
    audio_sha256: str
    is_truncated: bool
    refusal: str | None


class Packer:
    """Appends recordings; made by `open_packer`. `packed` holds what is done, in order."""

    def __init__(self, samples: BinaryIO, journal: BinaryIO, packed: list[PackedRecording]) -> None:
        self.packed = packed
        self._samples, self._journal = samples, journal
        self._lines: list[bytes] = []
        self._flushed_at = time.monotonic()

    def append(self, recording: DecodedRecording) -> PackedRecording:
        """Adds the next recording."""
        last = self.packed[-1] if self.packed else None
        entry = PackedRecording(
            start=last.start + last.num_samples if last else 0,
            num_samples=len(recording.samples) // SAMPLE_BYTES,
            sha256=recording.sha256,
            audio_sha256=recording.audio_sha256,
            is_truncated=recording.is_truncated,
            refusal=recording.refusal,
        )
        self._samples.write(recording.samples)
        line = [entry.num_samples, entry.sha256, entry.audio_sha256, entry.is_truncated, entry.refusal]
        self._lines.append(json.dumps(line).encode() + b"\n")
        self.packed.append(entry)
        if time.monotonic() - self._flushed_at >= _FLUSH_EVERY_S:
            self.flush()
        return entry

    def flush(self) -> None:
        """Brings samples, then the lines that name them, to the disk."""
        for file, data in ((self._samples, b""), (self._journal, b"".join(self._lines))):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._lines.clear()
        self._flushed_at = time.monotonic()


@contextmanager
def open_packer(folder: Path, fingerprint: str) -> Iterator[Packer]:
    """Begins or goes on with the preparation in a folder; what was half-written is cut off.

    Args:
        folder: made when it is not there.
        fingerprint: identity of the listing.

    Raises:
        CorpusError: the folder holds something else, another process works on it, or the disk is full.
    """
    with telling_write_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_foreign({path.name for path in folder.iterdir()}, folder)
        with open(folder / JOURNAL_NAME, "a+b") as journal, open(folder / SAMPLES_FILE, "a+b") as samples:
            _lock(journal, folder)
            packed = _resume(folder, journal, samples, fingerprint)
            packer = Packer(samples, journal, packed)
            yield packer
            packer.flush()


@contextmanager
def telling_write_failures(folder: Path) -> Iterator[None]:
    """Turns a failed write into a sentence.

    Raises:
        CorpusError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"{folder} could not be written: {error.strerror or error}. Make room (115 MB an hour) or choose another disk, "
            "then run the same command again: it goes on where it stopped."
        ) from None


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a file beside `path`, then puts it in place: readers see the whole or nothing."""
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _refuse_foreign(names: set[str], folder: Path) -> None:
    """Only what a preparation leaves behind may be there: its samples are cut and its index is overwritten."""
    own = {JOURNAL_NAME, SAMPLES_FILE, INDEX_FILE, f"{INDEX_FILE}.part", f"{MANIFEST_FILE}.part"}
    foreign = sorted(names - own if JOURNAL_NAME in names else names)
    if foreign:
        raise CorpusError(f"{folder} holds {foreign[0]}, which no unfinished preparation left. Choose an empty folder.")


def _lock(journal: BinaryIO, folder: Path) -> None:
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CorpusError(f"Another process is preparing {folder}. Wait for it, or choose another folder.") from None


def _resume(folder: Path, journal: BinaryIO, samples: BinaryIO, fingerprint: str) -> list[PackedRecording]:
    """What the journal and the samples agree on; both files are cut to it."""
    header = json.dumps({"schema_version": 1, "fingerprint": fingerprint}).encode() + b"\n"
    journal.seek(0)
    first = journal.readline()
    if first.endswith(b"\n") and first != header:
        raise CorpusError(
            f"{folder} holds an unfinished preparation of another source, or of other options, or the source has changed since. "
            "Delete the folder, or choose another."
        )
    packed: list[PackedRecording] = []
    num_bytes, end, size = len(header), 0, os.fstat(samples.fileno()).st_size
    if first != header:  # nothing yet, or cut off within the first line
        journal.truncate(0)
        journal.write(header)
        journal.flush()
    for line in journal if first == header else ():
        entry = _entry(line, end)
        if entry is None or (end + entry.num_samples) * SAMPLE_BYTES > size:
            break
        packed.append(entry)
        num_bytes, end = num_bytes + len(line), end + entry.num_samples
    journal.truncate(num_bytes)
    samples.truncate(end * SAMPLE_BYTES)
    return packed


def _entry(line: bytes, start: int) -> PackedRecording | None:
    if not line.endswith(b"\n"):
        return None
    try:
        num_samples, sha256, audio_sha256, is_truncated, refusal = json.loads(line)
    except (ValueError, UnicodeDecodeError):
        return None
    return PackedRecording(
        start=start,
        num_samples=num_samples,
        sha256=sha256,
        audio_sha256=audio_sha256,
        is_truncated=is_truncated,
        refusal=refusal,
    )

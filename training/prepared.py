"""A prepared corpus on disk: the columns of its index, its manifest, its hashes, and their verification. Prepares nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training.data import INDEX_FILE, MANIFEST_FILE, SAMPLES_FILE, SCHEMA_VERSION
from training.packing import JOURNAL_NAME, SAMPLE_BYTES
from training.trees import CorpusError

INDEX_SCHEMA = pa.schema(
    [
        ("utterance", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("attack", pa.string()),
        ("speaker", pa.string()),
        ("corpus", pa.string()),
        ("split", pa.string()),
        ("environment", pa.string()),
        ("group", pa.string()),
        ("family", pa.string()),
        ("known_system", pa.bool_()),
        ("start", pa.int64()),
        ("num_samples", pa.int64()),
        ("sha256", pa.string()),
        ("audio_sha256", pa.string()),
    ]
)
"""Columns of `index.parquet`; a row is a recording, in the order of `samples.i16`."""
NUM_NAMED = 5
"""How many of many an error or a line names."""


def read_manifest(folder: Path) -> dict:
    """The manifest of a finished preparation.

    Raises:
        CorpusError: not a finished preparation, or of another version.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        unfinished = (folder / JOURNAL_NAME).is_file()
        advice = "Run the same `prepare` again: it goes on." if unfinished else "Expected a folder made by `prepare`."
        raise CorpusError(f"{folder} is not a finished preparation. {advice}") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{folder / MANIFEST_FILE} could not be read: {error}. Delete the folder and prepare it again.") from None
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
        raise CorpusError(f"{folder} is of another version; expected schema_version {SCHEMA_VERSION}. Prepare it again.")
    return manifest


def data_hashes(index: pa.Table) -> dict[str, str]:
    """Split -> SHA-256 over its rows in order, each `utterance label audio_sha256` and a line end: what was trained on."""
    columns = [index[name].to_pylist() for name in ("split", "utterance", "label", "audio_sha256")]
    digests: dict[str, hashlib._Hash] = {}
    for split, utterance, label, audio_sha256 in zip(*columns, strict=True):
        digests.setdefault(split, hashlib.sha256()).update(f"{utterance} {label} {audio_sha256}\n".encode())
    return {split: digest.hexdigest() for split, digest in digests.items()}


def verify(folder: Path, *, say: Callable[[str], None] = print) -> int:
    """Reads a preparation back and compares every hash.

    Returns:
        How many recordings were compared.

    Raises:
        CorpusError: not finished, or something differs; it names the first ones.
    """
    manifest = read_manifest(folder)
    try:
        index = pq.read_table(folder / INDEX_FILE, schema=INDEX_SCHEMA)
        wrong = _differing(folder / SAMPLES_FILE, index)
        size = (folder / SAMPLES_FILE).stat().st_size
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{folder} could not be read back: {error}. Delete the folder and prepare it again.") from None
    if wrong:
        raise CorpusError(
            f"{folder / SAMPLES_FILE}: {len(wrong):,} of {len(index):,} recordings differ from their hash, the first: "
            f"{named(wrong)}. Delete the folder and prepare it again."
        )
    if data_hashes(index) != manifest["data_hash"]:
        raise CorpusError(
            f"{folder / INDEX_FILE} is not the one that the manifest describes. Delete the folder and prepare it again."
        )
    if size != sum(index["num_samples"].to_pylist()) * SAMPLE_BYTES:
        raise CorpusError(f"{folder / SAMPLES_FILE} is {size:,} bytes, not what the index adds up to. Delete and prepare it again.")
    say(f"{folder}: {len(index):,} recordings, every hash as it was.")
    return len(index)


def named(names: Sequence[str] | Iterable[str]) -> str:
    """The first few of many names, with dots when there are more."""
    names = list(names)
    return ", ".join(names[:NUM_NAMED]) + (", ..." if len(names) > NUM_NAMED else "")


def _differing(path: Path, index: pa.Table) -> list[str]:
    wrong = []
    columns = [index[name].to_pylist() for name in ("utterance", "start", "num_samples", "audio_sha256")]
    with open(path, "rb") as file:
        for utterance, start, num_samples, digest in zip(*columns, strict=True):
            file.seek(start * SAMPLE_BYTES)
            if hashlib.sha256(file.read(num_samples * SAMPLE_BYTES)).hexdigest() != digest:
                wrong.append(utterance)
    return wrong

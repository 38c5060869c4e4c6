"""`prepare SOURCE ... OUT`: decode corpora once into the packed form that training reads, and say what was found. Trains nothing.

OUT holds `samples.i16`, `index.parquet` and, written last, `manifest.json`; without the manifest it is unfinished.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from core.resample import SAMPLE_RATE_HZ
from training.data import INDEX_FILE, MANIFEST_FILE, SCHEMA_VERSION, SPLITS
from training.decoding import decode_all
from training.layouts import OFFICIAL_COUNTS
from training.listings import Source, SourceRecording, require_both_classes
from training.packing import JOURNAL_NAME, PackedRecording, open_packer, telling_write_failures, write_atomically
from training.prepared import INDEX_SCHEMA, data_hashes, named, read_manifest
from training.sources import SourceOptions, read_sources
from training.trees import CorpusError, readable

_NUM_KEPT = 1_000
"""Names of each kind of finding that the manifest keeps beside their count."""
_TOLD_EVERY_S = 1.0
_MIN_FOR_WORKERS = 500
"""Fewer recordings are decoded in this process: starting others (importing torch) takes longer than a second of decoding."""
_FIELDS = attrgetter(
    "utterance", "path", "label", "attack", "speaker", "corpus", "split", "environment", "group", "family", "known_system"
)
_CHECKS = {
    "missing": "without audio, left out",
    "extra": "audio files that nothing names, not used",
    "duplicate": "named twice or with two files, used once",
    "unknown_key": "neither bona fide nor spoof, left out",
    "left_out": "in other subsets, left out",
}
"""Field of `SourceChecks` -> what it means to the user."""

Row = tuple[SourceRecording, PackedRecording]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a preparation is."""

    num_done: int
    num_recordings: int
    per_s: float
    """Since this run began."""
    num_refused: int

    @property
    def remaining_s(self) -> float:
        """At the rate so far."""
        return (self.num_recordings - self.num_done) / self.per_s


def prepare(
    sources: Path | Sequence[Path],
    out: Path,
    options: SourceOptions | None = None,
    *,
    num_workers: int | None = None,
    say: Callable[[str], None] = print,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> dict:
    """Prepares corpora; run again after an interruption, it goes on.

    Args:
        sources: folder, zip or CSV manifest; or several, which are prepared as one corpus.
        out: folder for the result.
        options: kind, splits, what to allow.
        num_workers: decoding processes; None for one per core (none for few recordings), 0 for none.
        say: told lines for the user.
        on_progress: told about once a second.

    Returns:
        The manifest.

    Raises:
        CoreError: the source or the result cannot be used; it says why and what to do.
    """
    sources = [sources] if isinstance(sources, Path) else list(sources)
    source = " + ".join(map(os.fspath, sources))
    listing = read_sources(sources, options)
    say(f"{source}: {listing.kind}, {len(listing.recordings):,} recordings.")
    for field, meaning in _CHECKS.items():
        found = getattr(listing.checks, field)
        say(f"  {field.replace('_', ' ')}: {len(found):,}" + (f" {meaning} ({named(found)})" if found else ""))
    fingerprint = _fingerprint(listing)
    if (out / MANIFEST_FILE).exists():
        manifest = read_manifest(out)
        if manifest.get("fingerprint") != fingerprint:
            raise CorpusError(f"{out} holds a finished preparation of another source or of other options. Choose another folder.")
        say(f"{out} is finished already; nothing to do. --verify compares its hashes.")
        (out / JOURNAL_NAME).unlink(missing_ok=True)  # left by a run that was killed right after writing the manifest
    else:
        rows = _decode(listing, out, fingerprint, num_workers=num_workers, on_progress=on_progress)
        manifest = _finish(listing, rows, out, fingerprint=fingerprint, sources=sources)
    for line in _summary(manifest):
        say(line)
    return manifest


def _decode(
    listing: Source, out: Path, fingerprint: str, *, num_workers: int | None, on_progress: Callable[[Progress], None]
) -> list[Row]:
    names = [recording.path for recording in listing.recordings]
    with open_packer(out, fingerprint) as packer:
        num_before, num_refused = len(packer.packed), sum(entry.refusal is not None for entry in packer.packed)
        todo, begun = names[num_before:], time.monotonic()
        told = begun
        if num_workers is None:
            num_workers = len(os.sched_getaffinity(0)) if len(todo) >= _MIN_FOR_WORKERS else 0
        for decoded in decode_all(listing.tree, todo, listing.sizes, num_workers=num_workers):
            num_refused += packer.append(decoded).refusal is not None
            now, num_done = time.monotonic(), len(packer.packed)
            if now - told >= _TOLD_EVERY_S or num_done == len(names):
                told, per_s = now, (num_done - num_before) / max(now - begun, 1e-9)
                on_progress(Progress(num_done=num_done, num_recordings=len(names), per_s=per_s, num_refused=num_refused))
        return list(zip(listing.recordings, packer.packed, strict=True))


def _finish(listing: Source, rows: Sequence[Row], out: Path, *, fingerprint: str, sources: Sequence[Path]) -> dict:
    refused = [{"path": listing.tree.described(row.path), "reason": entry.refusal} for row, entry in rows if entry.refusal]
    kept = [(recording, entry) for recording, entry in rows if not entry.refusal]
    if not kept:
        raise CorpusError(f"None of the {len(rows):,} recordings could be decoded; {refused[0]['path']}: {refused[0]['reason']}")
    require_both_classes(recording for recording, _ in kept)
    index = _index(listing, kept)
    corpora = sorted({recording.corpus for recording, _ in kept})
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "source": readable(" + ".join(os.fspath(source.absolute()) for source in sources)),
        "kind": listing.kind,
        "corpus": ", ".join(corpora),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": fingerprint,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "counts": _counts(recording for recording, _ in kept),
        "checks": {
            "num_named": listing.checks.num_named,
            **{field: _finding([readable(name) for name in getattr(listing.checks, field)]) for field in _CHECKS},
            "undecodable": _finding(refused),
            "truncated": _finding([listing.tree.described(row.path) for row, entry in kept if entry.is_truncated]),
            "speakers_in_several_splits": _finding(_shared_speakers(recording for recording, _ in kept)),
        },
        "data_hash": data_hashes(index),
    }
    text = json.dumps(manifest, indent=1) + "\n"
    with telling_write_failures(out):
        write_atomically(out / INDEX_FILE, lambda path: pq.write_table(index, path))
        write_atomically(out / MANIFEST_FILE, lambda path: path.write_text(text, encoding="utf-8"))
        (out / JOURNAL_NAME).unlink()
    return manifest


def _index(listing: Source, rows: Sequence[Row]) -> pa.Table:
    columns = dict(zip(INDEX_SCHEMA.names, zip(*(_FIELDS(recording) for recording, _ in rows)), strict=False))
    columns["path"] = [listing.tree.described(path) for path in columns["path"]]
    columns["group"] = [recording.group or recording.attack or recording.label for recording, _ in rows]
    for name in ("start", "num_samples", "sha256", "audio_sha256"):
        columns[name] = [getattr(entry, name) for _, entry in rows]
    # Through pandas, so that those who read it get a nullable boolean rather than objects.
    frame = pd.DataFrame({name: columns[name] for name in INDEX_SCHEMA.names}).astype({"known_system": "boolean"})
    return pa.Table.from_pandas(frame, schema=INDEX_SCHEMA, preserve_index=False)


def _fingerprint(listing: Source) -> str:
    """Identity of what is to be prepared: kind, every recording's fields and the bytes of its file, in order."""
    digest = hashlib.sha256(f"{SCHEMA_VERSION} {listing.kind} {readable(os.fspath(listing.tree.root))}\n".encode())
    for recording in listing.recordings:
        digest.update(json.dumps([*_FIELDS(recording), listing.sizes.get(recording.path)]).encode())
    return digest.hexdigest()


def _counts(recordings: Sequence[SourceRecording]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for recording in recordings:
        of_split = counts.setdefault(recording.split, {"bona fide": 0, "spoof": 0})
        of_split[recording.label] += 1
    return counts


def _shared_speakers(recordings: Sequence[SourceRecording]) -> list[str]:
    splits: dict[str, set[str]] = defaultdict(set)
    for recording in recordings:
        splits[recording.speaker].add(recording.split)
    return sorted(speaker for speaker, found in splits.items() if len(found) > 1)


def _finding(found: Sequence) -> dict:
    return {"count": len(found), "first": list(found[:_NUM_KEPT])}


def _summary(manifest: dict) -> list[str]:
    """Counts, what was left out, and whether an official corpus is whole."""
    checks, official = manifest["checks"], OFFICIAL_COUNTS.get(manifest["kind"], {})
    lines = []
    for split in SPLITS:
        found = manifest["counts"].get(split)
        if found is None:
            lines += [f"{split}: none of the official {sum(official[split]):,}."] if split in official else []
            continue
        line = f"{split}: {found['bona fide']:,} bona fide + {found['spoof']:,} spoof"
        if split in official:
            is_whole = tuple(found.values()) == official[split]
            line += ": complete" if is_whole else ": incomplete, the official {:,} bona fide + {:,} spoof".format(*official[split])
        lines.append(line + ".")
    for refused in checks["undecodable"]["first"][:10]:
        lines.append(f"left out: {refused['path']}: {refused['reason']}")
    lines.append(f"{checks['undecodable']['count']:,} undecodable, {checks['truncated']['count']:,} shorter than declared.")
    if shared := checks["speakers_in_several_splits"]["count"]:
        lines.append(f"{shared:,} speakers occur in several splits ({named(checks['speakers_in_several_splits']['first'])}).")
    return lines

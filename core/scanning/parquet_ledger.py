"""An audit without a store: its ledger and its results are Parquet files in a folder or on object storage (any fsspec URL).

`audit.json`, `listing/*.parquet`, `results/*.parquet`. It has the methods of `store.ledger.Ledger`. A killed worker repeats what
it had not written, at most `FLUSH_S` old, and loses nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core.checkpoints import Detector
from core.errors import StoreError
from core.names import find_name
from core.protocols import Trial
from core.records import Audit, AuditStatus, FoundFile, PendingFile, ScanSettings, ScoredRecording, Verdict, is_silent
from core.scanning.parquet_parts import PartsFolder
from core.scanning.result_rows import LISTING_SCHEMA, RESULT_SCHEMA, listing_row, names_of, result_rows
from core.store.patience import Patience, patient

FORMAT_VERSION = 1
PART_ROWS = 20_000
"""Rows of a part: some megabytes, so that object storage is asked for few and large objects."""
FLUSH_S = 30.0
"""Results are written at least this often."""
BEAT_S = 10.0
"""`audit.json` is written at least this often: each time is a request to the storage."""
_COUNTERS = {
    Verdict.SPOOF: "num_spoof",
    Verdict.INCONCLUSIVE: "num_inconclusive",
    Verdict.BONA_FIDE: "num_bona_fide",
    Verdict.REFUSED: "num_refused",
}


class ParquetLedger:
    """One audit in one place, made or continued by one worker at a time. Safe to share between the threads of a scan.

    Args:
        url: a folder of its own; made when it is not there.
        folder: where the recordings lie.
        detector: what they are scored with.
        settings: which of them, and how.
        worker: `host:pid:token` of the process that writes.

    Raises:
        StoreError: the place holds something else, or an audit of other work, or cannot be written.
        ScanError: its protocol is not known here.
    """

    audit_id = 0

    def __init__(self, url: str, *, folder: str, detector: Detector, settings: ScanSettings, worker: str) -> None:
        self.detector, self.worker, self.patience = detector, worker, Patience()
        self._place = PartsFolder(url)
        self._rows: list[dict[str, Any]] = []
        self._new_files: list[dict[str, Any]] = []
        self._done = bytearray()  # by entry id, which is the file's place in the listing, from 1
        self._part_of: dict[bytes, int] = {}  # content -> the part with its rows
        self._flushed_at = self._beaten_at = time.monotonic()
        self._audit = self._opened(folder, settings)
        self._listing, self._results = self._place.parts("listing"), self._place.parts("results")
        self._load()
        self._listed = lru_cache(maxsize=8)(lambda number: self._read("listing", self._listing[number]).to_pylist())
        self._recorded = lru_cache(maxsize=8)(lambda number: self._read("results", self._results[number]))

    # As `core.store.ledger.Ledger` ------------------------------------------------------------------------------------

    def audit(self) -> Audit:
        """The audit as it stands."""
        return self._audit

    @patient
    def claim(self) -> bool:
        """Makes this worker the one that scores this audit; False when another one beat a moment ago."""
        there = self._place.read_json("audit.json") or {}
        if there.get("worker") not in (None, self.worker) and not is_silent(there["heartbeat_at"]):
            return False
        self._audit = replace(self._audit, worker=self.worker, status=AuditStatus.RUNNING, message=None, finished_at=None)
        self._write_audit()
        return True

    def beat(self, seconds: float) -> str:
        """Says that the worker lives and worked `seconds` more; writes results that have waited for long.

        Raises:
            StoreError: another worker took the audit over.
        """
        seconds = max(0.0, seconds - self.patience.take_waited_s())
        self._audit = replace(self._audit, seconds_running=self._audit.seconds_running + seconds)
        if time.monotonic() - self._flushed_at > FLUSH_S:
            self._flush()
        if time.monotonic() - self._beaten_at > BEAT_S:
            self._write_if_held(is_lost_told=True)
        return "run"

    def release(self, status: AuditStatus, message: str | None = None) -> None:
        """Writes what is not written, ends the worker's hold and says where the audit stands."""
        self._flush()
        finished_at = time.time() if status in (AuditStatus.FINISHED, AuditStatus.CANCELLED, AuditStatus.FAILED) else None
        self._audit = replace(self._audit, status=status, message=message, worker=None, finished_at=finished_at)
        self._write_if_held()

    def add_entries(self, files: Sequence[FoundFile], trials: dict[str, Trial] | None = None) -> None:
        """Lists files."""
        for file in files:
            named = find_name(file.path_bytes.decode("utf-8", "backslashreplace"), trials) if trials else None
            trial = trials[named] if named else None
            self._new_files.append(listing_row(file, trial))
        self._audit = replace(self._audit, num_files=self._audit.num_files + len(files))
        while len(self._new_files) >= PART_ROWS:
            self._add_listing(PART_ROWS)

    def mark_listed(self) -> None:
        """Says that the folder was listed to its end."""
        if self._new_files:
            self._add_listing(PART_ROWS)
        self._done = bytearray(self._audit.num_files + 1)
        self._audit = replace(self._audit, is_listed=True)
        self._write_if_held(is_lost_told=True)

    def pending_files(self, *, after: int, limit: int) -> tuple[PendingFile, ...]:
        """The next files to be scored, with entry ids above `after`."""
        found: list[PendingFile] = []
        while len(found) < limit and (after := self._done.find(0, after + 1)) > 0:
            row = self._entry(after)
            found.append(PendingFile(entry_id=after, path_bytes=row["path_bytes"], size_bytes=row["size_bytes"]))
        return tuple(found)

    def known_hashes(self, hashes: Iterable[str], *, with_distance: bool = False) -> frozenset[str]:
        """Those contents that this audit has scored, with or without a distance: its detector is one and the same."""
        return frozenset(sha256 for sha256 in hashes if bytes.fromhex(sha256) in self._part_of)

    def record_results(self, *, scored: Sequence[tuple[int, ScoredRecording]], reused: Sequence[tuple[int, str]]) -> None:
        """Takes results; entries that are done stay as they are.

        Args:
            scored: entry id and its new record.
            reused: entry id and the SHA-256 of a content that was scored (or is among `scored`).
        """
        for entry_id, record in scored:
            if not self._done[entry_id]:
                self._take(result_rows(entry_id, self._entry(entry_id), record, self.detector))
                if record.sha256:
                    self._part_of.setdefault(bytes.fromhex(record.sha256), len(self._results))
        for entry_id, sha256 in reused:
            if not self._done[entry_id]:
                first = self._rows_with(sha256)
                own = names_of(self._entry(entry_id)) | {"entry_id": entry_id, "duplicate_of": first[0]["path"]}
                self._take([row | own for row in first])
        if len(self._rows) >= PART_ROWS:
            self._flush()

    # What is there ----------------------------------------------------------------------------------------------

    def _opened(self, folder: str, settings: ScanSettings) -> Audit:
        work = {"folder": folder, "detector_hash": self.detector.hash, "settings": settings.to_dict()}
        there = self._place.read_json("audit.json")
        if there is None and not self._place.is_empty():
            raise StoreError(f"{self._place.url} holds other files; name a folder of its own for the results.")
        if there is not None and there.get("format_version") != FORMAT_VERSION:
            raise StoreError(f"{self._place.url} is of format {there.get('format_version')}; this program writes {FORMAT_VERSION}.")
        if there is not None and {name: there.get(name) for name in work} != work:
            other = f"{there.get('folder')} with {there.get('detector_name')} ({str(there.get('detector_hash'))[:12]})"
            raise StoreError(f"{self._place.url} holds an audit of other work ({other}, or other settings). Name another folder.")
        there = there or {}
        return Audit(
            id=self.audit_id,
            folder=folder,
            detector_hash=self.detector.hash,
            detector_name=self.detector.name,
            settings=settings,
            status=AuditStatus(there.get("status", AuditStatus.QUEUED)),
            requested="run",
            message=None,
            worker=None,
            heartbeat_at=None,
            created_at=there.get("created_at", time.time()),
            finished_at=there.get("finished_at"),
            seconds_running=there.get("seconds_running", 0.0),
            is_listed=there.get("is_listed", False),
            num_files=there.get("num_files", 0) if there.get("is_listed") else 0,
            **dict.fromkeys([*_COUNTERS.values(), "num_done", "num_reused"], 0),
            audio_s=0.0,
        )

    def _load(self) -> None:
        """Counts what is done. A listing that did not come to its end is done again from its beginning."""
        if not self._audit.is_listed:
            for name in self._listing:
                self._place.remove_part("listing", name)
            self._listing = []
        self._done = bytearray(self._audit.num_files + 1)
        for number, name in enumerate(self._results):
            part = self._read("results", name).select(
                ["entry_id", "sha256", "verdict", "spoof_score", "duration_s", "duplicate_of"]
            )
            for _, rows in groupby(part.to_pylist(), itemgetter("entry_id")):
                self._count(list(rows), number)

    def _take(self, rows: list[dict[str, Any]]) -> None:
        self._rows += rows
        self._count(rows, len(self._results))

    def _count(self, rows: list[dict[str, Any]], number: int) -> None:
        """Adds a file to what is done, by its riskiest channel; one that is done already (by two workers) is not counted again."""
        row = max(rows, key=lambda row: -math.inf if row["spoof_score"] is None else row["spoof_score"])
        if row["sha256"]:
            self._part_of.setdefault(bytes.fromhex(row["sha256"]), number)
        if self._done[row["entry_id"]]:
            return
        self._done[row["entry_id"]] = 1
        steps = {"num_done": 1, _COUNTERS[Verdict(row["verdict"])]: 1, "audio_s": row["duration_s"] or 0.0}
        steps["num_reused"] = int(row["duplicate_of"] is not None)
        self._audit = replace(self._audit, **{name: getattr(self._audit, name) + step for name, step in steps.items()})

    def _entry(self, entry_id: int) -> dict[str, Any]:
        number, row = divmod(entry_id - 1, PART_ROWS)
        return self._listed(number)[row]

    def _rows_with(self, sha256: str) -> list[dict[str, Any]]:
        """Those of the first file with this content."""
        number = self._part_of[bytes.fromhex(sha256)]
        if number == len(self._results):
            rows = [row for row in self._rows if row["sha256"] == sha256]
        else:
            part = self._recorded(number)
            rows = part.filter(pc.equal(part["sha256"], sha256)).to_pylist()
        return [row for row in rows if row["entry_id"] == rows[0]["entry_id"]]

    # How it is written --------------------------------------------------------------------------------------------

    @patient
    def _flush(self) -> None:
        """Writes the results so far as a part; under the same name again where that failed."""
        if self._rows:
            name = self._name(len(self._results))
            self._place.write_part("results", name, pa.Table.from_pylist(self._rows, schema=RESULT_SCHEMA))
            self._results.append(name)
            self._rows = []
        self._flushed_at = time.monotonic()

    @patient
    def _add_listing(self, num_rows: int) -> None:
        name = f"{len(self._listing):08}.parquet"
        self._place.write_part("listing", name, pa.Table.from_pylist(self._new_files[:num_rows], schema=LISTING_SCHEMA))
        self._listing.append(name)
        self._new_files = self._new_files[num_rows:]

    @patient
    def _read(self, kind: str, name: str) -> pa.Table:
        return self._place.read_part(kind, name)

    @patient
    def _write_if_held(self, *, is_lost_told: bool = False) -> None:
        there = self._place.read_json("audit.json") or {}
        if there.get("worker") == self.worker:
            self._write_audit()
        elif is_lost_told:
            raise StoreError(f"The audit in {self._place.url} was taken over by another worker.")

    def _write_audit(self) -> None:
        record = asdict(replace(self._audit, heartbeat_at=time.time())) | {"format_version": FORMAT_VERSION}
        record["settings"] = self._audit.settings.to_dict()  # as `_opened` compares them
        self._place.write_json("audit.json", record)
        self._beaten_at = time.monotonic()

    def _name(self, number: int) -> str:
        """Of a part of results; no other worker's, should one that was taken for dead write once more."""
        return f"{number:08}-{self.worker.rpartition(':')[2]}.parquet"

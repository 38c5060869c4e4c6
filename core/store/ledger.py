"""The ledger of an audit: who works on it, what is listed, what is done. Only workers write it.

Results and the counters that sum them are written in one transaction, so that a killed worker loses and repeats nothing. Every
call may be made twice, and is made again while the store is away (`core.store.patience`).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from core.errors import StoreError
from core.names import find_name
from core.protocols import Trial
from core.records import AudioInfo, Audit, AuditStatus, Detection, FoundFile, PendingFile, ScoredRecording, Verdict
from core.store.events import append_event
from core.store.filters import of_mode
from core.store.patience import Patience, patient
from core.store.schema import audits, entries, recordings, scores, segments
from core.store.store import Store, is_dead

_VERDICT_COUNTERS = {
    Verdict.SPOOF: "num_spoof",
    Verdict.INCONCLUSIVE: "num_inconclusive",
    Verdict.BONA_FIDE: "num_bona_fide",
    Verdict.REFUSED: "num_refused",
}

_RESULT_COLUMNS = (
    "recording_id",
    "score_id",
    "verdict",
    "spoof_score",
    "probability",
    "duration_s",
    "codec",
    "reason_code",
    "reason",
    "training_distance",
)
"""What an entry repeats of its riskiest score."""


class Ledger:
    """One audit as its worker writes it. Safe to share between threads.

    Args:
        store: where it is.
        audit_id: which one.
        worker: `host:pid:token` of the process that writes.
    """

    def __init__(self, store: Store, audit_id: int, worker: str) -> None:
        self.store, self.audit_id, self.worker = store, audit_id, worker
        audit = store.audit(audit_id)
        self.detector_hash, self.channels = audit.detector_hash, audit.settings.channels
        self.patience = Patience()
        self._seconds = audit.seconds_running

    @patient
    def audit(self) -> Audit:
        """The audit as it stands."""
        return self.store.audit(self.audit_id)

    @patient
    def claim(self) -> bool:
        """Makes this worker the one that scores this audit; False when another living one has it."""
        now = time.time()
        with self.store.writing() as connection:
            # The lock is for PostgreSQL; in SQLite there is one writer at a time anyhow.
            columns = audits.c.worker, audits.c.heartbeat_at, audits.c.seconds_running
            held = sa.select(*columns).where(audits.c.id == self.audit_id).with_for_update(key_share=True)
            holder = connection.execute(held).one()
            if holder.worker not in (None, self.worker) and not is_dead(holder.worker, holder.heartbeat_at):
                return False
            self._seconds = holder.seconds_running
            values = {
                "worker": self.worker,
                "heartbeat_at": now,
                "status": AuditStatus.RUNNING,
                "requested": "run",
                "message": None,
            }
            connection.execute(audits.update().where(audits.c.id == self.audit_id).values(values | {"finished_at": None}))
            append_event(connection, self.audit_id, "started", is_once=True, worker=self.worker)
            return True

    def beat(self, seconds: float) -> str:
        """Says that the worker lives and worked `seconds` more; returns what is requested of it.

        Raises:
            StoreError: another worker took the audit over.
        """
        # Waiting for the store is no work. The sum is written, not a step: a beat whose answer was lost is repeated.
        self._seconds += max(0.0, seconds - self.patience.take_waited_s())
        return self._beat()

    @patient
    def _beat(self) -> str:
        mine = (audits.c.id == self.audit_id) & (audits.c.worker == self.worker)
        with self.store.writing() as connection:
            values = {"heartbeat_at": time.time(), "seconds_running": self._seconds}
            if connection.execute(audits.update().where(mine).values(values)).rowcount == 0:
                raise StoreError(f"Audit {self.audit_id} was taken over by another worker.")
            return connection.scalar(sa.select(audits.c.requested).where(mine))

    @patient
    def release(self, status: AuditStatus, message: str | None = None) -> None:
        """Ends the worker's hold on the audit and says where it stands."""
        finished_at = time.time() if status in (AuditStatus.FINISHED, AuditStatus.CANCELLED, AuditStatus.FAILED) else None
        values = {"status": status, "message": message, "worker": None, "finished_at": finished_at}
        mine = (audits.c.id == self.audit_id) & (audits.c.worker == self.worker)
        counters = [audits.c[name] for name in ("num_files", "num_done", *_VERDICT_COUNTERS.values())]
        with self.store.writing() as connection:
            if connection.execute(audits.update().where(mine).values(values)).rowcount:
                counts = connection.execute(sa.select(*counters).where(audits.c.id == self.audit_id)).mappings().one()
                details = dict(counts) | {"status": status, "message": message, "worker": self.worker}
                append_event(connection, self.audit_id, "ended", is_once=True, **details)

    @patient
    def add_entries(self, files: Sequence[FoundFile], trials: dict[str, Trial] | None = None) -> None:
        """Lists files of an audit; those listed before are left as they are."""
        rows = [_entry_row(self.audit_id, file, trials or {}) for file in files]
        if not rows:
            return
        with self.store.writing() as connection:
            connection.execute(self.store.insert_new(entries), rows)

    @patient
    def mark_listed(self) -> None:
        """Says that the folder was listed to its end, and counts."""
        with self.store.writing() as connection:
            num_files = connection.scalar(sa.select(sa.func.count()).where(entries.c.audit_id == self.audit_id))
            connection.execute(audits.update().where(audits.c.id == self.audit_id).values(is_listed=True, num_files=num_files))

    @patient
    def pending_files(self, *, after: int, limit: int) -> tuple[PendingFile, ...]:
        """The next files to be scored, with entry ids above `after`."""
        query = sa.select(entries.c.id, entries.c.path_bytes, entries.c.size_bytes)
        query = query.where((entries.c.audit_id == self.audit_id) & entries.c.is_done.is_(False) & (entries.c.id > after))
        with self.store.reading() as connection:
            rows = connection.execute(query.order_by(entries.c.id).limit(limit)).all()
        return tuple(PendingFile(entry_id=row.id, path_bytes=row.path_bytes, size_bytes=row.size_bytes) for row in rows)

    @patient
    def known_hashes(self, hashes: Iterable[str], *, with_distance: bool = False) -> frozenset[str]:
        """Those contents that the audit's detector scored before in its channel mode.

        Args:
            with_distance: leaves out those that were judged when it had no statistics of its training data.
        """
        query = sa.select(recordings.c.sha256).distinct().join(scores).where(recordings.c.sha256.in_(list(hashes)))
        query = query.where((scores.c.detector_hash == self.detector_hash) & of_mode(self.channels))
        if with_distance:
            other = scores.alias()
            same = (other.c.recording_id == recordings.c.id) & (other.c.detector_hash == self.detector_hash)
            query = query.where(~sa.exists().where(same, of_mode(self.channels, other), _lacks_distance(other)))
        with self.store.reading() as connection:
            return frozenset(connection.scalars(query))

    @patient
    def record_results(self, *, scored: Sequence[tuple[int, ScoredRecording]], reused: Sequence[tuple[int, str]]) -> None:
        """Writes results and the audit's counters in one transaction; entries that are done stay as they are.

        Args:
            scored: entry id and its new record.
            reused: entry id and the SHA-256 of a content whose scores are in the store (or among `scored`).
        """
        with self.store.writing() as connection:
            # As in `claim`: a worker that was taken over may record the same results at this moment.
            connection.execute(sa.select(audits.c.id).where(audits.c.id == self.audit_id).with_for_update(key_share=True))
            ids = self._add_recordings(connection, [record for _, record in scored])
            self._add_scores(connection, ids, [record for _, record in scored if record.sha256])
            updates = self._updates(connection, scored, reused)
            pending = entries.c.id.in_([update["entry_id"] for update in updates]), entries.c.is_done.is_(False)
            still_pending = set(connection.scalars(sa.select(entries.c.id).where(*pending)))
            updates = [update for update in updates if update["entry_id"] in still_pending]
            if updates:
                names = [*_RESULT_COLUMNS, "duplicate_of"]
                values = {name: sa.bindparam(f"new_{name}") for name in names} | {"is_done": True}
                statement = entries.update().where(entries.c.id == sa.bindparam("entry_id")).values(values)
                rows = [{f"new_{name}": update[name] for name in names} | {"entry_id": update["entry_id"]} for update in updates]
                connection.execute(statement, rows)
                self._count(connection, updates, num_reused=len({entry_id for entry_id, _ in reused} & still_pending))

    def _updates(
        self, connection: sa.Connection, scored: Sequence[tuple[int, ScoredRecording]], reused: Sequence[tuple[int, str]]
    ) -> list[dict]:
        """What becomes of each entry, in the order of their ids: `_RESULT_COLUMNS`, `duplicate_of` and `entry_id`."""
        hashes = {entry_id: record.sha256 for entry_id, record in scored if record.sha256} | dict(reused)
        unread = {entry_id: record.detections[0] for entry_id, record in scored if not record.sha256}
        known = self._riskiest(connection, set(hashes.values()))
        firsts = _first_entries(connection, self.audit_id, {row["recording_id"] for row in known.values()})
        updates = []
        for entry_id in sorted(hashes.keys() | unread.keys()):
            if entry_id in unread:
                updates.append(_refused_update(entry_id, unread[entry_id]))
                continue
            row = known[hashes[entry_id]]
            first = firsts.setdefault(row["recording_id"], entry_id)
            updates.append(row | {"entry_id": entry_id, "duplicate_of": first if first != entry_id else None})
        return updates

    def _count(self, connection: sa.Connection, updates: list[dict], *, num_reused: int) -> None:
        verdicts = Counter(update["verdict"] for update in updates)
        steps = {counter: verdicts[verdict] for verdict, counter in _VERDICT_COUNTERS.items()}
        steps |= {"num_done": len(updates), "num_reused": num_reused, "audio_s": sum(u["duration_s"] or 0.0 for u in updates)}
        values = {name: audits.c[name] + step for name, step in steps.items()}
        connection.execute(audits.update().where(audits.c.id == self.audit_id).values(values))

    def _add_recordings(self, connection: sa.Connection, records: list[ScoredRecording]) -> dict[str, int]:
        rows = {}
        for record in records:
            if record.sha256:
                info = asdict(record.info) if record.info else dict.fromkeys(field.name for field in fields(AudioInfo))
                rows[record.sha256] = info | {"sha256": record.sha256}
        if not rows:
            return {}
        # Sorted, so that two audits that meet the same contents in PostgreSQL wait for each other and not in a circle.
        connection.execute(self.store.insert_new(recordings), [rows[sha256] for sha256 in sorted(rows)])
        query = sa.select(recordings.c.sha256, recordings.c.id).where(recordings.c.sha256.in_(list(rows)))
        return {row.sha256: row.id for row in connection.execute(query)}

    def _add_scores(self, connection: sa.Connection, ids: dict[str, int], records: list[ScoredRecording]) -> None:
        detections = {(ids[record.sha256], detection.channel): detection for record in records for detection in record.detections}
        if not detections:
            return
        have = scores.c.detector_hash == self.detector_hash, scores.c.recording_id.in_(list(ids.values()))
        before = {
            (row.recording_id, row.channel)
            for row in connection.execute(sa.select(scores.c.recording_id, scores.c.channel).where(*have))
        }
        for recording_id, channel in sorted(before & detections.keys()):
            self._add_distance(connection, recording_id, detections[recording_id, channel])
        new = {key: detections[key] for key in sorted(detections) if key not in before}
        if not new:
            return
        rows = [_score_row(recording_id, self.detector_hash, detection) for (recording_id, _), detection in new.items()]
        connection.execute(self.store.insert_new(scores), rows)
        score_ids = {
            (row.recording_id, row.channel): row.id
            for row in connection.execute(sa.select(scores.c.id, scores.c.recording_id, scores.c.channel).where(*have))
        }
        rows = [_segments_row(score_ids[key], detection) for key, detection in new.items() if detection.segments]
        if rows:
            connection.execute(self.store.insert_new(segments), rows)

    def _add_distance(self, connection: sa.Connection, recording_id: int, detection: Detection) -> None:
        """To a score from before the detector had statistics of its training data; the score itself stays."""
        if detection.training_distance is None:
            return
        this = scores.c.recording_id == recording_id, scores.c.detector_hash == self.detector_hash
        values = {"training_distance": detection.training_distance, "warnings": " ".join(detection.warnings)}
        this += (scores.c.channel == detection.channel, _lacks_distance(scores))
        connection.execute(scores.update().where(*this).values(values))

    def _riskiest(self, connection: sa.Connection, hashes: set[str]) -> dict[str, dict]:
        """SHA-256 -> the entry columns of that content's riskiest channel (a refused one only if all are)."""
        query = (
            sa.select(recordings.c.sha256, recordings.c.codec, scores)
            .join(scores)
            .where(
                recordings.c.sha256.in_(list(hashes)),
                scores.c.detector_hash == self.detector_hash,
                of_mode(self.channels),
            )
        )
        best: dict[str, dict] = {}
        for row in connection.execute(query).mappings():
            columns = {name: row["id" if name == "score_id" else name] for name in _RESULT_COLUMNS}
            other = best.get(row["sha256"])
            if other is None or _risk(columns) > _risk(other):
                best[row["sha256"]] = columns
        return best


def _lacks_distance(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return table.c.spoof_score.is_not(None) & table.c.training_distance.is_(None)


def _entry_row(audit_id: int, file: FoundFile, trials: dict[str, Trial]) -> dict:
    path = file.path_bytes.decode("utf-8", "backslashreplace")
    trial = trials.get(find_name(path, trials) or "") if trials else None
    return {
        "audit_id": audit_id,
        "path": path,
        "path_bytes": file.path_bytes,
        "folder": str(Path(path).parent),
        "size_bytes": file.size_bytes,
        "label": trial.label if trial else None,
        "attack": trial.attack if trial else None,
        "speaker": trial.speaker if trial else None,
    }


def _refused_update(entry_id: int, detection: Detection) -> dict:
    refusal = {"verdict": detection.verdict, "reason_code": detection.reason_code, "reason": detection.reason}
    return dict.fromkeys(_RESULT_COLUMNS) | refusal | {"entry_id": entry_id, "duplicate_of": None}


def _score_row(recording_id: int, detector_hash: str, detection: Detection) -> dict:
    return {
        "recording_id": recording_id,
        "detector_hash": detector_hash,
        "channel": detection.channel,
        "verdict": detection.verdict,
        "spoof_score": detection.spoof_score,
        "probability": detection.probability,
        "duration_s": detection.duration_s,
        "num_segments": len(detection.segments),
        "quality": json.dumps(asdict(detection.quality)) if detection.quality else None,
        "warnings": " ".join(detection.warnings),
        "reason_code": detection.reason_code,
        "reason": detection.reason,
        "training_distance": detection.training_distance,
    }


def _segments_row(score_id: int, detection: Detection) -> dict:
    names = ("start_s", "end_s", "spoof_score", "is_estimated")
    table = np.array([(s.start_s, s.end_s, s.spoof_score, s.is_estimated) for s in detection.segments], dtype="<f4")
    row = {"score_id": score_id} | {name: table[:, i].tobytes() for i, name in enumerate(names)}
    return row if table[:, 3].any() else row | {"is_estimated": None}


def _first_entries(connection: sa.Connection, audit_id: int, recording_ids: set[int]) -> dict[int, int]:
    query = sa.select(entries.c.recording_id, sa.func.min(entries.c.id).label("first"))
    # `+ 0` keeps SQLite off the indices by audit: it would walk through all that is done, for every batch.
    query = query.where(entries.c.audit_id + 0 == audit_id, entries.c.recording_id.in_(list(recording_ids)))
    query = query.where(entries.c.is_done.is_(True), entries.c.duplicate_of.is_(None)).group_by(entries.c.recording_id)
    return {row.recording_id: row.first for row in connection.execute(query)}


def _risk(columns: dict) -> float:
    return columns["spoof_score"] if columns["spoof_score"] is not None else float("-inf")

"""The store that everything shares: audits and their ledger, written in transactions. Triage reads are in `core.store.triage`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import StoreError
from core.records import Audit, AuditStatus, ScanSettings, is_silent
from core.store.engine import WRITES, open_engine, shown_url
from core.store.events import append_event
from core.store.failures import store_error_of
from core.store.schema import audits, default_url, detectors

if TYPE_CHECKING:  # imports torch, which pages without sound do not need
    from core.checkpoints import Detector


class Store:
    """An open store. Safe to share between threads; each call is one transaction.

    Args:
        url: SQLAlchemy URL; `EARWITNESS_DB`, else a SQLite file in the home folder.

    Raises:
        StoreError: on construction when it cannot be opened or written, on any call when a write fails.
    """

    def __init__(self, url: str | None = None) -> None:
        self.url = url or default_url()
        self.engine = open_engine(self.url)
        self._is_postgresql = self.engine.dialect.name == "postgresql"
        # What several statements read is of one moment, as in SQLite.
        snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self._is_postgresql else {}
        self._reader, self._writer = self.engine.execution_options(**snapshot), self.engine.execution_options(**WRITES)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads, all of one moment."""
        with self._as_store_errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, alone_in: str | None = None) -> Iterator[sa.Connection]:
        """A transaction that is committed when the block ends well.

        Args:
            alone_in: a matter that one such transaction at a time deals with; for those that look first and write then.
                In SQLite every writer is alone.
        """
        with self._as_store_errors(), self._writer.begin() as connection:
            if alone_in and self._is_postgresql:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(alone_in))))
            yield connection

    # Audits -----------------------------------------------------------------------------------------------------

    def create_audit(self, folder: str, detector: Detector, settings: ScanSettings) -> int:
        """A new audit, queued; returns its id."""
        with self.writing() as connection:
            return self._create_audit(connection, folder, detector, settings)

    def continue_audit(self, folder: str, detector: Detector, settings: ScanSettings) -> int:
        """The newest audit of exactly this work that was neither finished nor cancelled; a new one where there is none."""
        with self.writing(alone_in="audits") as connection:
            same = (audits.c.folder == folder) & (audits.c.detector_hash == detector.hash)
            same &= audits.c.settings == json.dumps(settings.to_dict())
            same &= audits.c.status.not_in([AuditStatus.FINISHED, AuditStatus.CANCELLED])
            found = connection.scalar(sa.select(sa.func.max(audits.c.id)).where(same))
            return found or self._create_audit(connection, folder, detector, settings)

    def _create_audit(self, connection: sa.Connection, folder: str, detector: Detector, settings: ScanSettings) -> int:
        manifest = json.dumps(asdict(detector.manifest))
        row = {"hash": detector.hash, "name": detector.name, "manifest": manifest, "created_at": time.time()}
        connection.execute(self.insert_new(detectors), row)
        values = {"folder": folder, "detector_hash": detector.hash, "settings": json.dumps(settings.to_dict())}
        values |= {"status": AuditStatus.QUEUED, "requested": "run", "created_at": time.time()}
        audit_id = connection.execute(audits.insert().values(values)).inserted_primary_key[0]
        said = {"folder": folder, "detector": detector.name, "detector_hash": detector.hash, "settings": settings.to_dict()}
        append_event(connection, audit_id, "created", **said)
        return audit_id

    def audit(self, audit_id: int) -> Audit:
        """One audit.

        Raises:
            StoreError: there is none of that id.
        """
        found = self._audits(audits.c.id == audit_id, limit=1)
        if not found:
            raise StoreError(f"There is no audit {audit_id} in this store.")
        return found[0]

    def recent_audits(self, limit: int = 20) -> tuple[Audit, ...]:
        """The newest audits, newest first."""
        return self._audits(sa.true(), limit=limit)

    def queue(self, audit_id: int) -> None:
        """Says that a worker is about to take an audit.

        Raises:
            StoreError: a living worker has it.
        """
        with self.writing() as connection:
            this = audits.c.id == audit_id
            holder = connection.execute(
                sa.select(audits.c.worker, audits.c.heartbeat_at).where(this).with_for_update(key_share=True)
            ).one()
            if holder.worker and not is_dead(holder.worker, holder.heartbeat_at):
                raise StoreError(f"Audit {audit_id} is being scored by another worker already.")
            values = {"status": AuditStatus.QUEUED, "requested": "run", "worker": None, "message": None, "finished_at": None}
            connection.execute(audits.update().where(this).values(values | {"heartbeat_at": time.time()}))

    def request(self, audit_id: int, wish: str) -> None:
        """Asks the worker to `run`, `pause` or `cancel`; it obeys within a second or so."""
        with self.writing() as connection:
            this = audits.c.id == audit_id
            if connection.execute(audits.update().where(this).values(requested=wish)).rowcount:
                append_event(connection, audit_id, "asked", wish=wish)
            row = connection.execute(sa.select(audits.c.status, audits.c.worker, audits.c.heartbeat_at).where(this)).one_or_none()
            if wish == "run" or row is None or (row.worker and not is_dead(row.worker, row.heartbeat_at)):
                return
            # No worker is there to obey.
            if wish == "cancel" and row.status != AuditStatus.FINISHED:
                values = {"status": AuditStatus.CANCELLED, "finished_at": time.time(), "worker": None}
                connection.execute(audits.update().where(this).values(values))
            elif wish == "pause" and row.status in (AuditStatus.QUEUED, AuditStatus.RUNNING):
                connection.execute(audits.update().where(this).values(status=AuditStatus.PAUSED, worker=None))

    def _audits(self, condition: sa.ColumnElement[bool], *, limit: int) -> tuple[Audit, ...]:
        query = sa.select(audits, detectors.c.name.label("detector_name")).join(detectors).where(condition)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(audits.c.id.desc()).limit(limit)).mappings().all()
        return tuple(_audit_from(row) for row in rows)

    def insert_new(self, table: sa.Table) -> sa.Insert:
        """An insert that leaves rows which are there already as they are."""
        dialect = postgresql if self._is_postgresql else sqlite
        return dialect.insert(table).on_conflict_do_nothing()

    @contextmanager
    def _as_store_errors(self) -> Iterator[None]:
        """Turns what the database refuses (full disk, read-only, gone) into a `StoreError`."""
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            failure = store_error_of(error, shown_url(self.url))
            if failure is None:
                raise
            raise failure from error


def is_dead(worker: str, heartbeat_at: float | None) -> bool:
    """Whether a worker (`host:pid:token`) is gone: its process on this host, or its heartbeat elsewhere."""
    host, pid, _ = worker.rsplit(":", 2)
    if host == os.uname().nodename:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
    return is_silent(heartbeat_at)


def _audit_from(row: sa.RowMapping) -> Audit:
    fields = dict(row)
    fields["settings"] = ScanSettings(**json.loads(fields["settings"]))
    status = AuditStatus(fields["status"])
    if status is AuditStatus.RUNNING and (not fields["worker"] or is_dead(fields["worker"], fields["heartbeat_at"])):
        status = AuditStatus.INTERRUPTED
    return Audit(**fields | {"status": status})

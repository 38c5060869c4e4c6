"""An audit's rows as CSV, Parquet, JSON lines or XLSX: one row per file and channel, by path. Tells the audit's log.

Rows are streamed, so that memory stays bounded for any audit, and a file appears under its name when it is whole.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
import xlsxwriter
from xlsxwriter.exceptions import XlsxWriterException

from core.errors import CoreError
from core.records import Audit, TriageFilter
from core.store.events import append_event
from core.store.filters import CHANNEL_ORDER, EVERYTHING, filter_condition, newest_review, of_mode
from core.store.schema import entries, recordings, reviews, scores
from core.store.store import Store
from core.whole_files import file_sha256

EXPORT_FORMATS = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".jsonl": "application/jsonl",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""Ending of the file -> its media type."""

_SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # within the audit's folder; bytes that are not UTF-8 appear as \xNN
        ("sha256", pa.string()),
        ("verdict", pa.string()),
        ("spoof_score", pa.float64()),
        ("probability", pa.float64()),
        ("duration_s", pa.float64()),
        ("sample_rate_hz", pa.int64()),
        ("codec", pa.string()),
        ("num_segments", pa.int64()),
        ("reason", pa.string()),
        ("channel", pa.string()),
        ("container", pa.string()),
        ("num_channels", pa.int64()),
        ("warnings", pa.string()),
        ("training_distance", pa.float64()),  # above 1: unlike what the detector was trained on; empty where nobody can tell
        ("duplicate_of", pa.string()),
        ("label", pa.string()),
        ("attack", pa.string()),
        ("review", pa.string()),
        ("reviewer", pa.string()),
        ("review_note", pa.string()),
        ("reviewed_at", pa.string()),
        ("detector", pa.string()),
        ("detector_hash", pa.string()),
    ]
)
EXPORT_COLUMNS: tuple[str, ...] = tuple(_SCHEMA.names)
"""The columns of every export, in order. `duplicate_of` is the path of the first file with the same bytes."""

_CHUNK_ROWS = 5_000
_XLSX_ROWS = 1_048_575
"""2^20 rows are all that the format has; one is the header."""
_XLSX_TEXT = 32_767
"""Longest text of a cell."""

_Rows = Sequence[tuple]
_Write = Callable[[_Rows], None]


def export_audit(store: Store, audit_id: int, path: Path, filter: TriageFilter = EVERYTHING, *, by: str | None = None) -> int:
    """Writes an audit's scored files, and into its log that it did; a file that exists is replaced when the new one is whole.

    Args:
        path: ends in one of `EXPORT_FORMATS`.
        filter: which files; the order is always by path.
        by: who asks for it; the user of this process when None.

    Returns:
        The number of rows.

    Raises:
        CoreError: an unknown ending or filter, a place that cannot be written, or too many rows for XLSX.
        StoreError: there is no such audit.
    """
    suffix = _suffix_of(path)
    query = _query(store.audit(audit_id), filter_condition(store, audit_id, filter))
    try:
        # In the same folder, so that the last step is a rename; a folder of its own, for xlsxwriter's temporary files too.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
            part = Path(folder) / path.name
            num_rows = _write_rows(store, query, part, suffix)
            said = {"name": path.name, "sha256": file_sha256(part), "num_rows": num_rows, "filter": asdict(filter)}
            os.replace(part, path)
    except (OSError, XlsxWriterException) as error:
        detail = getattr(error, "strerror", None) or error
        raise CoreError(f"The export cannot be written to {path}: {detail}. Choose a folder that exists and has space.") from error
    with store.writing() as connection:
        append_event(connection, audit_id, "exported", actor=by, **said)
    return num_rows


def check_destination(path: Path) -> None:
    """Tries whether an export could be written there, before hours of work; leaves nothing behind.

    Raises:
        CoreError: an unknown ending, a folder that is not there or cannot be written, or a folder of that name.
    """
    _suffix_of(path)
    if not path.parent.is_dir():
        raise CoreError(f"The export cannot be written to {path}: there is no folder {path.parent}. Make it, or choose another.")
    if path.is_dir():
        raise CoreError(f"The export cannot be written to {path}: it is a folder. Choose another name.")
    try:
        # Permission bits do not tell of read-only disks; an attempt does.
        tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent).cleanup()
    except OSError as error:
        raise CoreError(f"The export cannot be written to {path}: {error.strerror}. Choose another folder.") from None


def export_bytes(store: Store, audit_id: int, suffix: str, filter: TriageFilter = EVERYTHING, *, by: str | None = None) -> bytes:
    """The same as `export_audit` would write, for a download.

    Args:
        suffix: one of `EXPORT_FORMATS`.

    Raises:
        CoreError: as `export_audit`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"audit-{audit_id}{suffix}"
        export_audit(store, audit_id, path, filter, by=by)
        return path.read_bytes()


def csv_of_frame(frame: pd.DataFrame) -> bytes:
    """A table as CSV without its index, for a download; texts that a spreadsheet would run are made inert."""
    return frame.rename(columns=inert).map(inert).to_csv(index=False, lineterminator="\r\n").encode("utf-8")


def _suffix_of(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise CoreError(f"Expected a file name that ends in {', '.join(_WRITERS)}; got {path.name!r}.")
    return suffix


def _query(audit: Audit, condition: sa.ColumnElement[bool]) -> sa.Select:
    """The rows in the order of `EXPORT_COLUMNS`; a file whose bytes could not be read has no recording and no score."""
    first = entries.alias()
    columns = {
        "path": entries.c.path,
        "sha256": recordings.c.sha256,
        "verdict": sa.func.coalesce(scores.c.verdict, entries.c.verdict),
        "spoof_score": scores.c.spoof_score,
        "probability": scores.c.probability,
        "duration_s": scores.c.duration_s,
        "sample_rate_hz": recordings.c.sample_rate_hz,
        "codec": recordings.c.codec,
        "num_segments": sa.func.coalesce(scores.c.num_segments, 0),
        "reason": sa.func.coalesce(scores.c.reason, entries.c.reason),
        "channel": sa.func.coalesce(scores.c.channel, "mix" if audit.settings.channels == "mix" else "1"),
        "container": recordings.c.container,
        "num_channels": recordings.c.num_channels,
        "warnings": sa.func.coalesce(scores.c.warnings, ""),
        "training_distance": scores.c.training_distance,
        "duplicate_of": first.c.path,
        "label": entries.c.label,
        "attack": entries.c.attack,
        "review": reviews.c.verdict,
        "reviewer": reviews.c.reviewer,
        "review_note": reviews.c.note,
        "reviewed_at": reviews.c.created_at,
        "detector": sa.literal(audit.detector_name),
        "detector_hash": sa.literal(audit.detector_hash),
    }
    of_audit = (scores.c.recording_id == entries.c.recording_id) & (scores.c.detector_hash == audit.detector_hash)
    return (
        sa.select(*(columns[name].label(f"export_{name}") for name in EXPORT_COLUMNS))
        .select_from(entries)
        .outerjoin(recordings, recordings.c.id == entries.c.recording_id)
        .outerjoin(scores, of_audit & of_mode(audit.settings.channels))
        .outerjoin(first, first.c.id == entries.c.duplicate_of)
        .outerjoin(reviews, newest_review())
        .where(condition, entries.c.is_done.is_(True))
        .order_by(entries.c.path_bytes, *CHANNEL_ORDER)
    )


def _write_rows(store: Store, query: sa.Select, path: Path, suffix: str) -> int:
    num_rows = 0
    with store.reading() as connection:
        if suffix == ".xlsx":
            _check_fits(connection.scalar(sa.select(sa.func.count()).select_from(query.order_by(None).subquery())))
        result = connection.execution_options(yield_per=_CHUNK_ROWS).execute(query)
        with _WRITERS[suffix](path) as write:
            for chunk in result.partitions():
                write([_with_date(row) for row in chunk])
                num_rows += len(chunk)
    return num_rows


def _check_fits(num_rows: int) -> None:
    if num_rows > _XLSX_ROWS:
        raise CoreError(f"An XLSX sheet holds {_XLSX_ROWS:,} rows, the export has {num_rows:,}. Export CSV or Parquet, or filter.")


_DATE = EXPORT_COLUMNS.index("reviewed_at")


def _with_date(row: Sequence) -> tuple:
    """Seconds since 1970 as ISO 8601."""
    seconds = row[_DATE]
    date = None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    return (*row[:_DATE], date, *row[_DATE + 1 :])


# OWASP, "CSV Injection"; the full-width signs are taken for plain ones in East Asian settings.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def inert(cell: object) -> object:
    """A text that a spreadsheet would run as a formula, with an apostrophe before it; anything else as it is."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


@contextmanager
def _csv_writer(path: Path) -> Iterator[_Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)  # ends lines with CR LF, and so quotes cells with either
        table.writerow(EXPORT_COLUMNS)
        yield lambda rows: table.writerows(map(inert, row) for row in rows)


@contextmanager
def _parquet_writer(path: Path) -> Iterator[_Write]:
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        yield lambda rows: writer.write_table(pa.table(list(zip(*rows)), schema=_SCHEMA))


@contextmanager
def _json_writer(path: Path) -> Iterator[_Write]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda rows: file.writelines(json.dumps(dict(zip(EXPORT_COLUMNS, row)), ensure_ascii=False) + "\n" for row in rows)


@contextmanager
def _xlsx_writer(path: Path) -> Iterator[_Write]:
    workbook = xlsxwriter.Workbook(path, {"constant_memory": True, "tmpdir": str(path.parent)})
    sheet = workbook.add_worksheet("Audit")
    sheet.freeze_panes(1, 1)
    sheet.set_column(0, 0, 50)
    sheet.set_column(1, len(EXPORT_COLUMNS) - 1, 14)
    sheet.write_row(0, 0, EXPORT_COLUMNS, workbook.add_format({"bold": True}))
    num_written = 0

    def write(rows: _Rows) -> None:
        nonlocal num_written
        for row in rows:
            num_written += 1
            for column, cell in enumerate(row):
                if isinstance(cell, str):
                    sheet.write_string(num_written, column, inert(cell)[:_XLSX_TEXT])
                elif cell is not None:
                    sheet.write_number(num_written, column, cell)

    yield write
    workbook.close()


_WRITERS: dict[str, Callable[[Path], AbstractContextManager[_Write]]] = {
    ".csv": _csv_writer,
    ".parquet": _parquet_writer,
    ".jsonl": _json_writer,
    ".xlsx": _xlsx_writer,
}

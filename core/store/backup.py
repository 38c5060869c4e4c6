"""All of a store in one file, and back: from SQLite or PostgreSQL into either. Recordings and detectors lie elsewhere.

A ZIP of a Parquet file per table, all of one moment, with a manifest of counts and hashes. A backup is checked before it gets
its name, and again before anything of it is written into a store.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from core.errors import CoreError, StoreError
from core.store.engine import shown_url
from core.store.schema import SCHEMA_VERSION, entries, metadata, schema_version
from core.store.store import Store
from core.whole_files import file_sha256

KIND = "earwitness backup"
_MANIFEST = "manifest.json"
_CHUNK_ROWS = 5_000
_TYPES = {sa.Boolean: pa.bool_(), sa.Integer: pa.int64(), sa.Float: pa.float64(), sa.LargeBinary: pa.large_binary()}


def back_up(store: Store, path: Path) -> dict[str, int]:
    """Writes a backup; audits may go on meanwhile.

    Args:
        path: the new file.

    Returns:
        Table -> rows.

    Raises:
        CoreError: the file is there already, or cannot be written.
    """
    if path.exists():
        raise CoreError(f"{path} is there already; a backup is never overwritten. Choose another name.")
    try:
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=path.parent) as folder:
            with store.reading() as connection:
                counts = {table.name: _write_table(connection, table, Path(folder)) for table in _tables()}
            part = Path(folder, path.name)
            _pack(Path(folder), counts, part)
            with _opened(part):
                part.rename(path)
    except OSError as error:
        raise CoreError(f"The backup cannot be written to {path}: {error.strerror}. Choose a folder that has space.") from None
    return counts


def restore(store: Store, path: Path) -> dict[str, int]:
    """Fills an empty store from a backup, all of it or nothing.

    Returns:
        Table -> rows.

    Raises:
        CoreError: no backup, a damaged one, or one of another version.
        StoreError: the store is not empty, or cannot be written.
    """
    with _opened(path) as (archive, counts), store.writing(alone_in="restore") as connection:
        for table in _tables():
            if connection.execute(sa.select(table).limit(1)).first() is not None:
                raise StoreError(f"The store {shown_url(store.url)} is not empty; a backup is restored into a new one (--db).")
        for table in _tables():
            for rows in _rows_of(archive, table):
                _insert(connection, table, rows)
        for rows in _rows_of(archive, entries):
            _link_duplicates(connection, rows)
        if connection.dialect.name == "postgresql":
            _move_sequences(connection)
    return counts


def _tables() -> list[sa.Table]:
    """Those that others refer to come first."""
    return [table for table in metadata.sorted_tables if table is not schema_version]


def _write_table(connection: sa.Connection, table: sa.Table, folder: Path) -> int:
    schema = pa.schema([(column.name, _arrow_type(column)) for column in table.columns])
    query, num_rows = sa.select(table).order_by(*table.primary_key.columns), 0
    with pq.ParquetWriter(folder / f"{table.name}.parquet", schema) as writer:
        for chunk in connection.execution_options(yield_per=_CHUNK_ROWS).execute(query).partitions():
            columns = list(zip(*chunk, strict=True))
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))
            num_rows += len(chunk)
    return num_rows


def _arrow_type(column: sa.Column) -> pa.DataType:
    return next((arrow for kind, arrow in _TYPES.items() if isinstance(column.type, kind)), pa.string())


def _pack(folder: Path, counts: dict[str, int], part: Path) -> None:
    tables = {name: {"num_rows": num, "sha256": file_sha256(folder / f"{name}.parquet")} for name, num in counts.items()}
    made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    manifest = {"kind": KIND, "schema_version": SCHEMA_VERSION, "made_at": made_at, "tables": tables}
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
        for name in counts:
            archive.write(folder / f"{name}.parquet", f"{name}.parquet")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, int]]]:
    """A backup of which every byte was checked, and its tables' rows."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise CoreError(f"There is no file {path}.") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise CoreError(f"{path} is no backup of Earwitness, or is cut off: {error}.") from None
    with archive:
        try:
            manifest = json.loads(archive.read(_MANIFEST))
            if manifest["kind"] != KIND:
                raise KeyError(manifest["kind"])
            version = manifest["schema_version"]
            tables = {table.name: manifest["tables"][table.name] for table in _tables()} if version == SCHEMA_VERSION else {}
        except (KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise CoreError(f"{path} is no backup of Earwitness ({error!r}).") from None
        if version != SCHEMA_VERSION:
            raise CoreError(
                f"{path} was made of a store of schema version {version}; this program restores {SCHEMA_VERSION}. Restore it with "
                "the Earwitness that made it; a newer one then brings the store up to date when it opens it."
            )
        for name, table in tables.items():
            _check_member(archive, path, name, table["sha256"])
        yield archive, {name: table["num_rows"] for name, table in tables.items()}


def _check_member(archive: zipfile.ZipFile, path: Path, name: str, sha256: str) -> None:
    try:
        with archive.open(f"{name}.parquet") as member:
            found = hashlib.file_digest(member, "sha256").hexdigest()
    except (KeyError, zipfile.BadZipFile) as error:
        raise CoreError(f"The backup {path} is damaged: {error}.") from None
    if found != sha256:
        raise CoreError(f"The backup {path} is damaged: the table {name} is not what was written.")


def _rows_of(archive: zipfile.ZipFile, table: sa.Table) -> Iterator[list[dict]]:
    with archive.open(f"{table.name}.parquet") as member:
        for batch in pq.ParquetFile(member).iter_batches(_CHUNK_ROWS):
            yield batch.to_pylist()


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict]) -> None:
    if table is entries:  # some refer to entries that come later
        rows = [row | {"duplicate_of": None} for row in rows]
    connection.execute(table.insert(), rows)


def _link_duplicates(connection: sa.Connection, rows: list[dict]) -> None:
    links = [{"entry": row["id"], "first": row["duplicate_of"]} for row in rows if row["duplicate_of"] is not None]
    if links:
        update = entries.update().where(entries.c.id == sa.bindparam("entry")).values(duplicate_of=sa.bindparam("first"))
        connection.execute(update, links)


def _move_sequences(connection: sa.Connection) -> None:
    """New rows get numbers beyond those that were restored."""
    for table in _tables():
        column = table.autoincrement_column
        if column is not None:
            sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
            last = sa.select(sa.func.max(column)).scalar_subquery()
            connection.execute(sa.select(sa.func.setval(sequence, last)).where(last.is_not(None)))

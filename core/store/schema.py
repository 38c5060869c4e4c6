"""The store's tables, where they lie unless told, and how those of an older store are brought up to date. No queries."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from core.errors import StoreError

SCHEMA_VERSION = 6

metadata = sa.MetaData()

schema_version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, nullable=False))

detectors = sa.Table(
    "detectors",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)

audits = sa.Table(
    "audits",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("detector_hash", sa.ForeignKey("detectors.hash"), nullable=False),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("requested", sa.String(16), nullable=False),
    sa.Column("message", sa.Text),
    sa.Column("worker", sa.Text),
    sa.Column("heartbeat_at", sa.Float),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.Column("seconds_running", sa.Float, nullable=False, server_default="0"),
    sa.Column("is_listed", sa.Boolean, nullable=False, server_default=sa.false()),
    # Counted in the same transaction as the entries they count.
    sa.Column("num_files", sa.Integer, nullable=False, server_default="0"),
    sa.Column("num_done", sa.Integer, nullable=False, server_default="0"),
    sa.Column("num_spoof", sa.Integer, nullable=False, server_default="0"),
    sa.Column("num_inconclusive", sa.Integer, nullable=False, server_default="0"),
    sa.Column("num_bona_fide", sa.Integer, nullable=False, server_default="0"),
    sa.Column("num_refused", sa.Integer, nullable=False, server_default="0"),
    sa.Column("num_reused", sa.Integer, nullable=False, server_default="0"),
    sa.Column("audio_s", sa.Float, nullable=False, server_default="0"),
)

# One row per distinct content, whatever its names.
recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("container", sa.Text),
    sa.Column("codec", sa.Text),
    sa.Column("sample_rate_hz", sa.Integer),
    sa.Column("num_channels", sa.Integer),
    sa.Column("duration_s", sa.Float),
    sa.Column("size_bytes", sa.BigInteger),
)

# What a detector says of one channel of one content: the unit that is never computed twice.
scores = sa.Table(
    "scores",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("recording_id", sa.ForeignKey("recordings.id"), nullable=False),
    sa.Column("detector_hash", sa.ForeignKey("detectors.hash"), nullable=False),
    sa.Column("channel", sa.String(8), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("spoof_score", sa.Float),
    sa.Column("probability", sa.Float),
    sa.Column("duration_s", sa.Float, nullable=False),
    sa.Column("num_segments", sa.Integer, nullable=False),
    sa.Column("quality", sa.Text),
    sa.Column("warnings", sa.Text, nullable=False),
    sa.Column("reason_code", sa.String(16)),
    sa.Column("reason", sa.Text),
    sa.Column("training_distance", sa.Float),
    sa.UniqueConstraint("recording_id", "detector_hash", "channel"),
)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("score_id", sa.ForeignKey("scores.id"), primary_key=True),
    # Little-endian float32 arrays of one length: start_s, end_s, spoof_score (NaN where a window was skipped).
    sa.Column("start_s", sa.LargeBinary, nullable=False),
    sa.Column("end_s", sa.LargeBinary, nullable=False),
    sa.Column("spoof_score", sa.LargeBinary, nullable=False),
    # The same of 0 and 1; null where all networks judged every window.
    sa.Column("is_estimated", sa.LargeBinary),
)

# One row per file of an audit. The columns from `verdict` on repeat what triage sorts and filters by, of the
# file's riskiest channel, so that a page of 100,000 rows is one indexed query.
entries = sa.Table(
    "entries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("audit_id", sa.ForeignKey("audits.id"), nullable=False),
    # As shown; bytes that are not UTF-8 appear as \xNN. `path_bytes` is exact. Both relative to the audit's folder.
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("path_bytes", sa.LargeBinary, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("is_done", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("recording_id", sa.ForeignKey("recordings.id")),
    sa.Column("score_id", sa.ForeignKey("scores.id")),
    sa.Column("duplicate_of", sa.ForeignKey("entries.id")),
    sa.Column("label", sa.String(16)),
    sa.Column("attack", sa.Text),
    sa.Column("speaker", sa.Text),
    sa.Column("verdict", sa.String(16)),
    sa.Column("spoof_score", sa.Float),
    sa.Column("probability", sa.Float),
    sa.Column("duration_s", sa.Float),
    sa.Column("codec", sa.Text),
    sa.Column("reason_code", sa.String(16)),
    sa.Column("reason", sa.Text),
    sa.Column("training_distance", sa.Float),
    sa.UniqueConstraint("audit_id", "path_bytes").ddl_if(dialect="sqlite"),
    sa.Index("entries_by_progress", "audit_id", "is_done", "id"),
    sa.Index("entries_by_recording", "recording_id"),
    sa.Index("entries_by_folder", "audit_id", "folder", "verdict"),
)
# Only what has a label takes room in this one.
_has_label = entries.c.label.is_not(None)
sa.Index(
    "entries_by_label",
    *(entries.c[name] for name in ("audit_id", "label", "spoof_score")),
    sqlite_where=_has_label,
    postgresql_where=_has_label,
)
# In SQLite a row that only an index of its audit finds costs a search of its own, a million of them seconds: this index holds
# all that triage filters by, so that a filter is one walk through it. It has the order of risk, read backwards.
_triage = ("audit_id", "spoof_score", "id", "verdict", "codec", "duration_s", "recording_id", "training_distance", "folder", "path")
sa.Index("entries_for_triage", *(entries.c[name] for name in _triage)).ddl_if(dialect="sqlite")
sa.Index("entries_by_verdict", *(entries.c[name] for name in ("audit_id", "verdict", "spoof_score"))).ddl_if(dialect="sqlite")
# PostgreSQL walks through the table in several processes, but takes an order from an index only where nulls have their place.
_path = (entries.c.audit_id, entries.c.path_bytes)
_risk = (entries.c.spoof_score.desc().nulls_last(), entries.c.id.desc())
sa.Index("entries_by_path", *_path, unique=True, postgresql_include=["id"]).ddl_if(dialect="postgresql")
sa.Index("entries_by_safety", entries.c.audit_id, entries.c.spoof_score, entries.c.id).ddl_if(dialect="postgresql")
sa.Index("entries_by_risk", entries.c.audit_id, *_risk).ddl_if(dialect="postgresql")
sa.Index("entries_by_verdict", entries.c.audit_id, entries.c.verdict, *_risk).ddl_if(dialect="postgresql")

# Append-only: the newest row for a recording is the analyst's word, the older ones are its history.
reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("recording_id", sa.ForeignKey("recordings.id"), nullable=False),
    sa.Column("audit_id", sa.ForeignKey("audits.id")),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("reviewer", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Index("reviews_by_recording", "recording_id", "id"),
)

# Labelled utterances that imported score files are about.
trial_sets = sa.Table(
    "trial_sets",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("num_bona_fide", sa.Integer, nullable=False),
    sa.Column("num_spoof", sa.Integer, nullable=False),
    # Parquet of `core.evaluation.trial_sets.TrialSet.table`.
    sa.Column("trials", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)

# What an imported score file says of a set's trials.
systems = sa.Table(
    "systems",
    metadata,
    sa.Column("trial_set_key", sa.ForeignKey("trial_sets.key"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    # Little-endian float64, in the set's order, higher means spoof, NaN where there is none.
    sa.Column("scores", sa.LargeBinary, nullable=False),
    sa.Column("num_scored", sa.Integer, nullable=False),
    sa.Column("imported_at", sa.Float, nullable=False),
    sa.Column("is_flipped", sa.Boolean, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

# The trial set whose labels an audit's entries were given.
audit_labels = sa.Table(
    "audit_labels",
    metadata,
    sa.Column("audit_id", sa.ForeignKey("audits.id"), primary_key=True, autoincrement=False),
    sa.Column("trial_set_key", sa.ForeignKey("trial_sets.key"), nullable=False),
)

# Append-only, each entry bound to the one before: `core.store.events`.
events = sa.Table(
    "events",
    metadata,
    sa.Column("audit_id", sa.ForeignKey("audits.id"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: (
        "CREATE TABLE trial_sets (key VARCHAR(32) NOT NULL PRIMARY KEY, name TEXT NOT NULL, num_bona_fide INTEGER NOT NULL,"
        " num_spoof INTEGER NOT NULL, trials {blob} NOT NULL, created_at FLOAT NOT NULL)",
        "CREATE TABLE systems (trial_set_key VARCHAR(32) NOT NULL REFERENCES trial_sets (key), name TEXT NOT NULL,"
        " scores {blob} NOT NULL, num_scored INTEGER NOT NULL, imported_at FLOAT NOT NULL, is_flipped BOOLEAN NOT NULL,"
        " note TEXT NOT NULL, PRIMARY KEY (trial_set_key, name))",
        "CREATE TABLE audit_labels (audit_id INTEGER NOT NULL PRIMARY KEY REFERENCES audits (id),"
        " trial_set_key VARCHAR(32) NOT NULL REFERENCES trial_sets (key))",
    ),
    3: ("DROP INDEX entries_by_risk",),
    4: (
        "CREATE TABLE events (audit_id INTEGER NOT NULL REFERENCES audits (id), number INTEGER NOT NULL,"
        " at FLOAT NOT NULL, actor TEXT NOT NULL, action VARCHAR(16) NOT NULL, details TEXT NOT NULL,"
        " hash VARCHAR(64) NOT NULL, PRIMARY KEY (audit_id, number))",
    ),
    5: (
        "ALTER TABLE scores ADD COLUMN training_distance FLOAT",
        "ALTER TABLE entries ADD COLUMN training_distance FLOAT",
        "DROP INDEX IF EXISTS entries_for_triage",
    ),
    6: ("ALTER TABLE segments ADD COLUMN is_estimated {blob}",),
}
"""Version -> the SQL that brings a store of the version before it up to it; `{blob}` is the database's name for bytes.

Indices that a store lacks are made afterwards, by their definitions above.
"""
_POSTGRESQL_MIGRATIONS: dict[int, tuple[str, ...]] = {
    3: ("DROP INDEX entries_by_verdict", "ALTER TABLE entries DROP CONSTRAINT entries_audit_id_path_bytes_key"),
}
"""As `MIGRATIONS`, what is for PostgreSQL alone."""

_SCHEMA_LOCK = 0x0EA2_417E
"""An advisory lock's number: any, but always the same."""


def default_url() -> str:
    """`EARWITNESS_DB`, or a SQLite file in the home folder."""
    return os.environ.get("EARWITNESS_DB") or f"sqlite:///{Path.home() / '.earwitness' / 'earwitness.db'}"


def bring_up_to_date(connection: sa.Connection) -> None:
    """Makes the tables in an empty database, or migrates those that are there.

    Raises:
        StoreError: the store is of a newer version, or its database cannot hold every file name.
    """
    if connection.dialect.name == "postgresql":
        encoding = connection.scalar(sa.text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise StoreError(f"The database stores text as {encoding}; file names need UTF8. Create it with ENCODING 'UTF8'.")
        # One process at a time makes or migrates the tables; SQLite has one writer anyhow.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
    if not sa.inspect(connection).has_table("schema_version"):
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))
        return
    version = connection.scalar(sa.select(schema_version.c.version))
    if version is None or version > SCHEMA_VERSION:
        raise StoreError(f"The store has schema version {version}; this program reads up to {SCHEMA_VERSION}. Update Earwitness.")
    is_postgresql = connection.dialect.name == "postgresql"
    for step in range(version + 1, SCHEMA_VERSION + 1):
        for statement in MIGRATIONS[step] + (_POSTGRESQL_MIGRATIONS.get(step, ()) if is_postgresql else ()):
            connection.exec_driver_sql(statement.format(blob="BYTEA" if is_postgresql else "BLOB"))
        connection.execute(schema_version.update().values(version=step))
    if version < SCHEMA_VERSION:
        _make_missing_indices(connection)


def _make_missing_indices(connection: sa.Connection) -> None:
    inspector = sa.inspect(connection)
    for table in metadata.sorted_tables:
        have = {index["name"] for index in inspector.get_indexes(table.name)}
        for index in sorted(table.indexes - {index for index in table.indexes if index.name in have}, key=lambda index: index.name):
            index.create(connection)

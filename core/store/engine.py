"""How a store is opened: how SQLite and PostgreSQL are set up so that the same code works on both."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from core.errors import StoreError
from core.store.failures import words_of
from core.store.schema import bring_up_to_date

WRITES = {"writes": True}
"""Execution options of an engine whose transactions write."""

_POSTGRESQL_CONNECT = {
    "application_name": "earwitness",
    "connect_timeout": 10,
    # A server that vanished without a word is given up after a minute: 30 s of silence, three questions, 60 s unanswered.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""What libpq is told where the URL does not say otherwise."""


def open_engine(url: str) -> sa.Engine:
    """An engine on a store that exists, is writable and of this version (made or migrated where needed).

    Args:
        url: a SQLAlchemy URL; `sqlite:///FILE` or `postgresql+psycopg://...` (`postgresql://...` means the same).

    Raises:
        StoreError: it cannot be opened or written, or is of a newer version.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = _postgresql_engine(parsed) if parsed.get_backend_name() == "postgresql" else _sqlite_engine(parsed)
        with engine.execution_options(**WRITES).begin() as connection:
            bring_up_to_date(connection)
    except ModuleNotFoundError as error:
        remedy = "Install what it needs: pip install -r requirements-cluster.txt"
        raise StoreError(f"The store {shown_url(url)} cannot be opened: {error}. {remedy}.") from None
    except (sa.exc.SQLAlchemyError, OSError, ImportError) as error:
        detail = words_of(getattr(error, "orig", None) or error)
        raise StoreError(
            f"The store {shown_url(url)} cannot be opened for writing: {detail}. Check EARWITNESS_DB or --db."
        ) from None
    return engine


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    """Connections are tried before they are used: those from before a restart of the server are replaced without a word."""
    options = {name: value for name, value in _POSTGRESQL_CONNECT.items() if name not in url.query}
    engine = sa.create_engine(url, pool_pre_ping=True, connect_args=options)
    sa.event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _set_up_sqlite(connection: object, _: object) -> None:
    """WAL lets pages read while a worker writes; the driver's own transactions are off, `_begin_sqlite` has ours."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "busy_timeout = 30000",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "cache_size = -65536",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _set_up_postgresql(connection: object, _: object) -> None:
    """Nobody waits for ever: not for a lock (as in SQLite), and the server not for a machine that vanished in a transaction.

    Compiling queries just in time takes longer than all of ours do.
    """
    connection.autocommit = True
    cursor = connection.cursor()
    for setting in ("lock_timeout = '30s'", "tcp_keepalives_idle = 60", "tcp_keepalives_interval = 10", "jit = off"):
        cursor.execute(f"SET {setting}")
    cursor.close()
    connection.autocommit = False


def _begin_sqlite(connection: sa.Connection) -> None:
    """A writer takes the lock at once: one that reads first and writes later would fail instead of waiting."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def shown_url(url: str) -> str:
    """A store's URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return repr(url)

"""What a database's failures mean for those who use the store: refused, away for now, or a bug (which is left alone)."""

from __future__ import annotations

import sqlalchemy as sa

from core.errors import StoreError, StoreUnavailableError

# PostgreSQL, "Appendix A. Error Codes": serialisation failure and deadlock (the other transaction went on), too many
# connections, a lock not to be had in time, the server stopped, crashed or is starting, the session timed out.
_FOR_NOW = frozenset(("40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03", "57P05"))
_CONNECTION_CLASS = "08"
# A transaction that may not write (a standby), a role that may not touch the table.
_FORBIDDEN = frozenset(("25006", "42501"))


def store_error_of(error: sa.exc.SQLAlchemyError, shown_url: str) -> StoreError | None:
    """The `StoreError` that a failure is; None where it is a bug.

    Args:
        error: what SQLAlchemy raised.
        shown_url: the store as users may see it.
    """
    if isinstance(error, sa.exc.TimeoutError):
        return StoreUnavailableError(f"All connections to the store {shown_url} are in use. Try again in a moment.")
    if not isinstance(error, sa.exc.DBAPIError):
        return None
    detail = words_of(error.orig)
    if _is_for_now(error):
        return StoreUnavailableError(
            f"The store {shown_url} is not available now: {detail}. Check that its database runs and can be reached; audits wait."
        )
    if isinstance(error, sa.exc.OperationalError) or getattr(error.orig, "sqlstate", None) in _FORBIDDEN:
        return StoreError(f"The store refused: {detail}. Check its disk space and permissions, then resume.")
    if isinstance(error, sa.exc.DataError) and "NUL" in detail:  # PostgreSQL's texts hold no such character, SQLite's do
        return StoreError("The store refused: a text holds the character NUL. Take it out, then try again.")
    return None


def words_of(error: object) -> str:
    """The first line of what a driver says, without its full stop."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _is_for_now(error: sa.exc.DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
        return True  # another writer held the lock for longer than the busy timeout
    if not hasattr(error.orig, "sqlstate"):
        return False
    state = error.orig.sqlstate
    if state is None:  # no answer from a server: it could not be connected to, or the connection broke
        return isinstance(error, sa.exc.OperationalError)
    return state in _FOR_NOW or state.startswith(_CONNECTION_CLASS)

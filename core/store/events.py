"""The log of an audit: who did what when, only ever added to, each entry bound to the one before by its hash.

What the chain shows: that no entry was changed, left out or put in since a later hash was written down outside of the
store (a bundle's is printed when it is made). Whoever may write the store can make a new chain from its beginning on; only
a hash that is kept elsewhere tells.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from core.store.schema import events

if TYPE_CHECKING:  # it logs
    from core.store.store import Store

START = "0" * 64
"""What the first entry is bound to."""
_LOG_LOCK = 0x1065
"""The first of the two numbers of an advisory lock: any, but always the same."""
MAX_NAMED = 100
"""A review of more recordings than this names them by one hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry."""

    number: int
    """From 1, without gaps."""
    at: float
    """Seconds since 1970, UTC, by the clock of who did it."""
    actor: str
    """An analyst's name, or `user@host` of a process."""
    action: str
    """`created`, `started`, `ended`, `asked`, `labelled`, `reviewed`, `exported`, `bundled`."""
    details: str
    """JSON."""
    hash: str
    """SHA-256 over the hash before and all of the above."""


def event_hash(before: str, event: Event) -> str:
    """The hash that an entry must have after that one."""
    content = asdict(event) | {"hash": before}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def append_event(
    connection: sa.Connection, audit_id: int, action: str, *, actor: str | None = None, is_once: bool = False, **details: object
) -> None:
    """Adds an entry in a transaction of what it tells, so that neither is without the other.

    Args:
        actor: the user of this process when None.
        is_once: leaves it out when the entry before says the same: the transaction may be done again after its answer was lost.
        details: JSON values.
    """
    if connection.dialect.name == "postgresql":  # one at a time, but not behind a worker that holds the audit's row
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOG_LOCK, audit_id)))
    columns = events.c.number, events.c.hash, events.c.action, events.c.details
    newest = sa.select(*columns).where(events.c.audit_id == audit_id).order_by(events.c.number.desc()).limit(1)
    before = connection.execute(newest).one_or_none()
    text = json.dumps(details, sort_keys=True, separators=(",", ":"))
    if is_once and before is not None and (before.action, before.details) == (action, text):
        return
    number, link = (before.number + 1, before.hash) if before else (1, START)
    event = Event(number=number, at=time.time(), actor=actor or process_actor(), action=action, details=text, hash="")
    row = asdict(event) | {"audit_id": audit_id, "hash": event_hash(link, event)}
    connection.execute(events.insert().values(row))


def audit_events(store: Store, audit_id: int) -> tuple[Event, ...]:
    """The log of an audit, oldest first."""
    names = Event.__dataclass_fields__
    query = sa.select(*(events.c[name] for name in names)).where(events.c.audit_id == audit_id).order_by(events.c.number)
    with store.reading() as connection:
        return tuple(Event(**row) for row in connection.execute(query).mappings())


def broken_links(log: Sequence[Event]) -> tuple[str, ...]:
    """What does not hold in a log, a sentence each; empty when all of it does."""
    problems, before = [], START
    for position, event in enumerate(log, 1):
        if event.number != position:
            problems.append(f"log entry {event.number} stands where entry {position} should be")
        if event_hash(before, event) != event.hash:
            problems.append(f"log entry {event.number} ({event.action}, {event.actor}) was changed, or follows another than it did")
        before = event.hash
    return tuple(problems)


def named_recordings(hashes: Sequence[str]) -> dict[str, object]:
    """Recordings in an entry's details: how many, and which."""
    ordered = sorted(hashes)
    named = {"recordings": ordered} if len(ordered) <= MAX_NAMED else {}
    digest = hashlib.sha256("\n".join(ordered).encode()).hexdigest()
    return {"num_recordings": len(ordered), "sha256_of_their_hashes": digest} | named


def process_actor() -> str:
    """`user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        user = str(os.getuid())
    return f"{user}@{os.uname().nodename}"

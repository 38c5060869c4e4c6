"""What pages of evaluations ask the store beside scores: where a trial's recording lies, and whether labels have changed."""

from __future__ import annotations

import sqlalchemy as sa

from core.evaluation.comparison_records import Disagreement
from core.evaluation.records import ErrorTrial
from core.names import utterance_of
from core.store.schema import audit_labels, entries, reviews
from core.store.store import Store


def entry_of(store: Store, trial: ErrorTrial | Disagreement) -> int | None:
    """The audited file that holds a trial's recording: that of its own audit, else one of the same name in the newest audit.

    Returns:
        The id of an entry; None where no audit has such a file.
    """
    its_own_first = (entries.c.audit_id == (trial.audit_id or 0)).desc()
    query = sa.select(entries.c.id, entries.c.path).order_by(its_own_first, entries.c.id.desc())
    with store.reading() as connection:
        if trial.audit_id is not None and trial.path is not None:
            return connection.scalar(query.where(entries.c.audit_id == trial.audit_id, entries.c.path == trial.path))
        # A first sieve in SQL; the exact name is compared here, where it is not a pattern.
        rows = connection.execute(query.where(entries.c.path.contains(trial.utterance, autoescape=True)))
        return next((row.id for row in rows if utterance_of(row.path) == trial.utterance), None)


def labels_version(store: Store) -> str:
    """Changes whenever a recording is reviewed or an audit is given another protocol."""
    with store.reading() as connection:
        attached = connection.execute(sa.select(audit_labels).order_by(audit_labels.c.audit_id)).all()
        return repr((connection.scalar(sa.select(sa.func.max(reviews.c.id))), [tuple(row) for row in attached]))

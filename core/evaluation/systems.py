"""Systems to compare: imported score files, shipped results and labelled audits, listed, loaded, added and removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import sqlalchemy as sa

from core.errors import CoreError
from core.evaluation.labelled_audits import (
    audit_of_key,
    audit_system,
    audit_systems,
    audit_trial_set,
    label_entries,
    labelled_audits,
)
from core.evaluation.shipped_results import shipped_results, shipped_thresholds
from core.evaluation.stored_trials import drop_scores, drop_unused, save_scores, save_trial_set, stored_scores, stored_trial_set
from core.evaluation.system_records import System, SystemSummary, TrialSetSummary
from core.evaluation.trial_sets import TrialSet
from core.store.events import append_event
from core.store.schema import audit_labels, systems, trial_sets
from core.store.store import Store

_MATTER = "systems"
"""Importing and removing look first and write then: one at a time, so that a name is taken once and a set in use stays."""


def list_trial_sets(store: Store) -> tuple[TrialSetSummary, ...]:
    """All sets with the systems that scored them: imported ones and labelled audits, newest first, shipped results last."""
    with store.reading() as connection:
        dated = _stored_sets(connection) + labelled_audits(connection)
    newest_first = [summary for _, summary in sorted(dated, key=lambda pair: -pair[0])]
    shipped = shipped_results()
    if shipped is None:
        return tuple(newest_first)
    # Scores that were imported for the shipped trials stand beside the shipped ones.
    ours = next((summary for summary in newest_first if summary.key == shipped.trial_set.key), None)
    own = [
        SystemSummary(name=name, origin="shipped", num_scored=int(np.isfinite(scores).sum()), imported_at=None)
        for name, scores in shipped.scores.items()
    ]
    summary = TrialSetSummary(
        key=shipped.trial_set.key,
        name=shipped.trial_set.name,
        num_bona_fide=shipped.trial_set.num_bona_fide,
        num_spoof=shipped.trial_set.num_spoof,
        systems=(*(ours.systems if ours else ()), *own),
    )
    return (*(other for other in newest_first if other is not ours), summary)


def load_trial_set(store: Store, key: str) -> TrialSet:
    """The trials of a set.

    Raises:
        CoreError: there is no set of that key.
    """
    with store.reading() as connection:
        return _trial_set(connection, key)


def load_systems(store: Store, key: str, names: Sequence[str]) -> tuple[System, ...]:
    """Some systems of a set with their scores, in the order of the names.

    Raises:
        CoreError: there is no set of that key, or no such system in it.
    """
    with store.reading() as connection:
        trial_set = _trial_set(connection, key)
        found = _imported(connection, trial_set, names) | _shipped(trial_set, names)
        for summary in audit_systems(connection, key):
            if summary.name in names and summary.name not in found:
                found[summary.name] = audit_system(connection, summary, trial_set)
    missing = [name for name in names if name not in found]
    if missing:
        raise CoreError(f"{trial_set.name} has no system {missing[0]!r} (any more). Choose another one.")
    return tuple(found[name] for name in names)


def add_system(store: Store, trial_set: TrialSet, name: str, scores: np.ndarray, *, is_flipped: bool, note: str) -> None:
    """Stores a system that was imported, and its set where it is new.

    Args:
        scores: `[trial]` in the order of `trial_set`, higher means spoof, NaN where there is none.

    Raises:
        CoreError: the name is empty or taken, the set is an audit's, or the scores do not fit it.
    """
    name, scores = name.strip(), np.asarray(scores, dtype=np.float64)
    if not name:
        raise CoreError("A system needs a name.")
    if audit_of_key(trial_set.key) is not None:
        raise CoreError("Scores are imported for a protocol, not for the labels of an audit. Attach the protocol to the audit.")
    if scores.shape != (len(trial_set),) or np.isinf(scores).any() or np.isnan(scores).all():
        raise CoreError(f"{name}: expected {len(trial_set)} scores, finite or NaN for none, for {trial_set.name}.")
    with store.writing(alone_in=_MATTER) as connection:
        stored = save_trial_set(connection, trial_set)
        if name in _names(connection, trial_set.key):
            raise CoreError(f"{stored.name} has a system {name!r} already. Give this one another name, or remove the other first.")
        ordered = _reordered(scores, trial_set, stored)
        save_scores(connection, trial_set.key, name, ordered, is_flipped=is_flipped, note=note)


def remove_system(store: Store, key: str, name: str) -> None:
    """Removes an imported system, and its set with the last one.

    Raises:
        CoreError: there is no imported system of that name in the set.
    """
    with store.writing(alone_in=_MATTER) as connection:
        if not drop_scores(connection, key, name):
            raise CoreError(f"There is no imported system {name!r} in this set; shipped results and audits are not removed here.")


def attach_protocol(store: Store, audit_id: int, trial_set: TrialSet, *, by: str | None = None) -> int:
    """Labels an audit's recordings by file name, so that it is a system of that set and a labelled set of its own.

    Reviews need no attaching: an audit with reviewed recordings is a labelled set by them.

    Returns:
        How many recordings got a label; all others of the audit have none.

    Raises:
        CoreError: the audit is unknown or not fully listed, the set is an audit's, or none of the files is in the set.
    """
    if audit_of_key(trial_set.key) is not None:
        raise CoreError("The labels of another audit cannot be attached; give the protocol that they came from.")
    with store.writing(alone_in=_MATTER) as connection:
        num = label_entries(connection, audit_id, trial_set)
        save_trial_set(connection, trial_set)
        this = audit_labels.c.audit_id == audit_id
        before = connection.scalar(sa.select(audit_labels.c.trial_set_key).where(this))
        connection.execute(audit_labels.delete().where(this))
        connection.execute(audit_labels.insert().values(audit_id=audit_id, trial_set_key=trial_set.key))
        append_event(connection, audit_id, "labelled", actor=by, name=trial_set.name, trial_set=trial_set.key, num_files=num)
        if before is not None:
            drop_unused(connection, before)
    return num


# Rows to records -------------------------------------------------------------------------------------------------


def _stored_sets(connection: sa.Connection) -> list[tuple[float, TrialSetSummary]]:
    """With the time of the newest import."""
    fields = ("key", "name", "num_bona_fide", "num_spoof")
    rows = connection.execute(sa.select(trial_sets.c.created_at, *(trial_sets.c[name] for name in fields))).all()
    query = sa.select(systems.c.trial_set_key, systems.c.name, systems.c.num_scored, systems.c.imported_at)
    imported = connection.execute(query.order_by(systems.c.imported_at.desc(), systems.c.name)).all()
    found = []
    for row in rows:
        own = [
            SystemSummary(name=system.name, origin="imported", num_scored=system.num_scored, imported_at=system.imported_at)
            for system in imported
            if system.trial_set_key == row.key
        ]
        newest = max([row.created_at, *(system.imported_at for system in own)])
        summary = TrialSetSummary(
            systems=(*own, *audit_systems(connection, row.key)), **{name: getattr(row, name) for name in fields}
        )
        found.append((newest, summary))
    return found


def _trial_set(connection: sa.Connection, key: str) -> TrialSet:
    audit = audit_of_key(key)
    if audit is not None:
        return audit_trial_set(connection, key)
    shipped = shipped_results()
    if shipped is not None and shipped.trial_set.key == key:  # as listed: by its own name
        return shipped.trial_set
    stored = stored_trial_set(connection, key)
    if stored is None:
        raise CoreError("There is no such set of trials in this store (any more). Choose another one, or import its scores again.")
    return stored


def _names(connection: sa.Connection, key: str) -> set[str]:
    """Of all systems that a set has by now."""
    names = set(connection.scalars(sa.select(systems.c.name).where(systems.c.trial_set_key == key)))
    shipped = shipped_results()
    names |= set(shipped.scores) if shipped is not None and shipped.trial_set.key == key else set()
    return names | {summary.name for summary in audit_systems(connection, key)}


def _imported(connection: sa.Connection, trial_set: TrialSet, names: Sequence[str]) -> dict[str, System]:
    query = sa.select(systems).where(systems.c.trial_set_key == trial_set.key, systems.c.name.in_(names))
    rows = connection.execute(query).all()
    stored = stored_trial_set(connection, trial_set.key) if rows else None
    return {
        row.name: System(
            name=row.name,
            trial_set=trial_set,
            scores=_reordered(stored_scores(row), stored, trial_set),
            thresholds=None,
            origin="imported",
            is_flipped=row.is_flipped,
            note=row.note,
        )
        for row in rows
    }


def _shipped(trial_set: TrialSet, names: Sequence[str]) -> dict[str, System]:
    shipped = shipped_results()
    if shipped is None or shipped.trial_set.key != trial_set.key:
        return {}
    return {
        name: System(name=name, trial_set=trial_set, scores=scores, thresholds=shipped_thresholds(name), origin="shipped")
        for name, scores in shipped.scores.items()
        if name in names
    }


def _reordered(scores: np.ndarray, before: TrialSet, after: TrialSet) -> np.ndarray:
    """Scores in the order of one set's trials, in the order of another table of the same trials."""
    if before.table["utterance"].equals(after.table["utterance"]):
        return scores
    return pd.Series(scores, index=before.table["utterance"]).loc[after.table["utterance"]].to_numpy()

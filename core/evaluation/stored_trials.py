"""Trial sets and imported scores as rows of the store. What a system is, `core.evaluation.systems` says."""

from __future__ import annotations

import io
import time

import numpy as np
import pandas as pd
import sqlalchemy as sa

from core.evaluation.trial_sets import COLUMNS, TrialSet
from core.store.schema import audit_labels, systems, trial_sets


def stored_trial_set(connection: sa.Connection, key: str) -> TrialSet | None:
    """A set with its trials; None where the store has none of that key."""
    row = connection.execute(sa.select(trial_sets.c.name, trial_sets.c.trials).where(trial_sets.c.key == key)).one_or_none()
    if row is None:
        return None
    table = pd.read_parquet(io.BytesIO(row.trials)).astype(COLUMNS)
    return TrialSet(key=key, name=row.name, table=table)


def save_trial_set(connection: sa.Connection, trial_set: TrialSet) -> TrialSet:
    """Stores a set; where its key is there already, the fuller table stays, in the order in which it was stored first.

    Returns:
        The set as it is stored: scores are kept in its order.
    """
    stored = stored_trial_set(connection, trial_set.key)
    if stored is not None:
        ordered = trial_set.table.set_index("utterance").loc[stored.table["utterance"]].reset_index()[list(COLUMNS)]
        if _num_told(ordered) <= _num_told(stored.table):
            return stored
        trial_set = TrialSet(key=trial_set.key, name=trial_set.name, table=ordered)
    buffer = io.BytesIO()
    trial_set.table.to_parquet(buffer, index=False, compression="zstd")
    values = {"name": trial_set.name, "trials": buffer.getvalue()}
    if stored is not None:
        connection.execute(trial_sets.update().where(trial_sets.c.key == trial_set.key).values(values))
        return trial_set
    counts = {"num_bona_fide": trial_set.num_bona_fide, "num_spoof": trial_set.num_spoof}
    connection.execute(trial_sets.insert().values(key=trial_set.key, created_at=time.time(), **counts, **values))
    return trial_set


def save_scores(connection: sa.Connection, key: str, name: str, scores: np.ndarray, *, is_flipped: bool, note: str) -> None:
    """Stores a system's scores, in the order of the stored set."""
    values = {"scores": np.asarray(scores, dtype="<f8").tobytes(), "num_scored": int(np.isfinite(scores).sum())}
    values |= {"trial_set_key": key, "name": name, "imported_at": time.time(), "is_flipped": is_flipped, "note": note}
    connection.execute(systems.insert().values(values))


def stored_scores(row: sa.Row) -> np.ndarray:
    """The scores in a row of `systems`, `[trial]`."""
    return np.frombuffer(row.scores, dtype="<f8").astype(np.float64)


def drop_scores(connection: sa.Connection, key: str, name: str) -> bool:
    """Removes a system, and the set when nothing refers to it any more; False where there is no such system."""
    found = connection.execute(systems.delete().where(systems.c.trial_set_key == key, systems.c.name == name)).rowcount
    if found:
        drop_unused(connection, key)
    return bool(found)


def drop_unused(connection: sa.Connection, key: str) -> None:
    """Removes a set that no system and no audit refers to."""
    in_use = [sa.select(sa.literal(1)).where(table.c.trial_set_key == key).limit(1) for table in (systems, audit_labels)]
    if not any(connection.scalar(query) for query in in_use):
        connection.execute(trial_sets.delete().where(trial_sets.c.key == key))


def _num_told(table: pd.DataFrame) -> int:
    return int(table.notna().to_numpy().sum())

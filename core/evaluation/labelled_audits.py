"""Audits whose recordings have labels, by a protocol or by reviews, as trials with scores. Reads; attaches protocols."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import PurePath

import numpy as np
import pandas as pd
import sqlalchemy as sa

from core.calibration import Thresholds
from core.errors import CoreError
from core.evaluation.stored_trials import stored_trial_set
from core.evaluation.system_records import System, SystemSummary, TrialSetSummary
from core.evaluation.trial_sets import COLUMNS, LABELS, TrialSet, make_trial_set
from core.names import find_name, utterance_of
from core.records import Verdict
from core.store.filters import newest_review
from core.store.schema import audit_labels, audits, detectors, entries, reviews
from core.store.store import Store

_PREFIX, _BY_REVIEWS = "audit-", "-reviews"
_MAX_OTHERS = 20
"""Other audits of the same folder that are shown beside one."""
_HAS_SCORE = sa.select(sa.func.count()).select_from(entries).where(entries.c.spoof_score.is_not(None))
_NUM = sa.func.count().label("num"), sa.func.count(entries.c.spoof_score).label("num_scored")

Counts = dict[tuple[int, bool], dict[str, sa.Row]]
"""(audit, whether its reviews are the labels) -> label -> `num` recordings and how many are scored, `num_scored`."""


def labelled_audits(connection: sa.Connection) -> list[tuple[float, TrialSetSummary]]:
    """The audits with at least one label, with the times of their making; one that has both kinds of labels occurs twice."""
    counts = _protocol_counts(connection) | _review_counts(connection)
    rows = {row.id: row for row in connection.execute(sa.select(audits).where(audits.c.id.in_({key[0] for key in counts})))}
    found = []
    for (audit_id, by_reviews), labels in counts.items():
        num = {label: row.num for label, row in labels.items()}
        summary = TrialSetSummary(
            key=key_of_audit(audit_id, by_reviews=by_reviews),
            name=_title(audit_id, rows[audit_id].folder, by_reviews),
            num_bona_fide=num.get("bona fide", 0),
            num_spoof=num.get("spoof", 0),
            systems=_of_folder(connection, audit_id, by_reviews, sum(row.num_scored for row in labels.values())),
        )
        found.append((rows[audit_id].created_at, summary))
    return found


def key_of_audit(audit_id: int, *, by_reviews: bool = False) -> str:
    """The key of an audit's trial set: `audit-7`, or `audit-7-reviews` where the newest reviews are the labels."""
    return f"{_PREFIX}{audit_id}{_BY_REVIEWS if by_reviews else ''}"


def audit_of_key(key: str) -> tuple[int, bool] | None:
    """The audit and whether its reviews are the labels; None for the key of another kind of set."""
    number = key.removeprefix(_PREFIX).removesuffix(_BY_REVIEWS)
    return (int(number), key.endswith(_BY_REVIEWS)) if key.startswith(_PREFIX) and number.isdecimal() else None


def audit_trial_set(connection: sa.Connection, key: str) -> TrialSet:
    """The labelled recordings of an audit, by path.

    Raises:
        CoreError: no recording of it has a label.
    """
    audit_id, by_reviews = audit_of_key(key)
    label = (reviews.c.verdict if by_reviews else entries.c.label).label("label")
    names = ("path", "attack", "speaker", "codec", "duration_s")
    query = sa.select(label, *(entries.c[name] for name in names)).order_by(entries.c.path_bytes)
    table = _frame(connection, _labelled(query, audit_id, by_reviews))
    if not len(table):
        raise CoreError(f"No recording of audit {audit_id} has a label. Attach a protocol, or review some of its recordings.")
    utterances = table["path"].map(utterance_of)
    # Files of one name in different folders are told apart by their paths.
    table["utterance"] = utterances.mask(utterances.duplicated(keep=False), table["path"])
    attached = connection.scalar(sa.select(audit_labels.c.trial_set_key).where(audit_labels.c.audit_id == audit_id))
    if attached is not None:
        table = _with_known(table, stored_trial_set(connection, attached).table)
    folder = connection.scalar(sa.select(audits.c.folder).where(audits.c.id == audit_id))
    return make_trial_set(_title(audit_id, folder, by_reviews), table, key=key)


def audit_systems(connection: sa.Connection, key: str) -> tuple[SystemSummary, ...]:
    """Audits as systems: of an audit's own set, itself and the newest others of its folder; of a stored set, those attached."""
    audit = audit_of_key(key)
    if audit is not None:
        return _of_folder(connection, *audit, connection.scalar(_labelled(_HAS_SCORE, *audit)))
    attached = connection.scalars(sa.select(audit_labels.c.audit_id).where(audit_labels.c.trial_set_key == key))
    scored = _HAS_SCORE.where(entries.c.label.is_not(None))
    return tuple(
        _summary(connection, number, connection.scalar(scored.where(entries.c.audit_id == number)))
        for number in sorted(attached, reverse=True)
    )


def audit_system(connection: sa.Connection, summary: SystemSummary, trial_set: TrialSet) -> System:
    """An audit's scores of a set's trials, joined by path where the set has paths, else by utterance."""
    columns = [entries.c[name] for name in ("path", "spoof_score", "verdict")]
    query = sa.select(*columns).where(entries.c.audit_id == summary.audit_id).order_by(entries.c.path_bytes)
    by_path = audit_of_key(trial_set.key) is not None
    if not by_path:  # attaching gave labels to exactly one file of each utterance
        query = query.where(entries.c.label.is_not(None))
    table = _frame(connection, query)
    utterances = trial_set.table["utterance"]
    known = set(utterances)
    table.index = pd.Index(table["path"] if by_path else [find_name(path, known) or path for path in table["path"]])
    aligned = table[~table.index.duplicated()].reindex(trial_set.table["path"] if by_path else utterances)
    scores = aligned["spoof_score"].to_numpy(dtype=np.float64)
    manifest = connection.scalar(sa.select(detectors.c.manifest).join(audits).where(audits.c.id == summary.audit_id))
    thresholds = json.loads(manifest)["thresholds"]
    return System(
        name=summary.name,
        trial_set=trial_set,
        scores=scores,
        thresholds=Thresholds(**thresholds) if thresholds else None,
        origin="audit",
        audit_id=summary.audit_id,
        note=_note(scores, aligned["verdict"]),
    )


def entry_of_trial(store: Store, audit_id: int, *, utterance: str, path: str | None = None) -> int | None:
    """The file of an audit that a trial is, to be opened: by its path where known, else by its name; None where there is none."""
    query = sa.select(entries.c.id, entries.c.path).where(entries.c.audit_id == audit_id).order_by(entries.c.path_bytes)
    query = query.where(entries.c.path == path if path is not None else entries.c.path.contains(utterance, autoescape=True))
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return next((row.id for row in rows if path is not None or utterance_of(row.path) == utterance), None)


def label_entries(connection: sa.Connection, audit_id: int, trial_set: TrialSet) -> int:
    """Gives an audit's files the labels of a set's trials, by file name, in place of those they had; returns how many.

    Raises:
        CoreError: the audit is not listed yet, or none of its files is in the set.
    """
    # The lock is for PostgreSQL, where a worker writes results into the same rows in another order.
    query = sa.select(audits.c.is_listed).where(audits.c.id == audit_id).with_for_update(key_share=True)
    audit = connection.execute(query).one_or_none()
    if audit is None or not audit.is_listed:
        why = "is not in this store" if audit is None else "is still being listed; try again when all its files are known"
        raise CoreError(f"Audit {audit_id} {why}.")
    files = connection.execute(sa.select(entries.c.id, entries.c.path).where(entries.c.audit_id == audit_id)).all()
    trials = trial_set.table.set_index("utterance")[["label", "attack", "speaker"]].astype(object)
    known = trials.where(trials.notna(), None).to_dict("index")
    values: dict[str, dict] = {}
    for entry_id, path in sorted(files, key=lambda file: file.path):
        if utterance := find_name(path, known):  # the first file of a name
            values.setdefault(
                utterance, {"entry_id": entry_id, **{f"new_{name}": value for name, value in known[utterance].items()}}
            )
    if not values:
        example = f" (files like {PurePath(files[0].path).name}, utterances like {next(iter(known))})" if files else ""
        raise CoreError(f"No file of audit {audit_id} is in {trial_set.name}{example}: this is the protocol of another set.")
    of_audit = entries.update().where(entries.c.audit_id == audit_id, entries.c.label.is_not(None))
    connection.execute(of_audit.values(label=None, attack=None, speaker=None))
    names = ("label", "attack", "speaker")
    update = entries.update().where(entries.c.id == sa.bindparam("entry_id"))
    connection.execute(update.values({name: sa.bindparam(f"new_{name}") for name in names}), list(values.values()))
    return len(values)


# Queries ---------------------------------------------------------------------------------------------------------


def _frame(connection: sa.Connection, query: sa.Select) -> pd.DataFrame:
    """The rows of a query. pandas takes plain tuples several times as fast as rows, which have names of their own."""
    found = connection.execute(query)
    return pd.DataFrame([tuple(row) for row in found], columns=list(found.keys()))


def _labelled(query: sa.Select, audit_id: int | None, by_reviews: bool) -> sa.Select:
    """A query on entries, of those that have a label (of one audit). Reviews are of contents: copies count once."""
    audit = entries.c.audit_id
    if by_reviews:
        query = query.join_from(entries, reviews, newest_review())
        query = query.where(reviews.c.verdict.in_(LABELS), entries.c.duplicate_of.is_(None))
        # Both let SQLite begin with the reviews, which are few, and not with the audit's files.
        query = query.where(entries.c.recording_id.in_(sa.select(reviews.c.recording_id)))
        audit = audit + 0
    else:
        query = query.where(entries.c.label.in_(LABELS))
    return query if audit_id is None else query.where(audit == audit_id)


def _protocol_counts(connection: sa.Connection) -> Counts:
    """Of audits that were given labels."""
    attached = set(connection.scalars(sa.select(audit_labels.c.audit_id)))
    settings = connection.execute(sa.select(audits.c.id, audits.c.settings))
    labelled = attached | {row.id for row in settings if json.loads(row.settings)["protocol"]}
    query = sa.select(entries.c.audit_id, entries.c.label, *_NUM).where(entries.c.audit_id.in_(labelled))
    return _counts(
        connection.execute(_labelled(query, None, False).group_by(entries.c.audit_id, entries.c.label)), by_reviews=False
    )


def _review_counts(connection: sa.Connection) -> Counts:
    """Of audits with reviewed recordings."""
    query = sa.select(entries.c.audit_id, reviews.c.verdict.label("label"), *_NUM)
    query = _labelled(query, None, True).group_by(entries.c.audit_id, reviews.c.verdict)
    return _counts(connection.execute(query), by_reviews=True)


def _counts(rows: Iterable[sa.Row], *, by_reviews: bool) -> Counts:
    counts: Counts = {}
    for row in rows:
        counts.setdefault((row.audit_id, by_reviews), {})[row.label] = row
    return counts


def _of_folder(connection: sa.Connection, audit_id: int, by_reviews: bool, num_scored: int) -> tuple[SystemSummary, ...]:
    """An audit with labels, and the others of its folder that scored some of the labelled files."""
    folder = sa.select(audits.c.folder).where(audits.c.id == audit_id).scalar_subquery()
    others = sa.select(audits.c.id).where(audits.c.folder == folder.correlate(None), audits.c.id != audit_id, audits.c.num_done > 0)
    labelled = _labelled(sa.select(entries.c.path_bytes), audit_id, by_reviews).correlate(None)
    counted = _HAS_SCORE.where(entries.c.path_bytes.in_(labelled))
    ids = connection.scalars(others.order_by(audits.c.id.desc()).limit(_MAX_OTHERS)).all()
    num_of = {audit_id: num_scored} | {other: connection.scalar(counted.where(entries.c.audit_id == other)) for other in ids}
    return tuple(_summary(connection, number, num) for number, num in num_of.items() if num or number == audit_id)


def _summary(connection: sa.Connection, audit_id: int, num_scored: int) -> SystemSummary:
    query = sa.select(audits.c.created_at, detectors.c.name).join_from(audits, detectors).where(audits.c.id == audit_id)
    audit = connection.execute(query).one()
    return SystemSummary(
        name=f"{audit.name} (audit {audit_id})",
        origin="audit",
        num_scored=num_scored,
        imported_at=audit.created_at,
        audit_id=audit_id,
    )


def _with_known(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Takes what the attached set says of a trial; the file's own codec and duration where it says nothing."""
    told = known.set_index("utterance").reindex(table["utterance"]).reset_index(drop=True)
    for column in COLUMNS:
        if column in ("utterance", "label", "path"):
            continue
        table[column] = told[column].where(told[column].notna(), table[column]) if column in table else told[column]
    return table


def _title(audit_id: int, folder: str, by_reviews: bool) -> str:
    return f"Audit {audit_id}, {PurePath(folder).name or folder}, labels by {'reviews' if by_reviews else 'protocol'}"


def _note(scores: np.ndarray, verdicts: pd.Series) -> str:
    num = int(np.isnan(scores).sum())
    if not num:
        return ""
    num_refused = int((verdicts == Verdict.REFUSED).sum())
    words = [f"{n:,} {word}" for n, word in ((num_refused, "refused"), (num - num_refused, "not in the audit or pending")) if n]
    return f"{num:,} {'trial has' if num == 1 else 'trials have'} no score ({', '.join(words)})"

"""A triage filter as SQL: conditions and orders that `core.store.triage` and `core.store.exports` share."""

from __future__ import annotations

from pathlib import PurePath

import sqlalchemy as sa

from core.errors import CoreError
from core.records import FAMILIAR_UP_TO, TriageFilter, Verdict
from core.store.schema import entries, reviews, scores
from core.store.store import Store

EVERYTHING = TriageFilter()
"""All files, highest score first."""
ORDERS = {
    # The index `entries_by_risk` read backwards, without sorting; that is why ids fall where scores are equal.
    "risk": (entries.c.spoof_score.desc().nulls_last(), entries.c.id.desc()),
    "safe": (entries.c.spoof_score.asc().nulls_last(), entries.c.id.asc()),
    # By bytes: an index has them, and every database agrees on the result.
    "path": (entries.c.path_bytes.asc(),),
    "duration": (entries.c.duration_s.desc().nulls_last(), entries.c.id.asc()),
}
"""`TriageFilter.order` -> what to order `entries` by."""
CHANNEL_ORDER = (sa.func.length(scores.c.channel), scores.c.channel)
"""What to order `scores` by: channel 10 comes after channel 9."""
MAX_LOOKED_UP = 20_000
"""Reviews whose files are looked up one by one: 2 us each; a walk through a million files takes half a second."""


def filter_condition(store: Store, audit_id: int, filter: TriageFilter) -> sa.ColumnElement[bool]:
    """The files of an audit that a filter lets through, as a condition on `entries`.

    Raises:
        CoreError: a filter with an unknown order or review.
    """
    if filter.order not in ORDERS:
        raise CoreError(f"Unknown order {filter.order!r}; expected one of {', '.join(ORDERS)}.")
    # `+ 0` keeps SQLite off the indices by audit: it looks up the files of the reviews and does not walk through all files.
    conditions = [(entries.c.audit_id + 0 if _begins_with_reviews(store, filter) else entries.c.audit_id) == audit_id]
    if filter.verdicts:
        conditions.append(entries.c.verdict.in_(filter.verdicts))
    if filter.codecs:
        conditions.append(entries.c.codec.in_(filter.codecs))
    if filter.min_score is not None:
        conditions.append(entries.c.spoof_score >= filter.min_score)
    if filter.max_score is not None:
        conditions.append(entries.c.spoof_score <= filter.max_score)
    if filter.folder is not None:
        conditions.append(_within(str(PurePath(filter.folder))))
    if filter.text:
        conditions.append(_contains(filter.text, store.engine.dialect.name))
    if filter.unfamiliar is not None:
        is_unfamiliar = sa.func.coalesce(entries.c.training_distance, 0) > FAMILIAR_UP_TO
        conditions.append(is_unfamiliar if filter.unfamiliar else ~is_unfamiliar)
    if filter.review is not None:
        conditions.append(_reviewed_as(filter.review))
    return sa.and_(*conditions)


def is_newest_review() -> sa.ColumnElement[bool]:
    """The rows of `reviews` that are a recording's newest, as a condition on them alone: reviews are few beside entries."""
    newer = reviews.alias()
    return ~sa.exists().where(newer.c.recording_id == reviews.c.recording_id, newer.c.id > reviews.c.id)


def newest_review() -> sa.ColumnElement[bool]:
    """What joins a row of `entries` to the newest review of its recording."""
    return (reviews.c.recording_id == entries.c.recording_id) & is_newest_review()


def of_mode(channels: str, table: sa.FromClause = scores) -> sa.ColumnElement[bool]:
    """The rows of `scores` (or an alias of it) that belong to an audit's channel mode."""
    return table.c.channel == "mix" if channels == "mix" else table.c.channel != "mix"


def _begins_with_reviews(store: Store, filter: TriageFilter) -> bool:
    """Whether SQLite is told to; PostgreSQL chooses well by itself."""
    if filter.review in (None, "unreviewed") or store.engine.dialect.name != "sqlite":
        return False
    some = sa.select(reviews.c.id).limit(MAX_LOOKED_UP + 1).subquery()
    with store.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(some)) <= MAX_LOOKED_UP


def _within(folder: str) -> sa.ColumnElement[bool]:
    """Files in this folder or below it; not by LIKE, which knows wildcards and in SQLite no upper case."""
    if folder == ".":
        return sa.true()
    return (entries.c.folder == folder) | (sa.func.substr(entries.c.folder, 1, len(folder) + 1) == folder + "/")


def _contains(text: str, dialect: str) -> sa.ColumnElement[bool]:
    """Paths that contain a text, whatever its case; alike in every database, whatever its locale."""
    if text.isascii():
        if dialect == "sqlite":
            if text.lower() == text.upper():  # no letters: LIKE takes up to twice as long
                return sa.func.instr(entries.c.path, text) > 0
            # LIKE folds the case of ASCII here; `lower` of a million paths takes as long as the search.
            return entries.c.path.contains(text, autoescape=True)
        return entries.c.path.collate("C").icontains(text, autoescape=True)
    # No database folds the case of all letters by itself.
    choices = [{c for c in (char, char.lower(), char.upper()) if len(c) == 1} for char in text]
    if dialect == "sqlite":
        pattern = "".join(
            f"[{''.join(sorted(chars))}]" if len(chars) > 1 or chars & set("*?[") else min(chars) for chars in choices
        )
        return entries.c.path.op("GLOB", is_comparison=True)(f"*{pattern}*")
    pattern = "".join(min(chars) if chars == {" "} else f"[{''.join(map(_in_brackets, sorted(chars)))}]" for chars in choices)
    return entries.c.path.collate("C").regexp_match(pattern)


def _in_brackets(char: str) -> str:
    """A character as it stands in a regular expression's brackets."""
    return f"\\{char}" if char in "\\]^-[" else char


def _reviewed_as(review: str) -> sa.ColumnElement[bool]:
    """Files whose recording has the given state of review."""
    if review == "reviewed":
        return entries.c.recording_id.in_(sa.select(reviews.c.recording_id))
    if review == "unreviewed":  # and reviewable: a file that could not be read has no recording
        return entries.c.recording_id.is_not(None) & ~sa.exists().where(reviews.c.recording_id == entries.c.recording_id)
    if review not in list(Verdict):
        raise CoreError(f"Unknown review {review!r}; expected reviewed, unreviewed or a verdict.")
    return entries.c.recording_id.in_(sa.select(reviews.c.recording_id).where(reviews.c.verdict == review, is_newest_review()))

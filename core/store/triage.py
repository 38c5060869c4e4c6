"""Reads for the people who look at an audit, and their reviews. Filters, orders, counts and pages in SQL; never scores."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import PurePath
from typing import Any

import numpy as np
import sqlalchemy as sa

from core.errors import CoreError, StoreError
from core.records import (
    AudioInfo,
    Audit,
    Detection,
    EntryDetail,
    FolderShare,
    HistogramBin,
    Review,
    SegmentScore,
    SignalQuality,
    TriageFilter,
    TriagePage,
    TriageRow,
    Verdict,
)
from core.store.events import append_event, named_recordings
from core.store.filters import CHANNEL_ORDER, EVERYTHING, ORDERS, filter_condition, newest_review, of_mode
from core.store.schema import audits, entries, recordings, reviews, scores, segments
from core.store.store import Store

MAX_COUNTED = 20_000
"""Files whose warnings are looked at: each costs a look-up of its score."""
MAX_SCORE = 20.0
"""Scores beyond +-20 nats (odds of 5e8) share the outermost bins of a histogram."""

_IDS_PER_QUERY = 10_000
"""SQLite takes 32,766 variables in a statement."""
_DETAILS_PER_QUERY = 50
"""Files whose segments are held at once: of ten hours each, some hundred MiB."""
_LOOK_AHEAD = 200
"""Rows looked at after a page: where there are fewer, a rare text costs one walk through the files and not a second to count."""


def triage_page(store: Store, audit_id: int, filter: TriageFilter = EVERYTHING, *, offset: int = 0, limit: int = 50) -> TriagePage:
    """Some rows of the filtered triage table, in its order.

    Args:
        filter: which rows, in which order; refused and pending files have no score and come last.
        offset: how many rows to skip.
        limit: how many to return at most, up to 10,000.

    Raises:
        CoreError: a filter with an unknown order or review, or an offset or limit out of range.
    """
    if offset < 0 or not 1 <= limit <= _IDS_PER_QUERY:
        raise CoreError(f"A page needs an offset of 0 or more and a limit of 1 to {_IDS_PER_QUERY}, got {offset} and {limit}.")
    condition = filter_condition(store, audit_id, filter)
    with store.reading() as connection:
        ids = _matching(connection, condition, filter.order, offset=offset, limit=limit + _LOOK_AHEAD)
        rows = _rows(connection, ids[:limit])
    sees_end = len(ids) < limit + _LOOK_AHEAD and (ids or not offset)
    return TriagePage(rows=rows, num_rows=offset + len(ids) if sees_end else _num_matching(store, audit_id, filter, condition))


def matching_entries(
    store: Store, audit_id: int, filter: TriageFilter = EVERYTHING, *, limit: int | None = None
) -> tuple[int, ...]:
    """Entry ids of the filtered triage table, in its order.

    Raises:
        CoreError: a filter with an unknown order or review.
    """
    condition = filter_condition(store, audit_id, filter)
    with store.reading() as connection:
        return _matching(connection, condition, filter.order, limit=limit)


def failures(store: Store, audit_id: int, *, limit: int = 100) -> tuple[TriageRow, ...]:
    """The refused files, by path."""
    return triage_page(store, audit_id, TriageFilter(verdicts=(Verdict.REFUSED,), order="path"), limit=limit).rows


def entry_detail(store: Store, entry_id: int) -> EntryDetail:
    """All that is known of one file of an audit.

    Raises:
        StoreError: there is no such file.
    """
    return next(entry_details(store, [entry_id]))


def entry_details(store: Store, entry_ids: Sequence[int]) -> Iterator[EntryDetail]:
    """All that is known of each of some files, in their order; some dozens at a time are read and held.

    Raises:
        StoreError: there is no such file.
    """
    for i in range(0, len(entry_ids), _DETAILS_PER_QUERY):
        with store.reading() as connection:
            details = _details(connection, store, entry_ids[i : i + _DETAILS_PER_QUERY])
        yield from details


def score_histogram(store: Store, audit_id: int, *, bin_width: float | None = 0.5) -> tuple[HistogramBin, ...]:
    """How the spoof scores are spread, in bins that meet at 0, from the lowest to the highest that holds a file.

    Args:
        bin_width: in nats; None for scores that have no scale: a width that fits them, and no outermost bins.

    Raises:
        CoreError: a width that is not 0.1 to 20.
    """
    if bin_width is not None and not 0.1 <= bin_width <= MAX_SCORE:
        raise CoreError(f"The bins of a histogram are 0.1 to {MAX_SCORE:g} nats wide, got {bin_width}.")
    score, of_audit = entries.c.spoof_score, entries.c.audit_id == audit_id
    ends = [sa.select(end).where(of_audit, score.is_not(None)) for end in (sa.func.min(score), sa.func.max(score))]
    with store.reading() as connection:
        low, high = (connection.scalar(end) for end in ends)
        if low is None:
            return ()
        outermost = math.inf if bin_width is None else math.ceil(MAX_SCORE / bin_width)
        bin_width = bin_width or _fitting_width(low, high)
        first, last = (int(min(max(end // bin_width, -outermost), outermost - 1)) for end in (low, high))
        # Each bin is a stretch of an index; grouping by a number made of the score would sort them all.
        count = sa.select(sa.func.count()).where(of_audit)
        counts = [
            count.where(
                score >= i * bin_width if i > first else score.is_not(None), score < (i + 1) * bin_width if i < last else sa.true()
            )
            for i in range(first, last + 1)
        ]
        found = connection.execute(sa.select(*(count.scalar_subquery() for count in counts))).one()
    return tuple(HistogramBin(low=i * bin_width, high=(i + 1) * bin_width, num=num) for i, num in enumerate(found, first))


def _fitting_width(low: float, high: float) -> float:
    """A width of 1, 2 or 5 times a power of ten that puts the scores between these into 15 to 40 bins."""
    if high <= low:
        return 1.0
    wanted = (high - low) / 40
    power = 10.0 ** math.floor(math.log10(wanted))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= wanted)


def folder_shares(store: Store, audit_id: int, *, limit: int = 30) -> tuple[FolderShare, ...]:
    """Verdict counts of the folders that hold files, most spoof first."""
    names = {"num_spoof": Verdict.SPOOF, "num_inconclusive": Verdict.INCONCLUSIVE}
    names |= {"num_bona_fide": Verdict.BONA_FIDE, "num_refused": Verdict.REFUSED}
    # Counted as an index has them, then put side by side: looking at each file's verdict four times takes twice as long.
    by = entries.c.folder, entries.c.verdict
    counted = sa.select(*by, sa.func.count().label("num")).where(entries.c.audit_id == audit_id, entries.c.verdict.is_not(None))
    found = counted.group_by(*by).subquery()
    counts = [
        sa.cast(sa.func.sum(sa.case((found.c.verdict == verdict, found.c.num), else_=0)), sa.Integer).label(name)
        for name, verdict in names.items()
    ]
    query = sa.select(found.c.folder, *counts).group_by(found.c.folder)
    query = query.order_by(counts[0].desc(), counts[1].desc(), found.c.folder).limit(limit)
    with store.reading() as connection:
        return tuple(FolderShare(**row) for row in connection.execute(query).mappings())


def folders(store: Store, audit_id: int) -> tuple[str, ...]:
    """The folders that hold files and those above them, sorted; `.` only where files lie at the top."""
    with store.reading() as connection:
        found = set(connection.scalars(sa.select(entries.c.folder).where(entries.c.audit_id == audit_id).distinct()))
    above = {str(parent) for folder in found for parent in PurePath(folder).parents} - {"."}
    return tuple(sorted(found | above))


def num_warned(store: Store, audit_id: int, code: str) -> int:
    """Files whose riskiest channel has that warning (`core.terms.WARNINGS`).

    Where more than `MAX_COUNTED` files are done, every so many-th is looked at, and the number is extrapolated.
    """
    query = sa.select(sa.func.count()).select_from(entries).join(scores, scores.c.id == entries.c.score_id)
    query = query.where(entries.c.audit_id == audit_id, scores.c.warnings.contains(code))
    with store.reading() as connection:
        num_done = connection.scalar(sa.select(audits.c.num_done).where(audits.c.id == audit_id))
        step = max(1, -(-num_done // MAX_COUNTED))
        return step * connection.scalar(query.where(entries.c.id % step == 0) if step > 1 else query)


def codecs(store: Store, audit_id: int) -> tuple[str, ...]:
    """The codings that occur, sorted."""
    query = sa.select(entries.c.codec).where(entries.c.audit_id == audit_id, entries.c.codec.is_not(None)).distinct()
    with store.reading() as connection:
        return tuple(sorted(connection.scalars(query)))


def add_reviews(store: Store, entry_ids: Sequence[int], *, verdict: str, reviewer: str, note: str = "") -> int:
    """Adds an analyst's verdict to the recordings of some files, to all or to none.

    Args:
        entry_ids: files; those with the same bytes are one recording.
        verdict: `spoof`, `inconclusive` or `bona fide`.
        reviewer: who says so.

    Returns:
        The number of recordings reviewed.

    Raises:
        CoreError: another verdict, no name, or files that are unknown, pending or could not be read.
    """
    allowed = [str(v) for v in Verdict if v is not Verdict.REFUSED]
    if verdict not in allowed:
        raise CoreError(f"A review says {', '.join(allowed[:-1])} or {allowed[-1]}, not {str(verdict)!r}.")
    if not reviewer.strip():
        raise CoreError("A review needs the name of its reviewer.")
    values = {"verdict": str(verdict), "reviewer": reviewer.strip(), "note": note.strip(), "created_at": time.time()}
    with store.writing() as connection:
        found = _reviewable(connection, entry_ids)
        if found:
            rows = [values | {"recording_id": recording_id, "audit_id": audit_id} for recording_id, (audit_id, _) in found.items()]
            connection.execute(reviews.insert(), rows)
            _log_reviews(connection, found, values)
    return len(found)


def _log_reviews(connection: sa.Connection, found: dict[int, tuple[int, str]], review: dict[str, Any]) -> None:
    for audit_id in sorted({audit_id for audit_id, _ in found.values()}):
        named = named_recordings([sha256 for its_audit, sha256 in found.values() if its_audit == audit_id])
        said = {"verdict": review["verdict"], "note": review["note"]}
        append_event(connection, audit_id, "reviewed", actor=review["reviewer"], **said, **named)


# Rows to records ------------------------------------------------------------------------------------------------


def _matching(
    connection: sa.Connection, condition: sa.ColumnElement[bool], order: str, *, offset: int = 0, limit: int | None = None
) -> tuple[int, ...]:
    """Ids alone, which an index holds: skipping 100,000 of them is quick."""
    query = sa.select(entries.c.id).where(condition).order_by(*ORDERS[order]).limit(limit)
    return tuple(connection.scalars(query.offset(offset) if offset else query))


def _num_matching(store: Store, audit_id: int, filter: TriageFilter, condition: sa.ColumnElement[bool]) -> int:
    counted, taken_off = condition, None
    if filter.review == "unreviewed":  # what could be read less what is reviewed: few look-ups in place of one for each file
        counted = filter_condition(store, audit_id, replace(filter, review=None)) & entries.c.recording_id.is_not(None)
        taken_off = filter_condition(store, audit_id, replace(filter, review="reviewed"))
    count = sa.select(sa.func.count()).select_from(entries)
    with store.reading() as connection:
        num = connection.scalar(count.where(counted))
        return num if taken_off is None else num - connection.scalar(count.where(taken_off))


def _rows(connection: sa.Connection, ids: Sequence[int]) -> tuple[TriageRow, ...]:
    """The triage rows of these entries, in this order."""
    columns = [entries.c[field.name] for field in fields(TriageRow) if field.name in entries.c]
    newest = [column.label(f"review_{column.name}") for column in reviews.c]
    query = sa.select(entries.c.id, *columns, *newest).outerjoin_from(entries, reviews, newest_review())
    found = {row["id"]: row for row in connection.execute(query.where(entries.c.id.in_(ids))).mappings()}
    return tuple(_row(found[entry_id]) for entry_id in ids if entry_id in found)


def _details(connection: sa.Connection, store: Store, entry_ids: Sequence[int]) -> list[EntryDetail]:
    rows = {row.entry_id: row for row in _rows(connection, entry_ids)}
    if unknown := [entry_id for entry_id in entry_ids if entry_id not in rows]:
        raise StoreError(f"There is no file {unknown[0]} in this store.")
    content = [column for column in recordings.c if column.name != "id"]
    columns = entries.c.id, entries.c.audit_id, entries.c.path_bytes, entries.c.reason_code, entries.c.recording_id, *content
    query = sa.select(*columns).outerjoin_from(entries, recordings, recordings.c.id == entries.c.recording_id)
    found = {row["id"]: row for row in connection.execute(query.where(entries.c.id.in_(entry_ids))).mappings()}
    contents = sorted({row["recording_id"] for row in found.values()} - {None})
    its_audits = {audit_id: store.audit(audit_id) for audit_id in {row["audit_id"] for row in found.values()}}
    detections = {audit_id: _detections(connection, audit, contents) for audit_id, audit in its_audits.items()}
    history = sa.select(reviews).where(reviews.c.recording_id.in_(contents)).order_by(reviews.c.id.desc())
    reviewed = _by(connection.execute(history).mappings(), "recording_id")
    # `+ 0` keeps SQLite off the index by audit and path, which has the order but would be walked from end to end.
    same = (entries.c.audit_id + 0).in_(its_audits) & entries.c.recording_id.in_(contents)
    names = sa.select(entries.c.id, entries.c.audit_id, entries.c.recording_id, entries.c.path).where(same)
    copies = _by(connection.execute(names.order_by(entries.c.path_bytes)).mappings(), "audit_id", "recording_id")
    details = []
    for entry_id in entry_ids:
        row = found[entry_id]
        audit, recording_id = its_audits[row["audit_id"]], row["recording_id"]
        details.append(
            EntryDetail(
                row=rows[entry_id],
                audit_id=audit.id,
                absolute_path=os.path.join(audit.folder, os.fsdecode(row["path_bytes"])),
                sha256=row["sha256"],
                info=AudioInfo(**_fields(AudioInfo, row)) if row["container"] else None,
                detections=detections[audit.id].get(recording_id) or _unread(rows[entry_id], row["reason_code"], audit),
                reviews=tuple(_review(review) for review in reviewed.get((recording_id,), ())),
                duplicates=tuple(copy["path"] for copy in copies.get((audit.id, recording_id), ()) if copy["id"] != entry_id),
            )
        )
    return details


def _by(rows: Iterable[sa.RowMapping], *names: str) -> dict[tuple, list[sa.RowMapping]]:
    """Rows by the values of some of their columns, in their order."""
    groups: dict[tuple, list[sa.RowMapping]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _row(row: sa.RowMapping) -> TriageRow:
    verdict = Verdict(row["verdict"]) if row["verdict"] else None
    review = _review(row, "review_") if row["review_id"] else None
    return TriageRow(**_fields(TriageRow, row) | {"entry_id": row["id"], "verdict": verdict, "review": review})


def _review(row: sa.RowMapping, prefix: str = "") -> Review:
    return Review(**_fields(Review, row, prefix) | {"verdict": Verdict(row[f"{prefix}verdict"])})


def _detections(connection: sa.Connection, audit: Audit, contents: Sequence[int]) -> dict[int, tuple[Detection, ...]]:
    """What the audit's detector says of some recordings, in the audit's channel mode."""
    curves = [segments.c[field.name].label(f"curve_{field.name}") for field in fields(SegmentScore)]
    query = sa.select(scores, *curves).outerjoin_from(scores, segments)
    query = query.where(scores.c.recording_id.in_(contents), scores.c.detector_hash == audit.detector_hash)
    query = query.where(of_mode(audit.settings.channels)).order_by(*CHANNEL_ORDER)
    groups = _by(connection.execute(query).mappings(), "recording_id")
    return {content: tuple(_detection(row) for row in rows) for (content,), rows in groups.items()}


def _detection(row: sa.RowMapping) -> Detection:
    quality = SignalQuality(**json.loads(row["quality"])) if row["quality"] else None
    packed = {name: np.frombuffer(blob or b"", dtype="<f4") for name, blob in _fields(SegmentScore, row, "curve_").items()}
    if not len(packed["is_estimated"]):
        packed["is_estimated"] = np.zeros(len(packed["start_s"]))
    curves = {name: values.tolist() for name, values in packed.items()} | {
        "is_estimated": packed["is_estimated"].astype(bool).tolist()
    }
    windows = [dict(zip(curves, values)) for values in zip(*curves.values(), strict=True)]
    return Detection(
        **_fields(Detection, row)
        | {"verdict": Verdict(row["verdict"]), "quality": quality, "warnings": tuple(row["warnings"].split())}
        | {"segments": tuple(SegmentScore(**window) for window in windows)}
    )


def _fields(record: type, row: sa.RowMapping, prefix: str = "") -> dict[str, Any]:
    """The values of a record's fields that have a column of their name."""
    return {field.name: row[prefix + field.name] for field in fields(record) if prefix + field.name in row}


def _unread(row: TriageRow, reason_code: str | None, audit: Audit) -> tuple[Detection, ...]:
    """The refusal of a file whose bytes could not be read, which no recording holds; nothing while pending."""
    if row.verdict is None:
        return ()
    channel = "mix" if audit.settings.channels == "mix" else "1"
    empty = {"spoof_score": None, "probability": None, "segments": (), "duration_s": 0.0, "quality": None, "warnings": ()}
    return (Detection(channel=channel, verdict=row.verdict, reason_code=reason_code, reason=row.reason, **empty),)


def _reviewable(connection: sa.Connection, entry_ids: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Recording id -> audit id and content hash of these entries.

    Raises:
        CoreError: some are unknown, pending or could not be read.
    """
    columns = entries.c.id, entries.c.path, entries.c.audit_id, entries.c.recording_id, entries.c.is_done, recordings.c.sha256
    query = sa.select(*columns).outerjoin_from(entries, recordings, recordings.c.id == entries.c.recording_id)
    query = query.order_by(entries.c.id)
    rows = []
    for i in range(0, len(entry_ids), _IDS_PER_QUERY):
        rows += connection.execute(query.where(entries.c.id.in_(entry_ids[i : i + _IDS_PER_QUERY])))
    if unknown := set(entry_ids) - {row.id for row in rows}:
        raise StoreError(f"There is no file {min(unknown)} in this store.")
    for is_done, why in ((False, "still to be scored"), (True, "could not be read")):
        if names := [row.path for row in rows if row.recording_id is None and row.is_done == is_done]:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CoreError(f"Nothing was reviewed: {', '.join(names[:3])}{more} {why}. Leave them out, then review the others.")
    return {row.recording_id: (row.audit_id, row.sha256) for row in rows}

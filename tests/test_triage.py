"""Triage: which rows, in which order, how many; one file's evidence; summaries; reviews."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import sqlalchemy as sa
from ledger_records import QUALITY, make_audit, make_detector, scored, sha256, sqlite_only, unreadable

from core.errors import CoreError, StoreError
from core.protocols import Trial
from core.records import FolderShare, HistogramBin, SegmentScore, TriageFilter, Verdict
from core.store import triage
from core.store.schema import reviews
from core.store.store import Store
from core.store.triage import (
    add_reviews,
    codecs,
    entry_detail,
    entry_details,
    failures,
    folder_shares,
    folders,
    matching_entries,
    num_warned,
    score_histogram,
    triage_page,
)

RECORDS = [
    scored("calls/a.wav", 3.0, codec="ULAW", duration_s=9.0),
    scored("calls/B_100%.wav", -2.0, duration_s=5.0),
    scored("calls/2024/c.flac", 0.25, duration_s=7.0, codec="FLAC"),
    scored("calls 2/d.wav", 3.0, duration_s=2.0),
    scored("Calls/e.wav", -4.0),
    scored("top.wav", None, duration_s=1.0),
    unreadable("calls/locked.wav"),
]
PENDING = ["calls/z.wav"]
SCORED = 5


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def audit(store: Store) -> tuple[int, dict[str, int]]:
    """A second audit of the same contents stands beside it."""
    made = make_audit(store, RECORDS, pending=PENDING)
    make_audit(store, [replace(record, path=f"other/{record.path}") for record in RECORDS])
    return made


@pytest.fixture
def paths(store: Store, audit: tuple[int, dict[str, int]]) -> Callable[..., list[str]]:
    """Paths of the filtered table, after checking that the count and the ids agree with them."""

    def paths_of(**filter: object) -> list[str]:
        page = triage_page(store, audit[0], TriageFilter(**filter))
        assert page.num_rows == len(page.rows)
        assert matching_entries(store, audit[0], TriageFilter(**filter)) == tuple(row.entry_id for row in page.rows)
        return [row.path for row in page.rows]

    return paths_of


def statements_of(store: Store, read: Callable[[], object]) -> list[tuple[str, object]]:
    """The statements, with their parameters, that a read sends."""
    sent = []

    def keep(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        sent.append((statement, parameters))

    sa.event.listen(store.engine, "before_cursor_execute", keep)
    try:
        read()
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", keep)
    return [(statement, parameters) for statement, parameters in sent if statement.lstrip().startswith("SELECT")]


def plans_of(store: Store, statements: list[tuple[str, object]]) -> list[list[str]]:
    """How SQLite would go about each statement."""
    with store.reading() as connection:
        return [[row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", p)] for s, p in statements]


# Rows, order, pages ---------------------------------------------------------------------------------------------


def test_row_says_what_is_known(store: Store) -> None:
    trial = Trial(speaker="s1", utterance="a", environment=None, attack="A07", label="spoof")
    records = [scored("x/a.wav", 2.0, codec="ULAW"), unreadable("b.wav")]
    audit_id, ids = make_audit(store, records, pending=["c.wav"], trials={"a": trial})
    spoofed, locked, waiting = (triage_page(store, audit_id, TriageFilter(order="path")).rows[i] for i in (2, 0, 1))
    assert (spoofed.entry_id, spoofed.path, spoofed.folder) == (ids["x/a.wav"], "x/a.wav", "x")
    assert (spoofed.verdict, spoofed.spoof_score, spoofed.duration_s, spoofed.codec) == (Verdict.SPOOF, 2.0, 4.0, "ULAW")
    assert spoofed.probability == pytest.approx(1 / (1 + math.exp(-2.0)), abs=1e-12)
    assert (spoofed.label, spoofed.attack) == ("spoof", "A07")
    assert (spoofed.reason, spoofed.duplicate_of, spoofed.review) == (None, None, None)
    assert (locked.verdict, locked.spoof_score, locked.reason, locked.folder) == (Verdict.REFUSED, None, "No permission.", ".")
    assert (waiting.verdict, waiting.spoof_score, waiting.codec, waiting.label) == (None, None, None, None)
    assert isinstance(spoofed.verdict, Verdict)


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("risk", ["calls 2/d.wav", "calls/a.wav", "calls/2024/c.flac", "calls/B_100%.wav", "Calls/e.wav"]),
        ("safe", ["Calls/e.wav", "calls/B_100%.wav", "calls/2024/c.flac", "calls/a.wav", "calls 2/d.wav"]),
        ("duration", ["calls/a.wav", "calls/2024/c.flac", "calls/B_100%.wav", "Calls/e.wav", "calls 2/d.wav"]),
        ("path", ["Calls/e.wav", "calls 2/d.wav", "calls/2024/c.flac", "calls/B_100%.wav", "calls/a.wav"]),
    ],
)
def test_orders(paths: Callable[..., list[str]], order: str, first: list[str]) -> None:
    found = paths(order=order)
    assert found[:SCORED] == first
    assert set(found[SCORED:]) == {"top.wav", "calls/locked.wav", "calls/z.wav"}


@pytest.mark.parametrize("order", ["risk", "safe", "path", "duration"])
def test_pages_join_to_the_whole(store: Store, audit: tuple[int, dict[str, int]], order: str) -> None:
    filter = TriageFilter(order=order)
    pages = [triage_page(store, audit[0], filter, offset=offset, limit=3) for offset in (0, 3, 6, 9)]
    assert [len(page.rows) for page in pages] == [3, 3, 2, 0]
    assert {page.num_rows for page in pages} == {8}
    whole = matching_entries(store, audit[0], filter)
    assert tuple(row.entry_id for page in pages for row in page.rows) == whole
    assert matching_entries(store, audit[0], filter, limit=3) == whole[:3]


@pytest.mark.parametrize(("offset", "limit"), [(-1, 10), (0, 0), (0, 10_001)])
def test_page_outside_the_table_is_an_error(store: Store, audit: tuple[int, dict[str, int]], offset: int, limit: int) -> None:
    with pytest.raises(CoreError, match="offset of 0 or more"):
        triage_page(store, audit[0], offset=offset, limit=limit)


def test_empty_audit(store: Store) -> None:
    audit_id, _ = make_audit(store, [])
    page = triage_page(store, audit_id)
    assert (page.rows, page.num_rows) == ((), 0)
    assert matching_entries(store, audit_id) == failures(store, audit_id) == score_histogram(store, audit_id) == ()
    assert folder_shares(store, audit_id) == folders(store, audit_id) == codecs(store, audit_id) == ()


# Filters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"verdicts": ("spoof",)}, {"calls/a.wav", "calls 2/d.wav"}),
        ({"verdicts": ("refused", "inconclusive")}, {"calls/2024/c.flac", "top.wav", "calls/locked.wav"}),
        ({"min_score": 0.25}, {"calls/a.wav", "calls 2/d.wav", "calls/2024/c.flac"}),
        ({"max_score": -2.0}, {"calls/B_100%.wav", "Calls/e.wav"}),
        ({"min_score": -2.0, "max_score": 0.25}, {"calls/B_100%.wav", "calls/2024/c.flac"}),
        ({"codecs": ("ULAW", "FLAC")}, {"calls/a.wav", "calls/2024/c.flac"}),
        ({"folder": "calls"}, {"calls/a.wav", "calls/B_100%.wav", "calls/2024/c.flac", "calls/locked.wav", "calls/z.wav"}),
        ({"folder": "calls/2024/"}, {"calls/2024/c.flac"}),
        ({"folder": "calls/20"}, set()),
        ({"folder": "call_"}, set()),
        ({"folder": "calls", "verdicts": ("spoof",), "text": "A"}, {"calls/a.wav"}),
    ],
)
def test_filters(paths: Callable[..., list[str]], filter: dict[str, object], expected: set[str]) -> None:
    assert set(paths(**filter)) == expected


@pytest.mark.parametrize("folder", [None, ".", ""])
def test_whole_folder_is_everything(paths: Callable[..., list[str]], folder: str | None) -> None:
    assert len(paths(folder=folder)) == len(RECORDS) + len(PENDING)


NAMES = ["a%b.wav", "a_b.wav", "a\\b.wav", "aXb.wav", "a*b.wav", "a?b.wav", "a[b].wav", "a]b^.wav"]
NAMES += ["Über/STRASSE.wav", "über/Москва.wav"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[(name, {name}) for name in NAMES],
        *[(char, {f"a{char}b.wav"}) for char in "%_\\*?"],
        ("[", {"a[b].wav"}),
        ("]", {"a[b].wav", "a]b^.wav"}),
        ("^", {"a]b^.wav"}),
        ("[b", {"a[b].wav"}),
        ("AxB", {"aXb.wav"}),
        (".WAV", set(NAMES)),
        ("r/", {"Über/STRASSE.wav", "über/Москва.wav"}),
        ("ÜBER/", {"Über/STRASSE.wav", "über/Москва.wav"}),
        ("моСКВА", {"über/Москва.wav"}),
        ("b.mp3", set()),
    ],
)
def test_text_is_literal_and_ignores_case(store: Store, text: str, expected: set[str]) -> None:
    audit_id, _ = make_audit(store, [scored(name, 0.0) for name in NAMES])
    assert {row.path for row in triage_page(store, audit_id, TriageFilter(text=text)).rows} == expected


@pytest.mark.parametrize("text", ["ü[", "Ü[a]^", "]^-\\ß", "^-\\ß d", "-\\ẞ"])
def test_signs_beside_letters_that_are_not_ascii(store: Store, text: str) -> None:
    names = ["Ü[A]^-\\ß d.wav", "ua-b d.wav", "üA.wav", "]ß.wav"]
    audit_id, _ = make_audit(store, [scored(name, 0.0) for name in names])
    assert [row.path for row in triage_page(store, audit_id, TriageFilter(text=text)).rows] == names[:1]


@pytest.mark.parametrize("filter", [TriageFilter(order="size"), TriageFilter(review="maybe")])
def test_unknown_filter_is_an_error(store: Store, filter: TriageFilter) -> None:
    with pytest.raises(CoreError, match=r"Unknown .*; expected"):
        triage_page(store, 1, filter)


# Speed ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_look_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens on a page of many, with few files."""
    monkeypatch.setattr("core.store.triage._LOOK_AHEAD", 0)


@sqlite_only
@pytest.mark.usefixtures("no_look_ahead")
@pytest.mark.parametrize("filter", [TriageFilter(), TriageFilter(order="path"), TriageFilter(verdicts=("spoof",))])
def test_table_is_read_by_an_index_and_not_sorted(store: Store, audit: tuple[int, dict[str, int]], filter: TriageFilter) -> None:
    statements = statements_of(store, lambda: triage_page(store, audit[0], filter, limit=1))
    assert len(statements) == 3  # ids, count, rows
    plans = plans_of(store, statements)
    assert not [step for plan in plans for step in plan if "USE TEMP B-TREE" in step]
    assert not [step for plan in plans for step in plan if step.startswith("SCAN entries")]
    if filter == TriageFilter():
        assert "COVERING INDEX entries_for_triage" in plans[0][0]


FILTERS = [
    TriageFilter(verdicts=("spoof", "refused"), codecs=("ULAW",), min_score=-3.0),
    TriageFilter(folder="calls", text="a"),
    TriageFilter(review="unreviewed"),
]


@sqlite_only
@pytest.mark.usefixtures("no_look_ahead")
@pytest.mark.parametrize("filter", FILTERS)
def test_files_are_counted_by_one_walk_through_an_index(
    store: Store, audit: tuple[int, dict[str, int]], filter: TriageFilter
) -> None:
    statements = statements_of(store, lambda: triage_page(store, audit[0], filter, limit=1))
    counts = [statement for statement in statements if "count(*)" in statement[0] and "FROM entries" in statement[0]]
    assert len(counts) == (2 if filter.review else 1)  # what is reviewed is taken off, looked up from the reviews
    plan, *_ = plans_of(store, counts)
    assert "COVERING INDEX" in plan[0]


@sqlite_only
@pytest.mark.usefixtures("no_look_ahead")
def test_the_last_page_is_not_counted(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    for offset, limit, num in ((0, 9, 2), (4, 5, 2), (0, 8, 3), (8, 1, 3), (9, 5, 3)):
        statements = statements_of(store, lambda at=(offset, limit): triage_page(store, audit[0], offset=at[0], limit=at[1]))
        assert len(statements) == num
        assert triage_page(store, audit[0], offset=offset, limit=limit).num_rows == 8


@sqlite_only
@pytest.mark.parametrize("read", [folder_shares, folders])
def test_folders_are_read_from_an_index(store: Store, audit: tuple[int, dict[str, int]], read: Callable) -> None:
    (plan,) = plans_of(store, statements_of(store, lambda: read(store, audit[0])))
    (read_entries,) = [step for step in plan if " entries " in step]
    assert read_entries.startswith("SEARCH entries USING COVERING INDEX entries_by_folder (audit_id=?")


@sqlite_only
def test_detail_finds_copies_by_their_recording(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    plans = plans_of(store, statements_of(store, lambda: entry_detail(store, audit[1]["calls/a.wav"])))
    assert "SEARCH entries USING INDEX entries_by_recording (recording_id=?)" in [plan[0] for plan in plans]
    assert not [step for plan in plans for step in plan if "(audit_id=?" in step]


@sqlite_only
@pytest.mark.usefixtures("no_look_ahead")
def test_page_takes_the_same_number_of_statements_whatever_its_length(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    lengths = [len(statements_of(store, lambda limit=limit: triage_page(store, audit[0], limit=limit))) for limit in (1, 8)]
    assert lengths == [3, 3]


# One file -------------------------------------------------------------------------------------------------------


def test_detail_of_a_mixdown(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    audit_id, ids = audit
    detail = entry_detail(store, ids["calls/a.wav"])
    assert (detail.audit_id, detail.row) == (audit_id, triage_page(store, audit_id, TriageFilter(text="calls/a.wav")).rows[0])
    assert (detail.absolute_path, detail.sha256) == ("/audio/calls/a.wav", sha256("calls/a.wav"))
    assert detail.info == RECORDS[0].info
    assert detail.detections == RECORDS[0].detections
    assert (detail.reviews, detail.duplicates) == ((), ())


def test_details_of_many_are_those_of_each(
    store: Store, audit: tuple[int, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.triage._DETAILS_PER_QUERY", 3)
    add_reviews(store, [audit[1]["calls/a.wav"]], verdict="spoof", reviewer="Ada")
    other_id, others = make_audit(store, [scored(name, 2.0, content="calls/a.wav") for name in ("y.wav", "z.wav")])
    ids = [*reversed(audit[1].values()), *others.values()]
    details = list(entry_details(store, ids))
    assert [detail.row.entry_id for detail in details] == ids
    assert details == [entry_detail(store, entry_id) for entry_id in ids]
    assert [(detail.audit_id, detail.duplicates) for detail in details[-2:]] == [(other_id, ("z.wav",)), (other_id, ("y.wav",))]
    with pytest.raises(StoreError, match="no file 99"):
        list(entry_details(store, [*ids, 99]))


def test_files_with_a_warning_are_counted(store: Store) -> None:
    records = [scored("a.wav", 0.5, warnings=("narrowband", "short")), scored("b.wav", 1.0, warnings=("narrowband",))]
    audit_id, _ = make_audit(store, [*records, scored("c.wav", 2.0, warnings=("short",)), unreadable("d.wav")])
    assert num_warned(store, audit_id, "narrowband") == 2
    assert num_warned(store, audit_id, "quiet") == 0


def test_of_many_files_some_are_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triage, "MAX_COUNTED", 10)
    warnings = [("narrowband",) if i % 10 < 7 else () for i in range(60)]
    audit_id, _ = make_audit(store, [scored(f"{i:02}.wav", 0.5, warnings=codes) for i, codes in enumerate(warnings)])
    assert num_warned(store, audit_id, "narrowband") == pytest.approx(42, abs=6)
    assert num_warned(store, audit_id, "narrowband") % 6 == 0
    assert num_warned(store, audit_id, "quiet") == 0


def test_detail_keeps_quality_warnings_and_skipped_windows(store: Store) -> None:
    values = [1.5, math.nan, -0.25]
    windows = [SegmentScore(start_s=2.0 * i, end_s=2.0 * i + 4.0, spoof_score=value) for i, value in enumerate(values)]
    record = scored("a.wav", 0.5, warnings=("narrowband", "short"))
    detection = replace(record.detections[0], segments=tuple(windows))
    _, ids = make_audit(store, [replace(record, detections=(detection,))])
    found = entry_detail(store, ids["a.wav"]).detections[0]
    assert (found.quality, found.warnings) == (QUALITY, ("narrowband", "short"))
    assert found.segments[::2] == detection.segments[::2]
    assert math.isnan(found.segments[1].spoof_score)
    assert (found.segments[1].start_s, found.segments[1].end_s) == (2.0, 6.0)


def test_detail_of_each_channel_is_apart_from_the_mixdown_and_other_detectors(store: Store) -> None:
    each = scored("a.wav", *(float(i) for i in range(10)), None, channels="each")
    make_audit(store, [scored("a.wav", 9.0)])
    make_audit(store, [scored("a.wav", 8.0, 7.0, channels="each")], channels="each", detector=make_detector("other", "cd" * 32))
    _, ids = make_audit(store, [each], channels="each")
    detections = entry_detail(store, ids["a.wav"]).detections
    assert [detection.channel for detection in detections] == [str(i) for i in range(1, 12)]
    assert detections == each.detections


@pytest.mark.parametrize(("channels", "channel"), [("mix", "mix"), ("each", "1")])
def test_detail_of_an_unreadable_file_has_its_refusal(store: Store, channels: str, channel: str) -> None:
    record = unreadable("locked.wav")
    _, ids = make_audit(store, [record], channels=channels)
    detail = entry_detail(store, ids["locked.wav"])
    assert (detail.sha256, detail.info) == (None, None)
    assert detail.detections == (replace(record.detections[0], channel=channel),)


def test_detail_of_a_pending_file_has_no_detections(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    detail = entry_detail(store, audit[1]["calls/z.wav"])
    assert (detail.row.verdict, detail.detections, detail.reviews, detail.duplicates) == (None, (), (), ())


def test_detail_lists_the_other_names_of_its_bytes(store: Store) -> None:
    names = ["c.wav", "a.wav", "b.wav"]
    audit_id, ids = make_audit(store, [scored(name, 2.0, content="same") for name in names])
    make_audit(store, [scored("elsewhere.wav", 2.0, content="same")])
    assert entry_detail(store, ids["a.wav"]).duplicates == ("b.wav", "c.wav")
    assert {row.path: row.duplicate_of for row in triage_page(store, audit_id).rows} == {
        "c.wav": None,
        "a.wav": ids["c.wav"],
        "b.wav": ids["c.wav"],
    }


def test_detail_finds_a_file_whose_name_is_no_text(store: Store) -> None:
    name = "caf\udce9.wav"  # the byte E9, as `os.fsdecode` gives it
    _, ids = make_audit(store, [scored(name, 2.0)])
    detail = entry_detail(store, ids[name])
    assert (detail.row.path, detail.absolute_path) == ("caf\\xe9.wav", f"/audio/{name}")


def test_unknown_file_is_an_error(store: Store) -> None:
    with pytest.raises(StoreError, match="no file 5"):
        entry_detail(store, 5)


# Summaries ------------------------------------------------------------------------------------------------------


def test_histogram_by_hand(store: Store) -> None:
    values = [-50.0, -20.0, -19.6, -0.1, 0.0, 0.49, 0.5, 19.9, 20.0, 1_000.0, None]
    audit_id, _ = make_audit(store, [scored(f"{i}.wav", value) for i, value in enumerate(values)], pending=["later.wav"])
    bins = score_histogram(store, audit_id)
    assert len(bins) == 80
    assert (bins[0].low, bins[-1].high) == (-20.0, 20.0)
    assert all(left.high == right.low for left, right in pairwise(bins))
    assert {(b.low, b.num) for b in bins if b.num} == {(-20.0, 3), (-0.5, 1), (0.0, 2), (0.5, 1), (19.5, 3)}
    assert score_histogram(store, audit_id, bin_width=20.0) == (
        HistogramBin(low=-20.0, high=0.0, num=4),
        HistogramBin(low=0.0, high=20.0, num=6),
    )


def test_histogram_spans_what_there_is(store: Store) -> None:
    audit_id, _ = make_audit(store, [scored("a.wav", -0.75), scored("b.wav", 0.75)])
    make_audit(store, [scored("c.wav", 0.25)])
    assert [(b.low, b.high, b.num) for b in score_histogram(store, audit_id)] == [
        (-1.0, -0.5, 1),
        (-0.5, 0.0, 0),
        (0.0, 0.5, 0),
        (0.5, 1.0, 1),
    ]


@pytest.mark.parametrize("bin_width", [0.0, -1.0, 0.05, 21.0, math.nan])
def test_histogram_needs_a_width(store: Store, bin_width: float) -> None:
    with pytest.raises(CoreError, match=r"0\.1 to 20 nats wide"):
        score_histogram(store, 1, bin_width=bin_width)


def test_folder_shares(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    def share(folder: str, *counts: int) -> FolderShare:
        names = ("num_spoof", "num_inconclusive", "num_bona_fide", "num_refused")
        return FolderShare(folder=folder, **dict(zip(names, counts, strict=True)))

    expected = [share("calls", 1, 0, 1, 1), share("calls 2", 1, 0, 0, 0), share("calls/2024", 0, 1, 0, 0)]
    found = folder_shares(store, audit[0])
    assert set(found[:2]) == set(expected[:2])
    assert found[2] == expected[2]
    assert set(found[3:]) == {share(".", 0, 0, 0, 1), share("Calls", 0, 0, 1, 0)}
    assert folder_shares(store, audit[0], limit=1) == found[:1]
    audit_id, _ = make_audit(store, [], pending=["a/b.wav"])
    assert folder_shares(store, audit_id) == ()


def test_folders_hold_files_or_folders(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    assert folders(store, audit[0]) == (".", "Calls", "calls", "calls 2", "calls/2024")
    audit_id, _ = make_audit(store, [], pending=["a/b/c/d.wav", "a/e/f.wav"])
    assert folders(store, audit_id) == ("a", "a/b", "a/b/c", "a/e")


def test_codecs(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    assert codecs(store, audit[0]) == ("FLAC", "PCM_16", "ULAW")


def test_failures_are_the_refused_by_path(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    rows = failures(store, audit[0])
    assert [(row.path, row.verdict) for row in rows] == [("calls/locked.wav", Verdict.REFUSED), ("top.wav", Verdict.REFUSED)]
    assert failures(store, audit[0], limit=1) == rows[:1]


# Reviews --------------------------------------------------------------------------------------------------------


def test_newest_review_counts_and_the_older_ones_stay(store: Store, audit: tuple[int, dict[str, int]]) -> None:
    audit_id, ids = audit
    entry_id = ids["calls/a.wav"]
    assert add_reviews(store, [entry_id], verdict="spoof", reviewer=" Ada ", note=" buzz \n") == 1
    assert add_reviews(store, [entry_id], verdict=Verdict.BONA_FIDE, reviewer="Bob") == 1
    detail = entry_detail(store, entry_id)
    assert [(review.verdict, review.reviewer, review.note) for review in detail.reviews] == [
        (Verdict.BONA_FIDE, "Bob", ""),
        (Verdict.SPOOF, "Ada", "buzz"),
    ]
    assert detail.reviews[0].created_at >= detail.reviews[1].created_at > 1.6e9
    assert detail.row.review == detail.reviews[0]
    others = {row.path: row.review for row in triage_page(store, audit_id).rows}
    assert others.pop("calls/a.wav") == detail.reviews[0]
    assert set(others.values()) == {None}


def test_review_filters(store: Store, audit: tuple[int, dict[str, int]], paths: Callable[..., list[str]]) -> None:
    _, ids = audit
    add_reviews(store, [ids["calls/a.wav"], ids["Calls/e.wav"]], verdict="spoof", reviewer="Ada")
    add_reviews(store, [ids["calls/a.wav"], ids["top.wav"]], verdict="bona fide", reviewer="Ada")
    assert set(paths(review="reviewed")) == {"calls/a.wav", "Calls/e.wav", "top.wav"}
    # The unreadable and the pending file have no recording that could be reviewed.
    assert set(paths(review="unreviewed")) == {"calls/B_100%.wav", "calls/2024/c.flac", "calls 2/d.wav"}
    assert set(paths(review="spoof")) == {"Calls/e.wav"}
    assert set(paths(review="bona fide")) == {"calls/a.wav", "top.wav"}
    assert paths(review="inconclusive") == []


@pytest.mark.usefixtures("no_look_ahead")
@pytest.mark.parametrize("max_looked_up", [0, 20_000])
@pytest.mark.parametrize("review", [None, "reviewed", "unreviewed", "spoof", "bona fide", "inconclusive"])
def test_pages_tell_how_many_files_there_are(
    store: Store, audit: tuple[int, dict[str, int]], review: str | None, max_looked_up: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.filters.MAX_LOOKED_UP", max_looked_up)
    audit_id, ids = audit
    add_reviews(store, [ids["calls/a.wav"], ids["Calls/e.wav"]], verdict="spoof", reviewer="Ada")
    add_reviews(store, [ids["calls/a.wav"], ids["top.wav"]], verdict="bona fide", reviewer="Ada")
    make_audit(store, [scored("another.wav", 2.0, content="calls/a.wav")])
    for folder in (None, "calls"):
        filter = TriageFilter(review=review, folder=folder)
        num = len(matching_entries(store, audit_id, filter))
        assert {triage_page(store, audit_id, filter, limit=limit).num_rows for limit in range(1, 9)} == {num}


def test_review_is_of_the_recording_whatever_its_name(store: Store) -> None:
    names = ["a.wav", "b.wav"]
    first_id, ids = make_audit(store, [scored(name, 2.0, content="same") for name in names])
    second_id, _ = make_audit(store, [scored("z.wav", 2.0, content="same")])
    assert add_reviews(store, list(ids.values()), verdict="spoof", reviewer="Ada") == 1
    assert [row.review.reviewer for audit_id in (first_id, second_id) for row in triage_page(store, audit_id).rows] == ["Ada"] * 3
    with store.reading() as connection:
        assert connection.execute(sa.select(reviews.c.audit_id)).scalars().all() == [first_id]


@pytest.mark.parametrize("verdict", ["refused", "Spoof", "", "fake"])
def test_review_needs_a_verdict(store: Store, audit: tuple[int, dict[str, int]], verdict: str) -> None:
    with pytest.raises(CoreError, match="spoof, inconclusive or bona fide"):
        add_reviews(store, list(audit[1].values())[:1], verdict=verdict, reviewer="Ada")


@pytest.mark.parametrize("reviewer", ["", "  \n"])
def test_review_needs_a_name(store: Store, audit: tuple[int, dict[str, int]], reviewer: str) -> None:
    with pytest.raises(CoreError, match="name of its reviewer"):
        add_reviews(store, list(audit[1].values())[:1], verdict="spoof", reviewer=reviewer)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("calls/locked.wav", r"calls/locked\.wav could not be read"),
        ("calls/z.wav", r"calls/z\.wav still to be scored"),
        (None, "no file 999"),
    ],
)
def test_review_of_all_or_none(store: Store, audit: tuple[int, dict[str, int]], path: str | None, why: str) -> None:
    _, ids = audit
    with pytest.raises(CoreError, match=why):
        add_reviews(store, [ids["calls/a.wav"], ids[path] if path else 999], verdict="spoof", reviewer="Ada")
    assert entry_detail(store, ids["calls/a.wav"]).reviews == ()


def test_many_that_cannot_be_reviewed_are_counted(store: Store) -> None:
    _, ids = make_audit(store, [unreadable(f"{i}.wav") for i in range(5)])
    with pytest.raises(CoreError, match=r"0\.wav, 1\.wav, 2\.wav and 2 more could not be read"):
        add_reviews(store, list(ids.values()), verdict="spoof", reviewer="Ada")


def test_review_of_nothing(store: Store) -> None:
    assert add_reviews(store, [], verdict="spoof", reviewer="Ada") == 0


def test_review_of_more_than_one_statement_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.store.triage._IDS_PER_QUERY", 2)
    audit_id, ids = make_audit(store, [scored(f"{i}.wav", 2.0) for i in range(5)])
    sent = statements_of(store, lambda: add_reviews(store, list(ids.values()), verdict="spoof", reviewer="Ada"))
    assert sum("FROM entries" in statement for statement, _ in sent) == 3
    assert len(matching_entries(store, audit_id, TriageFilter(review="spoof"))) == 5

"""The store and the ledger: what workers may rely on when they die, meet, or repeat themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from ledger_records import WORKER, list_files, make_audit, make_detector, scored, sha256, sqlite_only, unreadable

from core.errors import StoreError, StoreUnavailableError
from core.records import STALE_S, AuditStatus, FoundFile, ScanSettings, Verdict
from core.store import patience
from core.store.ledger import Ledger
from core.store.schema import SCHEMA_VERSION, audits, entries, recordings, schema_version, scores, segments
from core.store.store import Store

HOST = os.uname().nodename


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def audit_id(store: Store) -> int:
    return store.create_audit("/audio", make_detector(), ScanSettings())


@pytest.fixture(scope="module")
def dead_worker() -> str:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{HOST}:{process.pid}:gone"


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Results of calls that threads start together."""
    barrier = Barrier(len(calls))

    def call(function: Callable[[], object]) -> object:
        barrier.wait()
        return function()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def last_beat(store: Store, audit_id: int, seconds_ago: float) -> None:
    with store.writing() as connection:
        connection.execute(audits.update().where(audits.c.id == audit_id).values(heartbeat_at=time.time() - seconds_ago))


def num_rows(store: Store, table: sa.Table) -> int:
    with store.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table))


# Audits ---------------------------------------------------------------------------------------------------------


def test_new_audit_is_queued(store: Store) -> None:
    settings = ScanSettings(channels="each", pattern="*.wav")
    audit = store.audit(store.create_audit("/audio", make_detector(), settings))
    assert (audit.folder, audit.detector_name, audit.detector_hash) == ("/audio", "fake", "ab" * 32)
    assert (audit.settings, audit.status, audit.requested) == (settings, AuditStatus.QUEUED, "run")
    assert (audit.worker, audit.is_listed, audit.num_files, audit.num_done, audit.share_done) == (None, False, 0, 0, 0.0)


def test_unknown_audit_is_an_error(store: Store) -> None:
    with pytest.raises(StoreError, match="no audit 7"):
        store.audit(7)


def test_recent_audits_are_newest_first(store: Store) -> None:
    ids = [store.create_audit(f"/audio/{i}", make_detector(), ScanSettings()) for i in range(3)]
    assert [audit.id for audit in store.recent_audits(limit=2)] == [ids[2], ids[1]]


def test_an_unfinished_audit_of_exactly_this_work_is_continued(store: Store, audit_id: int) -> None:
    detector, settings = make_detector(), ScanSettings()
    assert store.continue_audit("/audio", detector, settings) == audit_id
    others = (
        ("/other", detector, settings),
        ("/audio", make_detector(hash="cd" * 32), settings),
        ("/audio", detector, ScanSettings(channels="each")),
    )
    assert sorted(store.continue_audit(*other) for other in others) == [audit_id + 1, audit_id + 2, audit_id + 3]
    ledger = Ledger(store, audit_id, WORKER)
    ledger.claim()
    ledger.release(AuditStatus.FINISHED)
    assert store.continue_audit("/audio", detector, settings) == audit_id + 4


def test_who_starts_the_same_audit_at_once_shares_it(store: Store) -> None:
    same = "/audio", make_detector(), ScanSettings()
    assert set(at_once([partial(Store(store.url).continue_audit, *same) for _ in range(4)])) == {1}


def test_cancelling_what_nobody_works_on_ends_it(store: Store, audit_id: int) -> None:
    store.request(audit_id, "cancel")
    audit = store.audit(audit_id)
    assert (audit.status, audit.worker) == (AuditStatus.CANCELLED, None)
    assert audit.finished_at is not None


def test_cancelling_what_a_worker_has_is_left_to_it(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    ledger.claim()
    store.request(audit_id, "cancel")
    assert store.audit(audit_id).status is AuditStatus.RUNNING
    assert ledger.beat(1.0) == "cancel"


def test_cancelling_what_a_dead_worker_had_ends_it(store: Store, audit_id: int, dead_worker: str) -> None:
    Ledger(store, audit_id, dead_worker).claim()
    store.request(audit_id, "cancel")
    assert store.audit(audit_id).status is AuditStatus.CANCELLED


def test_cancelling_what_is_finished_leaves_it_so(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    ledger.claim()
    ledger.release(AuditStatus.FINISHED)
    store.request(audit_id, "cancel")
    assert store.audit(audit_id).status is AuditStatus.FINISHED


def test_pausing_what_nobody_works_on_pauses_it(store: Store, audit_id: int) -> None:
    store.request(audit_id, "pause")
    audit = store.audit(audit_id)
    assert (audit.status, audit.requested) == (AuditStatus.PAUSED, "pause")
    store.queue(audit_id)
    audit = store.audit(audit_id)
    assert (audit.status, audit.requested) == (AuditStatus.QUEUED, "run")


def test_queueing_what_a_living_worker_has_is_refused(store: Store, audit_id: int) -> None:
    Ledger(store, audit_id, WORKER).claim()
    with pytest.raises(StoreError, match="another worker"):
        store.queue(audit_id)
    assert store.audit(audit_id).worker == WORKER


# Claims ---------------------------------------------------------------------------------------------------------


def test_one_of_two_living_workers_has_the_audit(store: Store, audit_id: int) -> None:
    assert Ledger(store, audit_id, WORKER).claim()
    assert not Ledger(store, audit_id, f"{HOST}:{os.getpid()}:second").claim()
    audit = store.audit(audit_id)
    assert (audit.worker, audit.status) == (WORKER, AuditStatus.RUNNING)


def test_of_workers_that_claim_at_once_one_wins(store: Store, audit_id: int) -> None:
    ledgers = [Ledger(store, audit_id, f"{HOST}:{os.getpid()}:{i}") for i in range(4)]
    won = at_once([ledger.claim for ledger in ledgers])
    assert sorted(won) == [False, False, False, True]
    assert store.audit(audit_id).worker == ledgers[won.index(True)].worker


def test_dead_process_loses_its_audit_at_once(store: Store, audit_id: int, dead_worker: str) -> None:
    dead = Ledger(store, audit_id, dead_worker)
    assert dead.claim()
    assert store.audit(audit_id).status is AuditStatus.INTERRUPTED
    assert Ledger(store, audit_id, WORKER).claim()
    assert store.audit(audit_id).status is AuditStatus.RUNNING
    with pytest.raises(StoreError, match="taken over"):
        dead.beat(1.0)
    dead.release(AuditStatus.FAILED, "too late")
    audit = store.audit(audit_id)
    assert (audit.worker, audit.status, audit.message, audit.seconds_running) == (WORKER, AuditStatus.RUNNING, None, 0.0)


@pytest.mark.parametrize(
    ("seconds_ago", "is_taken_over"), [(STALE_S / 2, False), (STALE_S + 1, True), (-STALE_S / 2, False), (-3_600, True)]
)
def test_worker_elsewhere_lives_by_its_heartbeat(store: Store, audit_id: int, seconds_ago: float, is_taken_over: bool) -> None:
    """A heartbeat of the future is from before the clock was set back; a worker that lives renews it every second."""
    Ledger(store, audit_id, "elsewhere:1:token").claim()
    last_beat(store, audit_id, seconds_ago)
    assert store.audit(audit_id).is_stale is is_taken_over
    assert Ledger(store, audit_id, WORKER).claim() is is_taken_over


def test_process_that_lives_but_fell_silent_is_taken_over(store: Store, audit_id: int) -> None:
    Ledger(store, audit_id, f"{HOST}:{os.getpid()}:hung").claim()
    last_beat(store, audit_id, STALE_S + 1)
    assert Ledger(store, audit_id, WORKER).claim()


def test_beats_add_up_and_say_what_is_requested(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    ledger.claim()
    assert ledger.beat(1.5) == "run"
    store.request(audit_id, "pause")
    assert ledger.beat(2.0) == "pause"
    assert store.audit(audit_id).seconds_running == 3.5


def test_failure_keeps_its_message_until_claimed_again(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    ledger.claim()
    ledger.release(AuditStatus.FAILED, "The folder is gone.")
    audit = store.audit(audit_id)
    assert (audit.status, audit.message, audit.worker) == (AuditStatus.FAILED, "The folder is gone.", None)
    assert ledger.claim()
    audit = store.audit(audit_id)
    assert (audit.status, audit.message, audit.finished_at) == (AuditStatus.RUNNING, None, None)


def test_a_worker_may_claim_again_what_it_has(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    assert ledger.claim()
    assert ledger.claim()


def test_calls_whose_answers_are_lost_are_made_again_and_change_nothing(
    store: Store, audit_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    calls: list[int] = []

    @contextmanager
    def losing_answers(**options: object) -> Iterator[sa.Connection]:
        with Store.writing(store, **options) as connection:
            yield connection
        calls.append(1)  # it is committed, but every first answer gets lost
        if len(calls) % 2:
            raise StoreUnavailableError("The connection broke.")

    monkeypatch.setattr(store, "writing", losing_answers)
    ledger = Ledger(store, audit_id, WORKER)
    assert ledger.claim()
    ledger.add_entries([FoundFile(path_bytes=name, size_bytes=1) for name in (b"a.wav", b"b.wav", b"c.wav")])
    ledger.mark_listed()
    a, b, c = (file.entry_id for file in ledger.pending_files(after=0, limit=9))
    results = [(a, scored("a.wav", 2.0)), (c, unreadable("c.wav"))]
    ledger.record_results(scored=results, reused=[(b, sha256("a.wav"))])
    assert [ledger.beat(1.5), ledger.beat(2.0)] == ["run", "run"]
    ledger.release(AuditStatus.FINISHED)
    audit = store.audit(audit_id)
    assert (audit.status, audit.worker, audit.num_files, audit.num_done) == (AuditStatus.FINISHED, None, 3, 3)
    assert (audit.num_spoof, audit.num_refused, audit.num_reused, audit.audio_s) == (2, 1, 1, 8.0)
    assert 3.0 < audit.seconds_running <= 3.5
    assert len(calls) == 14
    assert [num_rows(store, table) for table in (entries, recordings, scores)] == [3, 1, 1]


# Listing and results ---------------------------------------------------------------------------------------------


def test_listing_again_changes_nothing(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    ids = list_files(ledger, ["a.wav", "b/c.wav"])
    ledger.record_results(scored=[(ids["a.wav"], scored("a.wav", 2.0))], reused=[])
    assert list_files(ledger, ["a.wav", "b/c.wav", "d.wav"]).keys() == {"b/c.wav", "d.wav"}
    audit = store.audit(audit_id)
    assert (audit.is_listed, audit.num_files, audit.num_done) == (True, 3, 1)


def test_pending_files_come_in_pages_and_keep_their_bytes(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    names = [b"a.wav", b"caf\xe9.wav", "Ünï.wav".encode()]
    list_files(ledger, [os.fsdecode(name) for name in names])
    first = ledger.pending_files(after=0, limit=2)
    rest = ledger.pending_files(after=first[-1].entry_id, limit=2)
    assert [file.path_bytes for file in (*first, *rest)] == names


def test_results_recorded_twice_count_once(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    ids = list_files(ledger, ["a.wav", "b.wav", "gone.wav"])
    scored_now = [(ids["a.wav"], scored("a.wav", 2.0)), (ids["gone.wav"], unreadable("gone.wav"))]
    reused = [(ids["b.wav"], sha256("a.wav"))]
    ledger.record_results(scored=scored_now, reused=reused)
    once = store.audit(audit_id)
    ledger.record_results(scored=scored_now, reused=reused)
    ledger.record_results(scored=[(ids["a.wav"], scored("a.wav", -9.0, content="changed"))], reused=[])
    assert store.audit(audit_id) == once
    assert (once.num_done, once.num_spoof, once.num_refused, once.num_reused, once.audio_s) == (3, 2, 1, 1, 8.0)
    with store.reading() as connection:
        found = connection.execute(sa.select(entries.c.verdict, entries.c.spoof_score).order_by(entries.c.id)).all()
    assert found == [(Verdict.SPOOF, 2.0), (Verdict.SPOOF, 2.0), (Verdict.REFUSED, None)]


def test_results_recorded_by_two_workers_at_once_count_once(store: Store, audit_id: int) -> None:
    paths = [f"{i}.wav" for i in range(50)]
    ids = list_files(Ledger(store, audit_id, WORKER), paths)
    results = [(ids[path], scored(path, 2.0, content=str(i // 2))) for i, path in enumerate(paths)]
    ledgers = [Ledger(store, audit_id, f"{HOST}:1:{i}") for i in range(4)]
    at_once([lambda ledger=ledger: ledger.record_results(scored=results, reused=[]) for ledger in ledgers])
    audit = store.audit(audit_id)
    assert (audit.num_done, audit.num_spoof, audit.audio_s) == (50, 50, 200.0)
    assert [num_rows(store, table) for table in (recordings, scores, segments)] == [25, 25, 25]


def test_two_audits_may_score_the_same_contents_at_once(store: Store) -> None:
    records = [scored(f"{i}.wav", 2.0) for i in range(50)]
    audit_ids = [audit_id for audit_id, _ in at_once([lambda: make_audit(store, records)] * 4)]
    assert [store.audit(audit_id).num_spoof for audit_id in audit_ids] == [50] * 4
    assert [num_rows(store, table) for table in (recordings, scores, segments)] == [50, 50, 50]


def test_counters_equal_the_rows(store: Store, audit_id: int) -> None:
    values = [3.0, 1.0, 0.5, -1.0, -1.5, None, None, None]
    records = [scored(f"{i}.wav", values[i % 8], content=str(i % 20), duration_s=1.0 + i % 20) for i in range(64)]
    ledger = Ledger(store, audit_id, WORKER)
    ids = list_files(ledger, [record.path for record in records] + ["gone.wav", "later.wav"])
    for start in range(0, 64, 10):
        ledger.record_results(scored=[(ids[record.path], record) for record in records[start : start + 10]], reused=[])
    ledger.record_results(scored=[(ids["gone.wav"], unreadable("gone.wav"))], reused=[])

    count, length = sa.func.count().label("num"), sa.func.coalesce(sa.func.sum(entries.c.duration_s), 0.0).label("audio_s")
    query = sa.select(entries.c.verdict, count, length).where(entries.c.is_done.is_(True)).group_by(entries.c.verdict)
    with store.reading() as connection:
        rows = {row.verdict: (row.num, row.audio_s) for row in connection.execute(query)}
    audit = store.audit(audit_id)
    counted = {
        Verdict.SPOOF: audit.num_spoof,
        Verdict.INCONCLUSIVE: audit.num_inconclusive,
        Verdict.BONA_FIDE: audit.num_bona_fide,
        Verdict.REFUSED: audit.num_refused,
    }
    assert counted == {verdict: num for verdict, (num, _) in rows.items()}
    assert (audit.num_files, audit.num_done) == (66, 65) == (66, sum(counted.values()))
    assert audit.audio_s == sum(seconds for _, seconds in rows.values())


def test_duplicates_point_to_the_first_of_their_content(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    ids = list_files(ledger, ["a.wav", "b.wav", "c.wav", "d.wav"])
    ledger.record_results(
        scored=[(ids["a.wav"], scored("a.wav", 2.0, content="same")), (ids["d.wav"], scored("d.wav", 0.0))],
        reused=[(ids["b.wav"], sha256("same"))],
    )
    ledger.record_results(scored=[], reused=[(ids[name], sha256("same")) for name in ("b.wav", "c.wav")])
    with store.reading() as connection:
        found = dict(connection.execute(sa.select(entries.c.path, entries.c.duplicate_of)).all())
    assert found == {"a.wav": None, "b.wav": ids["a.wav"], "c.wav": ids["a.wav"], "d.wav": None}
    assert (store.audit(audit_id).num_reused, num_rows(store, recordings), num_rows(store, scores)) == (2, 2, 2)


@sqlite_only
def test_recording_results_reads_no_more_as_the_audit_grows(store: Store, audit_id: int) -> None:
    ledger, plans = Ledger(store, audit_id, WORKER), []

    def explain(connection: sa.Connection, _: object, statement: str, parameters: object, __: object, is_many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            values = parameters[0] if is_many else parameters
            plans.extend(connection.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall())

    ids = list_files(ledger, ["a.wav", "b.wav"])
    sa.event.listen(store.engine, "before_cursor_execute", explain)
    ledger.record_results(scored=[(ids["a.wav"], scored("a.wav", 2.0))], reused=[(ids["b.wav"], sha256("a.wav"))])
    steps = {step for *_, step in plans}
    assert "SEARCH entries USING INDEX entries_by_recording (recording_id=?)" in steps
    assert not [step for step in steps if step.startswith("SCAN") or "(audit_id=?" in step]


def test_a_second_audit_owes_its_duplicates_nothing(store: Store) -> None:
    make_audit(store, [scored("a.wav", 2.0, content="same")])
    make_audit(store, [scored("z.wav", 2.0, content="same")])
    with store.reading() as connection:
        assert connection.scalars(sa.select(entries.c.duplicate_of)).all() == [None, None]


def test_scores_are_known_per_detector_and_channel_mode(store: Store) -> None:
    make_audit(store, [scored("a.wav", 2.0)])
    known = {}
    for detector in (make_detector(), make_detector("other", "cd" * 32)):
        for channels in ("mix", "each"):
            audit_id = store.create_audit("/audio", detector, ScanSettings(channels=channels))
            ledger = Ledger(store, audit_id, WORKER)
            known[detector.name, channels] = ledger.known_hashes([sha256("a.wav"), sha256("b.wav")])
    nothing = frozenset()
    expected = {("fake", "mix"): frozenset([sha256("a.wav")]), ("fake", "each"): nothing}
    assert known == expected | {("other", "mix"): nothing, ("other", "each"): nothing}


def test_entry_shows_its_riskiest_channel(store: Store) -> None:
    records = [scored("a.wav", -3.0, 4.0, None, channels="each"), scored("b.wav", None, -3.0, channels="each")]
    make_audit(store, [*records, scored("c.wav", None, None, channels="each")], channels="each")
    with store.reading() as connection:
        found = connection.execute(sa.select(entries.c.verdict, entries.c.spoof_score).order_by(entries.c.id)).all()
    assert found == [(Verdict.SPOOF, 4.0), (Verdict.BONA_FIDE, -3.0), (Verdict.REFUSED, None)]


# The database ----------------------------------------------------------------------------------------------------


def test_store_is_there_after_opening_it_again(store: Store, audit_id: int) -> None:
    assert Store(store.url).audit(audit_id) == store.audit(audit_id)


def test_newer_store_is_refused(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(schema_version.update().values(version=SCHEMA_VERSION + 1))
    with pytest.raises(StoreError, match=f"version {SCHEMA_VERSION + 1}; this program reads up to {SCHEMA_VERSION}"):
        Store(store.url)


# What version 2 had in place of today's indices.
_INDICES_OF_VERSION_2 = (
    "CREATE INDEX entries_by_risk ON entries (audit_id, spoof_score, id)",
    "CREATE INDEX entries_by_verdict ON entries (audit_id, verdict, spoof_score)",
)
_LATER_INDICES = (
    "entries_by_folder", "entries_by_label", "entries_for_triage", "entries_by_verdict", "entries_by_path", "entries_by_safety",
    "entries_by_risk",
)  # fmt: skip


def _make_older(store: Store, version: int) -> None:
    """Makes the store one of an older version, with all that it holds."""
    with store.writing() as connection:
        connection.exec_driver_sql("DROP INDEX IF EXISTS entries_for_triage")
        for name in ("scores", "entries"):
            connection.exec_driver_sql(f"ALTER TABLE {name} DROP COLUMN training_distance")
        connection.exec_driver_sql("ALTER TABLE segments DROP COLUMN is_estimated")
        if version == 4 and connection.dialect.name == "sqlite":
            connection.exec_driver_sql(
                "CREATE INDEX entries_for_triage ON entries (audit_id, spoof_score, id, verdict, folder, path)"
            )
        for name in _LATER_INDICES if version < 3 else ():
            connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
        for statement in _INDICES_OF_VERSION_2 if version < 3 else ():
            connection.exec_driver_sql(statement)
        if connection.dialect.name == "postgresql" and version < 3:
            connection.exec_driver_sql("ALTER TABLE entries ADD UNIQUE (audit_id, path_bytes)")
        if version < 4:
            connection.exec_driver_sql("DROP TABLE events")
        if version == 1:
            for name in ("audit_labels", "systems", "trial_sets"):
                connection.exec_driver_sql(f"DROP TABLE {name}")
        connection.execute(schema_version.update().values(version=version))


@pytest.mark.parametrize("version", [1, 2, 4])
def test_an_older_store_is_brought_up_to_date_with_all_it_holds(store: Store, version: int) -> None:
    audit_id, ids = make_audit(store, [scored("a.wav", 2.0)])
    new = {"trial_sets", "systems", "audit_labels"}
    fresh = _layout(store)
    _make_older(store, version)
    assert _layout(store) != fresh
    assert bool(new & set(_layout(store))) is (version >= 2)
    migrated = Store(store.url)
    assert _layout(migrated) == fresh
    with migrated.reading() as connection:
        assert connection.scalar(sa.select(schema_version.c.version)) == SCHEMA_VERSION
        assert connection.scalars(sa.select(entries.c.id)).all() == list(ids.values())
    assert migrated.audit(audit_id).num_done == 1
    assert list_files(Ledger(migrated, audit_id, WORKER), ["a.wav", "b.wav"]).keys() == {"b.wav"}
    assert _layout(Store(store.url)) == fresh


def _layout(store: Store) -> dict[str, tuple]:
    """Table -> its columns with type and nullability, its key, what it refers to, its indices and what is unique."""
    inspector = sa.inspect(store.engine)
    return {
        name: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)],
            inspector.get_pk_constraint(name)["constrained_columns"],
            sorted((key["constrained_columns"], key["referred_table"]) for key in inspector.get_foreign_keys(name)),
            sorted(_index_words(index) for index in inspector.get_indexes(name)),
            sorted(constraint["column_names"] for constraint in inspector.get_unique_constraints(name)),
        )
        for name in inspector.get_table_names()
    }


def _index_words(index: dict) -> tuple[str, ...]:
    parts = (index.get(name) for name in ("column_names", "unique", "column_sorting", "include_columns"))
    is_partial = any(name.endswith("_where") for name in index.get("dialect_options", ()))
    return (index["name"], *map(str, parts), "partial" if is_partial else "")


@pytest.mark.parametrize("name", ["file/test.db", "folder", "text.db"])
def test_store_that_cannot_be_opened_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("a file where a folder is needed")
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.db").write_text("This is no database, but it is long enough to be read as one. " * 20)
    with pytest.raises(StoreError, match=f"{name} cannot be opened for writing.*EARWITNESS_DB"):
        Store(f"sqlite:///{tmp_path / name}")


def test_password_is_not_shown() -> None:
    with pytest.raises(StoreError) as failure:
        Store("postgresql+nosuchdriver://me:secret@localhost/db")
    assert "secret" not in str(failure.value)


@sqlite_only
def test_full_disk_is_a_store_error_and_writes_nothing(store: Store, audit_id: int) -> None:
    ledger = Ledger(store, audit_id, WORKER)
    list_files(ledger, ["a.wav"])
    # SQLite lets a database grow to this many pages: to none more than it has.
    sa.event.listen(store.engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))
    store.engine.dispose()
    with pytest.raises(StoreError, match=r"full.*disk space"):
        list_files(ledger, [f"{i}.wav" for i in range(10_000)])
    assert num_rows(store, entries) == 1


@sqlite_only
def test_read_only_store_is_a_store_error(store: Store, audit_id: int) -> None:
    sa.event.listen(store.engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
    store.engine.dispose()
    assert store.audit(audit_id).status is AuditStatus.QUEUED
    with pytest.raises(StoreError, match=r"readonly.*permissions"):
        store.request(audit_id, "pause")


@sqlite_only
def test_pragmas(store: Store) -> None:
    with store.reading() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys", "busy_timeout")]
    assert found == ["wal", 1, 30_000]


def test_foreign_keys_are_enforced(store: Store) -> None:
    row = {"audit_id": 999, "path": "a", "path_bytes": b"a", "folder": ".", "size_bytes": 1}
    with pytest.raises(sa.exc.IntegrityError), store.writing() as connection:
        connection.execute(entries.insert(), row)


def test_block_that_fails_writes_nothing(store: Store, audit_id: int) -> None:
    def fail_halfway() -> None:
        with store.writing() as connection:
            connection.execute(audits.update().values(folder="/changed"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert store.audit(audit_id).folder == "/audio"


def test_what_is_read_in_one_transaction_is_of_one_moment(store: Store, audit_id: int) -> None:
    with store.reading() as connection:
        assert connection.scalar(sa.select(audits.c.folder)) == "/audio"
        store.request(audit_id, "pause")
        make_audit(store, [scored("a.wav", 2.0)])
        assert connection.scalars(sa.select(audits.c.requested)).all() == ["run"]
    assert num_rows(store, audits) == 2


def test_those_who_deal_with_one_matter_wait_for_each_other(store: Store, audit_id: int) -> None:
    def add_second() -> None:
        with store.writing(alone_in="seconds") as connection:
            seconds = connection.scalar(sa.select(audits.c.seconds_running))
            time.sleep(0.02)
            connection.execute(audits.update().values(seconds_running=seconds + 1.0))

    at_once([add_second] * 4)
    assert store.audit(audit_id).seconds_running == 4.0


def test_reads_do_not_wait_for_a_writer(store: Store, audit_id: int) -> None:
    with store.writing() as connection:
        connection.execute(audits.update().values(folder="/changed"))
        started = time.monotonic()
        assert store.audit(audit_id).folder == "/audio"
        assert Ledger(store, audit_id, WORKER).pending_files(after=0, limit=1) == ()
        assert time.monotonic() - started < 5.0
    assert store.audit(audit_id).folder == "/changed"


@sqlite_only
def test_a_store_that_is_locked_for_too_long_is_unavailable(store: Store, audit_id: int) -> None:
    sa.event.listen(store.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 50"))
    store.engine.dispose()
    with store.writing() as connection:
        connection.execute(audits.update().values(folder="/changed"))
        with pytest.raises(StoreUnavailableError, match="locked"):
            store.request(audit_id, "pause")


@sqlite_only
def test_writer_waits_for_a_writer(store: Store, audit_id: int) -> None:
    def add_second() -> None:
        with store.writing() as connection:
            seconds = connection.scalar(sa.select(audits.c.seconds_running))
            time.sleep(0.02)
            connection.execute(audits.update().values(seconds_running=seconds + 1.0))

    at_once([add_second] * 4)
    assert store.audit(audit_id).seconds_running == 4.0

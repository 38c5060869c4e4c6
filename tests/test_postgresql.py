"""What only a server does: it goes away and comes back, many use it at once, it refuses. Everything else runs on both databases."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from ledger_records import WORKER, list_files, make_audit, make_detector, scored
from postgres_server import PostgresServer
from streamlit.testing.v1 import AppTest

from core import detect
from core.checkpoints import Detector
from core.detect import Scorer
from core.errors import StoreError, StoreUnavailableError
from core.evaluation.systems import attach_protocol
from core.evaluation.trial_sets import make_trial_set
from core.records import Audit, AuditStatus, ScanSettings, TriageFilter
from core.scanning import scan, standby
from core.scanning.scan import prepare_audit, run_audit, start_audit
from core.store import patience
from core.store.filters import ORDERS, filter_condition
from core.store.ledger import Ledger
from core.store.schema import audits, detectors, entries, recordings, schema_version, scores
from core.store.store import Store
from core.store.triage import add_reviews, triage_page

pytestmark = pytest.mark.postgresql
ROOT = Path(__file__).parents[1]


@pytest.fixture
def database() -> str:
    """This one alone."""
    return "postgresql"


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def running(postgres: PostgresServer):
    """The server, up again when the test is over, whatever came of it."""
    yield postgres
    postgres.stop()
    postgres.start()


def results_of(store: Store, audit_id: int) -> dict[str, tuple]:
    query = sa.select(entries.c.path, entries.c.is_done, entries.c.verdict, entries.c.spoof_score, recordings.c.sha256)
    with store.reading() as connection:
        rows = connection.execute(query.outerjoin_from(entries, recordings).where(entries.c.audit_id == audit_id)).all()
    assert len({row.path for row in rows}) == len(rows)
    return {row.path: tuple(row) for row in rows}


# Away and back ---------------------------------------------------------------------------------------------------


class Outage:
    """Takes the server away as soon as some files are done, and gives the worker no chance to end before."""

    def __init__(self, num_done: int) -> None:
        self.num_done, self.is_due, self.is_away = num_done, threading.Event(), threading.Event()

    def __call__(self, audit: Audit) -> None:
        if audit.num_done >= self.num_done and not self.is_due.is_set():
            self.is_due.set()
            assert self.is_away.wait(60)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Small batches and a worker that beats all the time; windows of each network call."""
    monkeypatch.setattr(detect, "BATCH_WINDOWS", 2)
    monkeypatch.setattr(scan, "BEAT_S", 0.01)
    monkeypatch.setattr(scan, "COMMIT_S", 0.01)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.2)
    calls: list[int] = []
    judge_windows = Scorer.judge_windows

    def slowly(self: Scorer, windows):
        time.sleep(0.01)
        calls.append(len(windows))
        return judge_windows(self, windows)

    monkeypatch.setattr(Scorer, "judge_windows", slowly)
    return calls


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "crashed"])
def test_a_scan_waits_for_a_server_that_went_and_loses_and_repeats_nothing(
    kill: bool, store: Store, running: PostgresServer, lively_detector: Detector, write_recordings: Callable, tmp_path: Path,
    slow: list[int], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    write_recordings(tmp_path / "audio", 40)
    audit_id = prepare_audit(store, str(tmp_path / "audio"), lively_detector, ScanSettings())
    outage = Outage(num_done=5)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run_audit, store, audit_id, on_progress=outage)
        assert outage.is_due.wait(60)
        running.stop(kill=kill)
        outage.is_away.set()
        time.sleep(1.0)
        assert not future.done()
        running.start()
        audit = future.result(timeout=120)
    assert (audit.status, audit.num_files, audit.num_done, audit.num_reused) == (AuditStatus.FINISHED, 40, 40, 0)
    found, windows = results_of(store, audit_id), sum(slow)
    told = [record.getMessage() for record in caplog.records if record.name == "earwitness"]
    assert len(told) == 2
    assert told[0].startswith("The store postgresql+psycopg://earwitness:***@127.0.0.1:")
    assert told[0].endswith(
        "Check that its database runs and can be reached; audits wait. Waiting for it; results so far are kept."
    )
    assert told[1].startswith("The store is back after ")

    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    slow.clear()
    whole = run_audit(other, prepare_audit(other, str(tmp_path / "audio"), lively_detector, ScanSettings()))
    assert windows == sum(slow)  # nothing was scored twice
    assert found.keys() == results_of(other, whole.id).keys()
    for path, row in results_of(other, whole.id).items():
        assert found[path] == (*row[:3], pytest.approx(row[3], abs=1e-4), row[4])
    counters = "num_spoof", "num_inconclusive", "num_bona_fide", "num_refused", "audio_s"
    assert [getattr(audit, name) for name in counters] == pytest.approx([getattr(whole, name) for name in counters])
    for each in (store, other):
        with each.reading() as connection:
            assert [connection.scalar(sa.select(sa.func.count()).select_from(t)) for t in (recordings, scores)] == [40, 40]


def test_waiting_is_not_counted_as_work(store: Store, running: PostgresServer) -> None:
    ledger = Ledger(store, store.create_audit("/audio", make_detector(), ScanSettings()), WORKER)
    assert ledger.claim()
    running.stop()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ledger.pending_files, after=0, limit=1)
        time.sleep(1.0)
        running.start()
        assert future.result(timeout=60) == ()
    ledger.beat(1_000.0)
    assert 900.0 < store.audit(ledger.audit_id).seconds_running <= 999.0


def test_ctrl_c_while_the_server_is_away_ends_the_worker_at_once(
    store: Store, running: PostgresServer, tiny_detector: Detector, write_recordings: Callable, tmp_path: Path, slow: list[int]
) -> None:
    write_recordings(tmp_path / "audio", 30)
    audit_id = prepare_audit(store, str(tmp_path / "audio"), tiny_detector, ScanSettings())

    def interrupt(audit: Audit) -> None:
        if audit.num_done:
            running.stop()
            time.sleep(0.3)  # the feeder meets the server's absence meanwhile
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="not available now"):
        run_audit(store, audit_id, on_progress=interrupt)
    assert time.monotonic() - started < 60
    running.start()
    audit = store.audit(audit_id)
    assert 0 < audit.num_done < 30
    with store.writing() as connection:  # the process that this worker was is still this one: let it be dead
        connection.execute(audits.update().values(heartbeat_at=0.0))
    assert store.audit(audit_id).status is AuditStatus.INTERRUPTED
    audit = run_audit(store, audit_id)
    assert (audit.status, audit.num_done) == (AuditStatus.FINISHED, 30)


def test_a_dashboard_tells_that_the_server_is_away_and_goes_on_when_it_is_back(store: Store, running: PostgresServer) -> None:
    audit_id, _ = make_audit(store, [scored("a.wav", 2.0)])
    running.stop()
    for call in (lambda: store.audit(audit_id), lambda: triage_page(store, audit_id), lambda: store.request(audit_id, "pause")):
        with pytest.raises(StoreUnavailableError, match=r"not available now: .*refused.*can be reached"):
            call()
    running.start()
    assert store.audit(audit_id).num_done == 1


@pytest.mark.parametrize("page", ["Home.py", "pages/1_Batch_audit.py"])
def test_pages_tell_that_the_server_is_away(
    page: str, store: Store, running: PostgresServer, tiny_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARWITNESS_ROOTS", str(tmp_path))
    make_audit(store, [scored("a.wav", 2.0)], detector=tiny_detector)
    app = AppTest.from_file(str(ROOT / "Home.py"), default_timeout=60)
    app = app if page == "Home.py" else app.switch_page(page)
    app.query_params["audit"] = "1"
    app.run()
    assert (len(app.exception), len(app.error)) == (0, 0)
    running.stop()
    app.run()
    assert not app.exception
    assert any("not available now" in error.value.replace("\\", "") for error in app.error)
    running.start()
    app.run()
    assert (len(app.exception), len(app.error)) == (0, 0)


# Opening ---------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_within_seconds_and_without_the_password() -> None:
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"cannot be opened for writing: .*refused\. Check EARWITNESS_DB") as failure:
        Store("postgresql+psycopg://me:secret@127.0.0.1:1/db")
    assert time.monotonic() - started < 10
    assert "secret" not in str(failure.value)


def test_wrong_names_and_passwords_are_told(postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match='database "nowhere" does not exist'):
        Store(postgres.url("nowhere"))
    with pytest.raises(StoreError, match="password authentication failed") as failure:
        Store(postgres.url().replace("earwitness:", "earwitness:wrong"))
    assert "wrong" not in str(failure.value)


def test_a_url_without_a_driver_means_psycopg(postgres: PostgresServer) -> None:
    for scheme in ("postgresql", "postgres"):
        assert Store(postgres.new_database().replace("postgresql+psycopg", scheme)).recent_audits() == ()


def test_a_driver_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install -r requirements-cluster\.txt"):
        Store("postgresql+psycopg://me:secret@127.0.0.1:1/db")


def test_a_database_that_cannot_hold_every_name_is_refused(postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match="stores text as LATIN1; file names need UTF8"):
        Store(postgres.new_database("LATIN1"))


def test_an_empty_database_may_be_opened_by_many_at_once(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    barrier = threading.Barrier(6)

    def opened(_: int) -> tuple:
        barrier.wait()
        return Store(url).recent_audits()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(opened, range(6))) == [()] * 6
    with Store(url).reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema_version)) == 1


# Many at once ----------------------------------------------------------------------------------------------------


_DASHBOARD = """
import sys, time
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("Home.py", default_timeout=120).switch_page("pages/1_Batch_audit.py")
seen, deadline = [], time.monotonic() + 120
while time.monotonic() < deadline:
    for audit_id in sys.argv[1:]:
        app.query_params["audit"] = audit_id
        app.run()
        assert not app.exception, app.exception
        assert not app.error, app.error[0].value
        seen.append(" ".join(str(text.value) for text in app.markdown) + " ".join(str(m.value) for m in app.metric))
    from core.store.store import Store
    if all(audit.status == "finished" for audit in Store().recent_audits()):
        break
print(len(seen))
"""


def test_two_dashboards_and_two_scans_share_one_store(
    store: Store, lively_detector: Detector, write_recordings: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARWITNESS_ROOTS", str(tmp_path))
    write_recordings(tmp_path / "a", 40)
    write_recordings(tmp_path / "b", 40, first_seed=20)  # half of them are the same
    ids = [start_audit(store, str(tmp_path / name), lively_detector, ScanSettings()) for name in "ab"]
    command = [sys.executable, "-c", _DASHBOARD, *map(str, ids)]
    dashboards = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for dashboard in dashboards:
        out, error = dashboard.communicate(timeout=200)
        assert dashboard.returncode == 0, error
        assert int(out.split()[-1]) >= 2
    for audit_id in ids:
        audit = store.audit(audit_id)
        assert (audit.status, audit.num_files, audit.num_done, audit.message) == (AuditStatus.FINISHED, 40, 40, None)
    first, second = (results_of(store, audit_id) for audit_id in ids)
    by_content = {row[4]: row[2:4] for row in first.values()}
    shared = [row for row in second.values() if row[4] in by_content]
    assert len(shared) == 20
    assert all(row[2:4] == by_content[row[4]] for row in shared)
    with store.reading() as connection:
        assert [connection.scalar(sa.select(sa.func.count()).select_from(t)) for t in (recordings, scores)] == [60, 60]


def test_a_protocol_may_be_attached_while_a_worker_writes(store: Store) -> None:
    names = [f"{i:03}.wav" for i in range(200)]
    audit_id = store.create_audit("/audio", make_detector(), ScanSettings())
    ledger = Ledger(store, audit_id, WORKER)
    ids = list_files(ledger, names)
    table = pd.DataFrame({"utterance": [name[:-4] for name in names], "label": ["spoof", "bona fide"] * 100, "attack": None})
    trial_set = make_trial_set("P", table)

    def record() -> None:
        for start in reversed(range(0, 200, 20)):
            batch = [(ids[name], scored(name, 1.0)) for name in names[start : start + 20]]
            ledger.record_results(scored=batch, reused=[])

    def attach() -> None:
        for _ in range(5):
            assert attach_protocol(store, audit_id, trial_set) == 200

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(record), pool.submit(attach)]:
            future.result(timeout=60)
    with store.reading() as connection:
        labels = Counter(connection.scalars(sa.select(entries.c.label).where(entries.c.is_done.is_(True))))
    assert labels == {"spoof": 100, "bona fide": 100}


def test_reviews_do_not_wait_for_a_worker_that_writes(store: Store) -> None:
    audit_id, ids = make_audit(store, [scored("a.wav", 2.0)], pending=["b.wav"])
    with store.writing() as connection:  # as `Ledger.record_results` does
        connection.execute(sa.select(audits.c.id).where(audits.c.id == audit_id).with_for_update(key_share=True))
        connection.execute(audits.update().where(audits.c.id == audit_id).values(num_done=audits.c.num_done + 1))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(add_reviews, store, [ids["a.wav"]], verdict="spoof", reviewer="Ann").result(timeout=10) == 1


def test_all_connections_in_use_is_told(store: Store) -> None:
    store.engine.pool._timeout = 0.1
    with ExitStack() as stack:
        for _ in range(15):  # SQLAlchemy's pool: five, and ten more at need
            stack.enter_context(store.reading())
        with pytest.raises(StoreUnavailableError, match=r"All connections .* are in use"):
            store.recent_audits()
    assert store.recent_audits() == ()


# Speed -----------------------------------------------------------------------------------------------------------


FILTERS = [
    *(TriageFilter(order=order) for order in ("risk", "safe", "path")),
    TriageFilter(verdicts=("spoof",)),
    TriageFilter(verdicts=("bona fide",)),
]


@pytest.mark.parametrize("filter", FILTERS)
def test_table_is_read_in_the_order_of_an_index(store: Store, filter: TriageFilter) -> None:
    audit_id, _ = make_audit(store, [scored(f"{i}.wav", float(i % 7 - 3)) for i in range(50)])
    make_audit(store, [scored(f"other/{i}.wav", 0.0) for i in range(50)])
    query = sa.select(entries.c.id).where(filter_condition(store, audit_id, filter)).order_by(*ORDERS[filter.order]).limit(10)
    with store.writing() as connection:
        for setting in ("enable_seqscan", "enable_bitmapscan"):  # a table of a hundred rows is quicker read whole
            connection.exec_driver_sql(f"SET LOCAL {setting} = off")
        compiled = query.compile(connection, compile_kwargs={"render_postcompile": True})
        statement = compiled.string
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", compiled.params).scalars().all()
    assert not [line for line in plan if "Sort" in line], plan
    assert [line for line in plan if " using entries_by_" in line], plan


def test_a_million_is_not_walked_for_a_few_reviews(store: Store) -> None:
    """The newest review is looked for among reviews, and not anew for every file."""
    audit_id, _ = make_audit(store, [scored("a.wav", 2.0)])
    for review in ("reviewed", "unreviewed", "spoof"):
        query = sa.select(sa.func.count()).where(filter_condition(store, audit_id, TriageFilter(review=review)))
        with store.reading() as connection:
            compiled = query.compile(connection, compile_kwargs={"render_postcompile": True})
            plan = connection.exec_driver_sql(f"EXPLAIN {compiled.string}", compiled.params).scalars().all()
        assert not [line for line in plan if "SubPlan" in line], plan


# Refusals --------------------------------------------------------------------------------------------------------


def test_a_standby_is_a_store_error(store: Store) -> None:
    audit_id = store.create_audit("/audio", make_detector(), ScanSettings())
    sa.event.listen(store.engine, "begin", lambda connection: connection.exec_driver_sql("SET TRANSACTION READ ONLY"))
    assert store.audit(audit_id).status is AuditStatus.QUEUED
    with pytest.raises(StoreError, match=r"refused: cannot execute UPDATE in a read-only transaction.*permissions"):
        store.request(audit_id, "pause")


def test_a_role_that_may_only_read_is_a_store_error(store: Store, postgres: PostgresServer) -> None:
    audit_id = store.create_audit("/audio", make_detector(), ScanSettings())
    with store.writing() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS reader")
        connection.exec_driver_sql("CREATE ROLE reader LOGIN PASSWORD 'reads'")
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA public TO reader")
        connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    url = sa.engine.make_url(store.url).set(username="reader", password="reads")
    reader = Store(url.render_as_string(hide_password=False))
    assert reader.audit(audit_id).status is AuditStatus.QUEUED
    with pytest.raises(StoreError, match=r"refused: permission denied for table audits.*permissions"):
        reader.request(audit_id, "pause")


def test_a_text_that_postgresql_cannot_hold_is_told(store: Store) -> None:
    audit_id, ids = make_audit(store, [scored("a.wav", 2.0)])
    with pytest.raises(StoreError, match="the character NUL"):
        add_reviews(store, [ids["a.wav"]], verdict="spoof", reviewer="Ann", note="a\0b")
    assert triage_page(store, audit_id).rows[0].review is None


def test_a_lock_that_is_not_to_be_had_is_told(store: Store, audit_id_locked: int) -> None:
    hasty = Store(f"{store.url}?application_name=hasty")
    sa.event.listen(hasty.engine, "begin", lambda connection: connection.exec_driver_sql("SET lock_timeout = '50ms'"))
    with pytest.raises(StoreUnavailableError, match="lock timeout"):
        hasty.request(audit_id_locked, "pause")


@pytest.fixture
def audit_id_locked(store: Store):
    audit_id = store.create_audit("/audio", make_detector(), ScanSettings())
    with store.writing() as connection:
        connection.execute(sa.select(audits.c.id).with_for_update())
        yield audit_id


def test_a_bug_in_a_statement_is_no_store_error(store: Store) -> None:
    with pytest.raises(sa.exc.ProgrammingError), store.reading() as connection:
        connection.exec_driver_sql("SELECT nothing FROM nowhere")
    with pytest.raises(sa.exc.IntegrityError), store.writing() as connection:
        connection.execute(detectors.insert(), [{"hash": "x", "name": "a", "manifest": "", "created_at": 0.0}] * 2)


def test_the_password_is_not_among_a_workers_arguments(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    started, handed = [], io.BytesIO()

    class Process:
        stdin = handed

        def __init__(self, command: list[str], **options: object) -> None:
            started.extend(command)
            assert "env" not in options

        def poll(self) -> None:
            pass

        wait = poll

    monkeypatch.setattr(standby.subprocess, "Popen", Process)
    monkeypatch.setattr(scan, "STANDBY", own := standby.Standby())
    monkeypatch.setenv("EARWITNESS_DB", "sqlite:///another.db")
    scan.resume_audit(store, store.create_audit("/audio", make_detector(), ScanSettings()))
    password = sa.engine.make_url(store.url).password
    assert not any(password in argument for argument in started)
    environment = json.loads(handed.getvalue())["environment"]
    assert environment["EARWITNESS_DB"] == store.url
    assert environment["PATH"] == os.environ["PATH"]
    own.close()

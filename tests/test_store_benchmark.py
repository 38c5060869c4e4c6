"""core.store.benchmark: the made-up store is a store, its figures are of it, and it touches no store that is in use."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from core.checkpoints import Detector
from core.errors import StoreError
from core.records import AuditStatus, TriageFilter
from core.store.benchmark import benchmark_store, main
from core.store.schema import audits, entries, recordings, scores, segments
from core.store.store import Store
from core.store.triage import entry_detail, folder_shares, triage_page


@pytest.fixture
def filled(any_store: Store, tiny_detector: Detector, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, object]:
    """A store of 1,000 recordings, 800 of them copies, and its figures."""
    monkeypatch.setattr("core.store.benchmark.NUM_RECORDED", 100)
    return any_store, benchmark_store(any_store.url, 1_000, detector=tiny_detector)


def test_copies_are_recordings_of_their_own(filled: tuple) -> None:
    store, _ = filled
    with store.reading() as connection:
        nums = [connection.scalar(sa.select(sa.func.count()).select_from(table)) for table in (entries, recordings, scores)]
        assert nums == [1_000] * 3
        joined = entries.join(recordings).join(scores, scores.c.id == entries.c.score_id)
        same = scores.c.recording_id == entries.c.recording_id
        assert connection.scalar(sa.select(sa.func.count()).select_from(joined).where(same)) == 1_000
        judged = connection.scalar(sa.select(sa.func.count()).select_from(segments.join(scores)).where(scores.c.num_segments == 2))
        assert judged == connection.scalar(sa.select(sa.func.count()).where(entries.c.spoof_score.is_not(None))) > 900
        for row in connection.execute(sa.select(entries.c.path, entries.c.path_bytes, entries.c.folder)):
            assert row.path.encode() == row.path_bytes
            assert row.path.startswith(f"{row.folder}/")
    audit = store.audit(1)
    assert (audit.status, audit.num_files, audit.num_done) == (AuditStatus.FINISHED, 1_000, 1_000)
    assert triage_page(store, 1).num_rows == 1_000
    assert (
        sum(s.num_spoof + s.num_inconclusive + s.num_bona_fide + s.num_refused for s in folder_shares(store, 1, limit=999)) == 1_000
    )


def test_the_store_can_be_written_on_after_copying(filled: tuple, tiny_detector: Detector) -> None:
    store, _ = filled
    assert triage_page(store, 1, TriageFilter(review="spoof")).num_rows == 10
    detail = entry_detail(store, triage_page(store, 1).rows[0].entry_id)
    assert [review.note for review in detail.reviews] == ["heard"]
    assert len(detail.detections[0].segments) == 2
    with store.writing() as connection:
        last = connection.scalar(sa.select(sa.func.max(entries.c.id)))
        values = {"audit_id": 1, "path": "x", "path_bytes": b"x", "folder": ".", "size_bytes": 1}
        assert connection.execute(entries.insert().values(values)).inserted_primary_key[0] == last + 1


def test_figures(filled: tuple) -> None:
    store, figures = filled
    report = figures.report()
    assert figures.num_entries == 1_000
    assert 500 < figures.bytes_per_entry < 20_000  # empty tables of PostgreSQL weigh in small ones
    assert all(rate > 0 for rate in figures.rates)
    assert len(figures.queries) > 20
    assert all(0 < seconds < 5 for _, seconds in figures.queries)
    assert "| triage: highest scores | 0." in report
    assert (sa.engine.make_url(store.url).password or "no password") not in report


def test_a_store_in_use_is_left_alone(filled: tuple, tiny_detector: Detector) -> None:
    store, _ = filled
    with pytest.raises(StoreError, match="holds audits"):
        benchmark_store(store.url, 1_000, detector=tiny_detector)
    with store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(audits)) == 1


@pytest.mark.usefixtures("tiny_detector")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    url = f"sqlite:///{tmp_path / 'b.db'}"
    assert main(["--db", url, "--entries", "200"]) == 0
    assert f"### {url}, 200 recordings" in capsys.readouterr().out
    assert main(["--db", url, "--entries", "200"]) == 1
    assert "error:" in capsys.readouterr().err
    assert main(["--db", url, "--entries", "5"]) == 1
    assert "expects 100 or more" in capsys.readouterr().err

"""parquet_ledger: an audit without a store holds what one with a store does, goes on where it stopped, is nobody else's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pandas as pd
import pytest
import soundfile
from ledger_records import make_detector, scored, sha256

from core.checkpoints import Detector
from core.commands.program import main
from core.detect import Scorer
from core.errors import StoreError
from core.protocols import Trial
from core.records import Audit, AuditStatus, FoundFile, ScanSettings, Verdict
from core.scanning import parquet_ledger
from core.scanning.local_engine import LocalEngine
from core.scanning.parquet_ledger import ParquetLedger
from core.scanning.scan import prepare_audit, run_audit, work_on
from core.store.ledger import Ledger
from core.store.store import Store

WORKER = f"{os.uname().nodename}:{os.getpid()}:aaaa"
OTHER = f"{os.uname().nodename}:{os.getpid()}:bbbb"


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path}/results"
        return
    yield "memory://results"
    filesystem = fsspec.filesystem("memory")
    if filesystem.exists("/results"):
        filesystem.rm("/results", recursive=True)


def ledger_at(
    url: str, *, worker: str = WORKER, detector: Detector | None = None, folder: str = "/audio", **settings
) -> ParquetLedger:
    settings = ScanSettings(**settings)
    return ParquetLedger(url, folder=folder, detector=detector or make_detector(), settings=settings, worker=worker)


def listed(url: str, *names: str, trials: dict[str, Trial] | None = None) -> ParquetLedger:
    ledger = ledger_at(url)
    assert ledger.claim()
    ledger.add_entries([FoundFile(path_bytes=os.fsencode(name), size_bytes=10) for name in names], trials)
    ledger.mark_listed()
    return ledger


def rows_of(url: str) -> pd.DataFrame:
    filesystem, root = fsspec.core.url_to_fs(url)
    parts = sorted(filesystem.ls(f"{root}/results", detail=False))
    frames = [pd.read_parquet(filesystem.open(part)) for part in parts]
    return pd.concat(frames, ignore_index=True)


def counters_of(audit: Audit) -> tuple:
    names = "num_files", "num_done", "num_spoof", "num_inconclusive", "num_bona_fide", "num_refused", "num_reused", "audio_s"
    return tuple(getattr(audit, name) for name in names)


def test_by_hand(url: str) -> None:
    trial = Trial(speaker="S1", utterance="b", environment=None, attack="A07", label="spoof")
    ledger = listed(url, "a.wav", "b.wav", "c.wav", "d\udcff.wav", trials={"b": trial})
    assert [file.entry_id for file in ledger.pending_files(after=0, limit=9)] == [1, 2, 3, 4]
    assert [os.fsdecode(file.path_bytes) for file in ledger.pending_files(after=2, limit=1)] == ["c.wav"]
    ledger.record_results(scored=[(1, scored("a.wav", 2.0)), (2, scored("b.wav", None))], reused=[(3, sha256("a.wav"))])
    assert ledger.known_hashes([sha256("a.wav"), sha256("z.wav")]) == {sha256("a.wav")}
    assert [file.entry_id for file in ledger.pending_files(after=0, limit=9)] == [4]
    ledger.record_results(scored=[(1, scored("a.wav", -9.0)), (4, scored("d", -2.0))], reused=[])  # 1 is done: it stays
    ledger.release(AuditStatus.FINISHED)
    rows = rows_of(url).set_index("path")
    assert list(rows.index) == ["a.wav", "b.wav", "c.wav", "d\\xff.wav"]
    assert list(rows.verdict) == ["spoof", "refused", "spoof", "bona fide"]
    assert rows.spoof_score.to_list()[::2] == [2.0, 2.0]
    assert [rows.duplicate_of.get(name) for name in rows.index if rows.duplicate_of.notna()[name]] == ["a.wav"]
    assert (rows.label["b.wav"], rows.attack["b.wav"], rows.speaker["b.wav"]) == ("spoof", "A07", "S1")
    assert rows.path_bytes["d\\xff.wav"] == b"d\xff.wav"
    again = ledger_at(url).audit()
    assert (again.status, again.is_listed) == (AuditStatus.FINISHED, True)
    assert counters_of(again) == counters_of(ledger.audit())
    assert counters_of(again)[:7] == (4, 4, 2, 0, 1, 1, 1)


@pytest.mark.parametrize("channels", ["mix", "each"])
def test_a_scan_gives_what_one_into_a_store_gives(
    url: str, tmp_path: Path, lively_detector: Detector, write_recordings: Callable, store: Store, channels: str
) -> None:
    folder = tmp_path / "audio"
    first, *_ = write_recordings(folder, 5)
    shutil.copy(first, folder / "z copy.wav")
    soundfile.write(folder / "stereo.flac", soundfile.read(first)[0].reshape(-1, 2), 16_000)
    (folder / "empty.wav").touch()
    settings = ScanSettings(channels=channels)
    ledger = ledger_at(url, detector=lively_detector, folder=str(folder), channels=channels)
    audit = work_on(ledger, lambda _: LocalEngine(Scorer(lively_detector)))
    expected = run_audit(store, prepare_audit(store, str(folder), lively_detector, settings))
    assert (audit.status, counters_of(audit)) == (AuditStatus.FINISHED, pytest.approx(counters_of(expected)))
    assert (audit.num_done, audit.num_refused, audit.num_reused) == (8, 1, 1)
    assert len(rows_of(url)) == (9 if channels == "each" else 8)


def test_parts_are_small_and_nothing_is_lost_between_them(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_ledger, "PART_ROWS", 4)
    names = [f"{number:02}.wav" for number in range(11)]
    ledger = listed(url, *names)
    for first in range(0, 11, 3):
        ids = range(first + 1, min(first + 3, 11) + 1)
        ledger.record_results(scored=[(i, scored(names[i - 1], float(i))) for i in ids if i != 11], reused=[])
    ledger.record_results(scored=[], reused=[(11, sha256("02.wav"))])  # which lies in a part that is written
    ledger.release(AuditStatus.FINISHED)
    rows = rows_of(url)
    assert list(rows.path) == names
    assert list(rows.spoof_score) == [*map(float, range(1, 11)), 3.0]
    filesystem, root = fsspec.core.url_to_fs(url)
    assert len(filesystem.ls(f"{root}/listing")) == 3
    assert len(filesystem.ls(f"{root}/results")) == 3


def test_a_killed_worker_repeats_only_what_was_not_written(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = listed(url, "a.wav", "b.wav", "c.wav")
    ledger.record_results(scored=[(1, scored("a.wav", 1.0))], reused=[])
    monkeypatch.setattr(parquet_ledger, "FLUSH_S", 0.0)
    ledger.beat(1.0)
    monkeypatch.setattr(parquet_ledger, "FLUSH_S", 30.0)
    ledger.record_results(scored=[(2, scored("b.wav", 2.0))], reused=[])
    # Killed here: no release.
    again = ledger_at(url, worker=OTHER)
    assert not again.claim()
    monkeypatch.setattr("core.records.STALE_S", 0.0)
    assert again.claim()
    assert [file.entry_id for file in again.pending_files(after=0, limit=9)] == [2, 3]
    assert again.known_hashes([sha256("a.wav")]) == {sha256("a.wav")}
    again.record_results(scored=[(2, scored("b.wav", 2.0)), (3, scored("c.wav", 3.0))], reused=[])
    monkeypatch.setattr(parquet_ledger, "BEAT_S", 0.0)
    with pytest.raises(StoreError, match="taken over"):
        ledger.beat(1.0)
    ledger.release(AuditStatus.PAUSED)  # writes what it has under its own name, and says nothing of the audit
    again.release(AuditStatus.FINISHED)
    assert sorted(rows_of(url).path) == ["a.wav", "b.wav", "b.wav", "c.wav"]
    final = ledger_at(url).audit()
    assert (final.status, final.num_done, final.num_files) == (AuditStatus.FINISHED, 3, 3)


def test_an_unfinished_listing_is_done_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_ledger, "PART_ROWS", 2)
    ledger = ledger_at(url)
    ledger.claim()
    ledger.add_entries([FoundFile(path_bytes=b"%d" % number, size_bytes=1) for number in range(5)])
    ledger.release(AuditStatus.PAUSED)
    again = ledger_at(url)
    assert (again.audit().num_files, again.audit().is_listed) == (0, False)
    again.claim()
    again.add_entries([FoundFile(path_bytes=b"new", size_bytes=1)])
    again.mark_listed()
    assert [file.path_bytes for file in again.pending_files(after=0, limit=9)] == [b"new"]


def test_what_lies_there_is_left_alone(url: str) -> None:
    filesystem, root = fsspec.core.url_to_fs(url)
    filesystem.makedirs(root)
    filesystem.pipe(f"{root}/thesis.txt", b"years of work")
    with pytest.raises(StoreError, match="holds other files"):
        ledger_at(url)
    filesystem.rm(f"{root}/thesis.txt")
    ledger_at(url).claim()
    with pytest.raises(StoreError, match="holds an audit of other work"):
        ledger_at(url, folder="/other")
    with pytest.raises(StoreError, match="holds an audit of other work"):
        ledger_at(url, channels="each")
    audit = json.loads(filesystem.cat_file(f"{root}/audit.json"))
    filesystem.pipe(f"{root}/audit.json", json.dumps(audit | {"format_version": 9}).encode())
    with pytest.raises(StoreError, match="is of format 9"):
        ledger_at(url)
    filesystem.pipe(f"{root}/audit.json", b"{")
    with pytest.raises(StoreError, match="is damaged"):
        ledger_at(url)


def test_a_damaged_part_is_named(url: str) -> None:
    ledger = listed(url, "a.wav")
    ledger.record_results(scored=[(1, scored("a.wav", 1.0))], reused=[])
    ledger.release(AuditStatus.FINISHED)
    filesystem, root = fsspec.core.url_to_fs(url)
    (part,) = filesystem.ls(f"{root}/results", detail=False)
    filesystem.pipe(part, b"PAR1 no")
    with pytest.raises(StoreError, match=r"results/00000000-aaaa.parquet in .* is damaged"):
        ledger_at(url)


def test_storage_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from core.scanning.parquet_parts import PartsFolder
    from core.store import patience

    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    url = f"file://{tmp_path}/results"
    ledger = listed(url, "a.wav")
    ledger.record_results(scored=[(1, scored("a.wav", 1.0))], reused=[])
    failures = [OSError(5, "Input/output error"), TimeoutError("slow")]
    open_ = type(ledger._place._filesystem).open

    def fails(self, *arguments, **options):
        if failures:
            raise failures.pop()
        return open_(self, *arguments, **options)

    monkeypatch.setattr(type(ledger._place._filesystem), "open", fails)
    ledger.release(AuditStatus.FINISHED)
    assert not failures
    assert list(rows_of(url).verdict) == [Verdict.SPOOF]
    assert isinstance(ledger._place, PartsFolder)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StoreError, match="cannot be used"):
        ledger_at(f"file://{tmp_path}/file/results").claim()


def test_the_command_goes_on_with_them(
    tmp_path: Path, lively_detector: Detector, write_recordings: Callable, store_url: str, capsys
) -> None:
    folder, out = tmp_path / "audio", f"file://{tmp_path}/results"
    write_recordings(folder, 3)
    assert main(["scan", str(folder), "--out", out]) == 0
    assert "finished: 3 of 3 files" in capsys.readouterr().err
    assert main(["scan", str(folder), "--out", out]) == 0
    assert "going on after 3 of 3 files" in capsys.readouterr().err
    assert len(rows_of(out)) == 3
    assert main(["scan", str(folder), "--out", out, "--channels", "each"]) == 1
    assert "other work" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_it_has_the_methods_of_the_stores_ledger() -> None:
    public = {name for name in vars(Ledger) if not name.startswith("_")}
    assert public == {name for name in vars(ParquetLedger) if not name.startswith("_")} - {"audit_id"}

"""scan: every file of a folder ends in the ledger exactly once, whatever the files and whatever happens to the worker."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import sqlalchemy as sa
from ledger_records import WORKER, make_detector
from permissions import ordinary_user

from core import detect
from core.checkpoints import Detector
from core.detect import Scorer
from core.errors import DetectorError, ProtocolError, ScanError, StoreError
from core.records import Audit, AuditStatus, ScanSettings, Verdict
from core.scanning import local_engine, scan
from core.scanning.scan import prepare_audit, resume_audit, run_audit, start_audit
from core.scanning.standby import STANDBY
from core.store.ledger import Ledger
from core.store.schema import audits, entries, recordings, scores
from core.store.store import Store

RATE_HZ = 16_000


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    return tmp_path / "audio"


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Windows of each network call so far."""
    calls: list[int] = []
    judge_windows = Scorer.judge_windows

    def counted(self: Scorer, windows):
        calls.append(len(windows))
        return judge_windows(self, windows)

    monkeypatch.setattr(Scorer, "judge_windows", counted)
    return calls


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches that take time, and a worker that beats all the time."""
    monkeypatch.setattr(detect, "BATCH_WINDOWS", 2)
    monkeypatch.setattr(scan, "BEAT_S", 0.01)
    monkeypatch.setattr(scan, "COMMIT_S", 0.01)
    judge_windows = Scorer.judge_windows

    def slowly(self: Scorer, windows):
        time.sleep(0.02)
        return judge_windows(self, windows)

    monkeypatch.setattr(Scorer, "judge_windows", slowly)


def audit_of(store: Store, folder: Path, detector: Detector, **settings: object) -> Audit:
    return run_audit(store, prepare_audit(store, str(folder), detector, ScanSettings(**settings)))


def rows_of(store: Store, audit_id: int) -> dict[str, sa.Row]:
    """Path -> entry with its hash; checks that no path is there twice and that the audit's counters are the rows'."""
    query = sa.select(entries, recordings.c.sha256).outerjoin_from(entries, recordings).where(entries.c.audit_id == audit_id)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    found = {row.path: row for row in rows}
    assert len(found) == len(rows)
    audit = store.audit(audit_id)
    done = Counter(row.verdict for row in rows if row.is_done)
    assert (audit.num_files, audit.num_done) == (len(rows), sum(done.values()))
    counters = audit.num_spoof, audit.num_inconclusive, audit.num_bona_fide, audit.num_refused
    assert counters == tuple(done[verdict] for verdict in (Verdict.SPOOF, Verdict.INCONCLUSIVE, Verdict.BONA_FIDE, Verdict.REFUSED))
    assert audit.audio_s == pytest.approx(sum(row.duration_s or 0.0 for row in rows if row.is_done))
    return found


# A folder --------------------------------------------------------------------------------------------------------


def test_every_file_has_the_scorers_score(
    store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable, network: list[int]
) -> None:
    paths = [*write_recordings(folder, 9), *write_recordings(folder / "deep" / "er", 11, first_seed=9)]
    progress: list[Audit] = []
    audit_id = prepare_audit(store, str(folder), lively_detector, ScanSettings())
    assert store.audit(audit_id).status is AuditStatus.QUEUED
    audit = run_audit(store, audit_id, on_progress=progress.append)
    assert (audit.status, audit.num_files, audit.num_done, audit.num_reused, audit.message) == (
        AuditStatus.FINISHED,
        20,
        20,
        0,
        None,
    )
    assert (audit.worker, audit.is_listed, audit.folder) == (None, True, str(folder))
    assert audit.seconds_running > 0
    assert progress[-1].num_done == 20
    rows = rows_of(store, audit.id)
    expected = {os.path.relpath(record.path, folder): record for record in Scorer(lively_detector).score_files(paths)}
    assert rows.keys() == expected.keys()
    for path, row in rows.items():
        (detection,) = expected[path].detections
        assert (row.sha256, row.verdict, row.duration_s) == (expected[path].sha256, detection.verdict, detection.duration_s)
        assert row.spoof_score == pytest.approx(detection.spoof_score, abs=1e-4)
    assert len({round(row.spoof_score, 3) for row in rows.values()}) > 15
    assert {row.folder for row in rows.values()} == {".", "deep/er"}


def test_an_empty_folder_is_finished(store: Store, folder: Path, tiny_detector: Detector) -> None:
    audit = audit_of(store, folder, tiny_detector)
    assert (audit.status, audit.num_files, audit.share_done) == (AuditStatus.FINISHED, 0, 1.0)


def test_settings_choose_the_files(store: Store, folder: Path, tiny_detector: Detector, write_recordings: Callable) -> None:
    write_recordings(folder / "a", 2)
    write_recordings(folder / ".b", 2, first_seed=2)
    (folder / "a" / "r0000.wav").rename(folder / "a" / "no ending")
    audit = audit_of(store, folder, tiny_detector)
    assert rows_of(store, audit.id).keys() == {"a/r0001.wav"}
    assert audit.message == "1 file left out by its ending: 1 without one (--all-files tries them too)."
    audit = audit_of(store, folder, tiny_detector, all_files=True)
    assert (audit.num_files, audit.message) == (2, None)
    assert audit_of(store, folder, tiny_detector, include_hidden=True).num_files == 3
    assert audit_of(store, folder, tiny_detector, include_hidden=True, pattern=".b/*2.wav").num_files == 1


# Bad files -------------------------------------------------------------------------------------------------------


def write_bad_files(folder: Path, speech_like: Callable) -> dict[bytes, str | None]:
    """A folder full of trouble; path -> the code it must be refused with, None where it must be scored."""

    def write(name: str, samples: np.ndarray, **options: object) -> None:
        soundfile.write(folder / name, samples, RATE_HZ, **options)

    (folder / "zero.wav").write_bytes(b"")
    (folder / "text.wav").write_text("Dear Sir or Madam,\n" * 50)
    write("cut.flac", speech_like(6.0, 1))
    content = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(content[: len(content) // 2])
    write("liar.wav", speech_like(3.0, 2))
    content = bytearray((folder / "liar.wav").read_bytes())
    content[4:8], content[40:44] = (10**9).to_bytes(4, "little"), (10**9 - 36).to_bytes(4, "little")
    (folder / "liar.wav").write_bytes(content)
    write("line\nbreak.wav", speech_like(3.0, 3))
    write("emoji \N{SPEAKER}.wav", speech_like(3.0, 4))
    write("latin.wav", speech_like(3.0, 5))
    os.rename(folder / "latin.wav", os.path.join(os.fsencode(folder), b"caf\xe9.wav"))
    (folder / "dangling.wav").symlink_to(folder / "nowhere.wav")
    (folder / "loop").symlink_to(folder)
    write("brief.wav", speech_like(0.2, 6))
    write("silent.wav", np.zeros(3 * RATE_HZ))
    write("tone.wav", 0.3 * np.sin(np.arange(3 * RATE_HZ) * 2 * math.pi * 440 / RATE_HZ))
    write("nan.wav", np.where(np.arange(3 * RATE_HZ) == 40_000, np.nan, speech_like(3.0, 7)), subtype="FLOAT")
    write("header only.wav", np.zeros(0))
    return {
        b"zero.wav": "empty", b"text.wav": "undecodable", b"cut.flac": None, b"liar.wav": None, b"line\nbreak.wav": None,
        "emoji \N{SPEAKER}.wav".encode(): None, b"caf\xe9.wav": None, b"dangling.wav": "unreadable", b"brief.wav": "too_short",
        b"silent.wav": "silent", b"tone.wav": "no_speech", b"nan.wav": "non_finite", b"header only.wav": "empty",
    }  # fmt: skip


def test_bad_files_are_refused_with_their_reasons(
    store: Store, folder: Path, lively_detector: Detector, speech_like: Callable
) -> None:
    expected = write_bad_files(folder, speech_like)
    audit = audit_of(store, folder, lively_detector)
    assert (audit.status, audit.num_refused) == (AuditStatus.FINISHED, sum(code is not None for code in expected.values()))
    rows = rows_of(store, audit.id)
    assert {row.path_bytes: row.reason_code for row in rows.values()} == expected
    for row in rows.values():
        is_refused = row.reason_code is not None
        assert (row.verdict == Verdict.REFUSED) is is_refused
        assert (row.spoof_score is None, bool(row.reason)) == (is_refused, is_refused)
    assert rows["caf\\xe9.wav"].path_bytes == b"caf\xe9.wav"
    with store.reading() as connection:
        warned = connection.scalars(
            sa.select(entries.c.path).join(scores, scores.c.id == entries.c.score_id).where(scores.c.warnings.contains("truncated"))
        ).all()
    assert sorted(warned) == ["cut.flac", "liar.wav"]


def test_closed_files_and_folders_are_reported(
    store: Store, folder: Path, tiny_detector: Detector, write_recordings: Callable
) -> None:
    write_recordings(folder / "open", 2)
    write_recordings(folder / "closed", 2, first_seed=2)
    (folder / "open" / "r0000.wav").chmod(0)
    (folder / "closed").chmod(0)
    with ordinary_user():
        audit = audit_of(store, folder, tiny_detector)
    (folder / "closed").chmod(0o700)
    rows = rows_of(store, audit.id)
    assert {path: row.reason_code for path, row in rows.items()} == {"open/r0000.wav": "unreadable", "open/r0001.wav": None}
    assert "permission" in rows["open/r0000.wav"].reason.lower()
    assert audit.message == "Left out: closed could not be opened (Permission denied)."


# What is known ---------------------------------------------------------------------------------------------------


def test_copies_are_scored_once_and_shown_as_such(
    store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable, network: list[int]
) -> None:
    first, other = write_recordings(folder, 2)
    (folder / "z").mkdir()
    copies = [shutil.copy(first, folder / "z" / f"{i}.wav") for i in range(3)]
    audit = audit_of(store, folder, lively_detector)
    assert (audit.num_done, audit.num_reused, sum(network)) == (5, 3, 2)
    rows = rows_of(store, audit.id)
    original = rows[first.name]
    for copy in copies:
        row = rows[f"z/{Path(copy).name}"]
        assert (row.duplicate_of, row.spoof_score, row.verdict) == (original.id, original.spoof_score, original.verdict)
    assert (original.duplicate_of, rows[other.name].duplicate_of) == (None, None)


def test_a_second_audit_scores_nothing(
    store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable, network: list[int]
) -> None:
    write_recordings(folder, 12)
    soundfile.write(folder / "silent.wav", np.zeros(32_000), RATE_HZ)
    (folder / "text.wav").write_text("no sound at all")
    first = audit_of(store, folder, lively_detector)
    assert sum(network) > 0
    network.clear()
    second = audit_of(store, folder, lively_detector)
    assert (second.id, second.num_files, second.num_reused, network) == (first.id + 1, 14, 14, [])

    def results(audit: Audit) -> dict:
        return {path: (row.verdict, row.spoof_score, row.reason, row.sha256) for path, row in rows_of(store, audit.id).items()}

    assert results(second) == results(first)


def test_a_changed_file_is_scored_again(
    store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable, speech_like: Callable, network: list[int]
) -> None:
    paths = write_recordings(folder, 5)
    before = rows_of(store, audit_of(store, folder, lively_detector).id)
    network.clear()
    soundfile.write(paths[2], speech_like(3.0, 99), RATE_HZ)
    audit = audit_of(store, folder, lively_detector)
    assert (audit.num_reused, network) == (4, [1])
    after = rows_of(store, audit.id)
    changed = [path for path in after if after[path].spoof_score != before[path].spoof_score]
    assert changed == [paths[2].name]
    expected = Scorer(lively_detector).score_file(paths[2]).detections[0].spoof_score
    assert after[paths[2].name].spoof_score == pytest.approx(expected, abs=1e-4)


def test_another_detector_scores_for_itself(
    store: Store,
    folder: Path,
    tiny_detector: Detector,
    detectors_folder: Path,
    lively_detector: Detector,
    write_recordings: Callable,
) -> None:
    write_recordings(folder, 3)
    audit_of(store, folder, lively_detector)
    audit_id = prepare_audit(store, str(folder), tiny_detector, ScanSettings())
    audit = run_audit(store, audit_id, detector=tiny_detector)  # `lively` is the installed one
    assert (audit.detector_name, audit.num_reused) == ("tiny", 0)
    for path, row in rows_of(store, audit_id).items():
        expected = Scorer(tiny_detector).score_file(folder / path).detections[0].spoof_score
        assert row.spoof_score == pytest.approx(expected, abs=1e-4)


def test_channels_by_themselves(
    store: Store, folder: Path, lively_detector: Detector, speech_like: Callable, network: list[int]
) -> None:
    stereo = np.stack([speech_like(3.0, 1), speech_like(3.0, 2)], axis=1)
    soundfile.write(folder / "a.wav", stereo, RATE_HZ)
    mixed = audit_of(store, folder, lively_detector)
    assert sum(network) == 1
    apart = audit_of(store, folder, lively_detector, channels="each")
    assert (sum(network), apart.num_reused, mixed.num_reused) == (3, 0, 0)
    assert audit_of(store, folder, lively_detector, channels="each").num_reused == 1
    with store.reading() as connection:
        found = dict(connection.execute(sa.select(scores.c.channel, scores.c.spoof_score)).all())
    assert found.keys() == {"mix", "1", "2"}
    assert rows_of(store, apart.id)["a.wav"].spoof_score == max(found["1"], found["2"])


# Labels ----------------------------------------------------------------------------------------------------------


def test_protocol_labels_are_joined_by_name(
    store: Store, folder: Path, tiny_detector: Detector, write_recordings: Callable, tmp_path: Path
) -> None:
    write_recordings(folder / "flac", 3)
    protocol = tmp_path / "protocol.txt"
    protocol.write_text("LA_1 r0000 - - bonafide\nLA_2 r0001 - A07 spoof\nLA_3 elsewhere - A08 spoof\n")
    rows = rows_of(store, audit_of(store, folder, tiny_detector, protocol=str(protocol)).id)
    labels = {path: (row.label, row.attack, row.speaker) for path, row in rows.items()}
    assert labels == {
        "flac/r0000.wav": ("bona fide", None, "LA_1"),
        "flac/r0001.wav": ("spoof", "A07", "LA_2"),
        "flac/r0002.wav": (None, None, None),
    }


def test_a_bad_protocol_makes_no_audit(store: Store, folder: Path, tiny_detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="is not there"):
        audit_of(store, folder, tiny_detector, protocol=str(tmp_path / "none.txt"))
    assert store.recent_audits() == ()


# Pausing, cancelling, going on -----------------------------------------------------------------------------------


def halfway(store: Store, wish: str) -> Callable[[Audit], None]:
    """Asks for something as soon as some files are done."""

    def ask(audit: Audit) -> None:
        if audit.num_done:
            store.request(audit.id, wish)

    return ask


@pytest.mark.usefixtures("slow")
def test_pause_and_resume(
    store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable, network: list[int]
) -> None:
    write_recordings(folder, 60)
    audit_id = prepare_audit(store, str(folder), lively_detector, ScanSettings())
    audit = run_audit(store, audit_id, on_progress=halfway(store, "pause"))
    assert (audit.status, audit.worker, audit.is_listed, audit.num_files) == (AuditStatus.PAUSED, None, True, 60)
    assert 0 < audit.num_done < 60
    before = rows_of(store, audit_id)
    assert prepare_audit(store, str(folder), lively_detector, ScanSettings()) == audit_id  # goes on with the same one
    network.clear()
    audit = run_audit(store, audit_id)
    assert (audit.status, audit.num_done, audit.num_reused) == (AuditStatus.FINISHED, 60, 0)
    after = rows_of(store, audit_id)
    assert all(after[path] == row for path, row in before.items() if row.is_done)
    num_left = sum(not row.is_done for row in before.values())
    assert num_left <= sum(network) <= 2 * num_left  # one or two windows each; nothing that was done


@pytest.mark.usefixtures("slow")
def test_cancel(store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable) -> None:
    write_recordings(folder, 60)
    audit_id = prepare_audit(store, str(folder), lively_detector, ScanSettings())
    audit = run_audit(store, audit_id, on_progress=halfway(store, "cancel"))
    assert (audit.status, audit.worker) == (AuditStatus.CANCELLED, None)
    assert 0 < audit.num_done < 60
    assert audit.finished_at is not None
    rows_of(store, audit_id)
    again = audit_of(store, folder, lively_detector)
    assert (again.id, again.num_done) == (audit_id + 1, 60)
    assert again.num_reused == audit.num_done  # what was scored before is not scored again


@pytest.mark.usefixtures("slow")
def test_ctrl_c_pauses(store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable) -> None:
    def interrupt(audit: Audit) -> None:
        if audit.num_done:
            raise KeyboardInterrupt

    write_recordings(folder, 30)
    audit_id = prepare_audit(store, str(folder), lively_detector, ScanSettings())
    audit = run_audit(store, audit_id, on_progress=interrupt)
    assert (audit.status, audit.message) == (AuditStatus.PAUSED, "Interrupted from the keyboard; run it again to go on.")
    audit = run_audit(store, audit_id)
    assert (audit.status, audit.num_done, audit.message) == (AuditStatus.FINISHED, 30, None)
    rows_of(store, audit_id)


def test_a_bug_fails_the_audit_and_is_raised(
    store: Store, folder: Path, tiny_detector: Detector, write_recordings: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a bug")

    write_recordings(folder, 3)
    audit_id = prepare_audit(store, str(folder), tiny_detector, ScanSettings())
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "judge_windows", crash)
        with pytest.raises(RuntimeError, match="a bug"):
            run_audit(store, audit_id)
    audit = store.audit(audit_id)
    assert (audit.status, audit.worker, audit.num_done) == (AuditStatus.FAILED, None, 0)
    assert "a bug" in audit.message
    assert run_audit(store, audit_id).status is AuditStatus.FINISHED


# Files that move -------------------------------------------------------------------------------------------------


def test_a_file_deleted_after_listing_is_refused(
    store: Store, folder: Path, tiny_detector: Detector, write_recordings: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_recordings(folder, 4)
    mark_listed = Ledger.mark_listed
    monkeypatch.setattr(Ledger, "mark_listed", lambda self: (mark_listed(self), paths[1].unlink()))
    audit = audit_of(store, folder, tiny_detector)
    assert (audit.status, audit.num_files, audit.num_refused) == (AuditStatus.FINISHED, 4, 1)
    row = rows_of(store, audit.id)[paths[1].name]
    assert (row.verdict, row.reason_code) == (Verdict.REFUSED, "unreadable")
    assert "no longer there" in row.reason


@pytest.mark.parametrize("event", ["deleted", "changed"])
def test_a_file_that_goes_between_hashing_and_scoring_does_not_take_its_copy_along(
    store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable, speech_like: Callable, event: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, _ = write_recordings(folder, 2)
    shutil.copy(first, folder / "z copy.wav")
    sha256_of = local_engine.sha256_of
    content = first.read_bytes()

    def hash_then_go(path: str) -> str:
        sha256 = sha256_of(path)
        if path.endswith("z copy.wav") and first.exists() and first.read_bytes() == content:
            first.unlink()
            if event == "changed":
                soundfile.write(first, speech_like(3.0, 50), RATE_HZ)
        return sha256

    monkeypatch.setattr(local_engine, "sha256_of", hash_then_go)
    audit = audit_of(store, folder, lively_detector)
    assert (audit.status, audit.num_done) == (AuditStatus.FINISHED, 3)
    rows = rows_of(store, audit.id)
    expected = Scorer(lively_detector).score_file(folder / "z copy.wav").detections[0].spoof_score
    assert rows["z copy.wav"].spoof_score == pytest.approx(expected, abs=1e-4)
    assert rows["z copy.wav"].duplicate_of is None
    if event == "deleted":
        assert rows[first.name].reason_code == "unreadable"
    else:
        expected = Scorer(lively_detector).score_file(first).detections[0].spoof_score
        assert rows[first.name].spoof_score == pytest.approx(expected, abs=1e-4)
        assert rows[first.name].sha256 != rows["z copy.wav"].sha256


def test_no_folder(store: Store, folder: Path, tiny_detector: Detector) -> None:
    for attempt in (prepare_audit, start_audit):
        with pytest.raises(ScanError, match="There is no folder"):
            attempt(store, str(folder / "none"), tiny_detector, ScanSettings())
    assert store.recent_audits() == ()


def test_a_folder_whose_own_name_is_not_utf8(store: Store, folder: Path, tiny_detector: Detector) -> None:
    odd = os.path.join(os.fsencode(folder), b"caf\xe9")
    os.mkdir(odd)
    with pytest.raises(ScanError, match="not valid UTF-8"):
        prepare_audit(store, os.fsdecode(odd), tiny_detector, ScanSettings())


def test_a_folder_that_went_fails_the_audit_until_it_is_back(
    store: Store, folder: Path, tiny_detector: Detector, write_recordings: Callable
) -> None:
    write_recordings(folder, 2)
    audit_id = prepare_audit(store, str(folder), tiny_detector, ScanSettings())
    folder.rename(folder.with_name("moved"))
    with pytest.raises(ScanError, match="There is no folder"):
        run_audit(store, audit_id)
    audit = store.audit(audit_id)
    assert (audit.status, audit.is_listed) == (AuditStatus.FAILED, False)
    assert "There is no folder" in audit.message
    folder.with_name("moved").rename(folder)
    assert run_audit(store, audit_id).num_done == 2


# Workers ---------------------------------------------------------------------------------------------------------


def test_of_two_workers_the_second_is_refused(
    store: Store, folder: Path, tiny_detector: Detector, write_recordings: Callable
) -> None:
    write_recordings(folder, 2)
    audit_id = prepare_audit(store, str(folder), tiny_detector, ScanSettings())
    Ledger(store, audit_id, WORKER).claim()
    with pytest.raises(ScanError, match=f"Another worker is scoring audit {audit_id}"):
        run_audit(store, audit_id)
    with pytest.raises(StoreError, match="another worker"):
        resume_audit(store, audit_id)
    audit = store.audit(audit_id)
    assert (audit.worker, audit.status, audit.num_done) == (WORKER, AuditStatus.RUNNING, 0)


@pytest.mark.usefixtures("slow")
def test_a_worker_that_lost_its_audit_stops_and_leaves_it_alone(
    store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable
) -> None:
    def take_over(audit: Audit) -> None:
        with store.writing() as connection:
            connection.execute(audits.update().where(audits.c.id == audit.id).values(worker=WORKER))

    write_recordings(folder, 30)
    audit_id = prepare_audit(store, str(folder), lively_detector, ScanSettings())
    with pytest.raises(StoreError, match="taken over"):
        run_audit(store, audit_id, on_progress=take_over)
    audit = store.audit(audit_id)
    assert (audit.worker, audit.status, audit.message) == (WORKER, AuditStatus.RUNNING, None)


def test_a_detector_that_is_not_installed_fails_the_audit(
    store: Store, folder: Path, tiny_detector: Detector, write_recordings: Callable
) -> None:
    write_recordings(folder, 1)
    audit_id = prepare_audit(store, str(folder), make_detector(), ScanSettings())
    with pytest.raises(DetectorError, match="No detector is called"):
        run_audit(store, audit_id)
    assert store.audit(audit_id).status is AuditStatus.FAILED


def wait_for(store: Store, audit_id: int, condition: Callable[[Audit], bool], *, seconds: float = 120.0) -> Audit:
    """The audit as soon as it fulfils a condition."""
    deadline = time.monotonic() + seconds
    while not condition(audit := store.audit(audit_id)):
        assert time.monotonic() < deadline, f"still {audit}"
        time.sleep(0.01)
    return audit


def test_a_killed_worker_loses_and_repeats_nothing(
    store: Store, folder: Path, lively_detector: Detector, speech_like: Callable, tmp_path: Path
) -> None:
    # Four windows each, so that a worker on one core is busy for seconds; telephone coding keeps the files small.
    sounds = [speech_like(10.0, seed)[::2] for seed in range(5)]
    for i in range(150):
        soundfile.write(folder / f"{i:03}.wav", np.roll(sounds[i % 5], 1_001 * i), 8_000, subtype="ULAW")
    for i in range(10):
        shutil.copy(folder / f"{i:03}.wav", folder / f"copy {i:03}.wav")
    cores = os.sched_getaffinity(0)
    STANDBY.close()
    os.sched_setaffinity(0, {min(cores)})
    try:
        audit_id = start_audit(store, str(folder), lively_detector, ScanSettings())
    finally:
        os.sched_setaffinity(0, cores)
    audit = wait_for(store, audit_id, lambda audit: audit.num_done >= 10)
    os.killpg(os.getpgid(int(audit.worker.split(":")[-2])), signal.SIGKILL)  # its supervisor too
    audit = wait_for(store, audit_id, lambda audit: audit.status is not AuditStatus.RUNNING)
    assert audit.status is AuditStatus.INTERRUPTED
    assert 10 <= audit.num_done < 160
    before = rows_of(store, audit_id)

    resume_audit(store, audit_id)
    audit = wait_for(store, audit_id, lambda audit: audit.status not in (AuditStatus.QUEUED, AuditStatus.RUNNING))
    assert (audit.status, audit.num_files, audit.num_done) == (AuditStatus.FINISHED, 160, 160)
    found = rows_of(store, audit_id)
    assert all(found[path] == row for path, row in before.items() if row.is_done)

    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    whole = audit_of(other, folder, lively_detector)
    expected = rows_of(other, whole.id)
    assert found.keys() == expected.keys()
    for path, row in expected.items():
        assert (found[path].verdict, found[path].sha256) == (row.verdict, row.sha256)
        assert found[path].spoof_score == pytest.approx(row.spoof_score, abs=1e-4)
    counters = "num_spoof", "num_inconclusive", "num_bona_fide", "num_refused", "num_done", "num_files", "num_reused"
    assert [getattr(audit, name) for name in counters] == [getattr(whole, name) for name in counters]
    assert audit.audio_s == pytest.approx(whole.audio_s)
    for each in (store, other):
        with each.reading() as connection:
            assert [connection.scalar(sa.select(sa.func.count()).select_from(t)) for t in (recordings, scores)] == [150, 150]

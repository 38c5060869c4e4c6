"""ray_scan: a cluster gives what one machine gives, to the bit, whatever dies; and failures to reach one are sentences.

The cluster is Ray's own for tests: two nodes of one core on this machine.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
import sqlalchemy as sa

from core.checkpoints import Detector, load_detector
from core.commands.program import main
from core.errors import DetectorError, ScanError
from core.records import Audit, AuditStatus, ScanSettings, Verdict
from core.scanning import scan
from core.scanning.cluster import connection, decoding
from core.scanning.cluster.decoding import PIECE_WINDOWS, Piece
from core.scanning.cluster.parcels import pack, unpack
from core.scanning.ray_scan import RayEngine, ray_engine
from core.scanning.scan import prepare_audit, run_audit
from core.store.schema import entries, recordings, scores, segments
from core.store.store import Store

pytest.importorskip("ray", reason="needs Ray: pip install -r requirements-cluster.txt")
from core.scanning.cluster import flow  # needs Ray

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[1]
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the nodes inherit: a cache that is not the driver's, so that the detector must travel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARWITNESS_CACHE", str(tmp_path_factory.mktemp("nodes' cache")))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def cluster(_environment: None) -> Iterator[object]:
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def engine(cluster, _lively_folder: Path, _cache: Path) -> Iterator[RayEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARWITNESS_CACHE", str(_cache))
        with ray_engine(load_detector(_lively_folder / "lively"), address=cluster.address) as engine:
            yield engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    return tmp_path / "audio"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks, and a driver that writes and tells all the time."""
    monkeypatch.setattr(flow, "CHUNK_FILES", 4)
    monkeypatch.setattr(scan, "BEAT_S", 0.01)
    monkeypatch.setattr(scan, "COMMIT_S", 0.01)


def results_of(store: Store, audit_id: int) -> dict[str, tuple]:
    """Path, and channel from the second on -> all that was found, scores and segments to the bit."""
    of_entry = "verdict", "spoof_score", "probability", "duration_s", "codec", "reason_code", "reason", "training_distance"
    query = sa.select(
        entries.c.path,
        *(entries.c[name] for name in of_entry),
        recordings.c.sha256,
        *(scores.c[name] for name in ("channel", "num_segments", "quality", "warnings", "training_distance")),
        scores.c.spoof_score.label("channel_score"),
        segments.c.start_s,
        segments.c.end_s,
        segments.c.spoof_score.label("segment_scores"),
    )
    query = query.select_from(entries).outerjoin(recordings).outerjoin(scores, scores.c.recording_id == entries.c.recording_id)
    query = query.outerjoin(segments, segments.c.score_id == scores.c.id).where(entries.c.audit_id == audit_id)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    found = {row.path if row.channel in (None, "mix", "1") else f"{row.path} {row.channel}": tuple(row) for row in rows}
    assert len(found) == len(rows)
    return found


def counters_of(audit: Audit) -> tuple:
    names = "num_files", "num_done", "num_spoof", "num_inconclusive", "num_bona_fide", "num_refused", "num_reused"
    return audit.status, *(getattr(audit, name) for name in names)


def audited(store: Store, folder: str | Path, detector: Detector, engine: RayEngine | None, **options) -> Audit:
    settings = ScanSettings(channels=options.pop("channels", "mix"))
    audit_id = prepare_audit(store, str(folder), detector, settings)
    return run_audit(store, audit_id, detector=detector, engine=engine, **options)


def fill(folder: Path, speech_like: Callable) -> None:
    """Thirteen recordings of every kind: short, long, stereo, telephone; copies, and files that cannot be judged."""
    for seed in range(6):
        soundfile.write(folder / f"r{seed}.wav", speech_like(1.0 + 1.7 * seed, seed), RATE_HZ)
    soundfile.write(folder / "stereo.flac", np.stack([speech_like(5.0, 7), speech_like(5.0, 8)], axis=1), RATE_HZ)
    soundfile.write(folder / "telephone.wav", speech_like(6.0, 9)[::2], 8_000, subtype="ULAW")
    long = np.concatenate([speech_like(10.0, seed) for seed in range(20, 29)])
    soundfile.write(folder / "long.ogg", long, RATE_HZ)
    soundfile.write(folder / "silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    (folder / "below").mkdir()
    shutil.copy(folder / "r1.wav", folder / "below" / "copy of r1.wav")
    (folder / "text.wav").write_text("not audio")
    (folder / "empty.wav").touch()
    assert len(long) / RATE_HZ / 2 - 1 > PIECE_WINDOWS


# The same as one machine ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", ["mix", "each"])
def test_every_score_is_the_local_engines(
    engine: RayEngine,
    any_store: Store,
    folder: Path,
    lively_detector: Detector,
    speech_like: Callable,
    tmp_path: Path,
    channels: str,
) -> None:
    fill(folder, speech_like)
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    expected = audited(other, folder, lively_detector, None, channels=channels)
    audit = audited(any_store, folder, lively_detector, engine, channels=channels)
    assert counters_of(audit) == counters_of(expected)
    assert (audit.status, audit.num_done, audit.num_refused, audit.num_reused) == (AuditStatus.FINISHED, 13, 3, 1)
    assert results_of(any_store, audit.id) == results_of(other, expected.id)
    again = audited(any_store, folder, lively_detector, engine, channels=channels)
    assert (again.num_done, again.num_reused) == (13, 12)  # the empty file has no content


def test_recordings_on_storage_that_only_fsspec_reaches(
    engine: RayEngine, store: Store, folder: Path, lively_detector: Detector, speech_like: Callable, tmp_path: Path
) -> None:
    fill(folder, speech_like)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    expected = audited(other, folder, lively_detector, None)
    audit = audited(store, f"zip://::file://{tmp_path}/set.zip", lively_detector, engine)
    assert counters_of(audit) == counters_of(expected)
    assert results_of(store, audit.id) == results_of(other, expected.id)
    with pytest.raises(ScanError, match="--engine ray"):
        run_audit(store, audit.id)
    with pytest.raises(ScanError, match="--engine ray"):
        scan.resume_audit(store, audit.id)


@pytest.mark.usefixtures("quick")
def test_no_more_is_in_flight_than_is_bounded(
    engine: RayEngine, store: Store, folder: Path, lively_detector: Detector, speech_like: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[int, int, int]] = []
    wait = flow.Flow._wait

    def watched(self: flow.Flow) -> None:
        given = sum(member.num_pieces for member in self.fleet.members)
        held.append((len(self._pieces), given, len(self._chunks)))
        wait(self)

    monkeypatch.setattr(flow.Flow, "_wait", watched)
    long = np.tile(speech_like(10.0), 80)
    for number in range(4):  # of 400 windows, 100 MB each: the nodes' shared memory holds 80
        soundfile.write(folder / f"{number}.flac", np.roll(long, 1000 * number), RATE_HZ)
    audit = audited(store, folder, lively_detector, engine)
    assert (audit.status, audit.num_done, audit.num_refused) == (AuditStatus.FINISHED, 4, 0)
    assert max(pieces for pieces, _, _ in held) <= 2
    assert max(given for _, given, _ in held) <= 4
    assert max(chunks for _, _, chunks in held) <= 4


# What dies --------------------------------------------------------------------------------------------------------


def processes(cluster, title: str) -> list[psutil.Process]:
    """The nodes' processes that Ray calls so."""
    raylets = [info.process for node in cluster.list_all_nodes() for info in node.all_processes["raylet"]]
    found = [child for raylet in raylets for child in psutil.Process(raylet.pid).children(recursive=True)]
    return [process for process in found if process.is_running() and any(title in word for word in process.cmdline()[:1])]


def write_many(folder: Path, speech_like: Callable, num: int = 96) -> None:
    sounds = [speech_like(10.0, seed)[::2] for seed in range(4)]
    for number in range(num):
        soundfile.write(folder / f"{number:03}.wav", np.roll(sounds[number % 4], 1_001 * number), 8_000, subtype="ULAW")


def test_what_comes_back_together_with_its_chunks_end_is_let_go(engine: RayEngine) -> None:
    flowing = flow.Flow(engine.fleet, ledger=None, audit=None, stop=threading.Event(), results=None)
    one, other = flow.ray.put("one"), flow.ray.put("other")
    flowing._handlers = {one: lambda: flowing._handlers.pop(other), other: lambda: flowing._handlers.pop(one)}
    flowing._wait()
    assert not flowing._handlers


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("what", ["actor", "task", "node"])
def test_what_is_killed_midway_loses_and_repeats_nothing(
    engine: RayEngine,
    cluster,
    store: Store,
    folder: Path,
    lively_detector: Detector,
    speech_like: Callable,
    tmp_path: Path,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_many(folder, speech_like)
    killed: list[object] = []
    if what == "node":
        node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        hash_more = flow.Flow._hash_more
        there = lambda: any(member.node_id == node.node_id and member.is_ready for member in engine.fleet.members)  # noqa: E731
        monkeypatch.setattr(flow.Flow, "_hash_more", lambda self: hash_more(self) if self._num_hashing or there() else None)

    def kill(audit: Audit) -> None:
        if killed or audit.num_done < 8:
            return
        if what == "node":
            if any(member.node_id == node.node_id and member.num_pieces for member in engine.fleet.members):
                killed.append(node)
                cluster.remove_node(node, allow_graceful=False)
            return
        for process in processes(cluster, "ray::ScoringActor" if what == "actor" else "ray::decode_files")[:1]:
            killed.append(process)
            process.kill()

    audit = audited(store, folder, lively_detector, engine, on_progress=kill)
    assert killed
    assert (audit.status, audit.num_done, audit.num_refused, audit.num_reused) == (AuditStatus.FINISHED, 96, 0, 0)
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    expected = audited(other, folder, lively_detector, None)
    assert counters_of(audit) == counters_of(expected)
    assert results_of(store, audit.id) == results_of(other, expected.id)


def test_a_killed_driver_loses_and_repeats_nothing(
    cluster, store: Store, folder: Path, lively_detector: Detector, speech_like: Callable, tmp_path: Path
) -> None:
    write_many(folder, speech_like, 240)
    command = [sys.executable, "-m", "core", "scan", str(folder), "--engine", "ray", "--address", cluster.address]
    driver = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (found := store.recent_audits(1)) or found[0].num_done < 8:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    while (audit := store.recent_audits(1)[0]).status is AuditStatus.RUNNING:  # what it supervised ends a moment later
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (audit.status, audit.num_done < 240) == (AuditStatus.INTERRUPTED, True)
    before = {path: row for path, row in results_of(store, audit.id).items() if row[1]}
    assert len(before) == audit.num_done
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert f"going on after {len(before)} of 240 files" in again.stderr
    assert store.recent_audits(9)[0].id == audit.id
    found = results_of(store, audit.id)
    assert {path: found[path] for path in before} == before
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    assert found == results_of(other, audited(other, folder, lively_detector, None).id)


@pytest.mark.usefixtures("quick")
def test_a_file_that_kills_every_process_is_refused_and_the_others_are_not(
    engine: RayEngine, store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable, monkeypatch, caplog
) -> None:
    decode_files = decoding.decode_files

    def poisoned(folder: str, paths: tuple[bytes, ...], channels: str, window_samples: int) -> Iterator[Piece]:
        if any(b"poison" in path for path in paths):
            os._exit(1)
        yield from decode_files(folder, paths, channels, window_samples)

    first, *_ = write_recordings(folder, 6)
    soundfile.write(folder / "poison.wav", soundfile.read(first)[0][::-1], RATE_HZ)
    monkeypatch.setattr(flow, "decode_files", poisoned)
    audit = audited(store, folder, lively_detector, engine)
    assert (audit.status, audit.num_done, audit.num_refused) == (AuditStatus.FINISHED, 7, 1)
    row = results_of(store, audit.id)["poison.wav"]
    assert (row[1], row[6]) == (Verdict.REFUSED, "undecodable")
    assert "ended the process 3 times" in row[7]
    assert "poison.wav is given up" in caplog.text


def test_a_bug_on_a_node_fails_the_audit_and_is_raised(
    engine: RayEngine, store: Store, folder: Path, lively_detector: Detector, write_recordings: Callable, monkeypatch
) -> None:
    def buggy(folder: str, paths: tuple[bytes, ...], channels: str, window_samples: int) -> Iterator[Piece]:
        yield from ()
        raise KeyError("a bug")

    write_recordings(folder, 2)
    with monkeypatch.context() as patch:
        patch.setattr(flow, "decode_files", buggy)
        with pytest.raises(KeyError, match="a bug"):
            audited(store, folder, lively_detector, engine)
    (audit,) = store.recent_audits(1)
    assert audit.status is AuditStatus.FAILED
    assert run_audit(store, audit.id, detector=lively_detector, engine=engine).status is AuditStatus.FINISHED


def test_pause_and_resume_on_the_other_engine(
    engine: RayEngine, store: Store, folder: Path, lively_detector: Detector, speech_like: Callable, quick: None
) -> None:
    write_many(folder, speech_like, 48)
    pause = lambda audit: store.request(audit.id, "pause") if audit.num_done else None  # noqa: E731
    audit = audited(store, folder, lively_detector, engine, on_progress=pause)
    assert audit.status is AuditStatus.PAUSED
    assert 0 < audit.num_done < 48
    audit = run_audit(store, audit.id, detector=lively_detector)
    assert (audit.status, audit.num_done, audit.num_reused) == (AuditStatus.FINISHED, 48, 0)
    results_of(store, audit.id)


def test_results_to_parquet_by_the_command(
    cluster, folder: Path, lively_detector: Detector, speech_like: Callable, tmp_path: Path, capsys, store_url: str
) -> None:
    import pandas as pd

    fill(folder, speech_like)
    out = f"file://{tmp_path}/results"
    handler = signal.getsignal(signal.SIGTERM)
    # The engine of the other tests is this process's: the command is a process of its own.
    command = [sys.executable, "-m", "core", "scan", str(folder), "--engine", "ray", "--address", cluster.address, "--out", out]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert main(["scan", str(folder), "--out", str(tmp_path / "local.parquet")]) == 0
    signal.signal(signal.SIGTERM, handler)
    names = [
        "path",
        "sha256",
        "channel",
        "verdict",
        "spoof_score",
        "probability",
        "duration_s",
        "num_segments",
        "codec",
        "warnings",
    ]
    names += ["duplicate_of", "reason"]
    found, expected = (pd.read_parquet(path)[names] for path in (tmp_path / "results" / "results", tmp_path / "local.parquet"))
    order = lambda frame: frame.sort_values("path").reset_index(drop=True)  # noqa: E731
    # A file without content has no recording in the store, and so no length in its export.
    pd.testing.assert_frame_equal(order(found), order(expected.fillna({"duration_s": 0.0})), check_exact=True)
    assert run.stderr.count("refused") == 1
    assert not (tmp_path / "store").exists() or Store(store_url).recent_audits(2)[1:] == ()


# What cannot be reached -------------------------------------------------------------------------------------------


def test_without_ray_it_says_how_to_install_it(folder: Path, tiny_detector: Detector, store_url: str, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["scan", str(folder), "--engine", "ray"]) == 1
    assert "pip install -r requirements-cluster.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:9", "The Ray cluster at 127.0.0.1:9 does not answer: Connection refused"),
        ("nowhere.invalid:6379", "The Ray cluster at nowhere.invalid:6379 does not answer: "),
        ("127.0.0.1", "expected HOST:PORT"),
        ("127.0.0.1:99999", "expected HOST:PORT"),
        ("ray://127.0.0.1:10001", "expected HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster(address: str, words: str, folder: Path, tiny_detector: Detector, store_url, capsys) -> None:
    started = time.monotonic()
    assert main(["scan", str(folder), "--engine", "ray", "--address", address]) == 1
    assert words in capsys.readouterr().err
    assert time.monotonic() - started < 10
    assert not Store(store_url).recent_audits(1)


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_an_address_of_something_else(
    says: bytes, folder: Path, tiny_detector: Detector, store_url: str, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        talker = threading.Thread(target=lambda: server.accept()[0].sendall(says) if says else None, daemon=True)
        talker.start()
        assert main(["scan", str(folder), "--engine", "ray", "--address", address]) == 1
    words = "is not the head of a Ray cluster" if says else "does not answer: no answer within 1 s"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--address", "a:1"], "add --engine ray"),
        (["--gpus", "1"], "add --engine ray"),
        (["--engine", "ray", "--device", "cuda"], "--gpus says how many"),
        (["--engine", "ray", "--gpus", "-1"], "expected a number above 0"),
        (["--out", "memory://a", "--db", "sqlite:///a.db"], "takes the place of a store"),
    ],
)
def test_wrong_combinations(words: list[str], sentence: str, folder: Path, tiny_detector: Detector, store_url: str, capsys) -> None:
    assert main(["scan", str(folder), *words]) == 1
    assert sentence in capsys.readouterr().err


def test_gpus_that_no_node_has(engine: RayEngine, lively_detector: Detector) -> None:
    from core.scanning.cluster.fleet import Fleet

    with pytest.raises(ScanError, match="no node of the cluster offers a GPU"):
        Fleet(lively_detector, gpus=1.0).tend()


def test_a_machine_that_does_not_see_the_folder_refuses_no_file(tmp_path: Path) -> None:
    for task in (
        lambda: decoding.hash_files(str(tmp_path / "none"), (b"a.wav",)),
        lambda: next(decoding.decode_files(str(tmp_path / "none"), (b"a.wav",), "mix", 64_000)),
    ):
        with pytest.raises(ScanError, match="does not see the folder"):
            task()


# Parcels ----------------------------------------------------------------------------------------------------------


def test_a_detector_travels_whole(lively_detector: Detector, tmp_path: Path, monkeypatch) -> None:
    parcel = pack(lively_detector)
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path))
    for _ in range(2):
        detector = unpack(parcel)
        assert detector.hash == lively_detector.hash
        assert detector.manifest == lively_detector.manifest
    (exported,) = tmp_path.glob("*.onnx")
    assert exported.read_bytes() == parcel.networks[0]
    (detector.folder / "detector.json").unlink()  # what a full disk left
    assert unpack(parcel).hash == lively_detector.hash
    text = (detector.folder / "detector.json").read_text()
    (detector.folder / "detector.json").write_text(text.replace("lively", "other"))
    with pytest.raises(DetectorError, match="delete that folder"):
        unpack(parcel)


def test_pieces_hold_every_window_with_sound_once(folder: Path, lively_detector: Detector, speech_like: Callable) -> None:
    fill(folder, speech_like)
    names = tuple(path.name.encode() for path in sorted(folder.glob("*.*")))
    pieces = list(decoding.decode_files(str(folder), names, "mix", 64_000))
    assert all(len(piece.windows) <= PIECE_WINDOWS for piece in pieces)
    places = [place for piece in pieces for place in piece.places]
    sketches = dict(sketch for piece in pieces for sketch in piece.sketches)
    assert len(places) == len(set(places)) == sum(len(piece.windows) for piece in pieces)
    assert sorted(sketches) == list(range(len(names)))
    for number, name in enumerate(names):
        num_windows = len(sketches[number].channels[0].starts)
        assert sum(place[0] == number for place in places) <= num_windows
        if name == b"long.ogg":
            assert num_windows == math.ceil((90.0 - 4.0) / 2.0) + 1

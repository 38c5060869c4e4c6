"""Damaged files and files made to exhaust: each is refused or decoded, none ends or holds up the process. A few of 10,000 cases."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from core import native_audio
from core.audio import AudioReader, sha256_of
from core.errors import REFUSAL_CODES, AudioRefusal
from core.hostile_text import one_line
from core.native_audio import NativeReader, max_duration_s, probe
from core.records import AuditStatus, ScanSettings
from core.scanning.fuzz import case_of, run_cases, table, whole_recordings, with_ogg_checksums
from core.scanning.scan import prepare_audit, run_audit
from core.store.triage import entry_detail, failures


def test_damaged_recordings_are_decoded_or_refused() -> None:
    outcomes = list(run_cases(range(400), seed=1))
    assert [outcome.number for outcome in outcomes] == list(range(400))
    assert {outcome.end for outcome in outcomes} <= {"decoded", *REFUSAL_CODES}, [o for o in outcomes if o.words]
    assert {"decoded", "undecodable", "too_short"} < {outcome.end for outcome in outcomes}
    assert {outcome.format for outcome in outcomes} == set(whole_recordings())


def test_crashes_hangs_and_failures_are_counted() -> None:
    ends = {2: "crash", 5: "hang", 7: "error"}
    number = iter(range(100))

    def decode(path: Path) -> str:
        end = ends.get(int(path.stat().st_size and next(number)))
        if end == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        while end == "hang":
            time.sleep(1)
        if end == "error":
            raise KeyError("planted")
        return "decoded"

    # The counter starts again in each forked process: crash at 2, then 2 again from there.
    outcomes = list(run_cases(range(6), seed=0, hang_s=1.0, decode=decode))
    assert [outcome.end for outcome in outcomes] == ["decoded", "decoded", "crash"] * 2
    del ends[2]
    outcomes = list(run_cases(range(14), seed=0, hang_s=1.0, decode=decode))
    assert [outcome.end for outcome in outcomes] == [*["decoded"] * 5, "hang"] * 2 + ["decoded"] * 2
    del ends[5]
    outcomes = list(run_cases(range(9), seed=0, decode=decode))
    assert [outcome.end for outcome in outcomes] == [*["decoded"] * 7, "error", "decoded"]
    assert outcomes[7].words == "KeyError('planted')"
    assert table(outcomes).splitlines()[-1].split() == ["all", "8", "0", "1", "0"]


def test_a_case_can_be_made_again() -> None:
    whole = whole_recordings()
    assert case_of(17, whole, 3) == case_of(17, whole, 3)
    assert case_of(17, whole, 3) != case_of(17, whole, 4)
    assert all(with_ogg_checksums(whole[ending]) == whole[ending] for ending in ("ogg", "opus"))
    broken = bytearray(whole["ogg"])
    broken[22] ^= 1
    assert with_ogg_checksums(broken) == whole["ogg"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", tmp_path, Path("/dev/zero")):
        for read in (sha256_of, probe, AudioReader):
            with pytest.raises(AudioRefusal, match="It is no file but a folder, a pipe, a socket or a device") as refusal:
                read(path)
            assert refusal.value.code == "unreadable"


def test_a_small_file_that_expands_to_hours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.flac"
    monkeypatch.setattr(native_audio, "_FREE_S", 60.0)  # in place of an hour
    with soundfile.SoundFile(path, "w", 8_000, 1) as file:
        for _ in range(9):
            file.write(np.zeros(8_000 * 30))
    assert path.stat().st_size < 30_000  # 270 s
    with pytest.raises(AudioRefusal, match="bytes decode to more than") as refusal:
        for _ in NativeReader(path):
            pass
    assert refusal.value.code == "too_long"


def test_a_small_file_of_many_channels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "wide.flac"
    monkeypatch.setattr(native_audio, "_FREE_S", 60.0)
    monkeypatch.setattr(native_audio, "_MAX_VALUES_PER_S", 10_000)  # in place of 400,000
    with soundfile.SoundFile(path, "w", 192_000, 8) as file:
        for _ in range(4):
            file.write(np.zeros((192_000 * 5, 8)))
    assert path.stat().st_size < 100_000  # 20 s, 31 million values where 1,000 s would have 10 million
    with pytest.raises(AudioRefusal, match="bytes decode to more than") as refusal:
        for _ in NativeReader(path):
            pass
    assert refusal.value.code == "too_long"


def test_how_long_a_file_may_be() -> None:
    assert max_duration_s(1_000) == 3_600
    assert max_duration_s(4_320_000) == 43_200  # ten hours at 6 kbit/s are 27 MB
    assert max_duration_s(10**10) == 24 * 3_600


def test_headers_that_ask_for_too_much(tmp_path: Path) -> None:
    many = tmp_path / "many.wav"
    soundfile.write(many, np.zeros((100, 65)), 16_000)
    with pytest.raises(AudioRefusal, match="declares 65 channels; expected 1 to 64"):
        probe(many)
    wide = tmp_path / "wide.wav"
    soundfile.write(wide, np.zeros((200_000, 64), dtype=np.float32), 384_000)
    blocks = [block.samples for block in NativeReader(wide)]
    assert max(block.size for block in blocks) <= native_audio.MAX_BLOCK_VALUES
    assert sum(block.shape[1] for block in blocks) == 200_000


def test_eight_channels_by_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "surround.mka"
    loudness = np.arange(1, 9, dtype=np.float32) / 10
    tone = np.sin(np.arange(48_000) / 20).astype(np.float32)
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("pcm_f32le", rate=48_000, layout="7.1")
        frame = av.AudioFrame.from_ndarray((tone[:, None] * loudness).reshape(1, -1), format="flt", layout="7.1")
        frame.sample_rate = 48_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    decoded = np.concatenate([block.samples for block in NativeReader(path)], axis=1)
    assert np.allclose(decoded, loudness[:, None] * tone, atol=1e-6)


def test_names_in_a_terminal() -> None:
    assert one_line("a\x1b[2J\n\u202eb\u00e4" + os.fsdecode(b"\xff")) == r"a\x1b[2J\n\u202ebä\udcff"


def test_an_audit_of_a_hostile_folder(tmp_path: Path, store, tiny_detector, write_recordings) -> None:
    folder, secret = tmp_path / "calls", tmp_path / "secret"
    (recording,) = write_recordings(folder, 1)
    write_recordings(secret, 1, first_seed=7)
    names = ["line\nbreak.wav", "\u202egnp.wav", "\x1b[31mred.wav", os.fsdecode(b"\xff\xfe.wav"), "<script>alert(1)<b>.wav"]
    for name in names:
        os.link(folder / recording, os.fsencode(folder / name))
    os.mkfifo(folder / "pipe.wav")
    (folder / "\x1b[2Jout").symlink_to(secret)
    (folder / "out.wav").symlink_to(next(secret.iterdir()))
    (folder / "loop").symlink_to(folder)
    audit = run_audit(store, prepare_audit(store, str(folder), tiny_detector, ScanSettings()))
    assert (audit.status, audit.num_files, audit.num_done, audit.num_refused) == (AuditStatus.FINISHED, 7, 7, 1)
    assert audit.message == r"Left out: \x1b[2Jout is a link that leads out of the folder, and 1 more."
    (refused,) = failures(store, audit.id)
    reason = entry_detail(store, refused.entry_id).detections[0].reason
    assert (refused.path, reason) == ("pipe.wav", "It is no file but a folder, a pipe, a socket or a device.")


@pytest.mark.parametrize(
    "name", ["line\nbreak.wav", "\u202egnp.wav", "\x1b[31mred.wav", os.fsdecode(b"\xff\xfe.wav"), "a" * 250 + ".wav"]
)
def test_odd_names_open(tmp_path: Path, name: str) -> None:
    soundfile.write(os.fsencode(tmp_path / name), 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    assert sum(block.shape[1] for block in AudioReader(tmp_path / name)) == 16_000


def test_a_path_longer_than_the_system_takes_is_refused() -> None:
    with pytest.raises(AudioRefusal, match="could not be opened"):
        sha256_of("/" + "a/" * 2_100 + "x.wav")

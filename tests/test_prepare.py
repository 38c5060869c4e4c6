"""training.prepare: packed samples are the decoded ones, resumed equals uninterrupted, and nothing half-written looks finished."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile

from core.audio import load
from core.errors import CoreError
from tests.corpora import write_asvspoof2019, write_tone, zipped
from training import packing
from training.__main__ import main
from training.data import load_split, to_int16
from training.prepare import Progress, prepare
from training.prepare_command import progress_line
from training.prepared import read_manifest, verify
from training.sources import SourceOptions

ROOT = Path(__file__).parents[1]
LOST_SYNC = ROOT.parent / "shared" / "fixtures" / "flac_lost_sync"


def quiet(source: Path, out: Path, options: SourceOptions | None = None, **more) -> dict:
    return prepare(source, out, options, **{"num_workers": 0, "say": lambda _: None, **more})


def contents(out: Path) -> dict[str, object]:
    """What must not depend on how the work was interrupted: every byte but the time of making."""
    manifest = json.loads((out / "manifest.json").read_text())
    manifest.pop("made_at")
    assert {path.name for path in out.iterdir()} == {"samples.i16", "index.parquet", "manifest.json"}
    return {
        "samples": (out / "samples.i16").read_bytes(),
        "index": (out / "index.parquet").read_bytes(),
        "manifest": manifest,
    }


def test_samples_index_and_manifest(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus")
    said: list[str] = []
    manifest = quiet(folder, tmp_path / "out", say=said.append)
    index = pd.read_parquet(tmp_path / "out" / "index.parquet")
    names = "utterance path label attack speaker corpus split environment group family known_system start num_samples"
    assert list(index.columns) == [*names.split(), "sha256", "audio_sha256"]
    assert index["known_system"].dtype == "boolean"
    assert list(index["split"]) == ["train"] * 4 + ["dev"] * 4 + ["test"] * 4
    samples = np.fromfile(tmp_path / "out" / "samples.i16", dtype="<i2")
    assert len(samples) == index["num_samples"].sum()
    for row in index.itertuples():
        # A FLAC of 16 bits at 16 kHz comes through unchanged.
        native, _ = soundfile.read(row.path, dtype="int16")
        kept = samples[row.start : row.start + row.num_samples]
        assert np.array_equal(kept, native)
        assert row.sha256 == hashlib.sha256(Path(row.path).read_bytes()).hexdigest()
        assert row.audio_sha256 == hashlib.sha256(native.tobytes()).hexdigest()
        assert row.group == ("A01" if row.label == "spoof" else "bona fide")
    lines = "".join(f"{row.utterance} {row.label} {row.audio_sha256}\n" for row in index[index["split"] == "dev"].itertuples())
    assert manifest["data_hash"]["dev"] == hashlib.sha256(lines.encode()).hexdigest()
    assert manifest["counts"] == {split: {"bona fide": 2, "spoof": 2} for split in ("train", "dev", "test")}
    assert manifest == read_manifest(tmp_path / "out")
    assert "train: 2 bona fide + 2 spoof: incomplete, the official 2,580 bona fide + 22,800 spoof." in said
    split = load_split(tmp_path / "out", "dev")
    assert (split.data_hash, len(split)) == (manifest["data_hash"]["dev"], 4)
    assert np.array_equal(split.recording(1).numpy(), samples[index["start"][5] :][: index["num_samples"][5]])


def test_another_rate_and_two_channels_come_as_core_decodes_them(tmp_path: Path) -> None:
    for number, label in enumerate(("real", "fake")):
        path = write_tone(tmp_path / "in" / "train" / label / "s" / "1.wav", number, rate_hz=44_100)
        soundfile.write(path, np.stack([soundfile.read(path)[0]] * 2, axis=1) * [1.0, 0.5], 44_100)
    quiet(tmp_path / "in", tmp_path / "out")
    split = load_split(tmp_path / "out", "train")
    for number, path in enumerate(split.index["path"]):
        assert np.array_equal(split.recording(number).numpy(), to_int16(load(path)[0]).numpy())


def test_a_zip_is_read_in_place_and_gives_the_same(corpus: Path, tmp_path: Path) -> None:
    sample = corpus / "asvspoof2019_sample"
    archive = zipped(sample, tmp_path / "LA.zip")
    quiet(sample, tmp_path / "folder")
    manifest = quiet(archive, tmp_path / "zip")
    assert (tmp_path / "zip" / "samples.i16").read_bytes() == (tmp_path / "folder" / "samples.i16").read_bytes()
    one, two = (pd.read_parquet(tmp_path / name / "index.parquet") for name in ("folder", "zip"))
    pd.testing.assert_frame_equal(one.drop(columns="path"), two.drop(columns="path"))
    assert two["path"][0] == f"{archive}!{Path(one['path'][0]).relative_to(sample)}"
    assert manifest["counts"] == {"train": {"bona fide": 60, "spoof": 51}, "dev": {"bona fide": 53, "spoof": 52}}
    assert verify(tmp_path / "zip", say=lambda _: None) == 216


def test_flac_with_lost_sync_is_decoded(tmp_path: Path) -> None:
    if not LOST_SYNC.is_dir():
        pytest.skip("needs the fixtures")
    table = pd.read_csv(LOST_SYNC / "files.csv")
    rows = [f"{LOST_SYNC / row.file},{row.label},{row.file},test" for row in table.itertuples()]
    (tmp_path / "list.csv").write_text("path,label,speaker,split\n" + "\n".join(rows) + "\n")
    for file in table["file"]:
        with pytest.raises(soundfile.LibsndfileError):
            soundfile.read(LOST_SYNC / file)
    manifest = quiet(tmp_path / "list.csv", tmp_path / "out")
    assert manifest["checks"]["undecodable"]["count"] == 0
    index = pd.read_parquet(tmp_path / "out" / "index.parquet")
    np.testing.assert_allclose(index["num_samples"] / 16_000, table["seconds"], atol=0.01)


SLOW = """
import sys, time
from pathlib import Path
from training import packing, prepare
packing._FLUSH_EVERY_S = prepare._TOLD_EVERY_S = 0.0
if __name__ == "__main__":
    prepare.prepare(Path(sys.argv[1]), Path(sys.argv[2]), num_workers=int(sys.argv[3]), on_progress=lambda _: time.sleep(0.02))
"""


def test_killed_midway_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus", num=40)
    quiet(folder, tmp_path / "whole")
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, str(tmp_path / "slow.py"), str(folder), str(tmp_path / "out"), "2"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    journal, until = tmp_path / "out" / "journal.jsonl", time.monotonic() + 180
    while not journal.exists() or journal.read_bytes().count(b"\n") < 20:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # Workers end with their parent (others, such as Python's resource tracker, too).
    assert not psutil.wait_procs(children, timeout=20)[1]
    num_lines = journal.read_bytes().count(b"\n")
    assert 20 <= num_lines < 121
    assert not (tmp_path / "out" / "manifest.json").exists()
    with pytest.raises(CoreError, match=r"not a finished preparation\. Run the same `prepare` again"):
        read_manifest(tmp_path / "out")
    done: list[Progress] = []
    quiet(folder, tmp_path / "out", on_progress=done.append)
    assert done[0].num_done >= num_lines
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def interrupted(folder: Path, out: Path, *, after: int) -> None:
    """A preparation that stops after some recordings, all of which reached the disk."""

    def stop(progress: Progress) -> None:
        if progress.num_done == after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.prepare._TOLD_EVERY_S", 0.0)
        patch.setattr(packing, "_FLUSH_EVERY_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            quiet(folder, out, on_progress=stop)


def damage_cut_line(out: Path) -> None:
    journal = (out / "journal.jsonl").read_bytes()
    (out / "journal.jsonl").write_bytes(journal[:-20])


def damage_cut_header(out: Path) -> None:
    (out / "journal.jsonl").write_bytes((out / "journal.jsonl").read_bytes()[:30])


def damage_lost_samples(out: Path) -> None:
    os.truncate(out / "samples.i16", os.path.getsize(out / "samples.i16") - 3)


def damage_half_written_samples(out: Path) -> None:
    with open(out / "samples.i16", "ab") as file:
        file.write(b"\x01" * 1_001)


def damage_left_parts(out: Path) -> None:
    (out / "index.parquet.part").write_bytes(b"PAR1")


@pytest.mark.parametrize(
    "damage", [damage_cut_line, damage_cut_header, damage_lost_samples, damage_half_written_samples, damage_left_parts]
)
def test_what_a_crash_may_leave_is_mended(tmp_path: Path, damage) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus")
    quiet(folder, tmp_path / "whole")
    interrupted(folder, tmp_path / "out", after=5)
    damage(tmp_path / "out")
    quiet(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_changed_source_or_other_options_are_not_mixed_in(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus")
    interrupted(folder, tmp_path / "out", after=5)
    with pytest.raises(CoreError, match="unfinished preparation of another source, or of other options"):
        quiet(folder, tmp_path / "out", SourceOptions(as_split="test"))
    quiet(folder, tmp_path / "out")
    before = contents(tmp_path / "out")
    said: list[str] = []
    quiet(folder, tmp_path / "out", say=said.append)
    assert any("finished already" in line for line in said)
    write_tone(folder / "LA" / "ASVspoof2019_LA_train" / "flac" / "LA_T_0000000.flac", 1, seconds=0.5)
    with pytest.raises(CoreError, match="finished preparation of another source"):
        quiet(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_foreign_folder_and_a_second_process_are_refused(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(CoreError, match=r"holds thesis\.txt, which no unfinished preparation left"):
        quiet(folder, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    with packing.open_packer(tmp_path / "other", "x"), pytest.raises(CoreError, match="Another process is preparing"):
        quiet(folder, tmp_path / "other")


def test_a_full_disk_is_told_and_the_work_goes_on_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus")
    quiet(folder, tmp_path / "whole")
    calls, fsync = [], os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(packing, "_FLUSH_EVERY_S", 0.0)
    monkeypatch.setattr(packing.os, "fsync", full)
    with pytest.raises(
        CoreError, match=r"out could not be written: No space left on device\. Make room .* goes on where it stopped"
    ):
        quiet(folder, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"samples.i16", "journal.jsonl"}
    monkeypatch.undo()
    quiet(folder, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["index.parquet", "manifest.json"])
def test_a_disk_that_fills_at_the_end_leaves_nothing_that_looks_finished(tmp_path: Path, monkeypatch, name: str) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus")
    replace = os.replace

    def full(part: Path, path: Path) -> None:
        if Path(path).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(part, path)

    monkeypatch.setattr(packing.os, "replace", full)
    with pytest.raises(CoreError, match="No space left"):
        quiet(folder, tmp_path / "out")
    with pytest.raises(CoreError, match="not a finished preparation"):
        load_or_verify(tmp_path / "out")
    monkeypatch.undo()
    quiet(folder, tmp_path / "out")
    quiet(folder, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def load_or_verify(out: Path) -> None:
    with pytest.raises(CoreError, match="no prepared data"):
        load_split(out, "train")
    verify(out)


def test_undecodable_files_are_listed_and_left_out(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus", num=6)
    flac = folder / "LA" / "ASVspoof2019_LA_train" / "flac"
    (flac / "LA_T_0000001.flac").write_bytes(b"no audio at all")
    (flac / "LA_T_0000002.flac").write_bytes(b"")
    said: list[str] = []
    manifest = quiet(folder, tmp_path / "out", say=said.append)
    found = manifest["checks"]["undecodable"]
    assert [(Path(entry["path"]).name, entry["reason"].split(":")[0]) for entry in found["first"]] == [
        ("LA_T_0000001.flac", "undecodable"),
        ("LA_T_0000002.flac", "empty"),
    ]
    assert found["count"] == 2
    assert manifest["counts"]["train"] == {"bona fide": 2, "spoof": 2}
    assert any(re.match(r"left out: .*LA_T_0000001\.flac: undecodable: ", line) for line in said)
    assert verify(tmp_path / "out", say=lambda _: None) == 16


def test_a_damaged_member_of_a_zip_is_listed(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus", num=6)
    archive = zipped(folder, tmp_path / "LA.zip")
    with zipfile.ZipFile(archive) as opened:
        member = opened.getinfo("LA/ASVspoof2019_LA_train/flac/LA_T_0000001.flac")
    with open(archive, "r+b") as file:
        file.seek(member.header_offset + 30 + len(member.filename) + member.compress_size // 2)
        file.write(b"\xff" * 64)
    manifest = quiet(archive, tmp_path / "out")
    (entry,) = manifest["checks"]["undecodable"]["first"]
    assert entry["path"].endswith("LA.zip!LA/ASVspoof2019_LA_train/flac/LA_T_0000001.flac")
    assert entry["reason"].startswith("unreadable: The zip's member could not be read")


def test_nothing_decodable_and_one_class_left(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus", splits=("train",), num=2)
    flac = folder / "LA" / "ASVspoof2019_LA_train" / "flac"
    (flac / "LA_T_0000001.flac").write_bytes(b"none")
    with pytest.raises(CoreError, match="The split train holds bona fide recordings only"):
        quiet(folder, tmp_path / "one")
    (flac / "LA_T_0000000.flac").write_bytes(b"none")
    with pytest.raises(CoreError, match="None of the 2 recordings could be decoded"):
        quiet(folder, tmp_path / "none")
    assert not (tmp_path / "none" / "manifest.json").exists()


def test_verify_names_what_differs(tmp_path: Path) -> None:
    folder, out = write_asvspoof2019(tmp_path / "corpus"), tmp_path / "out"
    quiet(folder, out)
    whole = (out / "samples.i16").read_bytes()
    start = int(pd.read_parquet(out / "index.parquet")["start"][5])
    (out / "samples.i16").write_bytes(whole[: 2 * start] + b"\x7f" + whole[2 * start + 1 :])
    with pytest.raises(CoreError, match=r"1 of 12 recordings differ from their hash, the first: LA_D_0000101"):
        verify(out)
    (out / "samples.i16").write_bytes(whole + b"\0\0")
    with pytest.raises(CoreError, match="not what the index adds up to"):
        verify(out)
    (out / "samples.i16").write_bytes(whole)
    index = pd.read_parquet(out / "index.parquet")
    index.loc[0, "label"] = "spoof"
    index.to_parquet(out / "index.parquet")
    with pytest.raises(CoreError, match="is not the one that the manifest describes"):
        verify(out)
    (out / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(CoreError, match="could not be read back"):
        verify(out)
    (out / "manifest.json").write_text("{")
    with pytest.raises(CoreError, match="could not be read"):
        verify(out)
    (out / "manifest.json").write_text('{"schema_version": 2}')
    with pytest.raises(CoreError, match="another version"):
        verify(out)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_asvspoof2019(tmp_path / "corpus"), tmp_path / "out"
    (folder / "LA" / "ASVspoof2019_LA_dev" / "flac" / "LA_D_0000103.flac").unlink()
    command = ["prepare", str(folder), str(out), "--workers", "0"]
    assert main(command) == 1
    assert "1 of 12 recordings" in capsys.readouterr().err
    assert main([*command, "--allow-missing"]) == 0
    printed = capsys.readouterr()
    assert "missing: 1 without audio, left out (LA_D_0000103)" in printed.out
    assert "dev: 2 bona fide + 1 spoof: incomplete" in printed.out
    assert re.search(r"11 of 11 recordings, [\d,]+/s, 0 s left", printed.err)
    assert main(["prepare", str(out), "--verify"]) == 0
    assert "11 recordings, every hash as it was" in capsys.readouterr().out
    assert main(["prepare", str(folder)]) == 1
    assert "OUT is missing" in capsys.readouterr().err


def test_words_of_progress() -> None:
    progress = Progress(num_done=1_234, num_recordings=121_461, per_s=500.0, num_refused=2)
    assert progress_line(progress) == "1,234 of 121,461 recordings, 500/s, 4 min 00 s left, 2 undecodable"


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    for number, label in enumerate(("real", "fake")):
        path = write_tone(tmp_path / "in" / "train" / label / "x.wav", number)
        shutil.move(path, os.fsencode(path.parent) + b"/caf\xe9.wav")
    quiet(tmp_path / "in", tmp_path / "out")
    assert list(pd.read_parquet(tmp_path / "out" / "index.parquet")["utterance"]) == ["train/fake/caf\\xe9", "train/real/caf\\xe9"]

"""core.scanning.plan: what a dry run says of folders whose content is known."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from core.detect import Scorer
from core.errors import ScanError
from core.native_audio import probe
from core.records import ScanSettings
from core.scanning import plan
from core.scanning.plan import dry_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three WAV files of 2 s, one FLAC of 6 s, one text called .wav and one that is not looked at."""
    for name in ("a.wav", "b/c.wav", "b/d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(32_000), 16_000)
    soundfile.write(tmp_path / "e.flac", np.zeros(96_000), 16_000)
    (tmp_path / "f.wav").write_text("no sound at all")
    (tmp_path / "g.txt").write_text("not looked at")
    return tmp_path


def test_counts_sizes_hours_and_formats(folder: Path) -> None:
    found = dry_run(str(folder), ScanSettings())
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.suffix in (".wav", ".flac")]
    assert (found.folder, found.num_files, found.total_bytes) == (str(folder), 5, sum(sizes))
    assert (found.num_probed, found.num_unreadable) == (5, 1)
    assert found.hours == pytest.approx(12 / 3_600)
    assert found.formats == (("PCM_16", 3), ("FLAC", 1))
    assert found.example_paths == ("a.wav", "e.flac", "f.wav", "b/c.wav", "b/d.wav")
    assert found.num_narrowband == 0
    assert found.expected_s is None
    assert found.ending_words == "1 file left out by its ending: 1 .txt"


def test_what_states_no_length_counts_as_the_others_do(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(16_000 * 4), 16_000)
    unknown = bytearray((tmp_path / "a.flac").read_bytes())
    unknown[21] &= 0xF0  # STREAMINFO's number of samples, 36 bits
    unknown[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(unknown)
    assert probe(tmp_path / "b.flac").duration_s is None
    assert dry_run(str(tmp_path), ScanSettings()).hours == pytest.approx(8 / 3_600)
    (tmp_path / "a.flac").unlink()
    assert dry_run(str(tmp_path), ScanSettings()).hours == pytest.approx(10 / 3_600)


def test_telephone_files_are_extrapolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MAX_PROBED", 2)
    for i in range(4):
        soundfile.write(tmp_path / f"{i}.wav", np.zeros(16_000), 8_000 if i < 2 else 16_000)
    assert dry_run(str(tmp_path), ScanSettings()).num_narrowband == 2


def test_settings_are_the_audits(folder: Path) -> None:
    assert dry_run(str(folder), ScanSettings(pattern="b/*")).num_files == 2
    assert dry_run(str(folder), ScanSettings(all_files=True)).num_files == 6


@pytest.mark.parametrize("max_probed", [2, 3, 4])
def test_probed_files_are_spread_over_the_list_and_extrapolated(
    tmp_path: Path, max_probed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first half are WAV of 1 s, the second half u-law of 3 s: a probe of the beginning alone would be wrong.
    monkeypatch.setattr(plan, "MAX_PROBED", max_probed)
    for i in range(6):
        late = i >= 3
        soundfile.write(tmp_path / f"{i}.wav", np.zeros(48_000 if late else 16_000), 16_000, subtype="ULAW" if late else "PCM_16")
    found = dry_run(str(tmp_path), ScanSettings())
    assert (found.num_files, found.num_probed) == (6, max_probed)
    assert {codec for codec, _ in found.formats} == {"PCM_16", "ULAW"}
    if max_probed % 2 == 0:
        assert found.hours == pytest.approx(12 / 3_600)
        assert found.formats == (("PCM_16", 3), ("ULAW", 3))


def test_expected_time_grows_with_the_work(folder: Path, tiny_detector, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(tiny_detector)
    num_cores = len(os.sched_getaffinity(0))
    for max_probed, expected_s in ((200, 3.0), (2, 3.0 * 5 / 2)):  # what the probed files took, and as often as they stand for
        clock = iter([10.0, 13.0])
        monkeypatch.setattr(plan, "time", SimpleNamespace(monotonic=lambda clock=clock: next(clock)))
        monkeypatch.setattr(plan, "MAX_PROBED", max_probed)
        assert dry_run(str(folder), ScanSettings(), scorer=scorer).expected_s == pytest.approx(expected_s / num_cores)


def test_nothing_to_score(tmp_path: Path, tiny_detector) -> None:
    found = dry_run(str(tmp_path), ScanSettings(), scorer=Scorer(tiny_detector))
    assert (found.num_files, found.num_probed, found.hours, found.formats, found.expected_s) == (0, 0, 0.0, (), None)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="no folder"):
        dry_run(str(tmp_path / "none"), ScanSettings())

"""`python -m core attack` and `attack-kinds`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.attacks.kinds import ATTACK_KINDS
from core.commands.program import main
from core.protocols import read_protocol


@pytest.fixture
def folder(write_recordings, tmp_path: Path) -> Path:
    write_recordings(tmp_path / "in", 2)
    return tmp_path / "in"


def test_a_folder_becomes_a_labelled_set(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = [str(folder), str(out), "--kinds", "lpc_copy", "formant_shift", "--seed", "4", "--processes", "1"]
    assert main(["attack", *arguments, "--set", "formant_shift.formant_ratio=1.2"]) == 0
    told = capsys.readouterr()
    assert "2 recordings, 2 kinds of attack: lpc_copy, formant_shift" in told.err
    assert f"finished: 2 of 2 recordings, 2 bona fide and 4 spoofs in {out}" in told.err
    assert len(read_protocol(out / "protocol.txt")) == 6
    manifest = json.loads((out / "manifest.json").read_text())
    ratios = {f["parameters"]["formant_ratio"] for s in manifest["sources"] for f in s["files"] if f["kind"] == "formant_shift"}
    assert ratios == {1.2}
    assert main(["attack", *arguments]) == 1
    assert "other settings (parameters)" in capsys.readouterr().err


def test_a_protocol_chooses_the_bona_fide_and_gives_the_speakers(folder: Path, tmp_path: Path) -> None:
    protocol = tmp_path / "p.txt"
    protocol.write_text("bob r0000 - - bonafide\neve r0001 - A07 spoof\n")
    arguments = [str(folder), str(tmp_path / "out"), "--kinds", "lpc_copy", "--protocol", str(protocol)]
    assert main(["attack", *arguments]) == 0
    trials = read_protocol(tmp_path / "out" / "protocol.txt")
    assert set(trials) == {"r0000", "r0000__lpc_copy"}
    assert {trial.speaker for trial in trials.values()} == {"bob"}


def test_all_leaves_out_what_cannot_run_and_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    asked = {}

    def stand_in(recordings, out, kinds, **options):
        asked["kinds"] = kinds
        from core.attacks.data_set_records import DataSetReport

        return DataSetReport(out=out, num_recordings=2, num_done=2, num_bona_fide=2, num_spoof=9, failures=(), notes=())

    monkeypatch.setattr("core.attacks.data_set.make_data_set", stand_in)
    assert main(["attack", str(folder), str(tmp_path / "out"), "--kinds", "all"]) == 0
    assert (
        "left out: Flite is not installed (no program flite); install it with `apt-get install flite`." in capsys.readouterr().err
    )
    assert "griffin_lim" in asked["kinds"]
    assert not {"flite", "espeak-ng", "festival"} & set(asked["kinds"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--kinds", "vocoder"], "no kind of attack 'vocoder'"),
        (["--kinds", "lpc_copy", "--set", "order"], "--set order is not understood"),
        (["--kinds", "lpc_copy", "--pattern", "*.mp3"], "no recordings in"),
        (["--kinds", "lpc_copy", "--text", "nowhere.txt"], "nowhere.txt could not be read"),
        (["--kinds", "lpc_copy", "--protocol", "nowhere.txt"], "nowhere.txt is not there"),
    ],
)
def test_what_is_wrong_is_told(
    options: list[str], words: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attack", str(folder), str(tmp_path / "out"), *options]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_failures_are_listed_and_set_the_status(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.wav").write_text("no audio")
    assert main(["attack", str(folder), str(tmp_path / "out"), "--kinds", "lpc_copy", "--processes", "1"]) == 1
    told = capsys.readouterr()
    assert "not made" in told.out
    assert "broken.wav" in told.out
    assert "2 bona fide and 2 spoofs" in told.err


def test_the_kinds_are_listed_with_what_they_need(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert main(["attack-kinds"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n{name}  (" in f"\n{told}" for name in ATTACK_KINDS)
    assert "replay.t60_ms: 50 to 1000 ms (default 400 ms, drawn)" in told
    assert "cannot run here: eSpeak NG is not installed" in told

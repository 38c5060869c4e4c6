"""Made data sets: what is on disk, the same bytes again, going on after a stop, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.attacks.data_set import make_data_set, other_recordings
from core.attacks.data_set_records import AUDIO, JOURNAL, MANIFEST, PROTOCOL, SPANS, DataSetError
from core.attacks.kinds import ATTACK_KINDS
from core.attacks.make import make_spoof, spoof_seed
from core.attacks.matching import active_level
from core.audio import load, sha256_of
from core.errors import CoreError
from core.protocols import read_protocol

KINDS = ("lpc_copy", "formant_shift", "spectral_filtering", "partial")
FIXED = {"partial": {"made_by": "sinusoidal"}}


@pytest.fixture(scope="module")
def recordings(write_recordings, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three recordings of 2 to 4 s, two of one name."""
    folder = tmp_path_factory.mktemp("sources")
    paths = write_recordings(folder, 2)
    return [*paths, *(path.rename(path.with_name("r0000.wav")) for path in write_recordings(folder / "b", 1, first_seed=2))]


@pytest.fixture(scope="module")
def made(recordings: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "set"
    report = make_data_set(recordings, out, KINDS, seed=3, parameters=FIXED, speakers={str(recordings[0]): "anna k"})
    assert (report.num_bona_fide, report.num_spoof, report.failures, report.is_complete) == (3, 12, (), True)
    return out


def _digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_protocol_lists_every_file_in_asvspoof_s_form(made: Path) -> None:
    trials = read_protocol(made / PROTOCOL)
    assert set(trials) == {path.stem for path in (made / AUDIO).iterdir()}
    assert len(trials) == 15
    assert {trial.attack for trial in trials.values()} == {None, *KINDS}
    assert sum(trial.label == "bona fide" for trial in trials.values()) == 3
    assert {"r0000", "r0001", "r0000_2"} <= set(trials)
    assert trials["r0000__lpc_copy"].speaker == "anna_k"
    assert trials["r0000_2__lpc_copy"].speaker == "r0000_2"


def test_training_reads_the_set_as_it_is(made: Path) -> None:
    from training.sources import read_source

    source = read_source(made)
    assert source.kind == "manifest"
    assert len(source.recordings) == 15
    spoofs = [recording for recording in source.recordings if recording.label == "spoof"]
    assert {recording.attack for recording in spoofs} == set(KINDS)
    assert {recording.group for recording in source.recordings} == {"r0000", "r0001", "r0000_2"}


def test_spans_are_those_of_the_partial_spoofs(made: Path) -> None:
    with open(made / SPANS, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["utterance"] for row in rows} == {"r0000__partial", "r0001__partial", "r0000_2__partial"}
    for row in rows:
        assert row["made_by"] == "sinusoidal"
        spoof = load(made / AUDIO / f"{row['utterance']}.flac")[0].numpy()
        source = load(made / AUDIO / f"{row['utterance'].removesuffix('__partial')}.flac")[0].numpy()
        start, end = (round(float(row[name]) * 16_000) for name in ("start_s", "end_s"))
        changed = np.flatnonzero(np.abs(spoof - source) > 2 / 32_768)
        assert start <= changed[0]
        assert changed[-1] < end


def test_the_manifest_says_how_every_file_was_made(made: Path, recordings: list[Path]) -> None:
    manifest = json.loads((made / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["settings"]["seed"] == 3
    assert manifest["versions"]["torch"]
    files = {file["utterance"]: file for source in manifest["sources"] for file in source["files"]}
    for utterance, file in files.items():
        assert file["sha256"] == sha256_of(made / AUDIO / f"{utterance}.flac")
    file = files["r0001__formant_shift"]
    again = make_spoof(load(recordings[1])[0].numpy(), "formant_shift", seed=file["seed"], parameters=file["parameters"])
    written = load(made / AUDIO / "r0001__formant_shift.flac")[0].numpy()
    assert np.abs(written - again.samples).max() <= 1 / 32_768
    assert file["seed"] == spoof_seed(3, sha256_of(recordings[1]), "formant_shift")
    assert files["r0001__partial"]["parameters"]["made_by"] == "sinusoidal"


def test_the_other_recording_is_another_speaker_s() -> None:
    speakers = {"a": "anna", "b": "anna", "c": "carl"}
    others = other_recordings(["a", "b", "c", "d"], seed=0, speakers=speakers)
    assert all(other != path and speakers.get(other) != speakers.get(path, "none") for path, other in others.items())
    assert other_recordings(["a", "b"], seed=0, speakers=speakers) == {"a": None, "b": None}
    assert other_recordings(["a"], seed=0) == {"a": None}


def test_level_and_duration_are_the_source_s(made: Path) -> None:
    source = load(made / AUDIO / "r0001.flac")[0].numpy()
    for kind in KINDS:
        spoof = load(made / AUDIO / f"r0001__{kind}.flac")[0].numpy()
        assert len(spoof) == len(source)
        assert active_level(spoof) == pytest.approx(active_level(source), rel=0.03)


def test_the_same_again_changes_nothing_and_a_new_folder_gets_the_same_bytes(
    made: Path, recordings: list[Path], tmp_path: Path
) -> None:
    before = _digest(made)
    calls = []
    options = {"seed": 3, "parameters": FIXED, "speakers": {str(recordings[0]): "anna k"}}
    report = make_data_set(recordings, made, KINDS, **options, on_progress=lambda *counts: calls.append(counts))
    assert report.is_complete
    assert calls == [(3, 3)]
    assert _digest(made) == before
    make_data_set(recordings, tmp_path / "other", KINDS, **options, num_processes=2)
    other = _digest(tmp_path / "other")
    assert {name: digest for name, digest in other.items() if name != JOURNAL} == {
        name: digest for name, digest in before.items() if name != JOURNAL
    }


def test_a_stopped_run_goes_on_to_the_same_bytes(made: Path, recordings: list[Path], tmp_path: Path) -> None:
    answers = iter([False, True])
    options = {"seed": 3, "parameters": FIXED, "speakers": {str(recordings[0]): "anna k"}}
    report = make_data_set(recordings, tmp_path / "set", KINDS, **options, should_stop=lambda: next(answers))
    assert (report.num_done, report.is_complete) == (1, False)
    assert not (tmp_path / "set" / MANIFEST).exists()
    assert len(read_protocol(tmp_path / "set" / PROTOCOL)) == 5
    with open(tmp_path / "set" / JOURNAL, "a", encoding="utf-8") as file:
        file.write('{"recording": "half a li')  # as a killed run leaves it
    assert make_data_set(recordings, tmp_path / "set", KINDS, **options).is_complete
    assert _digest(tmp_path / "set") == _digest(made)


def test_other_data_and_other_settings_are_left_alone(made: Path, recordings: list[Path], tmp_path: Path) -> None:
    before = _digest(made)
    with pytest.raises(DataSetError, match=r"other settings \(seed\); choose another folder"):
        make_data_set(recordings, made, KINDS, seed=4, parameters=FIXED, speakers={str(recordings[0]): "anna k"})
    with pytest.raises(DataSetError, match="other settings"):
        make_data_set(recordings[:1], made, KINDS, seed=3)
    assert _digest(made) == before
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(DataSetError, match="holds no data set of this command"):
        make_data_set(recordings, tmp_path, KINDS, seed=3)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(DataSetError, match="holds no data set of this command"):
        make_data_set(recordings, tmp_path / "letter.txt", KINDS, seed=3)


def test_what_cannot_be_used_is_told_and_the_rest_is_made(recordings: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "silence.wav", np.zeros(32_000), 16_000)
    (folder / "text.wav").write_text("no audio")
    report = make_data_set(
        [folder / "silence.wav", folder / "text.wav", folder / "gone.wav", recordings[0]], tmp_path / "out", ["lpc_copy"], seed=0
    )
    assert report.is_complete
    assert (report.num_bona_fide, report.num_spoof) == (1, 1)
    told = {Path(failure.recording).name: failure for failure in report.failures}
    assert told.keys() == {"silence.wav", "text.wav", "gone.wav"}
    assert told["silence.wav"].kind == "lpc_copy"
    assert "Silent" in told["silence.wav"].sentence
    assert told["text.wav"].kind is None
    assert "3 could not be made" in report.words
    with pytest.raises(DataSetError, match=r"Nothing could be made of 1 recordings\. The first: Silent"):
        make_data_set([folder / "silence.wav"], tmp_path / "none", ["lpc_copy"], seed=0)


def test_long_recordings_are_cut_and_noted(recordings: list[Path], tmp_path: Path) -> None:
    report = make_data_set(recordings[1:2], tmp_path, ["formant_shift"], seed=0, max_duration_s=1.5)
    assert len(report.notes) == 1
    assert "cut to its first 1.5 s of 3 s" in report.notes[0]
    assert load(tmp_path / AUDIO / "r0001.flac").shape[1] == 24_000


def test_spoofs_and_source_are_turned_down_together(tmp_path: Path, speech_like) -> None:
    loud = speech_like(3.0, 1)
    soundfile.write(tmp_path / "loud.wav", 0.999 * loud / np.abs(loud).max(), 16_000)
    make_data_set([tmp_path / "loud.wav"], tmp_path / "out", ["lpc_copy", "griffin_lim"], seed=0)
    levels = [active_level(load(path)[0].numpy()) for path in sorted((tmp_path / "out" / AUDIO).iterdir())]
    assert max(levels) == pytest.approx(min(levels), rel=0.03)
    assert all(float(load(path).abs().max()) < 1.0 for path in (tmp_path / "out" / AUDIO).iterdir())


@pytest.mark.skipif(bool(ATTACK_KINDS["replay"].unavailable), reason="needs pyroomacoustics")
def test_a_replay_comes_with_bona_fide_speech_of_the_same_room(recordings: list[Path], tmp_path: Path) -> None:
    make_data_set(recordings[:1], tmp_path, ["replay"], seed=1)
    trials = read_protocol(tmp_path / PROTOCOL)
    spoof, room, plain = (trials[name] for name in ("r0000__replay", "r0000__replay__bonafide", "r0000"))
    assert (spoof.label, room.label, plain.label) == ("spoof", "bona fide", "bona fide")
    assert spoof.environment == room.environment
    assert set(spoof.environment) <= set("abc")
    assert set(spoof.attack) <= set("ABC")
    assert plain.environment is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kinds": []}, "no kind of attack to make"),
        ({"kinds": ["lpc_copy", "lpc_copy"]}, "named twice"),
        ({"kinds": ["vocoder"]}, "no kind of attack 'vocoder'"),
        ({"recordings": []}, "no recordings to attack"),
        ({"parameters": {"griffin_lim": {}}}, "not among the kinds"),
        ({"parameters": {"lpc_copy": {"order": 99}}}, "expected 8 to 30"),
        ({"seed": -1}, "seed is -1"),
        ({"max_duration_s": 0.1}, "expected 0.5 to 300 s"),
    ],
)
def test_wrong_requests_leave_no_folder(changes: dict, words: str, recordings: list[Path], tmp_path: Path) -> None:
    request = {"recordings": recordings, "kinds": ["lpc_copy"], "seed": 0} | changes
    with pytest.raises(CoreError, match=words):
        make_data_set(request.pop("recordings"), tmp_path / "out", request.pop("kinds"), **request)
    assert not (tmp_path / "out").exists()

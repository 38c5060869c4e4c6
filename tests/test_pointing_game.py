"""The pointing game on recordings whose spoofed part is known, by detectors whose decision is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from planted_detectors import RATE_HZ, PlantedDetectors, planted, recording_with_tone  # noqa: F401 - fixture

from core.commands.program import main
from core.errors import CoreError
from core.explanation import attributions, pointing_game
from core.explanation.pointing_game import SplicedRecording, play_pointing_game, save_pointing_game, spliced_recordings
from core.explanation.pointing_records import load_pointing_game, pointing_file


def _tones(num: int) -> list[SplicedRecording]:
    """Recordings with a tone at different times, and without."""
    starts = np.linspace(0.3, 2.6, num)
    untouched = recording_with_tone(end_s=0.0, start_s=0.0)
    return [
        SplicedRecording(
            samples=recording_with_tone(start_s=start, end_s=start + 0.8), untouched=untouched, start_s=start, end_s=start + 0.8
        )
        for start in starts
    ]


def _scores(game):
    return {score.method: score for score in game.scores}


def test_maps_of_a_detector_that_hears_the_tone_point_at_it(planted: PlantedDetectors) -> None:  # noqa: F811
    game = play_pointing_game(planted("find_tone"), iter(_tones(4)), set_name="tones", num=4)
    scores = _scores(game)
    assert (scores["grad_cam"].num_hits, scores["integrated_gradients"].num_hits) == (4, 4)
    assert scores["occlusion"].num_hits >= 3  # it knows the place to a patch of 0.29 s
    assert scores[None].num == 4  # the loudest place: as loud as the tone is the noise at the end
    assert game.chance == pytest.approx(0.2)
    assert (game.num_tried, scores["grad_cam"].layer) == (4, "0")
    assert scores["grad_cam"].low == pytest.approx(0.51, abs=0.01)  # Wilson: 4 / (4 + 1.96^2)
    assert scores["grad_cam"].high == 1


def test_what_the_detector_does_not_notice_is_no_part_of_the_game(planted: PlantedDetectors) -> None:  # noqa: F811
    quiet = recording_with_tone(start_s=0.0, end_s=0.0)
    unnoticed = SplicedRecording(samples=quiet, untouched=quiet, start_s=1.0, end_s=1.8)
    game = play_pointing_game(planted("find_tone"), iter([unnoticed, *_tones(1), unnoticed]), set_name="tones", num=5)
    assert (game.num_tried, game.scores[0].num) == (3, 1)
    with pytest.raises(CoreError, match="noticed none of 10 inserted parts"):
        play_pointing_game(planted("hear_nothing"), iter(_tones(10)), set_name="tones", num=1, max_tried=10)


@pytest.fixture
def folder(tmp_path: Path, speech_like) -> Path:
    for number in range(4):
        soundfile.write(tmp_path / f"B{number}.wav", speech_like(3, number), RATE_HZ)
        time_s = np.arange(3 * RATE_HZ) / RATE_HZ
        soundfile.write(tmp_path / f"S{number}.wav", 0.3 * np.sin(2 * np.pi * 2_500 * time_s), RATE_HZ)
    lines = [f"spk {kind}{i} - {'A01 spoof' if kind == 'S' else '- bonafide'}" for kind in "BS" for i in range(4)]
    (tmp_path / "protocol.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_a_part_is_spliced_at_its_level_where_it_is_said_to_be(folder: Path) -> None:
    paths = [[str(folder / f"{kind}{i}.wav") for i in range(4)] for kind in "BS"]
    made = spliced_recordings(*paths, seed=3)
    for one, again in zip([next(made) for _ in range(5)], spliced_recordings(*paths, seed=3), strict=False):
        np.testing.assert_array_equal(one.samples, again.samples)  # same seed, same recordings
        first, end = round(one.start_s * RATE_HZ), round(one.end_s * RATE_HZ)
        assert 0.1 <= one.end_s - one.start_s <= 1.1
        margin = RATE_HZ // 50
        outside = np.r_[0 : first - margin, end + margin : len(one.samples)]
        np.testing.assert_allclose(one.samples[outside], one.untouched[outside], atol=1e-6)
        part = one.samples[first + margin : end - margin]
        spectrum = abs(np.fft.rfft(part * np.hanning(len(part))))
        assert np.fft.rfftfreq(len(part), 1 / RATE_HZ)[spectrum.argmax()] == pytest.approx(2_500, abs=10)


def test_recordings_that_cannot_be_spliced(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CoreError, match="0 bona fide and 1 spoofed"):
        next(spliced_recordings([], ["x"], seed=0))
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(1_000), RATE_HZ)
    with pytest.raises(CoreError, match="100 pairs in a row"):
        next(spliced_recordings([str(folder / "B0.wav")], [str(silent)], seed=0))


def test_the_result_is_kept_and_damage_is_told(planted: PlantedDetectors, tmp_path: Path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setenv("EARWITNESS_RESULTS", str(tmp_path))
    game = play_pointing_game(planted("find_tone"), iter(_tones(2)), set_name="tones", num=2)
    path = pointing_file(game.detector_hash)
    save_pointing_game(game, path)
    assert load_pointing_game(game.detector_hash) == game
    assert load_pointing_game("0" * 64) is None
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(CoreError, match="make it again"):
        load_pointing_game(game.detector_hash)


def test_the_command_says_how_often_maps_point_there(folder: Path, tmp_path: Path, capsys, monkeypatch, lively_detector) -> None:
    out = tmp_path / "out" / "game.json"
    status = main(["pointing-game", str(folder), "--protocol", str(folder / "protocol.txt"), "--num", "0", "--out", str(out)])
    assert status == 1
    assert "at least one" in capsys.readouterr().err
    monkeypatch.setattr(pointing_game, "NOTICED_NATS", -100.0)  # these detectors' scores differ little
    monkeypatch.setattr(attributions, "PATCHES_PER_SIDE", (3, 4))
    assert main(["pointing-game", str(folder), "--protocol", str(folder / "protocol.txt"), "--num", "1", "--out", str(out)]) == 0
    assert "noticed 1 of 1 (score up by -100" in capsys.readouterr().out
    assert len(json.loads(out.read_text())["scores"]) == 4

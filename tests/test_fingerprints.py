"""Fingerprints: a planted tone is found, numbers solved by hand, intervals, resuming after a kill, files that are damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from planted_detectors import RATE_HZ, TONE_HZ, planted, recording_with_tone  # noqa: F401 - a fixture

from core.checkpoints import SHIPPED_DETECTORS, load_detector
from core.commands.program import main
from core.evaluation.labelled_folders import recordings_of
from core.evaluation.trial_sets import TrialSet, make_trial_set
from core.explanation import map_tests as explanation_tests
from core.explanation.records import Explanation
from core.fingerprints import files as fingerprint_files
from core.fingerprints import make as fingerprints
from core.fingerprints.comparison import compare_fingerprints
from core.fingerprints.files import SHIPPED_FINGERPRINTS, Journal, list_fingerprints, load_fingerprints, save_fingerprints
from core.fingerprints.groups import fingerprints_of, groupings_of, passing_share
from core.fingerprints.make import FingerprintOptions, measure_fingerprints
from core.fingerprints.profiles import band_edges, profile_of
from core.fingerprints.records import (
    NUM_RELATIVE,
    ONSET_EDGES_S,
    PROFILE_ARRAYS,
    ZONES,
    FingerprintError,
    FingerprintSet,
    FingerprintSummary,
)
from core.fingerprints.words import common_words, difference_words, reliability_words, size_words, words_of_tests

NUM_BANDS = 8


def made_set(profiles: np.ndarray, attacks: list[str], speakers: list[str], *, tested: list[str] | None = None) -> FingerprintSet:
    """A set of recordings, all of it speech, whose profiles over bands are given; attack "" is bona fide."""
    num = len(attacks)
    zones = np.tile([0.0, 1.0, 0.0, 0.0], (num, 1))
    table = pd.DataFrame(
        {
            "utterance": [f"u{i}" for i in range(num)],
            "label": ["spoof" if attack else "bona fide" for attack in attacks],
            "attack": attacks,
            "family": "",
            "known_system": "",
            "speaker": speakers,
            "source": "",
            "status": "measured",
            "tested": tested or [""] * num,
        }
    ).astype(object)
    arrays = {
        "speech": profiles,
        "pauses": np.full_like(profiles, np.nan),
        "zone_share": zones,
        "zone_time": zones,
        "relative": np.ones((num, NUM_RELATIVE)),
        "onset": np.ones((num, len(ONSET_EDGES_S) - 1)),
    }
    summary = FingerprintSummary(
        detector_name="made",
        detector_hash="0" * 64,
        set_name="a set",
        set_key="0" * 16,
        method="occlusion",
        layer=None,
        target="spoof_minus_bona_fide",
        row_label="Frequency (Hz)",
        resolution=1_000.0,
        created="2026-01-01T00:00:00+00:00",
        num_recordings=num,
        versions={},
    )
    edges = np.linspace(0, 8_000, profiles.shape[1] + 1)
    return FingerprintSet(summary=summary, band_edges=edges, table=table, arrays=arrays)


def _explanation(saliency: np.ndarray, *, hop_s: float) -> Explanation:
    num_rows, num_frames = saliency.shape
    return Explanation(
        saliency=saliency.astype(np.float32),
        time_s=np.arange(num_frames) * hop_s + hop_s / 2,
        rows=np.arange(num_rows) * 100.0,
        row_label="Frequency (Hz)",
        method="occlusion",
        layer=None,
        target="spoof_minus_bona_fide",
        detector_name="none",
        detector_hash="0",
        spoof_score=0.0,
        segments=(),
        sample_rate_hz=RATE_HZ,
        duration_s=num_frames * hop_s,
        versions={},
    )


def _sound(*levels: float) -> np.ndarray:
    """Noise in stretches of 0.1 s at these levels."""
    noise = np.random.default_rng(0).standard_normal(len(levels) * RATE_HZ // 10)
    return (noise * np.repeat(levels, RATE_HZ // 10)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> TrialSet:
    """Six recordings of two attacks and of bona fide speech, two of each, by two speakers, and one that is silent."""
    lines = ["speaker_id,utt,label,attack,family"]
    for number, attack in enumerate(["-", "-", "A1", "A1", "A2", "A2"]):
        start_s = 0.6 + 0.3 * (number % 2)
        samples = recording_with_tone(start_s=start_s, end_s=start_s + 0.8)
        soundfile.write(tmp_path / f"r{number}.wav", samples, RATE_HZ)
        lines.append(f"s{number % 2},r{number},{'bonafide' if attack == '-' else 'spoof'},{attack},made")
    soundfile.write(tmp_path / "quiet.wav", np.zeros(RATE_HZ), RATE_HZ)
    (tmp_path / "set.csv").write_text("\n".join([*lines, "s2,quiet,spoof,A2,made"]) + "\n")
    return make_trial_set("six", recordings_of(tmp_path, tmp_path / "set.csv")[1])


def test_the_fingerprint_of_a_detector_that_hears_a_tone_peaks_at_the_tone(planted, folder, tmp_path) -> None:  # noqa: F811
    options = FingerprintOptions(method="grad_cam")
    measured = load_fingerprints(measure_fingerprints(planted("find_tone"), folder, tmp_path / "out", options=options))
    assert measured.table["status"].tolist().count("refused") == 1
    found = {fingerprint.key: fingerprint for fingerprint in fingerprints_of(measured, "attack")}
    assert list(found) == ["bona fide", "all spoofs", "A1", "A2"]
    for fingerprint in found.values():
        profile = fingerprint.bands["all"].value
        peak = int(np.argmax(profile))
        assert measured.band_edges[peak] <= TONE_HZ <= measured.band_edges[peak + 1]
        assert profile[peak] > 4
        assert np.average(profile, weights=np.diff(measured.band_edges)) == pytest.approx(1, abs=0.01)
    assert found["A1"].size.num_recordings == 2
    assert found["A2"].size.num_refused == 1
    assert "1 refused" in size_words(found["A2"])
    assert found["A1"].common_with_bona_fide > 0.95  # the same tones


def test_so_does_the_one_by_occlusion_within_its_patches(planted, folder, tmp_path) -> None:  # noqa: F811
    one = make_trial_set("one", folder.table[folder.table["utterance"] == "r2"])
    options = FingerprintOptions(method="occlusion")
    measured = load_fingerprints(measure_fingerprints(planted("find_tone"), one, tmp_path / "out", options=options))
    profile = fingerprints_of(measured, "attack")[0].bands["all"].value
    assert measured.summary.resolution == 1_000  # 32 of 224 rows
    assert abs(measured.band_edges[np.argmax(profile)] - TONE_HZ) <= 500
    assert profile.max() > 2


def test_a_map_is_summed_up_as_by_hand() -> None:
    # 0.1 s each: silence, sound, silence, sound, silence. The map: 2 rows of 5 frames.
    samples = _sound(0, 0.1, 0, 0.1, 0)
    profile = profile_of(_explanation(np.array([[1, 4, 0, 4, 1], [0, 2, 8, 0, 0.0]]), hop_s=0.1), samples)
    mean = 20 / 10
    np.testing.assert_allclose(profile.speech, [4 / mean, 1 / mean])
    np.testing.assert_allclose(profile.pauses, [2 / 3 / mean, 8 / 3 / mean])
    np.testing.assert_allclose(profile.zone_share, [1 / 20, 10 / 20, 8 / 20, 1 / 20])
    np.testing.assert_allclose(profile.zone_time, [0.2, 0.4, 0.2, 0.2])
    # From 0.1 to 0.4 s in 20 steps of 15 ms: the first six lie in the first sound, the seventh is two thirds of it.
    np.testing.assert_allclose(profile.relative[:6], 3 / mean)
    np.testing.assert_allclose(profile.relative[6], (3 * 2 / 3 + 4 / 3) / mean)
    # From the onset at 0.1 s in steps of 0.1 s: one before it, four from it on, the rest is beyond the end.
    np.testing.assert_allclose(profile.onset[1:6], [0.5 / mean, 3 / mean, 4 / mean, 2 / mean, 0.5 / mean])
    assert np.isnan(profile.onset[0])
    assert np.isnan(profile.onset[6:]).all()


def test_bands_hold_whole_rows_between_their_middles() -> None:
    edges = band_edges(np.arange(224) * 31.25)
    assert len(edges) == 57
    assert edges[0] == 0
    assert edges[20] == 79.5 * 31.25  # the tone's bin, 80, is the first of its band
    np.testing.assert_allclose(np.diff(edges)[1:], 125)
    assert band_edges(np.array([-0.5, 0.5])).tolist() == [-1.0, 0.0, 1.0]


def test_means_and_intervals_as_by_hand() -> None:
    # Speaker a: 0 and 2, speaker b: 5. Resamples are aa (mean 1), ab and ba (7/3), bb (5), a quarter, a half, a quarter of them.
    measured = made_set(np.array([[0.0], [2.0], [5.0], [1.0]]), ["A1", "A1", "A1", ""], ["a", "a", "b", "c"])
    curve = next(f for f in fingerprints_of(measured, "attack") if f.key == "A1").bands["all"]
    assert curve.value[0] == pytest.approx(7 / 3)
    assert (curve.low[0], curve.high[0]) == pytest.approx((1, 5))
    alone = next(f for f in fingerprints_of(measured, "attack") if f.key == "bona fide")
    assert alone.bands["all"].value[0] == 1
    assert np.isnan(alone.bands["all"].low[0])  # one recording does not vary
    assert np.isnan(alone.bands["pauses"].value[0])


def test_the_interval_of_a_mean_is_the_one_of_repeated_drawing() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=(40, 1))
    measured = made_set(values, ["A1"] * 40, [str(i) for i in range(40)])
    curve = next(f for f in fingerprints_of(measured, "attack") if f.key == "A1").bands["all"]
    drawn = np.random.default_rng(9).choice(values[:, 0], size=(20_000, 40)).mean(axis=1)
    assert (curve.low[0], curve.high[0]) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.03)


def test_what_bona_fide_has_too_as_by_hand() -> None:
    measured = made_set(np.array([[2.0, 0.0], [1.0, 1.0]]), ["A1", ""], ["a", "b"])
    found = {f.key: f for f in fingerprints_of(measured, "attack")}
    assert found["A1"].common_with_bona_fide == pytest.approx(0.5)
    assert common_words(found["A1"]).startswith("50 % of the mean saliency for A1")
    assert not common_words(found["bona fide"])


def _two_groups(num_each: int, *, lift: float, seed: int = 0) -> FingerprintSet:
    """Groups that are alike but for the last two bands."""
    rng = np.random.default_rng(seed)
    profiles = rng.gamma(2.0, 0.5, size=(2 * num_each, NUM_BANDS))
    profiles[:num_each, -2:] += lift
    return made_set(profiles, ["A1"] * num_each + ["A2"] * num_each, [f"s{i}" for i in range(2 * num_each)])


def test_bands_that_differ_are_found_and_said_in_plain_words() -> None:
    measured = _two_groups(20, lift=2.0)
    comparison = compare_fingerprints(measured, "attack", "A1", "A2")
    (bands,) = comparison.differing
    assert (bands.low, bands.high) == (6_000, 8_000)
    assert comparison.is_reliable
    assert reliability_words(comparison) is None
    (sentence,) = difference_words(comparison, measured.summary)
    assert sentence.startswith("It looks more at 6.0-8.0 kHz for A1 than for A2: ")
    back = compare_fingerprints(measured, "attack", "A2", "A1")
    np.testing.assert_allclose(back.difference.value, -comparison.difference.value)
    assert difference_words(back, measured.summary)[0].startswith("It looks more at 6.0-8.0 kHz for A1 than for A2: ")


def test_few_speakers_are_told() -> None:
    comparison = compare_fingerprints(_two_groups(4, lift=2.0), "attack", "A1", "A2")
    assert "fewer than 5 speakers" in reliability_words(comparison)


def test_groups_that_are_alike_differ_in_one_pair_of_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    # Skewed, and one group much smaller: where a bootstrap calls every second pair different.
    monkeypatch.setattr("core.fingerprints.comparison.NUM_SHUFFLES", 199)
    rng = np.random.default_rng(0)
    num_found = 0
    for _ in range(100):
        profiles = rng.lognormal(0, 1.5, size=(48, NUM_BANDS)) * (rng.random((48, NUM_BANDS)) < 0.4)
        measured = made_set(profiles, ["A1"] * 8 + ["A2"] * 40, [f"s{i}" for i in range(48)])
        num_found += bool(compare_fingerprints(measured, "attack", "A1", "A2").differing)
    assert 1 <= num_found <= 11  # of 100 at 5 %: 5 and less than three standard deviations


def test_recordings_of_a_speaker_stay_together() -> None:
    # One speaker's twenty recordings with a peak are one unit among six: no evidence of a difference.
    profiles = np.ones((25, NUM_BANDS)) + 0.01 * np.random.default_rng(0).standard_normal((25, NUM_BANDS))
    profiles[:20, 3] += 1
    attacks = ["A1"] * 22 + ["A2"] * 3
    assert not compare_fingerprints(made_set(profiles, attacks, ["a"] * 20 + list("bcdef")), "attack", "A1", "A2").differing
    alone = [f"s{i}" for i in range(25)]
    assert compare_fingerprints(made_set(profiles, attacks, alone), "attack", "A1", "A2").differing


def test_impossible_comparisons_are_refused() -> None:
    measured = _two_groups(3, lift=0)
    with pytest.raises(FingerprintError, match="does not differ from itself"):
        compare_fingerprints(measured, "attack", "A1", "A1")
    with pytest.raises(FingerprintError, match="A2 has no map with pauses only"):
        compare_fingerprints(measured, "attack", "A2", "A1", frames="pauses")
    with pytest.raises(FingerprintError, match="A9 has no map"):
        compare_fingerprints(measured, "attack", "A9", "A1")


def test_tests_of_single_maps_are_counted_by_class() -> None:
    measured = made_set(np.ones((4, 2)), ["A1", "A1", "", ""], list("abcd"), tested=["passes", "fails", "passes", ""])
    share = passing_share(measured, "spoof")
    assert (share.num_passed, share.num_tested) == (1, 2)
    assert "1 of 1 bona fide recordings (21 to 100 %) and 1 of 2 spoofs (9 to 91 %) passed" in words_of_tests(measured)
    assert "None of the single maps was tested" in words_of_tests(made_set(np.ones((1, 2)), ["A1"], ["a"]))


def test_a_killed_run_goes_on_to_the_same_result(planted, folder, tmp_path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(explanation_tests, "NUM_RANDOM", 2)  # quicker; they have tests of their own
    monkeypatch.setattr(explanation_tests, "NUM_RANDOM_NETWORKS", dict.fromkeys(explanation_tests.NUM_RANDOM_NETWORKS, 1))
    detector, options = planted("find_tone"), FingerprintOptions(method="grad_cam", num_tested=2)
    whole = load_fingerprints(measure_fingerprints(detector, folder, tmp_path / "whole", options=options))
    explained = []
    original = fingerprints.explain

    def counting(detector, samples, **how):
        explained.append(len(samples))
        if len(explained) == 4:  # the first is the probe
            raise KeyboardInterrupt
        return original(detector, samples, **how)

    monkeypatch.setattr(fingerprints, "explain", counting)
    with pytest.raises(KeyboardInterrupt):
        measure_fingerprints(detector, folder, tmp_path / "out", options=options)
    (journal,) = (tmp_path / "out").iterdir()
    assert len(journal.read_text().splitlines()) == 3
    journal.write_text(journal.read_text() + '{"utterance": "r9", "sta')  # a line that was cut off
    progress = []
    manifest = measure_fingerprints(
        detector, folder, tmp_path / "out", options=options, on_progress=lambda done, num: progress.append((done, num))
    )
    assert progress == [(i + 1, 7) for i in range(7)]
    # The probes, two before the kill, the one it fell on and the four that were left, of which the silent one is refused.
    assert len(explained) == 4 + 1 + 5
    resumed = load_fingerprints(manifest)
    assert not journal.exists()
    pd.testing.assert_frame_equal(resumed.table, whole.table)
    assert (resumed.table["tested"] != "").sum() == 2
    for name in PROFILE_ARRAYS:
        np.testing.assert_array_equal(resumed.arrays[name], whole.arrays[name])
    with pytest.raises(FingerprintError, match="is there already"):
        measure_fingerprints(detector, folder, tmp_path / "out", options=options)


def test_a_journal_is_written_by_one_and_of_one_measurement(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.json", {"detector": "x"})
    with pytest.raises(FingerprintError, match="written by another process"):
        Journal(tmp_path / "a.json", {"detector": "x"})
    journal.close()
    with pytest.raises(FingerprintError, match="of another measurement"):
        Journal(tmp_path / "a.json", {"detector": "y"})
    journal.path.write_text(journal.path.read_text() + "no JSON\n")
    with pytest.raises(FingerprintError, match="is damaged"):
        Journal(tmp_path / "a.json", {"detector": "x"})


def test_a_detector_that_hears_nothing_has_no_fingerprint(planted, folder, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(FingerprintError, match="None of the 7 recordings of six has a map"):
        measure_fingerprints(planted("hear_nothing"), folder, tmp_path / "out", options=FingerprintOptions(method="grad_cam"))
    with pytest.raises(FingerprintError, match="expected none or more"):
        FingerprintOptions(num_tested=-1)


def test_stored_and_read_back_and_damaged_ones_are_told(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint_files, "SHIPPED_FINGERPRINTS", tmp_path / "none")
    folder = fingerprint_files.own_fingerprint_folder()
    assert folder == tmp_path / "results" / "fingerprints"
    measured = _two_groups(3, lift=1.0)
    manifest = save_fingerprints(measured, folder)
    read = load_fingerprints(manifest)
    assert read.summary == measured.summary
    assert groupings_of(read) == ("attack",)
    for name in PROFILE_ARRAYS:
        np.testing.assert_allclose(read.arrays[name], measured.arrays[name], rtol=1e-3)
    assert load_fingerprints(manifest) is read
    (folder / "other.json").write_text("{}")
    found, problems = list_fingerprints()
    assert [path for path, _ in found] == [manifest]
    assert len(problems) == 1
    assert "other.json is no stored fingerprints" in problems[0]
    manifest.with_suffix(".npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(FingerprintError, match="damaged"):
        load_fingerprints(manifest)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    with pytest.raises(FingerprintError, match="schema version 99"):
        load_fingerprints(manifest)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(FingerprintError, match="cannot be written"):
        save_fingerprints(replace(measured), blocked / "below")


def test_the_command_measures_and_reports(planted, folder, tmp_path, capsys, monkeypatch) -> None:  # noqa: F811
    detector = planted("find_tone")
    arguments = ["fingerprints", str(tmp_path), "--protocol", str(tmp_path / "set.csv"), "--detector", str(detector.folder)]
    arguments += ["--method", "grad_cam", "--out", str(tmp_path / "out"), "--name", "of six"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "7 of 7 recordings" in said.err
    assert "made: 4 recordings, 2 speakers, 1 refused" in said.out
    assert Path(said.out.splitlines()[-1]).is_file()
    assert main(arguments) == 1
    assert "is there already" in capsys.readouterr().err


def test_reading_imports_no_torch() -> None:
    code = (
        "import sys, core.fingerprints.words, core.fingerprints.figures, core.fingerprints.files; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_the_shipped_ones_are_of_a_shipped_detector_and_small() -> None:
    manifests = sorted(SHIPPED_FINGERPRINTS.glob("*.json"))
    assert manifests
    hashes = {load_detector(path).hash for path in SHIPPED_DETECTORS.iterdir()}
    for manifest in manifests:
        measured = load_fingerprints(manifest)
        assert measured.summary.detector_hash in hashes
        assert measured.summary.num_recordings == 684
        assert groupings_of(measured)[:2] == ("family", "attack")
        assert passing_share(measured, "spoof").num_tested >= 5
        np.testing.assert_allclose(measured.arrays["zone_share"][measured.has_map].sum(axis=1), 1, atol=0.01)
        assert measured.arrays["zone_time"].shape[1] == len(ZONES)
    assert sum(path.stat().st_size for path in SHIPPED_FINGERPRINTS.iterdir()) < 1_000_000

"""core.detect: batching, order, refusals and aggregates change no score; the exported network says what the trained one says."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from core import detect
from core.audio import load, sha256_of
from core.checkpoints import Detector
from core.detect import BATCH_WINDOWS, Scorer, aggregate_scores, gpu_scorer
from core.records import ScoredRecording, Verdict
from core.segments import split_windows

RATE_HZ = 16_000


@pytest.fixture
def scorer(lively_detector: Detector) -> Scorer:
    return Scorer(lively_detector)


@pytest.fixture(scope="session")
def write(speech_like: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Function of path, seconds and seed: writes a speech-like recording."""

    def write(path: Path, seconds: float, seed: int = 0) -> Path:
        soundfile.write(path, speech_like(seconds, seed), RATE_HZ, subtype="FLOAT" if path.suffix == ".wav" else None)
        return path

    return write


def score_of(record: ScoredRecording) -> float:
    (detection,) = record.detections
    return detection.spoof_score


def assert_equal(one: ScoredRecording, other: ScoredRecording) -> None:
    """Everything equal but the scores, which are close."""

    def without_scores(record: ScoredRecording) -> ScoredRecording:
        plain = tuple(
            replace(d, spoof_score=None, probability=None, segments=tuple(replace(s, spoof_score=0.0) for s in d.segments))
            for d in record.detections
        )
        return replace(record, detections=plain)

    assert without_scores(one) == without_scores(other)
    for a, b in zip(one.detections, other.detections, strict=True):
        assert a.spoof_score == pytest.approx(b.spoof_score, abs=1e-4)
        assert a.probability == pytest.approx(b.probability, abs=1e-4)
        for s, t in zip(a.segments, b.segments, strict=True):
            assert s.spoof_score == pytest.approx(t.spoof_score, abs=1e-4, nan_ok=True)


# The network -----------------------------------------------------------------------------------------------------


def test_onnx_says_what_torch_says(lively_detector: Detector, tmp_path: Path, write: Callable) -> None:
    paths = [write(tmp_path / f"{i}.wav", seconds, i) for i, seconds in enumerate((1.0, 4.0, 5.3, 13.0, 31.0))]
    by_onnx = list(Scorer(lively_detector).score_files(paths))
    by_torch = list(Scorer(lively_detector, backend="torch").score_files(paths))
    pairs = [
        (a.spoof_score, b.spoof_score)
        for one, other in zip(by_onnx, by_torch, strict=True)
        for a, b in zip(one.detections[0].segments, other.detections[0].segments, strict=True)
    ]
    assert len(pairs) == 1 + 1 + 2 + 6 + 15
    assert max(abs(a - b) for a, b in pairs) < 1e-3
    assert max(abs(score_of(a) - score_of(b)) for a, b in zip(by_onnx, by_torch, strict=True)) < 1e-3
    assert np.std([a for a, _ in pairs]) > 1.0  # the scores are not all the same


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_says_what_onnx_says(lively_detector: Detector, tmp_path: Path, write: Callable) -> None:
    paths = [write(tmp_path / f"{seed}.wav", seconds=20.0, seed=seed) for seed in range(20)]
    on_gpu = [record.detections[0].spoof_score for record in gpu_scorer(lively_detector).score_files(paths)]
    on_cpu = [record.detections[0].spoof_score for record in Scorer(lively_detector).score_files(paths)]
    assert on_gpu == pytest.approx(on_cpu, abs=1e-2)


def test_scores_are_calibrated(lively_detector: Detector, tmp_path: Path, write: Callable) -> None:
    windows = split_windows(load(write(tmp_path / "a.wav", 5.0))[0])
    with torch.inference_mode():
        logits = lively_detector.load_model()(lively_detector.build_front_end()(windows))
    expected = 5.0 * (logits[:, 1] - logits[:, 0]) - 5.4
    assert torch.allclose(Scorer(lively_detector).score_windows(windows), expected, atol=1e-3)


def test_an_export_is_made_once_and_whole(lively_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core import runtime

    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    calls = []
    export = runtime._export
    monkeypatch.setattr(runtime, "_export", lambda model, num, path: calls.append(path) or export(model, num, path))
    for _ in range(2):
        Scorer(lively_detector)
    assert len(calls) == 1
    assert list((tmp_path / "cache").iterdir()) == calls
    assert lively_detector.hash in calls[0].name


# Many files ------------------------------------------------------------------------------------------------------


def test_batches_across_files_give_what_one_at_a_time_gives(scorer: Scorer, tmp_path: Path, write: Callable) -> None:
    lengths = [0.6, 2.0, 4.0, 4.1, 9.0, 37.0, 0.7, 5.0, 8.0, 3.0]
    paths = [write(tmp_path / f"{i}.wav", seconds, i) for i, seconds in enumerate(lengths)]
    together = list(scorer.score_files(paths))
    assert [record.path for record in together] == [str(path) for path in paths]
    for path, record in zip(paths, together, strict=True):
        assert_equal(record, scorer.score_file(path))
        assert record.sha256 == sha256_of(path)


def test_batches_are_full(scorer: Scorer, tmp_path: Path, write: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    judge_windows = scorer.judge_windows
    monkeypatch.setattr(scorer, "judge_windows", lambda windows: sizes.append(len(windows)) or judge_windows(windows))
    records = list(scorer.score_files([write(tmp_path / f"{i}.wav", 5.0, i) for i in range(17)]))  # two windows each
    assert len(records) == 17
    assert sizes == [BATCH_WINDOWS, BATCH_WINDOWS, 2]


def test_records_come_as_soon_as_they_are_complete(scorer: Scorer, tmp_path: Path, write: Callable) -> None:
    paths = [write(tmp_path / f"{i:02}.wav", 2.0, i) for i in range(BATCH_WINDOWS + 4)]
    asked = []

    def asking():
        for path in paths:
            asked.append(path)
            yield path

    records = scorer.score_files(asking())
    next(records)
    assert len(asked) == BATCH_WINDOWS  # not the whole list


def test_refusals_keep_their_place_and_stop_nobody(scorer: Scorer, tmp_path: Path, write: Callable) -> None:
    good = [write(tmp_path / f"good{i}.wav", 3.0, i) for i in range(3)]
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound at all " * 50)
    soundfile.write(tmp_path / "nan.wav", np.array([0.1] * 400_000 + [np.nan]), RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "quiet.wav", np.zeros(64_000), RATE_HZ)
    write(tmp_path / "short.wav", 0.3)
    names = ["good0", "empty", "text", "nan", "good1", "quiet", "gone", "short", "good2"]
    records = list(scorer.score_files([tmp_path / f"{name}.wav" for name in names]))
    assert [Path(record.path).stem for record in records] == names
    codes = {Path(record.path).stem: record.detections[0].reason_code for record in records}
    assert codes == {
        "good0": None, "good1": None, "good2": None, "empty": "empty", "text": "undecodable", "nan": "non_finite",
        "quiet": "silent", "gone": "unreadable", "short": "too_short",
    }  # fmt: skip
    for record in records:
        (detection,) = record.detections
        assert (detection.verdict is Verdict.REFUSED) is (detection.reason_code is not None)
        if detection.reason_code:
            assert (detection.spoof_score, detection.probability, detection.segments) == (None, None, ())
            assert detection.reason
    assert [record.sha256 is None for record in records] == [name in ("empty", "gone") for name in names]
    for path in good:
        assert_equal(next(record for record in records if record.path == str(path)), scorer.score_file(path))


def test_stop_ends_without_the_incomplete(scorer: Scorer, tmp_path: Path, write: Callable) -> None:
    paths = [write(tmp_path / f"{i:02}.wav", 2.0, i) for i in range(40)]
    stop = threading.Event()
    records = []
    for record in scorer.score_files(paths, is_stopped=stop.is_set):
        records.append(record)
        stop.set()
    assert [record.path for record in records] == [str(path) for path in paths[: len(records)]]
    assert 1 <= len(records) <= BATCH_WINDOWS
    assert all(record.detections[0].spoof_score is not None for record in records)


def test_no_files(scorer: Scorer) -> None:
    assert list(scorer.score_files([])) == []


# One file --------------------------------------------------------------------------------------------------------


def test_a_long_file_is_its_windows_by_hand(scorer: Scorer, tmp_path: Path, write: Callable) -> None:
    path = write(tmp_path / "long.wav", 71.3)
    (detection,) = scorer.score_file(path).detections
    samples = load(path)[0]
    starts = [*range(0, len(samples) - 64_000 + 1, 32_000), len(samples) - 64_000]
    by_hand = [float(scorer.score_windows(samples[None, start : start + 64_000])[0]) for start in starts]
    assert [segment.start_s for segment in detection.segments] == [start / RATE_HZ for start in starts]
    assert [segment.end_s for segment in detection.segments] == [start / RATE_HZ + 4.0 for start in starts]
    assert [segment.spoof_score for segment in detection.segments] == pytest.approx(by_hand, abs=1e-4)
    assert detection.spoof_score == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-4)
    assert detection.probability == pytest.approx(1 / (1 + math.exp(-detection.spoof_score)), abs=1e-9)
    assert detection.duration_s == pytest.approx(71.3)


def test_a_short_file_is_repeated(scorer: Scorer, tmp_path: Path, write: Callable) -> None:
    path = write(tmp_path / "a.wav", 1.5)
    (segment,) = scorer.score_file(path).detections[0].segments
    assert (segment.start_s, segment.end_s) == (0.0, 1.5)
    filled = load(path)[0].repeat(3)[:64_000]
    assert segment.spoof_score == pytest.approx(float(scorer.score_windows(filled[None])[0]), abs=1e-4)


def test_silent_windows_are_skipped(scorer: Scorer, tmp_path: Path, speech_like: Callable) -> None:
    # Speech in the first and last 4 s of 16: the windows at 4, 6 and 8 s hold nothing.
    samples = np.concatenate([speech_like(4.0, 1), np.zeros(8 * RATE_HZ, dtype=np.float32), speech_like(4.0, 2)])
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    (detection,) = scorer.score_file(tmp_path / "a.wav").detections
    silent = [segment.start_s for segment in detection.segments if math.isnan(segment.spoof_score)]
    assert silent == [4.0, 6.0, 8.0]
    heard = [segment.spoof_score for segment in detection.segments if not math.isnan(segment.spoof_score)]
    assert len(heard) == 4
    assert detection.spoof_score == pytest.approx(sum(heard) / 4, abs=1e-9)


def test_sound_in_every_window_too_short_to_judge(scorer: Scorer, tmp_path: Path, speech_like: Callable) -> None:
    # A syllable of 0.2 s every 8 s adds up to enough active signal, but no window holds 0.3 s.
    samples = np.zeros(40 * RATE_HZ, dtype=np.float32)
    for second in range(2, 40, 8):
        for part, gain in ((0.0, 1.0), (0.1, 0.3)):
            first = int((second + part) * RATE_HZ)
            samples[first : first + 1_600] = gain * 0.3 * np.sin(np.arange(1_600))
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    (detection,) = scorer.score_file(tmp_path / "a.wav").detections
    assert (detection.verdict, detection.reason_code) == (Verdict.REFUSED, "no_speech")
    assert "No window" in detection.reason


def test_the_max_aggregate_finds_the_worst_window(lively_detector: Detector, tmp_path: Path, write: Callable) -> None:
    worst = replace(lively_detector, manifest=replace(lively_detector.manifest, aggregate="max"))
    (detection,) = Scorer(worst).score_file(write(tmp_path / "a.wav", 20.0)).detections
    scores = [segment.spoof_score for segment in detection.segments]
    assert len(set(scores)) == 9
    assert detection.spoof_score == max(scores)


def test_aggregates_by_hand() -> None:
    assert aggregate_scores([1.0, 2.0, -6.0], "mean") == -1.0
    assert aggregate_scores([1.0, 2.0, -6.0], "max") == 2.0
    assert aggregate_scores([1e16, 1.0, -1e16], "mean") == 1 / 3  # summed exactly


@pytest.mark.parametrize("score", [-1.5, 0.0, 1.5])
def test_the_verdict_is_the_thresholds(
    scorer: Scorer, tmp_path: Path, write: Callable, score: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = lambda windows: (torch.full((len(windows),), score), torch.full((len(windows),), 0.5))  # noqa: E731
    monkeypatch.setattr(scorer, "judge_windows", judged)
    (detection,) = scorer.score_file(write(tmp_path / "a.wav", 5.0)).detections
    assert detection.verdict is {-1.5: Verdict.BONA_FIDE, 0.0: Verdict.INCONCLUSIVE, 1.5: Verdict.SPOOF}[score]


# Channels --------------------------------------------------------------------------------------------------------


def test_each_channel_by_itself(scorer: Scorer, tmp_path: Path, speech_like: Callable) -> None:
    left, right = speech_like(5.0, 1), speech_like(5.0, 2)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right, np.zeros_like(left)], axis=1), RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "left.wav", left, RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "right.wav", right, RATE_HZ, subtype="FLOAT")
    detections = scorer.score_file(tmp_path / "stereo.wav", channels="each").detections
    assert [detection.channel for detection in detections] == ["1", "2", "3"]
    for detection, name in zip(detections, ("left", "right")):
        alone = scorer.score_file(tmp_path / f"{name}.wav").detections[0]
        assert detection.spoof_score == pytest.approx(alone.spoof_score, abs=1e-4)
        assert detection.quality.level_db == pytest.approx(alone.quality.level_db, abs=1e-3)
    assert (detections[2].verdict, detections[2].reason_code) == (Verdict.REFUSED, "silent")


def test_the_mixdown_is_the_mean(scorer: Scorer, tmp_path: Path, speech_like: Callable) -> None:
    left, right = speech_like(5.0, 1), speech_like(5.0, 2)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "mixed.wav", (left + right) / 2, RATE_HZ, subtype="FLOAT")
    mixed = scorer.score_file(tmp_path / "stereo.wav")
    assert [detection.channel for detection in mixed.detections] == ["mix"]
    assert score_of(mixed) == pytest.approx(score_of(scorer.score_file(tmp_path / "mixed.wav")), abs=1e-4)


@pytest.mark.parametrize(("channels", "name"), [("mix", "mix"), ("each", "1")])
def test_a_refused_file_has_one_detection(scorer: Scorer, tmp_path: Path, channels: str, name: str) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (detection,) = scorer.score_file(tmp_path / "empty.wav", channels=channels).detections
    assert (detection.channel, detection.reason_code) == (name, "empty")


# Threads ---------------------------------------------------------------------------------------------------------


def test_threads_may_share_a_scorer(scorer: Scorer, tmp_path: Path, write: Callable) -> None:
    paths = [write(tmp_path / f"{i}.wav", 5.0, i) for i in range(8)]
    expected = [score_of(record) for record in scorer.score_files(paths)]
    found: dict[int, list[float]] = {}

    def work(number: int) -> None:
        found[number] = [score_of(record) for record in scorer.score_files(paths)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        assert found[number] == pytest.approx(expected, abs=1e-4)


def test_a_long_recording_is_not_held_in_memory(scorer: Scorer, tmp_path: Path, speech_like: Callable, monkeypatch) -> None:
    # Of 20 minutes no more windows wait at any time than a batch and what one block of 30 s gives.
    soundfile.write(tmp_path / "a.wav", np.tile(speech_like(10.0), 120), RATE_HZ)
    held: list[int] = []

    def run(batch: list) -> list:
        held.append(len(batch))
        for window in batch:
            window.job.take_first(window, 0.0, 0.5)
        return []

    monkeypatch.setattr(scorer, "_run", run)
    (detection,) = scorer.score_file(tmp_path / "a.wav").detections
    assert len(detection.segments) == 599
    assert max(held) == detect.BATCH_WINDOWS

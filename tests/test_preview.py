"""core.preview: parts of a long recording, what is drawn of a tone, and that a part is read without the rest."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import AudioRefusal
from core.explanation.excerpts import read_excerpt
from core.preview import MAX_COLUMNS, PART_S, _reduced, part_starts, part_with_highest, preview_samples, read_part
from core.records import SAMPLE_RATE_HZ, SegmentScore


def test_parts_overlap_by_half_and_the_last_ends_with_the_recording() -> None:
    assert part_starts(1_000.0) == (0.0, 300.0, 400.0)
    assert part_starts(1_200.0) == (0.0, 300.0, 600.0)
    assert part_starts(30.0) == (0.0,)
    assert part_starts(36_000.0)[-1] + PART_S == 36_000.0


def test_the_part_that_is_shown_first_holds_the_highest_score_in_its_middle() -> None:
    scores = [0.0, 5.0, math.nan, 1.0]
    segments = [SegmentScore(start_s=900.0 * i, end_s=900.0 * i + 4, spoof_score=score) for i, score in enumerate(scores)]
    assert part_with_highest(part_starts(3_600.0), segments) == 600.0
    assert part_with_highest((0.0, 300.0), segments[2:3]) == 0.0


def test_a_tone_is_drawn_at_its_pitch_at_its_time_in_the_recording() -> None:
    time_s = np.arange(20 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    preview = preview_samples((0.5 * np.sin(2 * np.pi * 1_000 * time_s)).astype(np.float32), start_s=300.0)
    assert (preview.time_s[0], preview.duration_s, preview.start_s) == (300.0, 20.0, 300.0)
    loudest = preview.frequency_hz[preview.level_db.argmax(axis=0)]
    assert loudest.min() == loudest.max() == 1_000.0
    assert preview.high == pytest.approx(0.5, abs=1e-3)
    assert preview.low == pytest.approx(-0.5, abs=1e-3)


def test_a_recording_of_unknown_length_is_drawn_in_bounded_columns() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(30 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ).astype(np.float32)
    quiet = 0.1 * tone
    preview = _reduced([*[tone] * 4, *[quiet] * 8, *[tone] * 8], 60.0 * SAMPLE_RATE_HZ)  # 10 minutes where 1 was expected
    assert preview.duration_s == 600.0
    assert MAX_COLUMNS <= len(preview.time_s) < 3 * MAX_COLUMNS
    assert len(preview.time_s) == len(preview.low) == len(preview.high) == preview.level_db.shape[1]
    loud = preview.time_s[preview.high > 0.4]
    assert loud[loud < 300].max() == pytest.approx(120, abs=1)
    assert loud[loud > 300].min() == pytest.approx(360, abs=1)


def test_a_part_of_a_long_recording_is_read_without_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.repeat(np.arange(25, dtype=np.int16), 60 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)  # minute by minute
    read = []
    given = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda file, num, **how: read.append(num) or given(file, num, **how))
    part = read_part(path, start_s=900.0) * 2**15
    assert len(part) == PART_S * SAMPLE_RATE_HZ
    assert (part[0], part[-1]) == (15.0, 24.0)
    assert sum(read) <= (PART_S + 30) * SAMPLE_RATE_HZ
    read.clear()
    excerpt = read_excerpt(path, start_s=1_199.0)
    assert (excerpt.start_s, excerpt.duration_s, excerpt.recording_s) == (1_199.0, 30.0, 1_500.0)
    assert (excerpt.samples * 2**15)[[15_999, 16_000]].tolist() == [19.0, 20.0]
    assert sum(read) <= 60 * SAMPLE_RATE_HZ
    with pytest.raises(AudioRefusal):
        read_excerpt(path, start_s=1_600.0)

"""What the page Attack lab shows: counts and medians by hand, points per verdict, hostile names, new folders, ZIPs."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from core.attacks.figures import lab_colours, lab_score_figure, lab_words, pair_figure
from core.attacks.lab import SOURCE, LabScale, LabVerdict, judge, lab_frame, lab_rows, new_folder, scale_of
from core.calibration import Thresholds
from core.errors import CoreError
from core.figure_style import SCALE
from core.records import Verdict
from core.store.exports import csv_of_frame
from core.whole_files import zip_of

EVIL = "<b>x</b> %{y}"
TITLES = {"lpc_copy": "LPC vocoder copy", "griffin_lim": "Griffin-Lim", "replay": "Replay"}
SCALES = (LabScale(detector="one", score_words="Spoof score (nats)", thresholds=Thresholds(lower=-1.0, upper=1.0)),)


def _verdict(attack: str, score: float | None, *, detector: str = "one", source: str = "a.wav") -> LabVerdict:
    verdict = Verdict.REFUSED if score is None else SCALES[0].thresholds.verdict(score)
    reason = "Silence." if score is None else ""
    return LabVerdict(detector=detector, source=source, attack=attack, score=score, verdict=verdict, reason=reason)


VERDICTS = (
    _verdict(SOURCE, -3.0),
    _verdict(SOURCE, 2.0, source=EVIL),
    _verdict("lpc_copy", 4.0),
    _verdict("lpc_copy", 0.5, source=EVIL),
    _verdict("lpc_copy", -2.0, source="c.wav"),
    _verdict("griffin_lim", None),
)


def test_rows_count_verdicts_and_take_medians() -> None:
    rows = lab_rows(VERDICTS, TITLES, ["one"])
    assert [row.title for row in rows] == ["The recordings as they are", "LPC vocoder copy", "Griffin-Lim"]
    source, lpc, griffin = (row.cells[0] for row in rows)
    assert source.median == -0.5
    assert source.share_right == 0.5
    assert [lpc.num(verdict) for verdict in Verdict] == [1, 1, 1, 0]
    assert lpc.median == 0.5
    assert lpc.share_right == pytest.approx(1 / 3)
    assert griffin.share_right is None
    assert griffin.words == "1 refused"
    assert lpc.words == "1 spoof, 1 inconclusive, 1 bona fide; median +0.50"


def test_colours_run_from_blue_to_orange() -> None:
    assert lab_colours(1.0)[0] == SCALE[0][1]
    assert lab_colours(0.0)[0] == SCALE[-1][1]
    assert lab_colours(None) is None


def test_a_point_per_score_filled_by_verdict() -> None:
    rows = lab_rows(VERDICTS, TITLES, ["one"])
    figure = lab_score_figure(VERDICTS, rows, SCALES)
    (points,) = figure.data
    assert list(points.x) == [-3.0, 2.0, 4.0, 0.5, -2.0]
    assert list(points.y) == [0, 0, 1, 1, 1]
    assert list(points.marker.symbol) == ["circle-open", "circle", "circle", "circle-open-dot", "circle-open"]
    assert "&lt;b&gt;x&lt;/b&gt; % {y}" in points.hovertext[1]
    assert {shape.x0 for shape in figure.layout.shapes if shape.type == "line" and shape.x0 == shape.x1} == {-1.0, 1.0}
    assert list(figure.layout.yaxis.range) == [2.5, -0.5]


def test_detectors_share_a_row_and_no_band_is_drawn_of_several() -> None:
    other = LabScale(detector="two", score_words="Spoof score (nats)", thresholds=Thresholds(lower=0.0, upper=0.0))
    verdicts = (*VERDICTS, _verdict("lpc_copy", 1.0, detector="two"))
    figure = lab_score_figure(verdicts, lab_rows(verdicts, TITLES, ["one", "two"]), (*SCALES, other))
    first, second = figure.data
    assert min(second.y) > max(y for y, x in zip(first.y, first.x) if x == 4.0)
    assert first.marker.color != second.marker.color
    assert not [shape for shape in figure.layout.shapes if shape.x0 == shape.x1]


def test_words_and_table() -> None:
    assert "1 of 4 spoofs" in lab_words(VERDICTS)
    frame = lab_frame(VERDICTS, TITLES)
    assert list(frame["is_spoof"][:3]) == [False, False, True]
    assert list(frame["attack_title"][:3]) == ["The recordings as they are"] * 2 + ["LPC vocoder copy"]
    assert frame["spoof_score"].isna().sum() == 1
    assert b"Silence." in csv_of_frame(frame)


def test_a_pair_is_drawn_on_one_time_axis_with_the_spoofed_part_framed() -> None:
    rng = np.random.default_rng(0)
    source, spoof = (rng.standard_normal(n).astype(np.float32) for n in (16_000, 24_000))
    figure = pair_figure(source, spoof, spoof_title=EVIL, spans=((0.4, 0.9),), is_partial=True)
    above, below = figure.data
    assert max(above.x) < 1.0 < max(below.x) < 1.5
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.4, 0.9)]
    assert "&lt;b&gt;" in figure.layout.annotations[1].text
    assert not pair_figure(source, spoof, spoof_title="x", spans=((0.0, 1.5),), is_partial=False).layout.shapes


def test_a_detector_judges_samples_as_it_judges_files(tiny_detector, tmp_path: Path, write_recordings) -> None:
    from core.audio import load
    from core.detect import Scorer

    (path, *_) = write_recordings(tmp_path, 1)
    expected = Scorer(tiny_detector).score_file(path).detections[0]
    verdict = judge(tiny_detector, load(path)[0].numpy(), source="r", attack=SOURCE)
    assert verdict.score == pytest.approx(expected.spoof_score, abs=1e-4)
    assert verdict.verdict is expected.verdict
    assert scale_of(tiny_detector).thresholds == tiny_detector.manifest.thresholds


@pytest.mark.parametrize(("samples", "words"), [(np.zeros(32_000), "s of sound"), (np.zeros(100), "at least 0.5 s")])
def test_silence_and_too_little_are_refused(tiny_detector, samples: np.ndarray, words: str) -> None:
    verdict = judge(tiny_detector, samples.astype(np.float32), source="r", attack="lpc_copy")
    assert verdict.verdict is Verdict.REFUSED
    assert verdict.score is None
    assert words in verdict.reason


def test_new_folders_lie_within_the_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("EARWITNESS_ROOTS", str(root))
    assert new_folder(f" {root}/spoofs ") == root.resolve() / "spoofs"
    (root / "link").symlink_to(tmp_path)
    for wrong in (f"{tmp_path}/spoofs", f"{root}/../spoofs", f"{root}/none/spoofs", f"{root}/link", f"{root}/..", "", "/"):
        with pytest.raises(CoreError):
            new_folder(wrong)


def test_a_zip_holds_all_files_and_is_the_same_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "flac").mkdir(parents=True)
    (folder / "flac" / "a.flac").write_bytes(b"fLaC" * 100)
    (folder / "protocol.txt").write_text("- a - - bonafide\n")
    for name in ("one.zip", "two.zip"):
        zip_of(folder, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["flac/a.flac", "protocol.txt"]
        assert archive.read("protocol.txt") == b"- a - - bonafide\n"

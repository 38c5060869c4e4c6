"""training.compare, report, plots and measure: systems on made-up scores whose differences are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.checkpoints import SHIPPED_DETECTORS, Detector
from core.errors import CoreError
from core.evaluation.tandem import AsvErrorRates
from training import measure
from training.__main__ import main
from training.compare import compare
from training.measure import measure_costs
from training.report import report_text
from training.scores import write_scores

NUM = 160
ASV = AsvErrorRates(miss=0.02, false_alarm=0.02, spoof_miss=0.2)


def _index() -> pd.DataFrame:
    spoof = np.arange(NUM) % 2 == 1
    index = pd.DataFrame({"utterance": [f"u{i:03d}" for i in range(NUM)], "label": np.where(spoof, "spoof", "bona fide")})
    index["attack"] = [("tts-a", "vc-b", "rare")[0 if i < 80 else 1 if i < 156 else 2] if spoof[i] else None for i in range(NUM)]
    index["speaker"] = [f"s{i // 4}" for i in range(NUM)]
    index["group"] = [f"page{i // 40}" for i in range(NUM)]
    index["family"] = [("tts" if i < 80 else "vc") if spoof[i] else "recording" for i in range(NUM)]
    index["known_system"] = pd.array([i < 40 if spoof[i] else None for i in range(NUM)], dtype="boolean")
    return index


@pytest.fixture(scope="module")
def score_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`earwitness` separates well, `cnn-multiply` and `cnn-3000` poorly and alike, the baseline not at all, a probe by chance."""
    folder, index, rng = tmp_path_factory.mktemp("scores"), _index(), np.random.default_rng(0)
    spoof = (index["label"] == "spoof").to_numpy()
    shared = rng.standard_normal(NUM)
    systems = {
        "earwitness": rng.standard_normal(NUM) + np.where(spoof, 2.5, -2.5),
        "cnn-multiply": shared + np.where(spoof, 0.6, -0.6),
        "cnn-3000": shared + np.where(spoof, 0.6, -0.6) + 0.05 * rng.standard_normal(NUM),
        "always-spoof": np.ones(NUM),
        "probe-duration": rng.standard_normal(NUM),
    }
    for name, scores in systems.items():
        write_scores(folder / f"{name}.test.csv", scores, index)
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.test.csv"))


@pytest.fixture(scope="module")
def comparison(score_files: Path, tmp_path_factory: pytest.TempPathFactory):
    return compare(_files(score_files), detectors=tmp_path_factory.mktemp("none"))


def test_systems_are_listed_by_eer_and_probes_apart(comparison) -> None:
    names = [result.system.name for result in comparison.results]
    assert names[0] == "earwitness"
    assert names[-1] == "always-spoof"
    assert set(names[1:3]) == {"cnn-multiply", "cnn-3000"}
    assert [result.system.name for result in comparison.probes] == ["probe-duration"]
    assert comparison.absent == ("lfcc-gmm", "resnet50_spectrogram", "resnet50_waveform")
    assert (comparison.num_bona_fide, comparison.num_spoof, comparison.num_speakers) == (80, 80, 40)


def test_the_constant_baseline_is_at_chance(comparison) -> None:
    baseline = comparison.results[-1]
    assert baseline.figure("EER").value == 0.5
    assert baseline.figure("accuracy at 0").value == 0.5
    assert baseline.within_sources.value == 0.5


def test_differences_are_found_where_they_are(comparison) -> None:
    answers = {(answer.first, answer.second): answer for answer in comparison.answers}
    assert set(answers) == {
        ("cnn-multiply", "cnn-3000"),
        ("earwitness", "cnn-multiply"),
        ("earwitness", "cnn-3000"),
        ("earwitness", "always-spoof"),
    }
    alike, ours = answers["cnn-multiply", "cnn-3000"], answers["earwitness", "cnn-multiply"]
    assert alike.pooled.p_value > 0.05
    assert alike.intervals_overlap
    assert ours.pooled.p_value == pytest.approx(2 / 1_001)
    assert ours.pooled.high < 0
    assert ours.within_sources.high < 0
    assert not ours.intervals_overlap
    assert ours.pooled.value == pytest.approx(ours.first_eer.value - ours.second_eer.value)


def test_the_report_says_it_in_sentences(comparison) -> None:
    text = report_text(comparison, [])
    assert "Left out, because no score file of theirs was given: `lfcc-gmm`, `resnet50_spectrogram`, `resnet50_waveform`." in text
    assert "Ours against cnn-multiply: `earwitness` is better than `cnn-multiply`" in text
    assert "their own intervals do not overlap" in text
    assert "no difference is shown between `cnn-multiply` and `cnn-3000`" in text
    assert "| `always-spoof` | 50.0 % (50.0 to 50.0) | 50.0 % (50.0 to 50.0) | 50.0 %" in text
    assert "no ASV scores for this corpus" in text
    assert "## Cost" not in text  # no detector was found
    assert "| tts-a | 40 |" in text
    assert "| vc-b | 38 |" in text
    assert "rare" not in text  # two recordings are too few
    for line in text.splitlines():
        if line.startswith("|"):
            assert "nan" not in line
            assert "| - |" not in line  # every figure is there


def test_tables_are_rectangular(comparison) -> None:
    width = None
    for line in report_text(comparison, []).splitlines():
        if line.startswith("|"):
            width = width or line.count("|")
            assert line.count("|") == width, line
        else:
            width = None


def test_min_tandem_cost_is_reported_with_asv_scores(score_files: Path, tmp_path: Path) -> None:
    comparison = compare([score_files / "earwitness.test.csv"], detectors=tmp_path, asv=ASV)
    assert 0 < comparison.results[0].figure("min t-DCF").value < 0.2
    assert "no ASV scores" not in report_text(comparison, [])
    assert comparison.answers == ()


def test_trials_in_another_order_are_matched(score_files: Path, tmp_path: Path) -> None:
    table = pd.read_csv(score_files / "earwitness.test.csv", keep_default_na=False)
    shuffled = table.sample(frac=1, random_state=0).drop(columns=["family", "known_system"])
    shuffled.to_csv(tmp_path / "shuffled.test.csv", index=False)
    for paths in (
        [score_files / "earwitness.test.csv", tmp_path / "shuffled.test.csv"],
        [tmp_path / "shuffled.test.csv", score_files / "earwitness.test.csv"],
    ):
        comparison = compare(paths, detectors=tmp_path)
        one, other = comparison.results
        for a, b in zip(one.figures[:5], other.figures[:5], strict=True):
            assert a.value == pytest.approx(b.value, abs=1e-12)
        # The fuller file says what the other lacks.
        assert [figure.name for figure in one.figures] == [figure.name for figure in other.figures]
        assert comparison.results[0].figure("EER, unknown systems") is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[:-1], "different trials"),
        (lambda table: table.assign(label=table["label"].iloc[::-1].to_numpy()), "label some trials differently"),
    ],
)
def test_other_trials_are_refused(score_files: Path, tmp_path: Path, change, message: str) -> None:
    table = pd.read_csv(score_files / "earwitness.test.csv", keep_default_na=False)
    change(table).to_csv(tmp_path / "other.test.csv", index=False)
    with pytest.raises(CoreError, match=message):
        compare([score_files / "earwitness.test.csv", tmp_path / "other.test.csv"], detectors=tmp_path)
    with pytest.raises(CoreError, match="two score files are called 'earwitness'"):
        compare([score_files / "earwitness.test.csv"] * 2, detectors=tmp_path)


def test_the_command_writes_report_and_pictures(score_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results"
    command = ["compare", *map(str, _files(score_files)), "--out", str(out), "--no-speed"]
    assert main(command) == 0
    names = {"REPORT.md", "eer.png", "trade-off.png", "families.png"}
    assert {path.name for path in out.iterdir()} == names
    assert {Path(line).name for line in capsys.readouterr().out.split()} == names
    text = (out / "REPORT.md").read_text()
    for name in names - {"REPORT.md"}:
        assert f"({name})" in text
        with Image.open(out / name) as picture:
            pixels = np.asarray(picture.convert("L"))
        assert min(pixels.shape) > 200
        assert 0.005 < (pixels < 128).mean() < 0.5  # something dark on white is drawn
    assert main(command) == 0  # over what is there


def test_what_cannot_be_read_or_written_is_told(score_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "none.csv"), "--out", str(tmp_path)]) == 1
    assert "none.csv is not there; check the path" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    scores = str(score_files / "earwitness.test.csv")
    assert main(["compare", scores, "--out", str(tmp_path / "file" / "below"), "--no-speed"]) == 1
    assert "could not be written" in capsys.readouterr().err
    assert main(["compare", scores, "--out", str(tmp_path), "--no-speed", "--asv-scores", str(tmp_path / "none")]) == 1
    assert "ASV scores" in capsys.readouterr().err


def test_cost_of_a_known_network(tiny_detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "NUM_REPEATS", 1)
    monkeypatch.setattr(measure, "_NUM_BATCHES", 1)
    (cost,) = measure_costs([tiny_detector])
    assert cost.num_parameters == 306_738
    # 3x3 convolutions of _VGG27_BLOCKS on 224, 112, 56, 28, 14 and 7 rows, and the dense layer.
    sizes = [(1, 16, 224), (16, 16, 224), (16, 32, 112), (32, 32, 112), (32, 64, 56), (64, 64, 28), (64, 128, 14), (128, 128, 7)]
    assert cost.num_macs == sum(9 * a * b * size**2 for a, b, size in sizes) + 6_272 * 2
    assert cost.segments_per_s > 1


def test_a_detector_of_a_systems_name_is_measured(
    score_files: Path, tiny_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "NUM_REPEATS", 1)
    monkeypatch.setattr(measure, "_NUM_BATCHES", 1)
    (tmp_path / "tiny.test.csv").write_bytes((score_files / "earwitness.test.csv").read_bytes())
    comparison = compare([tmp_path / "tiny.test.csv"], detectors=tiny_detector.folder.parent)
    assert comparison.results[0].cost.num_parameters == 306_738
    assert "| `tiny` | 306,738 | 405 |" in report_text(comparison, ["cost.png"])


def test_shipped_results_compare(tmp_path: Path) -> None:
    paths = sorted((SHIPPED_DETECTORS.parent / "results").glob("*.test.csv"))
    comparison = compare(paths, detectors=tmp_path)
    by_name = {result.system.name: result for result in (*comparison.results, *comparison.probes)}
    assert len(by_name) == len(paths)
    for detector in SHIPPED_DETECTORS.iterdir():
        assert detector.name in by_name

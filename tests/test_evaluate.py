"""training.evaluate and training.scores: windows to scores, scores to figures, score files there and back, the command."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from prepared_data import noise, write_prepared

from core.checkpoints import detector_named
from core.errors import CoreError
from core.evaluation.resampling import bootstrap_mean
from core.evaluation.tandem import AsvErrorRates
from core.features import build_front_end
from core.models import build_model, raw_scores
from core.segments import split_windows
from training.__main__ import main
from training.data import load_split, to_float
from training.evaluate import attack_figures, evaluate, figures_of, is_spoof, score_split, within_source_eers
from training.scores import SystemScores, read_scores, write_scores


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of 0.6 to 8 s, so that recordings have one to three windows."""
    folder = tmp_path_factory.mktemp("prepared")
    return write_prepared(folder, lambda _, rng: noise(int(rng.uniform(0.6, 8) * 16_000), rng), sizes={"dev": 4, "test": 24})


class Loudest(torch.nn.Module):
    """A network whose spoof logit is the window's peak, in place of one that takes long."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = torch.nn.Parameter(torch.zeros(1))
        self.batches: list[int] = []

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(windows))
        peak = windows.flatten(1).amax(dim=1)
        return torch.stack([self.zero.expand_as(peak), peak], dim=1)


class Column(torch.nn.Module):
    """A front end that leaves samples as they are, as an image of one column."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return windows[:, None, :, None]


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_a_recording_scores_as_its_windows(prepared: Path, aggregate: str) -> None:
    split, network = load_split(prepared, "test"), Loudest().train()
    scores = score_split(network, Column(), split, batch_size=5, aggregate=aggregate)
    peaks = [split_windows(to_float(split.recording(i))).amax(dim=1) for i in range(len(split))]
    expected = [float(peak.mean() if aggregate == "mean" else peak.max()) for peak in peaks]
    assert scores == pytest.approx(expected, abs=1e-6)
    assert len({len(peak) for peak in peaks}) > 2
    assert max(network.batches) == 5
    assert sum(network.batches) == sum(map(len, peaks))
    assert network.training


def test_a_real_network_scores_as_one_at_a_time(prepared: Path, tiny_detector) -> None:
    split = load_split(prepared, "dev")
    evaluation = evaluate(tiny_detector, split)
    model, front_end = build_model("vgg27"), build_front_end(tiny_detector.manifest.features)
    model.load_state_dict(tiny_detector.load_model().state_dict())
    with torch.inference_mode():
        windows = [split_windows(to_float(split.recording(i))) for i in range(len(split))]
        raw = np.array([float(raw_scores(model.eval()(front_end(window))).mean()) for window in windows])
    assert evaluation.scores == pytest.approx(10 * raw, abs=1e-4)


def _system(labels: str, scores: list[float], **columns: list) -> SystemScores:
    """`b` is bona fide, `s` spoof."""
    index = pd.DataFrame({"label": ["spoof" if label == "s" else "bona fide" for label in labels]})
    defaults = {"utterance": [f"u{i}" for i in range(len(labels))], "speaker": [f"s{i}" for i in range(len(labels))]}
    defaults |= {"attack": [None] * len(labels), "group": ["page"] * len(labels), "family": [None] * len(labels)}
    for name, values in (defaults | {"known_system": [None] * len(labels)} | columns).items():
        index[name] = values
    return SystemScores(name="x", split="test", index=index, scores=np.array(scores, dtype=float))


def test_figures_by_hand() -> None:
    system = _system("bbbbss", [-2.0, -1.0, -1.0, 1.0, 0.5, 2.0])
    figures = {
        figure.name: figure
        for figure in figures_of("test", system.scores, system, asv=AsvErrorRates(miss=0, false_alarm=0, spoof_miss=0))
    }
    assert figures["accuracy at 0"].value == 5 / 6
    assert figures["balanced accuracy at 0"].value == (3 / 4 + 1) / 2
    assert figures["AUC"].value == 7 / 8
    # From (miss 0, false alarm 1/4) to (1/2, 1/4) at 1: the rates meet at 1/4.
    assert figures["EER"].value == 0.25
    # C2 = 0.5 is the lower cost: half of the spoofs missed and no false alarm would cost 0.5, a quarter of alarms 0.47.
    assert figures["min t-DCF"].value == pytest.approx(0.25 * 0.9405 / 0.5)
    assert (figures["EER"].num_bona_fide, figures["EER"].num_spoof) == (4, 2)
    assert "EER, known systems" not in figures
    assert "min t-DCF" not in {figure.name for figure in figures_of("test", system.scores, system)}


def test_figures_by_source_system_family_and_attack() -> None:
    labels = "bs" * 12
    scores = [(-1.0 if label == "b" else 1.0) for label in labels]
    scores[1], scores[3] = -2.0, -2.0  # two spoofs of the first source are missed
    groups = ["p"] * 8 + ["q"] * 8 + ["only"] * 8
    columns = {
        "group": groups,
        "attack": [("a" if i < 12 else "c") if label == "s" else None for i, label in enumerate(labels)],
        "family": [("f" if i < 12 else "g") if label == "s" else "f" for i, label in enumerate(labels)],
        "known_system": pd.array([(i < 16 if label == "s" else None) for i, label in enumerate(labels)], dtype="boolean"),
    }
    columns["group"] = [
        ("bona fide only" if label == "b" else "spoof only") if i >= 16 else groups[i] for i, label in enumerate(labels)
    ]
    system = _system(labels, scores, **columns)
    assert within_source_eers(system.scores, system) == {"p": 0.5, "q": 0.0}
    figures = {figure.name: figure for figure in figures_of("test", system.scores, system)}
    within = figures["EER, mean within 2 sources"]
    assert (within.value, within.num_bona_fide, within.num_spoof) == (0.25, 8, 8)
    assert (within.low, within.high) == (0.0, 0.5)
    assert figures["EER, known systems"].num_spoof == 8
    assert figures["EER, unknown systems"].num_spoof == 4
    assert figures["EER, unknown systems"].value == 0.0
    assert figures["EER, f"].num_spoof == 6
    by_attack = attack_figures("test", system.scores, system)
    assert [(figure.name, figure.num_spoof, figure.num_bona_fide) for figure in by_attack] == [("a", 6, 12), ("c", 6, 12)]
    assert by_attack[0].value > 0
    assert by_attack[1].value == 0


def test_a_constant_score_gives_figures() -> None:
    system = _system("bbss", [1.0] * 4)
    figures = {figure.name: figure for figure in figures_of("test", system.scores, system)}
    assert (figures["EER"].value, figures["EER"].low, figures["EER"].high) == (0.5, 0.5, 0.5)
    assert figures["accuracy at 0"].value == 0.5
    assert figures["Cllr (bits)"].value == pytest.approx((math.log2(1 + math.e) + math.log2(1 + 1 / math.e)) / 2)


def test_one_class_is_refused() -> None:
    system = _system("ss", [1.0, 2.0])
    with pytest.raises(CoreError, match="only one is present"):
        figures_of("test", system.scores, system)


def test_the_mean_within_sources_is_a_bootstrap_over_sources() -> None:
    values = np.array([0.1, 0.3, 0.2])
    assert bootstrap_mean(values).value == pytest.approx(0.2)


def test_score_files_there_and_back(prepared: Path, tmp_path: Path) -> None:
    split = load_split(prepared, "test")
    scores = np.random.default_rng(0).standard_normal(len(split))
    write_scores(tmp_path / "deep" / "mine.v2.test.csv", scores, split.index)
    read = read_scores(tmp_path / "deep" / "mine.v2.test.csv")
    assert (read.name, read.split) == ("mine.v2", "test")
    assert read.scores == pytest.approx(scores, abs=1e-6)
    for column in ("utterance", "label", "attack", "speaker", "group"):
        assert read.index[column].fillna("").tolist() == split.index[column].fillna("").tolist(), column
    assert read.index["known_system"].tolist() == split.index["known_system"].tolist()
    assert (is_spoof(read) == split.is_spoof).all()
    first = (tmp_path / "deep" / "mine.v2.test.csv").read_text().splitlines()
    assert first[0] == "utterance,attack,label,speaker,source,family,known_system,spoof_score"
    assert first[1].startswith("test0,-,bona fide,S0,page0,recording,,")
    assert first[2].startswith("test1,slow,spoof,S0,page0,family-slow,True,")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["mine.v2.test.csv"]


def test_older_score_files_are_read_without_family(tmp_path: Path) -> None:
    path = tmp_path / "old.test.csv"
    path.write_text("utterance,attack,label,speaker,source,spoof_score\na,-,bona fide,s,p,-1\nb,NA,spoof,s,p,1\n")
    read = read_scores(path)
    assert read.index["attack"].tolist()[1] == "NA"
    assert read.index["family"].isna().all()
    assert read.index["known_system"].isna().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("spoof_score", "score"), "lacks the columns spoof_score"),
        (lambda text: text.replace("bona fide", "perhaps"), "line 2: the key is 'perhaps'; expected a word"),
        (lambda text: text.replace("b,x", "a,x"), "a occurs twice"),
        (lambda text: text.replace(",1\n", ",nan\n"), "line 3: the spoof score is not a finite number"),
        (lambda text: text.replace(",1\n", ",\n"), "line 3: the spoof score is not a finite number"),
        (lambda text: text.replace(",1\n", ",low\n"), "line 3: the score is 'low'"),
        (lambda text: "", "is empty"),
    ],
)
def test_damaged_score_files_are_refused(tmp_path: Path, change, message: str) -> None:
    text = "utterance,attack,label,speaker,source,spoof_score\na,-,bona fide,s,p,-1\nb,x,spoof,s,p,1\n"
    path = tmp_path / "bad.test.csv"
    path.write_text(change(text))
    with pytest.raises(CoreError, match=message):
        read_scores(path)


def test_scores_that_are_not_finite_are_not_written(prepared: Path, tmp_path: Path) -> None:
    split = load_split(prepared, "dev")
    with pytest.raises(CoreError, match="1 of 4 scores"):
        write_scores(tmp_path / "x.test.csv", np.array([math.nan, 0, 0, 0]), split.index)
    (tmp_path / "file").write_text("")
    with pytest.raises(CoreError, match="could not be written"):
        write_scores(tmp_path / "file" / "x.test.csv", np.zeros(4), split.index)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command_prints_figures_and_writes_scores(
    prepared: Path, tiny_detector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asv = tmp_path / "asv.txt"
    asv.write_text("bonafide target 4\nbonafide target 3\nbonafide nontarget 0\nA07 spoof 3.5\nA07 spoof 2\n")
    out = tmp_path / "tiny.dev.csv"
    command = ["evaluate", "tiny", "--data", str(prepared), "--split", "dev", "--scores-out", str(out), "--asv-scores", str(asv)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"tiny ({tiny_detector.hash[:12]}) on dev, 4 recordings\n")
    for words in (
        "EER ",
        "accuracy at 0",
        "balanced accuracy",
        "AUC",
        "Cllr (bits)",
        "min t-DCF",
        "mean within 2 sources",
        "known systems",
    ):
        assert words in printed
    assert read_scores(out).scores == pytest.approx(evaluate(detector_named("tiny"), load_split(prepared, "dev")).scores, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "--data", "{data}"], "No detector is called 'nobody'"),
        (["tiny", "--data", "{data}/none"], "prepare"),
        (["tiny", "--data", "{data}", "--split", "train"], "'train'"),
        (["tiny", "--data", "{data}", "--asv-scores", "{data}/none"], "ASV scores"),
    ],
)
@pytest.mark.usefixtures("tiny_detector")
def test_what_is_missing_is_told(prepared: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *(argument.format(data=prepared) for argument in arguments)]) == 1
    assert message in capsys.readouterr().err

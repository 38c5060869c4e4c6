"""training.publish and training.card: a run becomes a detector with what was measured, or it is said why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.checkpoints import Detector, load_detector
from core.errors import CoreError
from core.familiarity import load_familiarity
from core.features import build_front_end
from core.metrics import equal_error_rate
from core.models import MODELS
from core.runs.folders import RunError
from tests.tiny_training import metrics_of, tiny_network, tiny_recipe, write_tiny
from training import publish as publish_module
from training.__main__ import main
from training.data import load_split
from training.evaluate import score_split
from training.loop import load_trained, train
from training.publish import MAX_ERROR, publish

LARGER = {"train": 40, "dev": 40, "test": 24}


@pytest.fixture(scope="module", autouse=True)
def _tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "tiny", tiny_network)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, _tiny: None) -> Path:
    """A folder with `data` and finished runs on it, `run` and `run-4` of another seed, and nothing else."""
    folder = tmp_path_factory.mktemp("made")
    data = write_tiny(folder / "data", sizes=LARGER)
    recipe = tiny_recipe(num_epochs=4, channel_share=0.0, multiplies_bona_fide=False)
    splits = load_split(data, "train"), load_split(data, "dev")
    for name, seed in (("run", 3), ("run-4", 4)):
        train(recipe, splits, data, folder / name, seed=seed, device="cpu")
    return folder


@pytest.fixture
def made(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change; its run says where its own data is."""
    folder = Path(shutil.copytree(trained, tmp_path / "made"))
    for run in ("run", "run-4"):
        recorded = json.loads((folder / run / "run.json").read_text())["data"]
        change_json(folder / run / "run.json", data=recorded | {"folder": str(folder / "data")})
    return folder


@pytest.fixture(scope="module")
def scores_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("published") / "scores"


@pytest.fixture(scope="module")
def published(trained: Path, scores_folder: Path) -> Detector:
    return publish([trained / "run"], name="mine", out=scores_folder.parent / "out", scores_out=scores_folder)


def change_json(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def publish_in(folder: Path, runs: tuple[str, ...] = ("run",)) -> Detector:
    return publish([folder / run for run in runs], name="mine", out=folder / "out", scores_out=folder / "scores")


# What comes out --------------------------------------------------------------------------------------------------


def test_the_detector_is_installed_whole(published: Detector, trained: Path) -> None:
    loaded = load_detector(published.folder)
    assert (loaded.hash, loaded.name, loaded.manifest) == (published.hash, "mine", published.manifest)
    assert (loaded.manifest.model, loaded.manifest.aggregate) == ("tiny", "mean")
    best = load_trained(trained / "run", tiny_recipe())
    weights = loaded.load_model().state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in best.state_dict().items())
    files = ["README.md", "detector.json", "familiarity.safetensors", "weights.safetensors"]
    assert sorted(path.name for path in published.folder.iterdir()) == files


def test_the_detector_knows_what_it_was_trained_on(published: Detector, trained: Path) -> None:
    familiarity = load_familiarity(published)
    assert familiarity.data == {split: load_split(trained / "data", split).data_hash for split in ("train", "dev")}
    assert familiarity.means.shape == (2, 36)
    warned = familiarity.figure("test", "warned")
    assert (warned.num_bona_fide, warned.num_spoof) == (12, 12)
    assert 0 <= warned.low <= warned.value <= warned.high <= 1


def test_scores_and_figures_are_those_of_the_network(published: Detector, trained: Path, scores_folder: Path) -> None:
    manifest, test = published.manifest, load_split(trained / "data", "test")
    raw = score_split(load_trained(trained / "run", tiny_recipe()), build_front_end(manifest.features), test)
    scores = manifest.calibration.slope * raw + manifest.calibration.offset
    table = pd.read_csv(scores_folder / "mine.test.csv")
    assert table["utterance"].tolist() == [f"test{i}" for i in range(24)]
    assert (table["label"] == "spoof").tolist() == test.is_spoof.tolist()
    assert table["spoof_score"].to_numpy() == pytest.approx(scores, abs=1e-5)
    figures = {(figure.split, figure.name): figure for figure in manifest.figures}
    eer = figures["test", "EER"]
    assert (eer.num_bona_fide, eer.num_spoof) == (12, 12)
    assert eer.value == pytest.approx(equal_error_rate(table["spoof_score"].to_numpy(), test.is_spoof)[0])
    assert eer.low <= eer.value <= eer.high
    assert eer.value < 0.2, "low-passed noise is easily told"
    told = float(((table["spoof_score"] >= 0) == test.is_spoof).mean())
    assert figures["test", "accuracy at 0"].value == pytest.approx(told)
    cost = np.log2(1 + np.exp(np.where(test.is_spoof, -scores, scores)))  # bits, each class by half
    expected = (cost[test.is_spoof].mean() + cost[~test.is_spoof].mean()) / 2
    assert figures["test", "Cllr (bits)"].value == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_conditions_are_measured_on_changed_recordings(published: Detector) -> None:
    figures = {(figure.split, figure.name): figure.value for figure in published.manifest.figures}
    # White noise has no edge silence, so nothing may change; a telephone takes away all above 3.4 kHz, the difference itself.
    assert figures["test", "EER, edge silence removed"] == figures["test", "EER"]
    assert figures["test", "EER, telephone line (8 kHz, mu-law)"] >= figures["test", "EER"]


def test_calibration_and_thresholds_come_from_dev_alone(published: Detector, trained: Path) -> None:
    manifest, dev = published.manifest, load_split(trained / "data", "dev")
    raw = score_split(load_trained(trained / "run", tiny_recipe()), build_front_end(manifest.features), dev)
    scores = manifest.calibration.slope * raw + manifest.calibration.offset
    assert (scores[~dev.is_spoof] >= manifest.thresholds.upper).mean() <= MAX_ERROR
    assert (scores[dev.is_spoof] < manifest.thresholds.lower).mean() <= MAX_ERROR
    figures = {figure.name: figure for figure in manifest.figures if figure.split == "dev"}
    assert figures["EER"].value == pytest.approx(equal_error_rate(raw, dev.is_spoof)[0])


def test_provenance_tells_how_to_make_it_again(published: Detector, trained: Path) -> None:
    told, described = published.manifest.provenance, json.loads((trained / "run" / "run.json").read_text())
    for key in ("recipe", "initialisation", "versions", "python", "machine"):
        assert told[key] == described[key]
    (member,) = told["members"]
    for key in ("seed", "device", "num_processes", "code_revision", "started_at"):
        assert member[key] == described[key]
    assert member["train_hash"] == described["data"]["hash"]["train"]
    assert told["data"] == {name: load_split(trained / "data", name).data_hash for name in ("train", "dev", "test")}
    assert told["num_recordings"] == LARGER
    dev = [line for line in metrics_of(trained / "run") if line["split"] == "dev"]
    best = min(dev, key=lambda line: line["eer"])
    assert (member["kept_epoch"], member["kept_epoch_dev_eer"]) == (best["epoch"], best["eer"])
    assert told["made_at"].endswith("Z")


def test_the_card_says_what_was_measured(published: Detector) -> None:
    card, (member,) = published.card, published.manifest.provenance["members"]
    assert card.startswith("# mine\n")
    assert published.hash[:12] in card
    assert "**Trained on** 40 recordings; recipe `tiny`, weights from random initialisation" in card
    assert f"Seed 3: epoch {int(member['kept_epoch'])} of 4, dev EER {100 * member['kept_epoch_dev_eer']:.1f} %." in card
    assert "## Test" in card
    assert "## Dev" in card
    assert "| EER, telephone line (8 kHz, mu-law) |" in card
    assert "| slow |" in card
    assert "| buzz |" in card
    shares = next(line for line in card.splitlines() if line.startswith("| spoof |"))
    assert sum(float(cell.strip(" %")) for cell in shares.split("|")[2:5]) == pytest.approx(100, abs=0.11)


def test_the_command_publishes_too(made: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["publish", str(made / "run"), "--name", "mine", "--out", str(made / "out"), "--scores-out", str(made / "scores")]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("# mine\n")
    assert (made / "scores" / "mine.test.csv").is_file()
    assert main(command) == 1
    assert "is there already; choose another name" in capsys.readouterr().err


def test_data_without_a_test_split_give_dev_figures_only(tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "data", sizes={"train": 40, "dev": 12})
    recipe = tiny_recipe(num_epochs=1)
    train(recipe, (load_split(data, "train"), load_split(data, "dev")), data, tmp_path / "run", seed=3, device="cpu")
    detector = publish_in(tmp_path)
    assert {figure.split for figure in detector.manifest.figures} == {"dev"}
    assert set(detector.manifest.provenance["data"]) == {"train", "dev"}
    assert not (tmp_path / "scores").exists()
    assert "## Test" not in detector.card
    assert "## Dev" in detector.card


# Several runs ----------------------------------------------------------------------------------------------------


def test_runs_of_several_seeds_make_one_detector(made: Path) -> None:
    detector = publish_in(made, ("run", "run-4"))
    assert detector.manifest.num_members == 2
    assert "2 networks tiny, averaged" in detector.manifest.summary
    assert [each["seed"] for each in detector.manifest.provenance["members"]] == [3, 4]
    assert "Seed 3: epoch" in detector.card
    assert "Seed 4: epoch" in detector.card
    image = torch.randn(3, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    members = [load_trained(made / run, tiny_recipe()) for run in ("run", "run-4")]
    with torch.inference_mode():
        together = load_detector(detector.folder).load_model()(image)
        apart = [member(image) for member in members]
    torch.testing.assert_close(together, (apart[0] + apart[1]) / 2)
    assert not torch.allclose(apart[0], apart[1])


def test_runs_that_do_not_belong_together_are_refused(made: Path) -> None:
    described = json.loads((made / "run-4" / "run.json").read_text())
    for fields in (
        {"recipe": described["recipe"] | {"learning_rate": 0.5}},
        {"data": described["data"] | {"hash": described["data"]["hash"] | {"dev": "0" * 64}}},
    ):
        change_json(made / "run-4" / "run.json", **described | fields)
        with pytest.raises(CoreError, match="different recipes or were chosen on different data"):
            publish_in(made, ("run", "run-4"))
        assert_nothing_made(made)


# What is refused -------------------------------------------------------------------------------------------------


def assert_nothing_made(folder: Path) -> None:
    assert not (folder / "out").exists()
    assert not (folder / "scores").exists()


def test_a_name_that_is_taken_is_refused_before_any_work(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (made / "out" / "mine").mkdir(parents=True)
    monkeypatch.setattr(publish_module, "score_split", None)
    with pytest.raises(CoreError, match="mine is there already; choose another name or remove it first"):
        publish_in(made)
    assert list((made / "out" / "mine").iterdir()) == []
    assert not (made / "scores").exists()


def test_data_that_moved_are_told(made: Path) -> None:
    (made / "data").rename(made / "elsewhere")
    with pytest.raises(CoreError, match=rf"{made / 'data'} is no prepared data"):
        publish_in(made)
    assert_nothing_made(made)


def test_data_that_changed_are_told(made: Path) -> None:
    shutil.rmtree(made / "data")
    write_tiny(made / "data", sizes=LARGER | {"dev": 38})
    with pytest.raises(CoreError, match="holds another dev split than the run was chosen on; prepare the data as it was"):
        publish_in(made)
    assert_nothing_made(made)


def test_test_data_that_are_damaged_are_told_and_not_left_out(made: Path) -> None:
    samples = made / "data" / "samples.i16"
    samples.write_bytes(samples.read_bytes()[:-1_000])  # the test split lies last
    with pytest.raises(CoreError, match="are expected; prepare it again"):
        publish_in(made)
    assert_nothing_made(made)


def test_a_run_without_weights_is_told(made: Path) -> None:
    (made / "run" / "best.safetensors").unlink()
    with pytest.raises(CoreError, match="the run has not ended an epoch yet"):
        publish_in(made)
    assert_nothing_made(made)


def test_what_is_no_run_is_told(made: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run \(no run.json\).*python -m training train"):
        publish([tmp_path], name="mine", out=tmp_path / "out", scores_out=tmp_path / "scores")
    change_json(made / "run" / "run.json", schema_version=9)
    with pytest.raises(RunError, match="schema version 9; this program reads 1"):
        publish_in(made)
    (made / "run" / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run.json is damaged"):
        publish_in(made)
    assert_nothing_made(made)


def test_a_recipe_of_another_version_is_told(made: Path) -> None:
    recipe = json.loads((made / "run" / "run.json").read_text())["recipe"]
    change_json(made / "run" / "run.json", recipe=recipe | {"novelty": 1})
    with pytest.raises(CoreError, match="of another version of Earwitness"):
        publish_in(made)

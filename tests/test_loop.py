"""training.loop: what a run writes, that going on changes nothing, what stops it; on a tiny network and noise."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy

from core.checkpoints import save_detector
from core.errors import CoreError
from core.models import MODELS
from core.runs.folders import RunError, RunStatus
from core.runs.folders import read_run as read_run_state
from core.runs.metrics import read_metrics
from tests.tiny_training import LOG_EVERY_STEPS, STEPS_PER_EPOCH, equal_trees, metrics_of, tiny_network, tiny_recipe, write_tiny
from training import loop
from training.__main__ import main
from training.batches import BatchMaker
from training.checkpoint import load_state
from training.data import LabelledSplit, load_split
from training.distributed import World
from training.loop import load_trained, train
from training.recipes import RECIPES, Recipe
from training.run_folder import read_run, recipe_of

ROOT = Path(__file__).parents[1]
FASTER_PRECISION = loop.faster_precision
NUM_STEPS = 2 * STEPS_PER_EPOCH
ONCE = {"multiplies_bona_fide": True, "sampling": "once", "average_decay": 0.5}
BALANCED = {
    "sampling": "balanced", "multiplies_bona_fide": False, "copy_share": 0.5, "schedule": "constant",
    "average_decay": 0.0, "label_smoothing": 0.1,
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module", autouse=True)
def _tiny() -> Iterator[None]:
    """The tiny network and recipe have names, and a checkpoint is written at every log line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "tiny", tiny_network)
        patch.setitem(RECIPES, "tiny", tiny_recipe)
        patch.setattr(loop, "_LOG_EVERY_STEPS", LOG_EVERY_STEPS)
        patch.setattr(loop, "_CHECKPOINT_EVERY_S", -1.0)
        # The faster one differs by chance on so small a network, and runs are compared to the last bit.
        patch.setattr(loop, "faster_precision", lambda *_: "bfloat16")
        yield


@pytest.fixture(scope="module")
def splits(prepared: Path, _tiny: None) -> tuple[LabelledSplit, LabelledSplit]:
    return load_split(prepared, "train"), load_split(prepared, "dev")


@pytest.fixture(scope="module")
def run_to(splits: tuple[LabelledSplit, LabelledSplit], prepared: Path) -> Callable[..., Path]:
    """Function of a run folder (and seed, recipe fields): trains there."""

    def run(folder: Path, *, seed: int = 5, **changes: Any) -> Path:
        train(tiny_recipe(**changes), splits, prepared, folder, seed=seed, device="cpu")
        return folder

    return run


@pytest.fixture(scope="module")
def whole(run_to: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return {"once": run_to(folder / "once", **ONCE), "balanced": run_to(folder / "balanced", **BALANCED)}


def state_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "state.json").read_text())


def assert_same_run(run: Path, other: Path) -> None:
    """The same curves, weights, and state of optimizer, schedule and average, to the last bit."""
    assert metrics_of(run) == metrics_of(other)
    assert equal_trees(load_file(run / "best.safetensors"), load_file(other / "best.safetensors"))
    assert equal_trees(load_state(run / "checkpoint.safetensors"), load_state(other / "checkpoint.safetensors"))
    assert (state_of(run)["state"], state_of(run)["epoch"]) == (state_of(other)["state"], state_of(other)["epoch"])
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in other.iterdir())


class Interrupted(Exception):
    """Not a `CoreError`: as if the process had ended."""


def interrupt(patch: pytest.MonkeyPatch, name: str, call: int) -> None:
    """Makes the loop end at a call of one of its functions, numbered from 1."""
    real, calls = getattr(loop, name), []

    def maybe(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise Interrupted
        return real(*arguments, **options)

    patch.setattr(loop, name, maybe)


def script_dev(patch: pytest.MonkeyPatch, eers: list[float]) -> list[dict[str, torch.Tensor]]:
    """Makes dev scores give these EERs, epoch by epoch; returns a list that will hold the weights that were scored."""
    scored: list[dict[str, torch.Tensor]] = []

    def score(network: nn.Module, front_end: nn.Module, split: LabelledSplit) -> np.ndarray:
        scored.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return scores_with_eer(eers[len(scored) - 1], split.is_spoof)

    patch.setattr(loop, "score_split", score)
    return scored


def scores_with_eer(eer: float, is_spoof: np.ndarray) -> np.ndarray:
    """Right by a margin but for that share of each class, which is wrong by it."""
    scores = np.where(is_spoof, 1.0, -1.0)
    for chosen in (np.flatnonzero(is_spoof), np.flatnonzero(~is_spoof)):
        scores[chosen[: round(eer * len(chosen))]] *= -1
    return scores


# What a run writes -----------------------------------------------------------------------------------------------


def test_a_run_records_what_it_is(whole: dict[str, Path], prepared: Path, splits: tuple[LabelledSplit, LabelledSplit]) -> None:
    described = read_run(whole["once"])
    assert (described["seed"], described["device"], described["num_processes"]) == (5, "cpu", 1)
    assert described["initialisation"] == "random"
    assert described["data"] == {
        "folder": str(prepared),
        "hash": {"train": splits[0].data_hash, "dev": splits[1].data_hash},
        "num_recordings": {"train": 40, "dev": 12},
    }
    assert described["versions"]["torch"] == torch.__version__.split("+")[0] or described["versions"]["torch"] == torch.__version__
    assert recipe_of(whole["once"]) == tiny_recipe(**ONCE)
    state = state_of(whole["once"])
    assert (state["state"], state["epoch"], state["num_epochs"], state["message"]) == ("finished", 2, 2, "")
    run = read_run_state(whole["once"])
    assert (run.status, run.has_weights) == (RunStatus.FINISHED, True)
    assert sorted(path.name for path in whole["once"].iterdir()) == [
        "best.safetensors", "checkpoint.safetensors", "metrics.jsonl", "run.json", "state.json",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["once", "balanced"])
def test_metrics_come_at_their_steps(whole: dict[str, Path], name: str) -> None:
    lines = [json.loads(line) for line in (whole[name] / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if line["split"] == "train"]
    assert [line["step"] for line in training] == [3, 6, 9, 10, 12, 15, 18, 20]
    assert [line["epoch"] for line in training] == [step / 10 for step in (3, 6, 9, 10, 12, 15, 18, 20)]
    assert [(line["split"], line["step"], line["epoch"]) for line in lines if line["split"] == "dev"] == [
        ("dev", 10, 1), ("dev", 20, 2),
    ]  # fmt: skip
    for line in training:
        assert 0 < line["loss"] < 3
        assert 0 <= line["accuracy"] <= 1
        assert 0 < line["data_share"] < 1
        assert line["samples_per_s"] > 0
    rates = [line["learning_rate"] for line in training]
    if name == "balanced":
        assert rates == [0.01] * 8, "constant"
    else:  # one cycle: up for 15 % of the steps, down to next to nothing
        assert rates[0] == pytest.approx(0.01, rel=0.02)
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] < 2e-4
    metrics = read_metrics(whole[name])
    assert (len(metrics.train), len(metrics.dev)) == (8, 2), "and the Training page reads them all"


def test_it_learns(run_to: Callable[..., Path], tmp_path: Path) -> None:
    run = run_to(tmp_path / "run", num_epochs=6, channel_share=0.0, multiplies_bona_fide=False)
    lines = metrics_of(run)
    assert lines[-2]["loss"] < 0.7 * lines[0]["loss"]
    assert min(line["eer"] for line in lines if line["split"] == "dev") <= 0.1


def test_the_first_loss_is_that_of_the_first_batch(
    run_to: Callable[..., Path], splits: tuple[LabelledSplit, LabelledSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LOG_EVERY_STEPS", 1)
    run = run_to(tmp_path / "run", num_epochs=1, label_smoothing=0.1)
    batches = BatchMaker(tiny_recipe(label_smoothing=0.1), splits[0], seed=5, device=torch.device("cpu"))
    torch.manual_seed(5)
    network = tiny_network().to(memory_format=torch.channels_last).train()  # which also orders dropout's draws
    world = World(rank=0, size=1, device=torch.device("cpu"))
    images, labels = loop._own_part(batches, batches.epoch(0)[0], epoch=0, step=0, world=world)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(images).float()
    first = metrics_of(run)[0]
    assert first["loss"] == pytest.approx(cross_entropy(logits, labels, label_smoothing=0.1).item(), abs=1e-3)
    assert first["accuracy"] == (logits.argmax(1) == labels).float().mean().item()


def test_dev_metrics_by_hand(
    run_to: Callable[..., Path], splits: tuple[LabelledSplit, LabelledSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoof = splits[1].is_spoof
    scores = np.where(spoof, 2.0, -1.0)
    scores[np.flatnonzero(~spoof)[:3]] = 3.0  # 3 of 6 bona fide are taken for spoofs
    monkeypatch.setattr(loop, "score_split", lambda *_: scores)
    dev = metrics_of(run_to(tmp_path / "run", num_epochs=1))[-1]
    assert dev["split"] == "dev"
    assert (dev["accuracy"], dev["balanced_accuracy"]) == (0.75, 0.75)
    # With logit x, the loss of a spoof is ln(1 + e^-x), of bona fide ln(1 + e^x).
    expected = (6 * math.log1p(math.exp(-2)) + 3 * math.log1p(math.exp(-1)) + 3 * math.log1p(math.exp(3))) / 12
    assert dev["loss"] == pytest.approx(expected, abs=1e-6)
    # Above 2 there are 3 of 6 bona fide and no spoof: misses and false alarms meet at one half.
    assert dev["eer"] == pytest.approx(0.5)


def test_the_best_weights_are_those_of_the_lowest_dev_eer(
    run_to: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = script_dev(monkeypatch, [0.5, 1 / 6, 1 / 3, 1 / 6])
    run = run_to(tmp_path / "run", num_epochs=4, average_decay=0.9)
    assert equal_trees(dict(sorted(load_file(run / "best.safetensors").items())), dict(sorted(scored[1].items())))
    assert load_state(run / "checkpoint.safetensors")["progress"] == {"step": 40, "best_eer": pytest.approx(1 / 6), "best_epoch": 2}
    best = load_trained(run, recipe_of(run))
    assert not best.training
    assert equal_trees(best.state_dict(), scored[1])


def test_what_is_scored_is_the_average_of_the_weights(
    run_to: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the average computed step by step from the weights after each."""
    after: list[torch.Tensor] = []
    step = torch.optim.AdamW.step

    def stepped(optimizer: torch.optim.AdamW, *arguments: Any) -> None:
        step(optimizer, *arguments)
        after.append(optimizer.param_groups[0]["params"][-1].detach().clone())

    monkeypatch.setattr(torch.optim.AdamW, "step", stepped)
    scored = script_dev(monkeypatch, [0.5])
    run_to(tmp_path / "run", num_epochs=1, average_decay=0.8, schedule="constant")
    average = after[0]
    for weights in after[1:]:
        average = 0.8 * average + 0.2 * weights
    assert len(after) == STEPS_PER_EPOCH
    torch.testing.assert_close(scored[0]["7.bias"], average)
    assert not torch.allclose(average, after[-1])


# Going on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "function", "call"),
    [
        ("once", "cross_entropy", 2),  # before the first checkpoint: from the start
        ("once", "cross_entropy", 8),  # in the first epoch, after the checkpoint of step 6
        ("once", "score_split", 1),  # before the first epoch is measured
        ("once", "save_weights", 1),  # measured, but the weights not yet kept
        ("once", "save_state", 4),  # kept, but the epoch's checkpoint not written
        ("once", "save_state", 8),  # all done, but not written
        ("balanced", "cross_entropy", 19),  # in the second epoch
    ],
)
def test_an_interrupted_run_equals_an_uninterrupted_one(
    whole: dict[str, Path], run_to: Callable[..., Path], tmp_path: Path, name: str, function: str, call: int
) -> None:
    changes = {"once": ONCE, "balanced": BALANCED}[name]
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, function, call)
        with pytest.raises(Interrupted):
            run_to(tmp_path / "run", **changes)
    assert state_of(tmp_path / "run")["state"] == "running"
    torch.manual_seed(99)
    assert_same_run(run_to(tmp_path / "run", **changes), whole[name])


def test_a_checkpoint_at_an_epochs_last_step_does_not_skip_dev(
    whole: dict[str, Path], run_to: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where log lines fall on the last step, interrupted while dev is scored."""
    monkeypatch.setattr(loop, "_LOG_EVERY_STEPS", 5)
    for call in (1, 2):
        run = tmp_path / str(call)
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, "score_split", call)
            with pytest.raises(Interrupted):
                run_to(run, **ONCE)
        run_to(run, **ONCE)
        dev = [line for line in metrics_of(run) if line["split"] == "dev"]
        assert dev == [line for line in metrics_of(whole["once"]) if line["split"] == "dev"]
        assert equal_trees(load_file(run / "best.safetensors"), load_file(whole["once"] / "best.safetensors"))


def test_a_finished_run_is_left_as_it_is(whole: dict[str, Path], run_to: Callable[..., Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole["once"], tmp_path / "run"))
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, "cross_entropy", 1)
        run_to(run, **ONCE)
    assert_same_run(run, whole["once"])


def test_a_killed_process_goes_on(whole: dict[str, Path], run_to: Callable[..., Path], prepared: Path, tmp_path: Path) -> None:
    """`python -m training train`, killed with signal 9 in the second epoch, and the same command again."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "tests.tiny_training"]
    arguments = ["train", "tiny", "--data", str(prepared), "--run", str(run), "--seed", "5", "--device", "cpu"]
    options: dict[str, Any] = {
        "cwd": ROOT, "env": os.environ | {"OMP_NUM_THREADS": "1"}, "text": True,
        "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
    }  # fmt: skip
    with subprocess.Popen([*command, "13", *arguments], **options) as process:
        said = [line for line in iter(process.stdout.readline, "") if line.startswith("held") and not process.kill()]
        assert (said, process.wait(120)) == (["held\n"], -signal.SIGKILL), process.stderr.read()
    assert [line["step"] for line in metrics_of(run) if line["split"] == "train"] == [3, 6, 9, 10, 12]
    assert state_of(run)["state"] == "running"
    assert read_run_state(run).status is RunStatus.INTERRUPTED
    # What such a death may also leave behind.
    (run / "checkpoint.safetensors.partial").write_bytes(b"cut o")
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"split": "train", "epoch": 1.3, "st')
    done = subprocess.run([*command, "-1", *arguments], **options, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert "going on after step 12" in done.stdout
    assert_same_run(run, whole["once"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 6}, "seed"),
        ({"learning_rate": 0.02}, "learning_rate"),
        ({"num_epochs": 3, "batch_size": 8}, "num_epochs, batch_size"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_left_alone(
    whole: dict[str, Path], run_to: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    run = Path(shutil.copytree(whole["once"], tmp_path / "run"))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(RunError, match=f"holds a run with another {named}; choose another --run folder"):
        run_to(run, **ONCE | changes)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_on_other_data_is_refused(
    whole: dict[str, Path], splits: tuple[LabelledSplit, LabelledSplit], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole["once"], tmp_path / "run"))
    other = write_tiny(tmp_path / "other", sizes={"train": 40, "dev": 14})
    others = load_split(other, "train"), load_split(other, "dev")
    with pytest.raises(RunError, match="holds a run with another data; choose another"):
        train(tiny_recipe(**ONCE), others, other, run, seed=5, device="cpu")
    # The same data elsewhere is the same data.
    train(tiny_recipe(**ONCE), splits, tmp_path / "moved", run, seed=5, device="cpu")


# What stops a run ------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_the_run(run_to: Callable[..., Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "cross_entropy", lambda *_, **__: (torch.zeros((), requires_grad=True) / 0) * 0)
        with pytest.raises(CoreError, match="the loss became nan before step 3; start a new run with a lower learning rate"):
            run_to(run)
    assert (state_of(run)["state"], state_of(run)["epoch"]) == ("failed", 0)
    assert "the loss became nan" in state_of(run)["message"]
    assert read_run_state(run).status is RunStatus.FAILED
    assert sorted(path.name for path in run.iterdir()) == ["run.json", "state.json"]


def test_a_loss_that_stops_being_finite_leaves_the_last_good_weights(run_to: Callable[..., Path], tmp_path: Path) -> None:
    calls: list[int] = []

    def worse(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(1)
        return cross_entropy(*arguments, **options) * (math.nan if len(calls) > 14 else 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "cross_entropy", worse)
        with pytest.raises(CoreError, match="before step 15"):
            run_to(tmp_path)
    assert state_of(tmp_path)["state"] == "failed"
    assert state_of(tmp_path)["epoch"] == 1
    assert_finite(tmp_path, step=12)


@pytest.mark.parametrize("call", [6, 20])
def test_a_gradient_that_is_not_finite_leaves_the_last_good_weights(run_to: Callable[..., Path], tmp_path: Path, call: int) -> None:
    """The loss of that step is still finite; the step is one with a checkpoint, or the last."""
    calls: list[int] = []

    def steep(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(1)
        loss = cross_entropy(*arguments, **options)
        if len(calls) == call:
            loss.register_hook(lambda gradient: gradient * math.nan)
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "cross_entropy", steep)
        with pytest.raises(CoreError, match=r"finite|nan"):
            run_to(tmp_path)
    assert state_of(tmp_path)["state"] == "failed"
    assert_finite(tmp_path, step={6: 3, 20: 18}[call])


def assert_finite(run: Path, *, step: int) -> None:
    """The checkpoint is that of a step, and what it and the best weights hold is finite."""
    state = load_state(run / "checkpoint.safetensors")
    assert state["progress"]["step"] == step
    weights = [state["network"], state["average"]]
    if (run / "best.safetensors").is_file():
        weights.append(load_file(run / "best.safetensors"))
    assert all(torch.isfinite(tensor).all() for each in weights for tensor in each.values())


def test_a_full_disk_is_told_and_the_run_goes_on_later(whole: dict[str, Path], run_to: Callable[..., Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    real, calls = Path.write_bytes, []

    def fill_up(path: Path, content: bytes) -> int:
        calls.append(1)
        if len(calls) == 3:
            real(path, content[:100])
            raise OSError(28, "No space left on device")
        return real(path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill_up)
        with pytest.raises(CoreError, match=r"the disk is full. Free some space, then run the same command: it goes on"):
            run_to(run, **ONCE)
    assert state_of(run)["state"] == "failed"
    assert "the disk is full" in state_of(run)["message"]
    assert not list(run.glob("*.partial"))
    assert load_state(run / "checkpoint.safetensors")["progress"]["step"] == 6
    assert_same_run(run_to(run, **ONCE), whole["once"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_too_full_for_a_line_is_told(run_to: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(CoreError, match=r"metrics.jsonl.*(disk is full|No space left)"):
        run_to(tmp_path)
    assert state_of(tmp_path)["state"] == "failed"


def test_a_checkpoint_of_another_network_is_refused(run_to: Callable[..., Path], whole: dict[str, Path], tmp_path: Path) -> None:
    def wider() -> nn.Sequential:
        network = tiny_network()
        network[7] = nn.Linear(216, 2, bias=False)
        return network

    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "tiny", wider)
        run_to(run, **ONCE)
    before = (run / "checkpoint.safetensors").read_bytes()
    with pytest.raises(CoreError, match=r"checkpoint.safetensors is of another network .*choose another --run folder"):
        run_to(run, **ONCE)
    assert state_of(run)["state"] == "failed"
    assert (run / "checkpoint.safetensors").read_bytes() == before
    with pytest.raises(CoreError, match="does not hold the weights of a tiny: it is of another network"):
        load_trained(run, tiny_recipe())


def test_a_damaged_checkpoint_is_refused(run_to: Callable[..., Path], whole: dict[str, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole["once"], tmp_path / "run"))
    (run / "checkpoint.safetensors").write_bytes((run / "checkpoint.safetensors").read_bytes()[:1_000])
    with pytest.raises(CoreError, match=r"damaged.*remove it to start again"):
        run_to(run, **ONCE)


def test_weights_that_are_missing_or_damaged_are_told(whole: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CoreError, match=r"No weights at .*the run has not ended an epoch yet"):
        load_trained(tmp_path, tiny_recipe())
    (tmp_path / "best.safetensors").write_bytes((whole["once"] / "best.safetensors").read_bytes()[:500])
    with pytest.raises(CoreError, match=r"best.safetensors"):
        load_trained(tmp_path, tiny_recipe())


def test_training_stops_when_dev_no_longer_falls(
    run_to: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = script_dev(monkeypatch, [1 / 3, 1 / 6, 1 / 3, 1 / 6, 0.0, 0.0])
    run = run_to(tmp_path, num_epochs=6, patience=2)
    assert len(scored) == 4  # epochs 3 and 4 are not lower than epoch 2
    state = state_of(run)
    assert (state["state"], state["epoch"], state["num_epochs"]) == ("stopped early", 4, 6)
    assert state["message"] == "no lower dev EER in 2 epochs; the best was 16.67% after epoch 2"
    assert read_run_state(run).status is RunStatus.STOPPED_EARLY
    lines = metrics_of(run)
    run_to(run, num_epochs=6, patience=2)
    assert len(scored) == 4, "the same command again trains no further"
    assert metrics_of(run) == lines
    assert state_of(run)["state"] == "stopped early"


@pytest.mark.parametrize(("label", "there"), [("spoof", "spoof"), ("bona fide", "bona fide")])
def test_one_class_only_is_told_by_the_command(tmp_path: Path, label: str, there: str, capsys: pytest.CaptureFixture) -> None:
    data = write_tiny(tmp_path / "data")
    index = pd.read_parquet(data / "index.parquet")
    index.assign(label=label).to_parquet(data / "index.parquet")
    assert main(["train", "tiny", "--data", str(data), "--run", str(tmp_path / "run"), "--device", "cpu"]) == 1
    assert f"error: the training split holds only {there} recordings; both classes are needed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_processes_that_cannot_share_the_shards_are_told(
    splits: tuple[LabelledSplit, LabelledSplit], prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def three(_: str | None) -> Iterator[World]:
        yield World(rank=0, size=3, device=torch.device("cpu"))

    monkeypatch.setattr(loop, "joined", three)
    with pytest.raises(CoreError, match="3 processes cannot share 2 shards"):
        train(tiny_recipe(), splits, prepared, tmp_path / "run", seed=0)


# The command -----------------------------------------------------------------------------------------------------


def test_several_seeds_have_a_folder_each(prepared: Path, tmp_path: Path) -> None:
    command = ["train", "tiny", "--data", str(prepared), "--run", str(tmp_path), "--seeds", "2", "--epochs", "1", "--device", "cpu"]
    assert main(command) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed-0", "seed-1"]
    runs = [tmp_path / "seed-0", tmp_path / "seed-1"]
    assert [read_run(run)["seed"] for run in runs] == [0, 1]
    assert [read_run(run)["recipe"]["num_epochs"] for run in runs] == [1, 1]
    assert [state_of(run)["state"] for run in runs] == ["finished", "finished"]
    first, second = (load_file(run / "best.safetensors") for run in runs)
    assert not torch.allclose(first["7.weight"], second["7.weight"])


@pytest.mark.parametrize("options", [["--seeds", "0"], ["--seeds", "-1"], ["--seed", "-1"]])
def test_seeds_that_cannot_be_are_told(prepared: Path, tmp_path: Path, options: list[str]) -> None:
    command = [
        "train",
        "tiny",
        "--data",
        str(prepared),
        "--run",
        str(tmp_path / "run"),
        "--epochs",
        "1",
        "--device",
        "cpu",
        *options,
    ]
    try:
        status = main(command)
    except SystemExit as error:
        status = error.code
    assert status in (1, 2)
    assert not (tmp_path / "run").exists()


# Initialisation --------------------------------------------------------------------------------------------------


def _initialised(recipe: Recipe, run_to: Callable[..., Path], run: Path) -> tuple[str, list[dict[str, Any]]]:
    """What the run says it started from, and the options with which its network was built."""
    options: list[dict[str, Any]] = []

    def built(**given: Any) -> nn.Sequential:
        options.append(given)
        return tiny_network(**given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "tiny", built)
        run_to(run, num_epochs=1, pretrained=recipe.pretrained)
    return read_run(run)["initialisation"], options


def test_without_imagenet_weights_training_starts_from_random(
    run_to: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(loop, "imagenet_weights", lambda name: asked.append(name))
    assert _initialised(tiny_recipe(pretrained=True), run_to, tmp_path) == ("random", [{}])
    assert asked == ["tiny"]
    assert read_run(tmp_path)["recipe"]["pretrained"] is True


def test_with_imagenet_weights_they_are_taken_where_the_recipe_says_so(
    run_to: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "imagenet_weights", lambda _: tmp_path)
    assert _initialised(tiny_recipe(pretrained=True), run_to, tmp_path / "a") == ("ImageNet", [{"pretrained": True}])
    assert _initialised(tiny_recipe(pretrained=False), run_to, tmp_path / "b") == ("random", [{}])


def test_training_starts_from_a_detectors_weights(
    splits: tuple[LabelledSplit, LabelledSplit], prepared: Path, tmp_path: Path, tiny_detector: Any
) -> None:
    network = tiny_network()
    manifest = dataclasses.replace(tiny_detector.manifest, name="start", model="tiny")
    start = save_detector(tmp_path / "start", network, manifest)
    recipe = tiny_recipe(num_epochs=1, learning_rate=1e-9, average_decay=0.0)
    train(recipe, splits, prepared, tmp_path / "run", seed=5, device="cpu", starts_from=start)
    assert read_run(tmp_path / "run")["initialisation"] == f"start ({start.hash[:12]})"
    for name, weight in load_trained(tmp_path / "run", recipe).named_parameters():
        torch.testing.assert_close(weight, dict(network.named_parameters())[name], rtol=1e-5, atol=1e-6)
    with pytest.raises(CoreError, match="the recipe tiny trains one tiny on log_spectrogram"):
        train(recipe, splits, prepared, tmp_path / "other", seed=5, device="cpu", starts_from=tiny_detector)


def test_the_faster_precision_is_measured_once_and_kept(
    splits: tuple[LabelledSplit, LabelledSplit], prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["float32", "bfloat16"])
    monkeypatch.setattr(loop, "faster_precision", lambda *_: next(answers))
    for _ in range(2):
        train(tiny_recipe(num_epochs=1), splits, prepared, tmp_path / "run", seed=5, device="cpu")
    assert read_run(tmp_path / "run")["precision"] == "float32"


def test_the_precision_is_one_that_was_measured(splits: tuple[LabelledSplit, LabelledSplit]) -> None:
    batches = BatchMaker(tiny_recipe(), splits[0], seed=0, device=torch.device("cpu"))
    assert FASTER_PRECISION(tiny_network(), batches, torch.device("cpu")) in ("float32", "bfloat16")

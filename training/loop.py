"""The training loop, top to bottom: draws, images, logits, steps; measured on dev after each epoch, resumed at any step."""

from __future__ import annotations

import copy
import math
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from core.checkpoints import Detector
from core.detector_config import WINDOW_SAMPLES
from core.errors import CoreError
from core.imagenet import imagenet_weights
from core.metrics import balanced_accuracy, equal_error_rate
from core.models import build_model
from core.runs.folders import WEIGHTS_FILE, RunError, RunStatus
from training.batches import BatchMaker
from training.checkpoint import load_state, save_state, save_weights
from training.data import LabelledSplit
from training.distributed import World, is_main, joined, wrap
from training.evaluate import score_split
from training.recipes import Recipe
from training.run_folder import RunFolder

CHECKPOINT_FILE = "checkpoint.safetensors"
_CHECKPOINT_EVERY_S = 120.0
_LOG_EVERY_STEPS = 20


@dataclass(slots=True)
class _Progress:
    """Where the run stands; saved with the checkpoint."""

    step: int = 0
    """Optimizer steps done."""
    best_eer: float = math.inf
    best_epoch: int = 0


def train(
    recipe: Recipe,
    splits: tuple[LabelledSplit, LabelledSplit],
    data_folder: Path,
    run: Path,
    *,
    seed: int,
    device: str | None = None,
    compiles: bool = False,
    starts_from: Detector | None = None,
) -> Path:
    """Trains a network, continuing from the run's checkpoint if there is one.

    Writes what `training.run_folder` lists, `checkpoint.safetensors` (all that going on needs) and `best.safetensors`
    (the weights with the lowest dev EER so far).

    Args:
        splits: train and dev.
        data_folder: where they came from; recorded.
        run: the run's folder.
        device: `cpu` or `cuda`; CUDA where there is one by default.
        compiles: whether `torch.compile` is used.
        starts_from: a detector whose weights are the first ones; of the recipe's network.

    Returns:
        The path of the best weights.

    Raises:
        CoreError: one class only, a loss that is not finite, a folder of another run, a full disk.
    """
    with joined(device) as world:
        folder = RunFolder(run, recipe, is_main=is_main())
        try:
            _train(recipe, splits, data_folder, folder, seed=seed, world=world, compiles=compiles, starts_from=starts_from)
        except RunError:  # the folder is another run's, and its state not ours to write
            raise
        except CoreError as error:
            if (run / "run.json").is_file():
                with suppress(CoreError):  # a full disk takes no message either
                    folder.tell(RunStatus.FAILED, message=str(error))
            raise
    return run / WEIGHTS_FILE


def _train(
    recipe: Recipe,
    splits: tuple[LabelledSplit, LabelledSplit],
    data_folder: Path,
    folder: RunFolder,
    *,
    seed: int,
    world: World,
    compiles: bool,
    starts_from: Detector | None,
) -> None:
    if recipe.num_shards % world.size:
        raise CoreError(
            f"{world.size} processes cannot share {recipe.num_shards} shards; start 1 to {recipe.num_shards} that divide it."
        )
    train_split, dev_split = splits
    batches = BatchMaker(recipe, train_split, seed=seed, device=world.device)
    pretrained = {"pretrained": True} if recipe.pretrained and imagenet_weights(recipe.model) else {}
    initialisation = "ImageNet" if pretrained else "random"
    torch.manual_seed(seed)
    network = build_model(recipe.model, **pretrained)
    if starts_from is not None:
        initialisation = f"{starts_from.name} ({starts_from.hash[:12]})"
        network = _first_weights(starts_from, recipe)
    network.to(world.device, memory_format=torch.channels_last)
    folder.describe(
        splits,
        data_folder,
        seed=seed,
        device=str(world.device),
        num_processes=world.size,
        initialisation=initialisation,
    )
    precision = _shared_precision(folder, network, batches, world)
    trained = wrap(network, world)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    num_steps = recipe.num_epochs * batches.steps_per_epoch
    schedule = _schedule(recipe, optimizer, num_steps)
    state = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    saver = _Saver(folder.path / CHECKPOINT_FILE, state)
    progress = saver.restored()
    folder.resume_at(progress.step)
    forward = torch.compile(trained) if compiles else trained
    meter = _Meter(folder, world, batches.steps_per_epoch, optimizer)

    for epoch in range(progress.step // batches.steps_per_epoch, recipe.num_epochs):
        if epoch - progress.best_epoch >= recipe.patience:
            best = f"the best was {progress.best_eer:.2%} after epoch {progress.best_epoch}"
            why = f"no lower dev EER in {recipe.patience} epochs; {best}"
            folder.tell(RunStatus.STOPPED_EARLY, epoch=epoch, message=why)
            return
        folder.tell(RunStatus.RUNNING, epoch=epoch)
        trained.train()
        drawn = batches.epoch(epoch)
        for step in range(progress.step % batches.steps_per_epoch, batches.steps_per_epoch):
            started = time.monotonic()
            images, labels = _own_part(batches, drawn[step], epoch=epoch, step=step, world=world)
            made = time.monotonic()
            with torch.autocast(world.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
                logits = forward(images).float()
            loss = cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            progress.step += 1
            # A gradient that is not finite spoils the weights before any loss shows it: 0 * norm makes it show.
            meter.add(loss.detach() + 0 * norm, (logits.argmax(1) == labels).float().mean(), started, made)
            if progress.step % _LOG_EVERY_STEPS == 0:
                if is_main():
                    print(meter.eta(progress.step, num_steps), flush=True)
                meter.log(progress.step)
                if step + 1 < batches.steps_per_epoch:  # an epoch's last is saved once dev is measured
                    saver.save(progress, is_due=False)
        meter.log(progress.step)
        _measure(average.module, batches, dev_split, folder, progress, epoch + 1)
        saver.save(progress, is_due=True)
    folder.tell(RunStatus.FINISHED, epoch=recipe.num_epochs)


def _shared_precision(folder: RunFolder, network: torch.nn.Module, batches: BatchMaker, world: World) -> str:
    """The precision that the main process found faster, in all processes."""
    found = [folder.decided("precision", lambda: faster_precision(network, batches, world.device)) if is_main() else None]
    if world.size > 1:
        torch.distributed.broadcast_object_list(found)
    return found[0]


def faster_precision(network: torch.nn.Module, batches: BatchMaker, device: torch.device) -> str:
    """`bfloat16` or `float32`, by the time of a step in each: a CPU without AVX-512 takes six times as long in the former."""
    if device.type != "cpu":
        return "bfloat16"
    rows, columns = batches.front_end(torch.zeros(1, WINDOW_SAMPLES)).shape[-2:]
    images = torch.randn(8, batches.recipe.features.num_channels, rows, columns)
    probe, seconds = copy.deepcopy(network).train(), {}
    for precision in ("float32", "bfloat16"):
        for _ in range(2):  # the first step is slower
            started = time.monotonic()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
                loss = probe(images).float().square().mean()
            loss.backward()
            seconds[precision] = time.monotonic() - started
    fastest = "bfloat16" if seconds["bfloat16"] < 0.8 * seconds["float32"] else "float32"
    times = ", ".join(f"{name} {1000 * taken:.0f} ms" for name, taken in seconds.items())
    print(f"computing in {fastest} (8 images: {times})", flush=True)
    return fastest


def _first_weights(detector: Detector, recipe: Recipe) -> torch.nn.Module:
    """A detector's network, to train further.

    Raises:
        CoreError: it is of another kind than the recipe's.
    """
    manifest = detector.manifest
    if (manifest.model, manifest.num_members, manifest.features) != (recipe.model, 1, recipe.features):
        raise CoreError(
            f"{detector.name} is {manifest.num_members} x {manifest.model} on {manifest.input_words}; the recipe {recipe.name} "
            f"trains one {recipe.model} on {recipe.features.kind}. Start from a detector of that kind, or without --from."
        )
    return detector.load_model().train()


def load_trained(run: Path, recipe: Recipe) -> torch.nn.Module:
    """The best network of a run, in evaluation mode.

    Raises:
        CoreError: no weights yet, or those of another network.
    """
    path = run / WEIGHTS_FILE
    if not path.is_file():
        raise CoreError(f"No weights at {path}: the run has not ended an epoch yet.")
    network = build_model(recipe.model)
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError:
        raise CoreError(f"{path} does not hold the weights of a {recipe.model}: it is of another network.") from None
    except (SafetensorError, OSError) as error:
        raise CoreError(f"{path} is damaged ({error}); train again from the run's checkpoint.") from None
    return network.eval()


def _own_part(
    batches: BatchMaker, drawn: torch.Tensor, *, epoch: int, step: int, world: World
) -> tuple[torch.Tensor, torch.Tensor]:
    """This process's shards of a batch, `[part, channel, 224, 224]` and labels `[part]`."""
    shards = list(enumerate(drawn.chunk(batches.recipe.num_shards)))
    per_process = len(shards) // world.size
    own = shards[world.rank * per_process : (world.rank + 1) * per_process]
    # What is random in the network (dropout) follows from the place in the run too.
    torch.manual_seed(int(np.random.SeedSequence([batches.seed, 3, epoch, step, world.rank]).generate_state(1)[0]))
    parts = [batches.shard(part, epoch=epoch, step=step, number=number) for number, part in own]
    images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return images.contiguous(memory_format=torch.channels_last), labels


def _measure(
    network: torch.nn.Module, batches: BatchMaker, dev: LabelledSplit, folder: RunFolder, progress: _Progress, epoch: int
) -> None:
    """Scores dev, logs it, and keeps the weights when they are the best so far. Every process does, so that all stop alike."""
    raw = score_split(network, batches.front_end, dev)
    spoof = dev.is_spoof
    eer, _ = equal_error_rate(raw, spoof)
    loss = binary_cross_entropy_with_logits(torch.from_numpy(raw).float(), torch.from_numpy(spoof).float())
    said = raw >= 0
    folder.log(
        split="dev",
        epoch=epoch,
        step=progress.step,
        loss=float(loss),
        accuracy=float((said == spoof).mean()),
        balanced_accuracy=balanced_accuracy(raw, spoof),
        eer=eer,
    )
    if eer < progress.best_eer:
        progress.best_eer, progress.best_epoch = eer, epoch
        if is_main():
            save_weights(folder.path / WEIGHTS_FILE, network)
    if is_main():
        print(f"epoch {epoch}: dev EER {eer:.2%} (best {progress.best_eer:.2%} after epoch {progress.best_epoch})", flush=True)


class _Meter:
    """Averages what the steps gave between two log lines; the sums stay on the device, so that no step waits for them."""

    def __init__(self, folder: RunFolder, world: World, steps_per_epoch: int, optimizer: torch.optim.Optimizer) -> None:
        self._folder, self._world, self._steps_per_epoch, self._optimizer = folder, world, steps_per_epoch, optimizer
        self._clear()

    def _clear(self) -> None:
        self._sums = torch.zeros(2, device=self._world.device)
        self._num_steps, self._data_s, self._started = 0, 0.0, math.inf

    def add(self, loss: torch.Tensor, right: torch.Tensor, started: float, made: float) -> None:
        """Takes one step's loss and share of right calls, when it started and when it had its images."""
        self._sums += torch.stack([loss, right])
        self._num_steps += 1
        self._data_s += made - started
        self._started = min(self._started, started)

    def eta(self, step: int, num_steps: int) -> str:
        """Time of a step and what is left, in words; of the steps since the last line."""
        per_step = (time.monotonic() - self._started) / max(1, self._num_steps)
        return f"step {step:,} of {num_steps:,}: {per_step:.2f} s a step, {(num_steps - step) * per_step / 60:.0f} min left"

    def log(self, step: int) -> None:
        """Writes a line and starts anew.

        Raises:
            CoreError: the loss is not finite.
        """
        if not self._num_steps:
            return
        loss, right = (self._world.mean(part) / self._num_steps for part in self._sums)
        if not math.isfinite(loss):
            raise CoreError(f"the loss became {loss} before step {step}; start a new run with a lower learning rate")
        seconds = time.monotonic() - self._started
        batch_size = self._folder.recipe.batch_size
        self._folder.log(
            split="train",
            epoch=round(step / self._steps_per_epoch, 4),
            step=step,
            loss=loss,
            accuracy=right,
            learning_rate=self._optimizer.param_groups[0]["lr"],
            samples_per_s=round(self._num_steps * batch_size / seconds, 1),
            data_share=round(self._data_s / seconds, 4),
        )
        self._clear()


class _Saver:
    """Writes the checkpoint in the main process, and reads it in all."""

    def __init__(self, path: Path, state: dict[str, Any]) -> None:
        self._path, self._state, self._saved_at = path, state, time.monotonic()

    def save(self, progress: _Progress, *, is_due: bool) -> None:
        """Writes it when it is due, or the last one is old."""
        if is_main() and (is_due or time.monotonic() - self._saved_at > _CHECKPOINT_EVERY_S):
            save_state(self._path, {name: part.state_dict() for name, part in self._state.items()} | {"progress": asdict(progress)})
            self._saved_at = time.monotonic()

    def restored(self) -> _Progress:
        """Loads it where there is one; where the run stands.

        Raises:
            CoreError: it is damaged or of another network.
        """
        if not self._path.is_file():
            return _Progress()
        saved = load_state(self._path)
        try:
            for name, part in self._state.items():
                part.load_state_dict(saved[name])
        except (RuntimeError, ValueError, KeyError) as error:
            first = str(error).splitlines()[0]
            raise CoreError(f"{self._path} is of another network ({first}); choose another --run folder.") from None
        progress = _Progress(**saved["progress"])
        if is_main():
            print(f"going on after step {progress.step}", flush=True)
        return progress


def _schedule(recipe: Recipe, optimizer: torch.optim.Optimizer, num_steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=num_steps + 1, pct_start=0.15)

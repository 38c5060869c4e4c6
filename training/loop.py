"""The training loop, top to bottom: crops, channels, images, logits, steps; a checkpoint after each epoch."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from core.errors import CoreError
from core.features import build_front_end
from core.metrics import equal_error_rate
from core.models import build_model
from training.augment import augment_samples, mask_image
from training.data import LabelledSplit, balanced_weights, random_crop
from training.evaluate import score_split
from training.recipes import Recipe


def train(
    recipe: Recipe, train_split: LabelledSplit, dev_split: LabelledSplit, run: Path, *, seed: int, device: str = "cpu"
) -> Path:
    """Trains a network, continuing from `run/checkpoint.pt` if it is there.

    Writes `recipe.json`, `log.jsonl` (a line per epoch) and `checkpoint.pt` into `run`. The kept weights are a
    running average over steps.

    Returns:
        The checkpoint's path.

    Raises:
        CoreError: the loss is no longer finite, or the checkpoint is of another recipe.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    front_end = build_front_end(recipe.features).to(device)
    model = build_model(recipe.model).to(device, memory_format=torch.channels_last)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps_per_epoch = len(train_split.trials) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.num_epochs * steps_per_epoch, pct_start=0.15
    )
    state = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    first_epoch = _restore(run / "checkpoint.pt", state, recipe, seed)
    (run / "recipe.json").write_text(json.dumps(asdict(recipe) | {"seed": seed}, indent=1))
    weights = balanced_weights(train_split)
    labels = torch.from_numpy(train_split.is_spoof).long()

    for epoch in range(first_epoch, recipe.num_epochs):
        started = time.monotonic()
        # All randomness follows from seed and epoch, so that a resumed run equals an uninterrupted one.
        rng = np.random.default_rng([seed, epoch])
        generator = torch.Generator(device).manual_seed(seed * 10_007 + epoch)
        drawing = torch.Generator().manual_seed(seed * 7_919 + epoch)
        order = torch.multinomial(weights, steps_per_epoch * recipe.batch_size, replacement=True, generator=drawing)
        model.train()
        losses = []
        for chosen in order.split(recipe.batch_size):
            samples = torch.stack([random_crop(train_split.samples[i], rng) for i in chosen.tolist()]).to(device)
            image = _augmented_image(samples, front_end, recipe, generator)
            with torch.autocast(device, dtype=torch.bfloat16):
                logits = model(image).float()
            loss = cross_entropy(logits, labels[chosen].to(device), label_smoothing=recipe.label_smoothing)
            if not torch.isfinite(loss):
                raise CoreError(f"the loss became {loss.item()} in epoch {epoch + 1}; lower the learning rate and start a new run")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            losses.append(loss.item())
        dev_eer, _ = equal_error_rate(score_split(average.module, front_end, dev_split), dev_split.is_spoof)
        _log(run, epoch=epoch + 1, loss=float(np.mean(losses)), dev_eer=dev_eer, seconds=time.monotonic() - started)
        _save(run / "checkpoint.pt", state, recipe, seed, epoch + 1)
    return run / "checkpoint.pt"


def load_trained(run: Path, recipe: Recipe) -> tuple[torch.nn.Module, int]:
    """The averaged network of a run's checkpoint, in evaluation mode, and how many epochs it saw.

    Raises:
        CoreError: no checkpoint, or one of another recipe.
    """
    path = run / "checkpoint.pt"
    if not path.is_file():
        raise CoreError(f"No checkpoint at {path}. Run `python -m training train {recipe.name} --run {run}` first.")
    model = build_model(recipe.model)
    average = AveragedModel(model, use_buffers=True)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if checkpoint["recipe"] != recipe.name:
        raise CoreError(f"{path} was trained by recipe {checkpoint['recipe']!r}, not {recipe.name!r}.")
    average.load_state_dict(checkpoint["average"])
    return average.module.eval(), checkpoint["epoch"]


@torch.no_grad()
def _augmented_image(samples: torch.Tensor, front_end: torch.nn.Module, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Images `[batch, 1, 224, 224]` of samples `[batch, 64000]`, the first `augment_share` through a random channel."""
    if num_augmented := int(recipe.augment_share * len(samples)):
        samples[:num_augmented] = augment_samples(samples[:num_augmented], generator)
    return mask_image(front_end(samples), generator).contiguous(memory_format=torch.channels_last)


def _log(run: Path, *, epoch: int, loss: float, dev_eer: float, seconds: float) -> None:
    with open(run / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps({"epoch": epoch, "loss": loss, "dev_eer": dev_eer, "seconds": seconds}) + "\n")
    print(f"epoch {epoch}: loss {loss:.4f}, dev EER {dev_eer:.2%}, {seconds:.0f} s", flush=True)


def _restore(path: Path, state: dict, recipe: Recipe, seed: int) -> int:
    if not path.is_file():
        return 0
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if (checkpoint["recipe"], checkpoint["seed"]) != (recipe.name, seed):
        raise CoreError(f"{path} is of recipe {checkpoint['recipe']!r}, seed {checkpoint['seed']}; choose another --run folder.")
    for name, part in state.items():
        part.load_state_dict(checkpoint[name])
    print(f"resuming after epoch {checkpoint['epoch']}", flush=True)
    return checkpoint["epoch"]


def _save(path: Path, state: dict, recipe: Recipe, seed: int, epoch: int) -> None:
    partial = path.with_suffix(".partial")
    parts = {name: part.state_dict() for name, part in state.items()}
    torch.save(parts | {"recipe": recipe.name, "seed": seed, "epoch": epoch}, partial)
    os.replace(partial, path)

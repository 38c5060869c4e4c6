"""The vocoder's training loop, top to bottom: crops, energy distance, later critics; resumed exactly at any checkpoint.

On the CPU, in one process: the network is small. `core.attacks.neural` owns the network, `training.vocoder_publish` what
is made of a run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from core.attacks.neural import NeuralVocoder, VocoderConfig, voice_of
from core.errors import CoreError
from training.checkpoint import load_state, save_state
from training.data import LabelledSplit
from training.vocoder_batches import BonaFideCrops, generator_at
from training.vocoder_discriminators import SpectrogramDiscriminators
from training.vocoder_losses import adversarial_loss, critic_loss, energy_distance, matching_loss, spectra_of
from training.vocoder_run import VocoderRecipe, cut_log, describe, log_line, read_description

CHECKPOINT_FILE = "vocoder.safetensors"
_LOG_EVERY_STEPS = 50


def train_vocoder(
    recipe: VocoderRecipe,
    split: LabelledSplit,
    run: Path,
    *,
    seed: int,
    data_folder: Path,
    checkpoint_every_s: float = 180.0,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains on a split's bona fide speech, going on from the run's checkpoint if there is one.

    Writes `vocoder_run.json` (recipe, seed, data), `vocoder_log.jsonl` and `vocoder.safetensors`, the checkpoint.

    Args:
        data_folder: where the split came from; recorded.

    Returns:
        The checkpoint's path.

    Raises:
        CoreError: no bona fide speech, a folder of another run, a loss that is not finite, a full disk.
    """
    crops = BonaFideCrops(split, crop_samples=recipe.crop_samples, seed=seed)
    describe(run, recipe, split, seed=seed, data_folder=data_folder)
    trainer = _Trainer(recipe, crops, seed)
    path = run / CHECKPOINT_FILE
    if path.is_file():
        trainer.restore(path)
        cut_log(run, trainer.step)
        say(f"going on after step {trainer.step}")
    saved_at = logged_at = time.monotonic()
    measured: dict[str, list[float]] = {}
    while trainer.step < recipe.num_steps:
        for name, value in trainer.take_step().items():
            measured.setdefault(name, []).append(value)
        if trainer.step % _LOG_EVERY_STEPS == 0:
            now = time.monotonic()
            say(log_line(run, trainer.step, measured, (now - logged_at) / len(measured["energy_distance"])))
            measured, logged_at = {}, now
            if now - saved_at > checkpoint_every_s:
                trainer.save(path)
                saved_at = now
    trainer.save(path)
    return path


def trained_vocoder(run: Path) -> tuple[NeuralVocoder, dict[str, Any]]:
    """The averaged network of a run, in evaluation mode, and its description with the `step` it stands at.

    Raises:
        CoreError: no run, no checkpoint yet, or a damaged one.
    """
    described = read_description(run)
    if not (run / CHECKPOINT_FILE).is_file():
        raise CoreError(f"{run} has no checkpoint yet; train for some minutes first.")
    state = load_state(run / CHECKPOINT_FILE)
    average = _average(NeuralVocoder(VocoderConfig(**described["recipe"]["network"])), 0.0)
    average.load_state_dict(state["average"])
    return average.module.eval().requires_grad_(False), described | {"step": state["step"]}


class _Trainer:
    """Networks, optimizers and the step they stand at."""

    def __init__(self, recipe: VocoderRecipe, crops: BonaFideCrops, seed: int) -> None:
        self._recipe, self._crops, self._seed, self.step = recipe, crops, seed, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network, self.critics = NeuralVocoder(recipe.network), SpectrogramDiscriminators()
        self.average = _average(self.network, recipe.average_decay)
        betas = (0.8, 0.99)  # those of HiFi-GAN (Kong et al. 2020)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=recipe.learning_rate, betas=betas)
        self.critic_optimizer = torch.optim.AdamW(self.critics.parameters(), lr=recipe.critic_learning_rate, betas=betas)
        self._parts = ("network", "average", "critics", "optimizer", "critic_optimizer")

    def take_step(self) -> dict[str, float]:
        """One step of both sides; what it measured."""
        recipe = self._recipe
        rate = _rate(self.step, recipe)
        self.optimizer.param_groups[0]["lr"] = recipe.learning_rate * rate
        self.critic_optimizer.param_groups[0]["lr"] = recipe.critic_learning_rate * rate
        real = self._crops.batch(self.step, recipe.batch_size)
        with torch.no_grad():
            voice, spectra = voice_of(real, recipe.network), spectra_of(real)
        takes = self.network(voice, generator_at(self._seed, 1, self.step), num_takes=2)
        distance = energy_distance([spectra_of(take) for take in takes], spectra)
        loss, measured = distance, {"energy_distance": distance}
        if self.step >= recipe.adversarial_from:
            num = recipe.critic_batch_size
            judged = self._judged(real[:num], takes[0, :num])
            loss = distance + recipe.adversarial_weight * judged["adversarial"] + recipe.matching_weight * judged["matching"]
            measured |= judged
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not math.isfinite(float(loss.detach() + 0 * norm)):
            raise CoreError(f"the loss became {loss.item()} at step {self.step}; start a new run with a lower learning rate")
        self.optimizer.step()
        self.average.update_parameters(self.network)
        self.step += 1
        return {name: float(value.detach()) for name, value in measured.items()}

    def _judged(self, real: torch.Tensor, made: torch.Tensor) -> dict[str, torch.Tensor]:
        """Trains the critics, then asks them."""
        of_real, real_features = self.critics(real)
        of_made, _ = self.critics(made.detach())
        loss = critic_loss(of_real, of_made)
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimizer.step()
        self.critics.requires_grad_(False)
        of_made, made_features = self.critics(made)
        self.critics.requires_grad_(True)
        real_features = [[layer.detach() for layer in layers] for layers in real_features]
        matching = matching_loss(real_features, made_features)
        return {"critic": loss, "adversarial": adversarial_loss(of_made), "matching": matching}

    def save(self, path: Path) -> None:
        """Writes everything that going on needs."""
        save_state(path, {name: getattr(self, name).state_dict() for name in self._parts} | {"step": self.step})

    def restore(self, path: Path) -> None:
        """Reads what `save` wrote.

        Raises:
            CoreError: damaged, or of another network.
        """
        state = load_state(path)
        try:
            for name in self._parts:
                getattr(self, name).load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CoreError(f"{path} is of another network ({str(error).splitlines()[0]}); choose another --run.") from None
        self.step = state["step"]


def _average(network: NeuralVocoder, decay: float) -> AveragedModel:
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))


def _rate(step: int, recipe: VocoderRecipe) -> float:
    """Share of the learning rate: up over 100 steps, down to a twentieth over the last quarter."""
    left = (recipe.num_steps - step) / (0.25 * recipe.num_steps)
    return min(1.0, (step + 1) / 100) * max(0.05, min(1.0, left))

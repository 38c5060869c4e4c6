"""The vocoder's training loop, top to bottom: crops, energy distance, later critics; resumed exactly at any checkpoint.

On the CPU, in one process: the network is small. `core.attacks.neural` owns the network, `training.vocoder_publish` what
is made of a run.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from core.attacks.neural import NeuralVocoder, VocoderConfig, voice_of
from core.errors import CoreError
from training.checkpoint import load_state, save_state
from training.data import LabelledSplit
from training.run_folder import code_revision, utc_now
from training.vocoder_batches import BonaFideCrops, generator_at
from training.vocoder_discriminators import SpectrogramDiscriminators
from training.vocoder_losses import adversarial_loss, critic_loss, energy_distance, matching_loss, spectra_of

RUN_FILE, LOG_FILE, CHECKPOINT_FILE = "vocoder_run.json", "vocoder_log.jsonl", "vocoder.safetensors"
_LOG_EVERY_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderRecipe:
    """How a vocoder is trained."""

    network: VocoderConfig = field(default_factory=VocoderConfig)
    num_steps: int = 2_000
    """Steps in all; a run may be given more later. The learning rate falls over the last quarter."""
    batch_size: int = 8
    """Crops of each step."""
    crop_samples: int = 16_384
    """About a second."""
    learning_rate: float = 1e-3
    critic_learning_rate: float = 5e-4
    adversarial_from: int = 800
    """The step from which critics are trained and heard."""
    critic_batch_size: int = 4
    """Crops of each step that the critics hear; they cost more than the network."""
    adversarial_weight: float = 0.05
    """Weight of the critics' judgement beside the energy distance."""
    matching_weight: float = 0.2
    """Weight of feature matching."""
    average_decay: float = 0.999
    """Of the running average of the weights, which is what is used."""

    def __post_init__(self) -> None:
        if min(self.num_steps, self.batch_size, self.critic_batch_size) < 1 or self.crop_samples < 2_048:
            raise CoreError(f"a vocoder needs at least 1 step, 1 crop and crops of 2,048 samples, not {self}")


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
    _describe(run, recipe, split, seed=seed, data_folder=data_folder)
    trainer = _Trainer(recipe, crops, seed)
    path = run / CHECKPOINT_FILE
    if path.is_file():
        trainer.restore(path)
        _cut_log(run, trainer.step)
        say(f"going on after step {trainer.step}")
    saved_at = logged_at = time.monotonic()
    sums: dict[str, float] = {}
    while trainer.step < recipe.num_steps:
        for name, value in trainer.take_step().items():
            sums[name] = sums.get(name, 0.0) + value / _LOG_EVERY_STEPS
        if trainer.step % _LOG_EVERY_STEPS == 0:
            now = time.monotonic()
            _log(run, trainer.step, sums, (now - logged_at) / _LOG_EVERY_STEPS, say)
            sums, logged_at = {}, now
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


def _describe(run: Path, recipe: VocoderRecipe, split: LabelledSplit, *, seed: int, data_folder: Path) -> None:
    """Writes `vocoder_run.json`, or checks that the one there is of the same recipe (but for its length), seed and data."""
    described = {
        "recipe": asdict(recipe),
        "seed": seed,
        "data": {
            "folder": str(data_folder.resolve()),
            "split": split.name,
            "hash": split.data_hash,
            "num_recordings": int((~split.is_spoof).sum()),
        },
        "code_revision": code_revision(),
        "torch": torch.__version__,
        "started_at": utc_now(),
    }
    if (run / RUN_FILE).is_file():
        there = read_description(run)
        there_recipe = there["recipe"] | {"num_steps": recipe.num_steps}
        if there_recipe != described["recipe"] or there["seed"] != seed or there["data"]["hash"] != split.data_hash:
            raise CoreError(f"{run} holds a run of another recipe, seed or data; choose another --run folder.")
        described = there | {"recipe": there_recipe, "data": described["data"]}
    run.mkdir(parents=True, exist_ok=True)
    (run / RUN_FILE).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def read_description(run: Path) -> dict[str, Any]:
    """The content of a run's `vocoder_run.json`.

    Raises:
        CoreError: there is none, or it is damaged.
    """
    try:
        return json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CoreError(f"{run} is no run of the vocoder ({error}); `python -m training vocoder train --run` makes one.") from None


def _log(run: Path, step: int, measured: dict[str, float], step_s: float, say: Callable[[str], None]) -> None:
    line = {"step": step} | {name: round(value, 5) for name, value in measured.items()} | {"step_s": round(step_s, 3)}
    try:
        with open(run / LOG_FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise CoreError(f"{run / LOG_FILE} could not be written ({error}). Free some space, then run the same command.") from error
    say(json.dumps(line))


def _cut_log(run: Path, step: int) -> None:
    """Forgets lines after the checkpoint's step; they are measured again."""
    path = run / LOG_FILE
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("".join(line + "\n" for line in lines if json.loads(line)["step"] <= step), encoding="utf-8")


def longer(recipe: VocoderRecipe, num_steps: int | None) -> VocoderRecipe:
    """The recipe with another number of steps, if one is given."""
    return recipe if num_steps is None else replace(recipe, num_steps=num_steps)

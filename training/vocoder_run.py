"""What a vocoder's run is and writes for people: its recipe, `vocoder_run.json`, `vocoder_log.jsonl`. Trains nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from core.attacks.neural import VocoderConfig
from core.errors import CoreError
from core.whole_files import replace_file
from training.data import LabelledSplit
from training.run_folder import code_revision, utc_now

RUN_FILE, LOG_FILE = "vocoder_run.json", "vocoder_log.jsonl"


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


def describe(run: Path, recipe: VocoderRecipe, split: LabelledSplit, *, seed: int, data_folder: Path) -> None:
    """Writes `vocoder_run.json`, or checks that the one there is of the same recipe (but for its length), seed and data.

    Raises:
        CoreError: the folder belongs to another run.
    """
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
    replace_file(run / RUN_FILE, json.dumps(described, indent=1) + "\n")


def read_description(run: Path) -> dict[str, Any]:
    """The content of a run's `vocoder_run.json`.

    Raises:
        CoreError: there is none, or it is damaged.
    """
    try:
        return json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CoreError(f"{run} is no run of the vocoder ({error}); `python -m training vocoder train --run` makes one.") from None


def log_line(run: Path, step: int, measured: Mapping[str, Sequence[float]], step_s: float) -> str:
    """Adds the means of what some steps measured to the run's log; returns the line.

    Raises:
        CoreError: the log cannot be written.
    """
    means = {name: round(sum(values) / len(values), 5) for name, values in measured.items()}
    line = json.dumps({"step": step} | means | {"step_s": round(step_s, 3)})
    try:
        with open(run / LOG_FILE, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise CoreError(f"{run / LOG_FILE} could not be written ({error}). Free some space, then run the same command.") from error
    return line


def cut_log(run: Path, step: int) -> None:
    """Forgets lines after the checkpoint's step; they are measured again."""
    path = run / LOG_FILE
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("".join(line + "\n" for line in lines if json.loads(line)["step"] <= step), encoding="utf-8")


def longer(recipe: VocoderRecipe, num_steps: int | None) -> VocoderRecipe:
    """The recipe with another number of steps, if one is given."""
    return recipe if num_steps is None else replace(recipe, num_steps=num_steps)

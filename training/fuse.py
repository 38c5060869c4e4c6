"""From heads on frozen features and a fast detector to one: weighed, calibrated and measured as `training.publish` does."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from core.calibration import fit_calibration
from core.checkpoints import Detector
from core.detector_config import FUSION, Branch, FeatureConfig
from core.errors import CoreError
from core.fusion import Fusion
from core.whisper import PooledHead, WhisperConfig
from core.whole_files import replace_file
from training.data import LabelledSplit, by_corpus, chosen_of
from training.evaluate import score_split
from training.familiarity import add_familiarity
from training.frozen import open_features
from training.heads import HeadRecipe, material_of, split_scores, train_head
from training.pretrained import PRETRAINED, WHISPER_FILE, load_whisper
from training.publish import finish, splits_of
from training.run_folder import code_revision, utc_now
from training.scores import write_scores

HEADS_FILE, DESCRIPTION_FILE = "heads.safetensors", "heads.json"
NUM_HEADS = 3


def make_heads(features: Path, out: Path, recipe: HeadRecipe) -> Path:
    """Trains the heads of a detector, one for each seed, and writes them with what they were trained on.

    Raises:
        CoreError: no features, or `out` is there already.
    """
    if (out / HEADS_FILE).is_file():
        raise CoreError(f"{out} holds heads already; choose another folder.")
    frozen = open_features(features)
    material = material_of(frozen)
    heads = [train_head(material, recipe, seed=seed) for seed in range(NUM_HEADS)]
    out.mkdir(parents=True, exist_ok=True)
    described = {
        "recipe": asdict(recipe),
        "features": frozen.manifest,
        "features_folder": str(features.absolute()),
        "code_revision": code_revision(),
        "made_at": utc_now(),
    }
    save_file(torch.nn.ModuleList(heads).state_dict(), out / HEADS_FILE)
    replace_file(out / DESCRIPTION_FILE, json.dumps(described, indent=1) + "\n")
    return out


def load_heads(folder: Path) -> tuple[list[PooledHead], dict[str, Any]]:
    """The heads that `make_heads` wrote, and what it says of them.

    Raises:
        CoreError: there are none, or they are damaged.
    """
    try:
        described = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / HEADS_FILE)
        heads = torch.nn.ModuleList(
            PooledHead(len(tensors["0.mean"]), width=described["recipe"]["width"]) for _ in range(NUM_HEADS)
        )
        heads.load_state_dict(tensors)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CoreError(f"{folder} holds no heads ({error}); make them with `python -m training heads`.") from None
    return list(heads.eval()), described


def fuse(
    heads_folder: Path, fast: Detector, *, name: str, out: Path, scores_out: Path, num_second_pass: int, source: Path | None = None
) -> Detector:
    """Makes a detector of a fast one of ours and the heads on Whisper, each weighed by the deviation of its scores on dev.

    Args:
        heads_folder: as `make_heads` wrote it.
        fast: the first branch.
        name: the new detector's.
        out: folder that will hold its folder.
        scores_out: folder for its scores of test.
        num_second_pass: how many windows of a channel all networks judge; 0 for all.
        source: Whisper's weights.

    Raises:
        CoreError: what it is made of, or the data, is missing or does not fit; the detector is there already.
    """
    if (out / name).exists():
        raise CoreError(f"{out / name} is there already; choose another name or remove it first.")
    if fast.is_foreign or fast.manifest.branches or fast.manifest.num_members > 1:
        raise CoreError(f"{fast.name} is no single network of ours; name one that is, such as vgg27-spectrogram.")
    heads, described = load_heads(heads_folder)
    data = Path(described["features"]["data"])
    splits = splits_of(data, described["features"]["data_hash"]["dev"])
    raw = [
        score_split(fast.load_model(), fast.build_front_end(), splits["dev"]),
        split_scores(open_features(Path(described["features_folder"])), "dev", heads),
    ]
    features = fast.manifest.features, FeatureConfig(kind="whisper_mel")
    branches = tuple(
        Branch(model=model, features=kind, weight=round(float(1 / np.std(scores)), 6))
        for model, kind, scores in zip((fast.manifest.model, "whisper_base"), features, raw, strict=True)
    )
    network = Fusion(branches)
    network.networks[0].load_state_dict(fast.load_model().state_dict())
    network.networks[1].encoder.load_state_dict(load_whisper(source or PRETRAINED / WHISPER_FILE, WhisperConfig()).state_dict())
    try:
        network.networks[1].heads.load_state_dict(torch.nn.ModuleList(heads).state_dict())
    except RuntimeError:
        raise CoreError(
            f"{heads_folder} holds heads of another shape than `whisper_base` has; train them with its recipe."
        ) from None
    _write_alone(heads, described, splits, scores_out, name)
    detector = finish(
        network.eval(),
        torch.nn.Identity(),
        splits,
        scores_out=scores_out,
        folder=out / name,
        name=name,
        summary=f"{fast.name} and the first {described['features']['num_blocks']} blocks of Whisper base, their scores summed.",
        model=FUSION,
        features=None,
        branches=branches,
        num_second_pass=num_second_pass,
        provenance=_provenance(described, fast, splits),
    )
    add_familiarity(detector, data, say=lambda _: None)
    return detector


def _write_alone(
    heads: list[PooledHead], described: dict[str, Any], splits: dict[str, LabelledSplit], scores_out: Path, name: str
) -> None:
    """What the heads say of test without the fast detector, calibrated on dev: `NAME-heads-alone.test.csv`."""
    if "test" not in splits:
        return
    frozen, dev, test = open_features(Path(described["features_folder"])), splits["dev"], splits["test"]
    calibration = fit_calibration(split_scores(frozen, "dev", heads), dev.is_spoof)
    scores = calibration.slope * split_scores(frozen, "test", heads) + calibration.offset
    for part, chosen in by_corpus(test).items():
        write_scores(scores_out / f"{name}-heads-alone.{part}.csv", scores[chosen], chosen_of(test, chosen).index)


def _provenance(described: dict[str, Any], fast: Detector, splits: dict[str, Any]) -> dict[str, Any]:
    trained = fast.manifest.provenance
    num_train = trained["num_recordings"]["train"]
    return {
        "branches": [
            f"{fast.name} ({fast.hash[:12]}), recipe {trained['recipe']['name']}",
            f"frozen encoder of {described['features']['encoder']}, {NUM_HEADS} heads of seeds 0 to {NUM_HEADS - 1}",
        ],
        "encoder": described["features"]["encoder"],
        "fast": {"name": fast.name, "hash": fast.hash, "provenance": trained},
        "heads": {key: described[key] for key in ("recipe", "features", "code_revision", "made_at")},
        "weights": "1 / standard deviation of each branch's raw scores on dev",
        "data": {"train": described["features"]["data_hash"]["train"]} | {name: split.data_hash for name, split in splits.items()},
        "num_recordings": {"train": num_train} | {name: len(split) for name, split in splits.items()},
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "torchaudio", "numpy")},
        "made_at": utc_now(),
    }

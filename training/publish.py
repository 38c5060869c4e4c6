"""From a run to a detector: calibrate and choose thresholds on dev, measure, write the model card."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.calibration import Calibration, choose_thresholds, fit_calibration
from core.checkpoints import MAX_MEMBERS, Detector, DetectorManifest, Figure, save_detector
from core.errors import CoreError, DetectorError
from core.features import build_front_end
from core.models import Ensemble
from core.runs.metrics import read_metrics
from core.runtime import embedding_scorer
from training.augment import telephone_line
from training.card import model_card
from training.crops import trim_edges
from training.data import LabelledSplit, by_corpus, chosen_of, load_split, split_names, to_float, to_int16
from training.evaluate import figures_of, pooled_eer, score_split
from training.familiarity import add_familiarity
from training.loop import load_trained
from training.recipes import Recipe
from training.run_folder import read_run, recipe_of, utc_now
from training.scores import write_scores

MAX_ERROR = 0.05
"""Thresholds keep wrong verdicts of either kind at this share on dev."""


def publish(runs: Sequence[Path], *, name: str, out: Path, scores_out: Path) -> Detector:
    """Makes a detector folder with its card and what it was trained on, and a score file of the test split.

    Calibration and thresholds come from dev; test is only reported (and left out where the data has none).

    Args:
        runs: a run with weights, or several of one recipe on the same data, whose networks become one ensemble.
        name: the detector's name.
        out: folder that will hold the new detector folder.
        scores_out: folder for `NAME.test.csv`.

    Raises:
        CoreError: no weights, runs of different recipes or data, the data has moved or changed, or the detector's folder is
            there already.
    """
    if len({run.resolve() for run in runs}) < len(runs) or len(runs) > MAX_MEMBERS:
        raise CoreError(f"{len(runs)} runs are named; expected 1 to {MAX_MEMBERS} different ones")
    recipe, described = recipe_of(runs[0]), [read_run(run) for run in runs]
    if any(
        (each["recipe"], each["data"]["hash"]["dev"]) != (described[0]["recipe"], described[0]["data"]["hash"]["dev"])
        for each in described
    ):
        raise CoreError(
            "the runs are of different recipes or were chosen on different data; "
            "only runs that differ in nothing but their seed make one detector"
        )
    if (out / name).exists():
        raise CoreError(f"{out / name} is there already; choose another name or remove it first.")
    splits = splits_of(Path(described[0]["data"]["folder"]), described[0]["data"]["hash"]["dev"])
    members = [load_trained(run, recipe) for run in runs]
    network = members[0] if len(members) == 1 else Ensemble(members).eval()
    detector = finish(
        network,
        build_front_end(recipe.features),
        splits,
        scores_out=scores_out,
        folder=out / name,
        name=name,
        summary=_summary(recipe, len(runs)),
        model=recipe.model,
        num_members=len(runs),
        features=recipe.features,
        provenance=_provenance(runs, described, splits),
    )
    _add_familiarity(detector, network, Path(described[0]["data"]["folder"]))
    return detector


def finish(
    network: torch.nn.Module,
    front_end: torch.nn.Module,
    splits: dict[str, LabelledSplit],
    *,
    scores_out: Path,
    folder: Path,
    **fields: Any,
) -> Detector:
    """Calibrates a network on dev, chooses thresholds there, measures both splits, and writes detector, card and score files.

    Args:
        network: in evaluation mode.
        front_end: what feeds it.
        splits: `dev`, and `test` where there is one. Each corpus of test has figures and a score file of its own.
        scores_out: folder for `NAME.test.csv`.
        folder: the detector's.
        fields: of the manifest, but for what is measured here.
    """
    dev = splits["dev"]
    raw = score_split(network, front_end, dev)
    calibration = fit_calibration(raw, dev.is_spoof)
    scores = calibration.slope * raw + calibration.offset
    thresholds = choose_thresholds(scores, dev.is_spoof, max_error=MAX_ERROR)
    figures: list[Figure] = []
    measured: dict[str, tuple[np.ndarray, LabelledSplit]] = {}
    if test := splits.get("test"):
        of_test = calibration.slope * score_split(network, front_end, test) + calibration.offset
        for name, chosen in by_corpus(test).items():
            part = chosen_of(test, chosen)
            measured[name] = of_test[chosen], part
            figures += [*figures_of(name, *measured[name]), *_conditions(name, network, front_end, part, calibration)]
            write_scores(scores_out / f"{fields['name']}.{name}.csv", of_test[chosen], part.index)
    for name, chosen in by_corpus(dev).items():
        figures += figures_of(name, scores[chosen], chosen_of(dev, chosen))
    manifest = DetectorManifest(aggregate="mean", calibration=calibration, thresholds=thresholds, figures=tuple(figures), **fields)
    detector = save_detector(folder, network, manifest)
    (folder / "README.md").write_text(model_card(detector, measured), encoding="utf-8")
    return detector


def _add_familiarity(detector: Detector, network: torch.nn.Module, data: Path) -> None:
    """Tells the detector what it was trained on; not one whose network has no embedding."""
    try:
        scorer = embedding_scorer(network)
    except DetectorError:
        return
    add_familiarity(detector, data, network=scorer, say=lambda _: None)


def splits_of(folder: Path, dev_hash: str) -> dict[str, LabelledSplit]:
    """The split that a detector is chosen on, and test where there is one.

    Raises:
        CoreError: the data is not where it was, or is not what it was.
    """
    dev = load_split(folder, "dev")
    if dev.data_hash != dev_hash:
        raise CoreError(f"{folder} holds another dev split than the run was chosen on; prepare the data as it was.")
    return {"dev": dev} | ({"test": load_split(folder, "test")} if "test" in split_names(folder) else {})


def _conditions(
    name: str, network: torch.nn.Module, front_end: torch.nn.Module, test: LabelledSplit, calibration: Calibration
) -> list[Figure]:
    """Pooled EER of test under changes that must not matter much."""
    changes = {
        "EER, telephone line (8 kHz, mu-law)": lambda samples: to_int16(telephone_line(to_float(samples))),
        "EER, edge silence removed": lambda samples: trim_edges(samples, keep_s=0.0, range_db=35.0),
    }
    figures = []
    for title, change in changes.items():
        recordings = [change(test.recording(i)) for i in range(len(test))]
        lengths = torch.tensor([len(samples) for samples in recordings])
        changed = dataclasses.replace(test, samples=torch.cat(recordings), starts=lengths.cumsum(0) - lengths, lengths=lengths)
        scores = calibration.slope * score_split(network, front_end, changed) + calibration.offset
        figures.append(pooled_eer(name, title, scores, changed))
    return figures


def _summary(recipe: Recipe, num_members: int) -> str:
    several = f"{num_members} networks {recipe.model}, averaged," if num_members > 1 else recipe.model
    return f"{several} on the {recipe.features.kind.replace('_', ' ')} image, recipe {recipe.name}."


def _provenance(runs: Sequence[Path], described: list[dict[str, Any]], splits: dict[str, LabelledSplit]) -> dict[str, Any]:
    """What `run.json` says, what differs between the members, and the hashes of what was measured."""
    first, data = described[0], described[0]["data"]
    return {
        **{key: first[key] for key in ("recipe", "initialisation", "versions", "python", "machine")},
        "members": [_member(run, each) for run, each in zip(runs, described, strict=True)],
        "data": data["hash"] | {name: split.data_hash for name, split in splits.items()},
        "num_recordings": data["num_recordings"] | {name: len(split) for name, split in splits.items()},
        "made_at": utc_now(),
    }


def _member(run: Path, described: dict[str, Any]) -> dict[str, Any]:
    best = read_metrics(run).best
    return {
        **{key: described[key] for key in ("seed", "device", "num_processes", "code_revision", "started_at")},
        "train_hash": described["data"]["hash"]["train"],
        "kept_epoch": round(best.epoch),
        "kept_epoch_dev_eer": best.eer,
    }

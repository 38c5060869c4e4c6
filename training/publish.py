"""From a finished run to a shipped detector: calibrate and choose thresholds on dev, measure, write the model card."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from core.calibration import choose_thresholds, fit_calibration
from core.checkpoints import Detector, DetectorManifest, Figure, save_detector
from core.detect import Scorer
from core.errors import CoreError
from core.features import build_front_end
from core.reports import figure_words
from training.augment import telephone_line
from training.data import LabelledSplit, to_float, to_int16, trim_edges
from training.evaluate import attack_figures, figures_of, pooled_eer, score_split, verdict_shares
from training.loop import load_trained
from training.recipes import Recipe

MAX_ERROR = 0.05
"""Thresholds keep wrong verdicts of either kind at this share on dev."""


def publish(recipe: Recipe, run: Path, splits: dict[str, LabelledSplit], *, name: str, out: Path, scores_out: Path) -> Detector:
    """Makes a detector folder with its card, and a score file of the test split.

    Args:
        recipe: what was trained.
        run: the finished run.
        splits: `train` (for its hash), `dev` (calibration and thresholds) and `test` (reported only).
        name: the detector's name.
        out: folder that will hold the new detector folder.
        scores_out: folder for `NAME.test.csv`.

    Raises:
        CoreError: no checkpoint, or the folder is there already.
    """
    model, num_epochs = load_trained(run, recipe)
    front_end = build_front_end(recipe.features)
    dev = splits["dev"]
    raw = score_split(model, front_end, dev)
    calibration = fit_calibration(raw, dev.is_spoof)
    thresholds = choose_thresholds(calibration.slope * raw + calibration.offset, dev.is_spoof, max_error=MAX_ERROR)
    manifest = DetectorManifest(
        name=name,
        summary=f"{recipe.model} on the {recipe.features.kind.replace('_', ' ')}, trained on the Earwitness corpus.",
        model=recipe.model,
        features=recipe.features,
        aggregate="mean",
        calibration=calibration,
        thresholds=thresholds,
        provenance=_provenance(recipe, run, num_epochs, splits),
    )
    with tempfile.TemporaryDirectory() as scratch:
        # Measured through the serving code, so that a scan gives the card's figures.
        scorer = Scorer(save_detector(Path(scratch) / name, model, manifest))
        scores = {split: _serve(scorer, splits[split]) for split in ("dev", "test")}
    figures = [figure for split in ("test", "dev") for figure in figures_of(split, scores[split], splits[split])]
    figures += _conditions(model, front_end, splits["test"], calibration)
    detector = save_detector(out / name, model, dataclasses.replace(manifest, figures=tuple(figures)))
    _write_scores(scores_out / f"{name}.test.csv", scores["test"], splits["test"])
    by_attack = attack_figures("test", scores["test"], splits["test"])
    shares = verdict_shares(scores["test"], splits["test"].is_spoof, thresholds)
    (detector.folder / "README.md").write_text(_card(detector, by_attack, shares), encoding="utf-8")
    return detector


def _serve(scorer: Scorer, split: LabelledSplit) -> np.ndarray:
    scores = [record.detections[0].spoof_score for record in scorer.score_files(split.paths)]
    refused = [str(path) for path, score in zip(split.paths, scores) if score is None]
    if refused:
        raise CoreError(f"{len(refused)} labelled recordings were refused, the first is {refused[0]}")
    return np.array(scores)


def _conditions(model, front_end, test: LabelledSplit, calibration) -> list[Figure]:
    """Pooled EER of test under changes that must not matter much."""
    changes = {
        "EER, telephone line (8 kHz, mu-law)": lambda samples: to_int16(telephone_line(to_float(samples))),
        "EER, edge silence removed": lambda samples: trim_edges(samples, keep_s=0.0, range_db=35.0),
    }
    figures = []
    for name, change in changes.items():
        changed = dataclasses.replace(test, samples=tuple(change(samples) for samples in test.samples))
        scores = calibration.slope * score_split(model, front_end, changed) + calibration.offset
        figures.append(pooled_eer("test", name, scores, changed))
    return figures


def _provenance(recipe: Recipe, run: Path, num_epochs: int, splits: dict[str, LabelledSplit]) -> dict:
    revision = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return {
        "recipe": asdict(recipe),
        "seed": torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")["seed"],
        "num_epochs_done": num_epochs,
        "data": {name: split.data_hash for name, split in splits.items()},
        "num_recordings": {name: len(split.trials) for name, split in splits.items()},
        "code_revision": revision.stdout.strip() or "unknown",
        "versions": {package: importlib.metadata.version(package) for package in ("torch", "torchaudio", "numpy")},
        "python": platform.python_version(),
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _write_scores(path: Path, scores: np.ndarray, split: LabelledSplit) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        "utterance": [trial.utterance for trial in split.trials],
        "attack": [trial.attack or "-" for trial in split.trials],
        "label": [trial.label for trial in split.trials],
        "speaker": split.speakers,
        "source": split.groups,
        "spoof_score": scores.round(6),
    }
    pd.DataFrame(rows).to_csv(path, index=False)


def _card(detector: Detector, by_attack: tuple[Figure, ...], shares: dict[str, tuple[float, float, float]]) -> str:
    manifest, provenance, recipe = detector.manifest, detector.manifest.provenance, detector.manifest.provenance["recipe"]
    num = provenance["num_recordings"]
    test = [figure for figure in manifest.figures if figure.split == "test"]
    dev = [figure for figure in manifest.figures if figure.split == "dev"]
    few = f"Systems with fewer than 5 test recordings are left out. Intervals: {_INTERVALS}"
    verdicts = "\n".join(f"| {label} | {b:.1%} | {i:.1%} | {s:.1%} |" for label, (b, i, s) in shares.items())
    return f"""# {detector.name}

{manifest.summary} Hash `{detector.hash[:12]}`.

- **Trained on** {num["train"]:,} recordings (Earwitness corpus, train), {recipe["num_spoken"]} sentences by
  espeak-ng, flite and festival and {recipe["num_copied"]} Griffin-Lim copies of its speech; {provenance["num_epochs_done"]} epochs,
  recipe `{recipe["name"]}`, seed {provenance["seed"]}. The whole recipe is in `detector.json` under `provenance`.
- **Calibrated on** dev ({num["dev"]:,} recordings): score = {manifest.calibration.slope:.3f} x raw
  {manifest.calibration.offset:+.3f} nats. Probability is given at a prior of {manifest.calibration.prior_spoof:.0%} spoof.
- **Verdicts**: spoof from {manifest.thresholds.upper:+.2f} nats, bona fide below {manifest.thresholds.lower:+.2f},
  inconclusive between; chosen on dev for at most {MAX_ERROR:.0%} wrong verdicts of either kind.

## Test: systems and speakers mostly unseen in training

{_table(test)}

Intervals: {_INTERVALS}

What the thresholds do on test:

| truth | called bona fide | inconclusive | called spoof |
| --- | --- | --- | --- |
{verdicts}

## Dev: used for calibration and thresholds, so flattering

{_table(dev)}

## Test, by attack

EER of each system against all bona fide test recordings. {few}

{_table(by_attack)}

## Known weaknesses

- Error rates hold for recordings like the corpus: single speakers, 1 to 4.6 s, mostly English, mostly clean. They are higher than
  what detectors reach on ASVspoof 2019 with training data from the same source, and higher still on material unlike it.
- The corpus's bona fide comes mostly from a few large collections, its spoofs mostly from clean studio voices. The mean within
  sources compares like with like; where it is worse than the pooled figure, part of the pooled figure is recognition of the source.
- Bona fide speech that went through heavy noise reduction, a neural codec or a voice changer has the traces of synthesis and may
  be called spoof. Replay attacks are not in the training data.
- A splice of a few synthetic words into long real speech is diluted by the mean over segments: look at the segments.
- The labels come from folder names and page tables of the sources; nobody listened to all of them.
"""


_INTERVALS = "95 %, bootstrap over speakers (over sources for the mean within sources)."


def _table(figures: list[Figure] | tuple[Figure, ...]) -> str:
    lines = ["| figure | value | 95 % interval | bona fide | spoof |", "| --- | --- | --- | --- | --- |"]
    for figure in figures:
        value, interval = figure_words(figure)
        lines.append(f"| {figure.name} | {value} | {interval} | {figure.num_bona_fide} | {figure.num_spoof} |")
    return "\n".join(lines)

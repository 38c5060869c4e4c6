"""The model card of a detector that we trained, in Markdown. Measures nothing but what follows from the scores given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.checkpoints import Detector, Figure
from core.reports import figure_words, markdown_table, percent
from training.data import LabelledSplit
from training.evaluate import attack_figures, verdict_shares

_INTERVALS = "95 %, bootstrap over speakers (over sources for the mean within sources)"


def model_card(detector: Detector, measured: dict[str, tuple[np.ndarray, LabelledSplit]]) -> str:
    """The card.

    Args:
        detector: as saved, with its figures.
        measured: name of a test split (`test`, `test2`) -> calibrated scores and the split.
    """
    manifest = detector.manifest
    calibration, thresholds = manifest.calibration, manifest.thresholds
    sections = [
        f"""# {detector.name}

{manifest.summary} Hash `{detector.hash[:12]}`.

{_training(detector)}
- **Calibrated on** dev: score = {calibration.slope:.3f} x raw {calibration.offset:+.3f} nats. Probability is given at a prior of
  {percent(calibration.prior_spoof, 0)} spoof.
- **Verdicts**: spoof from {thresholds.upper:+.2f} nats, bona fide below {thresholds.lower:+.2f}, inconclusive between; chosen
  on dev.
"""
    ]
    sections += [_test(detector, name, *of_test) for name, of_test in measured.items()]
    for name in dict.fromkeys(figure.split for figure in manifest.figures if figure.split.startswith("dev")):
        dev = _table([figure for figure in manifest.figures if figure.split == name])
        title = f"{name.capitalize()}: used to choose, for calibration and thresholds, so flattering"
        sections.append(f"## {title}\n\n{dev}\n")
    return "\n".join([*sections, _WEAKNESSES])


def _training(detector: Detector) -> str:
    made = detector.manifest.provenance
    if detector.manifest.branches:
        return _fusion(detector)
    recipe, num = made["recipe"], made["num_recordings"]
    spoken = f", {recipe['num_spoken']} of them sentences by espeak-ng, flite and festival" if recipe["num_spoken"] else ""
    if recipe["num_coded"]:
        spoken += f", {recipe['num_coded']} coded as by telephones and messengers"
    kept = " ".join(
        f"Seed {each['seed']}: epoch {each['kept_epoch']:.0f} of {recipe['num_epochs']}, "
        f"dev EER {percent(each['kept_epoch_dev_eer'])}."
        for each in made["members"]
    )
    copies = ""
    if recipe["copy_share"]:
        copies = (
            f"\n  {percent(recipe['copy_share'], 0)} of the spoofs in a batch were replaced by copies of its bona fide speech, made"
            "\n  by vocoders (`core.attacks`)."
        )
    return (
        f"- **Trained on** {num['train']:,} recordings{spoken}; recipe `{recipe['name']}`, weights from"
        f" {made['initialisation']} initialisation.\n  {kept}"
        f"{copies}\n  The whole recipe, the data's hashes and the code's revision are in `detector.json` under `provenance`."
    )


def _fusion(detector: Detector) -> str:
    manifest, made = detector.manifest, detector.manifest.provenance
    branches = "\n".join(
        f"  - `{branch.model}` on {branch.features.kind}, weight {branch.weight:.3f}: {made['branches'][number]}"
        for number, branch in enumerate(manifest.branches)
    )
    passes = ""
    if manifest.num_second_pass:
        passes = (
            "\n- **Two passes**: the first network judges every window, all of them at most "
            f"{manifest.num_second_pass} of a channel, half of these\n  evenly spaced and half the riskiest. "
            "`scan --thorough` lets all networks judge every window."
        )
    return (
        f"- **Made of** networks whose weighted scores are summed; trained on {made['num_recordings']['train']:,} recordings.\n"
        f"{branches}{passes}\n"
        f"- **Weights of others**: {made['encoder']}; see `NOTICE.md`.\n"
        "- Recipes, the data's hashes and the code's revision are in `detector.json` under `provenance`."
    )


def _test(detector: Detector, name: str, scores: np.ndarray, test: LabelledSplit) -> str:
    figures = [figure for figure in detector.manifest.figures if figure.split == name]
    shares = verdict_shares(scores, test.is_spoof, detector.manifest.thresholds)
    verdicts = "\n".join(
        f"| {label} | {percent(low)} | {percent(between)} | {percent(high)} |" for label, (low, between, high) in shares.items()
    )
    return f"""## {name.capitalize()}: systems and speakers mostly unseen in training

{_table(figures)}

Intervals: {_INTERVALS}.

What the thresholds do on {name}:

| truth | called bona fide | inconclusive | called spoof |
| --- | --- | --- | --- |
{verdicts}

## {name.capitalize()}, by attack

EER of each system against all bona fide test recordings; systems with fewer than 5 test recordings are left out. Intervals:
{_INTERVALS}.

{_table(attack_figures(name, scores, test))}
"""


def _table(figures: Sequence[Figure]) -> str:
    rows = [(figure.name, *figure_words(figure), str(figure.num_bona_fide), str(figure.num_spoof)) for figure in figures]
    return markdown_table(("figure", "value", "95 % interval", "bona fide", "spoof"), rows)


_WEAKNESSES = """## Known weaknesses

- Error rates hold for recordings like those it was measured on. On the Earwitness corpus these are single speakers, 1 to 4.6 s,
  mostly English, mostly clean; expect more errors on material unlike it.
- The corpus's bona fide comes mostly from a few large collections, its spoofs mostly from clean studio voices. The mean within
  sources compares like with like; where it is worse than the pooled figure, part of the pooled figure is recognition of the source.
- Bona fide speech that went through heavy noise reduction, a neural codec or a voice changer has the traces of synthesis and may
  be called spoof. Replay attacks are not in the training data.
- A splice of a few synthetic words into long real speech is diluted by the mean over segments: look at the segments.
- The labels come from folder names and page tables of the sources; nobody listened to all of them.
"""

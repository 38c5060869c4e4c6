"""The model card of a detector that we trained, in Markdown. Measures nothing but what follows from the scores given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.checkpoints import Detector, Figure
from core.reports import figure_words, markdown_table, percent
from training.data import LabelledSplit
from training.evaluate import attack_figures, verdict_shares

_INTERVALS = "95 %, bootstrap over speakers (over sources for the mean within sources)"


def model_card(detector: Detector, scores: dict[str, np.ndarray], splits: dict[str, LabelledSplit]) -> str:
    """The card.

    Args:
        detector: as saved, with its figures.
        scores: split name -> calibrated scores; `dev`, and `test` where there is one.
        splits: the splits of those scores.
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
    if "test" in splits:
        sections.append(_test(detector, scores["test"], splits["test"]))
    dev = _table([figure for figure in manifest.figures if figure.split == "dev"])
    sections.append(f"## Dev: used to keep the best epoch, for calibration and thresholds, so flattering\n\n{dev}\n")
    return "\n".join([*sections, _WEAKNESSES])


def _training(detector: Detector) -> str:
    made = detector.manifest.provenance
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


def _test(detector: Detector, scores: np.ndarray, test: LabelledSplit) -> str:
    figures = [figure for figure in detector.manifest.figures if figure.split == "test"]
    shares = verdict_shares(scores, test.is_spoof, detector.manifest.thresholds)
    verdicts = "\n".join(
        f"| {label} | {percent(low)} | {percent(between)} | {percent(high)} |" for label, (low, between, high) in shares.items()
    )
    return f"""## Test: systems and speakers mostly unseen in training

{_table(figures)}

Intervals: {_INTERVALS}.

What the thresholds do on test:

| truth | called bona fide | inconclusive | called spoof |
| --- | --- | --- | --- |
{verdicts}

## Test, by attack

EER of each system against all bona fide test recordings; systems with fewer than 5 test recordings are left out. Intervals:
{_INTERVALS}.

{_table(attack_figures("test", scores, test))}
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

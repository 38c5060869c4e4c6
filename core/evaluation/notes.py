"""What a table of figures must say beside them: how intervals were made, which EER it is, and what to beware of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.evaluation.attack_info import EVAL_PART, TRAIN_PART
from core.evaluation.groupings import has_both_parts
from core.evaluation.operating_points import scored_trials
from core.evaluation.records import Metric
from core.evaluation.system_records import System
from core.evaluation.trial_sets import TrialSet
from core.metrics import area_under_curve

_FEW_SPEAKERS = 20
"""With fewer, intervals over speakers come out too narrow."""
_MANY_TIES = 0.05
"""Share of trials with one score, above which it is said: the EER as ASVspoof takes it puts bona fide before spoofs among them."""
_ASVSPOOF_NAMES = r"(?:(?:LA|PA|DF)_[TDE]_\d{7}|[TDE]_\d{10})$"
"""Recordings of ASVspoof 2019 and 2021, and of ASVspoof 5."""


def speaker_numbers(trial_set: TrialSet) -> np.ndarray | None:
    """A number per speaker, `[trial]`; None where no trial tells. A trial that does not tell is a speaker of its own."""
    speaker = trial_set.table["speaker"]
    if speaker.isna().all():
        return None
    numbers, known = pd.factorize(speaker)
    unknown = numbers < 0
    numbers[unknown] = len(known) + np.arange(np.count_nonzero(unknown))
    return numbers


def is_asvspoof(trial_set: TrialSet) -> bool:
    """Whether all recordings are ASVspoof's, so that EERs are to be compared with published ones."""
    return bool(trial_set.table["utterance"].str.match(_ASVSPOOF_NAMES).all())


def interval_method(metric: Metric, speakers: np.ndarray | None, *, num_resamples: int) -> str:
    """How the intervals of a table were made, one sentence."""
    if speakers is not None:
        num_speakers = len(np.unique(speakers))
        return (
            f"95 % intervals: bootstrap over {num_speakers:,} speakers, {num_resamples:,} resamples"
            " (over single trials where a row has one speaker)."
        )
    if metric in ("accuracy", "miss_rate"):
        return "95 % intervals: Wilson's; each trial counts by itself."
    if metric == "auc":
        return "95 % intervals: DeLong's, on the logit scale; each trial counts by itself."
    return f"95 % intervals: bootstrap over single trials, {num_resamples:,} resamples."


def set_warnings(trial_set: TrialSet, speakers: np.ndarray | None, *, as_asvspoof: bool) -> tuple[str, ...]:
    """What holds for all systems on a set."""
    warnings = []
    if has_both_parts(trial_set):
        warnings.append(
            f"This set mixes attacks of ASVspoof 2019's training and development parts ({TRAIN_PART}) with those of its"
            f" evaluation part ({EVAL_PART}). They are never averaged together: each has rows and a total of its own."
        )
    if as_asvspoof:
        warnings.append("EERs are taken as the ASVspoof organisers take them: not interpolated, at the nearest operating point.")
    if speakers is not None and len(np.unique(speakers)) < _FEW_SPEAKERS:
        warnings.append(f"The set has {len(np.unique(speakers))} speakers; with so few, the intervals come out too narrow.")
    return tuple(warnings)


def system_warnings(system: System) -> tuple[str, ...]:
    """What to know of one system on its set."""
    scores, is_spoof = scored_trials(system)
    warnings = []
    if len(scores) < len(system.scores):
        num_missing = len(system.scores) - len(scores)
        warnings.append(f"{system.name}: {num_missing:,} of {len(system.scores):,} trials have no score and enter no figure.")
    values, counts = np.unique(scores, return_counts=True)
    if len(values) == 1:
        warnings.append(f"{system.name}: all scores are the same. It tells nothing apart, and its EER is 50 %.")
    elif len(values) and counts.max() > _MANY_TIES * len(scores):
        warnings.append(
            f"{system.name}: {counts.max():,} of {len(scores):,} trials have the same score; how such ties are counted"
            " decides its figures."
        )
    if system.is_flipped:
        warnings.append(f"{system.name}: the signs of its scores were turned on import.")
    if is_spoof.any() and not is_spoof.all() and (area := area_under_curve(scores, is_spoof)) < 0.5:
        warnings.append(
            f"{system.name}: its area under the ROC curve is {area:.3f}, below chance: its scores may have the opposite sign."
        )
    return tuple(warnings)

"""The shortcut audit of a labelled set: each trivial feature alone as a detector, cross-validated, against chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from core.errors import AudioRefusal, CoreError
from core.evaluation.resampling import bootstrap_interval, paired_difference
from core.evaluation.weighted_figures import weighted_eer
from core.shortcuts.features import FEATURES, Feature, measure_recording
from core.shortcuts.records import Probe, ShortcutReport

MIN_LEAK = 0.05
"""How far below 50 % an EER must lie to matter: on thousands of recordings, less is significant and useless."""
MAX_P = 0.05
"""After Holm's correction."""
MIN_EACH = 20
"""Recordings per class; with fewer the intervals reach from nothing to everything."""
_NUM_FOLDS = 5
_MIN_GROUPS = 10
_NUM_BINS = 10
_NUM_THREADS = 2


def audit_labels(
    recordings: pd.DataFrame,
    *,
    set_name: str = "This set",
    seed: int = 0,
    num_resamples: int = 1_000,
    on_progress: Callable[[int, int], None] | None = None,
) -> ShortcutReport:
    """What duration, silence, loudness and the like give away of the labels, each by itself.

    Each feature is cut into tenths (words into their kinds) and fitted by a logistic regression that never sees the speakers
    it is tried on. A probe is a leak where its EER is below chance by `MIN_LEAK` and by more than resampling speakers explains.

    Args:
        recordings: `path`, `label` (`bona fide` or `spoof`), and where known `speaker`.
        set_name: what people call it.
        seed: of folds and resamples.
        num_resamples: of the bootstrap.
        on_progress: told how many recordings were measured, of how many.

    Raises:
        CoreError: fewer than `MIN_EACH` readable recordings of a class.
    """
    measured, skipped = measure_all(recordings, on_progress=on_progress)
    kept = recordings.reset_index(drop=True).loc[measured.index]
    return audit_measures(measured, kept, set_name=set_name, seed=seed, num_resamples=num_resamples, skipped=skipped)


def measure_all(
    recordings: pd.DataFrame, *, on_progress: Callable[[int, int], None] | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """All trivial features of the recordings that can be read, by row number, and a sentence for each of the others."""

    def measure(path: str) -> dict[str, float | str] | AudioRefusal:
        try:
            return measure_recording(path)
        except AudioRefusal as refusal:
            return refusal

    rows, skipped, paths = {}, [], list(recordings["path"])
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        for i, measures in enumerate(pool.map(measure, paths)):
            if isinstance(measures, AudioRefusal):
                skipped.append(f"{paths[i]}: {measures}")
            else:
                rows[i] = measures
            if on_progress is not None:
                on_progress(i + 1, len(paths))
    return pd.DataFrame.from_dict(rows, orient="index"), tuple(skipped)


def audit_measures(
    measured: pd.DataFrame,
    recordings: pd.DataFrame,
    *,
    set_name: str = "This set",
    seed: int = 0,
    num_resamples: int = 1_000,
    skipped: tuple[str, ...] = (),
) -> ShortcutReport:
    """As `audit_labels`, of features that were measured.

    Args:
        measured: columns of `FEATURES`; a feature without its columns is left out.
        recordings: `label` and where known `speaker`, row by row.
    """
    is_spoof = (recordings["label"] == "spoof").to_numpy()
    counts = int((~is_spoof).sum()), int(is_spoof.sum())
    if min(counts) < MIN_EACH:
        raise CoreError(
            f"{set_name} has {counts[0]} bona fide and {counts[1]} spoofed readable recordings; {MIN_EACH} of each are needed."
        )
    groups, grouped_by = _groups(recordings, is_spoof)
    options = {"groups": groups, "num_resamples": num_resamples, "seed": seed}
    features = [feature for feature in FEATURES.values() if set(feature.columns) <= set(measured.columns)]
    tried = {feature.name: _tried(feature, measured, is_spoof, groups, seed) for feature in features}
    p_values = {
        name: paired_difference(weighted_eer, scores, np.zeros(len(scores)), is_spoof, **options).p_value
        for name, scores in tried.items()
        if scores is not None
    }
    corrected = _holm(p_values)
    probes = [
        _probe(feature, tried[feature.name], corrected.get(feature.name, 1.0), measured, is_spoof, options) for feature in features
    ]
    probes.sort(key=lambda probe: (not probe.is_leak, probe.eer))
    leaks = [probe for probe in probes if probe.is_leak]
    return ShortcutReport(
        set_name=set_name,
        probes=tuple(probes),
        is_clean=not leaks,
        words=_words(set_name, leaks, probes),
        num_bona_fide=counts[0],
        num_spoof=counts[1],
        num_groups=len(np.unique(groups)),
        grouped_by=grouped_by,
        seed=seed,
        skipped=skipped,
    )


def out_of_fold_scores(columns: pd.DataFrame, is_spoof: np.ndarray, groups: np.ndarray, *, seed: int) -> np.ndarray:
    """Log odds of spoof `[recording]`, each from a classifier that saw none of the recording's group."""
    scores = np.zeros(len(columns))
    num_folds = min(_NUM_FOLDS, *(len(np.unique(groups[chosen])) for chosen in (is_spoof, ~is_spoof)))
    folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    for fitted, held in folds.split(columns, is_spoof, groups):
        if is_spoof[fitted].all() or not is_spoof[fitted].any():
            continue  # says nothing of those held out: 0
        scores[held] = _fitted(columns.iloc[fitted], is_spoof[fitted], columns.iloc[held])
    return scores


def _tried(feature: Feature, measured: pd.DataFrame, is_spoof: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray | None:
    """Scores of a feature; None where it is the same everywhere."""
    columns = measured[list(feature.columns)]
    columns = columns.loc[:, columns.nunique() > 1]
    return None if columns.empty else out_of_fold_scores(columns, is_spoof, groups, seed=seed)


def _fitted(columns: pd.DataFrame, is_spoof: np.ndarray, held: pd.DataFrame) -> np.ndarray:
    """Log odds of `held` from a logistic regression on the columns cut into tenths."""
    kinds = [_kinds(columns[name], held[name]) for name in columns]
    fitted, tried = (np.concatenate(parts, axis=1) for parts in zip(*kinds, strict=True))
    return LogisticRegression(class_weight="balanced", max_iter=500).fit(fitted, is_spoof).decision_function(tried)


def _kinds(column: pd.Series, held: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Which tenth of the fitted values, or which word, each value is: `[recording, kind]` of 0 and 1, for both."""
    if column.dtype.kind == "f":
        edges = np.unique(np.quantile(column, np.linspace(0, 1, _NUM_BINS + 1)))
        # From both sides: many values may be exactly one number (0 s of silence), which is then a kind of its own.
        numbers = [np.searchsorted(edges, values, "left") + np.searchsorted(edges, values, "right") for values in (column, held)]
    else:
        words = sorted(set(column))
        numbers = [pd.Index(words).get_indexer(values) for values in (column, held)]
    kinds = np.unique(numbers[0])
    return tuple((values[:, None] == kinds).astype(float) for values in numbers)


def _groups(recordings: pd.DataFrame, is_spoof: np.ndarray) -> tuple[np.ndarray, str]:
    """A group per recording, and what it is: a speaker where enough are known of both classes."""
    alone = np.array([f"recording {i}" for i in range(len(recordings))], dtype=object)
    if "speaker" not in recordings:
        return alone, "recording"
    speaker = recordings["speaker"].reset_index(drop=True)
    known = speaker.notna().to_numpy()
    if min(speaker[known & is_spoof].nunique(), speaker[known & ~is_spoof].nunique()) < _MIN_GROUPS:
        return alone, "recording"
    return np.where(known, "speaker " + speaker.astype(object).fillna(""), alone), "speaker"


def _probe(
    feature: Feature, scores: np.ndarray | None, p_value: float, measured: pd.DataFrame, is_spoof: np.ndarray, options: dict
) -> Probe:
    if scores is None:
        value = _typical(feature, measured)
        finding = f"{feature.title} is the same in all recordings ({value}): it can give nothing away."
        return Probe(
            name=feature.name, title=feature.title, eer=0.5, low=0.5, high=0.5, p_value=1.0, is_leak=False, finding=finding
        )
    eer = bootstrap_interval(weighted_eer, scores, is_spoof, **options)
    is_leak = eer.value <= 0.5 - MIN_LEAK and p_value <= MAX_P
    told = f"{_typical(feature, measured[is_spoof])} in spoofs, {_typical(feature, measured[~is_spoof])} in bona fide speech"
    rate = f"an EER of {100 * eer.value:.1f} % (95 % interval {100 * eer.low:.1f} to {100 * eer.high:.1f} %; chance is 50 %)"
    if is_leak:
        strength = "separates" if eer.value <= 0.25 else "partly separates" if eer.value <= 0.4 else "hints at"
        finding = f"{feature.title} alone {strength} the classes: {rate}. {told[0].upper()}{told[1:]}."
    else:
        finding = f"{feature.title} alone gives nothing reliable away: {rate}."
    return Probe(
        name=feature.name,
        title=feature.title,
        eer=eer.value,
        low=eer.low,
        high=eer.high,
        p_value=p_value,
        is_leak=is_leak,
        finding=finding,
    )


def _typical(feature: Feature, measured: pd.DataFrame) -> str:
    """The median of a feature's first column, or its most frequent words with their share."""
    if feature.unit:
        return f"median {measured[feature.columns[0]].median():.{feature.digits}f} {feature.unit}"
    kinds = measured[list(feature.columns)].agg(" ".join, axis=1).value_counts(normalize=True)
    return f"mostly {kinds.index[0]} ({100 * kinds.iloc[0]:.0f} %)" if len(kinds) > 1 else kinds.index[0]


def _holm(p_values: dict[str, float]) -> dict[str, float]:
    """P-values corrected for how many there are (Holm 1979)."""
    corrected, highest = {}, 0.0
    for place, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        highest = max(highest, min(1.0, p_value * (len(p_values) - place)))
        corrected[name] = highest
    return corrected


def _words(set_name: str, leaks: Sequence[Probe], probes: Sequence[Probe]) -> str:
    if not leaks:
        return f"{set_name} passes: none of {len(probes)} trivial features tells spoofs from bona fide speech reliably."
    names = ", ".join(f"{probe.title.lower()} ({100 * probe.eer:.0f} %)" for probe in leaks)
    num = f"{len(leaks)} of {len(probes)} trivial features give"
    if len(leaks) == 1:
        num = f"1 of {len(probes)} trivial features gives"
    return (
        f"{set_name} leaks: {num} the label away (EER; chance is 50 %): {names}. A detector trained on it can look good without"
        " hearing synthesis, and one tested on it can be flattered."
    )

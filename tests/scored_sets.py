"""Small trial sets and systems for tests of evaluations, and the published ones of `../shared/fixtures`."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
from published_scores import FIXTURES, PUBLISHED_SIGNS, published_scores

from core.evaluation.score_files import read_score_file
from core.evaluation.system_records import System
from core.evaluation.trial_sets import TrialSet, make_trial_set, read_trial_set


def trials(labels: str, **columns: list) -> TrialSet:
    """A set of one trial per letter: `b` bona fide, anything else a spoof; utterances are `u0`, `u1`, ... where not given."""
    named = {"utterance": [f"u{i}" for i in range(len(labels))]} | columns
    return make_trial_set("hand", pd.DataFrame({"label": ["bona fide" if c == "b" else "spoof" for c in labels], **named}))


def system(trial_set: TrialSet, scores: list[float] | np.ndarray, name: str = "one", **fields: object) -> System:
    """A system with these scores."""
    scores = np.asarray(scores, dtype=np.float64)
    return System(name=name, trial_set=trial_set, scores=scores, **({"thresholds": None, "origin": "imported"} | fields))


@functools.cache
def published_set() -> TrialSet:
    """ASVspoof 2019 LA eval; skips where it is not at hand."""
    published_scores(next(iter(PUBLISHED_SIGNS)))
    return read_trial_set(FIXTURES / "ASVspoof2019.LA.cm.eval.trl.txt.gz")


@functools.cache
def published_system(name: str) -> System:
    """A published system on it, with the sign put right."""
    trial_set = published_set()
    table = read_score_file(FIXTURES / f"{name}.LA.eval.scores.txt.gz")
    scores = pd.Series(np.asarray(table.scores), index=np.asarray(table.utterances))
    return system(trial_set, PUBLISHED_SIGNS[name] * scores.loc[trial_set.table["utterance"]].to_numpy(), name)


def published_figures(name: str) -> dict:
    """The organisers' figures of a published system."""
    return published_scores(name)[3]

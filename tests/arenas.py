"""Small labelled sets with systems, put into a store for the tests of evaluation pages."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.evaluation.systems import add_system
from core.evaluation.trial_sets import TrialSet, make_trial_set
from core.store.store import Store

ATTACKS = ("A07", "A08", "A17")
NUM_EACH = 40


def small_set(name: str = "Small set") -> TrialSet:
    """40 bona fide trials, and 40 of each of three attacks of ASVspoof 2019."""
    kinds = ["-", *ATTACKS]
    table = pd.DataFrame(
        {
            "utterance": [f"LA_E_{i:07d}" for i in range(NUM_EACH * len(kinds))],
            "label": ["bona fide" if kind == "-" else "spoof" for kind in kinds for _ in range(NUM_EACH)],
            "attack": [kind for kind in kinds for _ in range(NUM_EACH)],
        }
    )
    return make_trial_set(name, table)


def scores_of(trial_set: TrialSet, *, seed: int, gap: float = 3.0) -> np.ndarray:
    """Scores that tell spoofs apart by `gap` standard deviations, A17 by half as much."""
    means = trial_set.table["attack"].map({"A07": gap, "A08": gap, "A17": gap / 2}).fillna(0.0).to_numpy()
    return means + np.random.default_rng(seed).standard_normal(len(trial_set))


def fill(store: Store, *, num_systems: int = 2) -> TrialSet:
    """Adds the small set with systems `system 0` (the best), `system 1`, ..."""
    trial_set = small_set()
    for i in range(num_systems):
        scores = scores_of(trial_set, seed=i, gap=4.0 - i)
        add_system(store, trial_set, f"system {i}", scores, is_flipped=False, note="")
    return trial_set


def score_lines(trial_set: TrialSet, scores: np.ndarray) -> bytes:
    """A score file of ASVspoof 2019's form: higher means bona fide."""
    keys = {"bona fide": "bonafide", "spoof": "spoof"}
    attacks = trial_set.table["attack"].astype(object).where(trial_set.table["attack"].notna(), "-")
    rows = zip(trial_set.table["utterance"], attacks, trial_set.table["label"].map(keys), -scores, strict=True)
    return "".join(f"{utterance} {attack} {key} {score:.6f}\n" for utterance, attack, key, score in rows).encode()


def protocol_lines(trial_set: TrialSet) -> bytes:
    """The set's protocol in ASVspoof 2019's form."""
    keys = {"bona fide": "bonafide", "spoof": "spoof"}
    attacks = trial_set.table["attack"].astype(object).where(trial_set.table["attack"].notna(), "-")
    rows = zip(trial_set.table["utterance"], attacks, trial_set.table["label"].map(keys), strict=True)
    return "".join(f"LA_0001 {utterance} - {attack} {key}\n" for utterance, attack, key in rows).encode()

"""The score files that come with Earwitness in `data/results`, as one trial set and its systems. Reads, never writes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.calibration import Thresholds
from core.checkpoints import SHIPPED_DETECTORS, load_detector
from core.errors import ScoreFileError
from core.evaluation.score_files import read_score_file
from core.evaluation.score_matching import match
from core.evaluation.trial_sets import TrialSet

SHIPPED_RESULTS = Path(__file__).parents[2] / "data" / "results"
SET_NAME = "Earwitness corpus, test"
_ENDING = ".test.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedResults:
    """All systems were scored on the same trials."""

    trial_set: TrialSet
    scores: dict[str, np.ndarray]
    """System -> spoof scores `[trial]`, read-only."""


def shipped_results() -> ShippedResults | None:
    """The results in `data/results`, read again only when the files change; None where there are none.

    Raises:
        ScoreFileError: a file is damaged or about other trials.
    """
    paths = sorted(SHIPPED_RESULTS.glob(f"*{_ENDING}"))
    states = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    return _read(states) if states else None


def shipped_thresholds(name: str) -> Thresholds | None:
    """The limits of verdicts of the shipped detector of that name; None where results are all that is shipped of it.

    Raises:
        DetectorError: the detector is damaged.
    """
    folder = SHIPPED_DETECTORS / name
    return load_detector(folder).manifest.thresholds if folder.is_dir() else None


@functools.lru_cache(maxsize=2)
def _read(states: tuple[tuple[str, int, int], ...]) -> ShippedResults:
    tables = {Path(path).name.removesuffix(_ENDING): read_score_file(path) for path, _, _ in states}
    # Newer files say more about the trials than older ones: the fullest is everyone's.
    fullest = max(tables.values(), key=lambda table: int(table.details.notna().to_numpy().sum()))
    trial_set = fullest.trial_set(SET_NAME)
    scores = {}
    for name, table in tables.items():
        report = match(table, trial_set)
        report.check()
        if table.higher_means != "spoof":
            raise ScoreFileError(f"{table.name} has no column spoof_score; shipped results are written by `python -m training`.")
        scores[name] = report.scores
        scores[name].flags.writeable = False
    return ShippedResults(trial_set=trial_set, scores=scores)

"""Score files: a system's spoof score of each labelled recording, `NAME.SPLIT.csv`, written and read with checks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import CoreError
from core.evaluation.score_files import read_score_file

_REQUIRED = ("utterance", "attack", "label", "speaker", "source", "spoof_score")
# Files from before these two columns were written are read without them.
_OPTIONAL = ("family", "known_system")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemScores:
    """What one system says of the recordings of a split."""

    name: str
    split: str
    index: pd.DataFrame
    """One row per recording with the columns of a prepared split's index that figures need: `utterance`, `label`,
    `attack`, `speaker`, `group`, `family`, `known_system`."""
    scores: np.ndarray
    """`[recording]`, nats, higher means spoof."""


def write_scores(path: Path, scores: np.ndarray, index: pd.DataFrame) -> None:
    """Writes a score file, complete or not at all.

    Args:
        scores: `[recording]`, nats.
        index: of the split (`training.data.LabelledSplit.index`), in the same order.

    Raises:
        CoreError: a score that is not finite, or the file cannot be written.
    """
    if not np.isfinite(scores).all():
        raise CoreError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores for {path.name} are not finite.")
    table = pd.DataFrame(
        {
            "utterance": index["utterance"],
            "attack": index["attack"].fillna("-"),
            "label": index["label"],
            "speaker": index["speaker"],
            "source": index["group"],
            "family": index["family"],
            "known_system": index["known_system"],
            "spoof_score": np.asarray(scores, dtype=np.float64).round(6),
        }
    )
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(partial, index=False)
        os.replace(partial, path)
    except OSError as error:
        raise CoreError(f"{path} could not be written: {error.strerror}.") from None
    finally:
        if partial.is_file():
            partial.unlink()


def read_scores(path: Path) -> SystemScores:
    """Reads `NAME.SPLIT.csv`; the system's name is the file's.

    Raises:
        CoreError: unreadable, a column is missing, a label is unknown, an utterance occurs twice, or a score is no number.
    """
    table = read_score_file(path)
    missing = [column for column in _REQUIRED if column not in table.columns]
    if missing:
        raise CoreError(f"{path} lacks the columns {', '.join(missing)}; a score file has {', '.join(_REQUIRED + _OPTIONAL)}.")
    if not np.isfinite(table.scores).all():
        line = table.line_numbers[np.argmin(np.isfinite(table.scores))]
        raise CoreError(f"{path}, line {line}: the spoof score is not a finite number.")
    name, _, split = path.name.removesuffix(".csv").rpartition(".")
    if table.labels is None or (table.labels == "-").any():
        raise CoreError(f"{path} has trials without a label.")
    trials = table.trial_set(name).table.rename(columns={"source": "group"})
    index = trials[["utterance", "label", "attack", "speaker", "group", "family", "known_system"]]
    return SystemScores(name=name or split, split=split if name else "test", index=index, scores=table.scores)

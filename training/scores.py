"""Score files: a system's spoof score of each labelled recording, `NAME.SPLIT.csv`, written and read with checks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import CoreError

_LABELS = ("bona fide", "spoof")
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
    try:
        # Text as it stands: an attack may be called "nan" or "NA".
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise CoreError(f"The score file {path} could not be read: {error}.") from None
    missing = [column for column in _REQUIRED if column not in table]
    if missing:
        raise CoreError(f"{path} lacks the columns {', '.join(missing)}; a score file has {', '.join(_REQUIRED + _OPTIONAL)}.")
    unknown = set(table["label"]) - set(_LABELS)
    if unknown:
        raise CoreError(f"{path} holds the label {sorted(unknown)[0]!r}; expected bona fide or spoof.")
    if table["utterance"].duplicated().any():
        raise CoreError(f"{path}: {table['utterance'][table['utterance'].duplicated()].iloc[0]} occurs twice.")
    scores = pd.to_numeric(table["spoof_score"], errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(scores).all():
        first = int(np.argmin(np.isfinite(scores)))
        raise CoreError(f"{path}, line {first + 2}: the spoof score is {table['spoof_score'][first]!r}; expected a finite number.")
    name, _, split = path.name.removesuffix(".csv").rpartition(".")
    return SystemScores(name=name or split, split=split if name else "test", index=_as_index(table), scores=scores)


def _as_index(table: pd.DataFrame) -> pd.DataFrame:
    known = table["known_system"] if "known_system" in table else pd.Series("", index=table.index)
    return pd.DataFrame(
        {
            "utterance": table["utterance"],
            "label": table["label"],
            "attack": table["attack"].where(table["label"] == "spoof"),
            "speaker": table["speaker"],
            "group": table["source"],
            "family": table["family"].where(table["family"] != "") if "family" in table else None,
            "known_system": known.map({"True": True, "False": False}).astype("boolean"),
        }
    )

"""Trial sets: which utterances are bona fide and which spoofed by what, with all that is known of them. Holds no scores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import CoreError
from core.protocols import AS_PUBLISHED, Protocol, ProtocolChoices, Trial, usable_protocol

LABELS = ("bona fide", "spoof")
COLUMNS = {
    "utterance": "str",
    "label": "str",
    "attack": "str",
    "speaker": "str",
    "source": "str",
    "family": "str",
    "known_system": "boolean",
    "codec": "str",
    "duration_s": "float64",
    "environment": "str",
    "split": "str",
    "path": "str",
}
"""Column of a trial set's table -> dtype. Missing values are NA, whatever the dtype: ask `isna()`."""

_SPLITS = {"T": "train", "D": "dev", "E": "eval"}
"""Letter in an ASVspoof utterance (`LA_T_...`) -> split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSet:
    """Labelled utterances; made by `make_trial_set`, which checks them."""

    key: str
    """Says which set this is: from its utterances, labels and attacks, or `audit-7` for the labels of an audit."""
    name: str
    table: pd.DataFrame
    """One row per trial, RangeIndex, all of `COLUMNS` in this order; `utterance` is unique, `label` one of `LABELS`, `attack`
    NA for bona fide. `path` is relative to the audit's folder, for trials that come from an audit."""
    left_out: frozenset[str] = frozenset()
    """Utterances of its protocol that are in other subsets of ASVspoof 2021: a score for one of them is no error."""

    @property
    def is_spoof(self) -> np.ndarray:
        """`[trial]` bool."""
        return (self.table["label"] == "spoof").to_numpy(dtype=bool)

    @property
    def num_spoof(self) -> int:
        """Number of spoofed trials."""
        return int(self.is_spoof.sum())

    @property
    def num_bona_fide(self) -> int:
        """Number of bona fide trials."""
        return len(self.table) - self.num_spoof

    def __len__(self) -> int:
        return len(self.table)


def make_trial_set(name: str, table: pd.DataFrame, *, key: str | None = None) -> TrialSet:
    """A trial set from a table with at least `utterance` and `label`; what it lacks of `COLUMNS` is unknown.

    Args:
        name: what people call it.
        table: one row per trial; columns that are none of `COLUMNS` are left out.
        key: where it does not follow from the trials.

    Raises:
        CoreError: no trials, a column is missing, a label is unknown, or an utterance occurs twice.
    """
    missing = [column for column in ("utterance", "label") if column not in table]
    if missing:
        raise CoreError(f"The trials of {name} lack the column {' and '.join(missing)}; a trial needs an utterance and a label.")
    if not len(table):
        raise CoreError(f"{name} holds no trials.")
    columns = {column: table[column].to_numpy() if column in table else None for column in COLUMNS}
    clean = pd.DataFrame(columns, index=pd.RangeIndex(len(table))).astype(COLUMNS)
    is_nameless = clean["utterance"].isna() | (clean["utterance"] == "")
    if is_nameless.any():
        raise CoreError(f"{name}: trial {int(is_nameless.idxmax()) + 1} has no utterance.")
    is_unknown = ~clean["label"].isin(LABELS)
    if is_unknown.any():
        first = clean.loc[is_unknown.idxmax()]
        raise CoreError(f"{name}: {first['utterance']} has the label {first['label']!r}; expected {' or '.join(LABELS)}.")
    twice = clean["utterance"].duplicated()
    if twice.any():
        raise CoreError(f"{name}: {clean['utterance'][twice.idxmax()]} occurs twice.")
    clean["attack"] = clean["attack"].where((clean["label"] == "spoof") & (clean["attack"] != "-"))
    return TrialSet(key=key or key_of(clean), name=name, table=clean)


def key_of(table: pd.DataFrame) -> str:
    """16 hexadecimal digits that say which trials these are, in whatever order."""
    lines = table["utterance"] + " " + table["label"] + " " + table["attack"].fillna("-") + "\n"
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]


def read_trial_set(path: str | os.PathLike[str], *, name: str | None = None, choices: ProtocolChoices = AS_PUBLISHED) -> TrialSet:
    """Reads a protocol, in any form of `core.protocols.read_protocol`, as a trial set.

    Raises:
        CoreError: as `read_protocol`.
    """
    protocol = usable_protocol(path, name=os.fspath(path), choices=choices)
    return trial_set_of(protocol, name=name or protocol_title(os.fspath(path)))


def parse_trial_set(data: bytes, *, file_name: str, name: str | None = None, choices: ProtocolChoices = AS_PUBLISHED) -> TrialSet:
    """A protocol's bytes as a trial set.

    Args:
        file_name: what to call it in errors.
        name: of the set; from `file_name` when None.

    Raises:
        CoreError: as `read_protocol`.
    """
    return trial_set_of(usable_protocol(data, name=file_name, choices=choices), name=name or protocol_title(file_name))


def protocol_title(file_name: str) -> str:
    """A protocol file's name without folder and endings, e.g. `ASVspoof2019.LA.cm.eval`."""
    title = Path(file_name).name.removesuffix(".gz")
    for ending in (".txt", ".tsv", ".csv", ".jsonl", ".xlsx", ".parquet", ".trl", ".trn"):
        title = title.removesuffix(ending)
    return title


def trial_set_of(protocol: Protocol, *, name: str) -> TrialSet:
    """A protocol that was parsed, as a trial set: what its form says of codec, source and environment in columns of their own.

    The name says which subset of ASVspoof 2021 it is.
    """
    trials = list(protocol.trials.values())
    name += f" (subset {protocol.subset})" if protocol.subset else ""
    made = make_trial_set(name, pd.DataFrame(_columns_of(trials, protocol.form)))
    return replace(made, left_out=protocol.left_out)


def _columns_of(trials: Iterable[Trial], form: str) -> dict[str, list]:
    trials = list(trials)
    conditions = [trial.environment for trial in trials]
    columns = {
        "utterance": [trial.utterance for trial in trials],
        "label": [trial.label for trial in trials],
        "attack": [trial.attack for trial in trials],
        "speaker": [None if trial.speaker == "-" else trial.speaker for trial in trials],
        "family": [trial.family for trial in trials],
        "known_system": [trial.known_system for trial in trials],
        "split": [trial.subset or _split_of(trial.utterance) for trial in trials],
    }
    if form == "table":
        told = {"codec": [trial.codec for trial in trials], "source": [trial.source for trial in trials]}
        return columns | told | {"environment": conditions}
    if form == "ASVspoof 2021 DF":  # codec/source, e.g. `low_mp3/vcc2018`
        pairs = [condition.split("/") if condition else (None, None) for condition in conditions]
        return columns | {"codec": [pair[0] for pair in pairs], "source": [pair[1] for pair in pairs]}
    # 2021 LA: codec and transmission; 5: codec and its quality. 2019 and 2021 PA: the room.
    return columns | {"codec" if form in ("ASVspoof 2021 LA", "ASVspoof 5") else "environment": conditions}


def _split_of(utterance: str) -> str | None:
    """From the letter in `LA_E_2834763`."""
    parts = utterance.split("_")
    return _SPLITS.get(parts[1]) if len(parts) == 3 and parts[0] in ("LA", "PA", "DF") else None

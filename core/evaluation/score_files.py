"""Score files of any system, read as they stand, with line numbers. `core.evaluation.score_matching` joins them to trials."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from core.errors import ScoreFileError, UnmappedColumnsError
from core.evaluation.delimited import Delimited, read_delimited
from core.evaluation.trial_sets import COLUMNS, LABELS, TrialSet, make_trial_set
from core.protocols import KEYS

HigherMeans = Literal["bona fide", "spoof"]
_LABELS = KEYS | {label: label for label in LABELS} | {"bona-fide": "bona fide"}
_NO_SCORE = ("", "nan", "na", "none", "null", "-")
"""How files write that there is no score, in small letters."""
_OTHER_COLUMNS = tuple(column for column in COLUMNS if column not in ("utterance", "label", "attack", "path"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """Which column of a table holds what; None: found by its usual names, or absent."""

    utterance: str | None = None
    score: str | None = None
    label: str | None = None
    attack: str | None = None


# Usual names, in small letters. `path` and `file` hold paths, whose stem is the utterance; `cm-score` is ASVspoof 5's.
_USUAL = {
    "utterance": ("utterance", "utt", "utt_id", "utterance_id", "trial", "filename", "file_name", "file", "path", "id"),
    "score": ("spoof_score", "score", "cm-score", "cm_score", "cm score"),
    "label": ("label", "key"),
    "attack": ("attack", "attack_id", "system_id"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """A score file as it stands."""

    name: str
    """What errors call it."""
    form: str
    """`ASVspoof 2019` (utterance attack key score), `utterance score` (ASVspoof 2021 and 5), or `table` (named columns)."""
    utterances: np.ndarray
    """`[line]` str."""
    scores: np.ndarray
    """`[line]` float64, with the file's sign; NaN where it has none."""
    labels: np.ndarray | None
    """`[line]` `bona fide` or `spoof`; None where the file does not tell."""
    attacks: np.ndarray | None
    """`[line]` str, `-` for none; None where the file does not tell."""
    line_numbers: np.ndarray
    """`[line]` int, from 1."""
    details: pd.DataFrame
    """Further columns that a trial set has (`speaker`, `source`, ...), one row per line."""
    columns: tuple[str, ...]
    """All columns of a table; empty for the other forms."""
    mapping: ColumnMapping | None
    """Which columns were taken; None for the other forms."""

    @property
    def higher_means(self) -> HigherMeans:
        """What a high score means by the file's form, where its user does not say: our own tables have `spoof_score`."""
        is_ours = self.mapping is not None and self.mapping.score == "spoof_score"
        return "spoof" if is_ours else "bona fide"

    def spoof_scores(self, higher_means: HigherMeans | None = None) -> np.ndarray:
        """`[line]`, higher means spoof, by a declared sign or that of the form."""
        return self.scores if (higher_means or self.higher_means) == "spoof" else -self.scores

    def trial_set(self, name: str) -> TrialSet:
        """The file's own labels as a trial set.

        Raises:
            ScoreFileError: it has none, or an utterance twice (with line numbers).
        """
        if self.labels is None:
            raise ScoreFileError(f"{self.name} does not say which utterances are spoofed. Give the protocol that does.")
        series = pd.Series(self.utterances)
        if series.duplicated().any():
            raise ScoreFileError(twice_sentence(self, series))
        columns = {"utterance": self.utterances, "label": self.labels}
        columns |= {"attack": self.attacks} if self.attacks is not None else {}
        return make_trial_set(name, self.details.assign(**columns))


def read_score_file(
    source: str | os.PathLike[str] | bytes, *, name: str | None = None, columns: ColumnMapping | None = None
) -> ScoreTable:
    """Reads ASVspoof 2019 (utterance attack key score), 2021 and 5 (utterance score), CSV, TSV or Parquet; also gzipped.

    Args:
        source: a path, or the file's bytes.
        name: what to call it in errors; the path when None.
        columns: which column of a table holds what, where usual names do not tell.

    Raises:
        ScoreFileError: unreadable, another form, a score that is no number or a label that is unknown (with line number),
            or a table whose columns need mapping (`UnmappedColumnsError`).
    """
    table = read_delimited(source, name=name, is_header=lambda first: _is_header(first, columns))
    if table.header is None and len(table.columns) not in (2, 4):
        raise ScoreFileError(
            f"{table.name}, line {table.line_numbers[0]}: expected 4 columns (utterance attack key score), 2 (utterance score)"
            f" or a header that names the columns, found {len(table.columns)} columns."
        )
    if table.header is not None:
        mapping = mapping_of(table.header, columns, name=table.name)
        form = "table"
        named = {field.name: getattr(mapping, field.name) for field in fields(mapping)}
        found = {what: table.columns[table.header.index(column)] for what, column in named.items() if column is not None}
    else:
        mapping = None
        form = "ASVspoof 2019" if len(table.columns) == 4 else "utterance score"
        order = ("utterance", "attack", "label", "score") if len(table.columns) == 4 else ("utterance", "score")
        found = dict(zip(order, table.columns, strict=True))
    return ScoreTable(
        name=table.name,
        form=form,
        utterances=_utterances(found["utterance"], table),
        scores=_scores(found["score"], table),
        labels=_labels(found["label"], table) if "label" in found else None,
        attacks=_attacks(found["attack"]) if "attack" in found else None,
        line_numbers=np.array(table.line_numbers),
        details=_details(table, mapping),
        columns=table.header or (),
        mapping=mapping,
    )


def mapping_of(header: tuple[str, ...], given: ColumnMapping | None, *, name: str) -> ColumnMapping:
    """What was given, completed by the usual names.

    Raises:
        ScoreFileError: a column that is not there or occurs twice.
        UnmappedColumnsError: none for utterance or score.
    """
    given = given or ColumnMapping()
    by_small = {column.lower(): column for column in reversed(header)}
    found = {}
    for what, usual in _USUAL.items():
        column = getattr(given, what)
        if column is not None and column not in header:
            raise ScoreFileError(f"{name} has no column {column!r}; its columns are {', '.join(header)}.")
        found[what] = column or next((by_small[small] for small in usual if small in by_small), None)
        if found[what] is None and what in ("utterance", "score"):
            raise UnmappedColumnsError(
                f"{name}: the first line is taken for names of columns. Which holds the {what}? Choose one of {', '.join(header)}.",
                header,
            )
        if found[what] is not None and header.count(found[what]) > 1:
            raise ScoreFileError(f"{name} has the column {found[what]!r} twice.")
    return ColumnMapping(**found)


def twice_sentence(table: ScoreTable, keys: pd.Series) -> str:
    """Says which utterance of a file occurs twice, and where.

    Args:
        keys: `[line]`, equal where two lines are about one trial.
    """
    is_again = keys.duplicated()
    again = int(np.argmax(is_again))
    first = int(np.argmax(keys == keys[again]))
    more = f" {int(is_again.sum())} lines repeat an utterance." if is_again.sum() > 1 else ""
    place = f"{table.name}, line {table.line_numbers[again]}"
    return f"{place}: {table.utterances[again]} occurs twice, first in line {table.line_numbers[first]}.{more}"


def title_of(path: str | os.PathLike[str]) -> str:
    """A score file's name without folder and endings: what its system is called when nobody says."""
    title = Path(path).name.removesuffix(".gz")
    for ending in (".csv", ".tsv", ".txt", ".parquet", ".scores"):
        title = title.removesuffix(ending)
    return title


# Columns of text to arrays ---------------------------------------------------------------------------------------


def _is_header(first: list[str], columns: ColumnMapping | None) -> bool:
    """A line without a number and without a key: a line of scores has one or the other."""
    return columns is not None or not any(_is_number(field) or field in _LABELS for field in first)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _utterances(column: tuple[str, ...], table: Delimited) -> np.ndarray:
    if "" in column:
        raise ScoreFileError(f"{table.name}, line {table.line_numbers[column.index('')]}: no utterance.")
    return np.array(column, dtype=object)


def _scores(column: tuple[str, ...], table: Delimited) -> np.ndarray:
    try:
        return np.array(column, dtype=np.float64)
    except ValueError:  # some are no numbers: which, and do they say that there is none?
        scores = np.full(len(column), np.nan)
        for i, text in enumerate(column):
            if _is_number(text):
                scores[i] = float(text)
            elif text.lower() not in _NO_SCORE:
                raise ScoreFileError(
                    f"{table.name}, line {table.line_numbers[i]}: the score is {text!r}; expected a number."
                ) from None
        return scores


def _labels(column: tuple[str, ...], table: Delimited) -> np.ndarray:
    wrong = set(column) - set(_LABELS)
    if wrong:
        i = next(i for i, text in enumerate(column) if text in wrong)
        place = f"{table.name}, line {table.line_numbers[i]}"
        order = " The columns are utterance attack key score." if table.header is None else ""
        raise ScoreFileError(f"{place}: the key is {column[i]!r}; expected bonafide or spoof.{order}")
    return np.array([_LABELS[text] for text in column], dtype=object)


def _attacks(column: tuple[str, ...]) -> np.ndarray:
    return np.array([text or "-" for text in column], dtype=object)


def _details(table: Delimited, mapping: ColumnMapping | None) -> pd.DataFrame:
    """Columns of a table that describe trials as ours do; what does not parse is unknown."""
    rows = pd.RangeIndex(len(table.line_numbers))
    if mapping is None:
        return pd.DataFrame(index=rows)
    taken = {mapping.utterance, mapping.score, mapping.label, mapping.attack}
    found = {c: pd.Series(table.columns[table.header.index(c)], dtype="str") for c in _OTHER_COLUMNS if c in table.header}
    details = pd.DataFrame({c: text.mask(text == "") for c, text in found.items() if c not in taken}, index=rows)
    if "known_system" in details:
        details["known_system"] = details["known_system"].str.lower().map({"true": True, "false": False}).astype("boolean")
    if "duration_s" in details:
        details["duration_s"] = pd.to_numeric(details["duration_s"], errors="coerce")
    return details

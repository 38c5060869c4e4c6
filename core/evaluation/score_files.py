"""Score files of any system, read as they stand, with line numbers. `core.evaluation.score_matching` joins them to trials."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from core.delimited import Delimited, decimal_comma, is_number, read_delimited
from core.errors import ScoreFileError, UnclearLabelsError, UnmappedColumnsError
from core.evaluation.trial_sets import COLUMNS, TrialSet, make_trial_set
from core.labels import ASV_KEYS, EXPECTED, find_columns, label_of, labels_of
from core.names import bare_names

HigherMeans = Literal["bona fide", "spoof"]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """A score file as it stands."""

    name: str
    """What errors call it."""
    form: str
    """`ASVspoof 2019` (utterance attack key score), `utterance score` (ASVspoof 2021 and 5), the like, or `table` (a header)."""
    utterances: np.ndarray
    """`[line]` str."""
    scores: np.ndarray
    """`[line]` float64, with the file's sign; NaN where it has none."""
    labels: np.ndarray | None
    """`[line]` `bona fide`, `spoof`, or `-` for none; None where the file does not tell."""
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
    unclear: str = ""
    """Why its labels say nothing yet, where they are zeros and ones."""

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
        if self.unclear:
            raise UnclearLabelsError(self.unclear)
        has_label = self.labels != "-" if self.labels is not None else np.zeros(len(self.scores), dtype=bool)
        if not has_label.any():
            raise ScoreFileError(f"{self.name} does not say which utterances are spoofed. Give the protocol that does.")
        series = pd.Series(bare_names(self.utterances.tolist()))
        if series[has_label].duplicated().any():
            raise ScoreFileError(twice_sentence(self, series))
        columns = {"utterance": series, "label": self.labels}
        columns |= {"attack": self.attacks} if self.attacks is not None else {}
        return make_trial_set(name, self.details.assign(**columns)[has_label])


def read_score_file(
    source: str | os.PathLike[str] | bytes,
    *,
    name: str | None = None,
    columns: ColumnMapping | None = None,
    one_means: str | None = None,
) -> ScoreTable:
    """Reads ASVspoof 2019 (utterance attack key score), 2021 and 5 (utterance score), and tables whose header names the columns.

    Args:
        source: a path, or the file's bytes; white space, CSV, TSV, JSON lines, XLSX or Parquet, maybe gzipped.
        name: what to call it in errors; the path when None.
        columns: which column of a table holds what, where usual names do not tell.
        one_means: `bona fide` or `spoof`, what a 1 means where labels are 0 and 1.

    Raises:
        ScoreFileError: unreadable, another form, a score that is no number or a label that is unknown (with line number),
            or a table whose columns need mapping (`UnmappedColumnsError`).
    """
    table = read_delimited(source, name=name, is_header=lambda first: _is_header(first, columns), error=ScoreFileError)
    if table.header is not None:
        mapping = mapping_of(table.header, columns, name=table.name)
        form = "table"
        named = {field.name: getattr(mapping, field.name) for field in fields(mapping)}
        found = {what: table.columns[table.header.index(column)] for what, column in named.items() if column is not None}
    else:
        mapping = None
        order = _order_of(table)
        form = "ASVspoof 2019" if order == _2019 else " ".join(order)
        found = dict(zip(order, table.columns, strict=True))
    unclear, labels = "", None
    try:
        labels = _labels(found["label"], table, mapping and mapping.label, one_means) if "label" in found else None
    except UnclearLabelsError as error:
        unclear = str(error)
    return ScoreTable(
        name=table.name,
        form=form,
        utterances=_utterances(found["utterance"], table),
        scores=_scores(found["score"], table),
        labels=labels,
        attacks=_attacks(found["attack"]) if "attack" in found else None,
        line_numbers=np.array(table.line_numbers),
        details=_details(table, mapping, found.get("speaker")),
        columns=table.header or (),
        mapping=mapping,
        unclear=unclear,
    )


def mapping_of(header: tuple[str, ...], given: ColumnMapping | None, *, name: str) -> ColumnMapping:
    """What was given, completed by the usual names.

    Raises:
        ScoreFileError: a column that is not there or occurs twice.
        UnmappedColumnsError: none for utterance or score.
    """
    asked = {field.name: getattr(given, field.name, None) for field in fields(ColumnMapping)}
    for column in asked.values():
        if column is not None and column not in header:
            raise ScoreFileError(f"{name} has no column {column!r}; its columns are {', '.join(header)}.")
    found = find_columns(header, asked)
    mapping = ColumnMapping(**{what: found.get(what) for what in asked})
    for what in ("utterance", "score"):
        if what not in found:
            is_protocol = what == "score" and "label" in found and len(header) - len(found) < 1
            raise UnmappedColumnsError(
                f"{name}: the first line is taken for names of columns. Which holds the {what}? Choose one of {', '.join(header)}."
                + (" It looks like a protocol, which belongs after --protocol." if is_protocol else ""),
                header,
            )
    for column in found.values():
        if header.count(column) > 1:
            raise ScoreFileError(f"{name} has the column {column!r} twice.")
    return mapping


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
    for ending in (".csv", ".tsv", ".txt", ".jsonl", ".xlsx", ".parquet", ".scores"):
        title = title.removesuffix(ending)
    return title


# Columns of text to arrays ---------------------------------------------------------------------------------------


_2019 = ("utterance", "attack", "label", "score")


def _is_header(first: list[str], columns: ColumnMapping | None) -> bool:
    """Usual names for utterance and score; or a line without a number and without a key: a line of scores has one or the other."""
    found = find_columns(first)
    if columns is not None or ("utterance" in found and "score" in found):
        return True
    return not any(is_number(field) or decimal_comma(field) or label_of(field) or field in ASV_KEYS for field in first)


def _order_of(table: Delimited) -> tuple[str, ...]:
    """What the columns of a table without a header hold; the first line with its label and its number tells."""
    num, first = len(table.columns), [column[0] for column in table.columns]
    place = f"{table.name}, line {table.line_numbers[0]}"
    if any(not ASV_KEYS.isdisjoint(column) for column in table.columns):
        raise ScoreFileError(
            f"{place}: trials or scores of a speaker verifier (target and nontarget), not of a detector of spoofs."
            " Give scores of the countermeasure; a verifier's scores belong after --asv-scores."
        )
    labels = [i for i, field in enumerate(first) if i > 0 and label_of(field)]
    numbers = [i for i, field in enumerate(first) if i > 0 and (is_number(field) or decimal_comma(field))]
    if not labels and len(numbers) > 1:  # 0 and 1, beside a score
        labels = [i for i in numbers if {"0", "1"}.issuperset(table.columns[i])]
        numbers = [i for i in numbers if i not in labels]
    label, score = labels[-1] if labels else None, numbers[-1] if numbers else num - 1
    if label is not None and (num > 5 or not any(is_number(field) for column in table.columns[1:] for field in column)):
        raise ScoreFileError(
            f"{place}: {' '.join(first)} holds a label but no score. It looks like a protocol, which belongs after --protocol."
        )
    orders = {
        (2, None, 1): ("utterance", "score"),
        (3, 1, 2): ("utterance", "label", "score"),
        (3, 2, 1): ("utterance", "score", "label"),
        (4, 3, 2): ("speaker", "utterance", "score", "label"),
        (4, 2, 3): _2019,
        (5, 4, 3): ("speaker", "utterance", "attack", "score", "label"),
        (5, 3, 4): ("speaker", "utterance", "attack", "label", "score"),
    }
    if num == 4 and (num, label, score) not in orders:
        return _2019  # whose labels are then told to be none
    if (num, label, score) not in orders:
        raise ScoreFileError(
            f"{place}: expected 4 columns (utterance attack key score), 2 (utterance score), 3 (utterance key score) or a header"
            f" that names the columns, found {num} columns ({', '.join(first)}), of which"
            f" {'none is a label' if label is None else 'the label or the score stands elsewhere'}. Leave out what is neither"
            " utterance, label nor score, or add a first line such as: utterance label score."
            + (" Or do the numbers have a decimal comma? Then save them with points." if len(numbers) > 1 else "")
        )
    return orders[num, label, score]


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
            if is_number(text):
                scores[i] = float(text)
            elif decimal_comma(text):
                raise ScoreFileError(
                    f"{table.name}, line {table.line_numbers[i]}: the score {text!r} has a decimal comma."
                    " Save it with decimal points."
                ) from None
            elif text.lower() not in _NO_SCORE:
                raise ScoreFileError(
                    f"{table.name}, line {table.line_numbers[i]}: the score is {text!r}; expected a number."
                ) from None
        return scores


def _labels(column: tuple[str, ...], table: Delimited, header: str | None, one_means: str | None) -> np.ndarray:
    meanings = labels_of(column, name=table.name, one_means=one_means, column=header)
    wrong = next((i for i, text in enumerate(column) if text not in meanings), None)
    if wrong is not None:
        place = f"{table.name}, line {table.line_numbers[wrong]}"
        order = " The columns are utterance attack key score." if table.header is None else ""
        raise ScoreFileError(f"{place}: the key is {column[wrong]!r}; {EXPECTED}.{order}")
    return np.array([meanings[text] or "-" for text in column], dtype=object)


def _attacks(column: tuple[str, ...]) -> np.ndarray:
    return np.array([text or "-" for text in column], dtype=object)


def _details(table: Delimited, mapping: ColumnMapping | None, speakers: tuple[str, ...] | None) -> pd.DataFrame:
    """Columns of a table that describe trials as ours do; what does not parse is unknown."""
    rows = pd.RangeIndex(len(table.line_numbers))
    if mapping is None:
        return pd.DataFrame({"speaker": speakers} if speakers else None, index=rows)
    named = find_columns(table.header, {field.name: getattr(mapping, field.name) for field in fields(mapping)})
    found = {what: pd.Series(table.columns[table.header.index(named[what])]) for what in _OTHER_COLUMNS if what in named}
    details = pd.DataFrame({what: text.mask(text.isin(("", "-"))) for what, text in found.items()}, index=rows)
    if "known_system" in details:
        details["known_system"] = details["known_system"].str.lower().map({"true": True, "false": False}).astype("boolean")
    if "duration_s" in details:
        details["duration_s"] = pd.to_numeric(details["duration_s"], errors="coerce")
    return details

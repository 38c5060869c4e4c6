"""A score file joined to labelled trials: what fits, and in sentences with line numbers what does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from core.errors import ScoreFileError
from core.evaluation.score_files import ScoreTable, twice_sentence
from core.evaluation.trial_sets import TrialSet
from core.names import bare_name, match_names

FindingKind = Literal["foreign", "unknown", "duplicate", "label", "attack", "not finite", "missing"]
_NUM_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of thing that does not fit between a file and a trial set."""

    kind: FindingKind
    """`foreign`: no utterance is known. `unknown`: some are not. `label`, `attack`: the file contradicts the protocol."""
    num: int
    examples: tuple[str, ...]
    """The first utterances."""
    line_numbers: tuple[int, ...]
    """Theirs; empty for missing ones, which have no line."""
    sentence: str
    """File, line number, what is wrong, and how often."""
    is_missing: bool = False
    """Whether it only leaves trials without a score, which the user may allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchReport:
    """How a score file fits a trial set."""

    scores: np.ndarray
    """`[trial]` float64, with the file's sign; NaN where it has none."""
    num_lines: int
    num_matched: int
    """Lines whose utterance is in the set."""
    findings: tuple[Finding, ...]
    """What does not fit, the most telling first; empty when all fits."""

    def finding(self, kind: FindingKind) -> Finding | None:
        """What was found of one kind."""
        return next((finding for finding in self.findings if finding.kind == kind), None)

    @property
    def num_scored(self) -> int:
        """Trials with a finite score."""
        return int(np.isfinite(self.scores).sum())

    def check(self, *, allow_missing: bool = False) -> None:
        """Passes when the file can be used.

        Args:
            allow_missing: trials without a score, and NaN for a score, are well.

        Raises:
            ScoreFileError: all sentences.
        """
        wrong = [finding for finding in self.findings if not (allow_missing and finding.is_missing)]
        if wrong:
            raise ScoreFileError(" ".join(finding.sentence for finding in wrong))


def match(table: ScoreTable, trial_set: TrialSet) -> MatchReport:
    """Joins a score file to the trials, by utterance; folders and audio endings on either side do not matter."""
    trials = pd.Index(trial_set.table["utterance"])
    names = table.utterances
    places = trials.get_indexer(pd.Index(names))
    is_left = places < 0  # as they stand; an utterance may hold a slash
    if is_left.any():
        places[is_left] = match_names(names[is_left], trials.tolist())
    is_known = places >= 0
    scores = np.full(len(trials), np.nan)
    # The first of a repeated utterance: lines are written last to first.
    scores[places[is_known][::-1]] = table.scores[is_known][::-1]
    findings = (
        _unknown(table, ~is_known & ~_is_of_no_trial(table, trial_set), trial_set),
        _duplicate(table, places),
        _contradiction(table, places, trial_set, "label"),
        _contradiction(table, places, trial_set, "attack"),
        *_not_finite(table),
        _missing(table, places, trial_set) if is_known.any() else None,
    )
    return MatchReport(
        scores=scores,
        num_lines=len(names),
        num_matched=int(is_known.sum()),
        findings=tuple(finding for finding in findings if finding is not None),
    )


def _is_of_no_trial(table: ScoreTable, trial_set: TrialSet) -> np.ndarray:
    """Lines about other subsets of the protocol, or that the file itself leaves without a label (an audit's other recordings)."""
    is_unlabelled = np.zeros(len(table.scores), dtype=bool) if table.labels is None else table.labels == "-"
    if not trial_set.left_out:
        return is_unlabelled
    return is_unlabelled | np.array([bare_name(name) in trial_set.left_out for name in table.utterances], dtype=bool)


# Findings --------------------------------------------------------------------------------------------------------


def _finding(kind: FindingKind, table: ScoreTable, is_wrong: np.ndarray, sentence: str, **options: bool) -> Finding:
    """Of the lines that are wrong."""
    first = np.flatnonzero(is_wrong)[:_NUM_EXAMPLES]
    return Finding(
        kind=kind,
        num=int(is_wrong.sum()),
        examples=tuple(table.utterances[first]),
        line_numbers=tuple(int(number) for number in table.line_numbers[first]),
        sentence=sentence,
        **options,
    )


def _unknown(table: ScoreTable, is_unknown: np.ndarray, trial_set: TrialSet) -> Finding | None:
    if not is_unknown.any():
        return None
    i, num = int(np.argmax(is_unknown)), int(is_unknown.sum())
    place = f"{table.name}, line {table.line_numbers[i]}"
    if num == len(table.utterances):
        example = trial_set.table["utterance"].iloc[0]
        sentence = (
            f"{place}: {table.utterances[i]} is not in {trial_set.name}, nor is any other of the {num} utterances. This is the"
            f" protocol of another set (it has utterances like {example})."
        )
        return _finding("foreign", table, is_unknown, sentence)
    others = f", nor are {num - 1} other utterances of the file" if num > 1 else ""
    sentence = (
        f"{place}: {table.utterances[i]} is not in {trial_set.name}{others}. Take them out, or give the protocol that has them."
    )
    return _finding("unknown", table, is_unknown, sentence)


def _duplicate(table: ScoreTable, places: np.ndarray) -> Finding | None:
    # One trial under two spellings (with and without an ending) is a duplicate too.
    keys = pd.Series(table.utterances).where(places < 0, pd.Series(places, dtype=object))
    is_again = keys.duplicated().to_numpy()
    if not is_again.any():
        return None
    return _finding("duplicate", table, is_again, twice_sentence(table, keys))


def _contradiction(
    table: ScoreTable, places: np.ndarray, trial_set: TrialSet, column: Literal["label", "attack"]
) -> Finding | None:
    """Where file and protocol say different things of a trial; what either leaves open contradicts nothing."""
    said = table.labels if column == "label" else table.attacks
    if said is None:
        return None
    known = trial_set.table[column].to_numpy(dtype=object)[np.maximum(places, 0)]
    is_open = (places < 0) | pd.isna(known) | (said == "-")
    is_wrong = ~is_open & (said != known)
    if not is_wrong.any():
        return None
    i, num = int(np.argmax(is_wrong)), int(is_wrong.sum())
    more = f" {num} lines contradict it." if num > 1 else ""
    sentence = (
        f"{table.name}, line {table.line_numbers[i]}: {table.utterances[i]} is {said[i]} here and {known[i]} in"
        f" {trial_set.name}.{more}"
    )
    return _finding(column, table, is_wrong, sentence)


def _not_finite(table: ScoreTable) -> list[Finding]:
    """NaN says that there is no score, which may be allowed; infinity never is."""
    findings = []
    for is_wrong, word, is_missing in ((np.isnan(table.scores), "NaN", True), (np.isinf(table.scores), "infinite", False)):
        if is_wrong.any():
            i, num = int(np.argmax(is_wrong)), int(is_wrong.sum())
            more = f" {num} scores are {word}." if num > 1 else ""
            sentence = f"{table.name}, line {table.line_numbers[i]}: the score of {table.utterances[i]} is {word}.{more}"
            findings.append(_finding("not finite", table, is_wrong, sentence, is_missing=is_missing))
    return findings


def _missing(table: ScoreTable, places: np.ndarray, trial_set: TrialSet) -> Finding | None:
    has_line = np.zeros(len(trial_set), dtype=bool)
    has_line[places[places >= 0]] = True
    if has_line.all():
        return None
    num = int((~has_line).sum())
    examples = tuple(trial_set.table["utterance"].to_numpy()[np.flatnonzero(~has_line)[:_NUM_EXAMPLES]])
    others = f" and {num - 1} other trials" if num > 1 else ""
    sentence = (
        f"{table.name} has no score for {examples[0]}{others} of {trial_set.name} ({num} of {len(trial_set)}). Allow missing scores"
        " if that is meant: they are shown as not scored, never as bona fide."
    )
    return Finding(kind="missing", num=num, examples=examples, line_numbers=(), sentence=sentence, is_missing=True)

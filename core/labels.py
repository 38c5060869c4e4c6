"""The words of people's tables: for the two classes, and as names of columns. Every reader of tables takes them from here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from core.errors import CoreError, UnclearLabelsError

Label = Literal["bona fide", "spoof"]
BONA_FIDE_WORDS = ("bonafide", "genuine", "human", "real", "live", "natural", "authentic", "original")
SPOOF_WORDS = (
    *("spoof", "spoofed", "spoofing", "fake", "faked", "deepfake", "synthetic", "synthesized", "synthesised", "generated"),
    *("aigenerated", "artificial", "cloned", "replay", "replayed", "manipulated", "forged"),
)
"""Words for a class, in small letters and without blanks, hyphens and underscores."""
_LABELS: dict[str, Label] = dict.fromkeys(BONA_FIDE_WORDS, "bona fide") | dict.fromkeys(SPOOF_WORDS, "spoof")
_BITS = {"1": True, "0": False, "1.0": True, "0.0": False, "true": True, "false": False}
NO_LABEL = ("", "-", "nan", "na", "none", "null", "?", "unknown", "unlabelled", "unlabeled", "-1")
"""How tables write that nobody knows, in small letters."""
ASV_KEYS = frozenset({"target", "nontarget"})
"""Keys of a speaker verifier's trials, which are no labels of ours."""
EXPECTED = "expected a word such as bonafide, genuine or real, or spoof, fake or deepfake"

# What a column is called, in small letters and with blanks for hyphens and underscores; the first that is there is taken.
USUAL_COLUMNS = {
    "utterance": (
        *("utterance", "utt", "utt id", "utterance id", "trial", "trial id", "filename", "file name", "file", "path", "file path"),
        *("filepath", "recording", "audio", "audio path", "audio file", "wav", "wav path", "audio filename", "name", "id"),
    ),
    "score": ("spoof score", "score", "scores", "cm score"),
    "label": (
        *("label", "labels", "key", "cm label", "cm key", "class", "target", "ground truth", "truth", "is spoof", "is fake"),
        *("is bonafide", "is bona fide", "is real", "spoof", "fake", "bonafide", "bona fide", "category"),
    ),
    "attack": ("attack", "attack id", "attack label", "attack type", "system id", "system", "method", "algorithm"),
    "speaker": ("speaker", "speaker id", "spk", "spk id"),
    "source": ("source",),
    "family": ("family",),
    "known_system": ("known system",),
    "codec": ("codec",),
    "environment": ("environment",),
    "split": ("split", "subset", "partition"),
    "duration_s": ("duration s",),
}
_ONE_SAYS: dict[str, Label] = {
    **dict.fromkeys(("is spoof", "is fake", "spoof", "fake"), "spoof"),
    **dict.fromkeys(("is bonafide", "is bona fide", "is real", "bonafide", "bona fide"), "bona fide"),
}
"""Columns whose name says what a 1 means."""


def label_of(word: str) -> Label | None:
    """The class that a word names; None where it names none."""
    return _LABELS.get(re.sub(r"[\s_-]+", "", word.lower()))


def labels_of(words: Sequence[str], *, name: str, one_means: str | None, column: str | None = None) -> dict[str, Label | None]:
    """What each distinct word of a column of labels means; None for one that says that nobody knows. Unknown words are left out.

    Args:
        words: the column.
        name: of the file, in errors.
        one_means: `bona fide` (or `bona-fide`) or `spoof`, what a 1 among zeros and ones means; None where nobody said.
        column: the column's own name, which may say it (`is_spoof`).

    Raises:
        UnclearLabelsError: zeros and ones, and nobody said which is which.
    """
    distinct = dict.fromkeys(words)
    one = (one_means or _ONE_SAYS.get(_plain(column or "")) or "").replace("-", " ")
    if one not in ("", "bona fide", "spoof"):
        raise CoreError(f"A 1 cannot mean {one_means!r}; expected spoof or bona-fide.")
    meanings = {word: label_of(word) for word in distinct if label_of(word) or word.strip().lower() in NO_LABEL}
    bits = {word: _BITS[word.lower()] for word in distinct if word.lower() in _BITS}
    if bits and not one:
        raise UnclearLabelsError(
            f"{name}: the labels are {' and '.join(sorted(bits))}, which does not say which of them is the spoof."
            " Say which class 1 is: on the command line --one-means spoof or --one-means bona-fide."
        )
    other = "bona fide" if one == "spoof" else "spoof"
    return meanings | {word: one if bit else other for word, bit in bits.items()}


def find_columns(header: Iterable[str], given: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """What is found in a table (`utterance`, `label`, ...) -> its column, by what was given, else by the usual names."""
    by_name = {_plain(column): column for column in reversed(list(header))}
    found = {what: column for what, column in (given or {}).items() if column is not None}
    for what, usual in USUAL_COLUMNS.items():
        column = next((by_name[name] for name in usual if name in by_name and by_name[name] not in found.values()), None)
        if what not in found and column is not None:
            found[what] = column
    return found


def _plain(column: str) -> str:
    return re.sub(r"[\s_-]+", " ", column.strip().lower())

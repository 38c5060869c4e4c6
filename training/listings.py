"""What a corpus lists: records of its recordings, and the check of names against audio. Knows no layout."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from core.audio import EXTENSIONS
from core.protocols import Protocol
from training.trees import CorpusError, Tree, readable


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecording:
    """A recording as its corpus names it."""

    utterance: str
    path: str | None
    """Name within the source; None until the audio has been found."""
    label: str
    attack: str | None
    speaker: str
    corpus: str
    split: str | None
    """`train`, `dev`, `test`; None where the corpus has no splits."""
    environment: str | None = None
    group: str | None = None
    """Source or page; None for the attack or label."""
    family: str | None = None
    known_system: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChecks:
    """What was found when names and audio were compared; utterances or names of files."""

    num_named: int
    missing: tuple[str, ...]
    """Named, but without audio."""
    extra: tuple[str, ...]
    """Audio that nothing names (ASVspoof ships enrolment utterances beside the trials)."""
    duplicate: tuple[str, ...]
    """Named twice with the same label, or with two files of audio."""
    unknown_key: tuple[str, ...]
    """Left out: the key is neither bona fide nor spoof."""
    left_out: tuple[str, ...]
    """Left out: in a subset that was not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a reader of a layout hands over."""

    recordings: Sequence[SourceRecording]
    audio: Sequence[str]
    """Names of the audio files that belong to it."""
    duplicate: tuple[str, ...] = ()
    unknown_key: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A corpus ready to be decoded."""

    kind: str
    tree: Tree
    recordings: tuple[SourceRecording, ...]
    """In the order of the protocols, train, dev, test."""
    sizes: dict[str, int]
    """Name -> bytes."""
    checks: SourceChecks


def match_audio(named: Named) -> tuple[list[SourceRecording], SourceChecks]:
    """Finds each recording's audio; what has none is left out and told.

    Raises:
        CorpusError: one utterance stands in two splits or under two labels.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in named.audio:
        by_stem[stem_of(name)].append(name)
    present, used, first = set(named.audio), set(), {}
    found, missing, duplicate = [], [], list(named.duplicate)
    for recording in named.recordings:
        known = first.setdefault(recording.utterance, recording)
        if known is not recording:
            _require_same(known, recording)
            duplicate.append(recording.utterance)
            continue
        candidates = by_stem.get(recording.utterance, []) if recording.path is None else [recording.path]
        used.update(candidates)
        if len(candidates) > 1:
            duplicate.append(recording.utterance)
        if not candidates or candidates[0] not in present:
            missing.append(recording.utterance)
            continue
        found.append(replace(recording, path=candidates[0]))
    checks = SourceChecks(
        num_named=len(first),
        missing=tuple(missing),
        extra=tuple(name for name in named.audio if name not in used),
        duplicate=tuple(duplicate),
        unknown_key=named.unknown_key,
        left_out=named.left_out,
    )
    return found, checks


def usable_flaws(protocol: Protocol) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A protocol's duplicates and unknown keys (utterances).

    Raises:
        CorpusError: the same utterance stands under both labels.
    """
    flaws = protocol.flaws
    for flaw in flaws:
        if flaw.kind == "contradiction":
            raise CorpusError(f"{flaw.sentence} Correct the protocol.")
    kinds = ("duplicate", "unknown key")
    return tuple(tuple(flaw.utterance for flaw in flaws if flaw.kind == kind) for kind in kinds)


def require_both_classes(recordings: Iterable[SourceRecording]) -> None:
    """Refuses a split of one class: nothing can be learnt or measured on it.

    Raises:
        CorpusError: it names the split.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    for recording in recordings:
        labels[recording.split or ""].add(recording.label)
    for split, found in labels.items():
        if len(found) < 2:
            where = f"The split {split}" if split else "The source"
            missing = "spoofed" if "bona fide" in found else "bona fide"
            raise CorpusError(f"{where} holds {found.pop()} recordings only, no {missing} ones; both are needed.")


def audio_among(names: Iterable[str]) -> list[str]:
    """The names that end like recordings."""
    return [name for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS]


def stem_of(name: str) -> str:
    """File name without folders and ending, as text."""
    return readable(PurePosixPath(name).stem)


def _require_same(known: SourceRecording, other: SourceRecording) -> None:
    for what in ("split", "label"):
        one, two = getattr(known, what), getattr(other, what)
        if one != two:
            raise CorpusError(f"{known.utterance} occurs twice, once as {one} and once as {two}. Correct the protocol.")

"""The layouts of ASVspoof 2019, 2021 and 5 and of our own corpus: where protocols and audio lie. Decodes nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from core.protocols import Protocol, Trial, parse_protocol
from training.data import SPLITS
from training.listings import Named, SourceRecording, audio_among, usable_flaws
from training.trees import CorpusError, Tree

OFFICIAL_COUNTS: dict[str, dict[str, tuple[int, int]]] = {
    "asvspoof2019-la": {"train": (2_580, 22_800), "dev": (2_548, 22_296), "test": (7_355, 63_882)},
    "asvspoof2019-pa": {"train": (5_400, 48_600), "dev": (5_400, 24_300), "test": (18_090, 116_640)},
}
"""Corpus -> split -> bona fide and spoofed trials. Source: Wang et al. 2020, ASVspoof 2019: a large-scale public database."""

_2019 = re.compile(
    r"^(?:.*/)?ASVspoof2019_(LA|PA)_cm_protocols/ASVspoof2019\.\1\.cm\.(train\.trn|dev\.trl|eval\.trl)\.txt(?:\.gz)?$"
)
# The verification's own trials, ASV/trial_metadata.txt, have other columns and no audio of their own.
_2021 = re.compile(r"^(?!.*/ASV/)(?!ASV/)(?:.*/)?trial_metadata\.txt$")
_5 = re.compile(r"^(?:.*/)?ASVspoof5\.(train|dev\.track_1|eval\.track_1)\.tsv$")
_EARWITNESS = re.compile(r"^(?:.*/)?protocols/EW2?\.(train|dev|test)\.txt$")
_SPLIT_OF_WORD = {"train": "train", "dev": "dev", "eval": "test", "test": "test"}


def protocols_of(kind: str, names: Iterable[str]) -> list[str]:
    """The protocols of one of these kinds among names of files, train first.

    Args:
        kind: `asvspoof2019-la`, `asvspoof2019-pa`, `asvspoof2021`, `asvspoof5` or `earwitness`.
        names: all names of the source.
    """
    pattern = {"asvspoof2021": _2021, "asvspoof5": _5, "earwitness": _EARWITNESS}.get(kind, _2019)
    found = [(match, name) for name in names if (match := pattern.match(name))]
    if pattern is _2019:
        found = [(match, name) for match, name in found if match[1].lower() == kind[-2:]]
    return [name for _, name in sorted(found, key=lambda pair: (_rank(pair[0]), pair[1]))]


def root_of(kind: str, protocol: str) -> str:
    """The folder that a protocol's corpus lies in: empty, or ending with a slash."""
    above = {"asvspoof5": 1, "asvspoof2021": 1}.get(kind, 2)
    parts = protocol.split("/")[:-above]
    return "".join(f"{part}/" for part in parts)


def read_asvspoof2019(tree: Tree, names: Sequence[str], protocols: Sequence[str], *, access: str) -> Named:
    """LA or PA in the official layout; splits whose protocol is not there are not looked for."""
    corpus = f"asvspoof2019-{access}"
    root = root_of(corpus, protocols[0])
    read = [(_split_of(_2019, name, 2), _parsed(tree, name)) for name in protocols]
    folders = tuple(f"{root}ASVspoof2019_{access.upper()}_{'eval' if split == 'test' else split}/" for split, _ in read)
    return _named(
        [(split, protocol, corpus) for split, protocol in read],
        audio=[name for name in audio_among(names) if name.startswith(folders)],
    )


def read_asvspoof2021(tree: Tree, names: Sequence[str], protocols: Sequence[str], *, subsets: Sequence[str]) -> Named:
    """Keys and audio of LA, DF or PA anywhere in the source; the subsets asked for become test."""
    read = []
    for name in protocols:
        protocol = _parsed(tree, name)
        if not protocol.form.startswith("ASVspoof 2021"):
            raise CorpusError(f"{tree.described(name)} has the columns of {protocol.form}; expected keys of ASVspoof 2021.")
        read.append(("test", protocol, f"asvspoof2021-{protocol.form[-2:].lower()}"))
    return _named(read, audio=audio_among(names), subsets=subsets)


def read_asvspoof5(tree: Tree, names: Sequence[str], protocols: Sequence[str]) -> Named:
    """Track 1; audio in flac_T, flac_D, flac_E_eval or anywhere else in the source."""
    read = [(_split_of(_5, name, 1), _parsed(tree, name), "asvspoof5") for name in protocols]
    letters = tuple(protocol_letter(split) for split, _, _ in read)
    return _named(read, audio=[name for name in audio_among(names) if PurePosixPath(name).name.startswith(letters)])


def protocol_letter(split: str) -> str:
    """What the names of ASVspoof 5's utterances begin with: T_, D_ or E_."""
    return {"train": "T_", "dev": "D_", "test": "E_"}[split]


def read_earwitness(tree: Tree, names: Sequence[str], protocols: Sequence[str]) -> Named:
    """Our corpus: protocols with a table beside each, which adds source, family and whether the system is known."""
    root = root_of("earwitness", protocols[0])
    read, rows = [], {}
    for name in protocols:
        split = _split_of(_EARWITNESS, name, 1)
        read.append((split, _parsed(tree, name), "earwitness-2" if PurePosixPath(name).name.startswith("EW2") else "earwitness"))
        table = str(PurePosixPath(name).with_suffix(".csv"))
        if table in set(names):
            rows |= {row["utt"]: row for row in csv.DictReader(io.StringIO(tree.read_bytes(table).decode("utf-8")))}
    folders = tuple(f"{root}{split}/" for split, _, _ in read)
    return _named(read, audio=[name for name in audio_among(names) if name.startswith(folders)], rows=rows)


def _named(
    read: Sequence[tuple[str, Protocol, str]],
    *,
    audio: Sequence[str],
    subsets: Sequence[str] | None = None,
    rows: dict[str, dict[str, str]] | None = None,
) -> Named:
    recordings, duplicate, unknown, left_out = [], [], [], []
    for split, protocol, corpus in sorted(read, key=lambda entry: SPLITS.index(entry[0])):
        of_protocol = usable_flaws(protocol)
        duplicate += of_protocol[0]
        unknown += of_protocol[1]
        for trial in protocol.trials.values():
            if subsets is not None and trial.subset not in subsets:
                left_out.append(trial.utterance)
            else:
                recordings.append(_recording(trial, split=split, corpus=corpus, row=(rows or {}).get(trial.utterance, {})))
    dropped = set(unknown) | set(left_out)
    return Named(
        recordings=recordings,
        audio=[name for name in audio if PurePosixPath(name).stem not in dropped] if dropped else audio,
        duplicate=tuple(duplicate),
        unknown_key=tuple(unknown),
        left_out=tuple(left_out),
    )


def _recording(trial: Trial, *, split: str, corpus: str, row: dict[str, str]) -> SourceRecording:
    return SourceRecording(
        utterance=trial.utterance,
        path=None,
        label=trial.label,
        attack=trial.attack,
        speaker=trial.speaker,
        corpus=corpus,
        split=split,
        environment=trial.environment,
        group=row.get("source") or None,
        family=row.get("family") or trial.family,
        known_system={"True": True, "False": False}.get(row.get("known_system", "")),
    )


def _parsed(tree: Tree, name: str) -> Protocol:
    protocol = parse_protocol(tree.read_bytes(name), name=tree.described(name))
    if not protocol.trials:
        raise CorpusError(f"No line can be used. {protocol.flaws[0].sentence}")
    return protocol


def _split_of(pattern: re.Pattern[str], name: str, group: int) -> str:
    return _SPLIT_OF_WORD[pattern.match(name)[group].split(".")[0]]


def _rank(match: re.Match[str]) -> int:
    """Train, dev, test; what has no split of its own comes as test."""
    words = [word.split(".")[0] for word in match.groups() if word and word.split(".")[0] in _SPLIT_OF_WORD]
    return SPLITS.index(_SPLIT_OF_WORD[words[0]] if words else "test")

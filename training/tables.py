"""Corpora named by a table or by folders: In-the-Wild's meta.csv, any manifest, real/ and fake/. Decodes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from core.delimited import read_delimited
from core.labels import EXPECTED, find_columns, label_of, labels_of
from training.listings import Named, SourceRecording, audio_among, stem_of
from training.trees import CorpusError, FolderTree, Tree, readable

SPLIT_WORDS = {
    **dict.fromkeys(("train", "trn", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation", "development"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Word for a split, in small letters -> split inside the program."""
_PAIR = re.compile(r"^((?:.*/)?)([^/]+)/(.+)$")


def read_in_the_wild(tree: Tree, names: Sequence[str], table: str, *, one_means: str | None = None) -> Named:
    """`file,speaker,label` with audio beside the table or in any folder below (Müller et al. 2022)."""
    root = table[: -len("meta.csv")]
    audio = [name for name in audio_among(names) if name.startswith(root)]
    of_file = {PurePosixPath(name).name: name for name in audio}
    recordings, unknown = [], []
    for _, row in _rows(tree, table, required=("file", "speaker", "label"), one_means=one_means):
        if not row["label"]:
            unknown.append(row["file"])
            continue
        recordings.append(
            SourceRecording(
                utterance=stem_of(row["file"]),
                path=of_file.get(PurePosixPath(row["file"]).name, root + row["file"]),
                label=row["label"],
                attack=None,
                speaker=row["speaker"],
                corpus="in-the-wild",
                split=None,
            )
        )
    return Named(recordings=recordings, audio=_without(audio, unknown), unknown_key=tuple(unknown))


def read_manifest(tree: FolderTree, table: str, *, one_means: str | None = None) -> Named:
    """A table with `path` (from the table's folder, or absolute) and `label`; optional: attack, speaker, split, environment, group
    (or source), family, known_system, utterance, corpus. Extra audio is looked for in the folders that the paths name.
    """
    recordings, unknown = [], []
    for line, row in _rows(tree, table, required=("path", "label"), one_means=one_means):
        if not row["label"]:
            unknown.append(row["path"])
            continue
        recordings.append(_manifest_recording(row, where=f"{tree.described(table)}, line {line}", default=stem_of(table)))
    # `dict.fromkeys` keeps the order of the rows, so that the listing is the same every time.
    folders = dict.fromkeys(str(PurePosixPath(recording.path).parent) for recording in recordings)
    audio = [name for folder in folders for name in _audio_in(tree.root, folder)]
    return Named(recordings=recordings, audio=_without(audio, unknown), unknown_key=tuple(unknown))


def pair_root(names: Sequence[str]) -> str | None:
    """The shallowest folder that holds folders of bona fide and of spoofed audio (also within split folders), or None."""
    found: dict[str, set[str]] = {}
    for name in audio_among(names):
        placed = _placed(name)
        if placed:
            found.setdefault(placed[0], set()).add(placed[2])
    roots = [root for root, labels in found.items() if len(labels) == 2]
    return min(roots, key=lambda root: (root.count("/"), root), default=None)


def read_pair(names: Sequence[str], root: str, *, corpus: str) -> Named:
    """`real/` and `fake/`, or `train/real/` and so on. A folder below is the speaker; without one, files of one name share one."""
    audio = [name for name in audio_among(names) if (placed := _placed(name)) and placed[0] == root]
    recordings = []
    for name in audio:
        _, split, label, rest = _placed(name)
        below = PurePosixPath(rest)
        recordings.append(
            SourceRecording(
                utterance=readable(str(PurePosixPath(name[len(root) :]).with_suffix(""))),
                path=name,
                label=label,
                attack=None,
                speaker=readable(below.parts[0]) if len(below.parts) > 1 else stem_of(rest),
                corpus=corpus,
                split=split,
            )
        )
    return Named(recordings=recordings, audio=audio)


def table_columns(tree: Tree, name: str) -> set[str]:
    """What a table's columns are by their names: `path`, `label` and so on; empty where it is no table."""
    try:
        return set(_named_columns(tree, name))
    except CorpusError:
        return set()


def _placed(name: str) -> tuple[str, str | None, str, str] | None:
    """Root, split, label and the rest of a name with a folder such as `real` in it (the last such folder)."""
    parts = name.split("/")
    for position in range(len(parts) - 2, -1, -1):
        label = label_of(parts[position])
        if label:
            split = SPLIT_WORDS.get(parts[position - 1].lower()) if position else None
            root = parts[: position - 1] if split else parts[:position]
            return "".join(f"{part}/" for part in root), split, label, "/".join(parts[position + 1 :])
    return None


def _manifest_recording(row: dict[str, str], *, where: str, default: str) -> SourceRecording:
    path = str(PurePosixPath(row["path"].replace("\\", "/")))
    word = row.get("split", "").lower()
    if word and word not in SPLIT_WORDS:
        raise CorpusError(f"{where}: the split is {word!r}; expected train, dev or test.")
    utterance = row.get("utterance") or str(PurePosixPath(path).with_suffix(""))
    return SourceRecording(
        utterance=readable(utterance),
        path=path,
        label=row["label"],
        attack=None if row["label"] == "bona fide" or row.get("attack", "-") in ("", "-") else row["attack"],
        speaker=row.get("speaker") or readable(utterance),
        corpus=row.get("corpus") or default,
        split=SPLIT_WORDS.get(word),
        environment=row.get("environment") or None,
        group=row.get("group") or row.get("source") or None,
        family=row.get("family") or None,
        known_system={"true": True, "false": False}.get(row.get("known_system", "").lower()),
    )


def _rows(tree: Tree, table: str, *, required: Sequence[str], one_means: str | None) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row; `label` is our word for a class, or empty where the table's is unknown."""
    columns, name = _named_columns(tree, table), tree.described(table)
    if missing := [column for column in required if column not in columns]:
        raise CorpusError(f"{name} lacks the column {missing[0]!r}; expected {', '.join(required)}, found {', '.join(columns)}.")
    labels = columns["label"]
    meanings = labels_of(labels, name=name, one_means=one_means)
    if not any(meanings.values()):
        words = ", ".join(dict.fromkeys(labels))
        raise CorpusError(f"{name} has unknown labels ({words[:200]}); {EXPECTED}.")
    columns["label"] = tuple(meanings.get(word) or "" for word in labels)
    lines = columns.pop("")
    for line, *cells in zip(lines, *columns.values(), strict=True):
        yield line, dict(zip(columns, cells, strict=True))


def _named_columns(tree: Tree, table: str) -> dict[str, tuple]:
    """Each column under its name in small letters and under what it is by usual names; line numbers under an empty name."""
    read = read_delimited(tree.read_bytes(table), name=tree.described(table), is_header=lambda _: True, error=CorpusError)
    columns = {column.strip().lower(): cells for column, cells in zip(read.header, read.columns, strict=True)}
    for what, column in find_columns(read.header).items():
        columns.setdefault("path" if what == "utterance" else what, columns[column.strip().lower()])
    return columns | {"": read.line_numbers}


def _audio_in(root: Path, folder: str) -> list[str]:
    """Audio files right in a folder, named as the manifest would."""
    place = root / folder
    prefix = "" if folder == "." else f"{folder}/"
    found = sorted(entry.name for entry in place.iterdir() if entry.is_file()) if place.is_dir() else []
    return [f"{prefix}{name}" for name in audio_among(found)]


def _without(audio: Sequence[str], unknown: Sequence[str]) -> list[str]:
    left_out = {PurePosixPath(name).name for name in unknown}
    return [name for name in audio if PurePosixPath(name).name not in left_out]

"""Corpora named by a table or by folders: In-the-Wild's meta.csv, any CSV manifest, real/ and fake/. Decodes nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from training.listings import Named, SourceRecording, audio_among, stem_of
from training.trees import CorpusError, FolderTree, Tree, readable

LABELS = {
    **dict.fromkeys(("bona fide", "bonafide", "bona-fide", "bona_fide", "genuine", "real", "human"), "bona fide"),
    **dict.fromkeys(("spoof", "spoofed", "fake", "deepfake"), "spoof"),
}
"""Word for a class, in small letters -> label inside the program."""
SPLIT_WORDS = {
    **dict.fromkeys(("train", "trn", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation", "development"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Word for a split, in small letters -> split inside the program."""
_PAIR = re.compile(r"^((?:.*/)?)([^/]+)/(.+)$")


def read_in_the_wild(tree: Tree, names: Sequence[str], table: str) -> Named:
    """`file,speaker,label` with audio beside the table or in any folder below (Müller et al. 2022)."""
    root = table[: -len("meta.csv")]
    audio = [name for name in audio_among(names) if name.startswith(root)]
    of_file = {PurePosixPath(name).name: name for name in audio}
    recordings, unknown = [], []
    for _, row in _rows(tree.read_bytes(table), tree.described(table), required=("file", "speaker", "label")):
        label = LABELS.get(row["label"].strip().lower())
        if label is None:
            unknown.append(row["file"])
            continue
        recordings.append(
            SourceRecording(
                utterance=stem_of(row["file"]),
                path=of_file.get(PurePosixPath(row["file"]).name, root + row["file"]),
                label=label,
                attack=None,
                speaker=row["speaker"],
                corpus="in-the-wild",
                split=None,
            )
        )
    return Named(recordings=recordings, audio=_without(audio, unknown), unknown_key=tuple(unknown))


def read_manifest(tree: FolderTree, table: str) -> Named:
    """A CSV with `path` (from the table's folder, or absolute) and `label`; optional: attack, speaker, split, environment, group
    (or source), family, known_system, utterance, corpus. Extra audio is looked for in the folders that the paths name.
    """
    recordings, unknown = [], []
    data = tree.read_bytes(table)
    for line, row in _rows(data, tree.described(table), required=("path", "label")):
        label = LABELS.get(row["label"].strip().lower())
        if label is None:
            unknown.append(row["path"])
            continue
        recordings.append(_manifest_recording(row, label, where=f"{tree.described(table)}, line {line}", default=stem_of(table)))
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


def table_columns(tree: Tree, name: str) -> list[str]:
    """The header of a CSV, in small letters; empty where it is no text."""
    try:
        first = tree.read_bytes(name).split(b"\n", 1)[0].decode("utf-8-sig")
    except UnicodeDecodeError:
        return []
    return [column.strip().lower() for column in next(csv.reader([first.strip()]), [])]


def _placed(name: str) -> tuple[str, str | None, str, str] | None:
    """Root, split, label and the rest of a name with a folder such as `real` in it (the last such folder)."""
    parts = name.split("/")
    for position in range(len(parts) - 2, -1, -1):
        label = LABELS.get(parts[position].lower())
        if label:
            split = SPLIT_WORDS.get(parts[position - 1].lower()) if position else None
            root = parts[: position - 1] if split else parts[:position]
            return "".join(f"{part}/" for part in root), split, label, "/".join(parts[position + 1 :])
    return None


def _manifest_recording(row: dict[str, str], label: str, *, where: str, default: str) -> SourceRecording:
    path = str(PurePosixPath(row["path"].replace("\\", "/")))
    word = row.get("split", "").lower()
    if word and word not in SPLIT_WORDS:
        raise CorpusError(f"{where}: the split is {word!r}; expected train, dev or test.")
    utterance = row.get("utterance") or str(PurePosixPath(path).with_suffix(""))
    return SourceRecording(
        utterance=readable(utterance),
        path=path,
        label=label,
        attack=None if label == "bona fide" or row.get("attack", "-") in ("", "-") else row["attack"],
        speaker=row.get("speaker") or readable(utterance),
        corpus=row.get("corpus") or default,
        split=SPLIT_WORDS.get(word),
        environment=row.get("environment") or None,
        group=row.get("group") or row.get("source") or None,
        family=row.get("family") or None,
        known_system={"true": True, "false": False}.get(row.get("known_system", "").lower()),
    )


def _rows(data: bytes, name: str, *, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row, column names in small letters, cells without blanks around them."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name} is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.") from None
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or []]
        if missing := [column for column in required if column not in reader.fieldnames]:
            raise CorpusError(f"{name} lacks the column {missing[0]!r}; expected {', '.join(required)}, found {reader.fieldnames}.")
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise CorpusError(f"{name}, line {reader.line_num}: expected {len(reader.fieldnames)} cells as in the header.")
            rows.append((reader.line_num, {column: cell.strip() for column, cell in row.items()}))
    except csv.Error as error:
        raise CorpusError(f"{name} is not a CSV: {error}.") from None
    if not rows:
        raise CorpusError(f"{name} holds no rows.")
    return rows


def _audio_in(root: Path, folder: str) -> list[str]:
    """Audio files right in a folder, named as the manifest would."""
    place = root / folder
    prefix = "" if folder == "." else f"{folder}/"
    found = sorted(entry.name for entry in place.iterdir() if entry.is_file()) if place.is_dir() else []
    return [f"{prefix}{name}" for name in audio_among(found)]


def _without(audio: Sequence[str], unknown: Sequence[str]) -> list[str]:
    left_out = {PurePosixPath(name).name for name in unknown}
    return [name for name in audio if PurePosixPath(name).name not in left_out]

"""Which kind of corpus a path holds, and its recordings checked against the audio. Decodes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.data import SPLITS
from training.layouts import protocols_of, read_asvspoof5, read_asvspoof2019, read_asvspoof2021, read_earwitness, root_of
from training.listings import Named, Source, SourceChecks, SourceRecording, match_audio, require_both_classes
from training.splitting import split_by_speaker
from training.tables import pair_root, read_in_the_wild, read_manifest, read_pair, table_columns
from training.trees import CorpusError, FolderTree, JoinedTree, Tree, open_tree

KINDS = {
    "asvspoof2019-la": "ASVspoof2019_LA_cm_protocols/ and ASVspoof2019_LA_{train,dev,eval}/flac/",
    "asvspoof2019-pa": "the same with PA",
    "asvspoof2021": "keys/{LA,DF,PA}/CM/trial_metadata.txt and folders of audio",
    "asvspoof5": "ASVspoof5.{train,dev.track_1,eval.track_1}.tsv and flac_T/, flac_D/, flac_E_eval/",
    "in-the-wild": "meta.csv (file,speaker,label) and audio",
    "real-fake": "folders real/ and fake/ (or bonafide/ and spoof/), also within train/, dev/, test/",
    "manifest": "a table with path,label and optionally attack,speaker,split",
    "earwitness": "protocols/EW.{train,dev,test}.txt (or EW2) and train/, dev/, test/",
}
"""Kind of source -> what it is known by."""
SUBSETS = ("eval", "progress", "hidden")
"""Subsets of ASVspoof 2021."""
TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".xlsx", ".parquet")
_NUM_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What the user may decide about a source."""

    kind: str | None = None
    """One of `KINDS`; None to find out."""
    seed: int = 0
    """Decides which speakers go to dev where the source has no splits."""
    as_split: str | None = None
    """Put everything into this split."""
    subsets: tuple[str, ...] = ("eval",)
    """ASVspoof 2021's subsets to take as test."""
    allow_missing: bool = False
    """Go on without the recordings that have no audio."""
    one_means: str | None = None
    """`bona fide` or `spoof`: which class 1 is, where a table's labels are 0 and 1."""

    def __post_init__(self) -> None:
        for value, allowed in ((self.kind, KINDS), (self.as_split, SPLITS), *((subset, SUBSETS) for subset in self.subsets)):
            if value is not None and value not in allowed:
                raise CorpusError(f"{value!r} is not known here; expected one of {', '.join(allowed)}.")


def read_source(path: Path, options: SourceOptions | None = None) -> Source:
    """Lists a corpus: a folder, a zip of one (read in place), or a manifest.

    Raises:
        CorpusError: not readable, of an unknown or ambiguous layout, audio missing, one class only, not divisible.
        ProtocolError: a protocol that does not parse.
    """
    options = options or SourceOptions()
    path = path.absolute()
    if path.is_file() and path.suffix.lower() in TABLE_ENDINGS:
        tree, sizes, kind, named = _read_table(path, options)
    else:
        tree = open_tree(path)
        sizes = tree.sizes()
        kind, marker = _detect(tree, list(sizes), options.kind)
        named = _read(kind, tree, list(sizes), marker, options)
    recordings, checks = match_audio(named)
    if checks.missing and not options.allow_missing:
        first = ", ".join(checks.missing[:_NUM_NAMED])
        raise CorpusError(
            f"{len(checks.missing):,} of {checks.num_named:,} recordings that {path} names have no audio, the first: {first}. "
            "Complete the download, or go on without them with --allow-missing."
        )
    if not recordings:
        raise CorpusError(f"{path} holds no usable recordings ({checks.num_named:,} named, {len(checks.missing):,} missing).")
    recordings = _with_splits(recordings, options)
    require_both_classes(recordings)
    return Source(kind=kind, tree=tree, recordings=tuple(recordings), sizes=sizes, checks=checks)


def read_sources(paths: Sequence[Path], options: SourceOptions | None = None) -> Source:
    """Several corpora as one, split by split in the order in which they are named; of one, `read_source`.

    Raises:
        CorpusError: as `read_source`, or an utterance stands in two of them.
    """
    sources = [read_source(path, options) for path in paths]
    if len(sources) == 1:
        return sources[0]
    first: dict[str, int] = {}
    for number, source in enumerate(sources):
        for recording in source.recordings:
            if first.setdefault(recording.utterance, number) != number:
                raise CorpusError(
                    f"{recording.utterance} stands in {paths[first[recording.utterance]]} and in {paths[number]}. "
                    "Prepare them apart, or rename the utterances of one."
                )
    recordings = [
        replace(recording, path=f"{number}/{recording.path}")
        for number, source in enumerate(sources)
        for recording in source.recordings
    ]
    checks = [source.checks for source in sources]
    return Source(
        kind=" + ".join(dict.fromkeys(source.kind for source in sources)),
        tree=JoinedTree(tuple(source.tree for source in sources)),
        recordings=tuple(sorted(recordings, key=lambda recording: SPLITS.index(recording.split))),
        sizes={f"{number}/{name}": size for number, source in enumerate(sources) for name, size in source.sizes.items()},
        checks=SourceChecks(
            num_named=sum(check.num_named for check in checks),
            **{
                field: tuple(name for check in checks for name in getattr(check, field))
                for field in ("missing", "extra", "duplicate", "unknown_key", "left_out")
            },
        ),
    )


def _read_table(path: Path, options: SourceOptions) -> tuple[Tree, dict[str, int], str, Named]:
    if options.kind == "in-the-wild" or (options.kind is None and path.name == "meta.csv"):
        tree = FolderTree(path.parent)
        sizes = tree.sizes()
        return tree, sizes, "in-the-wild", read_in_the_wild(tree, list(sizes), path.name, one_means=options.one_means)
    if options.kind not in (None, "manifest"):
        raise CorpusError(f"{path} is a table, so it can be a manifest or In-the-Wild's meta.csv, not {options.kind}.")
    tree = FolderTree(path.parent)
    named = read_manifest(tree, path.name, one_means=options.one_means)
    return tree, {name: (path.parent / name).stat().st_size for name in named.audio}, "manifest", named


def _detect(tree: Tree, names: Sequence[str], wanted: str | None) -> tuple[str, str]:
    """The kind and its marker (first protocol, table or root): the one nearest to the top of the source."""
    found: list[tuple[int, str, str]] = []
    for kind in KINDS:
        if wanted in (None, kind):
            marker, root = _marker(kind, tree, names)
            if marker is not None:
                found.append((root.count("/"), kind, marker))
    if not found:
        expected = "; ".join(f"{kind}: {layout}" for kind, layout in KINDS.items() if wanted in (None, kind))
        raise CorpusError(f"{tree.root} has no layout that is known here. Expected {expected}.")
    nearest = sorted(entry for entry in found if entry[0] == min(found)[0])
    if len(nearest) > 1:
        kinds = " and ".join(kind for _, kind, _ in nearest)
        raise CorpusError(f"{tree.root} looks like {kinds}. Name the part that you mean, or choose with --kind.")
    return nearest[0][1], nearest[0][2]


def _marker(kind: str, tree: Tree, names: Sequence[str]) -> tuple[str | None, str]:
    if kind == "real-fake":
        root = pair_root(names)
        return root, root or ""
    if kind in ("in-the-wild", "manifest"):
        file = "meta.csv" if kind == "in-the-wild" else "manifest.csv"
        wanted = {"file", "speaker", "label"} if kind == "in-the-wild" else {"path", "label"}
        tables = [name for name in names if name.rsplit("/", 1)[-1] == file and wanted <= table_columns(tree, name)]
        table = min(tables, key=lambda name: (name.count("/"), name), default=None)
        return table, (table or "").removesuffix(file)
    protocols = protocols_of(kind, names)
    nearest = min(protocols, key=lambda name: root_of(kind, name).count("/"), default=None)
    return nearest, root_of(kind, nearest) if nearest else ""


def _read(kind: str, tree: Tree, names: Sequence[str], marker: str, options: SourceOptions) -> Named:
    if kind == "real-fake":
        return read_pair(names, marker, corpus=tree.root.stem)
    if kind == "in-the-wild":
        return read_in_the_wild(tree, names, marker, one_means=options.one_means)
    if kind == "manifest":
        if not isinstance(tree, FolderTree):
            raise CorpusError(f"{tree.root}: a manifest within a zip is not read; unpack it.")
        return read_manifest(tree, marker, one_means=options.one_means)
    protocols = protocols_of(kind, names)
    if kind not in ("asvspoof2021", "asvspoof5"):
        root = root_of(kind, marker)
        protocols = [name for name in protocols if root_of(kind, name) == root]
    readers: dict[str, Callable[[], Named]] = {
        "asvspoof2019-la": lambda: read_asvspoof2019(tree, names, protocols, access="la"),
        "asvspoof2019-pa": lambda: read_asvspoof2019(tree, names, protocols, access="pa"),
        "asvspoof2021": lambda: read_asvspoof2021(tree, names, protocols, subsets=options.subsets),
        "asvspoof5": lambda: read_asvspoof5(tree, names, protocols),
        "earwitness": lambda: read_earwitness(tree, names, protocols),
    }
    return readers[kind]()


def _with_splits(recordings: list[SourceRecording], options: SourceOptions) -> list[SourceRecording]:
    """Every recording in a split, ordered train, dev, test and otherwise as listed."""
    if options.as_split:
        return [replace(recording, split=options.as_split) for recording in recordings]
    num_without = sum(recording.split is None for recording in recordings)
    if 0 < num_without < len(recordings):
        raise CorpusError(
            f"{num_without:,} of {len(recordings):,} recordings have no split while others have one; give all or none."
        )
    if num_without:
        require_both_classes(recordings)
        splits = split_by_speaker(
            [recording.speaker for recording in recordings],
            [recording.label == "spoof" for recording in recordings],
            seed=options.seed,
        )
        recordings = [replace(recording, split=split) for recording, split in zip(recordings, splits, strict=True)]
    return sorted(recordings, key=lambda recording: SPLITS.index(recording.split))

"""A made data set on disk: its settings, the journal of what is done, protocol, spans and manifest. Makes no spoof.

OUT/settings.json      what was asked for; another request is refused
OUT/journal.jsonl      one line per recording that is done: resuming goes on after the last
OUT/flac/*.flac        bona fide sources and spoofs, 16 kHz, 16 bit
OUT/protocol.txt       `speaker utterance environment attack key`, as ASVspoof 2019's
OUT/spans.csv          the spoofed stretches of partial spoofs
OUT/manifest.json      kinds, parameters, seeds, versions, hashes; written last: without it the set is unfinished
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from core.attacks.kinds import attack_kind
from core.errors import CoreError
from core.whole_files import replace_file

SCHEMA_VERSION = 1
AUDIO, SETTINGS, JOURNAL, PROTOCOL, SPANS, TABLE, MANIFEST = (
    "flac",
    "settings.json",
    "journal.jsonl",
    "protocol.txt",
    "spans.csv",
    "manifest.csv",
    "manifest.json",
)
_KEYS = {"bona fide": "bonafide", "spoof": "spoof"}
_PACKAGES = ("numpy", "scipy", "torch", "torchaudio", "pyworld-prebuilt", "pyroomacoustics")


class DataSetError(CoreError):
    """A folder that holds something else, or a data set that was asked for otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What could not be made."""

    recording: str
    kind: str | None
    """None where the recording itself could not be used."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """One recording of the set."""

    utterance: str
    label: str
    """`bona fide` or `spoof`."""
    attack: str | None
    environment: str | None
    num_samples: int
    sha256: str
    """Of the FLAC file."""
    kind: str | None = None
    parameters: dict[str, float | str] | None = None
    """With the names of choices."""
    seed: int | None = None
    text: str | None = None
    made_by: str | None = None
    spans: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneSource:
    """All that was made of one recording: a line of the journal."""

    recording: str
    sha256: str | None
    speaker: str
    files: tuple[MadeFile, ...]
    failures: tuple[Failure, ...]
    note: str | None = None
    """Set where the recording was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetReport:
    """What a run left behind."""

    out: Path
    num_recordings: int
    """Asked for."""
    num_done: int
    num_bona_fide: int
    num_spoof: int
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every recording was gone through."""
        return self.num_done == self.num_recordings

    @property
    def words(self) -> str:
        """One sentence."""
        state = "finished" if self.is_complete else "stopped"
        failed = f"; {len(self.failures)} could not be made" if self.failures else ""
        counts = f"{self.num_bona_fide} bona fide and {self.num_spoof} spoofs"
        return f"{state}: {self.num_done} of {self.num_recordings} recordings, {counts} in {self.out}{failed}"


def open_folder(out: Path, settings: dict) -> dict[str, DoneSource]:
    """Makes the folder, or finds what an earlier run with the same settings left.

    Returns:
        Recording -> what is done of it.

    Raises:
        DataSetError: the folder holds other things or another set, or cannot be written.
    """
    wanted = json.dumps(settings, indent=1, sort_keys=True)
    try:
        if not (out / SETTINGS).is_file():
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise DataSetError(
                    f"{out} is there already and holds no data set of this command; choose a new or an empty folder."
                )
            (out / AUDIO).mkdir(parents=True, exist_ok=True)
            replace_file(out / SETTINGS, wanted + "\n")
            return {}
        there = (out / SETTINGS).read_text(encoding="utf-8").strip()
        if there != wanted:
            raise DataSetError(
                f"{out} holds a data set with other settings ({_difference(there, settings)}); choose another folder."
            )
        (out / AUDIO).mkdir(exist_ok=True)
        return _read_journal(out)
    except OSError as error:
        raise DataSetError(f"{out} cannot be written: {error.strerror or error}.") from None


def add_to_journal(out: Path, done: DoneSource) -> None:
    """Appends one line; it reaches the disk before this returns."""
    with open(out / JOURNAL, "a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(done), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def write_tables(out: Path, settings: dict, done: Iterable[DoneSource], *, is_complete: bool) -> None:
    """Writes protocol, spans and table of what is done, and the manifest of a complete set."""
    sources = list(done)
    files = [(source, file) for source in sources for file in source.files]
    lines = [
        f"{source.speaker} {file.utterance} {file.environment or '-'} {file.attack or '-'} {_KEYS[file.label]}\n"
        for source, file in files
    ]
    replace_file(out / PROTOCOL, "".join(lines))
    spans = [
        (file.utterance, f"{start:.4f}", f"{end:.4f}", file.made_by)
        for _, file in files
        if file.made_by is not None
        for start, end in file.spans
    ]
    replace_file(out / SPANS, _csv([("utterance", "start_s", "end_s", "made_by"), *spans]))
    rows = [
        (
            f"{AUDIO}/{file.utterance}.flac",
            file.label,
            file.attack or "-",
            source.speaker,
            file.environment or "",
            file.utterance,
            source.files[0].utterance,
            attack_kind(file.kind).family if file.kind else "",
        )
        for source, file in files
    ]
    columns = ("path", "label", "attack", "speaker", "environment", "utterance", "source", "family")
    replace_file(out / TABLE, _csv([columns, *rows]))
    if is_complete:
        versions = {name: _version(name) for name in _PACKAGES}
        record = {"schema_version": SCHEMA_VERSION, "settings": settings, "versions": versions}
        record["data_hash"] = hashlib.sha256("".join(file.sha256 for _, file in files).encode()).hexdigest()
        record["sources"] = [asdict(source) for source in sources]
        replace_file(out / MANIFEST, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _csv(rows: Iterable[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _read_journal(out: Path) -> dict[str, DoneSource]:
    """What is done; a last line that a killed run left unfinished is cut off."""
    path = out / JOURNAL
    if not path.is_file():
        return {}
    done, kept = {}, []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            files = [file | {"spans": tuple(map(tuple, file["spans"]))} for file in fields.pop("files")]
            failures = tuple(Failure(**each) for each in fields.pop("failures"))
            source = DoneSource(**fields, files=tuple(MadeFile(**each) for each in files), failures=failures)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise DataSetError(f"{path}, line {number} is damaged ({error}); remove {out} and make the data set again.") from None
        done[source.recording] = source
        kept.append(line)
    if len(kept) < len(lines):
        replace_file(path, "".join(kept))
    return done


def _difference(there: str, settings: dict) -> str:
    try:
        before = json.loads(there)
    except ValueError:
        return "its settings are damaged"
    names = [name for name in sorted({*before, *settings}) if before.get(name) != settings.get(name)]
    return ", ".join(names)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

"""A folder or a zip seen as the same: names of files with their sizes, their bytes, and a recording as a path. Writes nothing."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.errors import AudioRefusal, CoreError

_ZIP_FAILURES = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)
"""What reading a damaged, encrypted or strangely compressed member raises."""


class CorpusError(CoreError):
    """A corpus that cannot be listed, prepared or read back."""


@dataclass(frozen=True, slots=True)
class FolderTree:
    """Files below a folder; names are relative, with slashes."""

    root: Path

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every file that is not hidden, in order of names. Links are followed once."""
        sizes: dict[str, int] = {}
        visited: set[tuple[int, int]] = set()
        self._collect("", sizes, visited)
        return dict(sorted(sizes.items()))

    def _collect(self, below: str, sizes: dict[str, int], visited: set[tuple[int, int]]) -> None:
        try:
            status = os.stat(self.root / below)
            if (status.st_dev, status.st_ino) in visited:
                return
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(self.root / below) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        self._collect(f"{below}{entry.name}/", sizes, visited)
                    elif entry.is_file():
                        sizes[below + entry.name] = entry.stat().st_size
        except OSError as error:
            raise CorpusError(f"{self.root / below} could not be listed: {error.strerror}. Change its permissions.") from None

    def read_bytes(self, name: str) -> bytes:
        """A whole file.

        Raises:
            CorpusError: it cannot be read.
        """
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise CorpusError(f"{self.described(name)} could not be read: {error.strerror}.") from None

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """A path that decoders can open."""
        yield self.root / name

    def described(self, name: str) -> str:
        """The file as the index names it."""
        return readable(os.fspath(self.root / name))


@dataclass(frozen=True, slots=True)
class ZipTree:
    """Members of a zip, read in place: one recording at a time goes through a temporary file."""

    root: Path

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every member that is not hidden, in order of names.

        Raises:
            CorpusError: not a zip, or one that was cut off.
        """
        members = _members(self.root).infolist()
        sizes = {member.filename: member.file_size for member in members if not member.is_dir() and not _is_hidden(member.filename)}
        return dict(sorted(sizes.items()))

    def read_bytes(self, name: str) -> bytes:
        """A whole member.

        Raises:
            CorpusError: it cannot be read.
        """
        try:
            return _members(self.root).read(name)
        except _ZIP_FAILURES as error:
            raise CorpusError(f"{self.described(name)} could not be read: {error}. Download the zip again.") from None

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """A path that decoders can open, gone afterwards.

        Raises:
            AudioRefusal: the member is damaged, encrypted or compressed in an unknown way.
            CorpusError: no room for the temporary file.
        """
        try:
            data = _members(self.root).read(name)
        except _ZIP_FAILURES as error:
            raise AudioRefusal("unreadable", f"The zip's member could not be read: {error}.") from None
        with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
            path = Path(folder) / f"member{os.path.splitext(name)[1]}"
            try:
                path.write_bytes(data)
            except OSError as error:
                raise CorpusError(f"{folder} could not be written: {error.strerror}. Set TMPDIR to a folder with room.") from None
            yield path

    def described(self, name: str) -> str:
        """The member as the index names it: `zip!member`."""
        return readable(f"{self.root}!{name}")


@dataclass(frozen=True, slots=True)
class JoinedTree:
    """Several trees as one; a name begins with its tree's number."""

    parts: tuple[FolderTree | ZipTree, ...]

    @property
    def root(self) -> str:
        """Where they lie, for the fingerprint of what was prepared."""
        return " + ".join(os.fspath(part.root) for part in self.parts)

    def read_bytes(self, name: str) -> bytes:
        """As its tree's."""
        part, inside = self._part(name)
        return part.read_bytes(inside)

    def opened(self, name: str) -> AbstractContextManager[Path]:
        """As its tree's."""
        part, inside = self._part(name)
        return part.opened(inside)

    def described(self, name: str) -> str:
        """As its tree names it."""
        part, inside = self._part(name)
        return part.described(inside)

    def _part(self, name: str) -> tuple[FolderTree | ZipTree, str]:
        number, _, inside = name.partition("/")
        return self.parts[int(number)], inside


Tree = FolderTree | ZipTree | JoinedTree


def open_tree(path: Path) -> Tree:
    """The folder or zip at a path.

    Raises:
        CorpusError: there is nothing, or a file that is not a zip.
    """
    path = path.absolute()
    if path.is_dir():
        return FolderTree(path)
    if not path.exists():
        raise CorpusError(f"There is no {path}. Expected a corpus folder, a zip of one, or a CSV manifest.")
    _members(path)
    return ZipTree(path)


def readable(text: str) -> str:
    """A file name as text that can be written: bytes that are not UTF-8 become escapes."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _members(path: Path) -> zipfile.ZipFile:
    try:
        status = path.stat()
        return _opened_zip(path, status.st_size, status.st_mtime_ns, os.getpid())
    except (zipfile.BadZipFile, OSError) as error:
        raise CorpusError(
            f"{path} is not a zip that can be read ({error}). Expected a whole one: compare its size with the download page's."
        ) from None


@lru_cache(maxsize=1)
def _opened_zip(path: Path, size_bytes: int, changed_ns: int, process: int) -> zipfile.ZipFile:
    """The zip, its table of contents read once per process: 120,000 members take about a second."""
    return zipfile.ZipFile(path)

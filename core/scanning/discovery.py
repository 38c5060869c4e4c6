"""Finding the recordings of a folder: recursive, in a stable order, safe with links, pipes and odd names."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.audio import EXTENSIONS
from core.errors import ScanError
from core.hostile_text import one_line
from core.records import FoundFile, ScanSettings

MAX_ENDINGS = 5
"""So many endings are named of what is left out; the rest is counted."""


@dataclass(slots=True)
class LeftOut:
    """What a listing leaves out, for whoever would have expected it."""

    places: list[str] = field(default_factory=list)
    """Each subfolder that cannot be opened and each link that leads out, and why it was left out."""
    endings: Counter[str] = field(default_factory=Counter)
    """Ending (empty where there is none) -> files that were left out because of it."""

    @property
    def ending_words(self) -> str:
        """How many files of which endings; empty where none was left out."""
        if not self.endings:
            return ""
        named = [f"{num:,} {ending or 'without one'}" for ending, num in self.endings.most_common(MAX_ENDINGS)]
        if (num_other := self.endings.total() - sum(num for _, num in self.endings.most_common(MAX_ENDINGS))) > 0:
            named.append(f"{num_other:,} others")
        num = self.endings.total()
        return f"{num:,} file{'s' if num > 1 else ''} left out by {'their' if num > 1 else 'its'} ending: {', '.join(named)}"

    @property
    def sentence(self) -> str | None:
        """All of it for a message; None where nothing was left out."""
        more = f", and {len(self.places) - 1} more." if self.places[1:] else "."
        place = [f"Left out: {self.places[0]}{more}"] if self.places else []
        ending = [f"{self.ending_words} (--all-files tries them too)."] if self.endings else []
        return " ".join(place + ending) or None


def find_files(folder: str, settings: ScanSettings, *, left_out: LeftOut | None = None) -> Iterator[FoundFile]:
    """Files below a folder that the settings let through, folder by folder in the order of their names.

    Links are followed within the folder, out of it only if the settings say so; a folder that was visited before (a loop, or
    two links to one place) is not entered again. Links to nowhere, pipes and devices count as files: they are refused when read.

    Args:
        folder: where to look.
        settings: pattern, endings, hidden files, links.
        left_out: gets what is left out.

    Raises:
        ScanError: the folder itself is not there or cannot be opened.
    """
    root = os.fsencode(folder)
    if not os.path.isdir(root):
        raise ScanError(f"There is no folder {folder}. Check the path, or choose another.")
    try:
        os.stat(os.path.join(root, b"."))  # the right to enter
        os.scandir(root).close()  # the right to list
    except OSError as error:
        raise ScanError(f"No permission to list {folder} ({error.strerror}). Change its permissions, or choose another.") from None
    yield from _walk(root, settings, left_out if left_out is not None else LeftOut())


def _walk(root: bytes, settings: ScanSettings, left_out: LeftOut) -> Iterator[FoundFile]:
    visited: set[tuple[int, int]] = set()
    real_root = os.path.realpath(root)
    to_visit = [b""]
    while to_visit:  # no recursion: folders may lie thousands deep
        below = to_visit.pop()
        try:
            status = os.stat(os.path.join(root, below))
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(os.path.join(root, below)) as scan:
                children = sorted(scan, key=lambda child: child.name)
        except OSError as error:
            left_out.places.append(f"{_shown(below)} could not be opened ({error.strerror})")
            continue
        folders = []
        for child in children:
            path = os.path.join(below, child.name)
            if child.name.startswith(b".") and not settings.include_hidden:
                continue
            status = _status(child)
            is_folder = stat.S_ISDIR(status.st_mode) if status else child.is_dir(follow_symlinks=False)
            if not is_folder and not is_wanted(path, settings, left_out):
                continue
            if status and child.is_symlink() and not settings.follow_links and _leads_out(child.path, real_root):
                left_out.places.append(f"{_shown(path)} is a link that leads out of the folder")
            elif is_folder:
                folders.append(path)
            else:  # the scorer refuses what is no file, with the reason
                is_file = status is not None and stat.S_ISREG(status.st_mode)
                yield FoundFile(path_bytes=path, size_bytes=status.st_size if is_file else 0)
        to_visit += reversed(folders)


def _status(child: os.DirEntry[bytes]) -> os.stat_result | None:
    """None for a link to nowhere, a path that is too long, or what has gone since it was listed."""
    try:
        return child.stat()
    except OSError:
        return None


def _leads_out(link: bytes, real_root: bytes) -> bool:
    return os.path.commonpath([os.path.realpath(link), real_root]) != real_root


def _shown(path: bytes) -> str:
    return one_line(os.fsdecode(path))


def is_wanted(path: bytes, settings: ScanSettings, left_out: LeftOut) -> bool:
    """Whether the settings let through a file of this path within the folder; if its ending keeps it out, that is counted."""
    name = path.decode("utf-8", "backslashreplace")
    if settings.pattern and not fnmatch.fnmatchcase(name, settings.pattern):
        return False
    ending = os.path.splitext(name)[1].lower()
    if settings.all_files or ending in EXTENSIONS:
        return True
    left_out.endings[one_line(ending)[:_MAX_ENDING]] += 1
    return False


_MAX_ENDING = 12
"""Longer ones are names with a full stop in them; they are shown cut off."""

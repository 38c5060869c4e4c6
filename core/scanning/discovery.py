"""Finding the recordings of a folder: recursive, in a stable order, safe with links, pipes and odd names."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Callable, Iterator

from core.audio import EXTENSIONS
from core.errors import ScanError
from core.hostile_text import one_line
from core.records import FoundFile, ScanSettings


def find_files(folder: str, settings: ScanSettings, *, on_left_out: Callable[[str], None] | None = None) -> Iterator[FoundFile]:
    """Files below a folder that the settings let through, folder by folder in the order of their names.

    Links are followed within the folder, out of it only if the settings say so; a folder that was visited before (a loop, or
    two links to one place) is not entered again. Links to nowhere, pipes and devices count as files: they are refused when read.

    Args:
        folder: where to look.
        settings: pattern, endings, hidden files, links.
        on_left_out: told of each subfolder that cannot be opened and each link that leads out, and why it was left out.

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
    yield from _walk(root, settings, on_left_out or (lambda _: None))


def _walk(root: bytes, settings: ScanSettings, on_left_out: Callable[[str], None]) -> Iterator[FoundFile]:
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
            on_left_out(f"{_shown(below)} could not be opened ({error.strerror})")
            continue
        folders = []
        for child in children:
            path = os.path.join(below, child.name)
            if child.name.startswith(b".") and not settings.include_hidden:
                continue
            status = _status(child)
            is_folder = stat.S_ISDIR(status.st_mode) if status else child.is_dir(follow_symlinks=False)
            if not is_folder and not is_wanted(path, settings):
                continue
            if status and child.is_symlink() and not settings.follow_links and _leads_out(child.path, real_root):
                on_left_out(f"{_shown(path)} is a link that leads out of the folder")
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


def is_wanted(path: bytes, settings: ScanSettings) -> bool:
    """Whether the settings let through a file of this path within the folder."""
    name = path.decode("utf-8", "backslashreplace")
    if settings.pattern and not fnmatch.fnmatchcase(name, settings.pattern):
        return False
    return settings.all_files or os.path.splitext(name)[1].lower() in EXTENSIONS

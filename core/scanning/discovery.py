"""Finding the recordings of a folder: recursive, in a stable order, safe with links and odd names."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Callable, Iterator

from core.audio import EXTENSIONS
from core.errors import ScanError
from core.records import FoundFile, ScanSettings


def find_files(folder: str, settings: ScanSettings, *, on_unreadable: Callable[[str], None] | None = None) -> Iterator[FoundFile]:
    """Regular files below a folder that the settings let through, folder by folder in the order of their names.

    Links are followed; a folder that was visited before (a loop, or two links to one place) is not entered again. Links to
    nowhere count as files.

    Args:
        folder: where to look.
        settings: pattern, endings, hidden files.
        on_unreadable: told the path of each subfolder that cannot be opened.

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
    yield from _walk(root, b"", settings, set(), on_unreadable or (lambda _: None))


def _walk(
    root: bytes, below: bytes, settings: ScanSettings, visited: set[tuple[int, int]], on_unreadable: Callable[[str], None]
) -> Iterator[FoundFile]:
    try:
        status = os.stat(os.path.join(root, below))
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(os.path.join(root, below)) as scan:
            children = sorted(scan, key=lambda child: child.name)
    except OSError:
        on_unreadable(os.fsdecode(below))
        return
    folders = []
    for child in children:
        if child.name.startswith(b".") and not settings.include_hidden:
            continue
        path = os.path.join(below, child.name)
        try:
            status = child.stat()
        except OSError:  # a link to nowhere, or gone since it was listed: the scorer refuses it with the reason
            if is_wanted(path, settings):
                yield FoundFile(path_bytes=path, size_bytes=0)
            continue
        if stat.S_ISDIR(status.st_mode):
            folders.append(path)
        elif stat.S_ISREG(status.st_mode) and is_wanted(path, settings):
            yield FoundFile(path_bytes=path, size_bytes=status.st_size)
    for path in folders:
        yield from _walk(root, path, settings, visited, on_unreadable)


def is_wanted(path: bytes, settings: ScanSettings) -> bool:
    """Whether the settings let through a file of this path within the folder."""
    name = path.decode("utf-8", "backslashreplace")
    if settings.pattern and not fnmatch.fnmatchcase(name, settings.pattern):
        return False
    return settings.all_files or os.path.splitext(name)[1].lower() in EXTENSIONS

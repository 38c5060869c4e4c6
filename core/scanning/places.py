"""Where recordings and results lie: folders of this machine, or places that fsspec reaches (`s3://`, `gs://`, `zip://`, `memory://`)."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.errors import AudioRefusal, ScanError
from core.records import FoundFile, ScanSettings
from core.scanning.discovery import LeftOut, find_files, is_wanted

NUM_TRIES = 3
"""A file of a place that answers with a failure is asked for this often."""
FIRST_PAUSE_S = 0.5
"""Before the second try; the pause before the third is four times as long."""


def is_url(place: str | os.PathLike[str]) -> bool:
    """Whether a place is given as `protocol://...` and not as a path."""
    return "://" in os.fspath(place)


def normalised(place: str) -> str:
    """A place as audits keep it: an absolute path, also for `file://...`, or the URL without a slash at its end."""
    if not is_url(place):
        return os.path.abspath(place)
    filesystem, root = open_filesystem(place)
    if isinstance(filesystem, LocalFileSystem):
        return root
    return place.rstrip("/") if not place.endswith("://") else place


def open_filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL, and the path in it.

    Raises:
        ScanError: there is no such protocol, or its package is not installed.
    """
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ScanError(f"{url} needs a package that is not installed here: {error}. Install it with pip.") from None
    except ValueError as error:
        raise ScanError(f"{url} cannot be opened: {error}. Expected a path, or a URL such as s3://bucket/folder.") from None
    except OSError as error:  # what a chained URL is made of
        raise ScanError(f"{url} cannot be opened: {_words(error)}.") from None


def find_in(place: str, settings: ScanSettings, *, left_out: LeftOut | None = None) -> Iterator[FoundFile]:
    """Files below a path or URL that the settings let through, folder by folder in the order of their names.

    Raises:
        ScanError: the place is not there or cannot be listed.
    """
    if not is_url(place):
        yield from find_files(place, settings, left_out=left_out)
        return
    filesystem, root = open_filesystem(place)
    try:
        if root.strip("/") and not filesystem.isdir(root):
            raise ScanError(f"There is no folder {place}. Check the address, or choose another.")
        yield from _walk(filesystem, root, "", settings, left_out if left_out is not None else LeftOut())
    except OSError as error:
        raise ScanError(f"{place} cannot be listed: {_words(error)}. Check the address and your credentials.") from None


def _walk(
    filesystem: fsspec.AbstractFileSystem, root: str, below: str, settings: ScanSettings, left_out: LeftOut
) -> Iterator[FoundFile]:
    folders = []
    children = {_name_of(child): child for child in filesystem.ls(_join(root, below), detail=True)}
    for name in sorted(children):
        if not name or (name.startswith(".") and not settings.include_hidden):
            continue
        path = f"{below}/{name}" if below else name
        if children[name]["type"] == "directory":
            folders.append(path)
        elif is_wanted(os.fsencode(path), settings, left_out):
            yield FoundFile(path_bytes=os.fsencode(path), size_bytes=int(children[name].get("size") or 0))
    for path in folders:
        yield from _walk(filesystem, root, path, settings, left_out)


@contextmanager
def fetched(place: str, path_bytes: bytes) -> Iterator[str]:
    """A path of this machine at which a recording of a place can be read: its own, or that of a copy that is gone afterwards.

    Raises:
        AudioRefusal: it is not there, or may not be read.
        ScanError: the place does not answer.
    """
    if not is_url(place):
        yield os.path.join(place, os.fsdecode(path_bytes))
        return
    filesystem, root = open_filesystem(place)
    name = os.fsdecode(path_bytes)
    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        copy = os.path.join(folder, "recording" + PurePosixPath(name).suffix)
        _with_patience(place, lambda: filesystem.get_file(_join(root, name), copy))
        yield copy


def _with_patience(place: str, work: Callable[[], None]) -> None:
    pause_s = FIRST_PAUSE_S
    for attempt in range(NUM_TRIES):
        try:
            return work()
        except FileNotFoundError:
            raise AudioRefusal("unreadable", "The file is no longer there (moved or deleted).") from None
        except PermissionError:
            reason = "No permission to read the file; change its permissions, then scan again."
            raise AudioRefusal("unreadable", reason) from None
        except OSError as error:
            if attempt == NUM_TRIES - 1:
                raise ScanError(f"{place} does not answer: {_words(error)}. Run the scan again when it does, to go on.") from None
        time.sleep(pause_s)
        pause_s *= 4
    return None


def _name_of(child: dict[str, Any]) -> str:
    return PurePosixPath(child["name"].rstrip("/")).name


def _join(root: str, below: str) -> str:
    return f"{root.rstrip('/')}/{below}" if root and below else root or below


def _words(error: OSError) -> str:
    return str(error.strerror or error).rstrip(".") or type(error).__name__

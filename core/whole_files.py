"""Files and folders written whole: a reader finds the old one or the new one, never half of it. Folders as one file; hashes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def zip_of(folder: Path, out: Path | BinaryIO, *, within: str = "") -> None:
    """All finished files below a folder as a ZIP, by name, dated 1980 so that the same files give the same bytes.

    Args:
        out: where it is written; audio is not packed again.
        within: a folder in the ZIP that holds them.
    """
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".partial"):
            entry = zipfile.ZipInfo((PurePosixPath(within) / path.relative_to(folder).as_posix()).as_posix())
            entry.external_attr = 0o644 << 16
            packing = zipfile.ZIP_STORED if path.suffix == ".flac" else zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes(), compress_type=packing)


def zip_bytes(folder: Path, name: str) -> bytes:
    """The same in memory, in a folder of that name, for a download."""
    buffer = io.BytesIO()
    zip_of(folder, buffer, within=name)
    return buffer.getvalue()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A hidden folder to fill beside a new one's place; it is moved there when the block ends well, and removed when not.

    Raises:
        OSError: it cannot be written, or there is something in its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_file(path: Path, content: bytes | str) -> None:
    """Writes `PATH.partial` and renames it; text as UTF-8, its line ends as they are.

    Raises:
        OSError: it cannot be written; nothing half-written is left.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        if isinstance(content, str):
            partial.write_text(content, encoding="utf-8", newline="")
        else:
            partial.write_bytes(content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise

"""Files replaced whole, a reader finds the old one or the new one, never half of it; and folders as one file."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path


def zip_of(folder: Path, name: str) -> bytes:
    """All finished files below a folder as one ZIP, in a folder of that name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".partial":
                archive.write(path, f"{name}/{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()


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

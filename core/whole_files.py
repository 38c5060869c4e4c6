"""Files replaced whole: a reader finds the old one or the new one, never half of it."""

from __future__ import annotations

import os
from pathlib import Path


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

"""Choosing a folder on the server: which folders may be looked at, what lies in them, completion of typed paths."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import ScanError

SAMPLES_FOLDER = Path(__file__).parents[2] / "data" / "samples"
"""The sample recordings that come with Earwitness."""


def allowed_roots() -> tuple[Path, ...]:
    """Folders that the dashboard may look into: `EARWITNESS_ROOTS` (separated as in PATH), else home and the samples."""
    configured = os.environ.get("EARWITNESS_ROOTS")
    roots = [Path.home(), SAMPLES_FOLDER]
    if configured:
        roots = [Path(part).expanduser() for part in configured.split(os.pathsep) if part]
    return tuple(dict.fromkeys(root.resolve() for root in roots if root.is_dir()))


def check_folder(text: str) -> Path:
    """The folder that a typed path means, resolved.

    Raises:
        ScanError: it is not a folder, or lies outside the allowed roots.
    """
    path = _within_roots(text)
    if not path.is_dir():
        raise ScanError(f"{path} is not a folder." if path.exists() else f"There is no folder {path}.")
    return path


def check_file(text: str) -> Path:
    """The file that a typed path means, resolved.

    Raises:
        ScanError: it is not a file, or lies outside the allowed roots.
    """
    path = _within_roots(text)
    if not path.is_file():
        raise ScanError(f"There is no file {path}.")
    return path


def _within_roots(text: str) -> Path:
    if not text.strip() or "\0" in text:
        raise ScanError("Type the path of a folder, or choose one below.")
    try:
        path = Path(text.strip()).expanduser().resolve(strict=False)
        path.exists()
    except (OSError, RuntimeError) as error:  # too long a name, a loop of links, an unknown user
        raise ScanError(f"{text.strip()[:200]} cannot be a folder: {error}.") from None
    roots = allowed_roots()
    if not any(path.is_relative_to(root) for root in roots):
        allowed = ", ".join(map(str, roots)) or "none"
        raise ScanError(
            f"{path} is outside the folders that this dashboard may show ({allowed}). Set EARWITNESS_ROOTS to allow it."
        )
    return path


def list_folders(folder: Path) -> tuple[Path, ...]:
    """Subfolders that can be chosen, by name; hidden ones are left out.

    Raises:
        ScanError: as `check_folder`, or no permission.
    """
    checked = check_folder(str(folder))
    try:
        return tuple(sorted(path for path in checked.iterdir() if path.is_dir() and not path.name.startswith(".")))
    except PermissionError:
        raise ScanError(f"No permission to list {folder}.") from None


def complete_path(text: str, *, limit: int = 20) -> tuple[str, ...]:
    """Folders that a typed beginning of a path can mean; none outside the allowed roots."""
    if not text.strip():
        return tuple(map(str, allowed_roots()))[:limit]
    try:
        typed = Path(os.path.expanduser(text))
        parent, start = (typed, "") if text.endswith(os.sep) else (typed.parent, typed.name)
        return tuple(str(path) for path in list_folders(parent) if path.name.startswith(start))[:limit]
    except ScanError:
        return tuple(str(root) for root in allowed_roots() if str(root).startswith(text))[:limit]

"""Where the program keeps what it can make again: exported networks, the logs and records of processes."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`EARWITNESS_CACHE`, or `~/.cache/earwitness`."""
    return Path(os.environ.get("EARWITNESS_CACHE") or Path.home() / ".cache" / "earwitness")

"""Where results of one's own are kept, beside those that come with Earwitness in `data/results`."""

from __future__ import annotations

import os
from pathlib import Path


def own_folder(kind: str) -> Path:
    """The folder of one kind of result (`stress`, `shortcuts`, `fingerprints`, `pointing`); it need not be there.

    It lies in `EARWITNESS_RESULTS`, or in `~/.earwitness`.
    """
    return Path(os.environ.get("EARWITNESS_RESULTS") or Path.home() / ".earwitness") / kind

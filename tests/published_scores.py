"""The score files of published systems in `../shared/fixtures`, read for tests; skips where they are not at hand."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

FIXTURES = Path(__file__).parents[2] / "shared" / "fixtures" / "asvspoof2019"
ASV_SCORES = FIXTURES / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt.gz"
# Two follow ASVspoof (higher means bona fide); the one with one-class softmax was written with the opposite sign.
PUBLISHED_SIGNS = {"air-softmax": -1, "air-amsoftmax": -1, "air-ocsoftmax": 1}


@functools.cache
def published_scores(system: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """Spoof scores, is_spoof and attacks of the 71,237 trials of ASVspoof 2019 LA eval, and the organisers' figures."""
    if not FIXTURES.is_dir():
        pytest.skip("needs ../shared/fixtures")
    with gzip.open(FIXTURES / f"{system}.LA.eval.scores.txt.gz", "rt", encoding="utf-8") as file:
        rows = [line.split() for line in file]
    scores = PUBLISHED_SIGNS[system] * np.array([float(row[3]) for row in rows])
    expected = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))[system]
    return scores, np.array([row[2] == "spoof" for row in rows]), np.array([row[1] for row in rows]), expected

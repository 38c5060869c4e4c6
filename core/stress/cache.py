"""Scores of stressed recordings in a file of lines, so that a long test goes on where it stopped. Keeps scores, computes none."""

from __future__ import annotations

import json
import os
from pathlib import Path

from core.errors import CoreError
from core.records import Verdict
from core.stress.scoring import Judgement

_VERSION = 1
"""Raised when conditions change what they do, so that older caches are not used."""


class ScoreCache:
    """Judgements by recording (SHA-256) and condition.

    Args:
        path: of the file, made where it is not there; None keeps all in memory.
        detector_hash: whose scores.
        seed: of the test.

    Raises:
        CoreError: the file is another test's, or cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, detector_hash: str, seed: int) -> None:
        self._found: dict[tuple[str, str], Judgement] = {}
        self._path = None if path is None else Path(path)
        if self._path is None:
            return
        header = {"earwitness_stress_cache": _VERSION, "detector": detector_hash, "seed": seed}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.is_file() and self._path.stat().st_size:
                self._read(header)
            else:
                self._path.write_text(json.dumps(header) + "\n", encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CoreError(f"The score cache {self._path} cannot be used: {error}.") from None

    def get(self, recording: str, condition: str) -> Judgement | None:
        """What was said before; None where nothing was."""
        return self._found.get((recording, condition))

    def add(self, recording: str, judged: dict[str, Judgement]) -> None:
        """Keeps judgements of one recording, by condition, on the disk too."""
        for condition, one in judged.items():
            self._found[recording, condition] = one
        if self._path is not None and judged:
            lines = [json.dumps([recording, name, one.score, str(one.verdict), one.reason]) for name, one in judged.items()]
            with open(self._path, "a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")

    def _read(self, header: dict) -> None:
        text = self._path.read_text(encoding="utf-8")
        lines = text.splitlines()
        if not text.endswith("\n"):  # the writer was stopped within a line
            lines = lines[:-1]
            self._path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        try:
            if not lines or json.loads(lines[0]) != header:
                raise CoreError(
                    f"The score cache {self._path} was made with another detector, seed or version; give a new file for this test."
                )
            for line in lines[1:]:
                recording, condition, score, verdict, reason = json.loads(line)
                self._found[recording, condition] = Judgement(score=score, verdict=Verdict(verdict), reason=reason)
        except (ValueError, TypeError) as error:
            raise CoreError(f"The score cache {self._path} is damaged: {error}. Remove it to begin anew.") from None

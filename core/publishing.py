"""Publishing a run as a detector from outside training: starts `python -m training publish` and tells how it went.

The process outlives this one. What it is doing is read from the detectors folder, its log and its process number.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from core.checkpoints import SHIPPED_DETECTORS, name_problem
from core.errors import CoreError
from core.runs import Run, is_alive
from core.runtime import cache_folder

COMMAND = (sys.executable, "-m", "training", "publish")
"""What is started, without its arguments."""


class PublishError(CoreError):
    """A run that cannot be published like this."""


class PublishStatus(StrEnum):
    """Where a publication stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The last attempt to publish a run."""

    name: str
    """Of the detector."""
    out: str
    """Folder in which the detector's folder is made."""
    pid: int
    started_at: float
    """Seconds since 1970."""
    log: str
    """File that holds what the process says."""

    @property
    def status(self) -> PublishStatus:
        """As it is now."""
        if is_alive(self.pid) and self._is_ours():
            return PublishStatus.RUNNING
        is_there = (Path(self.out) / self.name / "detector.json").is_file()
        return PublishStatus.DONE if is_there else PublishStatus.FAILED

    def _is_ours(self) -> bool:
        """Whether the process of that number is still the one that was started: numbers are used again."""
        try:
            return os.fsencode(self.name) in Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
        except FileNotFoundError:  # no /proc, or it ended just now
            return not Path("/proc").is_dir()

    def last_words(self, num_lines: int = 1) -> str:
        """The last lines that the process wrote; empty when it wrote none."""
        try:
            text = Path(self.log).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join([line for line in text.splitlines() if line.strip()][-num_lines:])


def detectors_folder() -> Path:
    """Where new detectors go: `EARWITNESS_DETECTORS`, or `data/detectors`."""
    return Path(os.environ.get("EARWITNESS_DETECTORS") or SHIPPED_DETECTORS).expanduser().absolute()


def start_publishing(run: Run, name: str) -> Publication:
    """Starts the process that calibrates, measures and installs a run's best weights.

    Args:
        run: with weights.
        name: the new detector's.

    Raises:
        PublishError: the name cannot be a detector's or is taken, there are no weights, or it is being published already.
        DetectorError: an installed detector is damaged.
    """
    out = detectors_folder()
    if problem := name_problem(name, out):
        raise PublishError(problem)
    if not run.has_weights:
        raise PublishError(f"{run.name} has no weights yet; they are written after the first epoch.")
    before = last_publication(run)
    if before is not None and before.status is PublishStatus.RUNNING:
        raise PublishError(f"{run.name} is being published as {before.name!r} right now; wait for it.")
    record = _record_path(run)
    record.parent.mkdir(parents=True, exist_ok=True)
    log = record.with_suffix(".log")
    command = [*COMMAND, str(run.folder), "--name", name, "--out", str(out)]
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd=Path(__file__).parents[1]
        )
    # Reaps the child, so that an ended process does not linger as a zombie.
    threading.Thread(target=process.wait, daemon=True).start()
    publication = Publication(name=name, out=str(out), pid=process.pid, started_at=time.time(), log=str(log))
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(publication)), encoding="utf-8")
    os.replace(partial, record)
    return publication


def last_publication(run: Run) -> Publication | None:
    """The last attempt to publish a run from this machine; None when there was none or its record is damaged."""
    try:
        return Publication(**json.loads(_record_path(run).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _record_path(run: Run) -> Path:
    digest = hashlib.sha256(os.fsencode(run.folder.absolute())).hexdigest()[:16]
    return cache_folder() / f"publish-{digest}.json"

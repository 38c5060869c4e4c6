"""Publishing a run as a detector from outside training: starts `python -m training publish` and tells how it went.

The process outlives this one (`core.jobs`); whether it succeeded is read from the detectors folder.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from core.cache import cache_folder
from core.checkpoints import SHIPPED_DETECTORS, name_problem
from core.errors import CoreError
from core.jobs import Job, last_job, start_job
from core.runs.folders import Run

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

    job: Job

    @property
    def name(self) -> str:
        """Of the detector."""
        return self.job.marker

    @property
    def status(self) -> PublishStatus:
        """As it is now."""
        if self.job.is_running:
            return PublishStatus.RUNNING
        is_there = (Path(self.job.out) / self.name / "detector.json").is_file()
        return PublishStatus.DONE if is_there else PublishStatus.FAILED


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
    command = [*COMMAND, str(run.folder), "--name", name, "--out", str(out)]
    return Publication(job=start_job(command, _record_path(run), marker=name, out=out))


def last_publication(run: Run) -> Publication | None:
    """The last attempt to publish a run from this machine; None when there was none or its record is damaged."""
    job = last_job(_record_path(run))
    return None if job is None else Publication(job=job)


def _record_path(run: Run) -> Path:
    digest = hashlib.sha256(os.fsencode(run.folder.absolute())).hexdigest()[:16]
    return cache_folder() / f"publish-{digest}.json"

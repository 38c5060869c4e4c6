"""What a run writes for people and for the Training page: `run.json`, `state.json`, `metrics.jsonl`. The loop writes nothing else
but weights."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import CoreError
from core.runs.folders import METRICS_FILE, RUN_FILE, SCHEMA_VERSION, STATE_FILE, RunError, RunStatus
from core.whole_files import replace_file
from training.data import LabelledSplit
from training.recipes import Recipe, recipe_from


class RunFolder:
    """Writes one run's records. Does nothing in the processes that are not the main one.

    Args:
        path: the folder.
        recipe: what is trained.
        is_main: whether this process writes.
    """

    def __init__(self, path: Path, recipe: Recipe, *, is_main: bool) -> None:
        self.path, self.recipe, self.is_main = path, recipe, is_main
        self._started = time.monotonic()
        self._epoch = 0

    def describe(
        self,
        splits: tuple[LabelledSplit, ...],
        data_folder: Path,
        *,
        seed: int,
        device: str,
        num_processes: int,
        initialisation: str,
    ) -> None:
        """Writes `run.json`, or checks that the one there is of the same recipe, seed and data.

        Raises:
            RunError: the folder belongs to another run.
        """
        described: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "recipe": asdict(self.recipe),
            "seed": seed,
            "initialisation": initialisation,
            "device": device,
            "num_processes": num_processes,
            "data": {
                "folder": str(data_folder.resolve()),
                "hash": {split.name: split.data_hash for split in splits},
                "num_recordings": {split.name: len(split) for split in splits},
            },
            "code_revision": code_revision(),
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "torchaudio", "torchvision", "numpy")},
            "python": platform.python_version(),
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}",
            "started_at": utc_now(),
        }
        if (self.path / RUN_FILE).is_file():
            _check_same(self.path, read_run(self.path), described)
        elif self.is_main:
            self.path.mkdir(parents=True, exist_ok=True)
            _replace(self.path / RUN_FILE, json.dumps(described, indent=1))

    def decided(self, name: str, decide: Callable[[], str]) -> str:
        """What was decided for this run when it began; decided and written into `run.json` where it was not."""
        described = read_run(self.path) if (self.path / RUN_FILE).is_file() else {}
        if name not in described:
            described[name] = decide()
            if self.is_main:
                _replace(self.path / RUN_FILE, json.dumps(described, indent=1))
        return described[name]

    def resume_at(self, step: int) -> None:
        """Cuts `metrics.jsonl` back to the checkpoint's step; what came after it is measured again."""
        path = self.path / METRICS_FILE
        if self.is_main and path.is_file():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            _replace(path, "".join(line + "\n" for line in kept))

    def log(self, **measured: Any) -> None:
        """Adds a line to `metrics.jsonl`."""
        if self.is_main:
            line = json.dumps(measured | {"time_s": round(time.monotonic() - self._started, 2)})
            try:
                with open(self.path / METRICS_FILE, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
            except OSError as error:
                raise _unwritten(self.path / METRICS_FILE, error) from error

    def tell(self, state: RunStatus, *, epoch: int | None = None, message: str = "") -> None:
        """Replaces `state.json`."""
        if self.is_main:
            self._epoch = self._epoch if epoch is None else epoch
            told = {"state": state.value, "pid": os.getpid(), "epoch": self._epoch, "num_epochs": self.recipe.num_epochs}
            _replace(self.path / STATE_FILE, json.dumps(told | {"message": message, "updated_at": utc_now()}))


def read_run(path: Path) -> dict[str, Any]:
    """The content of a run's `run.json`.

    Raises:
        RunError: there is none, or it is damaged or of another version.
    """
    file = path / RUN_FILE
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is no run (no {RUN_FILE}). `python -m training train RECIPE --run {path}` makes one.") from None
    except ValueError as error:
        raise RunError(f"{file} is damaged ({error}).") from None
    if described.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{file} has schema version {described.get('schema_version')}; this program reads {SCHEMA_VERSION}.")
    return described


def recipe_of(path: Path) -> Recipe:
    """The recipe of a run folder.

    Raises:
        RunError: as `read_run`, or a recipe of another version.
    """
    return recipe_from(read_run(path)["recipe"])


def code_revision() -> str:
    """The commit that is checked out, with `+changes` where files differ from it; `unknown` outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, cwd=here, check=False).stdout.strip()

    try:
        revision = git("rev-parse", "HEAD")
        return (revision or "unknown") + ("+changes" if revision and git("status", "--porcelain", "-uno") else "")
    except FileNotFoundError:
        return "unknown"


def utc_now() -> str:
    """The time in UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _check_same(path: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = [name for name in wanted["recipe"] if there["recipe"].get(name) != json.loads(json.dumps(wanted["recipe"][name]))]
    differing += ["seed"] if there["seed"] != wanted["seed"] else []
    differing += ["data"] if there["data"]["hash"] != wanted["data"]["hash"] else []
    if differing:
        raise RunError(f"{path} holds a run with another {', '.join(differing)}; choose another --run folder.")


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")


def _replace(path: Path, text: str) -> None:
    try:
        replace_file(path, text)
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> CoreError:
    what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
    return CoreError(f"{path} could not be written: {what}. Free some space, then run the same command: it goes on.")

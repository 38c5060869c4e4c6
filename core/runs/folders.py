"""Training runs on disk: what a run's folder says of it, which runs there are, how they differ. Trains nothing."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.errors import CoreError
from core.jobs import is_alive

SCHEMA_VERSION = 1
STALE_S = 900.0
"""A run that wrote nothing for this long is not running: an epoch on two cores takes minutes."""
MAX_DEPTH = 3
"""How deep below the runs folder runs are looked for; `NAME/seed-0` is 2."""
RUN_FILE, STATE_FILE, METRICS_FILE, WEIGHTS_FILE = "run.json", "state.json", "metrics.jsonl", "best.safetensors"

_FACTS = ("initialisation", "data", "code_revision", "device", "num_processes", "python", "machine", "versions", "started_at")
"""Fields of `run.json` that are compared besides recipe and seed."""


class RunError(CoreError):
    """A run folder that is damaged, incomplete or of another version."""


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED_EARLY = "stopped early"
    INTERRUPTED = "interrupted"
    """Never written: running by its file, but its process is gone or silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run's configuration and how far it is."""

    name: str
    """Its folder relative to the runs folder, e.g. `earwitness/seed-0`."""
    folder: Path
    recipe: dict[str, Any]
    """The recipe's fields, as saved."""
    seed: int
    facts: dict[str, str]
    """Data hashes and counts, code revision, device, versions, machine, start: name -> text."""
    status: RunStatus
    epoch: int
    num_epochs: int
    message: str
    """Why it failed or stopped; empty otherwise."""
    has_weights: bool
    """Whether there are weights to look at and to publish."""

    @property
    def is_live(self) -> bool:
        """Whether more is to come."""
        return self.status is RunStatus.RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class RunListing:
    """What lies below a runs folder."""

    runs: tuple[Run, ...]
    """Newest first."""
    problems: tuple[str, ...]
    """A sentence for each folder that should be a run and cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One field of several runs' configurations."""

    name: str
    values: tuple[str, ...]
    """In the order of the runs; `-` where a run does not have it."""

    @property
    def differs(self) -> bool:
        """Whether the runs disagree."""
        return len(set(self.values)) > 1


def runs_folder() -> Path:
    """Where runs are looked for: `EARWITNESS_RUNS`, or `runs` beside the program."""
    configured = os.environ.get("EARWITNESS_RUNS")
    return Path(configured).expanduser().absolute() if configured else Path(__file__).parents[2] / "runs"


def find_runs(root: Path) -> RunListing:
    """All runs below a folder; none where there is no such folder. A folder within a run is not looked into."""
    runs, problems = [], []
    for folder in _run_folders(root, MAX_DEPTH):
        try:
            runs.append(read_run(folder, name=str(folder.relative_to(root))))
        except RunError as error:
            problems.append(str(error))
    runs.sort(key=lambda run: (run.facts["started at"], run.name), reverse=True)
    return RunListing(runs=tuple(runs), problems=tuple(problems))


def read_run(folder: Path, *, name: str | None = None) -> Run:
    """One run.

    Raises:
        RunError: `run.json` is missing, damaged or of another version, or `state.json` is damaged.
    """
    config, state = _read_json(folder / RUN_FILE), _read_json(folder / STATE_FILE) if (folder / STATE_FILE).is_file() else None
    if config.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{folder / RUN_FILE} has schema version {config.get('schema_version')}; expected {SCHEMA_VERSION}.")
    if not isinstance(config.get("recipe"), dict) or not isinstance(config["recipe"].get("name"), str):
        raise RunError(f"{folder / RUN_FILE} has no recipe with a name; it was not written by `python -m training train`.")
    state = state or {"state": "running", "message": "It has no state.json: it ended before its first step."}
    try:
        status = _status(folder, state)
        return Run(
            name=name or folder.name,
            folder=folder,
            recipe=config["recipe"],
            seed=int(config.get("seed", 0)),
            facts=_facts(config),
            status=status,
            epoch=int(state.get("epoch") or 0),
            num_epochs=int(state.get("num_epochs") or config["recipe"].get("num_epochs") or 0),
            message=str(state.get("message") or ""),
            has_weights=(folder / WEIGHTS_FILE).is_file(),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{folder}: run.json or state.json holds a value that cannot be ({error}).") from None


def compare_runs(runs: tuple[Run, ...]) -> tuple[Compared, ...]:
    """Recipe, seed, data, code and environment of runs side by side, what differs first."""
    tables = [{"seed": str(run.seed)} | _flat(run.recipe, "") | run.facts for run in runs]
    names = list(dict.fromkeys(name for table in tables for name in table))
    rows = [Compared(name=name, values=tuple(table.get(name, "-") for table in tables)) for name in names]
    return tuple(sorted(rows, key=lambda row: not row.differs))


def _run_folders(folder: Path, depth: int) -> list[Path]:
    try:
        names = {entry.name: entry.is_dir() for entry in os.scandir(folder)}
    except OSError:
        return []
    if not names.keys().isdisjoint({RUN_FILE, STATE_FILE, METRICS_FILE}):
        return [folder]
    below = sorted(name for name, is_folder in names.items() if is_folder and not name.startswith("."))
    return [found for name in below for found in _run_folders(folder / name, depth - 1)] if depth else []


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path.parent} is not a run: its {path.name} is missing.") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}. Restore the file, or move the folder away.") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} holds {type(content).__name__}; an object with named fields is expected.")
    return content


def _status(folder: Path, state: dict[str, Any]) -> RunStatus:
    status = RunStatus(state.get("state"))
    if status is not RunStatus.RUNNING:
        return status
    written_at = datetime.fromisoformat(state["updated_at"]).timestamp() if state.get("updated_at") else 0.0
    if (folder / METRICS_FILE).is_file():
        written_at = max(written_at, (folder / METRICS_FILE).stat().st_mtime)
    is_silent = time.time() - written_at > STALE_S
    return RunStatus.INTERRUPTED if is_silent or not is_alive(int(state.get("pid") or 0)) else status


def _facts(config: dict[str, Any]) -> dict[str, str]:
    chosen = {key: config[key] for key in _FACTS if key in config}
    return {"started at": ""} | {name.replace("_", " "): text for name, text in _flat(chosen, "").items()}


def _flat(value: Any, name: str) -> dict[str, str]:
    """Nested fields as one level, `features.kind`; lists and values as text."""
    if isinstance(value, dict):
        return {key: text for part in value for key, text in _flat(value[part], f"{name}.{part}".strip(".")).items()}
    return {name: value if isinstance(value, str) else json.dumps(value)}

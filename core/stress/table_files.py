"""Stress tables as JSON and CSV: those that come with Earwitness in `data/results/stress`, and one's own. Computes nothing."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.errors import CoreError
from core.evaluation.own_results import own_folder
from core.evaluation.shipped_results import SHIPPED_RESULTS
from core.stress.conditions import Condition
from core.stress.records import StressCell, StressTable, VerdictShare
from core.whole_files import replace_file

_SCHEMA = 1
_KIND = "earwitness stress table"
SHIPPED_STRESS = SHIPPED_RESULTS / "stress"


@dataclass(frozen=True, slots=True, kw_only=True)
class StressTables:
    """All tables that were found."""

    found: tuple[tuple[Path, StressTable], ...]
    """Shipped ones first, each by name."""
    problems: tuple[str, ...]
    """One sentence per file that cannot be read."""


def own_stress_folder() -> Path:
    """Where stress tables of one's own are kept; it need not be there."""
    return own_folder("stress")


def save_table(table: StressTable, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Writes a table as `NAME.json`, and its figures as `NAME.csv` beside it.

    Returns:
        Both paths.

    Raises:
        CoreError: the path does not end with .json, or cannot be written.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise CoreError(f"{path} must end with .json; a .csv with the figures is written beside it.")
    content = {"kind": _KIND, "schema_version": _SCHEMA} | asdict(table) | {"cells": [_plain(cell) for cell in table.all_cells()]}
    rounded = table.to_frame().round(6)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(content, indent=None, allow_nan=False, separators=(",", ":")) + "\n")
        rounded.to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")
    except OSError as error:
        raise CoreError(f"{path} cannot be written: {error.strerror}.") from None
    return path, path.with_suffix(".csv")


def load_table(path: str | os.PathLike[str]) -> StressTable:
    """A table as it was saved.

    Raises:
        CoreError: the file is not there, damaged, or of another version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.pop("kind", None) != _KIND:
            raise CoreError(f"{path} is no stress table.")
        version = content.pop("schema_version", None)
        if version != _SCHEMA:
            raise CoreError(f"{path} has schema version {version}; this program reads {_SCHEMA}. Run the stress test again.")
        return _table_of(content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CoreError(f"The stress table {path} cannot be read: {error}.") from None


def table_paths() -> list[Path]:
    """The files of the tables that come with Earwitness, then of one's own, each by name."""
    return [path for folder in (SHIPPED_STRESS, own_stress_folder()) for path in sorted(folder.glob("*.json"))]


def find_tables() -> StressTables:
    """The tables that come with Earwitness and one's own; a damaged file costs only itself."""
    found, problems = [], []
    for path in table_paths():
        try:
            found.append((path, load_table(path)))
        except CoreError as error:
            problems.append(str(error))
    return StressTables(found=tuple(found), problems=tuple(problems))


def _table_of(content: dict[str, Any]) -> StressTable:
    conditions = tuple(Condition(**one | {"setting": tuple(map(tuple, one["setting"]))}) for one in content.pop("conditions"))
    cells: dict[str, dict[str, StressCell]] = {}
    for one in content.pop("cells"):
        cell = StressCell(**one)
        cells.setdefault(cell.condition, {})[cell.attack] = cell
    shares = tuple(VerdictShare(**one) for one in content.pop("shares"))
    attacks, notes = tuple(content.pop("attacks")), tuple(content.pop("notes"))
    return StressTable(conditions=conditions, cells=cells, shares=shares, attacks=attacks, notes=notes, **content)


def _plain(cell: StressCell) -> dict[str, Any]:
    """Six digits are more than the intervals can tell."""
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(cell).items()}

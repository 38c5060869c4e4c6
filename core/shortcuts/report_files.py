"""Shortcut audits as JSON and CSV: those that come with Earwitness in `data/results/shortcuts`, and one's own."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import CoreError
from core.evaluation.own_results import own_folder
from core.evaluation.shipped_results import SHIPPED_RESULTS
from core.shortcuts.records import InterventionEffect, Probe, ShortcutAudit, ShortcutReport, effects_frame
from core.whole_files import replace_file

_SCHEMA = 1
_KIND = "earwitness shortcut audit"
SHIPPED_SHORTCUTS = SHIPPED_RESULTS / "shortcuts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutAudits:
    """All audits that were found."""

    found: tuple[tuple[Path, ShortcutAudit], ...]
    """Shipped ones first, each by name."""
    problems: tuple[str, ...]
    """One sentence per file that cannot be read."""


def own_shortcut_folder() -> Path:
    """Where audits of one's own are kept; it need not be there."""
    return own_folder("shortcuts")


def save_audit(audit: ShortcutAudit, path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Writes an audit as `NAME.json`, its probes as `NAME.csv`, and where there are any its effects as `NAME.effects.csv`.

    Raises:
        CoreError: the path does not end with .json, or cannot be written.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise CoreError(f"{path} must end with .json; a .csv with the probes is written beside it.")
    content = json.dumps({"kind": _KIND, "schema_version": _SCHEMA} | asdict(audit), indent=1, allow_nan=False)
    frames = {path.with_suffix(".csv"): audit.report.to_frame()}
    if audit.effects:
        frames[path.with_suffix(".effects.csv")] = effects_frame(audit.effects)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content + "\n")
        for csv_path, frame in frames.items():
            frame.round(6).to_csv(csv_path, index=False, lineterminator="\n")
    except OSError as error:
        raise CoreError(f"{path} cannot be written: {error.strerror}.") from None
    return (path, *frames)


def load_audit(path: str | os.PathLike[str]) -> ShortcutAudit:
    """An audit as it was saved.

    Raises:
        CoreError: the file is not there, damaged, or of another version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.pop("kind", None) != _KIND:
            raise CoreError(f"{path} is no shortcut audit.")
        version = content.pop("schema_version", None)
        if version != _SCHEMA:
            raise CoreError(f"{path} has schema version {version}; this program reads {_SCHEMA}. Run the audit again.")
        report = content.pop("report")
        report |= {"probes": tuple(Probe(**probe) for probe in report["probes"]), "skipped": tuple(report["skipped"])}
        effects = tuple(InterventionEffect(**effect) for effect in content.pop("effects"))
        return ShortcutAudit(report=ShortcutReport(**report), effects=effects, **content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CoreError(f"The shortcut audit {path} cannot be read: {error}.") from None


def find_audits() -> ShortcutAudits:
    """The audits that come with Earwitness and one's own; a damaged file costs only itself."""
    found, problems = [], []
    for folder in (SHIPPED_SHORTCUTS, own_shortcut_folder()):
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            try:
                found.append((path, load_audit(path)))
            except CoreError as error:
                problems.append(str(error))
    return ShortcutAudits(found=tuple(found), problems=tuple(problems))

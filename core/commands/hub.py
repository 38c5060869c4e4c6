"""The part of `import-detector` that takes a classifier from the hub: shows its licence and card, and asks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.checkpoints import Detector, name_problem
from core.errors import DetectorError
from core.foreign.hub_import import import_from_hub, spoof_columns
from core.foreign.hub_repository import HUB_PREFIX, NOT_STATED, HubRepository, open_repository
from core.foreign.records import Declaration
from core.hostile_text import visible
from core.runs.publishing import detectors_folder

_CARD_LINES = 60


def is_from_hub(source: str) -> bool:
    """Whether it names a repository of the hub, or a folder of the same layout."""
    return source.startswith(HUB_PREFIX) or Path(source).is_dir()


def import_asked(options: argparse.Namespace, declared: Declaration) -> Detector:
    """Imports it once the user has agreed.

    Raises:
        DetectorError: it cannot be imported like this, or nobody agreed.
    """
    stray = {"--output": options.output, "--minus": options.minus, "--output-name": options.output_name}
    stray |= {"--higher-means": options.higher_means}
    if given := [option for option, value in stray.items() if value is not None]:
        raise DetectorError(f"{given[0]} is for ONNX files; a classifier says by its labels what it means (see --spoof-labels).")
    out = options.out.expanduser().absolute() if options.out else None
    repository = open_repository(options.file)
    name = options.name or repository.name
    if problem := name_problem(name, out or detectors_folder()):
        raise DetectorError(problem)
    spoof_labels = options.spoof_labels or ()
    spoof = spoof_columns(repository, spoof_labels)
    _show(repository, spoof)
    _ask(options.yes)
    return import_from_hub(repository, name, declared, spoof_labels=spoof_labels, out=out, summary=options.summary)


def _show(repository: HubRepository, spoof: tuple[int, ...]) -> None:
    lines = [visible(line) for line in repository.card.splitlines()]
    print("\n".join(lines[:_CARD_LINES]) if lines else "It has no card.")
    if len(lines) > _CARD_LINES:
        print(f"[{len(lines) - _CARD_LINES} more lines in {repository.folder / 'README.md'}]")
    revision = f", revision {repository.revision}" if repository.revision else ""
    licence = repository.licence
    if licence == NOT_STATED:
        licence = f"{NOT_STATED}: ask its authors before you use it"
    means = [f"{visible(label)} = {'spoof' if index in spoof else 'bona fide'}" for index, label in enumerate(repository.labels)]
    print(f"\n{visible(repository.source)}{revision}: {repository.architecture}, {repository.num_bytes / 1e6:,.1f} MB of weights")
    print(f"Licence: {licence}")
    print(f"Labels: {', '.join(means)}")


def _ask(is_agreed: bool) -> None:
    if is_agreed:
        return
    if not sys.stdin.isatty():
        raise DetectorError("Nothing was imported: read licence and card above, and add --yes if you agree.")
    if input("Import it under this licence? [y/N] ").strip().lower() not in ("y", "yes"):
        raise DetectorError("Nothing was imported.")

"""`python -m core shortcuts`: what trivial features give away in a labelled folder, and what a detector makes of them."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core.checkpoints import detector_named
from core.commands.protocol_options import add_protocol_choices, protocol_choices
from core.errors import CoreError
from core.progress import CountProgress

if TYPE_CHECKING:
    from core.shortcuts.records import ShortcutAudit


def add_to(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """What is audited and how."""
    parser.add_argument("folder", metavar="FOLDER", help="folder with recordings, searched with all below it")
    text = "ASVspoof protocol, or a table with utterance, label and where known speaker"
    parser.add_argument("--protocol", required=True, metavar="FILE", help=text)
    add_protocol_choices(parser)
    parser.add_argument("--name", help="what the set is called (default: the protocol's name)")
    text = "also change each feature and see how this detector's scores move (`default` for the shipped one)"
    parser.add_argument("--detector", metavar="NAME", help=text)
    parser.add_argument(
        "--recordings", type=int, default=300, metavar="N", help="that the detector is tried on at most (default: 300)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="save the audit, and FILE.csv beside it")
    parser.add_argument("--seed", type=int, default=0, help="of folds, draws and resamples (default: 0)")
    return parser


def run(options: argparse.Namespace) -> int:
    """Prints the findings; returns the exit status: 0 whether the set leaks or not.

    Raises:
        CoreError: the set cannot be audited.
    """
    from core.evaluation.labelled_folders import recordings_of
    from core.shortcuts.interventions import audit_detector
    from core.shortcuts.probes import audit_labels
    from core.shortcuts.records import ShortcutAudit

    if options.out and options.out.suffix != ".json":
        raise CoreError(f"--out {options.out} must end with .json; a .csv is written beside it.")
    if options.recordings < 10:
        raise CoreError(f"--recordings is {options.recordings}; 10 or more are needed.")
    name, recordings = recordings_of(options.folder, options.protocol, protocol_choices(options))
    detector = detector_named(None if options.detector == "default" else options.detector) if options.detector else None
    with CountProgress() as progress:
        report = audit_labels(recordings, set_name=options.name or name, seed=options.seed, on_progress=progress.show)
    effects = ()
    if detector is not None:
        with CountProgress() as progress:
            effects = audit_detector(
                detector, recordings, seed=options.seed, max_recordings=options.recordings, on_progress=progress.show
            )
    audit = ShortcutAudit(
        report=report,
        detector_name=detector.name if detector else None,
        detector_hash=detector.hash if detector else None,
        effects=effects,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    print(audit_text(audit))
    if options.out:
        from core.shortcuts.report_files import save_audit

        print("written: " + ", ".join(str(path) for path in save_audit(audit, options.out)), file=sys.stderr)
    return 0


def audit_text(audit: ShortcutAudit) -> str:
    """An audit as lines of text."""
    report = audit.report
    counts = (
        f"{report.num_bona_fide:,} bona fide, {report.num_spoof:,} spoofed; folds by {report.grouped_by} ({report.num_groups:,})"
    )
    lines = [report.words, counts, ""]
    lines += [f"  {'LEAK' if probe.is_leak else 'ok':<5} {probe.finding}" for probe in report.probes]
    if report.skipped:
        lines += ["", f"Could not be read: {len(report.skipped)}, e.g. {report.skipped[0]}"]
    if audit.effects:
        lines += ["", f"{audit.detector_name} when one trivial feature is changed"]
        has_labels = any(effect.label != "all" for effect in audit.effects)
        shown = [effect for effect in audit.effects if not has_labels or effect.label != "all"]
        lines += [f"  {'MOVES' if effect.is_sensitive else 'ok':<5} {effect.finding}" for effect in shown]
    return "\n".join(lines)

"""`python -m core stress`: a file's survival card, or a folder's or an audit's table of error rates and verdicts under stress."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core.checkpoints import Detector, detector_named
from core.commands.protocol_options import add_protocol_choices, protocol_choices
from core.errors import CoreError
from core.progress import CountProgress
from core.stress.conditions import CONDITIONS, FAMILY_TITLES, conditions_named, unavailable

if TYPE_CHECKING:
    from core.stress.records import StressTable, SurvivalCard


def add_to(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """What is stressed and how; the caller adds the detector and the store."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("path", nargs="?", metavar="FILE|FOLDER", help="a recording, or a folder of them")
    what.add_argument("--audit", type=int, metavar="ID", help="the recordings of an audit, with its labels where it has some")
    what.add_argument("--list", action="store_true", help="list the conditions")
    text = "ASVspoof protocol, or a table with utterance, label and any of attack, family, speaker"
    parser.add_argument("--protocol", metavar="FILE", help=f"{text}; without it only verdicts are compared")
    add_protocol_choices(parser)
    parser.add_argument(
        "--conditions",
        nargs="+",
        metavar="NAME",
        default=[],
        help=f"names of conditions, or of families: {', '.join(FAMILY_TITLES)} (default: all)",
    )
    parser.add_argument("--by", choices=("attack", "family"), default="attack", help="what groups of spoofs are (default: attack)")
    parser.add_argument("--name", help="what the set is called (default: the protocol's name, or the folder's)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="save the table, and FILE.csv beside it")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep all scores; run again with it to go on where it stopped")
    parser.add_argument("--seed", type=int, default=0, help="of noise, rooms and resamples (default: 0)")
    parser.add_argument("--resamples", type=int, default=1_000, metavar="N", help="of the bootstrap (default: 1000)")
    parser.add_argument("--processes", type=int, metavar="N", help="at once (default: one per core)")
    return parser


def run(options: argparse.Namespace) -> int:
    """Prints the card or the table; returns the exit status.

    Raises:
        CoreError: nothing can be stressed like this.
    """
    if options.list:
        for condition in CONDITIONS.values():
            problem = unavailable(condition)
            print(f"{condition.name:<20} {FAMILY_TITLES[condition.family]:<18} {problem or condition.summary}")
        return 0
    if options.out and options.out.suffix != ".json":
        raise CoreError(f"--out {options.out} must end with .json; a .csv is written beside it.")
    if options.resamples < 100:
        raise CoreError(f"--resamples is {options.resamples}; 95 % intervals need 100 or more.")
    detector = detector_named(options.detector)
    if options.path and os.path.isfile(options.path):
        print(card_text(_card(detector, options)))
        return 0
    table = _table(detector, options)
    print(table_text(table))
    if options.out:
        from core.stress.table_files import save_table

        print("written: " + ", ".join(str(path) for path in save_table(table, options.out)), file=sys.stderr)
    return 0


def _card(detector: Detector, options: argparse.Namespace) -> SurvivalCard:
    from core.recording_start import read_start
    from core.stress.recording import stress_recording

    if options.out or options.protocol:
        raise CoreError("--out and --protocol belong to a folder or an audit; a single file gives a card on the screen.")
    chosen = conditions_named(options.conditions) if options.conditions else None
    return stress_recording(detector, read_start(options.path), chosen, seed=options.seed)


def _table(detector: Detector, options: argparse.Namespace) -> StressTable:
    from core.evaluation.labelled_folders import recordings_of, recordings_of_audit
    from core.store.store import Store
    from core.stress.data_set import stress_trials

    if options.audit is not None:
        name, recordings = recordings_of_audit(Store(options.db), options.audit)
    else:
        name, recordings = recordings_of(options.path, options.protocol, protocol_choices(options))
    with CountProgress() as progress:
        return stress_trials(
            detector,
            recordings,
            conditions_named(options.conditions) if options.conditions else None,
            set_name=options.name or name,
            by=options.by,
            seed=options.seed,
            num_resamples=options.resamples,
            cache=options.cache,
            num_processes=options.processes or len(os.sched_getaffinity(0)),
            on_progress=progress.show,
        )


def card_text(card: SurvivalCard) -> str:
    """A survival card as lines of text."""
    lines = [card.words, ""]
    for row in card.rows:
        score = "refused" if row.score is None else f"{row.score:+.2f} ({row.change:+.2f})"
        lines.append(f"  {row.condition.title:<32} {score:<16} {row.verdict:<13}{'' if row.survives else ' <- flips'}")
    return "\n".join([*lines, "", *(f"{flip.line}: {flip.words}" for flip in card.smallest_flip)])


def table_text(table: StressTable) -> str:
    """A stress table as lines of text: all spoofs under each condition, the groups that change most, and the verdicts."""
    from core.stress.records import POOLED

    lines = [
        f"{table.detector_name} on {table.set_name}, {table.num_recordings:,} recordings, {len(table.conditions) - 1} conditions"
    ]
    shares = {share.condition: share for share in table.shares if share.label == "all"}
    for condition in table.conditions:
        cell, share = table.cells.get(condition.name, {}).get(POOLED), shares.get(condition.name)
        told = [f"  {condition.title:<32}"]
        if cell is not None and cell.eer is not None:
            told.append(f"EER {100 * cell.eer:5.1f} % ({100 * cell.low:.1f} % to {100 * cell.high:.1f} %)")
            if cell.change is not None:
                told.append(f"change {100 * cell.change:+5.1f} ({100 * cell.change_low:+.1f} to {100 * cell.change_high:+.1f})")
        if share is not None and share.share is not None:
            told.append(f"verdicts that stay {share.share:5.1%}, opposite {share.num_opposite / share.num:5.1%}")
        lines.append("  ".join(told))
    method = (
        f"95 % intervals: bootstrap over {table.resampled}, {table.num_resamples:,} resamples; of shares of verdicts, Wilson's."
    )
    return "\n".join([*lines, "", method, *table.notes])

"""`python -m core explain`, `explain-audit`, `pointing-game`: maps of files, of an audit, and how often maps point at a spoof."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.checkpoints import Detector, detector_named
from core.commands import selection
from core.commands.protocol_options import add_protocol_choices, protocol_choices
from core.errors import CoreError
from core.explanation.records import DEFAULT_METHOD, METHODS, TARGETS
from core.hostile_text import one_line
from core.progress import CountProgress


def add_to(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Files, method, and where the maps go; the caller adds the detector."""
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--method", choices=METHODS, default=DEFAULT_METHOD, help="how (default: %(default)s)")
    parser.add_argument("--layer", metavar="NAME", help="convolutional layer of grad_cam (default: the last)")
    parser.add_argument(
        "--target", choices=TARGETS, default="spoof_minus_bona_fide", help="evidence for what (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the PNG, NPZ and JSON files")
    parser.add_argument("--no-test", action="store_true", help="leave out the tests of the maps: quicker, and says so")
    return parser


def run(options: argparse.Namespace) -> int:
    """Explains the files one after the other; one that fails does not stop the others. Status 1 when any did."""
    detector = detector_named(options.detector)
    num_failed = 0
    for number, path in enumerate(options.files, start=1):
        try:
            line = _explain_file(path, detector, options)
        except CoreError as error:
            num_failed += 1
            line = f"not done  {one_line(path)}: {error}"
        print(line, flush=True)
        if len(options.files) > 1:
            print(f"{number} of {len(options.files)} files, {num_failed} not done", file=sys.stderr)
    return 1 if num_failed else 0


def add_audit(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Which files of an audit, how, and where the maps go; the caller adds the store."""
    parser.add_argument("audit_id", type=int, metavar="AUDIT", help="number of the audit")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="the N that come first (default: %(default)s)")
    selection.add_to(parser)
    parser.add_argument("--method", choices=METHODS, default=DEFAULT_METHOD, help="how (default: %(default)s)")
    parser.add_argument("--target", choices=TARGETS, default=TARGETS[0], help="evidence for what (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder; run it again to go on where it stopped")
    return parser


def run_audit_explanations(options: argparse.Namespace) -> int:
    """Explains files of an audit into a folder. Status 1 when any could not be explained."""
    from core.explanation.audit_explanations import explain_entries
    from core.explanation.records import PAGE_NAME
    from core.store.store import Store
    from core.store.triage import matching_entries

    if options.limit < 1:
        raise CoreError(f"--limit {options.limit}: at least one file is needed.")
    store = Store(options.db)
    detector = detector_named(store.audit(options.audit_id).detector_hash)
    entry_ids = matching_entries(store, options.audit_id, selection.chosen(options), limit=options.limit)
    done = explain_entries(
        store,
        detector,
        entry_ids,
        options.out,
        method=options.method,
        target=options.target,
        on_progress=lambda num, of, one: print(f"{num} of {of}: {one_line(one.path)}: {one.badge or one.not_done}", flush=True),
    )
    print(options.out / PAGE_NAME)
    return 1 if any(one.not_done for one in done) else 0


def add_pointing_game(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Recordings to splice, and where the result goes; the caller adds the detector."""
    parser.add_argument("folder", help="folder with bona fide and spoofed recordings")
    parser.add_argument("--protocol", required=True, metavar="FILE", help="ASVspoof protocol, or a table, that says which is which")
    add_protocol_choices(parser)
    parser.add_argument("--num", type=int, default=100, metavar="N", help="spliced recordings to play with (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides pairs and places (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where the result goes (default: where the dashboard looks)")
    return parser


def run_pointing_game(options: argparse.Namespace) -> int:
    """Plays it and prints how often each method points into the spoofed part."""
    from core.evaluation.labelled_folders import recordings_of
    from core.explanation.pointing_game import play_pointing_game, save_pointing_game, spliced_recordings
    from core.explanation.pointing_records import pointing_file

    if options.num < 1:
        raise CoreError(f"--num {options.num}: at least one recording is needed.")
    detector = detector_named(options.detector)
    set_name, table = recordings_of(options.folder, options.protocol, protocol_choices(options))
    paths = [table.loc[table["label"] == label, "path"].tolist() for label in ("bona fide", "spoof")]
    spliced = spliced_recordings(*paths, seed=options.seed)
    with CountProgress() as progress:
        game = play_pointing_game(detector, spliced, set_name=set_name, num=options.num, on_progress=progress.show)
    out = options.out or pointing_file(detector.hash)
    save_pointing_game(game, out)
    print(game.words)
    for score in game.scores:
        print(f"{score.words:<16} {score.title}")
    print(out)
    return 0


def _explain_file(path: str, detector: Detector, options: argparse.Namespace) -> str:
    from core.audio import load
    from core.explanation.explain import explain
    from core.explanation.files import save_explanation
    from core.explanation.map_tests import check_explanation

    samples = load(path)[0]
    explanation = explain(detector, samples, method=options.method, layer=options.layer, target=options.target)
    test = None if options.no_test else check_explanation(detector, samples, explanation)
    stem = f"{Path(path).stem}.{options.method}".encode("utf-8", "backslashreplace").decode()
    save_explanation(explanation, options.out, stem=stem, test=test, samples=samples)
    badge = "not tested" if test is None else "holds" if test.passes else "does not hold"
    return f"{badge:<13} {one_line(path)}: score {explanation.spoof_score:+.2f}, {explanation.title}"

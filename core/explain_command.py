"""`python -m core explain`: maps of recordings, tested, into a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.checkpoints import Detector, detector_named
from core.errors import CoreError
from core.explanation_records import METHODS, TARGETS


def add_to(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Files, method, and where the maps go; the caller adds the detector."""
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--method", choices=METHODS, default="grad_cam", help="how (default: grad_cam)")
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
            line = f"not done  {_printable(path)}: {error}"
        print(line, flush=True)
        if len(options.files) > 1:
            print(f"{number} of {len(options.files)} files, {num_failed} not done", file=sys.stderr)
    return 1 if num_failed else 0


def _explain_file(path: str, detector: Detector, options: argparse.Namespace) -> str:
    from core.audio import load
    from core.explain import explain
    from core.explanation_files import save_explanation
    from core.explanation_tests import check_explanation

    samples = load(path)[0]
    explanation = explain(detector, samples, method=options.method, layer=options.layer, target=options.target)
    test = None if options.no_test else check_explanation(detector, samples, explanation)
    stem = f"{Path(path).stem}.{options.method}".encode("utf-8", "backslashreplace").decode()
    save_explanation(explanation, options.out, stem=stem, test=test, samples=samples)
    badge = "not tested" if test is None else "holds" if test.passes else "does not hold"
    return f"{badge:<13} {_printable(path)}: score {explanation.spoof_score:+.2f}, {explanation.title}"


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")

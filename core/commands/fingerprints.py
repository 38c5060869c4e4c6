"""`python -m core fingerprints`: what a detector looks at in every recording of a labelled folder, stored for the dashboard."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.checkpoints import detector_named
from core.commands.protocol_options import add_protocol_choices, protocol_choices
from core.explanation.records import DEFAULT_METHOD, METHODS, TARGETS
from core.progress import CountProgress


def add_to(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Folder, protocol, method, and where the result goes; the caller adds the detector."""
    parser.add_argument("folder", type=Path, help="folder with the recordings, searched with all below it")
    parser.add_argument(
        "--protocol",
        required=True,
        metavar="FILE",
        help="ASVspoof protocol, or a table: utterance, label, attack, family, speaker",
    )
    add_protocol_choices(parser)
    parser.add_argument("--name", help="of the set (default: the protocol's file name)")
    parser.add_argument("--method", choices=METHODS, default=DEFAULT_METHOD, help="how (default: %(default)s)")
    parser.add_argument("--layer", metavar="NAME", help="convolutional layer of grad_cam (default: as on the page Saliency)")
    parser.add_argument(
        "--target", choices=TARGETS, default="spoof_minus_bona_fide", help="evidence for what (default: %(default)s)"
    )
    parser.add_argument("--tested", type=int, default=0, metavar="N", help="test N maps drawn at random: slow (default: none)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the result (default: where the dashboard looks)")
    return parser


def run(options: argparse.Namespace) -> int:
    """Measures, or goes on where an earlier run stopped; prints where the result is."""
    from core.evaluation.labelled_folders import recordings_of
    from core.evaluation.trial_sets import make_trial_set
    from core.fingerprints.files import load_fingerprints, own_fingerprint_folder
    from core.fingerprints.groups import fingerprints_of, groupings_of
    from core.fingerprints.make import FingerprintOptions, measure_fingerprints
    from core.fingerprints.words import report_lines

    detector = detector_named(options.detector)
    how = FingerprintOptions(method=options.method, layer=options.layer, target=options.target, num_tested=options.tested)
    name, table = recordings_of(options.folder, options.protocol, protocol_choices(options))
    trial_set = make_trial_set(options.name or name, table)
    with CountProgress() as progress:
        out = options.out or own_fingerprint_folder()
        manifest = measure_fingerprints(detector, trial_set, out, options=how, on_progress=progress.show)
    measured = load_fingerprints(manifest)
    for line in report_lines(measured, fingerprints_of(measured, groupings_of(measured)[0])):
        print(line)
    print(manifest)
    return 0

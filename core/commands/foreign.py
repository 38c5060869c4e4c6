"""The commands `import-detector`, `calibrate-detector` and `quantize-detector`: their arguments, what they call and print."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.calibration import Calibration, Thresholds
from core.checkpoints import AGGREGATES, Detector
from core.detector_config import WINDOW_SAMPLES
from core.errors import DetectorError
from core.foreign.records import HIGHER_MEANS, INPUTS, SAMPLES, Declaration
from core.reports import figure_words
from core.runs.publishing import detectors_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `import-detector`."""
    parser.add_argument(
        "file",
        metavar="SOURCE",
        help="FILE.onnx, a network in one file with all its weights; hf:OWNER/NAME[@REVISION], a classifier on the Hugging Face "
        "hub; or a folder with the files of such a repository",
    )
    parser.add_argument("--name", help="name of the new detector (default for the hub: the repository's)")
    parser.add_argument("--input", choices=INPUTS, help="for FILE.onnx: samples at 16 kHz, or one of our images")
    parser.add_argument(
        "--length", type=int, default=WINDOW_SAMPLES, metavar="SAMPLES", help="samples it sees at once (default: %(default)s, 4 s)"
    )
    parser.add_argument("--output", type=int, metavar="I", help="for FILE.onnx: which value of its output is the score, from 0")
    parser.add_argument("--minus", type=int, metavar="J", help="value subtracted from it, e.g. the other class's logit")
    parser.add_argument("--output-name", metavar="NAME", help="which output, where the graph has several")
    parser.add_argument("--higher-means", choices=HIGHER_MEANS, help="for FILE.onnx: what a higher score speaks for")
    parser.add_argument(
        "--spoof-labels", nargs="+", metavar="LABEL", help="for the hub: labels that mean spoof, where their names do not say it"
    )
    parser.add_argument("--yes", action="store_true", help="for the hub: agree to the licence without a question")
    parser.add_argument("--aggregate", choices=AGGREGATES, default="mean", help="a recording's score from its segments'")
    parser.add_argument(
        "--calibration-scale", type=float, metavar="A", help="nats = A x score + B, the score turned so that higher means spoof"
    )
    parser.add_argument("--calibration-offset", type=float, metavar="B", help="see --calibration-scale (default: 0)")
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs=2,
        metavar=("LOWER", "UPPER"),
        help="bona fide below LOWER, spoof from UPPER, in nats or uncalibrated (default: 0 nats; none if uncalibrated)",
    )
    parser.add_argument("--summary", default="", metavar="TEXT", help="a sentence for the analyst")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the detector's folder (default: the installed ones)")


def add_calibration_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `calibrate-detector`, but for the store."""
    parser.add_argument("audit_id", type=int, help="a finished audit with the detector, whose recordings have labels")
    parser.add_argument("--name", required=True, help="name of the new detector; the old one stays")
    parser.add_argument("--reviews", action="store_true", help="take the reviews for labels, in place of the protocol")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the detector's folder (default: the installed ones)")


def add_quantization_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `quantize-detector`, but for the detector."""
    parser.add_argument("--name", required=True, help="name of the new detector; the old one stays")
    parser.add_argument(
        "--to",
        choices=("int8", "bfloat16"),
        default="int8",
        help="8-bit integers (default), for processors with VNNI, or bfloat16 by OpenVINO, for those with AMX",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the detector's folder (default: the installed ones)")


def run_quantization(options: argparse.Namespace) -> int:
    """Makes a detector of lower precision of another; returns the exit status.

    Raises:
        DetectorError: it cannot be quantised.
    """
    from core.checkpoints import detector_named

    if options.to == "bfloat16":
        from core.precision.bfloat16 import bfloat16_detector as lowered
    else:
        from core.precision.quantization import quantize_detector as lowered
    out = options.out.expanduser().absolute() if options.out else None
    detector = lowered(detector_named(options.detector), options.name, out=out)
    print(f"{detector.name} ({detector.hash[:12]}) is in {detector.folder}")
    print("Its scores are its own: audits and thresholds of the old one are not about it. Measure it before you rely on it.")
    return 0


def run_calibration(options: argparse.Namespace) -> int:
    """Calibrates the audit's detector; returns the exit status.

    Raises:
        CoreError: it cannot be calibrated on this audit.
    """
    from core.evaluation.recalibration import calibrate_detector
    from core.store.store import Store

    out = options.out.expanduser().absolute() if options.out else None
    detector = calibrate_detector(Store(options.db), options.audit_id, options.name, by_reviews=options.reviews, out=out)
    manifest, made = detector.manifest, detector.manifest.provenance["calibrated_on"]
    print(f"{detector.name} ({detector.hash[:12]}) is in {detector.folder}")
    print(
        f"nats = {manifest.calibration.slope:.4g} x score {manifest.calibration.offset:+.4g}, fitted to {made['num_bona_fide']:,}"
    )
    print(f"bona fide and {made['num_spoof']:,} spoofed recordings; bona fide below {manifest.thresholds.lower:+.2f}, spoof from")
    print(f"{manifest.thresholds.upper:+.2f}. Figures on these recordings flatter it.")
    for figure in manifest.figures:
        if figure.name.startswith("Cllr"):
            value, interval = figure_words(figure)
            print(f"{figure.name}: {value} ({interval}); 0 is perfect, 1 says nothing, above 1 misleads.")
    return 0


def run(options: argparse.Namespace) -> int:
    """Imports the detector; returns the exit status.

    Raises:
        DetectorError: it cannot be imported like this.
    """
    from core.commands.hub import import_asked, is_from_hub

    detector = (import_asked if is_from_hub(options.file) else _import_file)(options, _declared(options))
    manifest = detector.manifest
    at_once = "several segments" if manifest.network.is_batched else "one segment"
    print(f"{detector.name} ({detector.hash[:12]}) is in {detector.folder}")
    print(f"{manifest.input_words}, {manifest.window_samples:,} samples at once, {at_once} at a time")
    if manifest.calibration is None:
        print("It is not calibrated: its scores rank recordings, but are no log-likelihood ratios. See calibrate-detector.")
    if manifest.thresholds is None:
        print("It has no thresholds: every verdict will be inconclusive.")
    if detector.folder.parent != detectors_folder():
        print(f"Use it with --detector {detector.folder}, or set EARWITNESS_DETECTORS={detector.folder.parent}.")
    return 0


def _import_file(options: argparse.Namespace, declared: Declaration) -> Detector:
    from core.foreign.detector_import import import_detector

    needed = {"--name": options.name, "--input": options.input, "--output": options.output, "--higher-means": options.higher_means}
    if missing := [option for option, value in needed.items() if value is None]:
        raise DetectorError(f"An ONNX file does not say what it is fed and what it means; add {', '.join(missing)}.")
    out = options.out.expanduser().absolute() if options.out else None
    return import_detector(Path(options.file), options.name, declared, out=out, summary=options.summary)


def _declared(options: argparse.Namespace) -> Declaration:
    calibration = None
    if options.calibration_scale is not None:
        calibration = Calibration(slope=options.calibration_scale, offset=options.calibration_offset or 0.0)
    elif options.calibration_offset is not None:
        raise DetectorError("--calibration-offset needs --calibration-scale: nats = scale x score + offset.")
    return Declaration(
        input=options.input or SAMPLES,
        window_samples=options.length,
        column=options.output or 0,
        minus=options.minus,
        higher_means=options.higher_means or "spoof",
        output_name=options.output_name,
        aggregate=options.aggregate,
        calibration=calibration,
        thresholds=Thresholds(lower=options.thresholds[0], upper=options.thresholds[1]) if options.thresholds else None,
    )

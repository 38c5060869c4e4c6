"""The commands of `python -m core`: parse, call the library, print. Exit status: 0 done, 1 not done, 2 wrong usage."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from core.checkpoints import detector_named, find_detectors
from core.commands import attack as attack_command
from core.commands import backup as backup_command
from core.commands import evaluate as evaluate_command
from core.commands import evidence as evidence_command
from core.commands import explain as explain_command
from core.commands import fingerprints as fingerprint_command
from core.commands import foreign as import_command
from core.commands import scan as scan_command
from core.commands import shortcuts as shortcut_command
from core.commands import stress as stress_command
from core.detector_config import FEATURE_KINDS
from core.errors import CoreError
from core.hostile_text import one_line
from core.records import Detection, Verdict
from core.reports import figure_words, percent, without_nan

_EPILOG = """exit status: 0 finished, 1 could not be done or was interrupted, 2 wrong usage.

examples:
  python -m core scan recordings/ --out scores.csv
  python -m core scan calls/ --channels each --pattern '2026/*.wav' --out calls.parquet
  python -m core score clip.m4a
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = build_parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()  # here, where a reader that has gone is met below
        return status
    except CoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The command line, as `--help` shows it."""
    parser = argparse.ArgumentParser(
        prog="python -m core",
        description="Find spoofed speech in recordings.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    scan = _command(commands, "scan", scan_command.run, "audit a folder; run it again to go on where it stopped")
    _add_detector(scan_command.add_to(scan))
    _add_store(scan)

    score = _command(commands, "score", _score, "score single recordings; nothing is stored")
    score.add_argument("files", nargs="+", metavar="FILE")
    _add_detector(score)
    score.add_argument("--channels", choices=("mix", "each"), default="mix", help="score the mixdown (default) or every channel")
    score.add_argument("--json", action="store_true", help="one JSON object per line, with segments and quality")

    _command(commands, "detectors", _detectors, "list the installed detectors with their figures")
    foreign = _command(
        commands, "import-detector", import_command.run, "make a detector of an ONNX network, or of one from the hub"
    )
    import_command.add_arguments(foreign)
    calibrate = _command(
        commands, "calibrate-detector", import_command.run_calibration, "calibrate an imported detector on a labelled audit"
    )
    import_command.add_calibration_arguments(calibrate)
    _add_store(calibrate)

    quantize = _command(
        commands, "quantize-detector", import_command.run_quantization, "make a faster detector of lower precision of one of ours"
    )
    import_command.add_quantization_arguments(quantize)
    _add_detector(quantize)

    scores = _command(commands, "import-scores", evaluate_command.run_import, "put another system's score file into the store")
    evaluate_command.add_import_arguments(scores)
    _add_store(scores)

    evaluate = _command(commands, "evaluate", evaluate_command.run_evaluate, "print all figures of a score file; nothing is stored")
    evaluate_command.add_evaluate_arguments(evaluate)

    _add_detector(explain_command.add_to(_command(commands, "explain", explain_command.run, "show what a detector looked at")))
    many = _command(commands, "explain-audit", explain_command.run_audit_explanations, "as explain, of files of an audit")
    _add_store(explain_command.add_audit(many))
    pointing = _command(commands, "pointing-game", explain_command.run_pointing_game, "how often maps point at a spoofed part")
    _add_detector(explain_command.add_pointing_game(pointing))
    fingerprints = _command(commands, "fingerprints", fingerprint_command.run, "what a detector looks at, attack by attack")
    _add_detector(fingerprint_command.add_to(fingerprints))

    attack_command.add_arguments(_command(commands, "attack", attack_command.run, "make labelled spoofs of bona fide recordings"))
    _command(commands, "attack-kinds", attack_command.run_kinds, "list the kinds of attack with their parameters")

    stress = _command(commands, "stress", stress_command.run, "see what becomes of scores on a phone line, in noise, coded")
    _add_detector(stress_command.add_to(stress))
    _add_store(stress)
    shortcut_command.add_to(_command(commands, "shortcuts", shortcut_command.run, "find what trivial features give away of labels"))

    bundle = _command(commands, "bundle", evidence_command.bundle, "put what an audit found into a case bundle that can be checked")
    evidence_command.add_to_bundle(bundle)
    _add_store(bundle)
    verify = _command(
        commands, "verify", evidence_command.verify, "check a case bundle: every byte, the log, and every score again"
    )
    evidence_command.add_to_verify(verify)

    backup = _command(commands, "backup", backup_command.run_backup, "write all of the store into one file")
    backup_command.add_to(backup)
    _add_store(backup)
    restore = _command(commands, "restore", backup_command.run_restore, "fill an empty store from a backup")
    backup_command.add_to(restore)
    _add_store(restore)

    pictures = _command(commands, "export-png", _export_png, "draw what a detector sees of a recording, one PNG per window")
    pictures.add_argument("files", nargs="+", metavar="FILE")
    pictures.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    kinds = pictures.add_argument("--kind", action="append", choices=FEATURE_KINDS, metavar="KIND")
    kinds.help = f"{', '.join(FEATURE_KINDS)}; may be given again (default: waveform and log_spectrogram)"

    benchmark = _command(commands, "benchmark", _benchmark, "measure the scan against the sum of its parts, in one run")
    benchmark.add_argument("folder", help="folder with recordings to measure on")
    _add_detector(benchmark)
    benchmark.add_argument("--peer", metavar="NAME", help="another detector, to be run by the plain loop on the same recordings")
    sizes = "also scan so many copies of the recordings, to see whether the rate holds"
    benchmark.add_argument("--sizes", nargs="+", type=int, default=[], metavar="NUM", help=sizes)
    entries = "also time the dashboard's queries on a made-up store of so many recordings"
    benchmark.add_argument("--entries", type=int, metavar="NUM", help=entries)
    device = "measure a scan on a GPU against the GPU and the decoding alone (cuda), or on the CPU against its parts (default)"
    benchmark.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help=device)
    benchmark.add_argument("--out", type=Path, metavar="FILE.md", help="also write the report to this file")

    worker = _command(
        commands, "worker", scan_command.run_worker, "work on an audit that is in the store, as the dashboard's workers do"
    )
    worker.add_argument("audit_id", type=int)
    _add_store(worker)
    return parser


def _command(commands: argparse._SubParsersAction, name: str, run: Callable, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def _add_detector(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detector", metavar="NAME", help="name, hash or folder of a detector (default: the shipped one)")


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--db", metavar="URL", help="store, e.g. sqlite:///audits.db (default: $EARWITNESS_DB, else in ~/.earwitness)"
    )


def _score(options: argparse.Namespace) -> int:
    from core.detect import Scorer
    from core.scanning.local_engine import score_untrusted

    scorer = Scorer(detector_named(options.detector), num_threads=len(os.sched_getaffinity(0)))
    num_refused = 0
    for record in score_untrusted(scorer, options.files, channels=options.channels):
        num_refused += all(detection.verdict is Verdict.REFUSED for detection in record.detections)
        if options.json:
            print(json.dumps(without_nan(asdict(record))))
            continue
        for detection in record.detections:
            print(_score_line(record.path, detection))
    return 1 if num_refused else 0


def _score_line(path: str, detection: Detection) -> str:
    name = one_line(path)
    channel = "" if detection.channel == "mix" else f" channel {detection.channel}"
    if detection.verdict is Verdict.REFUSED:
        return f"refused       {name}{channel}: {detection.reason}"
    notes = f"  [{', '.join(detection.warnings)}]" if detection.warnings else ""
    score = f"score {detection.spoof_score:+.2f} (the detector is not calibrated)"
    if detection.probability is not None:
        score = f"score {detection.spoof_score:+.2f} nats, probability {percent(detection.probability)}"
    return f"{detection.verdict:<13} {name}{channel}: {score}{notes}"


def _detectors(options: argparse.Namespace) -> int:
    for detector in find_detectors():
        manifest = detector.manifest
        print(f"{detector.name}  {detector.hash[:12]}  {manifest.model} on {manifest.input_words}\n  {manifest.summary}")
        for figure in manifest.figures:
            value, interval = figure_words(figure)
            counts = f"{figure.num_bona_fide} bona fide, {figure.num_spoof} spoof"
            print(f"  {figure.split:<5} {figure.name:<36} {value:<6} ({interval})  {counts}")
    return 0


def _export_png(options: argparse.Namespace) -> int:
    from core.pictures import export_png

    for path in options.files:
        for kind in options.kind or ("waveform", "log_spectrogram"):
            for picture in export_png(path, options.out, kind=kind):
                print(picture)
    return 0


def _benchmark(options: argparse.Namespace) -> int:
    from core.scanning.benchmark import run_benchmark
    from core.scanning.gpu_benchmark import run_gpu_benchmark

    if options.device != "cpu" and (options.peer or options.sizes or options.entries):
        raise CoreError("--peer, --sizes and --entries are about the CPU; leave them out with --device cuda.")
    if min(options.sizes, default=1) < 1 or (options.entries or 100) < 100:
        raise CoreError("--sizes expects numbers of 1 or more, --entries one of 100 or more.")
    peer = detector_named(options.peer) if options.peer else None
    larger = {"peer": peer, "sizes": options.sizes, "num_entries": options.entries}
    detector = detector_named(options.detector)
    with tempfile.TemporaryDirectory() as scratch:
        if options.device == "cuda":
            report = run_gpu_benchmark(options.folder, detector, scratch=Path(scratch))
        else:
            report = run_benchmark(options.folder, detector, scratch=Path(scratch), **larger)
    print(report)
    if options.out:
        options.out.write_text(report, encoding="utf-8")
    return 0

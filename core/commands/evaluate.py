"""The commands `evaluate` and `import-scores`: their arguments, what they call and print."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from core.commands.protocol_options import add_protocol_choices, protocol_choices
from core.errors import CoreError, InvertedScoresError

if TYPE_CHECKING:  # they read tables with pandas, which no other command waits for
    from core.evaluation.records import EvaluationSummary, Figure
    from core.evaluation.score_files import ColumnMapping
    from core.evaluation.score_import import Sign
    from core.evaluation.system_records import System

_MAPPED = ("utterance", "score", "label", "attack")


_SHARES = ("eer", "accuracy", "balanced_accuracy", "miss", "false_alarm", "precision", "recall", "f1")
"""Keys of figures that are printed in per cent."""


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `evaluate`."""
    _add_score_arguments(parser)
    parser.add_argument("--asv-scores", metavar="FILE", help="scores of a speaker verifier (attack key score): adds the t-DCF")
    parser.add_argument(
        "--threshold", type=float, help="spoof score from which on it says spoof (default: where its errors are equal)"
    )
    parser.add_argument("--resamples", type=int, default=1_000, metavar="N", help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `import-scores`; the store's is the caller's."""
    _add_score_arguments(parser)


def run_evaluate(options: argparse.Namespace) -> int:
    """Prints all figures of a score file; returns the exit status.

    Raises:
        CoreError: the file, the protocol or the speaker verifier's scores cannot be used like this, or the file is inverted.
    """
    from core.evaluation.evaluate import evaluation_summary
    from core.evaluation.tandem import read_asv_scores

    if options.resamples < 100:
        raise CoreError(f"--resamples is {options.resamples}; 95 % intervals need 100 or more.")
    system = _system(options)
    asv = read_asv_scores(options.asv_scores) if options.asv_scores else None
    summary = evaluation_summary(system, threshold=options.threshold, asv=asv, num_resamples=options.resamples)
    if options.json:
        told = {"is_flipped": system.is_flipped, "note": system.note}
        print(json.dumps(summary.to_dict() | told, indent=1, allow_nan=False))
    else:
        print(_report(summary, system))
    return 0


def run_import(options: argparse.Namespace) -> int:
    """Puts a score file into the store; returns the exit status.

    Raises:
        CoreError: as `run_evaluate`, or the store refuses.
    """
    from core.evaluation.systems import add_system, load_trial_set
    from core.store.store import Store

    system = _system(options)
    store = Store(options.db)
    add_system(store, system.trial_set, system.name, system.scores, is_flipped=system.is_flipped, note=system.note)
    trials = load_trial_set(store, system.trial_set.key)  # which may be known by another name
    notes = [*(["its sign was flipped"] if system.is_flipped else []), *([system.note] if system.note else [])]
    counts = f"{trials.num_bona_fide:,} bona fide, {trials.num_spoof:,} spoofed"
    print("; ".join([f"{system.name} is imported for {trials.name} ({counts}; set {trials.key})", *notes]))
    return 0


def _add_score_arguments(parser: argparse.ArgumentParser) -> None:
    text = (
        "score file: ASVspoof 2019 (utterance attack key score), 2021 and 5 (utterance score), or CSV, TSV, JSON lines, XLSX"
        " or Parquet with a header; also gzipped"
    )
    parser.add_argument("scores", metavar="SCORES", help=text)
    parser.add_argument("--protocol", metavar="FILE", help="ASVspoof protocol, or a table, with the labels (if the file has none)")
    add_protocol_choices(parser)
    parser.add_argument("--name", help="what the system is called (default: the file's name)")
    parser.add_argument(
        "--higher-means",
        choices=("bona-fide", "spoof"),
        help="what a high score means (default: bona fide; spoof for a column spoof_score)",
    )
    sign = parser.add_mutually_exclusive_group()
    sign.add_argument("--flip", action="store_true", help="turn the sign of an inverted file")
    sign.add_argument("--keep-sign", action="store_true", help="take the sign as it is, though the system is worse than chance")
    parser.add_argument("--allow-missing", action="store_true", help="trials without a score, or with NaN, count as not scored")
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="WHAT=NAME",
        help="which column of a table holds what, e.g. utterance=file score=logit label=class attack=method",
    )


def _system(options: argparse.Namespace) -> System:
    """The system that the options describe."""
    from core.evaluation.score_files import read_score_file, title_of
    from core.evaluation.score_import import system_of
    from core.evaluation.trial_sets import read_trial_set

    choices = protocol_choices(options)
    table = read_score_file(options.scores, columns=_mapping(options.columns), one_means=choices.one_means)
    name = options.name or title_of(options.scores)
    trial_set = read_trial_set(options.protocol, choices=choices) if options.protocol else table.trial_set(f"Trials of {name}")
    sign: Sign = "flip" if options.flip else "keep" if options.keep_sign else "check"
    declared = options.higher_means.replace("-", " ") if options.higher_means else None
    try:
        return system_of(table, trial_set, name=name, higher_means=declared, sign=sign, allow_missing=options.allow_missing)
    except InvertedScoresError as error:
        words = "Give --flip to turn the sign, or --keep-sign if the system really is worse than chance."
        raise InvertedScoresError(f"{error} {words}") from None


def _mapping(pairs: list[str]) -> ColumnMapping | None:
    """From `WHAT=NAME` words; None where there are none.

    Raises:
        CoreError: a word of another form.
    """
    from core.evaluation.score_files import ColumnMapping

    split = [pair.partition("=") for pair in pairs]
    wrong = next((pair for pair, (what, _, name) in zip(pairs, split, strict=True) if what not in _MAPPED or not name), None)
    if wrong is not None:
        raise CoreError(f"--columns {wrong}: expected WHAT=NAME with one of {', '.join(_MAPPED)}.")
    return ColumnMapping(**{what: name for what, _, name in split}) if pairs else None


def _report(summary: EvaluationSummary, system: System) -> str:
    """The figures as lines of text."""
    counts = f"{summary.num_bona_fide:,} bona fide, {summary.num_spoof:,} spoofed, {summary.num_not_scored:,} not scored"
    lines = [f"{summary.system} on {summary.trial_set}: {counts}"]
    lines += ["Its sign was flipped."] if system.is_flipped else []
    lines += [_line(figure) for figure in summary.figures]
    if summary.eer_by_attack:
        lines += ["", "EER of each attack against all bona fide speech"]
        lines += [_line(dataclasses.replace(figure, key="eer")) for figure in summary.eer_by_attack]
    return "\n".join([*lines, "", summary.interval_method, *(f"note: {warning}" for warning in summary.warnings)])


def _line(figure: Figure) -> str:
    """Shares in per cent, other figures as they are."""
    scale, unit = (100, " %") if figure.key.startswith(_SHARES) else (1, "")
    interval = "" if figure.low is None else f"  ({scale * figure.low:.4f} to {scale * figure.high:.4f})"
    return f"  {figure.title:<44} {scale * figure.value:8.4f}{unit:<2}{interval}".rstrip()

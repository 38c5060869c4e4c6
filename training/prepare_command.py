"""The command line of `prepare`: its options, its progress, its words. Prepares nothing itself."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from training.data import SPLITS
from training.prepare import Progress, prepare
from training.prepared import verify
from training.sources import KINDS, SUBSETS, SourceOptions
from training.trees import CorpusError

_LINE_EVERY_S = 10.0
"""How often progress is told where lines cannot be overwritten (a log)."""


def add_prepare(commands: argparse._SubParsersAction) -> None:
    """Adds the subcommand `prepare`."""
    layouts = "\n".join(f"  {kind:16} {layout}" for kind, layout in KINDS.items())
    parser = commands.add_parser(
        "prepare",
        help="decode a corpus once into the form that training reads; run it again to go on after an interruption",
        description="Decode a corpus once into the form that training reads; run it again to go on after an interruption.",
        epilog=f"kinds of SOURCE, known by:\n{layouts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run_command=run_prepare)
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="SOURCE ... OUT: one corpus or several (folder, zip read in place, or table), then the folder for samples.i16, "
        "index.parquet and manifest.json; with --verify: OUT alone",
    )
    parser.add_argument("--kind", choices=sorted(KINDS), help="kind of SOURCE (default: found out)")
    parser.add_argument(
        "--seed", type=int, default=0, help="decides which speakers go to dev where there are no splits (default: 0)"
    )
    parser.add_argument("--as-split", choices=SPLITS, help="put everything into this split")
    parser.add_argument(
        "--subsets", nargs="+", choices=SUBSETS, default=["eval"], help="ASVspoof 2021: what to take as test (default: eval)"
    )
    parser.add_argument("--one-means", choices=("bona-fide", "spoof"), help="which class 1 is, where labels are 0 and 1")
    parser.add_argument("--allow-missing", action="store_true", help="go on without the recordings that have no audio")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="decoding processes (default: one per core, none for few recordings)"
    )
    parser.add_argument("--verify", action="store_true", help="compare a finished preparation with its hashes instead")


def run_prepare(options: argparse.Namespace) -> None:
    """Runs `prepare` or `prepare --verify`.

    Raises:
        CoreError: it could not be done.
    """
    if options.verify:
        verify(options.paths[-1])
        return
    *sources, out = options.paths
    if not sources:
        raise CorpusError("OUT is missing: python -m training prepare SOURCE OUT. To check a finished folder, add --verify.")
    if options.workers is not None and options.workers < 0:
        raise CorpusError(f"--workers is {options.workers}; expected 0 or more.")
    source_options = SourceOptions(
        kind=options.kind,
        seed=options.seed,
        as_split=options.as_split,
        subsets=tuple(options.subsets),
        allow_missing=options.allow_missing,
        one_means=options.one_means,
    )
    prepare(sources, out, source_options, num_workers=options.workers, on_progress=_teller())


def _teller() -> Callable[[Progress], None]:
    """Prints progress: one line overwritten on a terminal, a line now and then elsewhere."""
    is_terminal, told = sys.stderr.isatty(), -_LINE_EVERY_S

    def tell(progress: Progress) -> None:
        nonlocal told
        is_last = progress.num_done == progress.num_recordings
        if is_terminal or is_last or time.monotonic() - told >= _LINE_EVERY_S:
            told = time.monotonic()
            line = progress_line(progress)
            print(
                f"\r{line:<78}" if is_terminal else line,
                end="\n" if is_last or not is_terminal else "",
                file=sys.stderr,
                flush=True,
            )

    return tell


def progress_line(progress: Progress) -> str:
    """`1,234 of 5,999 recordings, 210/s, 23 s left, 2 undecodable`."""
    minutes, seconds = divmod(round(progress.remaining_s), 60)
    left = f"{minutes} min {seconds:02} s left" if minutes else f"{seconds} s left"
    refused = f", {progress.num_refused:,} undecodable" if progress.num_refused else ""
    return f"{progress.num_done:,} of {progress.num_recordings:,} recordings, {progress.per_s:,.0f}/s, {left}{refused}"

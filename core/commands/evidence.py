"""The commands `bundle` and `verify`: what an audit found, to be handed over and checked."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.commands import selection
from core.errors import CoreError
from core.hostile_text import one_line


def add_to_bundle(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bundle`."""
    parser.add_argument("audit_id", type=int, metavar="AUDIT", help="number of the audit")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the new folder")
    selection.add_to(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="the N that come first (default: all)")
    parser.add_argument("--shown", type=int, default=50, metavar="N", help="files with a page in the report (default: 50)")
    parser.add_argument("--by", metavar="NAME", help="who asks for it (default: the user of this process)")


def bundle(options: argparse.Namespace) -> int:
    """Makes a case bundle; returns the exit status."""
    from core.evidence.bundle import make_bundle
    from core.evidence.records import MANIFEST, SEAL
    from core.progress import CountProgress
    from core.store.store import Store

    if options.limit is not None and options.limit < 1:
        raise CoreError(f"--limit is {options.limit}; a bundle needs at least one file.")
    store = Store(options.db)
    with CountProgress() as progress:
        manifest = make_bundle(
            store,
            options.audit_id,
            options.out,
            chosen=selection.chosen(options),
            limit=options.limit,
            num_shown=options.shown,
            made_by=options.by,
            on_progress=progress.show,
        )
    seal = (options.out / SEAL).read_text(encoding="utf-8").split()[0]
    print(f"{manifest.selection['num_files']:,} recordings in {one_line(str(options.out))}")
    print(f"Write these down outside of this machine:\n  {MANIFEST}  {seal}\n  log  {manifest.log_hash}")
    return 0


def add_to_verify(parser: argparse.ArgumentParser) -> None:
    """The arguments of `verify`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that `bundle` made")
    parser.add_argument("--audio", type=Path, metavar="FOLDER", help="the recordings: every score is derived again from them")
    parser.add_argument("--log-hash", metavar="HASH", help="of the log, as it was written down")


def verify(options: argparse.Namespace) -> int:
    """Checks a case bundle; returns the exit status: 1 where anything does not hold."""
    from core.evidence.verify import read_manifest, verify_bundle
    from core.progress import CountProgress

    manifest = read_manifest(options.bundle)
    if options.audio is not None and not options.audio.is_dir():
        raise CoreError(f"There is no folder {options.audio}; --audio is the folder that the audit was made of.")
    with CountProgress() as progress:
        problems = list(verify_bundle(options.bundle, audio=options.audio, log_hash=options.log_hash, on_progress=progress.show))
    for problem in problems:
        print(f"{one_line(problem.place)}: {problem.what}")
    num = manifest.selection["num_files"]
    if problems:
        print(f"NOT VERIFIED: {len(problems)} problems, {num:,} recordings, made {manifest.made_at} by {manifest.made_by}")
        return 1
    how = (
        "every score derived again from the recordings"
        if options.audio
        else "scores held against their segments, not derived again"
    )
    print(f"verified: {num:,} recordings, {len(manifest.files)} files, log of {manifest.log_hash[:12]}; {how}")
    return 0

"""The commands `backup` and `restore`."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.store.engine import shown_url
from core.store.store import Store


def add_to(parser: argparse.ArgumentParser) -> None:
    """The file; the caller adds the store."""
    parser.add_argument("file", type=Path, metavar="FILE.zip", help="the backup")


def run_backup(options: argparse.Namespace) -> int:
    """Writes a backup of the store; returns the exit status."""
    from core.store.backup import back_up

    store = Store(options.db)
    print(f"{_words(back_up(store, options.file))} of {shown_url(store.url)} in {options.file}")
    print("Recordings and detectors are not in it: back up their folders beside it.")
    return 0


def run_restore(options: argparse.Namespace) -> int:
    """Fills an empty store from a backup; returns the exit status."""
    from core.store.backup import restore

    store = Store(options.db)
    print(f"{_words(restore(store, options.file))} restored into {shown_url(store.url)}")
    return 0


def _words(counts: dict[str, int]) -> str:
    return f"{counts['audits']:,} audits, {counts['entries']:,} files, {counts['reviews']:,} reviews"

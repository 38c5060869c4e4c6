"""The options that every command with a protocol has: which subset of it, and what a 1 means in it."""

from __future__ import annotations

import argparse

from core.protocols import SUBSETS, ProtocolChoices


def add_protocol_choices(parser: argparse.ArgumentParser) -> None:
    """Adds `--subset` and `--one-means`."""
    text = "of an ASVspoof 2021 protocol (default: %(default)s, whose figures the organisers publish)"
    parser.add_argument("--subset", choices=SUBSETS, default="eval", help=text)
    parser.add_argument("--one-means", choices=("bona-fide", "spoof"), help="which class 1 is, where labels are 0 and 1")


def protocol_choices(options: argparse.Namespace) -> ProtocolChoices:
    """What the options say."""
    return ProtocolChoices(subset=options.subset, one_means=options.one_means)

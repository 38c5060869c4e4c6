"""Which files of an audit a command is about: a verdict, an order, or all filters of the triage table at once."""

from __future__ import annotations

import argparse
import json

from core.errors import CoreError
from core.records import TriageFilter, Verdict
from core.store.filters import ORDERS


def add_to(parser: argparse.ArgumentParser) -> None:
    """`--verdict`, `--order` and `--filter`."""
    parser.add_argument("--verdict", action="append", default=[], choices=[str(v) for v in Verdict], help="only these; repeat it")
    parser.add_argument("--order", choices=sorted(ORDERS), default="risk", help="which come first (default: risk)")
    parser.add_argument("--filter", metavar="JSON", help="all filters of the triage table at once, as the dashboard gives them")


def chosen(options: argparse.Namespace) -> TriageFilter:
    """The filter that the options say.

    Raises:
        CoreError: `--filter` is none.
    """
    if not options.filter:
        return TriageFilter(verdicts=tuple(options.verdict), order=options.order)
    try:
        fields = json.loads(options.filter)
        return TriageFilter(**fields | {name: tuple(fields[name]) for name in ("verdicts", "codecs") if name in fields})
    except (ValueError, TypeError) as error:
        wanted = "Expected fields of core.records.TriageFilter as JSON."
        raise CoreError(f"--filter {options.filter!r} is no filter: {error}. {wanted}") from None

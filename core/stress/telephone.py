"""Which detector to take for recordings from telephone lines: what the stress tables say of those that are installed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from core.store.triage import MAX_COUNTED
from core.stress.records import StressTable

WARNINGS_OF_LINES = frozenset(("narrowband", "compressed"))
"""Warnings of recordings that may have come over such a line."""
_PREFIX, _LABEL = "phone_", "bona fide"


def bandwidth_words(num: int, num_judged: int) -> str:
    """How many of an audit's recordings have telephone bandwidth (`num_warned`), in a sentence."""
    about = "about " if num_judged > MAX_COUNTED else ""
    return f"Telephone bandwidth in {about}{num:,} of {num_judged:,} recordings."


def turned_share(table: StressTable) -> float | None:
    """Of the clear verdicts on bona fide speech, the share that telephone lines turn into the opposite; None if not measured."""
    shares = [share for share in table.shares if share.condition.startswith(_PREFIX) and share.label == _LABEL]
    num = sum(share.num for share in shares)
    return sum(share.num_opposite for share in shares) / num if num else None


def telephone_advice(tables: Iterable[StressTable], detector_hash: str, installed: Collection[str]) -> str | None:
    """A sentence where another detector turns fewer than half as many verdicts on the telephone; None where none does.

    Args:
        tables: of all detectors; those of one set of recordings are compared.
        detector_hash: the one that is in use.
        installed: hashes of those that could be taken instead.
    """
    shares = {(table.set_name, table.detector_hash): (turned_share(table), table.detector_name) for table in tables}
    measured = {key: found for key, found in shares.items() if found[0] is not None}
    for (set_name, of_detector), (share, name) in measured.items():
        if of_detector != detector_hash:
            continue
        others = [found for (its_set, its_hash), found in measured.items() if its_set == set_name and its_hash in installed]
        other_share, other_name = min(others, default=(share, name))
        if 2 * other_share < share:
            return (
                f"On telephone lines {name} turns {100 * share:.0f} % of its clear verdicts on bona fide speech into spoof or "
                f"back, {other_name} {100 * other_share:.0f} % (page Stress test): score telephone recordings with {other_name}."
            )
    return None

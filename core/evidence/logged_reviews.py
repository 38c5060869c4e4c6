"""Reviews as the log of an audit has them, to be held against those that a bundle tells of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.store.events import Event

_SLACK_S = 5.0
"""A review and its entry are written in one transaction, a moment apart."""


@dataclass(frozen=True, slots=True)
class LoggedReviews:
    """What the log says of reviews."""

    since: float
    """When the log begins; reviews from before it, or through other audits, are in no entry of it."""
    by_recording: frozenset[tuple[str, str, str, str]]
    """Content hash, reviewer, verdict, note."""
    of_many: frozenset[tuple[str, str, str]]
    """Reviewer, verdict, note of reviews of so many recordings that they are not named one by one."""

    def missing(self, line: dict[str, Any], audit_id: int) -> list[str]:
        """A sentence for each review of a recording that this audit's log should have and has not."""
        problems = []
        for review in line["reviews"]:
            said = (review["reviewer"], review["verdict"], review["note"])
            if review["created_at"] < self.since - _SLACK_S or review["audit_id"] != audit_id:
                continue
            if (line["sha256"], *said) not in self.by_recording and said not in self.of_many:
                problems.append(f"its review by {review['reviewer']} ({review['verdict']}) is not in the log")
        return problems


def reviews_in(log: Sequence[Event]) -> LoggedReviews:
    """The reviews that a log tells of."""
    named, of_many = set(), set()
    for event in log:
        if event.action == "reviewed":
            details = json.loads(event.details)
            said = (event.actor, details["verdict"], details["note"])
            named |= {(sha256, *said) for sha256 in details.get("recordings", ())}
            of_many |= set() if "recordings" in details else {said}
    since = log[0].at if log else float("inf")
    return LoggedReviews(since=since, by_recording=frozenset(named), of_many=frozenset(of_many))

"""Records of stress tests: one recording's survival card, and a data set's table of error rates. No behaviour beyond reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.records import Verdict
from core.stress.conditions import Condition

if TYPE_CHECKING:
    import pandas as pd

POOLED = ""
"""The column of all spoofs together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StressedScore:
    """What a detector says of a recording under one condition."""

    condition: Condition
    score: float | None
    """None where it was refused."""
    verdict: Verdict
    change: float | None
    """Score minus that of the recording as it is."""
    reason: str = ""
    """Why it was refused."""
    survives: bool = True
    """Whether the verdict is that of the recording as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallestFlip:
    """Along one line of conditions, the mildest one that changes the verdict."""

    family: str
    line: str
    condition: Condition | None
    """None where the verdict survives the whole line."""
    verdict: Verdict | None
    """What it becomes there."""
    words: str
    """E.g. `Flips to bona fide at white noise, 10 dB SNR.`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalCard:
    """One recording under all conditions: does its verdict survive a phone call?"""

    detector_name: str
    detector_hash: str
    score: float
    """Of the recording as it is."""
    verdict: Verdict
    rows: tuple[StressedScore, ...]
    """In the order of the conditions; the clean recording is not among them."""
    smallest_flip: tuple[SmallestFlip, ...]
    """One per line of conditions."""
    survives_phone: bool | None
    """Whether the verdict is the same on all telephone lines; None where none was tried."""
    words: str
    """What the card says, in plain sentences."""
    seed: int

    @property
    def num_survived(self) -> int:
        """Conditions under which the verdict stays."""
        return sum(row.survives for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class StressCell:
    """One attack against all bona fide speech, both under one condition. Shares are 0 to 1."""

    condition: str
    attack: str
    """`POOLED`, or the group's name."""
    eer: float | None
    low: float | None
    """Ends of the 95 % bootstrap interval."""
    high: float | None
    change: float | None
    """EER minus that of the same trials as they are; None in the clean row."""
    change_low: float | None
    change_high: float | None
    p_value: float | None
    """Of the change, two-sided, from the same resamples."""
    num_bona_fide: int
    num_spoof: int
    note: str = ""
    """Why there is no figure, or how many trials were refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictShare:
    """How many verdicts stay under a condition, of the recordings judged when clean."""

    condition: str
    label: str
    """`all`; where labels are known, also `bona fide` and `spoof`; `said spoof` and `said bona fide` by the clean verdict."""
    num: int
    """Recordings with a verdict (spoof or bona fide) as they are."""
    num_same: int
    num_opposite: int
    """Spoof became bona fide or the other way round."""
    num_inconclusive: int
    num_refused: int
    low: float | None
    """Ends of the 95 % interval of the share."""
    high: float | None

    @property
    def share(self) -> float | None:
        """Of verdicts that stay, 0 to 1; None where there are none."""
        return self.num_same / self.num if self.num else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StressTable:
    """A detector on a set of recordings under all conditions."""

    detector_name: str
    detector_hash: str
    set_name: str
    grouping: str
    """What the columns are: `attack` or `family`."""
    created: str
    """ISO 8601, UTC."""
    seed: int
    num_resamples: int
    resampled: str
    """What is drawn: `recordings`, `speakers` or `sources`."""
    conditions: tuple[Condition, ...]
    """Clean first."""
    attacks: tuple[str, ...]
    """`POOLED` first; none where the set has no labels of both classes."""
    cells: dict[str, dict[str, StressCell]]
    """Condition's name -> attack -> figures."""
    shares: tuple[VerdictShare, ...]
    num_recordings: int
    notes: tuple[str, ...] = ()

    def all_cells(self) -> Iterator[StressCell]:
        """Row by row."""
        for condition in self.conditions:
            yield from self.cells.get(condition.name, {}).values()

    def to_frame(self) -> pd.DataFrame:
        """A line per condition and attack."""
        import pandas as pd

        titles = {condition.name: condition for condition in self.conditions}
        return pd.DataFrame(
            {
                "condition": cell.condition,
                "condition_title": titles[cell.condition].title,
                "condition_family": "" if cell.condition == "clean" else titles[cell.condition].family,
                self.grouping: cell.attack or "all spoofs",
                "eer": cell.eer,
                "eer_low": cell.low,
                "eer_high": cell.high,
                "change": cell.change,
                "change_low": cell.change_low,
                "change_high": cell.change_high,
                "p_value": cell.p_value,
                "num_bona_fide": cell.num_bona_fide,
                "num_spoof": cell.num_spoof,
                "note": cell.note,
            }
            for cell in self.all_cells()
        )

"""Records of the pointing game, and where the shipped one is. Imports no torch; plays nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from core.errors import CoreError
from core.evaluation.own_results import own_folder
from core.evaluation.shipped_results import SHIPPED_RESULTS
from core.explanation.records import METHOD_NAMES, Method

SHIPPED_POINTING = SHIPPED_RESULTS / "pointing"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointingScore:
    """How often one kind of map pointed into the spoofed part."""

    method: Method | None
    """None: the loudest cell of the spectrogram, which knows nothing of the detector."""
    layer: str | None
    num: int
    num_hits: int
    low: float
    """Of the share of hits: Wilson's 95 % interval."""
    high: float

    @property
    def share(self) -> float:
        """Of recordings, whose peak lies in the part."""
        return self.num_hits / self.num

    @property
    def words(self) -> str:
        """Share with its interval."""
        return f"{100 * self.share:.0f} % ({100 * self.low:.0f} to {100 * self.high:.0f})"

    @property
    def title(self) -> str:
        """For people."""
        if self.method is None:
            return "The loudest place (no detector)"
        return METHOD_NAMES[self.method] + (f", layer {self.layer}" if self.layer else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PointingGame:
    """A detector's maps on recordings in which only one known part is spoofed."""

    detector_name: str
    detector_hash: str
    set_name: str
    part_s: float
    noticed_nats: float
    """Only recordings whose score the part raised by this much count: else there was nothing to point at."""
    num_tried: int
    chance: float
    """Share of the time that parts take: what a peak at random would hit."""
    scores: tuple[PointingScore, ...]

    @property
    def words(self) -> str:
        """What was done, in a sentence or two."""
        num = self.scores[0].num
        return (
            f"A spoofed part of about {self.part_s:g} s was put into bona fide recordings ({self.set_name}). The detector noticed "
            f"{num} of {self.num_tried} (score up by {self.noticed_nats:g} nat or more); in those, a peak at random would lie in "
            f"the part in {100 * self.chance:.0f} %."
        )


def pointing_file(detector_hash: str, folder: Path | None = None) -> Path:
    """Where a detector's game is kept: in the folder, or among one's own results."""
    return (folder or own_folder("pointing")) / f"{detector_hash[:16]}.json"


def load_pointing_game(detector_hash: str) -> PointingGame | None:
    """The stored game of a detector, one's own before the shipped one; None where it has none.

    Raises:
        CoreError: its file is damaged.
    """
    files = (pointing_file(detector_hash), pointing_file(detector_hash, SHIPPED_POINTING))
    path = next((path for path in files if path.is_file()), None)
    if path is None:
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return PointingGame(**(fields | {"scores": tuple(PointingScore(**score) for score in fields["scores"])}))
    except (ValueError, TypeError, KeyError) as error:
        raise CoreError(f"{path} is no pointing game ({error}); make it again with `python -m core pointing-game`.") from None

"""What a detector looks at in each recording of a labelled set, and in the mean of a group of them. Records; measures nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from core.errors import CoreError
from core.evaluation.resampling import Interval
from core.explanation.records import METHOD_NAMES, TARGET_NAMES, Method, Target

Frames = Literal["all", "speech", "pauses"]
FRAME_TITLES: dict[Frames, str] = {"all": "All of it", "speech": "Speech only", "pauses": "Pauses only"}
"""Which frames a profile is of."""
TimeAxis = Literal["relative", "onset"]
ZONES = ("before the onset", "speech", "pauses within", "after the end")
"""Parts of a recording: up to its first active frame, its active frames, the others up to the last active one, the rest."""
NUM_RELATIVE = 20
"""Equal parts of the stretch from the first active frame to the last."""
ONSET_STEP_S = 0.1
ONSET_EDGES_S = tuple(round(-0.2 + ONSET_STEP_S * i, 1) for i in range(28))
"""Ends of the steps counted from the onset, -0.2 to 2.5 s."""
Status = Literal["measured", "empty", "refused"]
"""`empty`: the method finds no evidence for the target; `refused`: the recording cannot be judged."""
TABLE_COLUMNS = ("utterance", "label", "attack", "family", "known_system", "speaker", "source", "status", "tested")
"""Of a set's table; what is not known is "". `tested` is `passes`, `fails` or "" where the map was not tested."""
BONA_FIDE, ALL_SPOOFS = "bona fide", "all spoofs"


class FingerprintError(CoreError):
    """Fingerprints that cannot be measured, read, compared or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapProfile:
    """One recording's map, summed up. Saliency is in multiples of the map's mean: 1 everywhere is a map without preference."""

    speech: np.ndarray
    """`[band]` mean over the active frames; NaN where there are none."""
    pauses: np.ndarray
    """`[band]` mean over all other frames; NaN where there are none."""
    zone_share: np.ndarray
    """`[zone]` share of the saliency in each of `ZONES`."""
    zone_time: np.ndarray
    """`[zone]` share of the frames."""
    relative: np.ndarray
    """`[NUM_RELATIVE]` mean over all bands, from the first active frame to the last."""
    onset: np.ndarray
    """`[step]` mean over all bands, by `ONSET_EDGES_S`; NaN where the recording does not reach."""


PROFILE_ARRAYS = tuple(MapProfile.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintSummary:
    """What stored fingerprints are of, without their numbers."""

    detector_name: str
    detector_hash: str
    set_name: str
    set_key: str
    """The trial set's, as the pages of evaluations have it."""
    method: Method
    layer: str | None
    target: Target
    row_label: str
    """Name and unit of the bands, e.g. `Frequency (Hz)`."""
    resolution: float | None
    """Height of the smallest spot that the method can mark, in the bands' unit; None where it marks single rows."""
    created: str
    """UTC, ISO 8601."""
    num_recordings: int
    """All trials of the set, also those without a map."""
    versions: dict[str, str]

    @property
    def title(self) -> str:
        """Method, layer and target in words."""
        layer = f" at layer {self.layer}" if self.layer else ""
        return f"{METHOD_NAMES[self.method]}{layer}, evidence for {TARGET_NAMES[self.target]}"

    @property
    def has_frequencies(self) -> bool:
        """Whether bands are in Hz."""
        return self.row_label.endswith("(Hz)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FingerprintSet:
    """The summed-up maps of all recordings of a set, by one detector, method and layer: groups and pairs are made of it.

    Two are equal when they are one object, so that what is made of one can be kept.
    """

    summary: FingerprintSummary
    band_edges: np.ndarray
    """`[band + 1]`, rising, in the unit of `summary.row_label`."""
    table: pd.DataFrame
    """A row per recording, `TABLE_COLUMNS`, all text."""
    arrays: dict[str, np.ndarray]
    """Each of `PROFILE_ARRAYS`, `[recording, ...]` float32; NaN for a recording without a map."""

    @property
    def has_map(self) -> np.ndarray:
        """`[recording]` whether there is a map with anything in it."""
        return (self.table["status"] == "measured").to_numpy()

    def profile(self, frames: Frames) -> np.ndarray:
        """`[recording, band]` saliency of all frames, of speech or of pauses, in multiples of each map's mean."""
        speech, pauses = self.arrays["speech"], self.arrays["pauses"]
        if frames != "all":
            return speech if frames == "speech" else pauses
        share = self.arrays["zone_time"][:, [ZONES.index("speech")]]
        return np.nan_to_num(speech) * share + np.nan_to_num(pauses) * (1 - share) + 0 * share


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Values with their 95 % intervals, `[point]` each; NaN where nothing is known."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSize:
    """How many recordings a fingerprint rests on."""

    num_recordings: int
    """With a map: the mean is over these."""
    num_empty: int
    num_refused: int
    num_units: int
    """Speakers, or recordings: what the intervals resample."""
    unit: Literal["speakers", "recordings"]
    num_known: int
    """Different speakers; a recording of an unknown one counts as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneShare:
    """Where in a recording the saliency lies."""

    zone: str
    share: Interval
    """Of the saliency."""
    of_time: float
    """Of the frames, to hold it against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The mean of a group's maps. It describes the detector on these recordings, not the attack."""

    key: str
    """The attack, the family, `bona fide` or `all spoofs`."""
    size: GroupSize
    bands: dict[Frames, Curve]
    """In multiples of an even spread."""
    zones: tuple[ZoneShare, ...]
    relative: Curve
    onset: Curve
    onset_reach: np.ndarray
    """`[step]` share of the recordings that reach a step; where fewer than half do, `onset` is NaN."""
    common_with_bona_fide: float
    """Share of the saliency over bands that bona fide speech's mean map has in the same bands; NaN without bona fide maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingBands:
    """Neighbouring bands in which one group's mean is above the other's, the whole interval of each on one side of 0."""

    low: float
    high: float
    """Ends, in the bands' unit."""
    first: float
    """The first group's mean there, in multiples of an even spread."""
    second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintComparison:
    """A first group's profile over bands less a second one's."""

    first: str
    second: str
    frames: Frames
    difference: Curve
    """With a simultaneous 95 % interval: that of groups that are alike holds 0 in all bands at once in 19 of 20 pairs."""
    differing: tuple[DifferingBands, ...]
    is_reliable: bool
    """Whether both groups hold enough speakers to stand for their kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedShare:
    """How many of a sample of maps passed their tests."""

    __test__ = False  # not for pytest

    num_tested: int
    num_passed: int
    low: float
    """Wilson's 95 % interval of the share."""
    high: float

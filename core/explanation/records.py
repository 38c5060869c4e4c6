"""Records of what a detector looked at: the map, its test, and scores without a part. Imports no torch; computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from core.errors import CoreError
from core.records import SegmentScore

if TYPE_CHECKING:
    from core.checkpoints import Detector

Method = Literal["occlusion", "grad_cam", "integrated_gradients"]
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT_METHOD = METHODS[0]
"""Occlusion takes longest, but needs no gradients, and pointed best at spliced parts (`data/results/pointing`)."""
Target = Literal["spoof_minus_bona_fide", "spoof", "bona_fide"]
TARGETS: tuple[Target, ...] = get_args(Target)

METHOD_NAMES: dict[Method, str] = {
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
}
"""What people call a method."""
TARGET_NAMES: dict[Target, str] = {
    "spoof_minus_bona_fide": "spoof against bona fide",
    "spoof": "spoof",
    "bona_fide": "bona fide",
}
"""What a map is evidence for, in words."""
PAGE_NAME = "index.html"
"""The page over explained files of an audit, written last."""
MAX_RANDOMISED_CORRELATION = 0.7
"""A map that is more like those of networks with random weights than this (half of its variance in rank) shows the recording."""


class ExplanationError(CoreError):
    """A map that cannot be made, tested, or written."""


def available_methods(detector: Detector) -> tuple[Method, ...]:
    """The methods that a detector allows: one made elsewhere has no layers and gradients."""
    return ("occlusion",) if detector.is_foreign else METHODS


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where in a recording the evidence for a target lies, by one method. Only evidence for it: nothing is negative."""

    saliency: np.ndarray
    """`[row, frame]` float32, 0 to 1, over the whole recording; all zero where the method finds no evidence for the target."""
    time_s: np.ndarray
    """`[frame]` centre of each frame."""
    rows: np.ndarray
    """`[row]` centre of each row, rising."""
    row_label: str
    """Name and unit of the rows, e.g. `Frequency (Hz)`; amplitude or a coefficient's number for some detectors."""
    method: Method
    layer: str | None
    """The convolutional layer of Grad-CAM; None for methods that need none."""
    target: Target
    detector_name: str
    detector_hash: str
    spoof_score: float
    """The recording's: nats, or the network's own scale where the detector is not calibrated."""
    segments: tuple[SegmentScore, ...]
    sample_rate_hz: int
    """Of the samples that were explained."""
    duration_s: float
    versions: dict[str, str]
    """Of the programs that made it."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no evidence for the target anywhere."""
        return not self.saliency.any()

    @property
    def has_frequencies(self) -> bool:
        """Whether rows are in Hz."""
        return self.row_label.endswith("(Hz)")

    @property
    def title(self) -> str:
        """Method, layer and target in words."""
        layer = f" at layer {self.layer}" if self.layer else ""
        return f"{METHOD_NAMES[self.method]}{layer}, evidence for {TARGET_NAMES[self.target]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaliencyTest:
    """Whether a map says something about the detector.

    Curves: cells are hidden in the map's order, the most salient first (deletion), or revealed in it (insertion), and the
    target's value is averaged over the share of cells. Evidence that matters makes deletion low and insertion high. Values
    are the network's, in its own units.
    """

    deletion_auc: float
    insertion_auc: float
    random_deletion_auc: float
    """Mean over maps of the same values, each moved to a random place."""
    random_insertion_auc: float
    energy_deletion_auc: float
    """The loudest cells first."""
    energy_insertion_auc: float
    beats_random: bool
    """Whether insertion minus deletion is larger than for every one of the moved maps."""
    num_random: int
    """How many moved maps there were: a map that knows nothing beats them all about once in `num_random + 1`."""
    randomised_correlation: float | None
    """Rank correlation with the map of the same network with random weights; None where there are no weights to randomise."""
    beats_random_weights: bool | None = None
    """Whether insertion minus deletion is larger than for each of those maps; None where there are none."""
    share_non_speech: float
    """Share of the saliency in frames that are pauses."""
    share_of_time_non_speech: float
    """Share of the time that is pauses, to compare it with."""
    share_below_300_hz: float | None
    """None where rows are no frequencies."""
    share_above_4_khz: float | None
    num_windows: int
    """Windows on which it was tested."""

    @property
    def area_over_random(self) -> float:
        """Insertion minus deletion, less the same of the moved maps; positive is better."""
        return (self.insertion_auc - self.deletion_auc) - (self.random_insertion_auc - self.random_deletion_auc)

    @property
    def area_over_energy(self) -> float:
        """Insertion minus deletion, less the same of "the loudest cells first"."""
        return (self.insertion_auc - self.deletion_auc) - (self.energy_insertion_auc - self.energy_deletion_auc)

    @property
    def depends_on_weights(self) -> bool:
        """Whether the map is another and a better one than with random weights; taken for granted where there are none to draw."""
        is_other = self.randomised_correlation is None or self.randomised_correlation <= MAX_RANDOMISED_CORRELATION
        return is_other and self.beats_random_weights is not False

    @property
    def passes(self) -> bool:
        """Whether the map may be shown as evidence."""
        return self.beats_random and self.depends_on_weights and self.area_over_energy > 0

    @property
    def words(self) -> str:
        """The badge in one sentence."""
        if not self.beats_random:
            return "This map does not beat random: hiding what it marks changes the score no more than hiding places at random."
        if not self.depends_on_weights:
            return (
                "The same network with random weights gives a map that is as good or the same: this one shows the recording alone."
            )
        if self.area_over_energy <= 0:
            return (
                "Hiding the loudest cells changes the score as much as hiding what this map marks: it says no more than loudness."
            )
        return f"Hiding what this map marks changes the score more than any of {self.num_random} maps moved at random."


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFrequencyBox:
    """A part of a recording, ends included."""

    start_s: float
    end_s: float
    low_hz: float
    high_hz: float

    def __post_init__(self) -> None:
        if not (0 <= self.start_s < self.end_s and 0 <= self.low_hz < self.high_hz):
            raise ExplanationError(
                f"the box is {self.start_s:g} to {self.end_s:g} s and {self.low_hz:g} to {self.high_hz:g} Hz; "
                "expected ends above starts, none of them negative"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualScore:
    """A recording's score as it is, and without a part of it."""

    score_before: float
    score_after: float | None
    """None where too little is left to judge."""

    @property
    def change(self) -> float | None:
        """After minus before; negative where the part spoke for spoof."""
        return None if self.score_after is None else self.score_after - self.score_before


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceAudio:
    """A recording's salient part and the rest, to listen to, with the score of each."""

    only: np.ndarray
    """`[time]` float32, at the recording's level."""
    without: np.ndarray
    score: float
    score_only: float | None
    """None where too little is left to judge."""
    score_without: float | None
    share_of_cells: float
    """Share of the map that counts as evidence."""

"""What a map's test, its sounds and its counterfactuals say, in words and rows of a table. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.explanation.records import (
    MAX_RANDOMISED_CORRELATION,
    METHOD_NAMES,
    CounterfactualScore,
    Explanation,
    SaliencyTest,
    TimeFrequencyBox,
)
from core.reports import percent


@dataclass(frozen=True, slots=True, kw_only=True)
class TestLine:
    """One line of what is known about a map."""

    __test__ = False  # not for pytest

    name: str
    value: str
    baseline: str
    """What to hold it against."""
    meaning: str


def badge_words(test: SaliencyTest) -> str:
    """The badge: a few words."""
    if not test.beats_random:
        return "Does not beat random: no evidence"
    if not test.depends_on_weights:
        return "As good with random weights: no evidence"
    return "Passes its tests" if test.passes else "No better than loudness: no evidence"


def test_lines(test: SaliencyTest) -> tuple[TestLine, ...]:
    """The figures behind the badge, each with what to hold it against."""
    lines = [
        TestLine(
            name="Score while the marked parts are hidden, strongest first (deletion)",
            value=f"{test.deletion_auc:+.3f}",
            baseline=f"moved maps {test.random_deletion_auc:+.3f}, loudest first {test.energy_deletion_auc:+.3f}",
            meaning="Mean of the network's answer over the curve. The lower, the more the marked parts carried.",
        ),
        TestLine(
            name="Score while only the marked parts are shown (insertion)",
            value=f"{test.insertion_auc:+.3f}",
            baseline=f"moved maps {test.random_insertion_auc:+.3f}, loudest first {test.energy_insertion_auc:+.3f}",
            meaning="The higher, the more the marked parts suffice.",
        ),
        TestLine(
            name="Area between, over moved maps",
            value=f"{test.area_over_random:+.3f}",
            baseline=f"must be above 0; larger than all of {test.num_random}: {_answer(test.beats_random)}",
            meaning="Insertion less deletion, less the same of maps that were moved to random places.",
        ),
        TestLine(
            name="Area between, over the loudest parts",
            value=f"{test.area_over_energy:+.3f}",
            baseline="must be above 0",
            meaning="At 0 or below, whoever marks the loudest parts finds as much as the map: it says no more than loudness.",
        ),
        TestLine(
            name="Likeness to the map of random weights",
            value="-" if test.randomised_correlation is None else f"{test.randomised_correlation:+.2f}",
            baseline=f"at most {MAX_RANDOMISED_CORRELATION:.2f}; better than those maps: {_answer(test.beats_random_weights)}",
            meaning="Rank correlation. A map that stays when the detector's weights are replaced shows the recording, not it."
            if test.randomised_correlation is not None
            else "This detector came without weights that could be randomised; the check was not made.",
        ),
        TestLine(
            name="Saliency on pauses",
            value=percent(test.share_non_speech, 0),
            baseline=f"{percent(test.share_of_time_non_speech, 0)} of the time is pauses",
            meaning="Much more than its share of time: the detector judges the silence, not the voice.",
        ),
    ]
    if test.share_below_300_hz is not None and test.share_above_4_khz is not None:
        lines += [
            TestLine(
                name="Saliency below 300 Hz",
                value=percent(test.share_below_300_hz, 0),
                baseline="a telephone passes nothing here",
                meaning="Mains hum, rumble and the recorder's filters live here.",
            ),
            TestLine(
                name="Saliency above 4 kHz",
                value=percent(test.share_above_4_khz, 0),
                baseline="a telephone passes nothing here",
                meaning="Gone after a narrow-band call or strong compression.",
            ),
        ]
    return tuple(lines)


def agreement_words(value: float) -> str:
    """How far two maps agree, in a sentence."""
    if value >= 0.7:
        said = "They mark much the same places."
    elif value >= 0.3:
        said = "They agree in part."
    else:
        said = "They disagree: neither alone is evidence of where the detector looked."
    return f"Agreement of the two maps (rank correlation): {value:+.2f}. {said}"


def change_words(before: float, after: float | None) -> str:
    """The score of a part against that of the whole, e.g. `Score -0.10: 2.31 below the whole recording's +2.21`."""
    if after is None:
        return "Too little sound is left to judge."
    change = after - before
    side = "above" if change > 0 else "below"
    return f"Score {after:+.2f}: {abs(change):.2f} {side} the whole recording's {before:+.2f}"


def box_words(box: TimeFrequencyBox, *, offset_s: float) -> str:
    """Where a box is, in the recording's time."""
    return f"{offset_s + box.start_s:.2f} to {offset_s + box.end_s:.2f} s, {box.low_hz:,.0f} to {box.high_hz:,.0f} Hz"


def counterfactual_words(score: CounterfactualScore, *, unit: str) -> str:
    """What taking the box out did, in a sentence."""
    if score.change is None:
        return "Without the box too little sound is left to judge."
    if abs(score.change) < 0.05:
        return f"Without the box the score stays at {score.score_after:+.2f}{unit}: it did not matter."
    spoke = "spoof" if score.change < 0 else "bona fide"
    moved = f"{score.score_before:+.2f} to {score.score_after:+.2f}{unit} ({score.change:+.2f})"
    return f"Without the box the score goes from {moved}: it spoke for {spoke}."


def empty_words(explanation: Explanation) -> str:
    """Why there is nothing to see on an empty map."""
    return (
        f"By {explanation.title}, there is nothing: the method finds no place that raises the score. "
        "Choose the other target, another layer or another method."
    )


def map_names(explanations: Sequence[Explanation]) -> list[str]:
    """Short names that tell maps side by side apart: by what differs, the detector or the method."""
    detectors = [explanation.detector_name for explanation in explanations]
    methods = [METHOD_NAMES[explanation.method] for explanation in explanations]
    names = methods if len(set(detectors)) == 1 else detectors
    return names if len(set(names)) == len(names) else [f"{i + 1}: {name}" for i, name in enumerate(names)]


def picture_words(explanation: Explanation) -> str:
    """How to read the picture."""
    words = (
        "Levels are dB below the loudest place. The map is in % of its peak: clear where it marks nothing, in full colour on "
        "its strongest hundredth."
    )
    if explanation.has_frequencies and explanation.rows[-1] < 7_900:
        words += f" This detector is shown nothing above {explanation.rows[-1] / 1_000:.1f} kHz, so nothing can be marked there."
    if not explanation.has_frequencies:
        words += " This detector is shown no frequencies: its map has a row of its own."
    return words + " Drag over the spectrogram to draw a box."


def _answer(said: bool | None) -> str:
    return "not tested" if said is None else "yes" if said else "no"

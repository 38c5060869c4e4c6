"""What fingerprints say, in plain words. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from core.evaluation.trial_sets import LABELS
from core.fingerprints.comparison import MIN_UNITS
from core.fingerprints.groups import passing_share
from core.fingerprints.records import (
    BONA_FIDE,
    DifferingBands,
    Fingerprint,
    FingerprintComparison,
    FingerprintSet,
    FingerprintSummary,
    TestedShare,
)

HOW_TO_READ = (
    "1 is an even spread: a map without preference. Every recording's map counts alike, however strong its evidence. A fingerprint "
    "describes **the detector** on these recordings, not the attack: another detector looks elsewhere. Where a group's line runs "
    "with the one of bona fide speech, it shows what the detector looks at in any recording, and not what gives the attack away. "
    "Methods disagree: hold one against another, and rely on what both show."
)
_NAMES = {"bona fide": "bona fide recordings", "spoof": "spoofs"}
_FEW = (
    f"One of them holds fewer than {MIN_UNITS} speakers: what is said of it is said of these recordings, and others by the same "
    "attack may look different."
)


def size_words(fingerprint: Fingerprint) -> str:
    """What a fingerprint rests on, e.g. `12 recordings, 9 speakers`."""
    size = fingerprint.size
    words = f"{size.num_recordings:,} recording{'' if size.num_recordings == 1 else 's'}"
    if size.num_known < size.num_recordings:
        words += f", {size.num_known:,} speaker{'' if size.num_known == 1 else 's'}"
    if size.num_empty:
        words += f", {size.num_empty:,} more without any evidence for the target"
    if size.num_refused:
        words += f", {size.num_refused:,} refused"
    return words


def difference_words(comparison: FingerprintComparison, summary: FingerprintSummary) -> tuple[str, ...]:
    """A sentence for each stretch of bands in which two groups differ, or one that says that there is none."""
    where = {"all": "It", "speech": "In speech, it", "pauses": "In pauses, it"}[comparison.frames]
    if not comparison.differing:
        return (
            f"No band stands out: {where[0].lower() + where[1:]} looks at much the same bands for {comparison.first} and for "
            f"{comparison.second}, as far as these recordings tell.",
        )
    sentences = []
    for bands in comparison.differing:
        more, less = (comparison.first, comparison.second) if bands.first > bands.second else (comparison.second, comparison.first)
        high, low = max(bands.first, bands.second), min(bands.first, bands.second)
        sentences.append(
            f"{where} looks more at {band_words(bands, summary)} for {more} than for {less}: {high:.1f} against {low:.1f} times "
            "an even spread."
        )
    return tuple(sentences)


def reliability_words(comparison: FingerprintComparison) -> str | None:
    """A warning where the groups are too small for what is said of them; None where they are not."""
    return None if comparison.is_reliable else _FEW


def band_words(bands: DifferingBands, summary: FingerprintSummary) -> str:
    """A stretch of bands, e.g. `5.1-6.3 kHz`."""
    if summary.has_frequencies:
        low = "0" if bands.low < 50 else f"{bands.low / 1_000:.1f}"
        return f"{low}-{bands.high / 1_000:.1f} kHz"
    name, _, unit = summary.row_label.partition(" ")
    return f"{name.lower()} {bands.low:.2f} to {bands.high:.2f} {unit}".strip()


def common_words(fingerprint: Fingerprint) -> str:
    """How much of a profile bona fide speech has too."""
    if fingerprint.key == BONA_FIDE or fingerprint.common_with_bona_fide != fingerprint.common_with_bona_fide:
        return ""
    share = fingerprint.common_with_bona_fide
    return (
        f"{100 * share:.0f} % of the mean saliency for {fingerprint.key} lies in bands where it lies for bona fide speech too; "
        f"at most {100 * (1 - share):.0f} % is the group's own."
    )


def words_of_tests(measured: FingerprintSet) -> str:
    """What is known of the single maps' tests."""
    parts = [_passing(passing_share(measured, label), label) for label in LABELS]
    if not any(parts):
        return (
            "None of the single maps was tested (the option --tested of the command does so): the means include maps that say "
            "nothing of the detector. Test a recording's map on the page **Saliency**."
        )
    passed = " and ".join(filter(None, parts))
    return f"The means hold all maps, also those that fail the tests of **Saliency**. Of maps drawn at random, {passed} passed."


def resolution_words(summary: FingerprintSummary) -> str:
    """How fine the method sees."""
    if summary.resolution is None:
        return "The method marks single rows."
    size = f"{summary.resolution:,.0f} Hz" if summary.has_frequencies else f"{summary.resolution:.2f}"
    return f"The method marks spots of about {size} and larger: narrower peaks are drawn that wide, and ends of bands are as vague."


def measured_words(summary: FingerprintSummary) -> str:
    """Of what, with what and when."""
    return (
        f"{summary.detector_name} {summary.detector_hash[:12]} on {summary.set_name} ({summary.num_recordings:,} recordings), "
        f"{summary.title}; measured {summary.created[:10]}."
    )


def report_lines(measured: FingerprintSet, fingerprints: Sequence[Fingerprint]) -> tuple[str, ...]:
    """The command's report: a line per group, with its size, speech's share and where it peaks."""
    summary = measured.summary
    lines = [f"{summary.detector_name} on {summary.set_name}: {summary.title}"]
    for fingerprint in fingerprints:
        speech = next(zone for zone in fingerprint.zones if zone.zone == "speech")
        on_speech = f"{100 * speech.share.value:.0f} % on speech, which is {100 * speech.of_time:.0f} % of the time"
        lines.append(f"  {fingerprint.key}: {size_words(fingerprint)}; {on_speech}")
    return tuple(lines)


def _passing(share: TestedShare | None, label: str) -> str:
    if share is None:
        return ""
    interval = f"{100 * share.low:.0f} to {100 * share.high:.0f} %"
    return f"{share.num_passed} of {share.num_tested} {_NAMES[label]} ({interval})"

"""Choosing what fingerprints to look at: set, detector and method, then two groups and the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.evaluation.records import Grouping
from core.evaluation.trial_attributes import GROUPING_TITLES
from core.fingerprints.comparison import compare_fingerprints
from core.fingerprints.files import list_fingerprints, load_fingerprints
from core.fingerprints.groups import fingerprints_of, groupings_of
from core.fingerprints.records import (
    ALL_SPOOFS,
    BONA_FIDE,
    FRAME_TITLES,
    Fingerprint,
    FingerprintComparison,
    FingerprintSet,
    FingerprintSummary,
)
from pages.components import resources
from pages.components.frame import escaped, plain

_TEACH = """**Nothing to look at yet.** Fingerprints are measured beforehand, on recordings whose attacks a protocol tells:

    python -m core fingerprints FOLDER --protocol PROTOCOL

It makes a map of every recording, goes on where it was stopped, and stores the result where this page finds it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two groups of a grouping, and all the others."""

    grouping: Grouping
    fingerprints: tuple[Fingerprint, ...]
    """Bona fide, all spoofs, and every group."""
    first: Fingerprint
    second: Fingerprint
    reference: Fingerprint | None
    """Bona fide; None where it is one of the two or has no maps."""
    comparison: FingerprintComparison


def choose_fingerprints() -> FingerprintSet | None:
    """Widgets for the set, the detector and the method; None where nothing is stored, with words on what to do.

    Raises:
        CoreError: the chosen ones cannot be read.
    """
    found, problems = list_fingerprints()
    for problem in problems:
        st.warning(escaped(problem), icon=":material/warning:")
    if not found:
        st.info(_TEACH, icon=":material/terminal:")
        return None
    row = st.columns(3)
    found = _narrowed(row[0], "Set", "set", found, lambda summary: (summary.set_key, summary.set_name))
    found = _narrowed(row[1], "Detector", "detector", found, lambda summary: (summary.detector_hash, summary.detector_name))
    found = _narrowed(row[2], "Method", "method", found, lambda summary: (summary.title, summary.title))
    manifest, summary = found[0]
    _tell_changed(summary)
    return load_fingerprints(manifest)


def choose_pair(measured: FingerprintSet) -> Pair | None:
    """Widgets for the grouping, two groups and the frames; None where there are no two groups.

    Raises:
        CoreError: a group has no map of these frames.
    """
    key = f"fingerprint-{measured.summary.set_key}"
    top = st.container(horizontal=True, vertical_alignment="bottom")
    groupings, kinds = groupings_of(measured), list(FRAME_TITLES)
    grouping = top.segmented_control(
        "Group spoofs by",
        groupings,
        format_func=GROUPING_TITLES.__getitem__,
        default=groupings[_linked("by", groupings)],
        required=True,
        key=f"{key}-grouping",
    )
    frames = top.segmented_control(
        "Frames",
        kinds,
        format_func=FRAME_TITLES.__getitem__,
        default=kinds[_linked("frames", kinds)],
        required=True,
        key="fingerprint-frames",
        help="Speech: 20 ms frames that are neither silent nor 35 dB below the loudest.",
    )
    st.query_params.update(by=grouping, frames=frames)
    fingerprints = fingerprints_of(measured, grouping)
    by_key = {fingerprint.key: fingerprint for fingerprint in fingerprints}
    if len(by_key) < 2:
        st.info("There is only one group with maps in it; nothing can be compared.", icon=":material/compare:")
        return None
    largest = _largest_first(fingerprints)
    left, right = st.columns(2)
    first = _choose_group(left, "What it looks at in", "first", largest, by_key, key=f"{key}-{grouping}")
    others = [name for name in largest if name != first]
    second = _choose_group(right, "against", "second", others, by_key, key=f"{key}-{grouping}")
    comparison = compare_fingerprints(measured, grouping, first, second, frames=frames)
    reference = None if BONA_FIDE in (first, second) else by_key.get(BONA_FIDE)
    return Pair(grouping, fingerprints, by_key[first], by_key[second], reference, comparison)


def _narrowed(place, label: str, name: str, found: Sequence, told) -> list:
    """Those stored fingerprints that fit a choice; told gives an identity and its title."""
    titles = {told(summary)[0]: told(summary)[1] for _, summary in found}
    start = _linked(name, list(titles))
    chosen = place.selectbox(label, list(titles), start, format_func=lambda key: plain(titles[key]), key=f"fingerprint-{name}")
    st.query_params[name] = chosen
    return [(manifest, summary) for manifest, summary in found if told(summary)[0] == chosen]


def _choose_group(place, label: str, name: str, groups: Sequence[str], by_key: dict[str, Fingerprint], *, key: str) -> str:
    def words(group: str) -> str:
        return f"{plain(group)} ({by_key[group].size.num_recordings:,} recordings)"

    chosen = place.selectbox(label, groups, _linked(name, groups), format_func=words, key=f"{key}-{name}")
    st.query_params[name] = chosen
    return chosen


def _linked(name: str, options: Sequence[str]) -> int:
    """Position of what the address names; the first where it names none of them."""
    linked = st.query_params.get(name)
    return options.index(linked) if linked in options else 0


def _largest_first(fingerprints: Sequence[Fingerprint]) -> list[str]:
    """Groups by their size, then all spoofs and bona fide, which are no attack."""
    ordered = sorted(fingerprints, key=lambda f: (f.key in (ALL_SPOOFS, BONA_FIDE), -f.size.num_recordings, f.key))
    return [fingerprint.key for fingerprint in ordered]


def _tell_changed(summary: FingerprintSummary) -> None:
    """A detector that has changed under its name looks elsewhere now."""
    now = {detector.name: detector.hash for detector in resources.detectors()}.get(summary.detector_name)
    if now is not None and now != summary.detector_hash:
        st.warning(
            f"{escaped(summary.detector_name)} is another one today ({now[:12]}): these were measured on "
            f"{summary.detector_hash[:12]}. Measure again to see what it looks at now.",
            icon=":material/history:",
        )

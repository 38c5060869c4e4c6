"""Choosing a set of trials and the systems that scored it; removing imported ones. The choice is in the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from core.checkpoints import detector_named
from core.errors import CoreError
from core.evaluation.notes import system_warnings
from core.evaluation.system_records import System, TrialSetSummary
from core.evaluation.systems import remove_system
from core.runs.figures import RUN_COLOURS
from pages.components import resources
from pages.components.frame import escaped, plain, telling_failures
from pages.components.sign_in import allows

_NUM_FIRST = 3
"""Systems that are looked at when none is named."""
_SET, _HELD, _WISH = "arena-set", "arena-held", "arena-wish"
_TEACH = """**Nothing to look at yet.** This page needs trials whose truth is known, and a system's scores of them:

- **Score files**: open *Add systems* below and drop what another system wrote (ASVspoof's forms, CSV or Parquet). Files of the
  form `utterance attack key score` bring their labels; for others add the protocol.
- **An audit**: run a **Batch audit** with a protocol, or review its recordings; then open *Add systems*, *An audit*."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a page is about."""

    summary: TrialSetSummary
    systems: tuple[System, ...]
    fingerprint: str
    """Changes with the store, the set, the systems and their scores: the key of what is computed from them."""
    told: frozenset[str]
    """What was said of the systems already."""


def choose_systems() -> Chosen | None:
    """Widgets for the set and some of its systems; None where nothing is chosen, with words on what to do."""
    left, right, end = st.columns([4, 6, 1.5], vertical_alignment="bottom")
    summary = _choose_set(left)
    if summary is None:
        return None
    offered = [system.name for system in summary.systems]
    key = f"arena-systems-{summary.key}"
    _seed(key, lambda: _named(summary) or _first_of(offered), is_valid=lambda names: set(names) <= set(offered))
    names = right.multiselect(
        "Systems", offered, format_func=plain, max_selections=len(RUN_COLOURS), key=key, placeholder="Choose systems", wrap=True
    )
    with end:
        _show_manage(summary)
    st.session_state[_HELD] = (summary.key, tuple(names))
    if not names:
        st.info("Choose one system or more. Score files of other systems are added below.", icon=":material/arrow_upward:")
        return None
    return _opened(summary, names)


def choose_pair() -> Chosen | None:
    """Widgets for the set and two of its systems, the first and the one it is held against."""
    left, middle, right, end = st.columns([4, 3, 3, 1.5], vertical_alignment="bottom")
    summary = _choose_set(left)
    if summary is None:
        return None
    _show_presets()
    offered = [system.name for system in summary.systems]
    if len(offered) < 2:
        st.info("This set has one system. Add scores of another one below, and compare the two here.", icon=":material/compare:")
        return None
    wanted = list(dict.fromkeys([*_named(summary), *offered]))
    keys = [f"arena-{which}-{summary.key}" for which in ("first", "second")]
    for key, name in zip(keys, wanted):
        _seed(key, lambda name=name: name, is_valid=lambda name: name in offered)
    first = middle.selectbox("First system", offered, format_func=plain, key=keys[0])
    second = right.selectbox("Second system", offered, format_func=plain, key=keys[1])
    with end:
        _show_manage(summary)
    if first == second:
        st.info("Choose two different systems.", icon=":material/arrow_upward:")
        return None
    return _opened(summary, (first, second))


def open_systems(key: str, names: Sequence[str]) -> None:
    """Runs the page again, with this set and these of its systems chosen."""
    st.session_state[_WISH] = (key, tuple(names))
    st.rerun()


def _show_presets() -> None:
    """Buttons for pairs of systems that differ in what they are shown of a recording, in whatever set there are some."""
    row = st.container(horizontal=True)
    for summary in resources.trial_sets():
        names = {system.name for system in summary.systems}
        for first in sorted(name for name in names if "waveform" in name):
            second = first.replace("waveform", "spectrogram")
            label = f"Waveform against spectrogram: {escaped(first)}"
            if second in names and row.button(
                label, icon=":material/compare:", key=f"preset-{summary.key}-{first}", type="tertiary"
            ):
                open_systems(summary.key, (first, second))


def _choose_set(place: st.delta_generator.DeltaGenerator) -> TrialSetSummary | None:
    listing = resources.trial_sets()
    if not listing:
        st.info(_TEACH, icon=":material/upload_file:")
        return None
    sets = {summary.key: summary for summary in listing}
    if wish := st.session_state.pop(_WISH, None):
        st.session_state[_HELD] = wish
        st.query_params.from_dict({})
        for state in [
            state
            for state in st.session_state
            if str(state).startswith(("arena-set", "arena-systems-", "arena-first-", "arena-second-"))
        ]:
            del st.session_state[state]
    linked = st.query_params.get("set")
    if linked is not None and linked not in sets:
        words = "The address names a set of trials that is not in this store. Import its score files again, or choose another set."
        st.warning(words, icon=":material/link_off:")
    held = st.session_state.get(_HELD, (None, ()))[0]
    measurable = [summary.key for summary in listing if summary.num_bona_fide and summary.num_spoof]
    first = next((key for key in (linked, held, *measurable) if key in sets), listing[0].key)
    _seed(_SET, lambda: first, is_valid=lambda key: key in sets)
    key = place.selectbox("Trials", list(sets), format_func=lambda key: _title(sets[key]), key=_SET)
    return sets[key]


def _named(summary: TrialSetSummary) -> list[str]:
    """The systems of the set that the address names, else those that were looked at last."""
    held = st.session_state.get(_HELD, (None, ()))
    offered = {system.name for system in summary.systems}
    linked = st.query_params.get_all("system") if st.query_params.get("set") in (None, summary.key) else []
    names = linked or (held[1] if held[0] == summary.key else ())
    return [name for name in dict.fromkeys(names) if name in offered][: len(RUN_COLOURS)]


def _first_of(offered: Sequence[str]) -> list[str]:
    """The detector in use, where it is among them, and the first of the others."""
    try:
        used = detector_named().name
    except CoreError:
        used = None
    return sorted(offered, key=lambda name: name != used)[:_NUM_FIRST]


def _seed(key: str, value: Callable[[], object], *, is_valid: Callable[[object], bool]) -> None:
    """Gives a widget its first value, and a new one where its value has gone from the store."""
    if key not in st.session_state or not is_valid(st.session_state[key]):
        st.session_state[key] = value()


def _opened(summary: TrialSetSummary, names: Sequence[str]) -> Chosen:
    st.query_params.from_dict({**_other_parameters(), "set": summary.key, "system": list(names)})
    systems, fingerprint = resources.systems(summary, tuple(names))
    told = [words for system in systems for words in system_warnings(system)]
    for words in told:
        st.caption(f":orange[:material/warning:] {escaped(words)}")
    return Chosen(summary, systems, fingerprint, frozenset(told))


def _other_parameters() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params if name not in ("set", "system")}


def _show_manage(summary: TrialSetSummary) -> None:
    """Where the systems come from, and the removal of imported ones."""
    with st.popover("Manage", icon=":material/settings:", width="stretch"):
        imported = [system.name for system in summary.systems if system.origin == "imported"]
        if not imported:
            st.caption("Only imported systems can be removed; these come from audits or with Earwitness.")
            return
        name = st.selectbox("Imported system", imported, format_func=plain, key=f"arena-remove-{summary.key}")
        st.caption("Its scores leave the store; the file that they came from stays where it is.")
        if allows("install") and st.button("Remove it", icon=":material/delete:", key="arena-remove"):
            with telling_failures():
                remove_system(resources.store(), summary.key, name)
                st.rerun()


def _title(summary: TrialSetSummary) -> str:
    return f"{plain(summary.name)}: {summary.num_bona_fide + summary.num_spoof:,} trials"

"""Shortcuts: a labelled set, what trivial features give away of it, and how a detector moves when they are changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from core.browse import SAMPLES_FOLDER, check_file
from core.checkpoints import Detector
from core.labelled_audits import audit_of_key
from core.labelled_folders import recordings_of, recordings_of_audit
from core.shortcut_figures import effects_frame, intervention_figure, probe_figure
from core.shortcuts.interventions import audit_detector
from core.shortcuts.probes import audit_labels
from core.shortcuts.records import InterventionEffect, ShortcutReport
from pages.components import resources
from pages.components.detector_picker import pick_detector
from pages.components.figure_view import show_figure
from pages.components.folder_picker import pick_folder
from pages.components.frame import escaped, plain, telling_failures
from pages.components.links import linked_id

_AUDIT, _FOLDER = "A labelled audit", "A folder with a protocol"
_REPORT, _EFFECTS = "shortcut-report", "shortcut-effects"


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Recordings with labels, and what says which ones they are."""

    name: str
    recordings: pd.DataFrame
    """`path`, `label`, and where known `attack`, `speaker`, `source`."""
    key: str


def show_shortcut_tab() -> None:
    """Choosing a set, then both audits of it."""
    st.markdown(
        "A detector trained on a set in which spoofs are shorter, louder or padded with silence learns that, and fails elsewhere. "
        "Each feature below is tried **alone**: what beats chance is a leak, to be mended before training."
    )
    with telling_failures():
        chosen = _choose_set()
        if chosen is None:
            return
        _show_labels(chosen)
        st.divider()
        _show_detector(chosen)


def _choose_set() -> LabelledSet | None:
    source = st.segmented_control(
        "Set", (_AUDIT, _FOLDER), default=_AUDIT, required=True, key="shortcut-source", label_visibility="collapsed"
    )
    return _choose_audit() if source == _AUDIT else _choose_folder()


def _choose_audit() -> LabelledSet | None:
    audits = {found[0]: summary for summary in resources.trial_sets() if (found := audit_of_key(summary.key)) and not found[1]}
    if not audits:
        st.info(
            "No audit has labels by a protocol yet. Run a **Batch audit** with one (the **Attack lab** writes a protocol beside "
            "what it makes), or take a folder with a protocol here.",
            icon=":material/label_off:",
        )
        return None
    numbers = list(audits)
    linked = linked_id("audit")
    start = numbers.index(linked) if linked in numbers else 0
    number = st.selectbox("Audit", numbers, start, format_func=lambda number: plain(audits[number].name), key="shortcut-audit")
    return _set_of(*recordings_of_audit(resources.store(), number))


def _choose_folder() -> LabelledSet | None:
    folder = pick_folder(default=SAMPLES_FOLDER)
    typed = st.text_input(
        "Protocol",
        key="shortcut-protocol",
        placeholder="protocol.txt in that folder",
        help="An ASVspoof protocol, or a CSV with the columns utterance and label; joined by file name.",
    )
    if folder is None:
        return None
    protocol = check_file(typed.strip() or str(folder / "protocol.txt"))
    return _set_of(*recordings_of(folder, protocol))


def _set_of(name: str, recordings: pd.DataFrame) -> LabelledSet:
    digest = hashlib.sha256(recordings.to_csv(index=False).encode("utf-8", "backslashreplace")).hexdigest()
    return LabelledSet(name, recordings, digest)


def _show_labels(chosen: LabelledSet) -> None:
    st.subheader("Do the labels leak?", anchor=False)
    if st.button("Probe the set", type="primary", icon=":material/troubleshoot:", key="shortcut-probe"):
        st.session_state[_REPORT] = None
        with _bar("Listening for shortcuts") as tell:
            report = audit_labels(chosen.recordings, set_name=chosen.name, seed=0, on_progress=tell)
        st.session_state[_REPORT] = (chosen.key, report)
    held: tuple[str, ShortcutReport] | None = st.session_state.get(_REPORT)
    if held is None or held[0] != chosen.key:
        st.caption("Reads every recording once: about a second for each hundred.")
        return
    _show_report(held[1])


def _show_report(report: ShortcutReport) -> None:
    (st.success if report.is_clean else st.error)(
        escaped(report.words), icon=":material/verified:" if report.is_clean else ":material/leak_add:"
    )
    show_figure(
        probe_figure(report),
        key="shortcut-probes",
        words=f"EER of each of {len(report.probes)} trivial features alone, beside chance",
        numbers=report.to_frame(),
    )
    for probe in (probe for probe in report.probes if probe.is_leak):
        st.markdown(f"- :orange[:material/leak_add:] {escaped(probe.finding)}")
    with st.expander("What each feature gave", icon=":material/notes:"):
        for probe in report.probes:
            st.markdown(f"- {escaped(probe.finding)}")
    st.caption(
        f"{report.num_bona_fide:,} bona fide, {report.num_spoof:,} spoofs; cross-validated over {report.num_groups:,} "
        f"{escaped(report.grouped_by)}s, so that nothing is tried on what it was fitted to."
    )
    if report.skipped:
        with st.expander(f"{len(report.skipped)} could not be read", icon=":material/warning:"):
            st.text("\n".join(map(plain, report.skipped[:100])))


def _show_detector(chosen: LabelledSet) -> None:
    st.subheader("Does a detector use them?", anchor=False)
    st.caption(
        "Each trivial feature is changed in every recording and nothing else: a detector that listens to the speech does not move."
    )
    detector = pick_detector(key="shortcut-detector")
    key = f"{chosen.key}-{detector.hash}"
    if st.button("Change each feature and listen again", icon=":material/tune:", key="shortcut-intervene"):
        st.session_state[_EFFECTS] = None
        with _bar("Changing recordings") as tell:
            effects = audit_detector(detector, chosen.recordings, seed=0, scorer=resources.scorer(detector), on_progress=tell)
        st.session_state[_EFFECTS] = (key, effects)
    held: tuple[str, tuple[InterventionEffect, ...]] | None = st.session_state.get(_EFFECTS)
    if held is not None and held[0] == key:
        _show_effects(held[1], detector)


def _show_effects(effects: tuple[InterventionEffect, ...], detector: Detector) -> None:
    if not any(effect.is_sensitive for effect in effects):
        st.success(f"{escaped(detector.name)} does not move with any of them.", icon=":material/verified:")
    show_figure(
        intervention_figure(effects, score_words=detector.manifest.score_words),
        key="shortcut-interventions",
        words=f"Mean shift of the score of {detector.name} when one trivial feature is changed",
        numbers=effects_frame(effects),
    )
    st.caption("Full: moves by more than chance and by at least a tenth of the scores' spread; empty: does not.")
    for effect in (effect for effect in effects if effect.is_sensitive):
        st.markdown(f"- :orange[:material/tune:] {escaped(effect.finding)}")


@contextmanager
def _bar(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that moves while the block runs."""
    bar = st.progress(0.0, text=f"{words} ...")
    yield lambda done, total: bar.progress(min(1.0, done / max(1, total)), text=f"{words}: {done:,} of {total:,}")
    bar.empty()

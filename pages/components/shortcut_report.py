"""What trivial features give away of a set, and how a detector moves when they are changed: live or as it was stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from core.checkpoints import Detector
from core.shortcuts.figures import by_class, intervention_figure, probe_figure
from core.shortcuts.records import InterventionEffect, ShortcutAudit, ShortcutReport, effects_frame
from pages.components import resources
from pages.components.detector_picker import pick_detector
from pages.components.figure_view import show_figure
from pages.components.frame import escaped, plain, telling_failures
from pages.components.shortcut_set import LabelledSet, choose_set
from pages.components.sign_in import allows

_REPORT, _EFFECTS = "shortcut-report", "shortcut-effects"


def show_shortcut_tab() -> None:
    """A stored audit, or a set and both audits of it."""
    st.markdown(
        "A detector trained on a set in which spoofs are shorter, louder or padded with silence learns that, and fails elsewhere. "
        "Each feature below is tried **alone**: what beats chance is a leak, to be mended before training."
    )
    chosen = choose_set()
    if isinstance(chosen, ShortcutAudit):
        _show_stored(chosen)
    elif chosen is not None:
        with telling_failures():
            _show_labels(chosen)
        st.divider()
        with telling_failures():
            _show_detector(chosen)


def _show_stored(audit: ShortcutAudit) -> None:
    st.header("Do the labels leak?", anchor=False)
    _show_report(audit.report)
    if audit.effects:
        st.divider()
        st.header("Does a detector use them?", anchor=False)
        _show_effects(audit.effects, audit.detector_name or "The detector", score_words="Spoof score")


def _show_labels(chosen: LabelledSet) -> None:
    st.header("Do the labels leak?", anchor=False)
    if allows("make") and st.button("Probe the set", type="primary", icon=":material/troubleshoot:", key="shortcut-probe"):
        from core.shortcuts.probes import audit_labels

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
    st.header("Does a detector use them?", anchor=False)
    st.caption(
        "Each trivial feature is changed in every recording and nothing else: a detector that listens to the speech does not move."
    )
    detector: Detector = pick_detector(key="shortcut-detector")
    key = f"{chosen.key}-{detector.hash}"
    if allows("make") and st.button("Change each feature and listen again", icon=":material/tune:", key="shortcut-intervene"):
        from core.shortcuts.interventions import audit_detector

        st.session_state[_EFFECTS] = None
        with _bar("Changing recordings") as tell:
            effects = audit_detector(detector, chosen.recordings, seed=0, scorer=resources.scorer(detector), on_progress=tell)
        st.session_state[_EFFECTS] = (key, effects)
    held: tuple[str, tuple[InterventionEffect, ...]] | None = st.session_state.get(_EFFECTS)
    if held is not None and held[0] == key:
        _show_effects(held[1], detector.name, score_words=detector.manifest.score_words)


def _show_effects(effects: tuple[InterventionEffect, ...], name: str, *, score_words: str) -> None:
    if not any(effect.is_sensitive for effect in effects):
        st.success(f"{escaped(name)} does not move with any of them.", icon=":material/verified:")
    show_figure(
        intervention_figure(effects, score_words=score_words),
        key="shortcut-interventions",
        words=f"Mean shift of the score of {name} when one trivial feature is changed",
        numbers=effects_frame(effects),
    )
    st.caption("Full: moves by more than chance and by at least a tenth of the scores' spread; empty: does not.")
    for effect in (effect for effect in by_class(effects) if effect.is_sensitive):
        st.markdown(f"- :orange[:material/tune:] {escaped(effect.finding)}")


@contextmanager
def _bar(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that moves while the block runs."""
    bar = st.progress(0.0, text=f"{words} ...")
    yield lambda done, total: bar.progress(min(1.0, done / max(1, total)), text=f"{words}: {done:,} of {total:,}")
    bar.empty()

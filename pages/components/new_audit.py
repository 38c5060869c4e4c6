"""Starting an audit: folder, detector and options, a look first, then start."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core.records import ScanSettings
from core.scanning.browse import SAMPLES_FOLDER, check_file
from core.scanning.plan import ScanPlan, dry_run
from core.scanning.scan import start_audit
from core.scanning.standby import STANDBY
from core.store.store import Store
from pages.components import resources
from pages.components.detector_picker import pick_detector
from pages.components.folder_picker import pick_folder
from pages.components.frame import escaped, telling_failures
from pages.components.sign_in import allows
from pages.components.telephone_advice import advise_on_plan


def show_new_audit(store: Store) -> None:
    """The form; on start the page is redrawn with the audit."""
    if not allows("audit"):
        return
    STANDBY.prepare()
    folder = pick_folder(default=SAMPLES_FOLDER)
    detector = pick_detector(key="detector")
    settings = _pick_settings()
    if detector.manifest.num_second_pass and st.session_state.get("new-thorough"):
        detector = detector.thorough
    row = st.container(horizontal=True)
    wants_look = row.button(
        "Look first", icon=":material/visibility:", disabled=folder is None, help="Lists and measures, scores nothing."
    )
    if row.button("Start the audit", type="primary", icon=":material/play_arrow:", disabled=folder is None):
        with telling_failures():
            audit_id = start_audit(store, str(folder), detector, _checked(settings))
            st.query_params.from_dict({"audit": str(audit_id)})
            st.rerun()
    if wants_look:
        with telling_failures(), st.spinner("Listing and probing ..."):
            plan = dry_run(str(folder), _checked(settings), scorer=resources.scorer(detector))
            _show_plan(plan)
            advise_on_plan(plan, detector)


def _pick_settings() -> ScanSettings:
    with st.expander("Options"):
        each = st.toggle(
            "Judge each channel by itself", key="new-each", help="A call has one speaker per side; the mixdown blurs them."
        )
        pattern = st.text_input(
            "Only paths that match", key="new-pattern", placeholder="e.g. 2026/*.wav", help="A glob on the path within the folder."
        )
        protocol = st.text_input(
            "Protocol with the truth",
            key="new-protocol",
            placeholder="optional",
            help="An ASVspoof protocol, or a table with the columns utterance and label; joined by file name. Of ASVspoof 2021 the "
            "subset eval is taken.",
        )
        all_files = st.checkbox("Try files without a known audio ending too", key="new-all")
        hidden = st.checkbox("Look into hidden files and folders", key="new-hidden")
        st.checkbox(
            "Thorough: all networks judge every window of long recordings",
            key="new-thorough",
            help="Of a detector with a fast network. Otherwise that one judges every window, and the others some of each "
            "recording. *Look first* says what it costs.",
        )
    return ScanSettings(
        channels="each" if each else "mix",
        pattern=pattern.strip(),
        all_files=all_files,
        include_hidden=hidden,
        protocol=protocol.strip() or None,
    )


def _checked(settings: ScanSettings) -> ScanSettings:
    """The settings with the protocol's real path.

    Raises:
        ScanError: the protocol is not there, or outside the allowed roots.
    """
    return replace(settings, protocol=str(check_file(settings.protocol))) if settings.protocol else settings


def _show_plan(plan: ScanPlan) -> None:
    if plan.num_files == 0:
        st.warning("No recordings there. Check the pattern, or let it try files without a known audio ending.")
        _show_left_out(plan)
        return
    files, hours, size, time = st.columns(4)
    files.metric("Files", f"{plan.num_files:,}")
    hours.metric("Audio", f"{plan.hours:,.2f} h", help=f"Extrapolated from {plan.num_probed} files.")
    size.metric("Size", f"{plan.total_bytes / 1e6:,.1f} MB")
    time.metric("Expected time", _duration_words(plan.expected_s), help="From scoring a few of the files on this machine.")
    if plan.other_ways:
        ways = "; ".join(f"{way}: {_duration_words(seconds)}" for way, seconds in plan.other_ways)
        st.caption(f"Other ways to judge these files: {ways}.")
    st.caption(
        "Formats: " + ", ".join(f"{codec} {num:,}" for codec, num in plan.formats) if plan.formats else "No format recognised."
    )
    if plan.num_unreadable:
        st.caption(
            f"{plan.num_unreadable} of {plan.num_probed} probed files cannot be read; the audit will list them with their reasons."
        )
    _show_left_out(plan)


def _show_left_out(plan: ScanPlan) -> None:
    if plan.ending_words:
        st.caption(f"{escaped(plan.ending_words)}. *Try files without a known audio ending too*, among the options, includes them.")


def _duration_words(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"

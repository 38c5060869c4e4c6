"""How far audits are: one audit with its controls, and the list of recent ones. Both refresh while something runs."""

from __future__ import annotations

import streamlit as st

from core.records import Audit, AuditStatus
from core.scanning.scan import resume_audit
from core.store.store import Store
from pages.components.frame import escaped, telling_failures
from pages.components.links import AUDIT_PAGE
from pages.components.sign_in import allows

REFRESH_S, FIRST_REFRESH_S = 1.0, 0.25
"""How often an audit that runs is looked at, and one whose first result is waited for."""
_LIVE = (AuditStatus.QUEUED, AuditStatus.RUNNING)
_RESUMABLE = (AuditStatus.PAUSED, AuditStatus.INTERRUPTED, AuditStatus.FAILED)
_ICONS = {
    AuditStatus.QUEUED: ":material/schedule:",
    AuditStatus.RUNNING: ":material/play_arrow:",
    AuditStatus.PAUSED: ":material/pause:",
    AuditStatus.INTERRUPTED: ":material/power_off:",
    AuditStatus.CANCELLED: ":material/cancel:",
    AuditStatus.FAILED: ":material/error:",
    AuditStatus.FINISHED: ":material/check:",
}


def show_recent_audits(store: Store, *, limit: int = 8) -> None:
    """The newest audits with a link to each, live while one of them runs."""
    is_live = any(audit.status in _LIVE for audit in store.recent_audits(limit))

    @st.fragment(run_every=REFRESH_S if is_live else None)
    def recent() -> None:
        with telling_failures():  # run alone, a fragment has no frame around it
            audits = store.recent_audits(limit)
            if not audits:
                st.info("No audits yet. **Batch audit** scores a whole folder; the samples in `data/samples` make a first one.")
            for audit in audits:
                _show_line(audit)
            if is_live and not any(audit.status in _LIVE for audit in audits):
                st.rerun()

    recent()


def show_progress(store: Store, audit_id: int) -> None:
    """One audit's counts, rate and controls, live while it runs; redraws the page when it ends."""
    before = store.audit(audit_id)
    is_live, has_results = before.status in _LIVE, before.num_done > 0

    @st.fragment(run_every=(REFRESH_S if has_results else FIRST_REFRESH_S) if is_live else None)
    def progress() -> None:
        with telling_failures():
            audit = store.audit(audit_id)
            _show_bar(audit)
            _show_counts(audit)
            _show_controls(store, audit)
            if is_live != (audit.status in _LIVE) or has_results != (audit.num_done > 0):
                st.rerun()

    progress()


def show_newer_button(audit: Audit) -> None:
    """While the audit runs: a button that redraws the page; the table does not move by itself."""
    if audit.status in _LIVE:
        st.button("Show what came in since", icon=":material/refresh:", help="The table stands still while rows are selected.")


def _show_line(audit: Audit) -> None:
    left, middle, right = st.columns([5, 4, 2], vertical_alignment="center")
    left.page_link(AUDIT_PAGE, label=f"Audit {audit.id}", icon=_ICONS[audit.status], query_params={"audit": str(audit.id)})
    left.text(audit.folder)
    middle.progress(min(1.0, audit.share_done), text=f"{audit.status}, {audit.num_done:,} of {audit.num_files:,}")
    right.caption(f"{audit.num_spoof:,} spoof  \n{audit.num_refused:,} refused")


def _show_bar(audit: Audit) -> None:
    text = f"{audit.status}: {audit.num_done:,} of {audit.num_files:,} files"
    if audit.status is AuditStatus.RUNNING and not audit.is_listed:
        text = "running: listing the folder"
    if audit.rate_per_s:
        text += f", {audit.rate_per_s:,.0f} per s"
    if audit.status in _LIVE and audit.seconds_left is not None:
        text += f", {_words(audit.seconds_left)} left"
    st.progress(min(1.0, audit.share_done), text=text)
    if audit.message:
        show = st.info if audit.status is AuditStatus.FINISHED else st.warning  # what was left out, or what went wrong
        show(escaped(audit.message))
    if audit.status is AuditStatus.INTERRUPTED:
        st.warning("The worker of this audit ended before it was done. Nothing is lost: resume it.")
    if audit.status is AuditStatus.QUEUED and audit.is_stale:
        st.warning("No worker has taken this audit yet. Resume it; the worker's log is in the cache folder (EARWITNESS_CACHE).")


def _show_counts(audit: Audit) -> None:
    counts = {"Spoof": audit.num_spoof, "Inconclusive": audit.num_inconclusive, "Bona fide": audit.num_bona_fide}
    reused = f"{audit.num_reused:,} files were known or duplicates, not scored again."
    with st.container(horizontal=True, gap="medium"):  # wraps where the window is narrow
        for name, count in (counts | {"Refused": audit.num_refused}).items():
            st.metric(name, f"{count:,}", width="content")
        st.metric("Audio", f"{audit.audio_s / 3_600:,.2f} h", help=reused, width="content")


def _show_controls(store: Store, audit: Audit) -> None:
    if audit.status in (AuditStatus.FINISHED, AuditStatus.CANCELLED) or not allows("audit"):
        return
    row = st.container(horizontal=True)
    if row.button("Pause", icon=":material/pause:", disabled=audit.status is not AuditStatus.RUNNING, key="pause"):
        store.request(audit.id, "pause")
    can_resume = audit.status in _RESUMABLE or (audit.status is AuditStatus.QUEUED and audit.is_stale)
    if row.button("Resume", icon=":material/play_arrow:", disabled=not can_resume, key="resume"):
        resume_audit(store, audit.id)
        st.rerun()
    if row.button("Cancel", icon=":material/close:", key="cancel", help="Keeps what is scored."):
        store.request(audit.id, "cancel")


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"

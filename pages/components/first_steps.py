"""The guided first run on Home while the store is empty: three steps, one click each, on the shipped samples."""

from __future__ import annotations

import streamlit as st

from core.checkpoints import detector_named
from core.records import ScanSettings
from core.scanning.browse import SAMPLES_FOLDER
from core.scanning.scan import start_audit
from core.scanning.standby import STANDBY
from core.store.store import Store
from pages.components.frame import telling_failures
from pages.components.links import AUDIT_PAGE
from pages.components.recording_input import show_sample
from pages.components.sign_in import allows

_SAMPLE = SAMPLES_FOLDER / "flite" / "flite_slt_invoice.flac"


def show_first_steps(store: Store) -> None:
    """Shows the steps until there is an audit."""
    if store.recent_audits(1):
        return
    st.markdown("**New here?** Three steps, on recordings that come with Earwitness; all of them are synthetic.")
    first, second, third = st.columns(3, border=True)
    with first:
        st.markdown("1\\. **One recording.** A verdict, how sure it is, and where it lies.")
        st.button("Judge a sample", icon=":material/hearing:", on_click=show_sample, args=(_SAMPLE,), key="first-sample")
    with second:
        st.markdown("2\\. **A folder.** 15 files sorted by risk, to hear, review and export.")
        if allows("audit"):
            STANDBY.prepare()
            if st.button("Audit the samples", icon=":material/folder:", key="first-audit"):
                with telling_failures():
                    audit_id = start_audit(store, str(SAMPLES_FOLDER), detector_named(), ScanSettings())
                    st.switch_page(AUDIT_PAGE, query_params={"audit": str(audit_id)})
    with third:
        st.markdown("3\\. **How far to trust it.** What it misses, measured on real speech.")
        st.page_link("pages/3_Attack_accuracy.py", label="See what it misses", icon=":material/target:")

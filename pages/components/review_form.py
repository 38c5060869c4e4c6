"""An analyst's own verdict and note, on the opened recording, the selected rows, or all that match the filter."""

from __future__ import annotations

import streamlit as st

from core.errors import CoreError
from core.records import TriageFilter, TriageRow, Verdict
from core.store.store import Store
from core.store.triage import add_reviews, matching_entries
from pages.components.frame import telling_failures
from pages.components.links import keep_entry_open
from pages.components.sign_in import allows, name_field

_CHOICES = [str(Verdict.SPOOF), str(Verdict.INCONCLUSIVE), str(Verdict.BONA_FIDE)]


def show_review_form(store: Store, audit_id: int, selected: tuple[TriageRow, ...], chosen: TriageFilter, num_matching: int) -> None:
    """The form; the name is remembered for the session."""
    if not allows("review"):
        return
    st.session_state.setdefault("reviewer-name", "")
    # Keys of these very files: what was ticked for others must not be sent for them.
    target = hash((audit_id, chosen, *(row.entry_id for row in selected)))
    with st.form(f"review-form-{target}", clear_on_submit=False):
        st.markdown(
            f"**Your verdict** on the {len(selected)} selected" if len(selected) != 1 else "**Your verdict** on this recording"
        )
        verdict = st.segmented_control("Verdict", _CHOICES, key=f"review-verdict-{target}", label_visibility="collapsed")
        left, right = st.columns([1, 3])
        name = name_field(left, "Your name", key="reviewer-field", value=st.session_state["reviewer-name"])
        note = right.text_input("Note", key=f"review-note-{target}", placeholder="why you think so (optional)")
        everything = st.checkbox(
            f"Apply to all {num_matching:,} files that match the filters, on every page", key=f"review-all-{target}"
        )
        submitted = st.form_submit_button("Save the review", icon=":material/edit_note:")
    if not submitted:
        return
    if verdict is None:
        st.warning("Choose spoof, inconclusive or bona fide first.")
        return
    with telling_failures():
        ids = matching_entries(store, audit_id, chosen) if everything else tuple(row.entry_id for row in selected)
        if everything and len(ids) != num_matching:
            raise CoreError(f"Nothing was saved: by now {len(ids):,} files match, not {num_matching:,}. Look again, then save.")
        num = add_reviews(store, ids, verdict=verdict, reviewer=name, note=note)
        st.session_state["reviewer-name"] = name
        keep_entry_open()
        st.session_state["num-reviews-saved"] = st.session_state.get("num-reviews-saved", 0) + 1
        st.session_state["review-saved"] = f"Saved: {num:,} recording(s) reviewed as {verdict} by {name}."
        st.rerun()

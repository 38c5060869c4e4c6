"""An analyst's own verdict and note, on the opened recording, the selected rows, or all that match the filter."""

from __future__ import annotations

import streamlit as st

from core.errors import CoreError
from core.records import TriageFilter, TriageRow, Verdict
from core.store.store import Store
from core.store.triage import add_reviews, matching_entries
from pages.components.frame import telling_failures
from pages.components.links import keep_entry_open, open_entry, turn_table
from pages.components.sign_in import allows, name_field

_KEYS = {Verdict.SPOOF: "S", Verdict.INCONCLUSIVE: "I", Verdict.BONA_FIDE: "B"}


def show_review_form(
    store: Store,
    audit_id: int,
    selected: tuple[TriageRow, ...],
    chosen: TriageFilter,
    num_matching: int,
    *,
    by_key: bool = False,
    then: int | None = None,
) -> None:
    """The form: a button per verdict saves. The name is remembered for the session.

    Args:
        store: with the audit.
        audit_id: which.
        selected: the files that the verdict is on.
        chosen: the filter.
        num_matching: how many files match it.
        by_key: whether the buttons have a key each.
        then: the file to open once it is saved; None: the present one stays open.
    """
    if not allows("review"):
        return
    st.session_state.setdefault("reviewer-name", "")
    # Keys of these very files: what was ticked for others must not be sent for them.
    target = hash((audit_id, chosen, *(row.entry_id for row in selected)))
    with st.form(f"review-form-{target}", clear_on_submit=False, enter_to_submit=False):
        st.markdown(
            f"**Your verdict** on the {len(selected)} selected" if len(selected) != 1 else "**Your verdict** on this recording"
        )
        name = name_field(st, "Your name", key="reviewer-field", value=st.session_state["reviewer-name"])
        note = st.text_input("Note", key=f"review-note-{target}", placeholder="why you think so (optional)")
        everything = st.checkbox(
            f"Apply to all {num_matching:,} files that match the filters, on every page", key=f"review-all-{target}"
        )
        with st.container(horizontal=True):
            pressed = [
                verdict
                for verdict, key in _KEYS.items()
                if st.form_submit_button(
                    str(verdict).capitalize(), shortcut=key if by_key else None, key=f"review-{verdict}-{target}"
                )
            ]
    if not pressed:
        return
    (verdict,) = pressed
    with telling_failures():
        ids = matching_entries(store, audit_id, chosen) if everything else tuple(row.entry_id for row in selected)
        if everything and len(ids) != num_matching:
            raise CoreError(f"Nothing was saved: by now {len(ids):,} files match, not {num_matching:,}. Look again, then save.")
        num = add_reviews(store, ids, verdict=verdict, reviewer=name, note=note)
        st.session_state["reviewer-name"] = name
        if then is None:
            keep_entry_open()
            turn_table()
        else:
            open_entry(then)
        st.session_state["review-saved"] = f"Saved: {num:,} recording(s) reviewed as {verdict} by {name}."
        st.rerun()

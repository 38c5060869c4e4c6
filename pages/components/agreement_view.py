"""How far analysts agree, and the files on which they do not."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.evaluation.agreement import CHOICES, Agreement, agreements, disagreements
from core.store.store import Store
from pages.components.frame import escaped, plain
from pages.components.links import AUDIT_PAGE

_MAX_LINKS = 50


def show_agreement(store: Store, audit_id: int) -> None:
    """A row per pair of analysts, their tables, and links to what they see differently."""
    pairs = agreements(store, audit_id)
    if not pairs:
        st.info(
            "No recording of this audit has reviews by two analysts yet. Reviews are given on **Batch audit**, each under its "
            "analyst's name; a later one of the same analyst replaces the earlier, and the history stays.",
            icon=":material/group:",
        )
        return
    table = [
        {
            "Analysts": plain(f"{pair.first} and {pair.second}"),
            "Recordings of both": pair.num_both,
            "The same verdict": pair.num_same,
            "Cohen's kappa": _kappa_words(pair),
        }
        for pair in pairs
    ]
    st.dataframe(pd.DataFrame(table), hide_index=True, key="agreement-table")
    st.caption("Kappa is agreement beyond chance: 1 is always, 0 as often as chance, with a 95 % interval over recordings.")
    for number, pair in enumerate(pairs[:5]):
        with st.expander(f"{escaped(pair.first)} (rows) against {escaped(pair.second)} (columns)"):
            st.dataframe(pd.DataFrame(pair.table, index=CHOICES, columns=CHOICES), key=f"agreement-{number}")
    _show_disagreements(store, audit_id)


def _show_disagreements(store: Store, audit_id: int) -> None:
    differing = disagreements(store, audit_id, limit=_MAX_LINKS)
    st.header("To be looked at again")
    if not differing:
        st.success("They agree on all of them.", icon=":material/check:")
    for one in differing:
        said = ", ".join(f"{reviewer}: {verdict}" for reviewer, verdict in one.said)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                AUDIT_PAGE,
                label=escaped(one.path),
                icon=":material/open_in_new:",
                query_params={"audit": str(audit_id), "entry": str(one.entry_id)},
            )
            st.text(plain(said))


def _kappa_words(pair: Agreement) -> str:
    if pair.kappa is None:
        return "not defined: both say the same of all"
    return f"{pair.kappa.value:.2f} ({pair.kappa.low:.2f} to {pair.kappa.high:.2f})"

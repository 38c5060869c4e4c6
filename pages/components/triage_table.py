"""The triage table: filters, one page of rows from the store, and which rows are selected."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pandas as pd
import streamlit as st

from core.figures import VERDICT_COLOURS
from core.records import Audit, TriageFilter, TriagePage, TriageRow, Verdict, is_unfamiliar
from core.store.store import Store
from core.store.triage import triage_page
from core.terms import WARNINGS
from pages.components import resources
from pages.components.frame import plain

_REVIEWS = {"Any": None, "Not yet reviewed": "unreviewed", "Reviewed": "reviewed", "Reviewed as spoof": "spoof"}
_REVIEWS |= {"Reviewed as inconclusive": "inconclusive", "Reviewed as bona fide": "bona fide"}
_FAMILIAR = {"Any": None, "Unfamiliar": True, "Not unfamiliar": False}
_SYMBOLS = {Verdict.SPOOF: "▲", Verdict.INCONCLUSIVE: "◆", Verdict.BONA_FIDE: "●", Verdict.REFUSED: "✕"}
_COLOURS = {f"{_SYMBOLS[verdict]} {verdict}": f"color: {colour}" for verdict, colour in VERDICT_COLOURS.items()}
_ORDERS = {"Highest score first": "risk", "Lowest score first": "safe", "Path": "path", "Longest first": "duration"}


def choose_filter(store: Store, audit: Audit, *, is_calibrated: bool = True) -> TriageFilter:
    """Widgets for what the table shows."""
    audit_id, (all_folders, all_codecs) = audit.id, resources.folders_and_codecs(store, audit)
    verdicts = st.pills("Verdict", [str(verdict) for verdict in Verdict], selection_mode="multi", key=f"verdicts-{audit_id}")
    second, third, fourth = st.columns([4, 2, 2])
    text = second.text_input("Path contains", key=f"text-{audit_id}", placeholder="part of a file or folder name")
    review = third.selectbox("Review", list(_REVIEWS), key=f"review-{audit_id}")
    order = fourth.selectbox("Order", list(_ORDERS), key=f"order-{audit_id}")
    with st.expander("More filters"):
        left, middle, right = st.columns(3)
        unit = " (nats)" if is_calibrated else ""
        folder = left.selectbox("Folder", all_folders, index=None, key=f"folder-{audit_id}", placeholder="All folders")
        formats = middle.multiselect("Format", all_codecs, key=f"formats-{audit_id}", placeholder="All formats")
        low = right.number_input(f"Score at least{unit}", value=None, key=f"low-{audit_id}", step=0.5)
        high = right.number_input(f"Score at most{unit}", value=None, key=f"high-{audit_id}", step=0.5)
        familiar = left.selectbox(
            "Like the training data", list(_FAMILIAR), key=f"familiar-{audit_id}", help=WARNINGS["unfamiliar"]
        )
    return TriageFilter(
        verdicts=tuple(verdicts),
        text=text,
        review=_REVIEWS[review],
        order=_ORDERS[order],
        folder=folder,
        codecs=tuple(formats),
        min_score=low,
        max_score=high,
        unfamiliar=_FAMILIAR[familiar],
    )


def show_table(
    store: Store, audit_id: int, chosen: TriageFilter, *, is_calibrated: bool = True
) -> tuple[tuple[TriageRow, ...], TriagePage]:
    """One page of the table.

    Returns:
        The selected rows; all rows of the page.
    """
    size_column, page_column, words = st.columns([1, 1, 4], vertical_alignment="bottom")
    size = size_column.selectbox("Rows per page", (50, 100, 500), key=f"size-{audit_id}")
    number = page_column.number_input("Page", min_value=1, value=1, step=1, key=f"page-{audit_id}-{size}-{hash(chosen)}")
    page, key, first_selected = _held_page(store, audit_id, chosen, offset=(number - 1) * size, limit=size)
    num_pages = max(1, -(-page.num_rows // size))
    words.caption(f"{page.num_rows:,} files match, page {number} of {num_pages:,}. Select rows to open or review them.")
    if not page.rows:
        st.info("This is past the last page." if page.num_rows else "No file matches. Loosen the filters.")
        return (), page
    score_help = "Calibrated log-likelihood ratio; higher is likelier spoof."
    if not is_calibrated:
        score_help = "As the network gives it, turned so that higher is likelier spoof; it has no scale."
    event = st.dataframe(
        _frame(page.rows, is_calibrated),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=key,
        selection_default={"selection": {"rows": first_selected}},
        column_config={
            _score_title(is_calibrated): st.column_config.NumberColumn(format="%+.2f", help=score_help),
            "Probability": st.column_config.ProgressColumn(
                min_value=0, max_value=100, format="%.0f %%", help="Of spoof, at equal prior; shown within 1 to 99 %."
            ),
            "Length (s)": st.column_config.NumberColumn(format="%.1f"),
            "Path": st.column_config.TextColumn(width="medium"),
        },
        alt="Files of the audit with their verdicts and scores",
    )
    return tuple(page.rows[i] for i in event.selection.rows if i < len(page.rows)), page


def _held_page(store: Store, audit_id: int, chosen: TriageFilter, *, offset: int, limit: int) -> tuple[TriagePage, str, list[int]]:
    """The rows, the key of their table, and which are selected to begin with. They stand still while some are selected.

    A selection is a list of positions: were the rows read anew while an audit runs, it would point at other files.
    The key names the very rows, so that a click on rows that are no longer there selects nothing. Another page, another
    filter and a saved review begin with nothing selected.
    """
    wanted = (audit_id, chosen, offset, limit, st.session_state.get("triage-turn", 0))
    held = st.session_state.get("triage-held")
    if held and held[0] == wanted and st.session_state.get(held[2], {}).get("selection", {}).get("rows"):
        return held[1:]
    page = triage_page(store, audit_id, chosen, offset=offset, limit=limit)
    shown = repr((wanted, [row.entry_id for row in page.rows]))
    key = "table-" + hashlib.sha256(shown.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    to_open = st.session_state.pop("triage-open", None)
    opened = [i for i, row in enumerate(page.rows) if row.entry_id == to_open]
    st.session_state["triage-held"] = (wanted, page, key, opened)
    return page, key, opened


def _remarks(row: TriageRow) -> Iterator[str]:
    if is_unfamiliar(row.training_distance):
        yield "unfamiliar"
    if row.duplicate_of:
        yield "same bytes as another file"


def _score_title(is_calibrated: bool) -> str:
    return "Score (nats)" if is_calibrated else "Score"


def _frame(rows: tuple[TriageRow, ...], is_calibrated: bool) -> pd.io.formats.style.Styler:
    table = [
        {
            "Verdict": f"{_SYMBOLS[row.verdict]} {row.verdict}" if row.verdict else "pending",
            _score_title(is_calibrated): row.spoof_score,
            "Probability": None if row.probability is None else min(99.0, max(1.0, 100 * row.probability)),
            "Path": plain(row.path),
            "Length (s)": row.duration_s,
            "Format": row.codec,
            "Review": f"{row.review.verdict} ({row.review.reviewer})" if row.review else "",
            "Truth": (row.attack or row.label) if row.label else None,
            "Remarks": row.reason or ", ".join(_remarks(row)),
        }
        for row in rows
    ]
    frame = pd.DataFrame(table)
    frame = frame if frame["Truth"].notna().any() else frame.drop(columns="Truth")
    return frame.style.map(lambda verdict: _COLOURS.get(verdict, ""), subset=["Verdict"])

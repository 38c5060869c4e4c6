"""The table of groups by systems: metric, grouping and order; as table, heat map or intervals; which cell was clicked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from core.evaluation.attack_info import reference_columns
from core.evaluation.figures import cell_colours, cell_words, group_heat_figure, group_interval_figure, with_published
from core.evaluation.records import HIGHER_IS_BETTER, METRIC_TITLES, Grouping, GroupRow, GroupTable
from core.evaluation.system_records import System
from core.evaluation.trial_attributes import GROUPING_TITLES, available_groupings
from core.terms import explained
from pages.components import resources
from pages.components.figure_view import show_figure
from pages.components.frame import escaped, plain
from pages.components.system_picker import Chosen

_VIEWS = ("Table", "Heat map", "Intervals")
_LISTED, _BY_NAME = "As listed", "By name"


@dataclass(frozen=True, slots=True)
class ClickedCell:
    """A row and a system whose scores are at hand."""

    grouping: Grouping
    row: GroupRow
    system: System


def show_groups(chosen: Chosen, thresholds: Mapping[str, float]) -> ClickedCell | None:
    """The table with its controls; the cell that was clicked, if any."""
    trial_set = chosen.systems[0].trial_set
    metric = st.segmented_control(
        "Metric",
        list(METRIC_TITLES),
        default="accuracy",
        required=True,
        format_func=METRIC_TITLES.get,
        key="metric",
        help=explained("EER", "Miss", "AUC", "95 % interval"),
        persist_state="session",
        wrap=True,
    )
    groupings = available_groupings(trial_set)
    middle, right = st.columns(2)
    grouping = middle.selectbox("Rows", groupings, format_func=GROUPING_TITLES.get, key=f"grouping-{len(groupings)}")
    names = [system.name for system in chosen.systems]
    order = right.selectbox("Order", [_LISTED, _BY_NAME, *names], format_func=_order_words, key=f"order-{chosen.fingerprint}")
    needs_threshold = metric in ("accuracy", "miss_rate")
    table = resources.group_table(
        chosen.fingerprint, chosen.systems, metric=metric, grouping=grouping, thresholds=thresholds if needs_threshold else None
    )
    references = [column for column in reference_columns(trial_set) if column.metric == metric] if grouping == "attack" else []
    if references and st.toggle("Show published figures beside them", value=True, key="published", persist_state="session"):
        table = with_published(table, references)
        st.caption("  \n".join(f"{escaped(column.name)}: {escaped(column.source)}." for column in references))
    if order != _LISTED:
        table = table.sorted_by(None if order == _BY_NAME else order, descending=not HIGHER_IS_BETTER[metric] and order != _BY_NAME)
    for warning in (words for words in table.warnings if words not in chosen.told):
        st.caption(f":orange[:material/warning:] {escaped(warning)}")
    return _show_view(chosen, table)


def _order_words(order: str) -> str:
    return order if order in (_LISTED, _BY_NAME) else f"Worst of {plain(order)} first"


def _show_view(chosen: Chosen, table: GroupTable) -> ClickedCell | None:
    view = st.segmented_control(
        "View", _VIEWS, default=_VIEWS[0], required=True, key="group-view", label_visibility="collapsed", persist_state="session"
    )
    clicked = None
    words = f"{METRIC_TITLES[table.metric]} by {GROUPING_TITLES[table.grouping].lower()} of {', '.join(table.systems)}"
    if view == "Table":
        clicked = _show_table(chosen, table)
        st.caption(
            "Each cell: figure, (95 % interval), n trials. Blue is good, orange bad. Click a cell to list its errors, "
            "a heading to sort. Download the numbers at the table's upper right."
        )
    elif view == "Heat map":
        show_figure(group_heat_figure(table), key="groups-heat-map", words=words, numbers=table.to_frame())
    else:
        show_figure(group_interval_figure(table), key="groups-intervals", words=words, numbers=table.to_frame())
    st.caption(f"{escaped(table.interval_method)}")
    return clicked


def _show_table(chosen: Chosen, table: GroupTable) -> ClickedCell | None:
    shown = repr((chosen.fingerprint, table.metric, table.grouping, [row.key for row in table.rows], table.systems))
    heading = GROUPING_TITLES[table.grouping]
    heading = heading if heading not in table.systems else f"{heading} (row)"
    systems = {system.name: system for system in chosen.systems}
    event = st.dataframe(
        _styled(table, heading),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-cell",
        key="groups-" + hashlib.sha256(shown.encode("utf-8", "backslashreplace")).hexdigest()[:16],
        height="content" if len(table.rows) <= 25 else 700,
        placeholder="–",
        column_config={
            heading: st.column_config.TextColumn(pinned=True, width=150),
            **{
                name: st.column_config.NumberColumn(width=230 if name in systems else 150, help=plain(name))
                for name in table.systems
            },
        },
        alt=f"{METRIC_TITLES[table.metric]} of each system in each group",
    )
    for position, name in event.selection.cells:
        if name in systems and position < len(table.rows):
            return ClickedCell(table.grouping, table.rows[position], systems[name])
    return None


def _styled(table: GroupTable, heading: str) -> pd.io.formats.style.Styler:
    """Numbers to sort by, shown as words on the colour of their value."""
    columns = {heading: [f"{plain(row.title)}" for row in table.rows]}
    columns |= {name: [cells[j].value for cells in table.cells] for j, name in enumerate(table.systems)}
    styler = pd.DataFrame(columns).astype(dict.fromkeys(table.systems, "float64")).style
    colours = pd.DataFrame("", index=styler.index, columns=styler.columns)
    for i, cells in enumerate(table.cells):
        for name, cell in zip(table.systems, cells, strict=True):
            words = cell_words(table.metric, cell)
            styler.format(lambda _, words=words: words, subset=pd.IndexSlice[[i], [name]])
            if pair := cell_colours(table.metric, cell):
                colours.loc[i, name] = f"background-color: {pair[0]}; color: {pair[1]}"
    return styler.apply(lambda _: colours, axis=None)

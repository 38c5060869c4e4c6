"""Error rates under every condition, per attack: shipped results and own runs, as heat map, intervals, verdicts or table."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
import streamlit as st

from core.figure_style import colours_of
from core.store.exports import csv_of_frame
from core.stress.conditions import CLEAN, FAMILY_TITLES, Condition
from core.stress.records import POOLED, StressTable
from core.stress.stress_figures import (
    attack_title,
    share_figure,
    stress_heat_figure,
    stress_interval_figure,
    stress_share,
    stress_words,
)
from core.stress.table_files import own_stress_folder
from pages.components import resources
from pages.components.figure_view import show_figure
from pages.components.frame import escaped, plain

_VIEWS = ("Heat map", "Intervals", "Table", "Verdicts that stay")
_SHOWN = {"eer": "Equal error rate", "change": "Difference to clean"}
_LABELS_PX, _COLUMN_PX = 190, 92
_COMMANDS = """python -m core stress FOLDER --protocol PROTOCOL.txt --out {folder}/NAME.json --cache NAME.scores
python -m core stress --audit 7 --out {folder}/NAME.json --cache NAME.scores"""


def show_heat_tab() -> None:
    """Choosing a table, and its views."""
    tables = resources.stress_tables()
    for problem in tables.problems:
        st.warning(escaped(problem), icon=":material/broken_image:")
    if not tables.found:
        st.info(
            "No stress test has been run yet. It takes a folder of recordings and a protocol that says which are spoofs; "
            "the command below writes its result to where this page finds it.",
            icon=":material/terminal:",
        )
        _show_commands(expanded=True)
        return
    named = {str(path): table for path, table in tables.found}
    linked = st.query_params.get("table")
    names = {path.rsplit("/", 1)[-1].removesuffix(".json"): path for path in named}
    start = list(named).index(names[linked]) if linked in names else 0
    path = st.selectbox("Result", list(named), start, format_func=lambda path: _title(named[path]), key="stress-table")
    st.query_params["table"] = path.rsplit("/", 1)[-1].removesuffix(".json")
    _show_table(named[path])
    _show_commands(expanded=False)


@contextmanager
def scrolled(*, key: str, min_width_px: int) -> Iterator[None]:
    """What is drawn within is at least so wide; in a narrower window it is moved sideways instead of squeezed."""
    st.html(
        f"<style>.st-key-{key} {{overflow-x: auto}} .st-key-{key} [data-testid=stPlotlyChart], "
        f".st-key-{key} [data-testid=stElementContainer]:has(.js-plotly-plot) {{min-width: {min_width_px}px}}</style>"
    )
    with st.container(key=key):
        yield


def _show_table(table: StressTable) -> None:
    has_labels = len(table.attacks) > 0
    views = _VIEWS if has_labels else _VIEWS[-1:]
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    view = left.segmented_control("View", views, default=views[0], required=True, key=f"stress-view-{has_labels}")
    families = right.multiselect(
        "Families of conditions",
        list(dict.fromkeys(condition.family for condition in table.conditions if condition.name != CLEAN.name)),
        format_func=FAMILY_TITLES.__getitem__,
        key="stress-families",
        placeholder="all of them",
    )
    conditions = [c for c in table.conditions if c.name == CLEAN.name or not families or c.family in families]
    if view == "Heat map":
        _show_heat_map(table, conditions)
    elif view == "Intervals":
        _show_intervals(table, conditions)
    elif view == "Table":
        _show_numbers(table, conditions)
    else:
        _show_shares(table, [condition for condition in conditions if condition.name != CLEAN.name])
    st.caption(
        f"{escaped(table.detector_name)} `{table.detector_hash[:12]}` on {escaped(table.set_name)}: {table.num_recordings:,} "
        f"recordings, {table.created[:10]}. 95 % intervals from {table.num_resamples:,} resamples of {escaped(table.resampled)}; "
        "differences are of the same recordings, changed and as they are."
    )
    for note in table.notes:
        st.caption(f":material/info: {escaped(note)}")


def _show_heat_map(table: StressTable, conditions: Sequence[Condition]) -> None:
    shown = st.segmented_control(
        "Colours show", list(_SHOWN), default="eer", required=True, format_func=_SHOWN.__getitem__, key="stress-shown"
    )
    attacks = _choose_attacks(table)
    with scrolled(key="stress-wide", min_width_px=_LABELS_PX + _COLUMN_PX * len(attacks)):
        show_figure(
            stress_heat_figure(table, shown=shown, conditions=conditions, attacks=attacks),
            key="stress-heat-map",
            words=f"{_SHOWN[shown]} of {table.detector_name} for each condition and attack",
            numbers=table.to_frame(),
        )
    st.caption(
        "Equal error rate in per cent, and the difference to the recordings as they are in points; ▲ more errors, ▼ fewer, where "
        "the 95 % interval of the difference leaves 0 out. Blue is good, orange bad; point at a cell for its intervals."
    )


def _show_intervals(table: StressTable, conditions: Sequence[Condition]) -> None:
    attack = st.selectbox("Attack", table.attacks, format_func=lambda name: plain(attack_title(name)), key="stress-attack")
    changed = [condition for condition in conditions if condition.name != CLEAN.name]
    show_figure(
        stress_interval_figure(table, attack, conditions=changed),
        key="stress-intervals",
        words=f"EER of {attack_title(attack)} under each condition with its interval",
        numbers=table.to_frame(),
    )


def _show_numbers(table: StressTable, conditions: Sequence[Condition]) -> None:
    attacks = _choose_attacks(table)
    shown = st.segmented_control(
        "Figures", list(_SHOWN), default="eer", required=True, format_func=_SHOWN.__getitem__, key="stress-figures"
    )
    titles = [plain(attack_title(attack)) for attack in attacks]
    frame = pd.DataFrame({"Condition": [condition.title for condition in conditions]})
    colours = pd.DataFrame("", index=frame.index, columns=["Condition", *titles])
    for title, attack in zip(titles, attacks, strict=True):
        cells = [table.cells[condition.name].get(attack) for condition in conditions]
        frame[title] = ["–" if cell is None else stress_words(cell, shown) for cell in cells]
        for i, cell in enumerate(cells):
            share = None if cell is None else stress_share(cell, shown)
            if share is not None:
                colours.loc[i, title] = "background-color: {}; color: {}".format(*colours_of(share))
    st.dataframe(
        frame.style.apply(lambda _: colours, axis=None),
        hide_index=True,
        key=f"stress-numbers-{shown}",
        height="content",
        column_config={"Condition": st.column_config.TextColumn(pinned=True, width=170)},
        alt=f"{_SHOWN[shown]} for each condition and attack with intervals",
    )
    st.download_button(
        "CSV",
        csv_of_frame(table.to_frame()),
        file_name="stress.csv",
        mime="text/csv",
        key="csv-stress-table",
        type="tertiary",
        icon=":material/download:",
        on_click="ignore",
    )


def _show_shares(table: StressTable, conditions: Sequence[Condition]) -> None:
    labels = list(dict.fromkeys(share.label for share in table.shares))
    if not labels:
        st.info("No verdicts were kept with this result; the detector has no thresholds.", icon=":material/info:")
        return
    label = st.segmented_control("Of the recordings", labels, default=labels[0], required=True, key="stress-label")
    shares = [share for share in table.shares if share.label == label]
    show_figure(
        share_figure(shares, conditions),
        key="stress-shares",
        words=f"Share of verdicts that stay under each condition, of {label}",
        numbers=pd.DataFrame({name: getattr(share, name) for name in _SHARE_COLUMNS} for share in shares),
    )


_SHARE_COLUMNS = (
    "condition",
    "label",
    "num",
    "num_same",
    "num_opposite",
    "num_inconclusive",
    "num_refused",
    "share",
    "low",
    "high",
)


def _choose_attacks(table: StressTable) -> list[str]:
    """All columns, unless some are chosen; the one of all spoofs stays."""
    others = [attack for attack in table.attacks if attack != POOLED]
    chosen = st.multiselect("Attacks", others, format_func=plain, key=f"stress-attacks-{len(others)}", placeholder="all of them")
    return [attack for attack in table.attacks if attack == POOLED or not chosen or attack in chosen]


def _show_commands(*, expanded: bool) -> None:
    with st.expander("Stress recordings of your own", icon=":material/terminal:", expanded=expanded):
        st.caption(
            "Of a folder with a protocol, or of an audit; without labels, verdicts alone are compared. Results in that folder "
            "appear here. A command that was stopped takes up where it was, by its file of scores."
        )
        st.code(_COMMANDS.format(folder=shlex.quote(str(own_stress_folder()))), language="bash")


def _title(table: StressTable) -> str:
    return plain(f"{table.detector_name} on {table.set_name}, by {table.grouping} ({table.created[:10]})")

"""Configurations of runs side by side: recipe, seed, data, code and environment, what differs first."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.runs.folders import Run, compare_runs
from pages.components.frame import plain

_DIFFERENT = "background-color: rgba(213, 94, 0, 0.14)"


def show_configs(runs: tuple[Run, ...]) -> None:
    """A row per field and a column per run; rows in which the runs disagree come first, marked and tinted."""
    rows = compare_runs(runs)
    only_differing = len(runs) > 1 and st.toggle("Only what differs", key="only-differing")
    shown = [row for row in rows if row.differs or not only_differing]
    num_differing = sum(row.differs for row in rows)
    if len(runs) > 1:
        st.caption(f"{num_differing} of {len(rows)} fields differ; they stand first, marked ≠.")
    if not shown:
        st.info("Nothing differs.")
        return
    table = pd.DataFrame(
        [
            {"": "≠" if row.differs else "", "Field": row.name}
            | {plain(run.name): plain(value) for run, value in zip(runs, row.values, strict=True)}
            for row in shown
        ]
    )
    marked = table.style.apply(lambda row: [_DIFFERENT if row[""] else ""] * len(row), axis=1)
    st.dataframe(
        marked,
        hide_index=True,
        height=min(800, 38 + 35 * len(shown)),
        column_config={"": st.column_config.TextColumn(width=30), "Field": st.column_config.TextColumn(width="medium")},
        alt="Fields of the runs' configurations",
    )

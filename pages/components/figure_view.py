"""A figure as every page of evaluations shows it: hover, its picture as PNG or SVG, its numbers as CSV."""

from __future__ import annotations

from functools import partial

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.store.exports import csv_of_frame

_FORMATS = ("PNG", "SVG")


def choose_picture_format() -> None:
    """A switch in the sidebar: what the camera above a figure downloads. Call it before the first figure."""
    with st.sidebar:
        st.segmented_control(
            "Download figures as",
            _FORMATS,
            default=_FORMATS[0],
            required=True,
            key="picture-format",
            persist_state="session",
            help="Point at a figure and press the camera at its upper right. The button below a figure has its numbers.",
        )


def show_figure(figure: go.Figure, *, key: str, words: str, numbers: pd.DataFrame, title: str | None = None) -> None:
    """A figure and its downloads.

    Args:
        key: of the widgets, and the name of the files.
        words: what it shows, for those who cannot see it.
        numbers: what is drawn, for the CSV.
        title: a heading above it.
    """
    if title:
        st.markdown(f"**{title}**")
    kind = str(st.session_state.get("picture-format") or _FORMATS[0]).lower()
    picture = {"format": kind, "filename": key, "scale": 2 if kind == "png" else 1}
    st.plotly_chart(figure, key=f"figure-{key}", config={"toImageButtonOptions": picture}, alt=words)
    st.download_button(
        "CSV",
        partial(csv_of_frame, numbers),
        file_name=f"{key}.csv",
        mime="text/csv",
        key=f"csv-{key}",
        type="tertiary",
        icon=":material/download:",
        on_click="ignore",
        help=f"The numbers of this figure: {words}.",
    )

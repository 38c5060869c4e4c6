"""The maps of the Saliency page side by side: their agreement, pictures, sounds, bands and tests."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.explanation.band_importance import compared_bands
from core.explanation.excerpts import Excerpt
from core.explanation.map_tests import agreement as core_agreement
from core.explanation.pointing_records import load_pointing_game
from core.explanation.saliency_figures import band_figure
from core.explanation.saliency_words import agreement_words, map_names
from core.preview import wav_bytes
from pages.components.frame import escaped, telling_failures
from pages.components.saliency_choices import Choices
from pages.components.saliency_map import TestedMap, make_map, show_head, show_picture, show_sounds, show_tests
from pages.components.saliency_subject import Subject

_QUANTILES = {f"the strongest {percent} %": 1 - percent / 100 for percent in (2, 5, 10, 20, 30, 50)}
"""Above which quantile of the map a place counts as evidence."""


def make_maps(subject: Subject, excerpt: Excerpt, choices: Choices) -> tuple[TestedMap, ...]:
    """The maps that were chosen; one that cannot be made is told of, and the other one stands."""
    maps = []
    for choice in choices.maps:
        with telling_failures():
            maps.append(make_map(subject, excerpt, choice))
    return tuple(maps)


def show_recording(excerpt: Excerpt) -> None:
    """The player."""
    st.audio(wav_bytes(excerpt.samples), format="audio/wav", alt="The recording as it is")


def show_agreement(maps: Sequence[TestedMap]) -> float | None:
    """How far two maps agree; None of one map, and of two that cannot be compared, which is told."""
    if len(maps) < 2:
        return None
    with telling_failures():
        value = core_agreement(maps[0].explanation, maps[1].explanation)
        st.info(escaped(agreement_words(value)), icon=":material/join_inner:")
        return value
    return None


def show_maps(subject: Subject, excerpt: Excerpt, maps: Sequence[TestedMap], *, opacity: float) -> float:
    """Each map in a column of its own.

    Returns:
        The quantile of the map above which a place counts as evidence.
    """
    names = map_names([shown.explanation for shown in maps])
    columns = st.columns(len(maps), gap="medium")
    for i, (column, shown, name) in enumerate(zip(columns, maps, names, strict=True)):
        with column:
            if len(maps) > 1:
                st.markdown(f"**{escaped(name)}**")
            show_head(shown)
            show_picture(subject, excerpt, shown, opacity=opacity, number=i)
            with st.expander("How the map was tested"):
                show_tests(shown)
    st.header("Hear the evidence", anchor=False)
    share = st.select_slider(
        "What counts as evidence",
        list(_QUANTILES),
        value="the strongest 10 %",
        key="saliency-share",
        help="Of the map's places. They are cut out of the recording with its own phase, and brought to its level.",
    )
    for column, shown in zip(st.columns(len(maps), gap="medium"), maps, strict=True):
        with column, telling_failures():
            show_sounds(subject, excerpt, shown, _QUANTILES[share])
    return _QUANTILES[share]


def show_pointing(maps: Sequence[TestedMap]) -> None:
    """How often maps of these detectors point at a spoofed part that is known."""
    with st.expander("How often do such maps point at the right place?"), telling_failures():
        for name, detector_hash in {shown.explanation.detector_name: shown.explanation.detector_hash for shown in maps}.items():
            st.markdown(f"**{escaped(name)}**")
            game = load_pointing_game(detector_hash)
            if game is None:
                st.caption("Not measured for this detector. `python -m core pointing-game FOLDER --protocol FILE` measures it.")
                continue
            st.caption(escaped(game.words))
            st.table({"Peak of": [one.title for one in game.scores], "In the spoofed part": [one.words for one in game.scores]})


def show_bands(maps: Sequence[TestedMap]) -> None:
    """Which bands the maps mark."""
    st.header("Which bands carry it", anchor=False)
    bands = compared_bands([shown.explanation for shown in maps])
    figure = band_figure(bands, row_label=maps[0].explanation.row_label)
    st.plotly_chart(figure, key="saliency-bands", alt="Share of the saliency in each band, beside an even spread")
    if len(bands) < len(maps):
        st.caption("The second detector is shown other features: its bands cannot be set beside these.")

"""Would a detector notice? Spoofs made of your own recordings, heard, judged and saved. `?entry=ID&attack=NAME` links."""

from __future__ import annotations

import streamlit as st

from pages.components.attack_choices import choose_attacks
from pages.components.attack_listen import show_sounds
from pages.components.attack_results import make_results, show_scores
from pages.components.attack_save import show_saving
from pages.components.attack_sources import choose_sources
from pages.components.figure_view import choose_picture_format
from pages.components.frame import open_page, telling_failures

open_page(
    "Attack lab",
    icon="🧪",
    lead="Would a detector notice? Make spoofs of real recordings, hear each beside its source, see what every detector says, and "
    "keep them as a labelled data set.",
)
choose_picture_format()
with telling_failures(), choose_sources() as sources:
    if not sources:
        st.info(
            "Nothing chosen yet. Drop recordings of people, record yourself, or take files of an audit; at the press of a button "
            "every attack that is chosen below is made of each of them.",
            icon=":material/arrow_upward:",
        )
    st.header("Attacks", anchor=False)
    choices = choose_attacks()
    results = make_results(sources, choices)
    if results is not None:
        show_scores(results)
        show_sounds(results)
    if sources and choices.attacks:
        show_saving(sources, choices)

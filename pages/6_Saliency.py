"""What did the detector look at? The map on the spectrogram, tested, audible, and with parts taken out. `?entry=ID` links."""

from __future__ import annotations

import streamlit as st

from pages.components.frame import open_page, telling_failures
from pages.components.playback import follow_playback
from pages.components.saliency_box import show_box
from pages.components.saliency_choices import choose_maps
from pages.components.saliency_export import show_exports
from pages.components.saliency_subject import choose_excerpt, choose_subject
from pages.components.saliency_view import make_maps, show_agreement, show_bands, show_maps, show_pointing, show_recording

open_page(
    "Saliency",
    icon="🔎",
    lead="What did the detector look at, and does it hold? See it on the spectrogram, hear it, take parts out, and read the tests.",
)
with telling_failures(), choose_subject() as subject:
    if subject is None:
        st.info(
            "Nothing chosen yet. Try a sample, drop a file, or open a file of a **Batch audit** and follow its link to here.",
            icon=":material/arrow_upward:",
        )
    else:
        excerpt = choose_excerpt(subject)
        choices = choose_maps(subject.detector)
        maps = make_maps(subject, excerpt, choices) if choices else ()
        if maps:
            show_recording(excerpt)
            agreement = show_agreement(maps)
            quantile = show_maps(subject, excerpt, maps, opacity=choices.opacity)
            follow_playback(excerpt.start_s)
            show_box(subject, excerpt, maps)
            show_bands(maps)
            show_pointing(maps)
            show_exports(subject, excerpt, maps, agreement=agreement, quantile=quantile, opacity=choices.opacity)

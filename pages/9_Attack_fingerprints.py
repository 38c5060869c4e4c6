"""What does a detector look at in one attack and not in another? Mean maps over frequency and time, measured beforehand."""

from __future__ import annotations

import streamlit as st

from pages.components.figure_view import choose_picture_format
from pages.components.fingerprint_choices import choose_fingerprints, choose_pair
from pages.components.fingerprint_view import show_bands, show_groups, show_limits, show_said, show_sizes, show_time
from pages.components.frame import open_page, telling_failures

open_page(
    "Attack fingerprints",
    icon="🧬",
    lead="What does a detector look at in one attack and not in another? Mean maps over frequency and time, with intervals.",
)
choose_picture_format()
with telling_failures():
    measured = choose_fingerprints()
    pair = choose_pair(measured) if measured else None
    if pair:
        show_said(measured, pair)
        show_bands(measured, pair)
        show_time(pair)
        st.header("All groups", anchor=False)
        show_groups(measured, pair)
        show_sizes(pair)
        show_limits(measured)

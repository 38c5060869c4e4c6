"""The line on the figures at the playback position: a script without widgets, mounted once on a page."""

from __future__ import annotations

import streamlit as st

from core.explanation.playback_line import PLAYBACK_SCRIPT

_SELECTOR = "[class*='st-key-saliency-figure'] .js-plotly-plot"
_follow = st.components.v2.component(
    "earwitness_playback",
    js=PLAYBACK_SCRIPT + f'export default (component) => followPlayback("{_SELECTOR}", component.data.offset_s);',
)


def follow_playback(offset_s: float) -> None:
    """Draws a line where the playing sound is, on every figure whose key begins with `saliency-figure`.

    Args:
        offset_s: where the sounds begin on the figures' time axis.
    """
    _follow(key="saliency-playback", data={"offset_s": offset_s}, height=1)

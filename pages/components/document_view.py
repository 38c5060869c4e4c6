"""The documents in `docs/`, read within the dashboard, with their pictures; the address names the one that is open."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit as st

from core.terms import TERMS

_DOCS = Path(__file__).parents[2] / "docs"
_TERMS = "terms"
TITLES = {
    "limits": "What detection cannot do",
    _TERMS: "Terms",
    "tutorials/fraud-analyst": "Tutorial: audit a folder",
    "tutorials/verifier": "Tutorial: check one clip",
    "tutorials/researcher": "Tutorial: compare systems",
    "training": "Train, measure, compare",
    "hub": "Detectors from the hub",
    "scale": "Many machines",
    "security": "Threats and defences",
    "reference": "Reference",
}
"""Address -> title."""
_PICTURE = re.compile(r"^!\[([^\]]*)\]\(([^)]+)\)$", flags=re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://)[^)]+\)")


def choose_document() -> str:
    """The document that the address names, else the first; the choice is put into the address."""
    linked = st.query_params.get("doc")
    if "help-doc" not in st.session_state:
        st.session_state["help-doc"] = linked if linked in TITLES else next(iter(TITLES))
    chosen = st.selectbox("Document", list(TITLES), format_func=TITLES.get, key="help-doc", width=420)
    st.query_params["doc"] = chosen
    return chosen


def show_document(name: str) -> None:
    """Its text, with the pictures in their places. Links between documents stay as words: they would leave the dashboard."""
    if name == _TERMS:
        st.markdown("\n".join(f"- **{term}**: {sentence}" for term, sentence in TERMS.items()))
        return
    path = _DOCS / f"{name}.md"
    parts = _PICTURE.split(path.read_text(encoding="utf-8").partition("\n")[2])  # the page has a title already
    st.markdown(_LINK.sub(r"*\1*", parts[0]))
    for words, picture, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        st.image(str(path.parent / picture), caption=words, alt=words)
        st.markdown(_LINK.sub(r"*\1*", text))

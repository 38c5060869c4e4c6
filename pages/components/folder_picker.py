"""Choosing a folder on the server: typed with completion, or clicked through; confined to the allowed roots."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.errors import ScanError
from core.scanning.browse import allowed_roots, check_folder, complete_path, list_folders
from pages.components.frame import escaped, plain

_KEY = "folder-typed"
MAX_SHOWN = 60
"""Subfolders offered as buttons; more are reached by typing."""


def pick_folder(*, default: Path) -> Path | None:
    """The chosen folder, or None while what is typed is not one.

    Args:
        default: what stands in the field at first, if it lies within the allowed roots.
    """
    if _KEY not in st.session_state:
        roots = allowed_roots()
        st.session_state[_KEY] = str(default if any(default.is_relative_to(root) for root in roots) else next(iter(roots), ""))
    field, browse = st.columns([6, 1], vertical_alignment="bottom")
    typed = field.text_input("Folder with recordings, on the machine that runs Earwitness", key=_KEY)
    with browse.popover("Browse", icon=":material/folder_open:"):
        _browse(typed)
    try:
        return check_folder(typed)
    except ScanError as error:
        matches = [path for path in complete_path(typed) if path != typed]
        st.warning(escaped(str(error)))
        for path in matches[:8]:
            st.button(escaped(path), key=f"complete-{path}", on_click=_choose, args=(path,), icon=":material/folder:")
        return None


def _browse(typed: str) -> None:
    try:
        here = check_folder(typed)
        below = list_folders(here)
    except ScanError:
        here, below = None, allowed_roots()
    if here is not None:
        st.text(plain(str(here)))
        try:
            above = check_folder(str(here.parent))
            st.button("Up", icon=":material/arrow_upward:", key="folder-up", on_click=_choose, args=(str(above),))
        except ScanError:
            st.caption("This is a top folder: nothing above it may be shown.")
    for path in below[:MAX_SHOWN]:
        label = path.name if here is not None else str(path)
        st.button(escaped(label), key=f"browse-{path}", icon=":material/folder:", on_click=_choose, args=(str(path),))
    if here is not None and not below:
        st.caption("No folders below this one.")
    if len(below) > MAX_SHOWN:
        st.caption(f"{len(below) - MAX_SHOWN} more: type the beginning of the name in the field.")


def _choose(path: str) -> None:
    st.session_state[_KEY] = path

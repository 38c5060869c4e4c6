"""Which recording the page Stress test is about: a file of an audit by its address (`?entry=ID`), a dropped file, or a sample."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import CoreError
from core.store.triage import entry_detail
from pages.components import resources
from pages.components.links import linked_id, show_opened_entry
from pages.components.recording_input import ChosenRecording, choose_recording

STRESS_PAGE = "pages/8_Stress_test.py"


_VIEWS = {"conditions": "Conditions", "recording": "One recording", "shortcuts": "Shortcuts"}


def first_view() -> str:
    """The tab that the address asks for: by name, or that of one recording where it names a file."""
    wanted = "recording" if "entry" in st.query_params else st.query_params.get("view", "conditions")
    return _VIEWS.get(wanted, _VIEWS["conditions"])


@contextmanager
def choose_stressed() -> Iterator[ChosenRecording | None]:
    """Opens what the address names, else offers files and samples; None where nothing is chosen.

    Raises:
        CoreError: the address names no file, or the file is gone.
    """
    entry_id = linked_id("entry")
    if entry_id is None:
        with choose_recording(first="A sample", offers_channels=False) as chosen:
            yield chosen
        return
    detail = entry_detail(resources.store(), entry_id)
    show_opened_entry(detail, page=STRESS_PAGE, query_params={"view": "recording"})
    if not os.path.exists(detail.absolute_path):
        raise CoreError(f"{detail.absolute_path} is no longer there. Put the file back, or choose another recording.")
    yield ChosenRecording(detail.absolute_path, detail.row.path, "mix")

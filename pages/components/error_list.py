"""The errors of one cell, worst first; the chosen one in the player where its recording is at hand."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from core.evaluation.evaluate import errors_of
from core.evaluation.reads import entry_of
from core.evaluation.records import ErrorTrial
from core.store.exports import csv_of_frame
from core.store.store import Store
from core.store.triage import entry_detail
from pages.components import resources
from pages.components.entry_links import show_entry_links
from pages.components.frame import escaped, plain
from pages.components.group_table import ClickedCell
from pages.components.links import AUDIT_PAGE

_MOST = 200


def show_errors(store: Store, cell: ClickedCell, threshold: float) -> None:
    """What the system of a cell got wrong at the threshold."""
    st.header(f"Errors of {escaped(cell.system.name)}: {escaped(cell.row.title)}", anchor=False)
    if cell.row.description:
        st.caption(escaped(cell.row.description))
    errors = errors_of(cell.system, grouping=cell.grouping, row_key=cell.row.key, threshold=threshold, limit=_MOST)
    if not errors:
        st.success("No error here at this threshold.", icon=":material/check_circle:")
        return
    st.caption(
        f"{'The worst ' if len(errors) == _MOST else ''}{len(errors)} of {cell.row.num_trials:,}, worst first: spoofs that scored "
        "lowest below the threshold, bona fide speech that scored highest above it. Select one to hear it."
    )
    show_trials(store, errors, key=f"errors-{cell.system.name}-{cell.row.key}-{cell.grouping}")


def show_trials(store: Store, trials: tuple[ErrorTrial, ...], *, key: str) -> None:
    """A table of trials; the selected one is played."""
    frame = pd.DataFrame(
        {
            "Utterance": [plain(trial.utterance) for trial in trials],
            "Truth": [trial.label for trial in trials],
            "Attack": [plain(trial.attack or "") for trial in trials],
            "Speaker": [plain(trial.speaker or "") for trial in trials],
            "Score": [trial.score for trial in trials],
        }
    )
    event = st.dataframe(
        frame,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=key,
        height=min(420, 38 + 35 * len(trials)),
        column_config={"Score": st.column_config.NumberColumn(format="%+.3f", help="Spoof score; higher is likelier spoof.")},
        alt="Trials that were called wrong, worst first",
    )
    st.download_button(
        "CSV",
        partial(csv_of_frame, frame),
        file_name="errors.csv",
        mime="text/csv",
        key=f"csv-{key}",
        type="tertiary",
        icon=":material/download:",
        on_click="ignore",
    )
    if event.selection.rows:
        show_recording(store, trials[event.selection.rows[0]])


def show_recording(store: Store, trial: ErrorTrial) -> None:
    """The player and the way to the audit's evidence; what to do where the recording is not at hand."""
    entry_id = entry_of(store, trial)
    if entry_id is None:
        st.info(
            f"The recording of {escaped(trial.utterance)} is not at hand: scores came without audio. Run a **Batch audit** of the "
            "folder that holds it; files are found by their name, and play here.",
            icon=":material/volume_off:",
        )
        return
    detail = entry_detail(store, entry_id)
    st.page_link(
        AUDIT_PAGE,
        label="Open it in its audit: waveform, spectrogram, segments, reviews",
        icon=":material/open_in_new:",
        query_params={"audit": str(detail.audit_id), "entry": str(entry_id)},
    )
    show_entry_links(entry_id, detail.audit_id)
    st.text(plain(detail.row.path))
    if detail.sha256 is None or resources.content_hash(detail.absolute_path) != detail.sha256:
        st.warning("The file has gone or changed since its audit; it cannot be played.")
        return
    _, sound = resources.part(detail.absolute_path, detail.sha256, "mix", 0.0)
    st.audio(sound, format="audio/wav")

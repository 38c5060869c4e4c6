"""Importing a detector made elsewhere: an ONNX file and what has to be said of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

from core.checkpoints import AGGREGATES, Detector
from core.detector_config import WINDOW_SAMPLES
from core.foreign.records import HIGHER_MEANS, INPUTS, MAX_WINDOW_SAMPLES, MIN_WINDOW_SAMPLES, Declaration
from pages.components.frame import escaped, telling_failures
from pages.components.sign_in import allows

_COMMAND = "Larger files, the hub's detectors, calibration and thresholds: `python -m core import-detector --help`."


def show_detector_import() -> None:
    """The form; a detector that was imported is offered on every page from then on."""
    with st.expander("Import a detector made elsewhere (ONNX)"):
        if not allows("install"):
            return
        if done := st.session_state.pop("import-done", None):
            st.success(done, icon=":material/check_circle:")
        upload = st.file_uploader("The network, one file with all its weights", type="onnx", key="import-file")
        name = st.text_input("Name of the new detector", key="import-name", max_chars=64).strip()
        declared = _declare()
        st.caption(f"It is tried on a tone and on silence before it is installed, and stays uncalibrated. {_COMMAND}")
        if st.button("Import", disabled=upload is None or not name, icon=":material/upload_file:", key="import"):
            with telling_failures(), st.spinner("Trying the network ..."):
                detector = _imported(upload, name, declared())
                where = escaped(str(detector.folder))
                st.session_state["import-done"] = f"**{escaped(detector.name)}** is installed in {where}. Choose it above."
                st.rerun()


def _declare():
    """Widgets for what the file does not say; returns a function that gives the declaration, or raises what is wrong with it."""
    left, middle, right = st.columns(3)
    kind = left.selectbox("Input", INPUTS, key="import-input", help="Samples at 16 kHz, or one of our feature images.")
    length = left.number_input(
        "Samples at once", MIN_WINDOW_SAMPLES, MAX_WINDOW_SAMPLES, WINDOW_SAMPLES, key="import-length", help="64,000 are 4 s."
    )
    column = middle.number_input("Output value", 0, 999, 0, key="import-column", help="Counted from 0.")
    minus = middle.number_input(
        "minus value", 0, 999, None, key="import-minus", placeholder="nothing", help="The other class's logit, where there are two."
    )
    higher = right.selectbox("A higher score means", HIGHER_MEANS, key="import-higher")
    aggregate = right.selectbox("Over segments", AGGREGATES, key="import-aggregate", help="How a recording's score is made.")
    output = right.text_input("Output name", key="import-output", help="Needed where the graph has several outputs.").strip()
    return lambda: Declaration(
        input=kind,
        window_samples=int(length),
        column=int(column),
        minus=None if minus is None else int(minus),
        higher_means=higher,
        output_name=output or None,
        aggregate=aggregate,
    )


def _imported(upload, name: str, declared: Declaration) -> Detector:
    from core.foreign.detector_import import import_detector

    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(upload.getbuffer())
        return import_detector(path, name, declared, file_name=upload.name)

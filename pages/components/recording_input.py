"""Choosing one recording on the Home page: a dropped file, the microphone, or a sample."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core.audio import EXTENSIONS
from core.scanning.browse import SAMPLES_FOLDER
from pages.components import resources

_SOURCES = ("A file", "The microphone", "A sample")


@dataclass(frozen=True, slots=True)
class ChosenRecording:
    """A recording on this machine's disk, for as long as the block lasts."""

    path: str
    name: str
    channels: str


@contextmanager
def choose_recording(*, first: str = "A file", offers_channels: bool = True) -> Iterator[ChosenRecording | None]:
    """Widgets to choose a recording; yields it, or None. Uploads live in a file of their own that is then removed.

    Raises:
        AudioRefusal: decoding an upload crashes, or comes to no end.

    Args:
        first: the source that is offered first.
        offers_channels: whether channels can be judged by themselves; else it is the mixdown.
    """
    source = st.segmented_control("Source", _SOURCES, default=first, required=True, key="source", label_visibility="collapsed")
    sample, upload = None, None
    if source == "A sample":
        sample = st.selectbox(
            "Sample", _samples(), index=None, format_func=_sample_name, key="sample", placeholder="Choose a sample"
        )
    elif source == "The microphone":
        upload = st.audio_input("Record with the microphone", key="microphone")
    else:
        types = sorted(ending.removeprefix(".") for ending in EXTENSIONS)
        upload = st.file_uploader("Recording, also the sound track of a video", type=types, key="upload")
    each = offers_channels and st.toggle(
        "Judge each channel by itself", key="each", help="A call has one speaker per side; the mixdown blurs them."
    )
    channels = "each" if each else "mix"
    if sample is not None:
        yield ChosenRecording(str(sample), sample.name, channels)
    elif upload is not None:
        with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
            path = Path(folder, "recording" + os.path.splitext(upload.name)[1].lower())
            path.write_bytes(upload.getbuffer())
            resources.check_upload(str(path))
            yield ChosenRecording(str(path), upload.name, channels)
    else:
        yield None


def show_sample(path: Path) -> None:
    """Chooses a sample, from outside the widgets: for the callback of a button."""
    st.session_state["source"] = "A sample"
    st.session_state["sample"] = path


def _samples() -> list[Path]:
    return sorted(path for path in SAMPLES_FOLDER.rglob("*") if path.suffix in EXTENSIONS)


def _sample_name(path: Path) -> str:
    return str(path.relative_to(SAMPLES_FOLDER))

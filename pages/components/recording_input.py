"""Choosing one recording: a dropped file, the microphone, a sample, or the one that was chosen on another page."""

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
from pages.components.frame import plain

_SOURCES = ("A file", "The microphone", "A sample")
_HELD = "recording-held"
_OWN_KEYS = ("upload", "microphone", "sample")
_MAX_HELD_BYTES = 64_000_000
"""A longer file is dropped again on each page: every visitor's would stay in memory."""


@dataclass(frozen=True, slots=True)
class ChosenRecording:
    """A recording on this machine's disk, for as long as the block lasts."""

    path: str
    name: str
    channels: str


@dataclass(frozen=True, slots=True)
class _Held:
    """A recording that goes along from page to page: an upload's bytes, or where a sample lies."""

    name: str
    data: bytes | Path


@contextmanager
def choose_recording(*, first: str = "A file", offers_channels: bool = True) -> Iterator[ChosenRecording | None]:
    """Widgets to choose a recording; yields it, or None. Uploads live in a file of their own that is then removed.

    Raises:
        AudioRefusal: decoding an upload crashes, or comes to no end.

    Args:
        first: the source that is offered first.
        offers_channels: whether channels can be judged by themselves; else it is the mixdown.
    """
    # Widgets forget what they hold when their page is left.
    held = None if any(st.session_state.get(key) for key in _OWN_KEYS) else st.session_state.get(_HELD)
    same = None if held is None else f"As before: {plain(held.name)[:40]}"
    sources = _SOURCES if same is None else (same, *_SOURCES)
    if st.session_state.get("source") not in sources:  # not `default`: Streamlit logs a warning where `show_sample` chose
        st.session_state["source"] = same or first
    source = st.segmented_control("Source", sources, required=True, key="source", label_visibility="collapsed")
    sample, upload = None, None
    if held is not None and source == same:
        sample, upload = (held.data, None) if isinstance(held.data, Path) else (None, held)
    elif source == "A sample":
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
        st.session_state[_HELD] = _Held(sample.name, sample)
        yield ChosenRecording(str(sample), sample.name, channels)
    elif upload is not None:
        data = upload.data if isinstance(upload, _Held) else upload.getvalue()
        with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
            path = Path(folder, "recording" + os.path.splitext(upload.name)[1].lower())
            path.write_bytes(data)
            resources.check_upload(str(path))
            if len(data) <= _MAX_HELD_BYTES:
                st.session_state[_HELD] = _Held(upload.name, data)
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

"""Which recordings the Attack lab works on: dropped files, the microphone, files of an audit by choice or address, samples."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core.audio import EXTENSIONS
from core.errors import CoreError
from core.explanation.excerpts import MAX_EXCERPT_S, Excerpt
from core.records import Audit, TriageFilter, Verdict
from core.scanning.browse import SAMPLES_FOLDER
from core.store.triage import entry_detail, triage_page
from pages.components import resources
from pages.components.frame import escaped, plain, telling_failures
from pages.components.links import linked_id

LAB_PAGE = "pages/7_Attack_lab.py"
MAX_SOURCES = 8
"""More cannot be listened to one beside the other; whole folders are for the command line."""
_MAX_OFFERED = 500
_FILES, _MICROPHONE, _AUDIT, _SAMPLES = "Files", "The microphone", "An audit", "Samples"
_KEY, _LINKED = "attack-source", "attack-linked"
_ALL_VERDICTS = "any verdict"


@dataclass(frozen=True, slots=True)
class LabSource:
    """A recording at hand, for as long as the block lasts, and the part of it that is worked on."""

    path: str
    name: str
    sha256: str
    excerpt: Excerpt


@contextmanager
def choose_sources() -> Iterator[tuple[LabSource, ...]]:
    """Widgets to choose recordings; yields those that can be read, and tells of the others."""
    linked = linked_id("entry")
    if linked is not None and st.session_state.get(_LINKED) != linked:
        st.session_state[_LINKED], st.session_state[_KEY] = linked, _AUDIT
    st.session_state.setdefault(_KEY, _FILES)
    source = st.segmented_control(
        "Bona fide recordings", (_FILES, _MICROPHONE, _AUDIT, _SAMPLES), required=True, key=_KEY, label_visibility="collapsed"
    )
    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        if source == _FILES:
            types = sorted(ending.removeprefix(".") for ending in EXTENSIONS)
            label = "Recordings of real speech, also sound tracks of videos"
            uploads = st.file_uploader(label, type=types, accept_multiple_files=True, key="attack-upload")
            found = [_kept(upload, folder, i) for i, upload in enumerate(uploads)]
        elif source == _MICROPHONE:
            spoken = st.audio_input("Say a sentence or two; four seconds are enough", key="attack-microphone")
            found = [] if spoken is None else [(_kept(spoken, folder, 0)[0], "Your recording")]
        elif source == _AUDIT:
            found = _choose_of_audit(linked)
        else:
            found = _choose_samples()
        if len(found) > MAX_SOURCES:
            st.caption(
                f":material/info: The first {MAX_SOURCES} of {len(found)} are used; the command at the end takes whole folders."
            )
        yield _all_opened(found[:MAX_SOURCES])


def _kept(upload, folder: str, number: int) -> tuple[str, str]:
    """An upload as a file in a folder of its own, called as it was but for what is hostile in a name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.basename(upload.name)).strip("._")[-60:] or "recording"
    path = Path(folder, str(number), name)
    path.parent.mkdir()
    path.write_bytes(upload.getbuffer())
    return str(path), upload.name


def _choose_of_audit(linked: int | None) -> list[tuple[str, str]]:
    store = resources.store()
    audits = {audit.id: audit for audit in store.recent_audits(50)}
    detail = None
    with telling_failures():
        detail = None if linked is None else entry_detail(store, linked)
    if detail is not None and detail.audit_id not in audits:
        audits[detail.audit_id] = store.audit(detail.audit_id)
    if not audits:
        st.info("No audits yet. **Batch audit** scores a folder; its files can then be chosen here.", icon=":material/folder_open:")
        return []
    numbers = list(audits)
    left, middle, right = st.columns([5, 2, 3], vertical_alignment="bottom")
    start = numbers.index(detail.audit_id) if detail is not None else 0
    audit_id = left.selectbox(
        "Audit", numbers, start, format_func=lambda number: _audit_words(audits[number]), key=f"attack-audit-{linked}"
    )
    verdicts = (str(Verdict.BONA_FIDE), str(Verdict.INCONCLUSIVE), str(Verdict.SPOOF), _ALL_VERDICTS)
    first = len(verdicts) - 1 if detail is not None else 0
    verdict = middle.selectbox("Called", verdicts, first, key=f"attack-verdict-{linked}")
    text = right.text_input("Path contains", key="attack-text", placeholder="optional")
    wanted = TriageFilter(verdicts=() if verdict == _ALL_VERDICTS else (verdict,), text=text.strip(), order="path")
    page = triage_page(store, audit_id, wanted, limit=_MAX_OFFERED)
    rows = {row.entry_id: row for row in page.rows if row.verdict not in (None, Verdict.REFUSED)}
    if detail is not None and detail.audit_id == audit_id:
        rows.setdefault(detail.row.entry_id, detail.row)
    if not rows:
        st.info("No such file in this audit. Choose another verdict or another audit.", icon=":material/filter_alt:")
        return []
    first_chosen = [linked] if detail is not None and detail.audit_id == audit_id else []
    chosen = st.multiselect(
        f"Files: {page.num_rows:,} match" + (f", the first {_MAX_OFFERED:,} are listed" if page.num_rows > _MAX_OFFERED else ""),
        list(rows),
        first_chosen,
        format_func=lambda number: plain(rows[number].path) + (f" ({rows[number].label})" if rows[number].label else ""),
        max_selections=MAX_SOURCES,
        key=f"attack-entries-{audit_id}-{linked}",
        placeholder="Choose files",
    )
    return [(entry_detail(store, number).absolute_path, rows[number].path) for number in chosen]


def _choose_samples() -> list[tuple[str, str]]:
    paths = sorted(path for path in SAMPLES_FOLDER.rglob("*") if path.suffix in EXTENSIONS and not path.name.startswith("refused"))
    names = {str(path): str(path.relative_to(SAMPLES_FOLDER)) for path in paths}
    chosen = st.multiselect(
        "Samples",
        list(names),
        format_func=names.__getitem__,
        max_selections=MAX_SOURCES,
        key="attack-samples",
        placeholder="Choose samples",
    )
    st.caption(
        ":material/info: The samples are synthetic speech themselves: good for a try, but what a detector says of them before the "
        "attack says nothing of real voices. For that, record yourself or drop recordings of people."
    )
    return [(path, names[path]) for path in chosen]


def _all_opened(found: list[tuple[str, str]]) -> tuple[LabSource, ...]:
    """Those that can be read, each content once."""
    opened: dict[str, LabSource] = {}
    for path, name in found:
        source = _opened(path, name)
        if source is not None and source.sha256 in opened:
            st.caption(f":material/content_copy: {escaped(name)} is the same recording as {escaped(opened[source.sha256].name)}.")
        elif source is not None:
            opened[source.sha256] = source
    return tuple(opened.values())


def _opened(path: str, name: str) -> LabSource | None:
    """The recording, decoded; None where that fails, which is told."""
    with telling_failures():
        sha256 = resources.content_hash(path)
        if sha256 is None:
            raise CoreError(f"{name} cannot be read any more. Put the file back, or choose another.")
        resources.check_upload(path)
        excerpt = resources.excerpt(path, sha256, "mix", 0.0)
        if excerpt.recording_s > MAX_EXCERPT_S:
            st.caption(f":material/content_cut: Of {escaped(name)}, the first {MAX_EXCERPT_S:.0f} s are used.")
        return LabSource(path, name, sha256, excerpt)
    return None


def _audit_words(audit: Audit) -> str:
    return f"Audit {audit.id}: {plain(audit.folder)}, {audit.num_done:,} files, {plain(audit.detector_name)}"

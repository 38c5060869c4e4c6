"""Which labelled set the shortcut audit is about: a stored result, an audit with labels (`?audit=ID`), or a folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from core.evaluation.labelled_audits import audit_of_key
from core.evaluation.labelled_folders import recordings_of, recordings_of_audit
from core.scanning.browse import SAMPLES_FOLDER, check_file
from core.shortcuts.records import ShortcutAudit
from core.shortcuts.report_files import find_audits
from pages.components import resources
from pages.components.folder_picker import pick_folder
from pages.components.frame import escaped, plain
from pages.components.links import linked_id

_STORED, _AUDIT, _FOLDER = "A result", "A labelled audit", "A folder with a protocol"


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Recordings with labels, and what says which ones they are."""

    name: str
    recordings: pd.DataFrame
    """`path`, `label`, and where known `attack`, `speaker`, `source`."""
    key: str


def choose_set() -> LabelledSet | ShortcutAudit | None:
    """Widgets for a set; None where there is none, with words on what to do.

    Raises:
        CoreError: the folder or its protocol cannot be read, or do not fit each other.
    """
    audits = find_audits()
    for problem in audits.problems:
        st.warning(escaped(problem), icon=":material/broken_image:")
    sources = ((_STORED,) if audits.found else ()) + (_AUDIT, _FOLDER)
    first = _AUDIT if "audit" in st.query_params else sources[0]
    key = f"shortcut-source-{len(sources)}"
    source = st.segmented_control("Set", sources, default=first, required=True, key=key, label_visibility="collapsed")
    if source == _STORED:
        named = {str(path): audit for path, audit in audits.found}
        return named[st.selectbox("Result", list(named), format_func=lambda path: _title(named[path]), key="shortcut-stored")]
    return _choose_audit() if source == _AUDIT else _choose_folder()


def _title(audit: ShortcutAudit) -> str:
    watched = f", {audit.detector_name}" if audit.detector_name else ""
    return plain(f"{audit.report.set_name}{watched} ({audit.created[:10]})")


def _choose_audit() -> LabelledSet | None:
    audits = {found[0]: summary for summary in resources.trial_sets() if (found := audit_of_key(summary.key)) and not found[1]}
    if not audits:
        st.info(
            "No audit has labels by a protocol yet. Run a **Batch audit** with one (the **Attack lab** writes a protocol beside "
            "what it makes), or take a folder with a protocol here.",
            icon=":material/label_off:",
        )
        return None
    numbers = list(audits)
    linked = linked_id("audit")
    start = numbers.index(linked) if linked in numbers else 0
    number = st.selectbox("Audit", numbers, start, format_func=lambda number: plain(audits[number].name), key="shortcut-audit")
    return _set_of(*recordings_of_audit(resources.store(), number))


def _choose_folder() -> LabelledSet | None:
    folder = pick_folder(default=SAMPLES_FOLDER)
    typed = st.text_input(
        "Protocol",
        key="shortcut-protocol",
        placeholder="protocol.txt in that folder",
        help="An ASVspoof protocol, or a table with the columns utterance and label; joined by file name.",
    )
    if folder is None:
        return None
    protocol = check_file(typed.strip() or str(folder / "protocol.txt"))
    name, recordings = recordings_of(folder, protocol)
    return _set_of(folder.name if protocol.stem == "protocol" else name, recordings)


def _set_of(name: str, recordings: pd.DataFrame) -> LabelledSet:
    digest = hashlib.sha256(recordings.to_csv(index=False).encode("utf-8", "backslashreplace")).hexdigest()
    return LabelledSet(name, recordings, digest)

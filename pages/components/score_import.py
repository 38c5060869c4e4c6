"""Adding systems: score files that are dropped, matched with labelled trials and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.errors import CoreError, InvertedScoresError, UnclearLabelsError, UnmappedColumnsError
from core.evaluation.labelled_audits import audit_of_key
from core.evaluation.score_files import ColumnMapping, HigherMeans, ScoreTable, title_of
from core.evaluation.score_import import Sign, system_of
from core.evaluation.score_matching import match
from core.evaluation.system_records import System
from core.evaluation.systems import add_system
from core.evaluation.trial_sets import TrialSet
from core.protocols import SUBSETS, ProtocolChoices
from pages.components import resources
from pages.components.frame import escaped, plain, telling_failures
from pages.components.system_picker import open_systems

_FROM_FILES, _FROM_PROTOCOL, _FROM_STORE = "The score files themselves", "A protocol file", "A set that is here already"
IMPORT_ROUND = "import-round"
"""Counts imports: each begins with empty upload fields."""
_HOW = """Drop what a system wrote, one file per system: ASVspoof 2019 (`utterance attack key score`), ASVspoof 2021 and 5
(`utterance score`, with their protocol), or CSV, TSV, JSON lines, XLSX or Parquet with a header; also gzipped. Scores are kept in
this store, the files are not."""


def show_score_import() -> None:
    """The form; a good import runs the page again with the new systems chosen."""
    st.markdown(_HOW)
    number = st.session_state.setdefault(IMPORT_ROUND, 0)
    uploads = st.file_uploader("Score files", accept_multiple_files=True, key=f"import-scores-{number}")
    source = st.radio(
        "Which trials are spoofed is told by", [_FROM_FILES, _FROM_PROTOCOL, _FROM_STORE], key="import-source", horizontal=True
    )
    protocol = st.file_uploader("Protocol", key=f"import-protocol-{number}") if source == _FROM_PROTOCOL else None
    chosen = _choose_set() if source == _FROM_STORE else None
    if not uploads:
        return
    labels = None
    with telling_failures():
        labels = read_uploaded_protocol(protocol, key=f"import-{number}") if protocol else chosen
    if source != _FROM_FILES and labels is None:
        st.info("Now say which trials are spoofed: add the protocol or choose the set.", icon=":material/arrow_upward:")
        return
    systems = [_show_file(upload, labels, key=f"import-{number}-{i}") for i, upload in enumerate(uploads)]
    ready = [system for system in systems if system is not None]
    title = None
    if ready and all(summary.key != ready[0].trial_set.key for summary in resources.trial_sets()):
        suggestion = labels.name if labels else f"Trials of {ready[0].trial_set.name}"
        title = st.text_input("Name of the new set of trials", suggestion, key=f"import-set-{number}", max_chars=100)
    words = f"Import {len(ready)} of {len(uploads)} systems" if len(uploads) > 1 else "Import the system"
    if st.button(words, type="primary", icon=":material/download_done:", disabled=not ready, key="scores-import"):
        with telling_failures():
            _store(ready, title)


def _choose_set() -> TrialSet | None:
    """A set of the store that new scores may be added to."""
    sets = {summary.key: summary for summary in resources.trial_sets() if audit_of_key(summary.key) is None}
    key = st.selectbox(
        "Set", list(sets), index=None, format_func=lambda key: plain(sets[key].name), key="import-into", placeholder="Choose a set"
    )
    return resources.stored_set(sets[key]) if key else None


def read_uploaded_protocol(upload: UploadedFile, *, key: str) -> TrialSet:
    """A protocol's trials, with widgets for what it leaves open: the subset of ASVspoof 2021, and what 1 means.

    Raises:
        CoreError: it is none, with the line.
    """
    data = upload.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    subset = st.segmented_control(
        "Subset, of an ASVspoof 2021 protocol",
        SUBSETS,
        default="eval",
        required=True,
        key=f"{key}-subset",
        help="The organisers publish figures of eval. Other protocols have no subsets.",
    )
    try:
        return resources.trial_set(sha256, upload.name, ProtocolChoices(subset=subset), data)
    except UnclearLabelsError:
        one_means = _ask_what_one_means(upload.name, key=key)
        return resources.trial_set(sha256, upload.name, ProtocolChoices(subset=subset, one_means=one_means), data)


def _ask_what_one_means(name: str, *, key: str) -> str | None:
    return st.radio(f"In {plain(name)}, 1 means", ["bona fide", "spoof"], index=None, horizontal=True, key=f"{key}-one-means")


def _store(systems: Sequence[System], title: str | None) -> None:
    """Stores the systems, and opens their set.

    Raises:
        CoreError: a name is taken.
    """
    for system in systems:
        trial_set = replace(system.trial_set, name=title.strip() or system.trial_set.name) if title else system.trial_set
        add_system(resources.store(), trial_set, system.name, system.scores, is_flipped=system.is_flipped, note=system.note)
    st.session_state[IMPORT_ROUND] += 1
    key = systems[-1].trial_set.key
    open_systems(key, [system.name for system in systems if system.trial_set.key == key])


def _show_file(upload: UploadedFile, labels: TrialSet | None, *, key: str) -> System | None:
    """One file: its form, its name, its sign, what does not fit; the system when all is well."""
    with st.container(border=True):
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        name = left.text_input("Name of the system", title_of(upload.name), key=f"{key}-name", max_chars=100).strip()
        try:
            table = _read(upload, key=key, is_labelled=labels is not None)
            higher = right.segmented_control(
                "A higher score means",
                ["bona fide", "spoof"],
                default=table.higher_means,
                required=True,
                key=f"{key}-higher",
                help="ASVspoof's files are higher for bona fide speech; Earwitness's own for spoofs.",
            )
            trial_set = labels or table.trial_set(title_of(upload.name))
            return _checked(table, trial_set, name, higher, key=key)
        except CoreError as error:
            st.error(escaped(str(error)), icon=":material/error:")
            return None


def _read(upload: UploadedFile, *, key: str, is_labelled: bool) -> ScoreTable:
    """The file; where its columns have no usual names, after the user has told which is which."""
    data = upload.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        table = resources.score_table(sha256, upload.name, None, None, data)
    except UnmappedColumnsError as error:
        mapping = _choose_columns(error.columns, ColumnMapping(), key=key)
        table = resources.score_table(sha256, upload.name, mapping, None, data)
    else:
        mapping = None
        if table.mapping is not None:
            with st.expander("Columns"):
                mapping = _choose_columns(table.columns, table.mapping, key=key)
            table = resources.score_table(sha256, upload.name, mapping, None, data)
    if is_labelled or not table.unclear:
        return table
    return resources.score_table(sha256, upload.name, mapping, _ask_what_one_means(upload.name, key=key), data)


def _choose_columns(header: Sequence[str], found: ColumnMapping, *, key: str) -> ColumnMapping:
    chosen = {}
    for place, what in zip(st.columns(4), ("utterance", "score", "label", "attack"), strict=True):
        index = header.index(getattr(found, what)) if getattr(found, what) in header else None
        chosen[what] = place.selectbox(
            f"Column of the {what}", header, index=index, format_func=plain, key=f"{key}-column-{what}", placeholder="none"
        )
    return ColumnMapping(**chosen)


def _checked(table: ScoreTable, trial_set: TrialSet, name: str, higher: HigherMeans, *, key: str) -> System | None:
    """The system; None while the user has to decide on its sign.

    Raises:
        CoreError: something does not fit.
    """
    report = match(table, trial_set)
    allow_missing = any(finding.is_missing for finding in report.findings) and st.checkbox(
        f"Leave {len(trial_set) - report.num_scored:,} trials without a score",
        key=f"{key}-missing",
        help="They are shown as not scored, never counted as bona fide.",
    )
    sign: Sign = "check"
    try:
        system = system_of(table, trial_set, name=name, higher_means=higher, sign=sign, allow_missing=allow_missing)
    except InvertedScoresError as error:
        st.warning(escaped(str(error)), icon=":material/swap_vert:")
        sign = st.radio(
            "What to do",
            ["flip", "keep"],
            index=None,
            format_func={"flip": "Turn the sign", "keep": "Import it as it is, worse than chance"}.get,
            key=f"{key}-sign",
            horizontal=True,
        )
        if sign is None:
            st.info("Decide on the sign, then it can be imported.", icon=":material/arrow_upward:")
            return None
        system = system_of(table, trial_set, name=name, higher_means=higher, sign=sign, allow_missing=allow_missing)
    if not name:
        raise CoreError("The system needs a name.")
    spoofs = f"{trial_set.num_bona_fide:,} bona fide and {trial_set.num_spoof:,} spoofed trials"
    st.caption(f":material/check_circle: {table.form}, {report.num_lines:,} lines; all fit {spoofs}. {escaped(system.note)}")
    return system

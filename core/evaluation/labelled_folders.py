"""The recordings of a folder with what a protocol, or a table, says of them: one row per file that is there. Decodes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from core.errors import CoreError, ProtocolError
from core.evaluation.labelled_audits import audit_trial_set, key_of_audit
from core.evaluation.trial_sets import COLUMNS, make_trial_set, protocol_title, read_trial_set
from core.protocols import KEYS, utterance_of
from core.records import ScanSettings
from core.scanning.discovery import find_files
from core.store.schema import entries
from core.store.store import Store

_SAME = {"utt": "utterance", "file_name": "utterance", "key": "label", "speaker_id": "speaker"}
"""What tables call it -> column of a trial set."""


def recordings_of(folder: str | os.PathLike[str], protocol: str | os.PathLike[str] | None = None) -> tuple[str, pd.DataFrame]:
    """The recordings below a folder.

    Args:
        folder: searched with all below it; or one file.
        protocol: of ASVspoof 2019, 2021 or 5; or a CSV table with the columns utterance and label, and any of attack, family,
            speaker, source. Joined by file name; files that it does not name are left out.

    Returns:
        The set's name, and a table with the columns of a trial set, `path` absolute; without a protocol `label` is missing.

    Raises:
        CoreError: no recording is there, the protocol cannot be read, or it names none of them or one twice.
    """
    root = Path(folder)
    found = (
        [root] if root.is_file() else [root / os.fsdecode(file.path_bytes) for file in find_files(os.fspath(root), ScanSettings())]
    )
    if not found:
        raise CoreError(f"There are no recordings in {root}.")
    paths = pd.DataFrame({"path": [os.path.abspath(path) for path in found]}).astype("str")
    paths["utterance"] = paths["path"].map(utterance_of)
    if protocol is None:
        return root.name or str(root), paths.reindex(columns=list(COLUMNS)).astype(COLUMNS)
    trials = _trials_of(protocol)
    table = paths.merge(trials.drop(columns="path"), on="utterance", how="inner")[list(COLUMNS)]
    if not len(table):
        raise ProtocolError(f"{protocol} names none of the {len(paths)} recordings in {root}; it is joined by file name.")
    twice = table["utterance"].duplicated()
    if twice.any():
        raise ProtocolError(f"{table['utterance'][twice.idxmax()]} occurs twice in {root}; give the folder of one set.")
    return protocol_title(os.fspath(protocol)).removesuffix(".csv"), table


def recordings_of_audit(store: Store, audit_id: int) -> tuple[str, pd.DataFrame]:
    """The recordings of an audit as `recordings_of`; with its labels where it has any, then without the others.

    Raises:
        StoreError: there is no such audit.
        CoreError: it has no files.
    """
    audit = store.audit(audit_id)
    with store.reading() as connection:
        query = sa.select(entries.c.path).where(entries.c.audit_id == audit_id).order_by(entries.c.path_bytes)
        paths = list(connection.scalars(query))
        is_labelled = bool(
            connection.scalar(
                sa.select(sa.func.count()).select_from(entries).where(entries.c.audit_id == audit_id, entries.c.label.is_not(None))
            )
        )
        table = audit_trial_set(connection, key_of_audit(audit_id)).table.copy() if is_labelled else None
    if not paths:
        raise CoreError(f"Audit {audit_id} has no files yet; let it run first.")
    if table is None:
        table = pd.DataFrame({"path": paths, "utterance": [utterance_of(path) for path in paths]})
        table = table.reindex(columns=list(COLUMNS)).astype(COLUMNS)
    table["path"] = [os.path.join(audit.folder, path) for path in table["path"]]
    return f"Audit {audit_id}, {Path(audit.folder).name}", table


def _trials_of(protocol: str | os.PathLike[str]) -> pd.DataFrame:
    name = os.fspath(protocol)
    if not name.endswith(".csv"):
        return read_trial_set(name).table
    try:
        table = pd.read_csv(name, dtype=str, encoding="utf-8").rename(columns=_SAME)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise ProtocolError(f"The table {name} could not be read: {error}.") from None
    if not {"utterance", "label"} <= set(table.columns):
        raise ProtocolError(f"{name} has the columns {', '.join(table.columns)}; expected utterance and label among them.")
    table["label"] = table["label"].replace(KEYS)
    if "known_system" in table:
        table["known_system"] = table["known_system"].map({"True": True, "False": False, "1": True, "0": False})
    return make_trial_set(name, table.drop(columns="duration_s", errors="ignore")).table

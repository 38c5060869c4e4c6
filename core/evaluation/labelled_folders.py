"""The recordings of a folder with what a protocol, or a table, says of them: one row per file that is there. Decodes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from core.errors import CoreError, ProtocolError
from core.evaluation.labelled_audits import audit_trial_set, key_of_audit
from core.evaluation.trial_sets import COLUMNS, read_trial_set
from core.names import match_names, utterance_of
from core.protocols import AS_PUBLISHED, ProtocolChoices
from core.records import ScanSettings
from core.scanning.discovery import find_files
from core.store.schema import entries
from core.store.store import Store


def recordings_of(
    folder: str | os.PathLike[str],
    protocol: str | os.PathLike[str] | None = None,
    choices: ProtocolChoices = AS_PUBLISHED,
) -> tuple[str, pd.DataFrame]:
    """The recordings below a folder.

    Args:
        folder: searched with all below it; or one file.
        protocol: in any form of `core.protocols.read_protocol`; a table may have attack, family, speaker and source too. Joined by
            file name; files that it does not name are left out.
        choices: which subset of the protocol, and what a 1 means in it.

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
    trial_set = read_trial_set(protocol, choices=choices)
    places = match_names(paths["path"], trial_set.table["utterance"].tolist())
    found = pd.Series(places)
    table = trial_set.table.iloc[found[found >= 0]].assign(path=paths["path"][found >= 0].to_numpy()).reset_index(drop=True)
    if not len(table):
        raise ProtocolError(
            f"{protocol} names none of the {len(paths)} recordings in {root}; it is joined by file name (a recording here is"
            f" {Path(paths['path'].iloc[0]).name}, an utterance there {trial_set.table['utterance'].iloc[0]})."
        )
    twice = table["utterance"].duplicated()
    if twice.any():
        raise ProtocolError(f"{table['utterance'][twice.idxmax()]} occurs twice in {root}; give the folder of one set.")
    return trial_set.name, table


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

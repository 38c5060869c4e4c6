"""core.store.backup: all of a store comes back, in SQLite and PostgreSQL, or nothing does."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_records import make_audit, scored, unreadable

from core.commands.program import main
from core.errors import CoreError, StoreError
from core.store import backup
from core.store.backup import back_up, restore
from core.store.events import audit_events, broken_links
from core.store.schema import SCHEMA_VERSION, audits, metadata, schema_version
from core.store.store import Store
from core.store.triage import add_reviews


@pytest.fixture
def store(any_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two audits, with a copy, an unreadable file, a pending one and reviews; rows in several chunks."""
    monkeypatch.setattr(backup, "_CHUNK_ROWS", 3)
    records = [*(scored(f"{i}.wav", i - 2.5) for i in range(5)), unreadable("gone.wav")]
    _, ids = make_audit(any_store, records, pending=["later.wav"])
    make_audit(any_store, [scored("0.wav", -2.5), scored("é\U0001f50a.wav", 1.0)])
    add_reviews(any_store, [ids["0.wav"], ids["1.wav"]], verdict="spoof", reviewer="Ada", note="'; DROP TABLE reviews; --")
    with any_store.writing() as connection:  # refers to an entry with a higher number
        table = metadata.tables["entries"]
        connection.execute(table.update().where(table.c.id == ids["0.wav"]).values(duplicate_of=ids["4.wav"]))
    return any_store


def content(store: Store) -> dict[str, list]:
    with store.reading() as connection:
        tables = [table for table in metadata.sorted_tables if table is not schema_version]
        return {t.name: [tuple(row) for row in connection.execute(sa.select(t).order_by(*t.primary_key.columns))] for t in tables}


def test_all_comes_back(store: Store, tmp_path: Path) -> None:
    counts = back_up(store, tmp_path / "b.zip")
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    assert restore(other, tmp_path / "b.zip") == counts
    assert content(other) == content(store)
    assert counts["entries"] == 9
    assert broken_links(audit_events(other, 1)) == ()
    assert [path.name for path in tmp_path.glob("*b*")].count("b.zip") == 1
    assert not list(tmp_path.glob(".backup-*"))


def test_the_store_works_on_after_it(store: Store, tmp_path: Path) -> None:
    back_up(store, tmp_path / "b.zip")
    before = content(store)
    with store.writing() as connection:
        for table in reversed(metadata.sorted_tables):
            if table is not schema_version:
                connection.execute(table.delete())
    restore(store, tmp_path / "b.zip")
    assert content(store) == before
    audit_id, _ = make_audit(store, [scored("new.wav", 1.0)])
    assert audit_id == 3


def test_a_store_that_holds_something_is_left_alone(store: Store, tmp_path: Path) -> None:
    back_up(store, tmp_path / "b.zip")
    before = content(store)
    with pytest.raises(StoreError, match="is not empty; a backup is restored into a new one"):
        restore(store, tmp_path / "b.zip")
    assert content(store) == before


def test_every_damaged_byte_is_found_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    path, other = tmp_path / "b.zip", Store(f"sqlite:///{tmp_path / 'other.db'}")
    back_up(store, path)
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        try:
            restore(other, path)
        except CoreError:
            assert content(other)["audits"] == []
        else:  # a byte that means nothing, such as a date within the ZIP
            assert content(other) == content(store)
            with other.writing() as connection:
                for table in reversed(metadata.sorted_tables):
                    if table is not schema_version:
                        connection.execute(table.delete())
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CoreError, match="no backup of Earwitness"):
            restore(other, path)


def test_a_full_disk_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_pack", full)
    with pytest.raises(CoreError, match=r"cannot be written to .*b\.zip: No space left on device"):
        back_up(store, tmp_path / "b.zip")
    assert not list(tmp_path.glob("*b.zip*"))
    assert not list(tmp_path.glob(".backup-*"))


def test_the_commands_and_what_they_refuse(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file, fresh = str(tmp_path / "b.zip"), f"sqlite:///{tmp_path / 'fresh.db'}"
    assert main(["backup", file, "--db", store.url]) == 0
    assert "2 audits, 9 files, 2 reviews of " in capsys.readouterr().out
    assert main(["restore", file, "--db", fresh]) == 0
    assert "2 audits, 9 files, 2 reviews restored into" in capsys.readouterr().out
    assert main(["backup", file, "--db", store.url]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["restore", str(tmp_path / "none.zip"), "--db", fresh]) == 1
    assert "There is no file" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("hello", "world")
    assert main(["restore", str(tmp_path / "other.zip"), "--db", fresh]) == 1
    assert "no backup of Earwitness" in capsys.readouterr().err


def test_a_backup_of_another_version_says_what_to_do(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    back_up(store, tmp_path / "b.zip")
    monkeypatch.undo()
    with pytest.raises(CoreError, match=f"schema version {SCHEMA_VERSION + 1}; this program restores {SCHEMA_VERSION}"):
        restore(Store(f"sqlite:///{tmp_path / 'other.db'}"), tmp_path / "b.zip")


def test_a_running_audit_is_interrupted_where_it_was_restored(store: Store, tmp_path: Path) -> None:
    with store.writing() as connection:
        values = {"status": "running", "worker": "elsewhere:1:x", "heartbeat_at": 0.0}
        connection.execute(audits.update().where(audits.c.id == 1).values(values))
    back_up(store, tmp_path / "b.zip")
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    restore(other, tmp_path / "b.zip")
    assert other.audit(1).status == "interrupted"

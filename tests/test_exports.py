"""core.store.exports: every format gives back what the store holds, or nothing at all."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from ledger_records import make_audit, make_detector, scored, sha256, unreadable
from permissions import ordinary_user

from core.errors import CoreError, StoreError
from core.protocols import Trial
from core.records import TriageFilter
from core.store import exports
from core.store.exports import EXPORT_COLUMNS, EXPORT_FORMATS, check_destination, export_audit, export_bytes
from core.store.store import Store
from core.store.triage import add_reviews

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
NUMBERS = {"spoof_score", "probability", "duration_s", "sample_rate_hz", "num_segments", "num_channels", "training_distance"}
FORMULAS = ["=1+1.wav", "+1.wav", "-1.wav", "@SUM(1).wav", "\t=1.wav", "\r=1.wav", "\n=1.wav", "＝1.wav"]


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def audit_id(store: Store) -> int:
    """Three files of two contents, one refused, one unreadable, one pending; the first is labelled and reviewed."""
    records = [
        scored("b/one.wav", 2.5, content="same", warnings=("clipped", "short"), training_distance=1.25),
        scored("a/copy.wav", 2.5, content="same", warnings=("clipped", "short"), training_distance=1.25),
        scored('b/quiet, "so".wav', None, codec="OPUS"),
        unreadable("gone.wav"),
    ]
    trials = {"one": Trial(speaker="LA_1", utterance="one", environment=None, attack="A07", label="spoof")}
    audit_id, ids = make_audit(store, records, pending=["later.wav"], trials=trials)
    add_reviews(store, [ids["b/one.wav"]], verdict="bona fide", reviewer="Ann", note="clear\nvoice; ümlaut")
    return audit_id


def read_rows(path: Path) -> list[dict]:
    """An export as dictionaries, numbers as numbers and nothing as None."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))
    else:
        table = read_sheet(path)
    return [{name: typed(name, cell) for name, cell in zip(table[0], row, strict=True)} for row in table[1:]]


def typed(name: str, cell: str) -> object:
    if name in NUMBERS:
        return float(cell) if cell else None
    return cell if cell or name == "warnings" else None


def read_sheet(path: Path) -> list[list[str]]:
    """The cells of the first sheet as texts, read without a library that would interpret them."""
    with zipfile.ZipFile(path) as archive:
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    assert not list(sheet.iter(f"{_SHEET}f")), "a formula"
    rows = []
    for row in sheet.iter(f"{_SHEET}row"):
        cells = {cell.get("r").rstrip("0123456789"): cell for cell in row}
        letters = [chr(ord("A") + i) for i in range(len(EXPORT_COLUMNS))]
        rows.append(["".join(cells[letter].itertext()) if letter in cells else "" for letter in letters])
    return [[re.sub(r"_x([0-9A-F]{4})_", lambda code: chr(int(code[1], 16)), cell) for cell in row] for row in rows]


# What is in it ---------------------------------------------------------------------------------------------------


def test_columns_are_these_in_this_order() -> None:
    assert (
        tuple(
            "path sha256 verdict spoof_score probability duration_s sample_rate_hz codec num_segments reason channel container "
            "num_channels warnings training_distance duplicate_of label attack review reviewer review_note reviewed_at "
            "detector detector_hash".split()
        )
        == EXPORT_COLUMNS
    )


@pytest.mark.parametrize("suffix", EXPORT_FORMATS)
def test_every_format_gives_back_the_rows(tmp_path: Path, store: Store, audit_id: int, suffix: str) -> None:
    path = tmp_path / f"audit{suffix}"
    assert export_audit(store, audit_id, path) == 4
    rows = read_rows(path)
    assert [tuple(row) for row in rows] == [EXPORT_COLUMNS] * 4
    assert [row["path"] for row in rows] == ["a/copy.wav", "b/one.wav", 'b/quiet, "so".wav', "gone.wav"]
    copy, one, quiet, gone = rows
    reviewed_at = one.pop("reviewed_at")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", reviewed_at)
    assert one == {
        "path": "b/one.wav", "sha256": sha256("same"), "verdict": "spoof", "spoof_score": 2.5,
        "probability": pytest.approx(0.924141819978757, rel=1e-12), "duration_s": 4.0, "sample_rate_hz": 16_000,
        "codec": "PCM_16", "num_segments": 1, "reason": None, "channel": "mix", "container": "WAV", "num_channels": 1,
        "warnings": "clipped short", "training_distance": 1.25, "duplicate_of": None, "label": "spoof", "attack": "A07",
        "review": "bona fide",
        "reviewer": "Ann", "review_note": "clear\nvoice; ümlaut", "detector": "fake", "detector_hash": "ab" * 32,
    }  # fmt: skip
    assert (copy["duplicate_of"], copy["sha256"], copy["spoof_score"], copy["reviewer"]) == (
        "b/one.wav",
        sha256("same"),
        2.5,
        "Ann",
    )
    assert (copy["label"], copy["attack"]) == (None, None)
    assert (quiet["verdict"], quiet["spoof_score"], quiet["num_segments"], quiet["codec"]) == ("refused", None, 0, "OPUS")
    assert (quiet["reason"], quiet["review"], quiet["reviewed_at"]) == ("Nothing louder than -60 dBFS.", None, None)
    assert (gone["verdict"], gone["reason"], gone["sha256"], gone["codec"]) == ("refused", "No permission.", None, None)
    assert (gone["channel"], gone["num_segments"], gone["warnings"]) == ("mix", 0, "")


def test_scores_keep_every_digit_in_text(tmp_path: Path, store: Store) -> None:
    value = 0.1 + 0.2
    audit_id, _ = make_audit(store, [scored("a.wav", value)])
    for suffix in (".csv", ".jsonl", ".parquet"):
        export_audit(store, audit_id, tmp_path / f"a{suffix}")
        assert read_rows(tmp_path / f"a{suffix}")[0]["spoof_score"] == value


@pytest.mark.parametrize("suffix", EXPORT_FORMATS)
def test_channels_have_a_row_each(tmp_path: Path, store: Store, suffix: str) -> None:
    records = [scored("a.wav", *[float(i) for i in range(10)], None, channels="each"), unreadable("b.wav")]
    audit_id, _ = make_audit(store, records, channels="each")
    assert export_audit(store, audit_id, tmp_path / f"a{suffix}") == 12
    rows = read_rows(tmp_path / f"a{suffix}")
    assert [row["channel"] for row in rows] == [*(str(i) for i in range(1, 12)), "1"]
    assert [row["spoof_score"] for row in rows] == [*map(float, range(10)), None, None]
    assert [row["verdict"] for row in rows[9:]] == ["spoof", "refused", "refused"]


def test_only_the_audits_own_detector_and_channel_mode(tmp_path: Path, store: Store) -> None:
    mixed, _ = make_audit(store, [scored("a.wav", 1.0)])
    apart, _ = make_audit(store, [scored("a.wav", 2.0, channels="each")], channels="each")
    other, _ = make_audit(store, [scored("a.wav", 3.0)], detector=make_detector("other", "cd" * 32))
    for audit_id, *expected in ((mixed, 1.0, "mix", "fake"), (apart, 2.0, "1", "fake"), (other, 3.0, "mix", "other")):
        export_audit(store, audit_id, tmp_path / "a.jsonl")
        (row,) = read_rows(tmp_path / "a.jsonl")
        assert [row["spoof_score"], row["channel"], row["detector"]] == expected


def test_a_filter_narrows_the_export(tmp_path: Path, store: Store, audit_id: int) -> None:
    assert export_audit(store, audit_id, tmp_path / "a.csv", TriageFilter(folder="b", verdicts=("spoof",))) == 1
    assert [row["path"] for row in read_rows(tmp_path / "a.csv")] == ["b/one.wav"]


@pytest.mark.parametrize("suffix", EXPORT_FORMATS)
def test_an_export_of_nothing_has_the_columns(tmp_path: Path, store: Store, suffix: str) -> None:
    audit_id, _ = make_audit(store, [], pending=["later.wav"])
    path = tmp_path / f"a{suffix}"
    assert export_audit(store, audit_id, path) == 0
    assert read_rows(path) == []
    if suffix == ".parquet":
        assert tuple(pq.read_schema(path).names) == EXPORT_COLUMNS


@pytest.mark.parametrize("suffix", EXPORT_FORMATS)
def test_rows_of_many_chunks_all_arrive(tmp_path: Path, store: Store, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_CHUNK_ROWS", 7)
    audit_id, _ = make_audit(store, [scored(f"{i:02}.wav", float(i)) for i in range(50)])
    assert export_audit(store, audit_id, tmp_path / f"a{suffix}") == 50
    assert [row["spoof_score"] for row in read_rows(tmp_path / f"a{suffix}")] == [float(i) for i in range(50)]


@pytest.mark.parametrize("suffix", EXPORT_FORMATS)
def test_bytes_are_those_of_the_file(tmp_path: Path, store: Store, audit_id: int, suffix: str) -> None:
    export_audit(store, audit_id, tmp_path / f"a{suffix}")
    (tmp_path / f"b{suffix}").write_bytes(export_bytes(store, audit_id, suffix))
    assert read_rows(tmp_path / f"b{suffix}") == read_rows(tmp_path / f"a{suffix}")


# What a spreadsheet would run ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_disarmed(tmp_path: Path, store: Store, suffix: str, name: str) -> None:
    audit_id, ids = make_audit(store, [scored(name, -2.0)])
    add_reviews(store, [ids[name]], verdict="spoof", reviewer="=cmd()", note="@note")
    export_audit(store, audit_id, tmp_path / f"a{suffix}")
    (row,) = read_rows(tmp_path / f"a{suffix}")
    assert (row["path"], row["reviewer"], row["review_note"]) == (f"'{name}", "'=cmd()", "'@note")
    assert row["spoof_score"] == -2.0  # a number is no formula


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_other_formats_keep_names_as_they_are(tmp_path: Path, store: Store, suffix: str) -> None:
    audit_id, _ = make_audit(store, [scored(name, 1.0) for name in FORMULAS])
    export_audit(store, audit_id, tmp_path / f"a{suffix}")
    assert {row["path"] for row in read_rows(tmp_path / f"a{suffix}")} == set(FORMULAS)


@pytest.mark.parametrize("suffix", EXPORT_FORMATS)
def test_odd_names_survive(tmp_path: Path, store: Store, suffix: str) -> None:
    names = ["a,b;c.wav", "line\nbreak.wav", 'quote".wav', "emoji \N{SPEAKER}.wav", "bell\x07.wav", "<b>&amp;.wav", "nil", "007"]
    audit_id, _ = make_audit(store, [scored(name, 1.0) for name in names])
    export_audit(store, audit_id, tmp_path / f"a{suffix}")
    assert {row["path"] for row in read_rows(tmp_path / f"a{suffix}")} == set(names)


# What goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", EXPORT_FORMATS)
def test_an_export_that_fails_leaves_what_was_there(
    tmp_path: Path, store: Store, audit_id: int, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out" / f"a{suffix}"
    path.parent.mkdir()
    path.write_text("the old one")

    def full(_: object) -> tuple:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports, "_with_date", full)
    with pytest.raises(CoreError, match="No space left on device"):
        export_audit(store, audit_id, path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert path.read_text() == "the old one"


@pytest.mark.parametrize("suffix", EXPORT_FORMATS)
def test_an_export_replaces_an_older_one_and_leaves_nothing_else(tmp_path: Path, store: Store, audit_id: int, suffix: str) -> None:
    path = tmp_path / "out" / f"a{suffix}"
    path.parent.mkdir()
    path.write_text("the old one")
    export_audit(store, audit_id, path)
    assert len(read_rows(path)) == 4
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_sheet_that_cannot_hold_all_rows_is_refused(
    tmp_path: Path, store: Store, audit_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_XLSX_ROWS", 3)
    (tmp_path / "out").mkdir()
    with pytest.raises(CoreError, match="holds 3 rows, the export has 4"):
        export_audit(store, audit_id, tmp_path / "out" / "a.xlsx")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_long_note_is_cut_to_what_a_cell_holds(tmp_path: Path, store: Store) -> None:
    audit_id, ids = make_audit(store, [scored("a.wav", 1.0)])
    add_reviews(store, [ids["a.wav"]], verdict="spoof", reviewer="Ann", note="x" * 40_000)
    export_audit(store, audit_id, tmp_path / "a.xlsx")
    assert len(read_rows(tmp_path / "a.xlsx")[0]["review_note"]) == 32_767


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", r"ends in \.csv, \.parquet, \.jsonl, \.xlsx; got 'a\.txt'"),
        ("csv", "got 'csv'"),
        ("missing/a.csv", "(there is no folder|No such file)"),
        ("file/a.csv", "(there is no folder|Not a directory)"),
        ("folder.csv", "(is a folder|Is a directory)"),
    ],
)
def test_wrong_destinations(tmp_path: Path, store: Store, audit_id: int, name: str, message: str) -> None:
    (tmp_path / "file").write_text("a file where a folder is needed")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for attempt in (check_destination, lambda path: export_audit(store, audit_id, path)):
        with pytest.raises(CoreError, match=message):
            attempt(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_permission(tmp_path: Path, store: Store, audit_id: int) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with ordinary_user():
        for attempt in (check_destination, lambda path: export_audit(store, audit_id, path)):
            with pytest.raises(CoreError, match="Permission denied"):
                attempt(tmp_path / "closed" / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "A.XLSX", "b.parquet"])
def test_a_good_destination_is_left_untouched(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_destination(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    check_destination(Path(name))
    assert os.listdir(tmp_path) == []


def test_upper_case_endings_are_known(tmp_path: Path, store: Store, audit_id: int) -> None:
    assert export_audit(store, audit_id, tmp_path / "A.CSV") == 4
    assert len(list(csv.reader(io.StringIO((tmp_path / "A.CSV").read_text(encoding="utf-8"))))) == 5


def test_no_such_audit(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreError, match="no audit 9"):
        export_audit(store, 9, tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()

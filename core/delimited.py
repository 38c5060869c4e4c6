"""Tables of people's files as rows of text with line numbers: white space, CSV, TSV, JSON lines, XLSX, Parquet; gzipped or not.

Knows no columns. Protocols, score files and manifests are all read by this.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from core.errors import CoreError

MAX_BYTES = 2**30
"""A file, unpacked, beyond which it is taken for a mistake: a million scores are about 40 MB."""
_GZIP, _PARQUET, _ZIP = b"\x1f\x8b", b"PAR1", b"PK\x03\x04"
_DELIMITERS = ("\t", ";", ",")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.IGNORECASE)
_LOG_LINE = "Output,"
"""How the LCNN of ASVspoof 2021's baselines begins the lines with scores in its log: `Output, LA_E_1, 0, -3.2`."""
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimited:
    """The rows of a file, all of one length."""

    name: str
    """What errors call it."""
    header: tuple[str, ...] | None
    """Names of the columns; None where the file has none."""
    columns: tuple[tuple[str, ...], ...]
    """`[column][row]` text as it stands; empty where a Parquet file has a null."""
    line_numbers: tuple[int, ...]
    """`[row]`, from 1; the row's number in a Parquet file."""


def read_delimited(
    source: str | os.PathLike[str] | bytes,
    *,
    name: str | None,
    is_header: Callable[[list[str]], bool],
    error: type[CoreError],
) -> Delimited:
    """Reads a file; its first bytes and its first line tell the form.

    Args:
        source: a path, or the file's bytes.
        name: what to call it in errors; the path when None.
        is_header: whether the fields of the first line are names of columns.
        error: what is raised.

    Raises:
        CoreError: unreadable, cut off, empty, or a line with another number of fields than the first (with its number).
    """
    name = name or (os.fspath(source) if not isinstance(source, bytes) else "the file")
    try:
        data = _unpacked(source if isinstance(source, bytes) else _bytes_of(source), name)
        if data[:4] == _PARQUET:
            return _from_parquet(data, name)
        has_header = True
        if data[:4] == _ZIP:
            rows, numbers = _rows_of_sheet(data, name)
        elif data[:64].lstrip(codecs.BOM_UTF8).lstrip()[:1] == b"{":
            rows, numbers = _rows_of_json(_text_of(data, name), name)
        else:
            rows, numbers, is_log = _rows_of(_text_of(data, name), name)
            has_header = bool(rows) and (is_log or is_header(rows[0]))
        if not rows:
            raise _TableError(f"{name} is empty; expected one line for each utterance.")
        _check_lengths(rows, numbers, name)
    except _TableError as problem:
        raise error(str(problem)) from None
    header = None
    if has_header:
        header, rows, numbers = tuple(rows[0]), rows[1:], numbers[1:]
        if not rows:
            raise error(f"{name} holds no rows: its one line ({', '.join(header)}) is taken for names of columns.")
    return Delimited(name=name, header=header, columns=tuple(zip(*rows, strict=True)), line_numbers=tuple(numbers))


def is_number(text: str) -> bool:
    """Whether a cell is a number, as Python writes it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def decimal_comma(text: str) -> bool:
    """Whether a cell is a number with a comma for the point."""
    return _DECIMAL_COMMA.fullmatch(text) is not None


class _TableError(Exception):
    """What is wrong with a file, in a sentence."""


def _bytes_of(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise _TableError(f"{path} is not there; check the path.") from None
    except OSError as error:
        raise _TableError(f"{path} could not be read: {error.strerror}.") from None


def _unpacked(data: bytes, name: str) -> bytes:
    if data[:2] != _GZIP:
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(MAX_BYTES + 1)
    except EOFError:
        raise _TableError(f"{name} is cut off: its gzip stream has no end. Copy or download it again.") from None
    except (OSError, zlib.error) as error:
        raise _TableError(f"{name} is a damaged gzip file: {error}. Copy or download it again.") from None
    if len(unpacked) > MAX_BYTES:
        raise _TableError(f"{name} unpacks to more than {MAX_BYTES // 2**20} MiB, too much for a table.")
    return unpacked


def _text_of(data: bytes, name: str) -> str:
    if b"\0" in data[:200] and data[:2] not in _UTF_16:
        raise _TableError(f"{name} is not text, or UTF-16 without its mark. Save it as UTF-8.")
    try:
        return data.decode("utf-16" if data[:2] in _UTF_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _TableError(
            f"{name}, line {line}: not UTF-8 text. Save it as UTF-8; or give CSV, TSV, JSON lines, XLSX or Parquet."
        ) from None


def _rows_of(text: str, name: str) -> tuple[list[list[str]], list[int], bool]:
    """The lines that are not blank, in fields, their numbers, and whether they are a log's, to which a header was added."""
    if f"\n{_LOG_LINE}" in text or text.startswith(_LOG_LINE):
        found = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if line.startswith(_LOG_LINE)]
        rows = [[field.strip() for field in line.split(",")[1:4]] for _, line in found]
        return [["utterance", "label", "score"], *rows], [found[0][0], *(i for i, _ in found)], True
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((delimiter for delimiter in _DELIMITERS if delimiter in first), None)
    is_white = delimiter == "," and any(map(decimal_comma, first.split()[1:]))
    if delimiter == "\t":  # a tab at the end, or tabs and blanks by turns
        last = first.rpartition("\t")[2].strip()
        is_white = (not last or " " in last) and len({len(line.split()) for line in text.splitlines() if line.strip()}) == 1
    if delimiter is None or is_white:
        rows = [line.split() for line in text.splitlines()]
        return [row for row in rows if row], [number for number, row in enumerate(rows, start=1) if row], False
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows, numbers = [], []
    try:
        for row in reader:
            if any(row):
                rows.append([_live(field.strip()) for field in row])
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise _TableError(f"{name}, line {reader.line_num}: {error}.") from None
    return rows, numbers, False


def _live(field: str) -> str:
    """Without the apostrophe that our exports put before what a spreadsheet would run (`core.store.exports.inert`)."""
    return field[1:] if field[:1] == "'" and field[1:2] in ("=", "+", "-", "@") else field


def _rows_of_json(text: str, name: str) -> tuple[list[list[str]], list[int]]:
    """JSON lines: one object to a line; the first names the columns."""
    header: dict[str, None] = {}
    found: list[tuple[int, dict]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                found.append((number, dict(json.loads(line))))
            except (ValueError, TypeError):
                raise _TableError(f"{name}, line {number}: not a JSON object; expected one of them to a line.") from None
            header |= dict.fromkeys(found[-1][1])
    rows = [["" if row.get(column) is None else str(row[column]) for column in header] for _, row in found]
    return [list(header), *rows], [1, *(number for number, _ in found)]


def _rows_of_sheet(data: bytes, name: str) -> tuple[list[list[str]], list[int]]:
    """The first sheet of an XLSX file, its cells as text."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            if sum(entry.file_size for entry in book.infolist()) > MAX_BYTES:
                raise _TableError(f"{name} unpacks to more than {MAX_BYTES // 2**20} MiB, too much for a table.")
            texts = []
            if "xl/sharedStrings.xml" in book.namelist():
                shared = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
                texts = ["".join(part.text or "" for part in item.iter(f"{_SHEET}t")) for item in shared]
            sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
            found = [(int(row.get("r", 0)), dict(_cells(row, texts))) for row in sheet.iter(f"{_SHEET}row")]
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError, ValueError, TypeError, IndexError, zlib.error) as error:
        raise _TableError(f"{name} is no XLSX file that can be read here ({error}). Export it as CSV.") from None
    width = max((max(row, default=0) for _, row in found), default=0) + 1
    found = [(number, [row.get(column, "") for column in range(width)]) for number, row in found if any(row.values())]
    return [row for _, row in found], [number for number, _ in found]


def _cells(row: ElementTree.Element, texts: list[str]) -> Iterator[tuple[int, str]]:
    """Number of the column, from 0, and text of each cell of a sheet's row."""
    for cell in row.iter(f"{_SHEET}c"):
        column = 0
        for letter in re.match(r"[A-Z]+", cell.get("r", ""))[0]:
            column = 26 * column + ord(letter) - ord("A") + 1
        text = "".join(part.text or "" for part in cell.iter() if part.tag in (f"{_SHEET}v", f"{_SHEET}t"))
        yield column - 1, _live((texts[int(text)] if cell.get("t") == "s" else text).strip())


def _check_lengths(rows: list[list[str]], numbers: list[int], name: str) -> None:
    expected = len(rows[0])
    wrong = next((i for i, row in enumerate(rows) if len(row) != expected), None)
    if wrong is not None:
        found = len(rows[wrong])
        raise _TableError(
            f"{name}, line {numbers[wrong]}: expected {expected} columns as in line {numbers[0]}, found {found}."
            " Is a line broken, does a name hold a blank, or a number a decimal comma?"
        )


def _from_parquet(data: bytes, name: str) -> Delimited:
    import pandas as pd  # no other form waits for it

    try:
        table = pd.read_parquet(io.BytesIO(data))
    except (ValueError, OSError) as error:  # pyarrow's errors are both
        raise _TableError(f"{name} is a Parquet file that could not be read: {error}.") from None
    if not len(table):
        raise _TableError(f"{name} holds no rows.")
    columns = [
        tuple("" if is_null else str(value) for value, is_null in zip(table[c], table[c].isna(), strict=True)) for c in table
    ]
    return Delimited(
        name=name,
        header=tuple(map(str, table.columns)),
        columns=tuple(columns),
        line_numbers=tuple(range(1, len(table) + 1)),
    )

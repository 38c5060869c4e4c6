"""Tables of people's files as rows of text with line numbers: white space, CSV, TSV, Parquet, gzipped or not. Knows no columns."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core.errors import ScoreFileError

MAX_BYTES = 2**30
"""A file, unpacked, beyond which it is taken for a mistake: a million scores are about 40 MB."""
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_DELIMITERS = (",", ";", "\t")


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
    source: str | os.PathLike[str] | bytes, *, name: str | None, is_header: Callable[[list[str]], bool]
) -> Delimited:
    """Reads a file; its first bytes and its first line tell the form.

    Args:
        source: a path, or the file's bytes.
        name: what to call it in errors; the path when None.
        is_header: whether the fields of the first line are names of columns.

    Raises:
        ScoreFileError: unreadable, cut off, empty, or a line with another number of fields than the first (with its number).
    """
    name = name or (os.fspath(source) if not isinstance(source, bytes) else "the file")
    data = _unpacked(source if isinstance(source, bytes) else _bytes_of(source), name)
    if data[:4] == _PARQUET:
        return _from_parquet(data, name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ScoreFileError(
            f"{name}, line {line}: not UTF-8 text. Expected white space, CSV, TSV or Parquet, maybe gzipped."
        ) from None
    rows, numbers = _rows_of(text, name)
    if not rows:
        raise ScoreFileError(f"{name} is empty; expected one line for each utterance.")
    _check_lengths(rows, numbers, name)
    header = None
    if is_header(rows[0]):
        header, rows, numbers = tuple(rows[0]), rows[1:], numbers[1:]
        if not rows:
            raise ScoreFileError(
                f"{name} has one line ({', '.join(header)}), which holds no number and is taken for names of columns."
            )
    return Delimited(name=name, header=header, columns=tuple(zip(*rows, strict=True)), line_numbers=tuple(numbers))


def _bytes_of(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ScoreFileError(f"{path} could not be read: {error.strerror}.") from None


def _unpacked(data: bytes, name: str) -> bytes:
    if data[:2] != _GZIP:
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(MAX_BYTES + 1)
    except EOFError:
        raise ScoreFileError(f"{name} is cut off: its gzip stream has no end. Copy or download it again.") from None
    except (OSError, zlib.error) as error:
        raise ScoreFileError(f"{name} is a damaged gzip file: {error}. Copy or download it again.") from None
    if len(unpacked) > MAX_BYTES:
        raise ScoreFileError(f"{name} unpacks to more than {MAX_BYTES // 2**20} MiB, too much for scores.")
    return unpacked


def _rows_of(text: str, name: str) -> tuple[list[list[str]], list[int]]:
    """The lines that are not blank, in fields, and their numbers."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((delimiter for delimiter in _DELIMITERS if delimiter in first), None)
    if delimiter is None:
        rows = [line.split() for line in text.splitlines()]
        return [row for row in rows if row], [number for number, row in enumerate(rows, start=1) if row]
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows, numbers = [], []
    try:
        for row in reader:
            if any(row):
                rows.append([field.strip() for field in row])
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise ScoreFileError(f"{name}, line {reader.line_num}: {error}.") from None
    return rows, numbers


def _check_lengths(rows: list[list[str]], numbers: list[int], name: str) -> None:
    expected = len(rows[0])
    wrong = next((i for i, row in enumerate(rows) if len(row) != expected), None)
    if wrong is not None:
        found = len(rows[wrong])
        raise ScoreFileError(
            f"{name}, line {numbers[wrong]}: expected {expected} columns as in line {numbers[0]}, found {found}."
            " Is a line broken, or does a name hold a blank?"
        )


def _from_parquet(data: bytes, name: str) -> Delimited:
    try:
        table = pd.read_parquet(io.BytesIO(data))
    except (ValueError, OSError) as error:  # pyarrow's errors are both
        raise ScoreFileError(f"{name} is a Parquet file that could not be read: {error}.") from None
    if not len(table):
        raise ScoreFileError(f"{name} holds no rows.")
    columns = [
        tuple("" if is_null else str(value) for value, is_null in zip(table[c], table[c].isna(), strict=True)) for c in table
    ]
    return Delimited(
        name=name,
        header=tuple(map(str, table.columns)),
        columns=tuple(columns),
        line_numbers=tuple(range(1, len(table) + 1)),
    )

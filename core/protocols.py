"""ASVspoof protocols: which utterance is bona fide, which is spoofed by what. Reads, never writes."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import PurePath

from core.errors import ProtocolError

KEYS = {"bonafide": "bona fide", "spoof": "spoof"}
"""Key in a protocol -> label inside the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One line of a protocol."""

    speaker: str
    utterance: str
    """File name without its ending."""
    environment: str | None
    """Physical-access environment code; None in logical access."""
    attack: str | None
    """Attack code or corpus name; None for bona fide."""
    label: str
    """`bona fide` or `spoof`."""


def read_protocol(path: str | os.PathLike[str]) -> dict[str, Trial]:
    """Reads `speaker utterance environment attack key` lines (ASVspoof 2019 CM protocols; also gzipped).

    Returns:
        Utterance -> trial, in the file's order.

    Raises:
        ProtocolError: unreadable, a line of another form (with its number), an unknown key, or a duplicate.
    """
    trials: dict[str, Trial] = {}
    for number, line in enumerate(_lines_of(path), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 5:
            raise ProtocolError(
                f"{path}, line {number}: expected 5 columns (speaker utterance environment attack key), found {len(fields)}."
            )
        speaker, utterance, environment, attack, key = fields
        if key not in KEYS:
            raise ProtocolError(f"{path}, line {number}: the key is {key!r}; expected bonafide or spoof.")
        if utterance in trials:
            raise ProtocolError(f"{path}, line {number}: {utterance} occurs twice.")
        trials[utterance] = Trial(
            speaker=speaker,
            utterance=utterance,
            environment=None if environment == "-" else environment,
            attack=None if attack == "-" else attack,
            label=KEYS[key],
        )
    if not trials:
        raise ProtocolError(f"{path} holds no trials.")
    return trials


def utterance_of(path: str | os.PathLike[str]) -> str:
    """The utterance a file holds: its name without the ending."""
    return PurePath(path).stem


def _lines_of(path: str | os.PathLike[str]) -> list[str]:
    opened = gzip.open if os.fspath(path).endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            return file.readlines()
    except FileNotFoundError:
        raise ProtocolError(f"The protocol {path} is not there.") from None
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise ProtocolError(f"The protocol {path} could not be read: {error}.") from None

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
    """Physical-access environment (2019: `aaa`; 2021: `R3/M3/d4`), or codec and transmission (`alaw/ita_tx`, `C01/1`)."""
    attack: str | None
    """Attack code or corpus name; None for bona fide."""
    label: str
    """`bona fide` or `spoof`."""
    family: str | None = None
    """Kind of vocoder, where the protocol tells (2021 DF)."""
    subset: str | None = None
    """ASVspoof 2021's `eval`, `progress` or `hidden`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolFlaw:
    """A line that cannot be used as it stands."""

    kind: str
    """`duplicate` (same label again), `contradiction` (another label) or `unknown key`."""
    utterance: str
    sentence: str
    """File, line number and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A whole protocol, with what is wrong in it."""

    form: str
    """Name of the form, e.g. `ASVspoof 2021 DF`."""
    trials: dict[str, Trial]
    """Utterance -> trial, in the file's order."""
    flaws: tuple[ProtocolFlaw, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    name: str
    columns: str
    key: int
    attack: tuple[int, ...]
    environment: tuple[int, ...]
    family: int | None = None
    subset: int | None = None


# By number of columns. 2021: the organisers' eval-package README, "On meta-labels" (the first 12 and 13 columns); 5: README.txt
# of the Zenodo record 14498691 (white space between columns in spite of the ending .tsv).
_FORMS = {
    5: _Form(name="ASVspoof 2019", columns="speaker utterance environment attack key", key=4, attack=(3,), environment=(2,)),
    8: _Form(
        name="ASVspoof 2021 LA",
        columns="speaker utterance codec transmission attack key trim subset",
        key=5,
        attack=(4,),
        environment=(2, 3),
        subset=7,
    ),
    10: _Form(
        name="ASVspoof 5",
        columns="speaker utterance gender codec codec_q codec_seed attack_tag attack key tmp",
        key=8,
        attack=(7,),
        environment=(3, 4),
    ),
    12: _Form(
        name="ASVspoof 2021 PA",
        columns="speaker utterance room microphone distance replay_room replay_microphone device replay_distance key trim subset",
        key=9,
        attack=(5, 6, 7, 8),
        environment=(2, 3, 4),
        subset=11,
    ),
    13: _Form(
        name="ASVspoof 2021 DF",
        columns="speaker utterance codec source attack key trim subset vocoder task team gender language",
        key=5,
        attack=(4,),
        environment=(2, 3),
        family=8,
        subset=7,
    ),
}


def read_protocol(path: str | os.PathLike[str]) -> dict[str, Trial]:
    """Reads a countermeasure protocol of ASVspoof 2019, 2021 or 5 (also gzipped); the number of columns tells the form.

    Returns:
        Utterance -> trial, in the file's order.

    Raises:
        ProtocolError: unreadable, a line of another form (with its number), an unknown key, or a duplicate.
    """
    protocol = parse_protocol(_bytes_of(path), name=os.fspath(path))
    if protocol.flaws:
        raise ProtocolError(protocol.flaws[0].sentence)
    return protocol.trials


def parse_protocol(data: bytes, *, name: str) -> Protocol:
    """Parses a protocol's bytes; unknown keys and duplicates are told as flaws and left out.

    Args:
        data: the file, gzipped if `name` ends with `.gz`.
        name: what to call it in errors.

    Raises:
        ProtocolError: not text, a line of another form (with its number), or nothing in it.
    """
    form, trials, flaws = None, {}, []
    for number, line in enumerate(_text_of(data, name).splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        form = form or _FORMS.get(len(fields), _FORMS[5])
        columns = form.columns.split()
        if len(fields) != len(columns):
            raise ProtocolError(
                f"{name}, line {number}: expected {len(columns)} columns ({form.columns}), found {len(fields)}."
                " ASVspoof 2021 has 8 (LA), 12 (PA) or 13 (DF), ASVspoof 5 has 10."
            )
        utterance, key = fields[1], fields[form.key]
        if key not in KEYS:
            sentence = f"{name}, line {number}: the key is {key!r}; expected bonafide or spoof."
            flaws.append(ProtocolFlaw(kind="unknown key", utterance=utterance, sentence=sentence))
            continue
        trial = _trial(fields, form)
        if utterance in trials:
            is_same = trials[utterance].label == trial.label
            sentence = f"{name}, line {number}: {utterance} occurs twice{'' if is_same else ', with two labels'}."
            kind = "duplicate" if is_same else "contradiction"
            flaws.append(ProtocolFlaw(kind=kind, utterance=utterance, sentence=sentence))
            continue
        trials[utterance] = trial
    if form is None:
        raise ProtocolError(f"{name} holds no trials.")
    return Protocol(form=form.name, trials=trials, flaws=tuple(flaws))


def utterance_of(path: str | os.PathLike[str]) -> str:
    """The utterance a file holds: its name without the ending."""
    return PurePath(path).stem


def _trial(fields: list[str], form: _Form) -> Trial:
    label = KEYS[fields[form.key]]
    return Trial(
        speaker=fields[0],
        utterance=fields[1],
        environment=_joined(fields, form.environment),
        # 2021 and 5 repeat `bonafide` in the column of the attack.
        attack=None if label == "bona fide" else _joined(fields, form.attack),
        label=label,
        family=_joined(fields, (form.family,)) if form.family and label == "spoof" else None,
        subset=fields[form.subset] if form.subset else None,
    )


def _joined(fields: list[str], columns: tuple[int, ...]) -> str | None:
    """The columns with slashes between them; None where the first says nothing (`- 0` of an uncoded utterance)."""
    return None if fields[columns[0]] == "-" else "/".join(fields[column] for column in columns)


def _bytes_of(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise ProtocolError(f"The protocol {path} is not there.") from None
    except OSError as error:
        raise ProtocolError(f"The protocol {path} could not be read: {error}.") from None


def _text_of(data: bytes, name: str) -> str:
    try:
        return (gzip.decompress(data) if name.endswith(".gz") else data).decode("utf-8")
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise ProtocolError(f"The protocol {name} could not be read: {error}.") from None

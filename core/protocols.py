"""Protocols: which utterance is bona fide, which is spoofed by what, in ASVspoof's forms and as tables. Reads, never writes."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace

from core.delimited import Delimited, is_number, read_delimited
from core.errors import CoreError, ProtocolError
from core.labels import ASV_KEYS, EXPECTED, USUAL_COLUMNS, find_columns, label_of, labels_of
from core.names import bare_names

SUBSETS = ("eval", "progress", "hidden", "all")
"""ASVspoof 2021's subsets, and all of them together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolChoices:
    """What a user may have to say about a protocol."""

    subset: str = "eval"
    """One of `SUBSETS`; the organisers publish figures of `eval`. Of protocols without subsets it says nothing."""
    one_means: str | None = None
    """`bona fide` or `spoof`: what 1 means where labels are 0 and 1."""

    def __post_init__(self) -> None:
        if self.subset not in SUBSETS:
            raise CoreError(f"The subset is {self.subset!r}; expected one of {', '.join(SUBSETS)}.")


AS_PUBLISHED = ProtocolChoices()


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
    """ASVspoof 2021's `eval`, `progress` or `hidden`; a table's split."""
    codec: str | None = None
    source: str | None = None
    known_system: bool | None = None
    """What tables with a header may tell beyond ASVspoof's forms."""


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
    """Name of the form, e.g. `ASVspoof 2021 DF`; `table` where a header names the columns."""
    trials: dict[str, Trial]
    """Utterance -> trial, in the file's order."""
    flaws: tuple[ProtocolFlaw, ...]
    subset: str | None = None
    """Which subset of ASVspoof 2021 the trials are; None where there are none."""
    left_out: frozenset[str] = frozenset()
    """Utterances of the other subsets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    name: str
    columns: str
    attack: tuple[str, ...] = ("attack",)
    environment: tuple[str, ...] = ()


# By number of columns. 2017: README of the ASVspoof 2017 V2 protocols; 2021: the organisers' eval-package README, "On
# meta-labels" (the first 12 and 13 columns); 5: README.txt of the Zenodo record 14498691 (white space between columns in spite
# of the ending .tsv). 2015 has the columns that RawNet2 and others write for 2019.
_FORMS = {
    2: _Form(name="utterance and key", columns="utterance key", attack=()),
    3: _Form(name="speaker, utterance and key", columns="speaker utterance key", attack=()),
    4: _Form(name="ASVspoof 2015", columns="speaker utterance attack key"),
    5: _Form(name="ASVspoof 2019", columns="speaker utterance environment attack key", environment=("environment",)),
    6: _Form(name="ASVspoof 5, phase 1", columns="speaker utterance gender codec attack key", environment=("codec",)),
    7: _Form(
        name="ASVspoof 2017",
        columns="utterance key speaker phrase environment player recorder",
        attack=("environment", "player", "recorder"),
    ),
    8: _Form(
        name="ASVspoof 2021 LA",
        columns="speaker utterance codec transmission attack key trim subset",
        environment=("codec", "transmission"),
    ),
    10: _Form(
        name="ASVspoof 5",
        columns="speaker utterance gender codec codec_q codec_seed attack_tag attack key tmp",
        environment=("codec", "codec_q"),
    ),
    12: _Form(
        name="ASVspoof 2021 PA",
        columns="speaker utterance room microphone distance replay_room replay_microphone device replay_distance key trim subset",
        attack=("replay_room", "replay_microphone", "device", "replay_distance"),
        environment=("room", "microphone", "distance"),
    ),
    13: _Form(
        name="ASVspoof 2021 DF",
        columns="speaker utterance codec source attack key trim subset family task team gender language",
        environment=("codec", "source"),
    ),
}


def read_protocol(path: str | os.PathLike[str], choices: ProtocolChoices = AS_PUBLISHED) -> dict[str, Trial]:
    """Reads a protocol in any form of ASVspoof, or a table with a header (CSV, TSV, JSON lines, XLSX, Parquet); also gzipped.

    Returns:
        Utterance -> trial, in the file's order, of the subset that was chosen.

    Raises:
        ProtocolError: unreadable, a line of another form (with its number), an unknown key, or a duplicate.
        UnclearLabelsError: labels of zeros and ones, and nobody said which is which.
    """
    return usable_protocol(path, name=os.fspath(path), choices=choices).trials


def usable_protocol(source: str | os.PathLike[str] | bytes, *, name: str, choices: ProtocolChoices = AS_PUBLISHED) -> Protocol:
    """As `read_protocol`, with what is known of the whole; of a path, or of the file's bytes."""
    protocol = parse_protocol(source, name=name, one_means=choices.one_means)
    if protocol.flaws:
        more = f" {len(protocol.flaws)} lines of it cannot be used." if len(protocol.flaws) > 1 else ""
        raise ProtocolError(protocol.flaws[0].sentence + more)
    found = Counter(trial.subset for trial in protocol.trials.values())
    if not protocol.form.startswith("ASVspoof 2021"):
        return protocol
    trials = {u: trial for u, trial in protocol.trials.items() if choices.subset in ("all", trial.subset)}
    if not trials:
        there = ", ".join(f"{number:,} of {subset}" for subset, number in found.items())
        raise ProtocolError(f"{name} has no trials of the subset {choices.subset}, but {there}. Choose another with --subset.")
    return replace(protocol, trials=trials, subset=choices.subset, left_out=frozenset(protocol.trials) - frozenset(trials))


def parse_protocol(source: str | os.PathLike[str] | bytes, *, name: str, one_means: str | None = None) -> Protocol:
    """Parses a protocol, of all subsets; unknown keys and duplicates are told as flaws and left out.

    Args:
        source: a path, or the file's bytes.
        name: what to call it in errors.
        one_means: `bona fide` or `spoof`, what a 1 means where labels are 0 and 1.

    Raises:
        ProtocolError: not text, a line of another form (with its number), or nothing in it.
        UnclearLabelsError: labels of zeros and ones, and nobody said which is which.
    """
    table = read_delimited(source, name=name, is_header=_is_header, error=ProtocolError)
    form, columns = _columns_of(table)
    keys = columns["label"]
    if not ASV_KEYS.isdisjoint(keys):
        raise ProtocolError(
            f"{name} lists trials of a speaker verifier (target and nontarget), not of a detector of spoofs."
            " Give the countermeasure's protocol: a file with `cm` in its name, or keys/.../CM/trial_metadata.txt."
        )
    meanings = labels_of(keys, name=name, one_means=one_means, column=_label_column(table))
    trials: dict[str, Trial] = {}
    flaws = []
    utterances = bare_names(columns["utterance"])
    for row, (number, utterance, key) in enumerate(zip(table.line_numbers, utterances, keys, strict=True)):
        label = meanings.get(key)
        if key not in meanings or not utterance:
            what = f"the key is {key!r}; {EXPECTED}" if utterance else "no utterance"
            flaws.append(ProtocolFlaw(kind="unknown key", utterance=utterance, sentence=f"{name}, line {number}: {what}."))
        elif label is None:  # our exports have a line for recordings without a label, too
            continue
        elif utterance in trials:
            is_same = trials[utterance].label == label
            sentence = f"{name}, line {number}: {utterance} occurs twice{'' if is_same else ', with two labels'}."
            kind = "duplicate" if is_same else "contradiction"
            flaws.append(ProtocolFlaw(kind=kind, utterance=utterance, sentence=sentence))
        else:
            trials[utterance] = _trial({what: column[row] for what, column in columns.items()}, utterance, label, form)
    if not trials and not flaws:
        raise ProtocolError(f"{name} gives no utterance a label; {EXPECTED}.")
    return Protocol(form=form.name, trials=trials, flaws=tuple(flaws))


def _is_header(first: list[str]) -> bool:
    """Whether names of columns stand there: usual ones for utterances and labels, or one of them beside no label."""
    found = find_columns(first)
    if "utterance" in found and "label" in found:
        return True
    return ("utterance" in found or "label" in found) and not any(label_of(word) or word in ASV_KEYS for word in first)


def _columns_of(table: Delimited) -> tuple[_Form, dict[str, tuple[str, ...]]]:
    """The form, and what is told -> its column."""
    num, first = len(table.columns), [column[0] for column in table.columns]
    place = f"{table.name}, line {table.line_numbers[0]}"
    if table.header is not None:
        found = find_columns(table.header)
        if "utterance" not in found or "label" not in found:
            missing = "utterance" if "utterance" not in found else "label"
            raise ProtocolError(
                f"{table.name} has the columns {', '.join(table.header)}; none of them is known as the {missing}."
                f" Call it {missing!r} (or {', '.join(USUAL_COLUMNS[missing][1:5])})."
            )
        form = _Form(name="table", columns="", environment=("environment",))
        return form, {what: table.columns[table.header.index(column)] for what, column in found.items()}
    if num == 1:
        raise ProtocolError(
            f"{place}: {first[0]} stands alone. A protocol says of each utterance whether it is spoofed; ASVspoof 2021's labels"
            " are in keys/.../CM/trial_metadata.txt."
        )
    form = _FORMS.get(num)
    if form is None:
        raise ProtocolError(
            f"{place}: {num} columns are no protocol that is known. ASVspoof 2015 has 4, 2019 5 ({_FORMS[5].columns}), 2017 7,"
            " 2021 8 (LA), 12 (PA) or 13 (DF), ASVspoof 5 10; other tables need a first line that names their columns, such as"
            " utterance and label."
        )
    columns = dict(zip(form.columns.split(), table.columns, strict=True))
    columns["label"] = columns.pop("key")
    is_score_file = not any(map(label_of, columns["label"])) and any(is_number(field) for field in first[1:])
    if num < 5 and is_score_file and not {"0", "1"}.issuperset(columns["label"]):
        raise ProtocolError(f"{place}: a score, and no label. This is a score file; give the protocol that belongs to it.")
    return form, columns


def _label_column(table: Delimited) -> str | None:
    return find_columns(table.header)["label"] if table.header else None


def _trial(fields: dict[str, str], utterance: str, label: str, form: _Form) -> Trial:
    is_table, is_spoof = form.name == "table", label == "spoof"
    known = fields.get("known_system", "").lower()
    return Trial(
        speaker=fields.get("speaker") or "-",
        utterance=utterance,
        environment=_joined(fields, form.environment),
        # 2021 and 5 repeat `bonafide` in the column of the attack.
        attack=_joined(fields, form.attack) if is_spoof else None,
        label=label,
        family=_joined(fields, ("family",)) if is_spoof or is_table else None,
        subset=fields.get("subset") or fields.get("split") or None,
        codec=_joined(fields, ("codec",)) if is_table else None,
        source=_joined(fields, ("source",)) if is_table else None,
        known_system={"true": True, "1": True, "false": False, "0": False}.get(known),
    )


def _joined(fields: dict[str, str], columns: tuple[str, ...]) -> str | None:
    """The columns with slashes between them; None where the first says nothing (`- 0` of an uncoded utterance)."""
    if not columns or fields.get(columns[0], "") in ("", "-"):
        return None
    return "/".join(fields[column] for column in columns)

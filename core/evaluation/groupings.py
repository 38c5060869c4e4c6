"""Which trials each row of a table holds: human, the groups, the totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.evaluation.attack_info import ATTACKS, EVAL_PART, TRAIN_PART, is_asvspoof2019_la
from core.evaluation.records import Grouping
from core.evaluation.trial_attributes import NOT_KNOWN, OF_ATTACKS, coded
from core.evaluation.trial_sets import TrialSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The trials of a row."""

    key: str
    title: str
    description: str
    kind: Literal["human", "group", "total"]
    spoof: np.ndarray
    """Rows of its spoofs in the set's table."""
    bona_fide: np.ndarray
    """Rows of the bona fide trials that its spoofs are measured against; shared by the groups of a grouping of attacks."""
    owns_bona_fide: bool
    """Whether those belong to the row, so that they count in its accuracy."""

    @property
    def own(self) -> np.ndarray:
        """Rows of the group's own trials."""
        return np.concatenate([self.bona_fide, self.spoof]) if self.owns_bona_fide else self.spoof


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """All trials, or those of ASVspoof's train and dev, or those of its eval."""

    name: str | None
    spoof: np.ndarray
    bona_fide: np.ndarray


def groups_of(trial_set: TrialSet, grouping: Grouping) -> tuple[Group, ...]:
    """Human, the groups in their natural order, the total; empty ones are left out.

    Where a set mixes the attacks of ASVspoof 2019's train and dev with those of its eval, each of the two has groups and a
    total of its own.

    Raises:
        CoreError: an unknown grouping, or one of which the set knows nothing.
    """
    codes, titles = coded(trial_set, grouping)
    parts = _parts(trial_set)
    is_la = is_asvspoof2019_la(trial_set)
    descriptions = [_description(title, grouping, is_la) for title in titles]
    groups = []
    for part in parts:
        groups += _groups_of_part(part, codes, titles, descriptions, grouping=grouping)
    totals = [
        Group(
            key=f"total: {part.name}" if part.name else "total",
            title=f"Total {part.name}" if part.name else "Total",
            description="All trials" if part.name is None else f"All trials of the part with the attacks {part.name}",
            kind="total",
            spoof=part.spoof,
            bona_fide=part.bona_fide,
            owns_bona_fide=True,
        )
        for part in parts
    ]
    bona_fide = np.flatnonzero(~trial_set.is_spoof)
    human = Group(
        key="human",
        title="Human (bona fide)",
        description="Bona fide speech",
        kind="human",
        spoof=np.empty(0, dtype=np.intp),
        bona_fide=bona_fide,
        owns_bona_fide=True,
    )
    return tuple(([human] if len(bona_fide) else []) + groups + totals)


def has_both_parts(trial_set: TrialSet) -> bool:
    """Whether the set mixes the attacks of ASVspoof 2019 LA's train and dev with those of its eval."""
    if not is_asvspoof2019_la(trial_set):
        return False
    return len({ATTACKS[attack].part for attack in trial_set.table["attack"].dropna().unique()}) == 2


def _groups_of_part(
    part: _Part, codes: np.ndarray, titles: list[str], descriptions: list[str], *, grouping: Grouping
) -> list[Group]:
    """The groups of one part, named with it where there are several and an attack doesn't tell which."""
    is_of_attacks = grouping in OF_ATTACKS
    spoofs = _split(part.spoof, codes, len(titles))
    bona_fides = [part.bona_fide] * len(titles) if is_of_attacks else _split(part.bona_fide, codes, len(titles))
    groups = []
    for title, description, spoof, bona_fide in zip(titles, descriptions, spoofs, bona_fides, strict=True):
        if len(spoof) == 0 and (is_of_attacks or len(bona_fide) == 0):
            continue
        tells_part = part.name is None or (grouping == "attack" and title != NOT_KNOWN)
        name = title if tells_part else f"{title}, {part.name}"
        groups.append(
            Group(
                key=name,
                title=name,
                description=description,
                kind="group",
                spoof=spoof,
                bona_fide=bona_fide,
                owns_bona_fide=not is_of_attacks,
            )
        )
    return groups


def _description(title: str, grouping: Grouping, is_la: bool) -> str:
    """What ASVspoof 2019's table says of an attack, or which attacks are in a group of them."""
    if not is_la:
        return ""
    if grouping == "attack":
        return ATTACKS[title].description if title in ATTACKS else ""
    return ", ".join(code for code, info in ATTACKS.items() if info.group(grouping) == title)


def _split(rows: np.ndarray, codes: np.ndarray, num_groups: int) -> list[np.ndarray]:
    """The rows of each group, rising."""
    of_rows = codes[rows]
    order = np.argsort(of_rows, kind="stable")
    return np.split(rows[order], np.searchsorted(of_rows[order], np.arange(1, num_groups)))


def _parts(trial_set: TrialSet) -> list[_Part]:
    """The set, or its two parts where it mixes the attacks of ASVspoof 2019 LA's train and dev with eval's."""
    is_spoof = trial_set.is_spoof
    whole = _Part(name=None, spoof=np.flatnonzero(is_spoof), bona_fide=np.flatnonzero(~is_spoof))
    if not has_both_parts(trial_set):
        return [whole]
    table = trial_set.table
    in_eval = table["attack"].map({code: info.part == EVAL_PART for code, info in ATTACKS.items()}).astype("boolean")
    # Bona fide recordings tell their part by name (LA_T_, LA_D_, LA_E_); those that do not are held against both.
    by_name = table["utterance"].str.extract(r"^LA_([TDE])_", expand=False)
    in_eval = in_eval.where(in_eval.notna(), by_name.map({"T": False, "D": False, "E": True}).astype("boolean"))
    parts = []
    for name in (TRAIN_PART, EVAL_PART):
        is_in = (in_eval == (name == EVAL_PART)).fillna(True).to_numpy(dtype=bool)
        parts.append(_Part(name=name, spoof=np.flatnonzero(is_in & is_spoof), bona_fide=np.flatnonzero(is_in & ~is_spoof)))
    return parts

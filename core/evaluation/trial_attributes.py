"""What each trial of a set is by a grouping: its attack, family, codec, duration ... as a code, with the titles in order."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from core.errors import CoreError
from core.evaluation.attack_info import ATTACKS, is_asvspoof2019_la
from core.evaluation.physical_access import group_keys
from core.evaluation.records import Grouping
from core.evaluation.trial_sets import TrialSet

GROUPING_TITLES: dict[Grouping, str] = {
    "attack": "Attack",
    "family": "Family of attacks",
    "generator": "Waveform generator",
    "known": "Known in training",
    "speaker": "Speaker",
    "codec": "Codec",
    "duration": "Duration",
    "environment": "Environment",
    "room_size": "Room size",
    "t60": "Reverberation time (T60)",
    "talker_distance": "Talker's distance",
    "attacker_distance": "Attacker's distance",
    "device_quality": "Loudspeaker quality",
}
"""In the order in which they are offered."""
OF_ATTACKS: frozenset[Grouping] = frozenset({"attack", "family", "generator", "known", "attacker_distance", "device_quality"})
"""Groupings that sort spoofs only: each group meets all bona fide speech. The others sort bona fide speech too."""
_REPLAY_CODES = {
    "room_size": "room size",
    "t60": "T60",
    "talker_distance": "talker distance",
    "attacker_distance": "attacker distance",
    "device_quality": "device quality",
}
_DURATION_EDGES_S = (1.0, 2.0, 3.0, 4.0, 6.0, 10.0)
_DURATION_TITLES = ("under 1 s", "1-2 s", "2-3 s", "3-4 s", "4-6 s", "6-10 s", "10 s and longer")
_FIXED_ORDERS = {
    "known": ("known", "unknown"),
    "device_quality": ("perfect", "high", "low"),
    "duration": _DURATION_TITLES,
}
NOT_KNOWN = "not known"


def available_groupings(trial_set: TrialSet) -> tuple[Grouping, ...]:
    """What the set can be grouped by: attack always, the others where at least one trial tells."""
    return tuple(name for name in GROUPING_TITLES if name == "attack" or values_of(trial_set, name) is not None)


def coded(trial_set: TrialSet, grouping: Grouping) -> tuple[np.ndarray, list[str]]:
    """A group's number per trial, and the groups' titles in their natural order; what is not told comes last.

    Raises:
        CoreError: an unknown grouping, or one of which the set knows nothing.
    """
    if grouping not in GROUPING_TITLES:
        raise CoreError(f"Trials cannot be grouped by {grouping!r}; expected one of {', '.join(GROUPING_TITLES)}.")
    values = values_of(trial_set, grouping)
    if values is None and grouping == "attack":
        return np.zeros(len(trial_set.table), dtype=np.intp), [NOT_KNOWN]
    if values is None:
        named = ", ".join(available_groupings(trial_set))
        raise CoreError(f"The set {trial_set.name} does not tell the {grouping} of any trial; it can be grouped by {named}.")
    codes, found = pd.factorize(values.astype(object).where(values.notna(), None))
    order = _FIXED_ORDERS.get(grouping)
    ranked = sorted(range(len(found)), key=lambda code: order.index(found[code]) if order else _natural(str(found[code])))
    rank = np.empty(len(found) + 1, dtype=np.intp)
    rank[ranked] = np.arange(len(found))
    rank[-1] = len(found)  # factorize gives -1 where there is no value
    return rank[codes], [str(found[code]) for code in ranked] + [NOT_KNOWN]


def _natural(text: str) -> list:
    """A sorting key that puts `2-5 m²` before `10-20 m²`."""
    return [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", text)]


def values_of(trial_set: TrialSet, grouping: Grouping) -> pd.Series | None:
    """The value of each trial, NA where it isn't told; None where no trial tells."""
    table = trial_set.table
    if grouping in _REPLAY_CODES:
        return _replay_values(table, grouping)
    if grouping == "duration":
        bins = pd.cut(table["duration_s"], (-np.inf, *_DURATION_EDGES_S, np.inf), right=False, labels=_DURATION_TITLES)
        values = bins.astype(object)
    elif grouping == "known":
        values = table["known_system"].map({True: "known", False: "unknown"})
    elif grouping == "generator":
        values = pd.Series(None, index=table.index, dtype=object)
    else:
        values = table[grouping]
    if values.isna().all() and grouping in ("family", "generator", "known") and is_asvspoof2019_la(trial_set):
        values = table["attack"].map({code: info.group(grouping) for code, info in ATTACKS.items()})
    if grouping in OF_ATTACKS:
        values = values.where(trial_set.is_spoof)
    return None if values.isna().all() else values


def _replay_values(table: pd.DataFrame, grouping: Grouping) -> pd.Series | None:
    """What the replay codes of ASVspoof 2019 physical access say; None for any other set."""
    environments, attacks = table["environment"], table["attack"]
    is_replay = environments.notna().all() and environments.str.fullmatch("[abc]{3}").all()
    if not is_replay or not attacks.dropna().str.fullmatch("[ABC]{2}").all():
        return None
    keys = group_keys(_REPLAY_CODES[grouping], environments=environments, attacks=attacks)
    return pd.Series(keys, index=table.index).mask(pd.Series(keys, index=table.index) == "bona fide")

"""From judgements under each condition to figures: EERs with intervals, their change from clean, and the share of verdicts kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.evaluation.curves import wilson_interval
from core.evaluation.resampling import bootstrap_eers, paired_eers
from core.records import Verdict
from core.stress.conditions import CLEAN
from core.stress.records import POOLED, StressCell, VerdictShare
from core.stress.scoring import Judgement

MIN_SPOOFS = 5
"""A group with fewer spoofs has no row of its own: its EER could take half a dozen values."""
_MIN_SPEAKERS = 5
"""Fewer cannot be resampled; single recordings are then."""
_OPPOSITE = {Verdict.SPOOF: Verdict.BONA_FIDE, Verdict.BONA_FIDE: Verdict.SPOOF}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Judgements of all recordings under all conditions."""

    recordings: pd.DataFrame
    """A row per recording; `label`, `attack`, `family`, `speaker` where known."""
    judgements: Mapping[str, Sequence[Judgement]]
    """Condition's name, clean among them -> `[recording]`."""

    def of(self, condition: str) -> np.ndarray:
        """Scores `[recording]`, NaN where refused."""
        return np.array([np.nan if one.score is None else one.score for one in self.judgements[condition]])


def stress_cells(
    scores: Scores, *, by: str, num_resamples: int, seed: int
) -> tuple[tuple[str, ...], dict[str, dict[str, StressCell]], str, tuple[str, ...]]:
    """Attacks (pooled first), cells by condition and attack, what was resampled, and notes.

    Recordings that were refused under a condition are left out of that row, in its clean half too: a pair or nothing.
    """
    table, num = scores.recordings, len(scores.recordings)
    label = _column(table, "label")
    is_known, is_spoof = label.notna().to_numpy(), (label == "spoof").to_numpy()
    if not (is_spoof & is_known).any() or not (~is_spoof & is_known).any():
        return (), {}, "recordings", ("Without labels of both classes there are no error rates: only the shares of verdicts.",)
    groups = np.array([None if pd.isna(name) else str(name) for name in _column(table, by)], dtype=object)
    names, counts = np.unique(groups[is_spoof & (groups != None)].astype(str), return_counts=True)  # noqa: E711
    kept = names[counts >= MIN_SPOOFS]
    groups = np.where(np.isin(groups.astype(str), kept), groups, None)
    speakers = _speakers(table, is_known)
    clean, cells = scores.of(CLEAN.name), {}
    for condition in scores.judgements:
        stressed = scores.of(condition)
        both = is_known & np.isfinite(clean) & np.isfinite(stressed)
        cells[condition] = _row(
            condition, stressed, clean, both, is_spoof, groups, speakers, (POOLED, *kept), num_resamples=num_resamples, seed=seed
        )
        num_lost = int((is_known & np.isfinite(clean)).sum() - both.sum())
        if num_lost:
            note = f"Refused under this condition, and left out: {num_lost}."
            cells[condition] = {name: _with_note(cell, note) for name, cell in cells[condition].items()}
    notes = []
    if len(kept) < len(names):
        notes.append(f"Groups of fewer than {MIN_SPOOFS} spoofs, which count among all spoofs only: {len(names) - len(kept)}.")
    refused = int((~np.isfinite(clean)).sum())
    if refused:
        notes.append(f"Refused as they are: {refused} of {num} recordings.")
    return (POOLED, *kept.tolist()), cells, "recordings" if speakers is None else "speakers", tuple(notes)


def verdict_shares(scores: Scores, *, has_verdicts: bool) -> tuple[VerdictShare, ...]:
    """How many verdicts stay under each condition; none for a detector without thresholds."""
    if not has_verdicts:
        return ()
    label = _column(scores.recordings, "label")
    clean = np.array([one.verdict for one in scores.judgements[CLEAN.name]], dtype=object)
    judged = np.isin(clean.astype(str), [str(Verdict.SPOOF), str(Verdict.BONA_FIDE)])
    rows = {"all": judged, "said spoof": clean == Verdict.SPOOF, "said bona fide": clean == Verdict.BONA_FIDE}
    rows |= {name: judged & (label == name).to_numpy() for name in ("bona fide", "spoof") if (label == name).any()}
    return tuple(
        _share(condition, name, clean[chosen], np.array([one.verdict for one in judgements], dtype=object)[chosen])
        for condition, judgements in scores.judgements.items()
        if condition != CLEAN.name
        for name, chosen in rows.items()
    )


def _row(
    condition: str,
    stressed: np.ndarray,
    clean: np.ndarray,
    both: np.ndarray,
    is_spoof: np.ndarray,
    groups: np.ndarray,
    speakers: np.ndarray | None,
    attacks: tuple[str, ...],
    *,
    num_resamples: int,
    seed: int,
) -> dict[str, StressCell]:
    """All attacks under one condition."""
    num_bona_fide = int((both & ~is_spoof).sum())
    nums = {name: int((both & is_spoof & ((groups == name) if name else True)).sum()) for name in attacks}
    if not num_bona_fide or not nums[POOLED]:
        return {name: _empty(condition, name, num_bona_fide, nums[name], "One class was refused altogether.") for name in attacks}
    options = {"groups": None if speakers is None else speakers[both], "num_resamples": num_resamples, "seed": seed}
    now, before, spoof, named = stressed[both], clean[both], is_spoof[both], groups[both]
    eers = bootstrap_eers(now, spoof, named, **options)
    changes = {} if condition == CLEAN.name else paired_eers(now, before, spoof, named, **options)
    cells = {}
    for name in attacks:
        if name not in eers:
            cells[name] = _empty(condition, name, num_bona_fide, nums[name], "All its spoofs were refused.")
            continue
        eer, change = eers[name], changes.get(name)
        cells[name] = StressCell(
            condition=condition,
            attack=name,
            eer=eer.value,
            low=eer.low,
            high=eer.high,
            change=change.value if change else None,
            change_low=change.low if change else None,
            change_high=change.high if change else None,
            p_value=change.p_value if change else None,
            num_bona_fide=num_bona_fide,
            num_spoof=nums[name],
        )
    return cells


def _share(condition: str, label: str, clean: np.ndarray, now: np.ndarray) -> VerdictShare:
    same = int((clean == now).sum())
    low, high = wilson_interval(same, len(clean)) if len(clean) else (None, None)
    return VerdictShare(
        condition=condition,
        label=label,
        num=len(clean),
        num_same=same,
        num_opposite=sum(_OPPOSITE[before] == after for before, after in zip(clean, now, strict=True)),
        num_inconclusive=int((now == Verdict.INCONCLUSIVE).sum()),
        num_refused=int((now == Verdict.REFUSED).sum()),
        low=low,
        high=high,
    )


def _speakers(table: pd.DataFrame, is_known: np.ndarray) -> np.ndarray | None:
    """A speaker per recording, those not told alone; None where too few are known."""
    speaker = _column(table, "speaker")
    if speaker[is_known].nunique() < _MIN_SPEAKERS:
        return None
    return np.array([f"alone {i}" if pd.isna(name) else f"speaker {name}" for i, name in enumerate(speaker)], dtype=object)


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    return table[name] if name in table else pd.Series([None] * len(table), dtype=object)


def _empty(condition: str, attack: str, num_bona_fide: int, num_spoof: int, note: str) -> StressCell:
    return StressCell(
        condition=condition,
        attack=attack,
        **dict.fromkeys(("eer", "low", "high", "change", "change_low", "change_high", "p_value")),
        num_bona_fide=num_bona_fide,
        num_spoof=num_spoof,
        note=note,
    )


def _with_note(cell: StressCell, note: str) -> StressCell:
    return dataclasses.replace(cell, note=f"{cell.note} {note}".strip())

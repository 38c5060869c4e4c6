"""Records of stress tests and shortcut audits made by hand, for the tests of figures and pages."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch

from core import detect, models
from core.checkpoints import Detector
from core.explanation import detector_views
from core.records import Verdict
from core.shortcuts.records import InterventionEffect, Probe, ShortcutReport
from core.stress.conditions import CLEAN, CONDITIONS
from core.stress.records import POOLED, SmallestFlip, StressCell, StressedScore, StressTable, SurvivalCard, VerdictShare

EVIL = "<b>x</b> %{y}"
NAMES = ("trim_silence", "gain_down_10db", "gain_up_6db", "phone_gsm")


def cell(condition: str, attack: str, eer: float | None, change: float | None = None, spread: float = 0.02) -> StressCell:
    """A cell whose intervals reach `spread` to both sides."""

    def end(value: float | None, sign: int) -> float | None:
        return None if value is None else value + sign * spread

    return StressCell(
        condition=condition,
        attack=attack,
        eer=eer,
        low=end(eer, -1),
        high=end(eer, 1),
        change=change,
        change_low=end(change, -1),
        change_high=end(change, 1),
        p_value=None if change is None else 0.01,
        num_bona_fide=100,
        num_spoof=50,
        note="" if eer is not None else "All were refused.",
    )


def phone_share(num_opposite: int, *, condition: str = "phone_gsm", label: str = "bona fide") -> VerdictShare:
    """Of 40 verdicts, how many a telephone line turned."""
    return VerdictShare(
        condition=condition,
        label=label,
        num=40,
        num_same=40 - num_opposite,
        num_opposite=num_opposite,
        num_inconclusive=0,
        num_refused=0,
        low=None,
        high=None,
    )


def stress_table(**changes) -> StressTable:
    """Four conditions by two attacks and all spoofs; one cell has no figure."""
    conditions = (CLEAN, *(CONDITIONS[name] for name in NAMES))
    attacks = (POOLED, "A07", EVIL)
    cells = {CLEAN.name: {attack: cell(CLEAN.name, attack, 0.1) for attack in attacks}}
    values = {"trim_silence": 0.01, "gain_down_10db": 0.0, "gain_up_6db": -0.05, "phone_gsm": 0.25}
    for name, change in values.items():
        cells[name] = {attack: cell(name, attack, 0.1 + change, change) for attack in attacks}
    cells["phone_gsm"][EVIL] = cell("phone_gsm", EVIL, None)
    shares = tuple(
        VerdictShare(
            condition=name,
            label=label,
            num=40,
            num_same=30,
            num_opposite=5,
            num_inconclusive=3,
            num_refused=2,
            low=0.6,
            high=0.87,
        )
        for name in NAMES
        for label in ("all", "spoof")
    )
    values = {
        "detector_name": "tiny",
        "detector_hash": "ab" * 32,
        "set_name": "a set",
        "grouping": "attack",
        "created": "2026-11-25T12:00:00+00:00",
        "seed": 0,
        "num_resamples": 200,
        "resampled": "speakers",
        "conditions": conditions,
        "attacks": attacks,
        "cells": cells,
        "shares": shares,
        "num_recordings": 150,
        "notes": ("A note.",),
    }
    return StressTable(**values | changes)


def survival_card() -> SurvivalCard:
    """A spoof that stays so under two conditions, is bona fide on a mobile phone and refused once."""

    def row(name: str, score: float | None, verdict: Verdict, reason: str = "") -> StressedScore:
        return StressedScore(
            condition=CONDITIONS[name],
            score=score,
            verdict=verdict,
            change=None if score is None else score - 3.0,
            reason=reason,
            survives=verdict is Verdict.SPOOF,
        )

    rows = (
        row("trim_silence", 2.5, Verdict.SPOOF),
        row("gain_down_10db", 3.5, Verdict.SPOOF),
        row("gain_up_6db", None, Verdict.REFUSED, EVIL),
        row("phone_gsm", -2.0, Verdict.BONA_FIDE),
    )
    flip = SmallestFlip(
        family="phone", line="Mobile", condition=CONDITIONS["phone_gsm"], verdict=Verdict.BONA_FIDE, words="Flips to bona fide."
    )
    kept = SmallestFlip(family="gain", line="Quieter", condition=None, verdict=None, words="Survives.")
    return SurvivalCard(
        detector_name="tiny",
        detector_hash="ab" * 32,
        score=3.0,
        verdict=Verdict.SPOOF,
        rows=rows,
        smallest_flip=(kept, flip),
        survives_phone=False,
        words="The verdict does not survive a phone call.",
        seed=0,
    )


def shortcut_report(*, is_clean: bool = False) -> ShortcutReport:
    """Two features, of which one gives labels away."""

    def probe(name: str, eer: float, is_leak: bool, finding: str) -> Probe:
        return Probe(
            name=name,
            title=name.capitalize(),
            eer=eer,
            low=eer - 0.05,
            high=eer + 0.05,
            p_value=0.002 if is_leak else 0.6,
            is_leak=is_leak,
            finding=finding,
        )

    return ShortcutReport(
        set_name=EVIL,
        probes=(
            probe("duration", 0.2, not is_clean, "Duration alone tells spoofs apart."),
            probe("loudness", 0.48, False, "Loudness gives nothing away."),
        ),
        is_clean=is_clean,
        words="This set is clean." if is_clean else "This set leaks.",
        num_bona_fide=40,
        num_spoof=60,
        num_groups=12,
        grouped_by="speaker",
        seed=0,
        skipped=("b.wav could not be read.",),
    )


def effects() -> tuple[InterventionEffect, ...]:
    """One intervention on spoofs and on bona fide speech."""

    def effect(label: str, shift: float, is_sensitive: bool) -> InterventionEffect:
        return InterventionEffect(
            name="trim",
            title="Edge silence trimmed",
            feature="leading_silence",
            label=label,
            shift=shift,
            low=shift - 0.2,
            high=shift + 0.3,
            spread=2.0,
            share_flipped=0.1,
            num=50,
            num_refused=1,
            is_sensitive=is_sensitive,
            finding="Moves.",
        )

    return (effect("bona fide", 1.0, True), effect("spoof", 0.05, False))


def run_in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors run without ONNX Runtime: an export of each would take many seconds."""

    def session(detector: Detector, *, num_threads: int = 1):
        model = detector.load_model()
        return torch.inference_mode()(lambda image: models.raw_scores(model(image)))

    monkeypatch.setattr(detector_views, "_open", OrderedDict())
    monkeypatch.setattr(detector_views, "open_session", session)
    monkeypatch.setattr(detect, "open_session", session)

"""Thresholds for several systems by one rule: solved by hand, and what each rule promises."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from core.calibration import Thresholds
from core.errors import CoreError
from core.evaluation.operating_points import (
    OperatingPoint,
    det_line,
    has_own_thresholds,
    scored_trials,
    thresholds_at,
    verdict_thresholds,
)
from core.evaluation.system_records import System
from core.evaluation.trial_sets import make_trial_set
from core.metrics import detection_rates, equal_error_rate


def _system(name: str, scores: list[float], labels: str, thresholds: Thresholds | None = None) -> System:
    """`labels`: a letter per trial, b for bona fide, s for spoof."""
    table = {"utterance": [f"u{i}" for i in range(len(labels))], "label": ["spoof" if c == "s" else "bona fide" for c in labels]}
    trial_set = make_trial_set("set", pd.DataFrame(table))
    return System(name=name, trial_set=trial_set, scores=np.array(scores), thresholds=thresholds, origin="imported")


FIRST = _system("first", [0.0, 1.0, 2.0, 3.0, 2.5, 4.0, 5.0, 6.0], "bbbbssss")
SECOND = _system("second", [0.0, 10.0, 20.0, 30.0, 25.0, 40.0, 50.0, 60.0], "bbbbssss", Thresholds(lower=5.0, upper=35.0))


def test_one_score_is_one_score_for_all() -> None:
    assert thresholds_at([FIRST, SECOND], OperatingPoint(kind="score", value=2.2)) == {"first": 2.2, "second": 2.2}


def test_equal_errors_follow_each_systems_scale() -> None:
    found = thresholds_at([FIRST, SECOND], OperatingPoint(kind="eer"))
    assert found["second"] == pytest.approx(10 * found["first"])
    assert detection_rates(*scored_trials(FIRST), found["first"]).miss == 0.25


@pytest.mark.parametrize(("share", "threshold"), [(0.5, 2.0), (0.25, 2.5), (0.3, 2.5), (0.0, 4.0), (1.0, 0.0)])
def test_false_alarms_stay_at_or_below_the_share(share: float, threshold: float) -> None:
    found = thresholds_at([FIRST], OperatingPoint(kind="false alarm", value=share))["first"]
    assert found == threshold  # the lowest that keeps it
    assert detection_rates(*scored_trials(FIRST), found).false_alarm <= share


def test_own_thresholds_are_the_upper_ones_and_must_be_there() -> None:
    assert thresholds_at([SECOND], OperatingPoint(kind="own")) == {"second": 35.0}
    assert not has_own_thresholds([FIRST, SECOND])
    assert has_own_thresholds([SECOND])
    assert not has_own_thresholds([])
    with pytest.raises(CoreError, match="first has no thresholds of its own"):
        thresholds_at([FIRST], OperatingPoint(kind="own"))


@pytest.mark.parametrize(
    ("kind", "value"), [("score", None), ("score", math.nan), ("false alarm", None), ("false alarm", -0.1), ("false alarm", 1.1)]
)
def test_points_that_cannot_be_are_refused(kind: str, value: float | None) -> None:
    with pytest.raises(CoreError):
        OperatingPoint(kind=kind, value=value)


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [
        ("sss", [1.0, 2.0, 3.0], "spoofs only"),
        ("bb", [1.0, 2.0], "bona fide speech only"),
        ("bs", [math.nan, math.nan], "no trial"),
    ],
)
def test_one_class_is_told(labels: str, scores: list[float], words: str) -> None:
    with pytest.raises(CoreError, match=words):
        thresholds_at([_system("poor", scores, labels)], OperatingPoint(kind="eer"))


def test_trials_without_a_score_are_left_out() -> None:
    gaps = _system("gaps", [0.0, math.nan, 1.0, math.nan], "bbss")
    scores, is_spoof = scored_trials(gaps)
    assert scores.tolist() == [0.0, 1.0]
    assert is_spoof.tolist() == [False, True]


def test_verdicts_use_a_systems_own_limits_else_the_narrowest_band() -> None:
    assert verdict_thresholds(SECOND, 0.1) == Thresholds(lower=5.0, upper=35.0)
    # No bona fide above, and no spoof below: only from 2.5 to 4 are scores of both.
    assert verdict_thresholds(FIRST, 0.0) == Thresholds(lower=2.5, upper=4.0)


def test_a_det_line_marks_eer_and_threshold() -> None:
    line = det_line(FIRST, 2.0)
    equal, chosen = line.marks
    assert (equal.miss, equal.threshold) == equal_error_rate(*scored_trials(FIRST))
    assert (chosen.false_alarm, chosen.miss, chosen.threshold) == (0.5, 0.0, 2.0)

"""core.evaluation.confusion: counts by hand, the baseline, verdicts per attack, histograms."""

from __future__ import annotations

import numpy as np
import pytest
from scored_sets import published_set, system, trials

from core.calibration import Thresholds
from core.errors import CoreError
from core.evaluation.confusion import always_spoof, confusion_matrix, score_histogram, verdict_table

NAN = float("nan")


def test_counts_and_shares_by_hand() -> None:
    matrix = confusion_matrix(system(trials("bbbss" + "s"), [0.0, 1.0, 2.0, 1.0, 0.5, NAN]), 1.0)
    assert (matrix.true_spoof, matrix.missed, matrix.false_alarm, matrix.true_bona_fide, matrix.not_scored) == (1, 1, 2, 1, 1)
    assert (matrix.spoof_share_right, matrix.bona_fide_share_right) == (0.5, pytest.approx(1 / 3))
    assert (matrix.accuracy, matrix.balanced_accuracy) == (0.4, pytest.approx(5 / 12))


def test_a_class_without_trials_has_no_share() -> None:
    matrix = confusion_matrix(system(trials("bb"), [0.0, 1.0]), 0.5)
    assert (matrix.spoof_share_right, matrix.balanced_accuracy, matrix.accuracy) == (None, None, 0.5)
    assert "none of spoofs" in matrix.sentence


def test_always_spoof_spells_out_the_imbalance() -> None:
    matrix = always_spoof(published_set())
    assert (matrix.true_spoof, matrix.false_alarm, matrix.true_bona_fide, matrix.missed) == (63882, 7355, 0, 0)
    assert matrix.threshold is None
    assert matrix.sentence == (
        "Always spoof: 0.0 % of bona fide speech and 100.0 % of spoofs are called right. Accuracy is 89.7 %, because 63,882 of"
        " 71,237 trials are spoofs; with the classes weighted equally it is 50.0 %."
    )


def test_verdicts_by_attack() -> None:
    trial_set = trials("bbsss", attack=[None, None, "x", "x", "y"])
    one = system(trial_set, [-1.0, NAN, 0.0, 1.0, 0.5], thresholds=Thresholds(lower=0.0, upper=1.0))
    rows = {
        row.key: (row.num_bona_fide, row.num_inconclusive, row.num_spoof, row.num_refused, row.is_spoof, row.num_trials)
        for row in verdict_table(one).rows
    }
    assert rows == {"human": (1, 0, 0, 1, False, 2), "x": (0, 1, 1, 0, True, 2), "y": (0, 1, 0, 0, True, 1)}
    wider = verdict_table(one, Thresholds(lower=-2.0, upper=2.0))
    assert [row.num_inconclusive for row in wider.rows] == [1, 2, 1]


def test_score_files_have_no_verdicts_of_their_own() -> None:
    with pytest.raises(CoreError, match="no thresholds of its own"):
        verdict_table(system(trials("bs"), [0.0, 1.0]))


def test_histograms_hold_every_score() -> None:
    scores = np.concatenate([np.linspace(0.0, 1.0, 4000), [-1000.0, 1000.0]])
    histogram = score_histogram(system(trials("b" * 2000 + "s" * 2002), scores), num_bins=10)
    assert (len(histogram.edges), histogram.num_bona_fide.sum(), histogram.num_spoof.sum()) == (11, 2000, 2002)
    assert histogram.edges[0] > -1.0
    assert histogram.edges[-1] < 2.0  # one wild score doesn't squeeze the rest into a bin
    assert histogram.spoof_share.sum() == pytest.approx(1.0)
    assert np.count_nonzero(histogram.num_bona_fide) == 5


def test_a_histogram_of_one_value_or_class() -> None:
    histogram = score_histogram(system(trials("bb"), [1.0, 1.0]), num_bins=4)
    assert histogram.num_bona_fide.sum() == 2
    assert histogram.spoof_share.tolist() == [0.0] * 4
    with pytest.raises(CoreError, match="0 scores"):
        score_histogram(system(trials("b"), [NAN]))

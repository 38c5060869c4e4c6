"""core.evaluation.inconclusive_band: shares by hand, intervals that hold what they should, and the shipped detectors' figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from core.calibration import Thresholds
from core.checkpoints import detector_named
from core.evaluation.inconclusive_band import COLUMNS, WIDTHS, band_coverage, band_frame, share_words, system_bands
from core.evaluation.shipped_results import shipped_results
from core.evaluation.systems import load_systems
from core.evaluation.verdict_policy import measured_scores

# 10 bona fide: one above 1, two between, one at the lower limit itself (inconclusive); 10 spoofs: two below -1, three between.
SCORES = np.array([2.0, 0.0, 0.5, -1.0, *[-3.0] * 6, -2.0, -2.0, 0.0, 0.1, 0.2, *[3.0] * 5])
IS_SPOOF = np.arange(20) >= 10
BAND = Thresholds(lower=-1.0, upper=1.0)


def test_shares_by_hand() -> None:
    (found,) = band_coverage(SCORES, IS_SPOOF, np.arange(20), BAND)
    assert [share.value for share in found.shares] == pytest.approx([3 / 10, 3 / 10, 1 / 7, 2 / 7])
    assert all(share.low <= share.value <= share.high and share.low < share.high for share in found.shares)
    assert found.thresholds is BAND


def test_a_wider_band_leaves_more_undecided_and_one_without_width_nothing() -> None:
    bands = band_coverage(SCORES, IS_SPOOF, np.arange(20), BAND, widths=(0.0, 1.0, 2.5, 4.0))
    assert [band.undecided_bona_fide.value for band in bands] == pytest.approx([0.0, 0.3, 0.4, 1.0])
    assert (bands[0].undecided_bona_fide.low, bands[0].undecided_bona_fide.high) == (0.0, 0.0)
    assert bands[0].wrong_bona_fide.value == pytest.approx(3 / 10)  # 2.0, 0.0 and 0.5 at a threshold of 0
    # Everything undecided: no error rate, and never certain that it is always so.
    assert (bands[3].wrong_bona_fide, bands[3].wrong_spoof) == (None, None)
    assert bands[3].undecided_spoof.low == pytest.approx(binomtest(10, 10).proportion_ci(0.95, "exact").low)
    assert share_words(bands[3].wrong_spoof) == "none decided"


def test_an_error_that_was_not_seen_is_not_impossible() -> None:
    (found,) = band_coverage(SCORES, IS_SPOOF, np.arange(20), Thresholds(lower=-9.0, upper=2.5))
    assert found.wrong_spoof.value == 0
    assert found.wrong_spoof.high == pytest.approx(binomtest(0, 10).proportion_ci(0.95, "exact").high)


def test_speakers_are_drawn_whole() -> None:
    # All of a class's recordings of one speaker are alike: with speakers as units the interval is that of 4, not of 400.
    speakers = np.repeat(np.arange(8), 100)
    is_spoof = np.repeat(np.arange(8) >= 4, 100)
    scores = np.where(np.isin(speakers, (0, 4)), 0.0, np.where(is_spoof, 3.0, -3.0))
    by_speaker, alone = (band_coverage(scores, is_spoof, ids, BAND)[0] for ids in (speakers, np.arange(800)))
    widths = [band.undecided_spoof.high - band.undecided_spoof.low for band in (by_speaker, alone)]
    assert widths[0] > 5 * widths[1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vgg27-spectrogram", (33.7, 20.7, 11.9, 11.2)), ("vgg27-telephone", (40.0, 21.7, 24.6, 7.1))],
)
def test_figures_of_the_shipped_detectors(name: str, expected: tuple[float, ...]) -> None:
    # Counted by an independent script when the thresholds were chosen.
    (found,) = band_coverage(*measured_scores(name), detector_named(name).manifest.thresholds, num_resamples=50)
    assert [round(100 * share.value, 1) for share in found.shares] == list(expected)


def test_systems_with_verdicts_of_their_own(store) -> None:
    key = shipped_results().trial_set.key
    ours, imported = load_systems(store, key, ("vgg27-spectrogram", "lfcc-gmm"))
    bands = system_bands(ours)
    assert [band.width for band in bands] == list(WIDTHS)
    assert bands[WIDTHS.index(1.0)].thresholds == detector_named("vgg27-spectrogram").manifest.thresholds
    table = band_frame(bands)
    assert len(table) == len(WIDTHS)
    assert COLUMNS[0].lower() in table
    assert system_bands(imported) == ()

"""attack_curves: EER and AUC by bisection are those of curves written out, for every resample, also of ASVspoof 2019."""

from __future__ import annotations

import numpy as np
import pytest
from published_scores import published_scores

from core.evaluation.attack_curves import POOLED, attack_curves
from core.evaluation.draws import resampled_weights
from core.evaluation.weighted_figures import weighted_area_under_curve, weighted_eer
from core.metrics import asvspoof_equal_error_rate


def test_figures_by_hand() -> None:
    # Bona fide 0, 2; A01 at 1, 3 (EER 1/2, three of four pairs in order), A02 at -1 (all wrong).
    scores, is_spoof = np.array([0.0, 2.0, 1.0, 3.0, -1.0]), np.array([False, False, True, True, True])
    curves = attack_curves(scores, is_spoof, np.array([None, None, "A01", "A01", "A02"], dtype=object))
    assert curves.keys == (POOLED, "A01", "A02")
    weights = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 5, 0], [1, 1, 2, 0, 1]])
    # Second resample: of the spoofs only that at 3. Third: A01 only at 1, where one of two bona fide lies above: from
    # (miss 0, false alarm 1/2) to (1, 1/2), which meet at 1/2; pooled from (1/3, 1/2) to (1, 1/2).
    assert curves.eers(weights)[:, 1] == pytest.approx([0.5, 0.0, 0.5])
    assert curves.eers(weights)[[0, 2], 2].tolist() == [1.0, 1.0]
    assert np.isnan(curves.eers(weights)[1, 2])
    assert curves.eers(weights)[:, 0] == pytest.approx([0.5, 0.0, 0.5])
    assert curves.areas(weights)[:, 1] == pytest.approx([3 / 4, 1.0, 1 / 2])
    assert curves.areas(weights)[:, 0] == pytest.approx([3 / 6, 1.0, 2 / 6])
    assert np.isnan(curves.areas(weights)[1, 2])


@pytest.mark.parametrize("decimals", [0, 1, 12])
@pytest.mark.parametrize("num_groups", [None, 9])
def test_figures_are_those_of_whole_curves(decimals: int, num_groups: int | None) -> None:
    rng = np.random.default_rng(decimals)
    is_spoof = rng.random(400) < 0.7
    scores = (rng.standard_normal(400) + is_spoof).round(decimals)
    attacks = np.array(["A01", "A02", "A03", None], dtype=object)[rng.integers(4, size=400)]
    curves = attack_curves(scores, is_spoof, attacks)
    groups = None if num_groups is None else rng.integers(num_groups, size=400)
    for weights in resampled_weights(is_spoof, groups=groups, num_resamples=50, seed=0):
        eers, areas = curves.eers(weights), curves.areas(weights)
        for i, key in enumerate(curves.keys):
            chosen = ~is_spoof | (attacks == key) if key else np.ones(400, dtype=bool)
            here = weights[:, chosen][:, is_spoof[chosen]].sum(axis=1) > 0
            trials = scores[chosen], is_spoof[chosen]
            assert (eers[here, i] == weighted_eer(*trials)(weights[here][:, chosen])).all()
            assert areas[here, i] == pytest.approx(weighted_area_under_curve(*trials)(weights[here][:, chosen]), abs=1e-12)


def test_every_attack_of_asvspoof_2019() -> None:
    scores, is_spoof, attacks, expected = published_scores("air-softmax")
    curves = attack_curves(scores, is_spoof, attacks)
    assert curves.keys == (POOLED, *sorted(expected["per_attack"]))
    once = curves.eers(np.ones((1, len(scores)), dtype=np.int32))[0]
    # Interpolated and organisers' figures differ by less than the step of one trial.
    assert 100 * once[0] == pytest.approx(100 * asvspoof_equal_error_rate(scores, is_spoof), abs=100 / 7_355)
    for key, eer in zip(curves.keys[1:], once[1:]):
        assert 100 * eer == pytest.approx(expected["per_attack"][key], abs=100 / 4_000)
    speakers = np.arange(len(scores)) % 67
    for groups in (None, speakers):
        (weights,) = resampled_weights(is_spoof, groups=groups, num_resamples=2, seed=0)
        eers = curves.eers(weights)
        for i, key in enumerate(curves.keys):
            chosen = ~is_spoof | (attacks == key) if key else np.ones(len(scores), dtype=bool)
            assert (eers[:, i] == weighted_eer(scores[chosen], is_spoof[chosen])(weights[:, chosen])).all(), key

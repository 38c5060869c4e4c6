"""core.evaluation.tandem: the cost by hand, and the organisers' figures of three published systems."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from published_scores import ASV_SCORES, PUBLISHED_SIGNS, published_scores

from core.errors import CoreError, ProtocolError
from core.evaluation.tandem import (
    ASVSPOOF_2019,
    ASVSPOOF_2021,
    AsvErrorRates,
    TandemCosts,
    min_tandem_cost,
    read_asv_scores,
    tandem_cost,
)

PERFECT = AsvErrorRates(miss=0.0, false_alarm=0.0, spoof_miss=0.0)


@pytest.mark.parametrize("system", sorted(PUBLISHED_SIGNS))
def test_published_systems_cost_what_the_organisers_say(system: str) -> None:
    scores, is_spoof, _, expected = published_scores(system)
    assert min_tandem_cost(scores, is_spoof, read_asv_scores(ASV_SCORES)) == pytest.approx(expected["min_tdcf"], abs=1e-5)


def test_the_sign_matters() -> None:
    scores, is_spoof, _, _ = published_scores("air-ocsoftmax")
    assert min_tandem_cost(-scores, is_spoof, read_asv_scores(ASV_SCORES)) == pytest.approx(1.0, abs=0.01)


def test_cost_by_hand() -> None:
    # C1 = 0.9405 (1 - 0.1) - 0.0095 x 10 x 0.2 = 0.82745; C2 = 10 x 0.05 x (1 - 0.4) = 0.3, the lower of the two.
    asv = AsvErrorRates(miss=0.1, false_alarm=0.2, spoof_miss=0.4)
    weights = ASVSPOOF_2019.weights(asv)
    assert (weights.floor, weights.rejecting, weights.accepting) == (0.0, pytest.approx(0.82745), pytest.approx(0.3))
    cost = tandem_cost(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.25, 0.0]), asv)
    assert cost == pytest.approx([0.82745 / 0.3, (0.5 * 0.3 + 0.25 * 0.82745) / 0.3, 1.0])
    # Bona fide 0, 2, spoof 1, 3: the cheapest threshold is above all bona fide and misses half of the spoofs.
    scores, is_spoof = np.array([0.0, 2.0, 1.0, 3.0]), np.array([False, False, True, True])
    assert min_tandem_cost(scores, is_spoof, asv) == pytest.approx(0.5)


def test_the_ends_of_the_scale() -> None:
    is_spoof = np.array([False, False, True])
    assert min_tandem_cost(np.array([0.0, 1.0, 2.0]), is_spoof, PERFECT) == 0.0
    assert min_tandem_cost(np.zeros(3), is_spoof, PERFECT) == 1.0  # says nothing


def test_cost_of_2021_by_hand() -> None:
    # C0 = 0.9405 x 0.1 + 0.0095 x 10 x 0.2 = 0.11305, C1 = 0.9405 - C0 = 0.82745, C2 = 0.3; by default C0 + C2 = 0.41305.
    asv = AsvErrorRates(miss=0.1, false_alarm=0.2, spoof_miss=0.4)
    cost = tandem_cost(np.array([0.0, 0.5, 1.0, 0.0]), np.array([1.0, 0.25, 0.0, 0.0]), asv, costs=ASVSPOOF_2021)
    expected = [0.11305 + 0.82745, 0.11305 + 0.25 * 0.82745 + 0.15, 0.41305, 0.11305]
    assert cost == pytest.approx([value / 0.41305 for value in expected])
    scores, is_spoof = np.array([0.0, 2.0, 1.0, 3.0]), np.array([False, False, True, True])
    assert min_tandem_cost(scores, is_spoof, asv, costs=ASVSPOOF_2021) == pytest.approx((0.11305 + 0.15) / 0.41305)


def test_cost_of_2021_is_that_of_the_two_gates_in_a_row() -> None:
    # Every pair of a detector's and a verifier's decision is counted out, none of the formula's terms is used.
    rng = np.random.default_rng(0)
    priors, costs = {"target": 0.9405, "nontarget": 0.0095, "spoof": 0.05}, {"target": 1, "nontarget": 10, "spoof": 10}
    verified = {kind: rng.random(20) < share for kind, share in (("target", 0.8), ("nontarget", 0.15), ("spoof", 0.6))}
    asv = AsvErrorRates(
        miss=1 - verified["target"].mean(), false_alarm=verified["nontarget"].mean(), spoof_miss=1 - verified["spoof"].mean()
    )

    def expected_cost(passed_bona_fide: np.ndarray, passed_spoof: np.ndarray) -> float:
        cost = 0.0
        for kind in priors:
            passed = passed_spoof if kind == "spoof" else passed_bona_fide
            let_in = np.mean([a and b for a in passed for b in verified[kind]])
            cost += priors[kind] * costs[kind] * (1 - let_in if kind == "target" else let_in)
        return cost

    for _ in range(5):
        bona_fide, spoof = rng.random(30) < 0.9, rng.random(30) < 0.3
        default = min(expected_cost(np.ones(1), np.ones(1)), expected_cost(np.zeros(1), np.zeros(1)))
        got = tandem_cost(np.array([spoof.mean()]), np.array([1 - bona_fide.mean()]), asv, costs=ASVSPOOF_2021)
        assert got[0] == pytest.approx(expected_cost(bona_fide, spoof) / default, rel=1e-12)


def test_both_revisions_of_published_systems() -> None:
    # With the same priors and costs the revision moves all costs by the floor: (C0 + t min(C1, C2)) / (C0 + min(C1, C2)).
    asv = read_asv_scores(ASV_SCORES) if ASV_SCORES.exists() else pytest.skip("needs ../shared/fixtures")
    weights = ASVSPOOF_2021.weights(asv)
    least = min(weights.rejecting, weights.accepting)
    scores, is_spoof, _, expected = published_scores("air-ocsoftmax")
    cost = min_tandem_cost(scores, is_spoof, asv, costs=ASVSPOOF_2021)
    assert cost == pytest.approx((weights.floor + expected["min_tdcf"] * least) / (weights.floor + least), abs=1e-5)


def test_a_detector_that_says_nothing_costs_1_in_both_revisions() -> None:
    asv = AsvErrorRates(miss=0.1, false_alarm=0.2, spoof_miss=0.4)
    for costs in (ASVSPOOF_2019, ASVSPOOF_2021):
        assert min_tandem_cost(np.zeros(3), np.array([False, True, True]), asv, costs=costs) == pytest.approx(1.0)


def test_tandem_costs_that_cannot_be_are_refused() -> None:
    good = {"prior_spoof": 0.05, "prior_target": 0.9, "cost_miss": 1.0, "cost_false_alarm": 10.0, "cost_spoof": 10.0}
    assert TandemCosts(**good, has_floor=True).prior_nontarget == pytest.approx(0.05)
    for wrong in ({"prior_spoof": 0.2}, {"prior_spoof": 0.0}, {"prior_target": -0.1}):
        with pytest.raises(CoreError, match="priors of target, nontarget and spoof"):
            TandemCosts(**good | wrong, has_floor=True)
    with pytest.raises(CoreError, match="costs must be positive"):
        TandemCosts(**good | {"cost_spoof": 0.0}, has_floor=True)


def test_asv_scores_are_read_by_hand(tmp_path: Path) -> None:
    lines = [
        "bonafide target 4",
        "bonafide target 1",
        "bonafide nontarget 0",
        "bonafide nontarget 2",
        "A07 spoof 3",
        "A08 spoof 0.5",
    ]
    path = tmp_path / "asv.txt"
    path.write_text("\n".join(lines) + "\n")
    # At threshold 2 one target of two is rejected and one nontarget of two accepted; the spoof at 3 passes.
    assert read_asv_scores(path) == AsvErrorRates(miss=0.5, false_alarm=0.5, spoof_miss=0.5)
    with gzip.open(tmp_path / "asv.txt.gz", "wt") as file:
        file.write("\n".join(lines))
    assert read_asv_scores(tmp_path / "asv.txt.gz") == read_asv_scores(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bonafide target 1\nbonafide target\n", "line 2: expected 3 columns"),
        ("bonafide impostor 1\n", "line 1: expected 3 columns .* nontarget"),
        ("bonafide target high\n", "'high' is not a number"),
        ("bonafide target 1\n", "no nontarget and no spoof trials"),
        ("bonafide target nan\nbonafide nontarget 1\nA07 spoof 1\n", "not finite"),
    ],
)
def test_damaged_asv_scores_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "asv.txt"
    path.write_text(text)
    with pytest.raises(CoreError, match=message):
        read_asv_scores(path)


def test_absent_asv_scores_and_hopeless_verifiers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="could not be read"):
        read_asv_scores(tmp_path / "none.txt")
    for rates in (AsvErrorRates(miss=0.0, false_alarm=0.0, spoof_miss=1.0), AsvErrorRates(miss=0.95, false_alarm=1, spoof_miss=0)):
        for costs in (ASVSPOOF_2019, ASVSPOOF_2021):
            with pytest.raises(CoreError, match="cannot help"):
                tandem_cost(np.zeros(1), np.zeros(1), rates, costs=costs)
    path = tmp_path / "asv.txt"
    path.write_text("bonafide target 1\nbonafide nontarget 0\nA07 spoof -1\n")
    with pytest.raises(CoreError, match="cannot help"):
        read_asv_scores(path)
    with pytest.raises(CoreError, match="between 0 and 1"):
        AsvErrorRates(miss=2.0, false_alarm=0.0, spoof_miss=0.5)

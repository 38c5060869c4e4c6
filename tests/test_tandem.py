"""core.tandem: the cost by hand, and the organisers' figures of three published systems."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from published_scores import ASV_SCORES, PUBLISHED_SIGNS, published_scores

from core.errors import CoreError, ProtocolError
from core.tandem import AsvErrorRates, min_tandem_cost, read_asv_scores, tandem_cost

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
    assert asv.cost_of_rejecting == pytest.approx(0.82745)
    assert asv.cost_of_accepting == pytest.approx(0.3)
    cost = tandem_cost(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.25, 0.0]), asv)
    assert cost == pytest.approx([0.82745 / 0.3, (0.5 * 0.3 + 0.25 * 0.82745) / 0.3, 1.0])
    # Bona fide 0, 2, spoof 1, 3: the cheapest threshold is above all bona fide and misses half of the spoofs.
    scores, is_spoof = np.array([0.0, 2.0, 1.0, 3.0]), np.array([False, False, True, True])
    assert min_tandem_cost(scores, is_spoof, asv) == pytest.approx(0.5)


def test_the_ends_of_the_scale() -> None:
    is_spoof = np.array([False, False, True])
    assert min_tandem_cost(np.array([0.0, 1.0, 2.0]), is_spoof, PERFECT) == 0.0
    assert min_tandem_cost(np.zeros(3), is_spoof, PERFECT) == 1.0  # says nothing


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
    with pytest.raises(CoreError, match="cannot help"):
        AsvErrorRates(miss=0.0, false_alarm=0.0, spoof_miss=1.0)
    with pytest.raises(CoreError, match="between 0 and 1"):
        AsvErrorRates(miss=2.0, false_alarm=0.0, spoof_miss=0.5)

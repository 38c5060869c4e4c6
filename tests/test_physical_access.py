"""core.evaluation.physical_access: the codes of replay attacks as values, and as groups."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from core.errors import ProtocolError
from core.evaluation.physical_access import GROUPINGS, group_keys, parse_attack, parse_environment
from core.protocols import read_protocol

PROTOCOL = Path(__file__).parents[2] / "shared" / "fixtures" / "asvspoof2019" / "ASVspoof2019.PA.cm.train.trn.txt.gz"


def test_codes_by_hand() -> None:
    environment = parse_environment("bca")
    assert (environment.room_size_m2, environment.t60_ms, environment.talker_distance_cm) == ((5, 10), (600, 1000), (10, 50))
    attack = parse_attack("CB")
    assert attack.attacker_distance_cm == (100, math.inf)
    assert (attack.device.quality, attack.device.occupied_bandwidth_khz, attack.device.lowest_frequency_hz) == (
        "high",
        (10, math.inf),
        (0, 600),
    )
    assert [parse_attack(f"A{quality}").device.quality for quality in "ABC"] == ["perfect", "high", "low"]


@pytest.mark.parametrize("code", ["", "ab", "abd", "ABC", "aaaa", "-"])
def test_other_environments_are_refused(code: str) -> None:
    with pytest.raises(ProtocolError, match="expected three letters"):
        parse_environment(code)


@pytest.mark.parametrize("code", ["", "A", "AD", "ab", "AAA", "A07"])
def test_other_attacks_are_refused(code: str) -> None:
    with pytest.raises(ProtocolError, match="expected two letters"):
        parse_attack(code)


def test_groups_by_hand() -> None:
    environments, attacks = ["abc", "cba", "aaa"], ["AC", None, float("nan")]
    expected = {
        "room size": ["2-5 m²", "10-20 m²", "2-5 m²"],
        "T60": ["200-600 ms", "200-600 ms", "50-200 ms"],
        "talker distance": ["100-150 cm", "10-50 cm", "10-50 cm"],
        "environment": ["abc", "cba", "aaa"],
        "attacker distance": ["10-50 cm", "bona fide", "bona fide"],
        "device quality": ["low", "bona fide", "bona fide"],
        "attack": ["AC", "bona fide", "bona fide"],
    }
    assert set(expected) == set(GROUPINGS)
    for by, keys in expected.items():
        assert group_keys(by, environments=environments, attacks=attacks) == keys


def test_groups_that_cannot_be_made() -> None:
    with pytest.raises(ProtocolError, match="cannot be grouped by 'colour'; expected one of room size"):
        group_keys("colour", environments=["aaa"], attacks=["AA"])
    with pytest.raises(ProtocolError, match="without an environment code"):
        group_keys("T60", environments=[None], attacks=["AA"])


def test_the_official_protocol_by_group() -> None:
    if not PROTOCOL.is_file():
        pytest.skip("needs the fixtures")
    trials = list(read_protocol(PROTOCOL).values())
    codes = {"environments": [trial.environment for trial in trials], "attacks": [trial.attack for trial in trials]}
    qualities = Counter(group_keys("device quality", **codes))
    assert qualities == {"bona fide": 5_400, "perfect": 16_200, "high": 16_200, "low": 16_200}
    # Counted with awk over the letters of the codes.
    distances = Counter(group_keys("attacker distance", **codes))
    assert distances == {"bona fide": 5_400, "10-50 cm": 21_432, "50-100 cm": 11_568, "over 100 cm": 15_600}
    assert set(Counter(group_keys("room size", **codes)).values()) == {18_000}
    assert len(set(group_keys("environment", **codes))) == 27

"""Replay: the codes of ASVspoof 2019, what loudspeaker and microphone do, and the room that both recordings share."""

from __future__ import annotations

import numpy as np
import pytest

from core.attacks.kinds import LOUDSPEAKERS
from core.attacks.replay import ReplaySettings, distorted, played_by, recorded, replayed
from core.attacks.rooms import reverberation_time_s
from core.errors import CoreError
from core.evaluation.physical_access import parse_attack, parse_environment

pytest.importorskip("pyroomacoustics")
RATE_HZ = 16_000


def _settings(**changes: object) -> ReplaySettings:
    usual = {"room_m2": 8, "t60_ms": 400, "talker_cm": 100, "attacker_cm": 30, "loudspeaker": "perfect", "recorder": "flat"}
    return ReplaySettings(**usual | changes)


def _gain_db(made: np.ndarray, samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    band = (hertz >= low_hz) & (hertz < high_hz)
    after, before = (np.square(np.abs(np.fft.rfft(each)))[band].sum() for each in (made, samples))
    return float(10 * np.log10(after / before))


@pytest.mark.parametrize(
    ("changes", "environment", "attack"),
    [
        ({}, "bbb", "AA"),
        ({"room_m2": 3, "t60_ms": 100, "talker_cm": 20, "attacker_cm": 60, "loudspeaker": "high"}, "aaa", "BB"),
        ({"room_m2": 20, "t60_ms": 1_000, "talker_cm": 150, "attacker_cm": 150, "loudspeaker": "low"}, "ccc", "CC"),
    ],
)
def test_codes_are_those_of_asvspoof_2019(changes: dict, environment: str, attack: str) -> None:
    settings = _settings(**changes)
    assert (settings.environment, settings.attack) == (environment, attack)


@pytest.mark.parametrize("seed", range(10))
def test_the_codes_read_back_hold_the_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings = _settings(
        room_m2=rng.uniform(2, 20),
        t60_ms=rng.uniform(50, 1_000),
        talker_cm=rng.uniform(10, 150),
        attacker_cm=rng.uniform(10, 150),
        loudspeaker=LOUDSPEAKERS[seed % 3],
    )
    environment, attack = parse_environment(settings.environment), parse_attack(settings.attack)
    assert environment.room_size_m2[0] <= settings.room_m2 <= environment.room_size_m2[1]
    assert environment.t60_ms[0] <= settings.t60_ms <= environment.t60_ms[1]
    assert environment.talker_distance_cm[0] <= settings.talker_cm <= environment.talker_distance_cm[1]
    assert attack.attacker_distance_cm[0] <= settings.attacker_cm <= attack.attacker_distance_cm[1]
    assert attack.device.quality == settings.loudspeaker


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(CoreError, match=r"'tiny'.*expected perfect, high, low"):
        _settings(loudspeaker="tiny")


@pytest.mark.parametrize("t60_ms", [150, 400, 900])
def test_the_bona_fide_recording_of_a_click_is_the_room_s_response(t60_ms: float) -> None:
    click = np.zeros(2 * RATE_HZ)
    click[1_000] = 1.0
    made = replayed(click, _settings(t60_ms=t60_ms, talker_cm=150), seed=0)
    assert len(made.bona_fide) == len(made.spoof) == len(click)
    assert abs(int(np.abs(made.bona_fide).argmax()) - 1_000) <= 1
    assert reverberation_time_s(made.bona_fide[1_032:]) == pytest.approx(t60_ms / 1_000, rel=0.15)
    # Twice through the room: the replay decays later.
    energy = np.square(made.spoof[1_000:]), np.square(made.bona_fide[1_000:])
    centre = [float((each * np.arange(len(each))).sum() / each.sum()) for each in energy]
    assert centre[0] > centre[1]


def test_the_loudspeakers_are_what_asvspoof_s_classes_say() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE_HZ)
    rng = np.random.default_rng(1)
    perfect, high, low = (played_by(noise, quality, rng=rng) for quality in LOUDSPEAKERS)
    assert np.array_equal(perfect, noise)
    devices = {code: parse_attack(f"A{code}").device for code in "ABC"}
    assert devices["B"].lowest_frequency_hz[1] == devices["C"].lowest_frequency_hz[0] == 600
    assert abs(_gain_db(high, noise, 600, 7_900)) < 2.5
    assert _gain_db(high, noise, 0, 40) < -6
    assert _gain_db(low, noise, 50, 300) < _gain_db(low, noise, 1_500, 4_000) - 20
    assert _gain_db(low, noise, 7_500, 8_000) < _gain_db(low, noise, 1_500, 4_000) - 3


@pytest.mark.parametrize("linearity_db", [10.0, 30.0])
def test_the_non_linear_part_has_the_asked_power_and_nothing_linear_in_it(linearity_db: float) -> None:
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.standard_normal(RATE_HZ)
    rest = distorted(samples, linearity_db=linearity_db) - samples
    assert 10 * np.log10(np.square(samples).sum() / np.square(rest).sum()) == pytest.approx(linearity_db, abs=1e-6)
    assert abs(rest @ samples) < 1e-6 * np.square(samples).sum()


def test_a_distorted_tone_has_harmonics_and_no_aliases() -> None:
    """A tone of 3 kHz gets 6 kHz and, beyond the band, 9 kHz: which would fold to 7 kHz."""
    tone = 0.5 * np.sin(2 * np.pi * 3_000 * np.arange(RATE_HZ) / RATE_HZ)
    level_db = 20 * np.log10(np.abs(np.fft.rfft(distorted(tone, linearity_db=20))) / (RATE_HZ / 4) + 1e-9)
    assert level_db[6_000] > -35
    assert level_db[7_000] < level_db[6_000] - 30


def test_the_phone_s_microphone_adds_its_noise() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 1_000 * np.arange(2 * RATE_HZ) / RATE_HZ)
    assert np.array_equal(recorded(tone, "flat", rng=np.random.default_rng(0)), tone)
    power = np.square(np.abs(np.fft.rfft(recorded(tone, "phone", rng=np.random.default_rng(0))[RATE_HZ:])))
    tone_at = int(power.argmax())
    rest = power.sum() - power[tone_at - 5 : tone_at + 6].sum()
    assert 33 < 10 * np.log10(power[tone_at - 5 : tone_at + 6].sum() / rest) < 47


def test_the_seed_decides() -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ)
    settings = _settings(loudspeaker="low", recorder="phone")
    first, again, other = (replayed(samples, settings, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.spoof, again.spoof)
    assert not np.allclose(first.spoof, other.spoof)

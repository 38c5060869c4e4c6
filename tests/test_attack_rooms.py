"""Rooms: distances, levels and decay are the asked ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.attacks.rooms import DIRECT_AT, Room, furnished_room, heard, impulse_responses, reverberation_time_s

pytest.importorskip("pyroomacoustics")
RATE_HZ = 16_000


def _responses(floor_m2: float, t60_s: float, seed: int = 0, distances_m: tuple[float, ...] = (0.5, 1.5)) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return impulse_responses(furnished_room(floor_m2=floor_m2, t60_s=t60_s, distances_m=distances_m, rng=rng), rng=rng)


def test_schroeder_s_line_through_a_pure_decay() -> None:
    """By hand: amplitude 10^(-3 t / T) falls by 60 dB in T."""
    time_s = np.arange(16_000) / RATE_HZ
    assert reverberation_time_s(10 ** (-3 * time_s / 0.3)) == pytest.approx(0.3, rel=1e-3)


def test_schroeder_s_line_agrees_with_pyroomacoustics() -> None:
    from pyroomacoustics.experimental import measure_rt60

    (response,) = _responses(12, 0.5, distances_m=(1.5,))
    assert reverberation_time_s(response) == pytest.approx(float(measure_rt60(response, fs=RATE_HZ, decay_db=20)), rel=0.05)


@pytest.mark.parametrize("floor_m2", [2.0, 8.0, 20.0])
@pytest.mark.parametrize("t60_s", [0.05, 0.2, 0.5, 1.0])
def test_the_room_has_the_asked_reverberation_time(floor_m2: float, t60_s: float) -> None:
    """The decay after the direct sound: near a source that alone is louder than all the rest."""
    measured = [
        reverberation_time_s(response[DIRECT_AT + 32 :]) for seed in range(3) for response in _responses(floor_m2, t60_s, seed)
    ]
    assert np.mean(measured) == pytest.approx(t60_s, rel=0.1)
    assert np.abs(np.array(measured) / t60_s - 1).max() < 0.2


def test_the_direct_sound_arrives_where_it_is_said_and_at_level_one() -> None:
    for response in _responses(20, 0.05):
        assert abs(int(np.abs(response).argmax()) - DIRECT_AT) <= 1
        assert 0.75 < np.abs(response).max() < 1.1  # the arrival falls between two samples


def test_far_from_the_source_there_is_more_reverberation() -> None:
    """The ratio of direct to later energy falls by 20 log10(1.5 / 0.1) = 23.5 dB: later energy is the same everywhere."""
    near, far = (
        10 * np.log10(np.square(response[: DIRECT_AT + 24]).sum() / np.square(response[DIRECT_AT + 24 :]).sum())
        for response in _responses(20, 0.6, distances_m=(0.1, 1.5))
    )
    assert near - far == pytest.approx(23.5, abs=5)


@pytest.mark.parametrize("seed", range(20))
def test_places_keep_their_distances_within_the_smallest_room(seed: int) -> None:
    room = furnished_room(floor_m2=2.0, t60_s=0.3, distances_m=(1.5, 1.5, 0.1), rng=np.random.default_rng(seed))
    assert room.size_m[0] * room.size_m[1] == pytest.approx(2.0)
    for place, wanted_m in zip(room.microphones_m, (1.5, 1.5, 0.1), strict=True):
        assert math.dist(place, room.source_m) == pytest.approx(wanted_m)
        assert all(0 < coordinate < size for coordinate, size in zip(place, room.size_m, strict=True))


def test_absorption_is_eyring_s() -> None:
    """By hand: 4 x 5 x 2.5 m, V = 50, S = 85, T60 = 0.5 s: 1 - exp(-0.161 * 50 / (85 * 0.5)) = 0.173."""
    room = Room(size_m=(4.0, 5.0, 2.5), t60_s=0.5, source_m=(1.0, 1.0, 1.0), microphones_m=((2.0, 2.0, 1.0),))
    assert room.volume_m3 == 50.0
    assert room.absorption == pytest.approx(0.173, abs=0.001)


def test_heard_is_aligned_on_the_direct_sound_and_as_long() -> None:
    response = np.zeros(200)
    response[DIRECT_AT], response[DIRECT_AT + 100] = 1.0, 0.5
    click = np.zeros(500)
    click[50] = 1.0
    made = heard(click, response)
    assert len(made) == 500
    assert np.flatnonzero(np.abs(made) > 0.1).tolist() == [50, 150]


def test_the_seed_decides() -> None:
    first, again, other = (_responses(5, 0.3, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[: len(other)], other[: len(first)])

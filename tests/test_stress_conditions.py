"""core.stress: each condition does what its title says, in step with the recording, the same for the same seed."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
import soundfile
from scipy import signal

from core.errors import CoreError
from core.stress import codecs
from core.stress.changes import active_power, babble, change_edges, change_gain, clip_peaks, sound_span
from core.stress.conditions import CLEAN, CONDITIONS, FAMILY_TITLES, apply_condition, conditions_named, recording_seed, unavailable

RATE_HZ = 16_000
LENGTH_CHANGES = {"trim_silence", "pad_silence"} | {name for name in CONDITIONS if name.startswith("speed")}


def tone(hz: float, seconds: float = 1.0, amplitude: float = 0.25) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def level_db(samples: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def lag_of(changed: np.ndarray, samples: np.ndarray) -> int:
    """By how many samples `changed` is late, by cross-correlation."""
    return int(np.argmax(signal.correlate(changed, samples, mode="full", method="fft"))) - (len(samples) - 1)


def test_names_and_lines_are_in_order() -> None:
    assert all(name == condition.name for name, condition in CONDITIONS.items())
    assert {condition.family for condition in CONDITIONS.values()} == set(FAMILY_TITLES)
    assert len({condition.title for condition in CONDITIONS.values()}) == len(CONDITIONS)
    for line in {condition.line for condition in CONDITIONS.values()}:
        severities = [condition.severity for condition in CONDITIONS.values() if condition.line == line]
        assert severities == sorted(severities), line
    assert [condition.name for condition in conditions_named(["room", "trim_silence"])][:2] == ["trim_silence", "room_small"]
    with pytest.raises(CoreError, match="no condition 'phones'"):
        conditions_named(["phones"])


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition_keeps_time_and_repeats(name: str, speech_like) -> None:
    samples, condition = speech_like(2.0, 3), CONDITIONS[name]
    changed = apply_condition(samples, condition, seed=5)
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert (changed == apply_condition(samples, condition, seed=5)).all()
    if name not in LENGTH_CHANGES:
        assert len(changed) == len(samples)
        if name != "swap_silence" and condition.family != "room":
            # The envelope, not the wave: codings of speech turn phases. Rooms have a test of their own.
            slow = signal.butter(2, 30, fs=RATE_HZ, output="sos")
            envelopes = [signal.sosfiltfilt(slow, np.abs(one)) for one in (changed, samples)]
            assert abs(lag_of(*(envelope - envelope.mean() for envelope in envelopes))) <= RATE_HZ * 0.012
    if condition.family in ("noise", "room"):
        assert (changed != apply_condition(samples, condition, seed=6)).any()


def test_odd_input() -> None:
    for name in CONDITIONS:
        for samples in (np.zeros(8_000, np.float32), np.zeros(1, np.float32), np.full(300, 0.5, np.float32)):
            assert np.isfinite(apply_condition(samples, CONDITIONS[name])).all(), name
    assert (apply_condition(tone(100), CLEAN) == tone(100)).all()
    for wrong in (np.zeros((2, 100)), np.zeros(0), np.array([0.0, np.nan])):
        with pytest.raises(CoreError, match="finite"):
            apply_condition(wrong, CONDITIONS["mp3_64k"])


def test_edges_by_hand() -> None:
    left, sound, right = np.full(960, 1e-4), tone(400, 0.5), np.full(1_600, 2e-4)
    samples = np.concatenate([left, sound, right]).astype(np.float32)
    rng = np.random.default_rng(0)
    assert sound_span(samples) == (960, 960 + 8_000)
    assert (change_edges(samples, rng, how="trim") == sound).all()
    assert (change_edges(samples, rng, how="swap") == np.concatenate([right, sound, left]).astype(np.float32)).all()
    zeroed = change_edges(samples, rng, how="zero")
    assert not zeroed[:960].any()
    assert not zeroed[-1_600:].any()
    assert (zeroed[960:-1_600] == sound).all()
    padded = change_edges(samples, rng, how="pad")
    assert len(padded) == len(samples) + 16_000
    assert level_db(padded[:8_000]) == pytest.approx(-70, abs=0.3)


def test_gain_and_clipping_by_hand() -> None:
    rng, ramp = np.random.default_rng(0), np.linspace(-1, 1, 1_001)
    assert change_gain(ramp, rng, gain_db=-20) == pytest.approx(0.1 * ramp)
    assert change_gain(np.array([0.1, 0.6]), rng, gain_db=6.0206) == pytest.approx([0.2, 1.0], abs=1e-5)
    clipped = clip_peaks(ramp, rng, share=0.1)
    assert clipped.max() == pytest.approx(0.9, abs=2e-3)
    assert np.mean(clipped != ramp) == pytest.approx(0.1, abs=3e-3)


@pytest.mark.parametrize(
    ("name", "kept_hz", "lost_hz"), [("band_6k", 5_000, 7_000), ("band_4k", 3_000, 5_000), ("band_phone", 1_000, 100)]
)
def test_bands_keep_what_is_below_and_lose_what_is_above(name: str, kept_hz: float, lost_hz: float) -> None:
    middle = slice(3_000, -3_000)
    for hz, low, high in ((kept_hz, -1, 1), (lost_hz, -200, -30)):
        change_db = level_db(apply_condition(tone(hz), CONDITIONS[name])[middle]) - level_db(tone(hz)[middle])
        assert low < change_db < high, hz


@pytest.mark.parametrize("name", [name for name, condition in CONDITIONS.items() if condition.family == "noise"])
def test_noise_has_the_asked_level_below_the_active_speech(name: str, speech_like) -> None:
    # Half of it is silence, which must not count: the level of the whole is 3 dB lower.
    samples = np.concatenate([speech_like(2.0), np.zeros(2 * RATE_HZ, np.float32)])
    noise = apply_condition(samples, CONDITIONS[name], seed=1) - samples
    snr_db = 10 * np.log10(active_power(samples)) - level_db(noise)
    assert snr_db == pytest.approx(-CONDITIONS[name].severity, abs=0.05)
    assert 10 * np.log10(active_power(samples)) > level_db(samples) + 2.5


def test_one_seed_gives_one_noise_at_all_levels(speech_like) -> None:
    samples = speech_like(1.0)
    loud, soft = (apply_condition(samples, CONDITIONS[f"noise_white_{snr}db"], seed=4) - samples for snr in (10, 30))
    assert loud == pytest.approx(10 * soft, abs=1e-5)
    assert recording_seed(0, "a") == recording_seed(0, "a") != recording_seed(0, "b")


def test_babble_is_shaped_and_modulated_like_speech() -> None:
    made = babble(30 * RATE_HZ, np.random.default_rng(2))
    frequency_hz, power = signal.welch(made, RATE_HZ, nperseg=1_024)
    at = [10 * np.log10(power[np.abs(frequency_hz - hz) < hz / 6].mean()) for hz in (500, 1_000, 2_000, 4_000)]
    assert np.diff(at) == pytest.approx([-9, -9, -9], abs=1.5)
    frames = made[: len(made) // 320 * 320].reshape(-1, 320)
    steady = np.random.default_rng(0).standard_normal(frames.size).reshape(frames.shape)
    spread = [np.std(10 * np.log10(np.square(one).mean(axis=1))) for one in (frames, steady)]
    assert spread[0] > 3 * spread[1]


def test_rooms_smear_more_the_larger_they_are() -> None:
    click = np.zeros(2 * RATE_HZ, np.float32)
    click[4_000] = 0.5
    tails = []
    for name in ("room_small", "room_medium", "room_large"):
        heard = apply_condition(click, CONDITIONS[name], seed=0)
        assert int(np.argmax(np.abs(heard))) == pytest.approx(4_000, abs=2)
        assert level_db(heard) == pytest.approx(level_db(click), abs=0.1)
        tails.append(np.square(heard[4_800:]).sum() / np.square(heard).sum())
    assert tails[0] < tails[1] < tails[2]


def test_speed_moves_pitch_and_length() -> None:
    for name, hz in (("speed_0.9", 900), ("speed_1.1", 1_100)):
        changed = apply_condition(tone(1_000), CONDITIONS[name])
        assert len(changed) == pytest.approx(RATE_HZ * 1_000 / hz, abs=2)
        spectrum = np.abs(np.fft.rfft(changed * np.hanning(len(changed))))
        assert np.argmax(spectrum) * RATE_HZ / len(changed) == pytest.approx(hz, abs=2)


@pytest.mark.parametrize("name", [name for name, condition in CONDITIONS.items() if condition.by == "codec"])
def test_coded_sweeps_are_in_step(name: str) -> None:
    """Another sweep than the one that delays are measured with."""
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    sweep = (0.2 * signal.chirp(time_s, 2_600, 2, 600) * np.sin(3 * np.pi * time_s) ** 2).astype(np.float32)
    assert unavailable(CONDITIONS[name]) is None
    changed = apply_condition(sweep, CONDITIONS[name])
    assert abs(lag_of(changed, sweep)) <= 4
    assert (changed != sweep).any()


def test_g711_is_that_of_the_standard() -> None:
    """A second reference: libsndfile's A-law of the same band-limited samples."""
    samples = np.concatenate([np.zeros(4_000), tone(1_000, 1.0, 0.3), np.zeros(4_000)]).astype(np.float32)
    low = signal.resample_poly(codecs.phone_band(samples, RATE_HZ), 1, 2).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, low, 8_000, format="WAV", subtype="ALAW")
    file.seek(0)
    expected = signal.resample_poly(soundfile.read(file)[0], 2, 1)[: len(samples)]
    coded = apply_condition(samples, CONDITIONS["phone_g711_alaw"])
    # Both round to the steps of A-law, which are 6 % wide; one step apart at most, seldom.
    assert np.sqrt(np.mean(np.square(coded - expected))) < 0.01 * np.sqrt(np.mean(np.square(expected)))


def test_quality_falls_with_the_rate(speech_like) -> None:
    samples = speech_like(2.0, 1)

    def distance(name: str) -> float:
        spectra = [
            np.abs(signal.stft(one, RATE_HZ, nperseg=512)[2]) for one in (samples, apply_condition(samples, CONDITIONS[name]))
        ]
        return float(np.linalg.norm(spectra[0] - spectra[1]) / np.linalg.norm(spectra[0]))

    for line in ("mp3", "aac", "opus"):
        names = [name for name in CONDITIONS if name.startswith(f"{line}_")]
        assert distance(names[0]) < distance(names[-1]), line


def test_missing_and_wrong_codings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CoreError, match="no coding 'speex'"):
        codecs.round_trip(tone(500), codec="speex")
    with pytest.raises(CoreError, match="Opus does not take 1 bits"):
        codecs.round_trip(tone(500), codec="opus", bit_rate=1)

    def lacks(name: str, mode: str) -> None:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(codecs.av, "Codec", lacks)
    assert "needs FFmpeg's encoder libmp3lame" in unavailable(CONDITIONS["mp3_64k"])
    assert unavailable(CONDITIONS["phone_gsm"]) is None
    with pytest.raises(CoreError, match="libmp3lame"):
        codecs.round_trip(tone(500), codec="mp3", bit_rate=64_000)

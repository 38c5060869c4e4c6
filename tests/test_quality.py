"""core.quality: measured levels against known ones, and which sounds are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from core.errors import AudioRefusal
from core.quality import QualityMeter, frame_levels_db, has_sound, warnings_for
from core.records import AudioInfo, SignalQuality
from core.terms import WARNINGS

INFO = AudioInfo(container="WAV", codec="PCM_16", sample_rate_hz=16_000, num_channels=1, duration_s=4.0, size_bytes=128_044)
QUALITY = SignalQuality(level_db=-20.0, peak_db=-3.0, clipped_share=0.0, silence_share=0.2, bandwidth_hz=7_800.0)


def tone(seconds: float, amplitude: float = 0.5, frequency_hz: float = 1_000.0) -> torch.Tensor:
    return amplitude * torch.sin(2 * math.pi * frequency_hz * torch.arange(int(seconds * 16_000)) / 16_000)


def noise(seconds: float, level: float = 0.1) -> torch.Tensor:
    return level * torch.randn(int(seconds * 16_000), generator=torch.Generator().manual_seed(0))


def measured(*blocks: torch.Tensor) -> QualityMeter:
    meter = QualityMeter()
    for block in blocks:
        meter.update(block)
    return meter


def refusal_of(samples: torch.Tensor) -> AudioRefusal:
    with pytest.raises(AudioRefusal) as caught:
        measured(samples).check()
    return caught.value


def test_frame_levels_by_hand() -> None:
    signs = torch.tensor([1.0, -1.0]).repeat(160)
    samples = torch.cat([0.1 * signs, torch.zeros(320), torch.full((100,), 1.0)])
    assert frame_levels_db(samples).tolist() == pytest.approx([-20.0, -120.0])
    assert frame_levels_db(samples[:640] + 0.5).tolist() == pytest.approx([-20.0, -120.0], abs=1e-3)  # an offset is no sound
    assert frame_levels_db(torch.ones(2, 3, 640)).shape == (2, 3, 2)


def test_levels_of_a_tone_with_pauses() -> None:
    # A tone of amplitude 1/2 has -9.03 dB; half the recording is silence, which the level leaves out.
    quality = measured(torch.cat([tone(1.0), torch.zeros(16_000)])).result()
    assert quality.level_db == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.01)
    assert quality.peak_db == pytest.approx(20 * math.log10(0.5), abs=0.01)
    assert quality.silence_share == pytest.approx(0.5)
    assert quality.clipped_share == 0.0


def test_clipping_is_counted() -> None:
    samples = torch.full((16_000,), 0.5)
    samples[100:200], samples[200:260] = 1.0, -1.2
    quality = measured(samples).result()
    assert quality.clipped_share == 160 / 16_000
    assert quality.peak_db == pytest.approx(20 * math.log10(1.2), abs=1e-4)


@pytest.mark.parametrize("cutoff_hz", [1_500, 3_400, 7_000])
def test_bandwidth_of_low_passed_noise(cutoff_hz: int) -> None:
    spectrum = torch.fft.rfft(noise(4.0))
    spectrum[torch.fft.rfftfreq(64_000, 1 / 16_000) > cutoff_hz] = 0
    assert measured(torch.fft.irfft(spectrum)).result().bandwidth_hz == pytest.approx(cutoff_hz, abs=125)  # 4 bins of leakage


def test_blocks_add_up_to_the_whole(speech_like: Callable) -> None:
    samples = torch.from_numpy(speech_like(6.0))
    whole, parts = measured(samples), measured(*samples.split(32_000))
    assert (parts.duration_s, parts.result().silence_share) == (6.0, whole.result().silence_share)
    assert parts.result().level_db == pytest.approx(whole.result().level_db, abs=1e-4)


def test_digital_silence_measures_without_failing() -> None:
    quality = measured(torch.zeros(32_000)).result()
    assert (quality.level_db, quality.peak_db, quality.silence_share, quality.bandwidth_hz) == (-120.0, -120.0, 1.0, 0.0)


def test_speech_like_passes(speech_like: Callable) -> None:
    for seed in range(5):
        measured(torch.from_numpy(speech_like(2.0, seed))).check()


@pytest.mark.parametrize(
    ("samples", "code", "words"),
    [
        (tone(0.49), "too_short", "0.49 s of audio; at least 0.5 s"),
        (torch.zeros(0), "too_short", "0.00 s"),
        (torch.zeros(32_000), "silent", "nothing is louder than -60 dBFS"),
        (noise(2.0, 5e-4), "silent", "nothing is louder than -60 dBFS"),
        (torch.cat([tone(0.2), torch.zeros(32_000)]), "no_speech", "Only 0.20 s of sound; at least 0.3 s"),
        (tone(3.0), "no_speech", "A steady sound, not speech: its level varies by 0.0 dB"),
        (noise(3.0), "no_speech", "A steady sound, not speech"),
    ],
)
def test_what_cannot_be_judged_is_refused(samples: torch.Tensor, code: str, words: str) -> None:
    refusal = refusal_of(samples)
    assert refusal.code == code
    assert words in str(refusal)


def test_an_offset_hides_no_speech(speech_like: Callable) -> None:
    speech = 0.1 * torch.from_numpy(speech_like(4.0))
    for offset in (0.05, -0.3):
        meter, plain = measured(speech + offset), measured(speech)
        meter.check()
        assert meter.result().level_db == pytest.approx(plain.result().level_db, abs=0.1)
        assert meter.result().silence_share == pytest.approx(plain.result().silence_share, abs=0.01)
        assert has_sound(speech + offset)
    assert refusal_of(tone(2.0) + 0.2).code == "no_speech"
    assert refusal_of(torch.full((32_000,), 0.3)).code == "silent"


@pytest.mark.parametrize("beep_s", [0.02, 0.1, 0.28, 0.5, 2.0])
def test_a_beep_hides_no_quiet_speech(speech_like: Callable, beep_s: float) -> None:
    speech = torch.from_numpy(speech_like(4.0))
    quiet = speech * 10 ** (-55 / 20) / speech.square().mean().sqrt()
    meter = measured(torch.cat([tone(beep_s, 0.9), quiet]))
    meter.check()
    assert meter.result().level_db < -45.0
    assert has_sound(torch.cat([tone(beep_s, 0.9), quiet])[:64_000])
    # Behind a beep, noise and silence are no speech.
    for rest in (noise(4.0, 0.005), torch.zeros(64_000)):
        assert refusal_of(torch.cat([tone(beep_s, 0.9), rest])).code == "no_speech"
    assert not has_sound(torch.cat([tone(0.1, 0.9), noise(3.9, 0.005)]))


def test_boundary_of_the_level_modulation() -> None:
    # A tone whose 20 ms frames alternate between two levels has exactly their distance as its spread.
    for spread_db, passes in ((2.8, False), (3.2, True)):
        gains = torch.tensor([1.0, 10 ** (-spread_db / 20)]).repeat(50).repeat_interleave(320)
        meter = measured(tone(2.0) * gains)
        if passes:
            meter.check()
        else:
            assert refusal_of(tone(2.0) * gains).code == "no_speech"


def test_an_hour_can_be_checked() -> None:
    meter = QualityMeter()
    meter._levels = [torch.linspace(-50.0, -20.0, 50 * 3_600 * 100)]  # 100 hours; torch.quantile alone gives up at 93
    meter._num_samples = 10**9
    meter.check()


def test_no_warning_for_a_good_recording() -> None:
    assert warnings_for(QUALITY, INFO, duration_s=4.0) == ()


@pytest.mark.parametrize(
    ("code", "quality", "info", "duration_s", "of_reading"),
    [
        ("narrowband", {"bandwidth_hz": 3_400.0}, {}, 4.0, ()),
        ("narrowband", {}, {"sample_rate_hz": 8_000}, 4.0, ()),
        ("clipped", {"clipped_share": 0.002}, {}, 4.0, ()),
        ("much_silence", {"silence_share": 0.61}, {}, 4.0, ()),
        ("compressed", {}, {"codec": "OPUS", "size_bytes": 11_000}, 4.0, ()),  # 22 kbit/s
        ("compressed", {}, {"codec": "aac", "size_bytes": 23_000, "num_channels": 2}, 4.0, ()),  # 23 kbit/s per channel
        ("short", {}, {}, 1.99, ()),
        ("truncated", {}, {}, 4.0, ("truncated",)),
        ("more_tracks", {}, {}, 4.0, ("more_tracks",)),
        ("unread_bytes", {}, {}, 4.0, ("unread_bytes",)),
        ("quiet", {"level_db": -45.1}, {}, 4.0, ()),
    ],
)
def test_each_warning_alone(code: str, quality: dict, info: dict, duration_s: float, of_reading: tuple) -> None:
    found = warnings_for(replace(QUALITY, **quality), replace(INFO, **info), duration_s=duration_s, of_reading=of_reading)
    assert found == (code,)


@pytest.mark.parametrize("info", [{"codec": "OPUS", "size_bytes": 13_000}, {"codec": "FLAC", "size_bytes": 1_000}])
def test_high_rates_and_lossless_coding_are_not_compressed(info: dict) -> None:
    assert warnings_for(QUALITY, replace(INFO, **info), duration_s=4.0) == ()


def test_all_warnings_in_the_order_of_the_table() -> None:
    quality = SignalQuality(level_db=-50.0, peak_db=0.0, clipped_share=0.5, silence_share=0.9, bandwidth_hz=100.0)
    info = replace(INFO, codec="AMR_NB", size_bytes=1_000)
    assert warnings_for(quality, info, duration_s=1.0, of_reading=("unread_bytes", "truncated", "more_tracks")) == tuple(
        code for code in WARNINGS if code != "unfamiliar"
    )


def test_windows_with_sound() -> None:
    # 0.3 s is 15 frames.
    for num_frames, expected in ((14, False), (15, True)):
        window = torch.zeros(64_000)
        window[: num_frames * 320] = 0.1 * torch.tensor([1.0, -1.0]).repeat(num_frames * 160)
        assert has_sound(window) is expected
    assert not has_sound(torch.zeros(64_000))

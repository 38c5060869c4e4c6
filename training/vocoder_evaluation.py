"""How close to speech copies are: the vocoder beside Griffin-Lim, from the same mel spectrogram and from full magnitudes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from core.attacks.levels import Maker
from core.attacks.neural import NeuralVocoder, log_mel_of, spoken_again
from core.attacks.resynthesis import fundamental_hz, griffin_lim, mel_inversion
from training.vocoder_batches import generator_at

VOCODER, GRIFFIN_LIM_OF_MEL = "neural vocoder", "Griffin-Lim from the same mel spectrogram"
_WINDOWS = (1_024, 512, 256, 128)
"""64 to 8 ms; each moves by a quarter of itself."""
_NUM_MELS = 80
_ACTIVE_DB = 40.0
_DB_PER_NEPER = 20 / np.log(10)
_GROSS_CENTS = 315.0
"""A fundamental 20 % off is a gross error, as is usual since Rabiner et al. (1976)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """How far copies are from their recordings; one value a recording, in the recordings' order."""

    log_spectral_db: np.ndarray
    """Log-spectral distance: root mean square over bins of the difference of levels, mean over frames that hold sound, mean
    over windows of 64, 32, 16 and 8 ms. Long ones see harmonics, short ones pulses. The measure that decides on publishing."""
    long_log_spectral_db: np.ndarray
    """The same at 64 ms only, where inverted mel spectrograms are at their best: they were taken with this window."""
    short_log_spectral_db: np.ndarray
    """The same at 8 ms only."""
    mel_db: np.ndarray
    """Mean absolute difference of levels of 80 mel bands over frames that hold sound."""
    f0_cents: np.ndarray
    """Mean absolute difference of fundamentals where both are voiced, gross errors apart; NaN where none is."""
    gross_f0: np.ndarray
    """Share of those frames whose fundamental is more than 20 % off."""
    voicing: np.ndarray
    """Share of frames that are voiced in one and not in the other."""


MEASURES: Mapping[str, str] = {
    "log_spectral_db": "log-spectral distance (dB)",
    "long_log_spectral_db": "at 64 ms (dB)",
    "short_log_spectral_db": "at 8 ms (dB)",
    "mel_db": "mel distance (dB)",
    "f0_cents": "fundamental (cents)",
    "gross_f0": "gross errors of the fundamental",
    "voicing": "voicing differs",
}
"""Field of `Closeness` -> its words; less is closer in each."""
SHARES = ("gross_f0", "voicing")
"""The measures that are shares of frames."""


def closeness(made: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
    """Every measure of one copy, both `[time]` at 16 kHz."""
    made, real = made.unsqueeze(0), real.unsqueeze(0)
    mel, real_mel = (_DB_PER_NEPER * log_mel_of(each, _NUM_MELS) for each in (made, real))
    distances = [_log_spectral(made, real, num_fft) for num_fft in _WINDOWS]
    active = _is_active(real, _WINDOWS[0])
    f0, real_f0 = fundamental_hz(made), fundamental_hz(real)
    both = (f0 > 0) & (real_f0 > 0)
    cents = 1_200 * (f0[both] / real_f0[both]).log2().abs()
    return {
        "log_spectral_db": float(np.mean(distances)),
        "long_log_spectral_db": distances[0],
        "short_log_spectral_db": distances[-1],
        "mel_db": float((mel - real_mel).abs().mean(dim=-1)[active].mean()),
        "f0_cents": float(cents[cents <= _GROSS_CENTS].mean()),
        "gross_f0": float((cents > _GROSS_CENTS).float().mean()),
        "voicing": float(((f0 > 0) != (real_f0 > 0)).float().mean()),
    }


def measured(maker: Maker, recordings: Sequence[torch.Tensor], *, seed: int = 0) -> Closeness:
    """Copies of every recording `[time]`, one by one, compared with it.

    Args:
        seed: each recording's generator follows from it and from the recording's number.
    """
    rows = []
    for number, real in enumerate(recordings):
        rows.append(closeness(maker(real.unsqueeze(0), generator_at(seed, number))[0], real))
    return Closeness(**{name: np.array([row[name] for row in rows]) for name in MEASURES})


def compare(network: NeuralVocoder, recordings: Sequence[torch.Tensor], *, seed: int = 0) -> dict[str, Closeness]:
    """The vocoder and what it must beat, by name."""
    makers: dict[str, Maker] = {
        VOCODER: partial(spoken_again, network),
        GRIFFIN_LIM_OF_MEL: partial(mel_inversion, num_iterations=32),
        "Griffin-Lim from full magnitudes": partial(griffin_lim, num_iterations=32),
        "mel spectrogram inverted, original phase": partial(mel_inversion, phase="original"),
    }
    return {name: measured(maker, recordings, seed=seed) for name, maker in makers.items()}


def as_table(compared: Mapping[str, Closeness]) -> str:
    """Means over recordings, Markdown."""
    lines = ["| copies by | " + " | ".join(MEASURES.values()) + " |", "| --- |" + " ---: |" * len(MEASURES)]
    for name, figures in compared.items():
        lines.append(f"| {name} | " + " | ".join(_words(measure, getattr(figures, measure)) for measure in MEASURES) + " |")
    return "\n".join(lines) + "\n"


def differences(first: Closeness, second: Closeness) -> dict[str, tuple[float, float]]:
    """Mean of the paired differences of every measure, and half its 95 % interval (normal); below 0 the first is closer."""
    made = {}
    for name in MEASURES:
        difference = getattr(first, name) - getattr(second, name)
        difference = difference[np.isfinite(difference)]
        half = 1.96 * difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else float("inf")
        made[name] = (float(difference.mean()), float(half))
    return made


def _words(measure: str, values: np.ndarray) -> str:
    mean = float(np.nanmean(values))
    return f"{100 * mean:.1f} %" if measure in SHARES else f"{mean:.2f}"


def _log_spectral(made: torch.Tensor, real: torch.Tensor, num_fft: int) -> float:
    power, real_power = _power(made, num_fft), _power(real, num_fft)
    # 60 dB below the recording's own mean level counts as nothing.
    floor = 1e-6 * real_power.mean() + 1e-12
    distance = (10 * ((power + floor) / (real_power + floor)).log10()).square().mean(dim=1).sqrt()
    return float(distance[_is_active(real, num_fft)].mean())


def _is_active(real: torch.Tensor, num_fft: int) -> torch.Tensor:
    """`[1, frame]`: within 40 dB of the loudest frame."""
    power = _power(real, num_fft).mean(dim=1)
    return power > power.amax() * 10 ** (-_ACTIVE_DB / 10)


def _power(samples: torch.Tensor, num_fft: int) -> torch.Tensor:
    """`[1, bin, frame]`."""
    return torch.stft(samples, num_fft, num_fft // 4, window=torch.hann_window(num_fft), return_complex=True).abs().square()

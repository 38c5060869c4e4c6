"""Round trips through real encoders and decoders (FFmpeg by PyAV, libsndfile for GSM), in step with what came in.

What this FFmpeg lacks is named by `missing_codec`; nothing is imitated.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np
import soundfile
from scipy import signal

from core.errors import CoreError
from core.resample import SAMPLE_RATE_HZ

_PROBE_S = 1.5
_MAX_DELAY_S = 0.25
_PHONE_BAND_HZ = (300.0, 3_400.0)
"""ITU-T G.712: the band of a telephone channel."""


@dataclass(frozen=True, slots=True)
class _Coding:
    """How a coding is made here."""

    title: str
    encoder: str
    """FFmpeg's name; empty where libsndfile does it."""
    decoder: str
    rate_hz: int
    is_phone: bool = False
    options: tuple[tuple[str, str], ...] = ()


_CODINGS = {
    "pcm_alaw": _Coding("G.711 A-law", "pcm_alaw", "pcm_alaw", 8_000, is_phone=True),
    "pcm_mulaw": _Coding("G.711 mu-law", "pcm_mulaw", "pcm_mulaw", 8_000, is_phone=True),
    "amr_nb": _Coding("AMR narrow-band", "libopencore_amrnb", "amrnb", 8_000, is_phone=True),
    # FFmpeg decodes GSM everywhere and encodes it only where built with libgsm, which PyAV's wheels are not; libsndfile does both.
    "gsm": _Coding("GSM full rate", "", "", 8_000, is_phone=True),
    "mp3": _Coding("MP3", "libmp3lame", "mp3float", SAMPLE_RATE_HZ),
    "aac": _Coding("AAC", "aac", "aac", SAMPLE_RATE_HZ),
    "opus": _Coding("Opus", "libopus", "libopus", SAMPLE_RATE_HZ, options=(("application", "voip"),)),
}


def missing_codec(codec: str) -> str | None:
    """Why a coding cannot be tried on this machine, one sentence; None where it can."""
    coding = _coding(codec)
    if not coding.encoder:
        return None if "GSM610" in soundfile.available_subtypes("WAV") else "This libsndfile has no GSM 06.10."
    for name, mode in ((coding.encoder, "w"), (coding.decoder, "r")):
        try:
            av.Codec(name, mode)
        except ValueError:  # av.codec.codec.UnknownCodecError is one
            kind = "encoder" if mode == "w" else "decoder"
            return f"{coding.title} needs FFmpeg's {kind} {name}, which this build of PyAV lacks; install PyAV's own wheel (pip)."
    return None


def round_trip(samples: np.ndarray, *, codec: str, bit_rate: int = 0) -> np.ndarray:
    """Samples `[time]` at 16 kHz, encoded and decoded; as long as they came and in step to within one sample of the coding.

    Args:
        samples: what goes beyond full scale is cut off, as in a file.
        codec: `pcm_alaw`, `pcm_mulaw`, `amr_nb`, `gsm` (on a telephone band of 300 to 3,400 Hz), `mp3`, `aac`, `opus`.
        bit_rate: bits per second, of codings that let one choose.

    Raises:
        CoreError: no such coding, this machine lacks it, or it does not take that bit rate.
    """
    coding = _coding(codec)
    problem = missing_codec(codec)
    if problem:
        raise CoreError(problem)
    delay = _delay(codec, bit_rate)
    padded = np.pad(samples, (0, delay + coding.rate_hz // 10))
    coded = _through(padded, coding, bit_rate)
    return _fitted(coded[delay:], len(samples))


def phone_band(samples: np.ndarray, rate_hz: float) -> np.ndarray:
    """Samples `[time]` through 300 to 3,400 Hz, without delay."""
    filters = signal.butter(4, _PHONE_BAND_HZ, "bandpass", fs=rate_hz, output="sos")
    return signal.sosfiltfilt(filters, samples, padlen=min(len(samples) - 1, 200))


def _coding(codec: str) -> _Coding:
    if codec not in _CODINGS:
        raise CoreError(f"There is no coding {codec!r}; expected one of {', '.join(_CODINGS)}.")
    return _CODINGS[codec]


def _through(samples: np.ndarray, coding: _Coding, bit_rate: int) -> np.ndarray:
    """16 kHz in, 16 kHz out, late by the coding's delay."""
    down = SAMPLE_RATE_HZ // coding.rate_hz
    low = phone_band(samples, SAMPLE_RATE_HZ) if coding.is_phone else samples
    low = signal.resample_poly(low, 1, down) if down > 1 else low
    low = np.clip(low, -1.0, 32_767 / 32_768).astype(np.float32)
    coded = _by_ffmpeg(low, coding, bit_rate) if coding.encoder else _by_libsndfile(low, coding.rate_hz)
    return signal.resample_poly(coded, down, 1) if down > 1 else coded


def _by_libsndfile(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype="GSM610")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def _by_ffmpeg(samples: np.ndarray, coding: _Coding, bit_rate: int) -> np.ndarray:
    encoder = av.CodecContext.create(coding.encoder, "w")
    encoder.sample_rate, encoder.layout = coding.rate_hz, "mono"
    encoder.time_base = Fraction(1, coding.rate_hz)
    encoder.format = encoder.codec.audio_formats[0]
    encoder.options = dict(coding.options)
    if bit_rate:
        encoder.bit_rate = bit_rate
    try:
        encoder.open()
        packets = _encoded(encoder, samples)
    except av.error.FFmpegError as error:
        raise CoreError(f"{coding.title} does not take {bit_rate} bits a second at {coding.rate_hz} Hz: {error}.") from None
    return _decoded(packets, coding, encoder.extradata)


def _encoded(encoder: av.CodecContext, samples: np.ndarray) -> list[av.Packet]:
    to_format = av.AudioResampler(
        format=encoder.format.name, layout="mono", rate=encoder.sample_rate, frame_size=encoder.frame_size or 1_024
    )
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = encoder.sample_rate, 0, encoder.time_base
    frames = [*to_format.resample(frame), *to_format.resample(None)]
    return [packet for one in (*frames, None) for packet in encoder.encode(one)]


def _decoded(packets: list[av.Packet], coding: _Coding, extradata: bytes | None) -> np.ndarray:
    decoder = av.CodecContext.create(coding.decoder, "r")
    decoder.sample_rate, decoder.layout = coding.rate_hz, "mono"
    if extradata:
        decoder.extradata = extradata
    to_float = av.AudioResampler(format="fltp", layout="mono", rate=coding.rate_hz)
    decoded = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    for frame in decoded:
        frame.pts = None
    parts = [planar.to_ndarray()[0] for frame in (*decoded, None) for planar in to_float.resample(frame)]
    return np.concatenate(parts)


@lru_cache(maxsize=64)
def _delay(codec: str, bit_rate: int) -> int:
    """By how many samples at 16 kHz the coding is late: where a sweep that went through it fits the sweep best."""
    sweep = _sweep()
    most = int(_MAX_DELAY_S * SAMPLE_RATE_HZ)
    coded = _through(np.pad(sweep, (0, most)), _coding(codec), bit_rate)
    fits = signal.correlate(coded, sweep, mode="full", method="fft")[len(sweep) - 1 :][:most]
    return int(np.argmax(fits))


def _sweep() -> np.ndarray:
    """From 400 to 3,000 Hz in syllables: speech-like enough for codings of speech, and like itself at no other lag."""
    time_s = np.arange(int(_PROBE_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.3 * signal.chirp(time_s, 400, _PROBE_S, 3_000) * np.sin(np.pi * 4 * time_s) ** 2).astype(np.float32)


def _fitted(samples: np.ndarray, length: int) -> np.ndarray:
    return np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32)

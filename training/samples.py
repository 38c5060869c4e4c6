"""The sample recordings in `data/samples/`: makes them with speech synthesisers, all spoofs. Takes no human speech.

The containers and rates differ on purpose, so that a first audit shows formats; one file is no recording at all,
so that it shows a refusal.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import torch
import torchaudio

from core.attacks.kinds import PROGRAMS
from core.attacks.speech_engines import Side, check_flite_voices, speak
from core.audio import SAMPLE_RATE_HZ
from core.errors import CoreError

PEAK = 0.7
"""Largest absolute sample as written: -3 dB leaves room for the overshoot of lossy codecs."""
PROTOCOL_NAME = "protocol.txt"
REFUSED_PATH = "calls/refused_text-not-audio.wav"
"""The one file that no decoder reads."""
_REFUSED_TEXT = "This is a line of text in a file named .wav. Earwitness refuses it: there is no audio in it.\n"
_TURN_PAUSE_S = 0.2
_AAC_BITS_PER_S = 48_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One recording to make."""

    path: str
    """Where it goes, relative to the samples' folder; the ending sets the container."""
    sides: tuple[Side, ...]
    """One channel each; a later side starts when the one before it has ended."""
    subtype: str | None = None
    """libsndfile's name of the coding; None for the container's usual one."""
    is_resynthesised: bool = False
    """Whether the phase is thrown away and estimated again by Griffin-Lim, at 16 kHz."""

    @property
    def attack(self) -> str:
        """How the spoof was made: `griffin-lim`, or the engine."""
        return "griffin-lim" if self.is_resynthesised else self.sides[0].engine

    @property
    def speaker(self) -> str:
        """Engine and voice, joined by `+` for a call of two."""
        return "+".join(f"{side.engine}-{side.voice}" for side in self.sides)


_TRANSFER = Side("espeak-ng", "en-us", "Please confirm the transfer before noon, the supplier is waiting.")
_STATEMENT = Side("espeak-ng", "en-gb", "We received a recording that claims to come from the press office.")
_CALLBACK = Side("espeak-ng", "de", "Bitte rufen Sie die Bank zurück, bevor Sie den Auftrag freigeben.")
_BILL = Side("espeak-ng", "fr", "Merci de vérifier la facture avant la fin de la journée, s'il vous plaît.")
_INVOICE = Side("flite", "slt", "The invoice has a new account number, please use it from today.")
_BROADCAST = Side("flite", "awb", "This clip was sent to three newsrooms within the same hour.")
_PASSWORD = Side("flite", "rms", "I forgot my password, can you reset it for me over the phone?")
_MEETING = Side("festival", "kal_diphone", "The meeting has moved to four o'clock, bring the signed contract.")
_WITNESS = Side("festival", "kal_diphone", "The caller says that the audio was recorded on a train this morning.")
_VOICEMAIL = Side("flite", "kal", "You have one new message about an unpaid parcel fee.")
_GREETING = Side("flite", "rms", "Good morning, how can I help you?")
_REQUEST = Side("flite", "slt", "I want to change the address on my account.")

SAMPLES = (
    Sample(path="espeak-ng/espeak-ng_en-us_transfer.flac", sides=(_TRANSFER,)),
    Sample(path="espeak-ng/espeak-ng_en-gb_statement.wav", sides=(_STATEMENT,)),
    Sample(path="espeak-ng/espeak-ng_de_callback.flac", sides=(_CALLBACK,)),
    Sample(path="espeak-ng/espeak-ng_fr_bill.mp3", sides=(_BILL,)),
    Sample(path="flite/flite_slt_invoice.flac", sides=(_INVOICE,)),
    Sample(path="flite/flite_awb_broadcast.ogg", sides=(_BROADCAST,), subtype="OPUS"),
    Sample(path="flite/flite_rms_password.flac", sides=(_PASSWORD,)),
    Sample(path="festival/festival_kal_meeting.flac", sides=(_MEETING,)),
    Sample(path="festival/festival_kal_witness.m4a", sides=(_WITNESS,)),
    Sample(path="griffin-lim/griffin-lim_en-us_transfer.flac", sides=(_TRANSFER,), is_resynthesised=True),
    Sample(path="griffin-lim/griffin-lim_slt_invoice.flac", sides=(_INVOICE,), is_resynthesised=True),
    Sample(path="griffin-lim/griffin-lim_kal_meeting.flac", sides=(_MEETING,), is_resynthesised=True),
    # flite's `kal` is an 8 kHz voice: the telephone's rate without resampling.
    Sample(path="calls/call_telephone_voicemail.wav", sides=(_VOICEMAIL,), subtype="ULAW"),
    Sample(path="calls/call_two-sided_help-desk.flac", sides=(_GREETING, _REQUEST)),
)


def make_samples(folder: Path) -> tuple[Path, ...]:
    """Makes all samples, the refused file and the protocol in `folder`; replaces those already there.

    Returns:
        The recordings' paths, the refused one last.

    Raises:
        CoreError: an engine is not installed, or fails.
    """
    missing = [engine for engine, program in PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        raise CoreError(
            f"Making the samples needs espeak-ng, flite and festival; not found: {', '.join(missing)}. "
            "Install them with `apt-get install espeak-ng flite festival`."
        )
    check_flite_voices(side.voice for sample in SAMPLES for side in sample.sides if side.engine == "flite")
    for sample in SAMPLES:
        path = folder / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, *_rendered(sample), sample.subtype)
    (folder / REFUSED_PATH).write_text(_REFUSED_TEXT, encoding="utf-8")
    lines = [f"{sample.speaker} {Path(sample.path).stem} - {sample.attack} spoof\n" for sample in SAMPLES]
    (folder / PROTOCOL_NAME).write_text("".join(lines), encoding="utf-8")
    return tuple(folder / path for path in (*(sample.path for sample in SAMPLES), REFUSED_PATH))


def griffin_lim(samples: torch.Tensor, *, seed: int = 0) -> torch.Tensor:
    """Speech `[time]` at 16 kHz with its magnitudes kept and its phase estimated anew, `[time]`.

    Source: Griffin and Lim 1984, in torchaudio's accelerated form (Perraudin et al. 2013).
    """
    magnitudes = torchaudio.transforms.Spectrogram(n_fft=1024, hop_length=256, power=1.0)(samples)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the starting phase is random
        inverse = torchaudio.transforms.GriffinLim(n_fft=1024, hop_length=256, power=1.0, length=samples.shape[-1])
        return inverse(magnitudes)


def _rendered(sample: Sample) -> tuple[np.ndarray, int]:
    """A sample as `[frame, channel]` float32 at `PEAK`, and its rate."""
    turns, rates = zip(*(speak(side) for side in sample.sides), strict=True)
    (rate_hz,) = set(rates)
    if sample.is_resynthesised:
        resampled = (torchaudio.functional.resample(torch.from_numpy(turn), rate_hz, SAMPLE_RATE_HZ) for turn in turns)
        turns, rate_hz = tuple(griffin_lim(turn).numpy() for turn in resampled), SAMPLE_RATE_HZ
    pause = int(_TURN_PAUSE_S * rate_hz)
    frames = np.zeros((sum(map(len, turns)) + pause * (len(turns) - 1), len(turns)), dtype=np.float32)
    start = 0
    for channel, turn in enumerate(turns):
        frames[start : start + len(turn), channel] = turn * (PEAK / np.abs(turn).max())
        start += len(turn) + pause
    return frames, rate_hz


def _write(path: Path, frames: np.ndarray, rate_hz: int, subtype: str | None) -> None:
    if path.suffix == ".m4a":
        _write_aac(path, frames, rate_hz)
    else:
        soundfile.write(path, frames, rate_hz, subtype=subtype)


def _write_aac(path: Path, frames: np.ndarray, rate_hz: int) -> None:
    """Mono AAC in MP4, which libsndfile does not write."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="mono", bit_rate=_AAC_BITS_PER_S)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(frames.T), format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)

"""What kinds of attack there are: name, family, parameters, and what each needs to be installed. Makes nothing, loads no maker."""

from __future__ import annotations

from collections.abc import Mapping

from core.attacks.kind_records import PROGRAMS, AttackKind, Family, Parameter, missing_vocoder, value_words
from core.errors import CoreError

__all__ = ["ATTACK_KINDS", "PROGRAMS", "AttackKind", "Family", "Parameter", "attack_kind", "missing_vocoder", "value_words"]

ESPEAK_VOICES = (
    *"en-us en-gb en-gb-scotland en-gb-x-rp en-029 en-us+f2 en-us+m3 en-us+f4 en-us+m7 en-us+croak".split(),
    *"de fr-fr es it nl pl pt sv".split(),
)
"""Languages, with variants of the voice; the first ten speak English, and are drawn."""
FLITE_VOICES = ("awb", "kal16", "rms", "slt")
"""Debian's voices at 16 kHz."""
FESTIVAL_VOICES = ("kal_diphone",)
LOUDSPEAKERS = ("perfect", "high", "low")
"""Quality of the replaying device, in ASVspoof 2019's words; the letters A, B, C of its codes."""
RECORDERS = ("flat", "phone")
"""The attacker's microphone: ideal, or a telephone's small one with its own noise."""
PARTIAL_MAKERS = (
    "world_copy",
    "world_conversion",
    "griffin_lim",
    "mel_inversion",
    "lpc_copy",
    "sinusoidal",
    "pitch_shift",
    "spectral_filtering",
    "neural_vocoder",
    "espeak-ng",
    "flite",
    "festival",
)
"""What can make the inserted part of a partial spoof; the first eight need nothing that may be absent, and are drawn."""


def attack_kind(name: str) -> AttackKind:
    """The kind of that name.

    Raises:
        CoreError: there is none.
    """
    if name not in ATTACK_KINDS:
        raise CoreError(f"There is no kind of attack {name!r}; expected one of {', '.join(ATTACK_KINDS)}.")
    return ATTACK_KINDS[name]


def _choice(name: str, title: str, choices: tuple[str, ...], default: str, *, num_drawn: int | None = None) -> Parameter:
    last, last_drawn = len(choices) - 1, (num_drawn or len(choices)) - 1
    return Parameter(name, title, "", 0, last, choices.index(default), drawn=((0, last_drawn),), step=1, choices=choices)


_ITERATIONS = Parameter("num_iterations", "Iterations", "", 1, 100, 32, step=1)
_MELS = Parameter("num_mels", "Mel bands", "", 20, 128, 80, step=1)
_VOICED = Parameter("voiced_up_to_hz", "Pulses up to", "Hz", 500, 8_000, 4_000, step=100)
_SEMITONES = Parameter("pitch_semitones", "Pitch", "semitones", -12, 12, 4, drawn=((-7, -2), (2, 7)), step=0.1)
_SPEED = Parameter("speed", "Speed", "", 0.7, 1.4, 1.0, step=0.05)

ATTACK_KINDS: Mapping[str, AttackKind] = {
    kind.name: kind
    for kind in (
        AttackKind(
            name="griffin_lim",
            title="Griffin-Lim",
            family="copy synthesis",
            summary="Magnitudes of the short-time spectrum kept, the phase estimated anew (Griffin and Lim 1984).",
            parameters=(_ITERATIONS,),
        ),
        AttackKind(
            name="mel_inversion",
            title="Mel inversion",
            family="copy synthesis",
            summary="Through a mel spectrogram, the bottleneck of most text-to-speech, and back by pseudo-inverse and Griffin-Lim.",
            parameters=(_MELS, _ITERATIONS),
        ),
        AttackKind(
            name="mel_smoothing",
            title="Mel smoothing",
            family="copy synthesis",
            summary="Magnitudes smoothed by a mel spectrogram, the recording's own phase kept.",
            parameters=(_MELS,),
        ),
        AttackKind(
            name="lpc_copy",
            title="LPC vocoder copy",
            family="copy synthesis",
            summary="Pulses and noise through linear prediction, frame by frame (Atal and Hanauer 1971).",
            parameters=(Parameter("order", "Order", "", 8, 30, 18, step=1), _VOICED),
        ),
        AttackKind(
            name="cepstral_copy",
            title="Cepstral vocoder copy",
            family="copy synthesis",
            summary="Pulses and noise through a cepstral envelope, frame by frame (Imai 1983).",
            parameters=(Parameter("order", "Coefficients", "", 15, 60, 40, step=1), _VOICED),
        ),
        AttackKind(
            name="sinusoidal",
            title="Sinusoidal model",
            family="copy synthesis",
            summary="Only the strongest spectral peaks of each frame (McAulay and Quatieri 1986).",
            parameters=(Parameter("num_peaks", "Peaks per frame", "", 5, 100, 40, step=1),),
        ),
        AttackKind(
            name="phase_vocoder",
            title="Phase vocoder",
            family="copy synthesis",
            summary="Stretched in time and back again (Flanagan and Golden 1966).",
            parameters=(Parameter("rate", "Stretched by", "", 1.05, 1.6, 1.2),),
        ),
        AttackKind(
            name="world_copy",
            title="WORLD copy",
            family="copy synthesis",
            summary="Pitch, envelope and aperiodicity by the WORLD vocoder, and speech made of them (Morise et al. 2016).",
            package="pyworld",
        ),
        AttackKind(
            name="world_conversion",
            title="WORLD conversion",
            family="conversion",
            summary="Another voice by the WORLD vocoder: pitch multiplied, formants moved (Morise et al. 2016).",
            parameters=(
                _SEMITONES,
                Parameter("formant_ratio", "Formants", "", 0.7, 1.4, 1.12, drawn=((0.82, 0.95), (1.05, 1.22))),
            ),
            package="pyworld",
        ),
        AttackKind(
            name="pitch_shift",
            title="Pitch shift",
            family="conversion",
            summary="Pitch moved by a phase vocoder and resampling, the formants put back (Laroche and Dolson 1999).",
            parameters=(_SEMITONES,),
        ),
        AttackKind(
            name="formant_shift",
            title="Formant shift",
            family="conversion",
            summary="Formants moved by filtering each frame, the pitch kept: a longer or shorter throat.",
            parameters=(Parameter("formant_ratio", "Formants", "", 0.7, 1.4, 1.15, drawn=((0.8, 0.9), (1.1, 1.25))),),
        ),
        AttackKind(
            name="waveform_filtering",
            title="Waveform filtering",
            family="conversion",
            summary="Pitch and formants moved together by resampling and overlap-add (WSOLA, Verhelst and Roelands 1993).",
            parameters=(Parameter("ratio", "Frequencies", "", 0.7, 1.4, 1.15, drawn=((0.82, 0.92), (1.08, 1.22))),),
        ),
        AttackKind(
            name="spectral_filtering",
            title="Spectral filtering",
            family="conversion",
            summary="Each frame filtered towards the likest frame of another voice, the phase kept (Matrouf et al. 2006).",
            parameters=(Parameter("smoothing_frames", "Smoothed over", "frames", 1, 15, 5, step=2),),
            takes_other=True,
        ),
        AttackKind(
            name="concatenation",
            title="Concatenation",
            family="concatenation",
            summary="Segments of the speaker's own recording in another order, cut where it is quietest and cross-faded.",
            parameters=(
                Parameter("min_segment_s", "Shortest segment", "s", 0.1, 0.5, 0.15),
                Parameter("max_segment_s", "Longest segment", "s", 0.2, 1.5, 0.5),
            ),
        ),
        AttackKind(
            name="espeak-ng",
            title="eSpeak NG",
            family="text-to-speech",
            summary="Text spoken by rules and formant synthesis (eSpeak NG, after Duddington 1995).",
            parameters=(_choice("voice", "Voice", ESPEAK_VOICES, "en-us", num_drawn=10), _SPEED),
            needs_text=True,
        ),
        AttackKind(
            name="flite",
            title="Flite",
            family="text-to-speech",
            summary="Text spoken by diphones or a clustergen model (Black and Lenzo 2001).",
            parameters=(_choice("voice", "Voice", FLITE_VOICES, "slt"), _SPEED),
            needs_text=True,
        ),
        AttackKind(
            name="festival",
            title="Festival",
            family="text-to-speech",
            summary="Text spoken by joined diphones (Black and Taylor 1997).",
            parameters=(_choice("voice", "Voice", FESTIVAL_VOICES, "kal_diphone"), _SPEED),
            needs_text=True,
        ),
        AttackKind(
            name="neural_vocoder",
            title="Neural vocoder",
            family="neural vocoder",
            summary="Copied through a mel spectrogram and a small network that was trained against discriminators.",
        ),
        AttackKind(
            name="replay",
            title="Replay",
            family="replay",
            summary="Recorded in a simulated room, played by a loudspeaker and recorded again (ASVspoof 2019 physical access).",
            parameters=(
                Parameter("room_m2", "Room", "m²", 2, 20, 12, drawn=((2, 20),), step=0.1),
                Parameter("t60_ms", "Reverberation time T60", "ms", 50, 1_000, 400, drawn=((50, 1_000),), step=1),
                Parameter("talker_cm", "Talker to microphone", "cm", 10, 150, 60, drawn=((10, 150),), step=1),
                Parameter("attacker_cm", "Talker to attacker's microphone", "cm", 10, 150, 30, drawn=((10, 150),), step=1),
                _choice("loudspeaker", "Loudspeaker", LOUDSPEAKERS, "high"),
                _choice("recorder", "Attacker's microphone", RECORDERS, "flat"),
            ),
            package="pyroomacoustics",
        ),
        AttackKind(
            name="partial",
            title="Partial spoof",
            family="partial",
            summary="Part of a real recording made anew and spliced in at quiet places (Zhang et al. 2021, PartialSpoof).",
            parameters=(
                _choice("made_by", "Made by", PARTIAL_MAKERS, "world_copy", num_drawn=8),
                Parameter("num_parts", "Parts", "", 1, 4, 1, step=1),
                Parameter("part_s", "Length of a part", "s", 0.2, 3.0, 0.8, drawn=((0.4, 1.2),)),
            ),
        ),
    )
}
"""Name -> kind, in the order of menus."""

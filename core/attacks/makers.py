"""From a kind and its parameters to the maker that copies or converts speech. Matches nothing, speaks nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from core.attacks.filtering import concatenation, spectral_filtering, waveform_filtering
from core.attacks.kinds import AttackKind
from core.attacks.levels import Maker
from core.attacks.resynthesis import griffin_lim, mel_inversion, phase_vocoder, sinusoidal, source_filter
from core.attacks.shifting import formant_shift, pitch_shift
from core.errors import CoreError

_PLAIN: dict[str, tuple[Maker, dict[str, object]]] = {
    "griffin_lim": (griffin_lim, {}),
    "mel_inversion": (mel_inversion, {}),
    "mel_smoothing": (mel_inversion, {"phase": "original"}),
    "lpc_copy": (source_filter, {"envelope": "lpc"}),
    "cepstral_copy": (source_filter, {"envelope": "cepstrum"}),
    "sinusoidal": (sinusoidal, {}),
    "phase_vocoder": (phase_vocoder, {}),
    "formant_shift": (formant_shift, {}),
    "waveform_filtering": (waveform_filtering, {}),
    "spectral_filtering": (spectral_filtering, {}),
    "concatenation": (concatenation, {}),
    "pitch_shift": (pitch_shift, {}),
}
_NAMES = {"pitch_shift": {"pitch_semitones": "semitones"}, "formant_shift": {"formant_ratio": "ratio"}}
"""Where a maker calls a parameter otherwise."""


def made_by(
    kind: AttackKind,
    samples: torch.Tensor,
    generator: torch.Generator,
    values: Mapping[str, float],
    *,
    towards: torch.Tensor | None = None,
) -> torch.Tensor:
    """Made speech `[batch, time]`, as long as the samples.

    Args:
        kind: of copy, conversion, concatenation or neural vocoder.
        samples: `[batch, time]` at 16 kHz.
        generator: on the samples' device.
        values: of every parameter of the kind.
        towards: other voices `[batch, any time]`, for kinds that take one.

    Raises:
        CoreError: the kind makes no copies.
    """
    if kind.name == "neural_vocoder":
        from core.attacks.neural import neural_vocoder

        return neural_vocoder(samples, generator)
    if kind.name.startswith("world_"):
        from core.attacks.world import world_conversion, world_copy

        if kind.name == "world_copy":
            return world_copy(samples, generator)
        pitch_ratio = 2 ** (values["pitch_semitones"] / 12)
        return world_conversion(samples, generator, pitch_ratio=pitch_ratio, formant_ratio=values["formant_ratio"])
    if kind.name not in _PLAIN:
        raise CoreError(f"{kind.title} makes no copy of a recording; it is {kind.family}.")
    maker, fixed = _PLAIN[kind.name]
    names = _NAMES.get(kind.name, {})
    whole = {parameter.name for parameter in kind.parameters if parameter.step == int(parameter.step)}
    options = {names.get(name, name): int(value) if name in whole else value for name, value in values.items()}
    if kind.takes_other and towards is not None:
        options["towards"] = towards
    return maker(samples, generator, **fixed, **options)

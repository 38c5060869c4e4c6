"""Voices changed without a vocoder: by filters, by resampling, by cutting and joining. The waveform stays recorded speech.

Makers as in `core.attacks.resynthesis`. ASVspoof 2019's counterparts are A06 and A19 (spectral filtering), A17 (waveform
filtering), A04 and A16 (waveform concatenation).
"""

from __future__ import annotations

import torch
import torchaudio

from core.attacks.envelopes import NUM_CEPSTRAL, cepstra_of, istft, log_envelope, stft, with_formants_moved
from core.attacks.levels import Maker, at_level_of
from core.audio import SAMPLE_RATE_HZ
from core.errors import CoreError

_MAX_GAIN_DB = 20.0
_GRAIN, _GRAIN_HOP, _TOLERANCE = 640, 320, 160
"""Overlap-add: 40 ms grains every 20 ms, each moved by up to 10 ms (a period of 100 Hz) to where it fits best."""
_LEVEL_FRAME = 160
_FADE = 64
"""Samples of a cross-fade at a join, 4 ms."""


def spectral_filtering(
    samples: torch.Tensor, generator: torch.Generator, *, towards: torch.Tensor | None = None, smoothing_frames: int = 5
) -> torch.Tensor:
    """Each frame filtered so that it gets the envelope of the likest frame of another recording; the phase is kept.

    Frames are matched by their cepstra with each recording's mean taken off; the filter is the ratio of the two
    envelopes, within 20 dB, smoothed over time.

    Args:
        towards: the other recordings, `[batch, any time]`. By default the next one in a random order of the batch; of a
            batch of one, the recording itself with formants moved by 10 to 20 %.
        smoothing_frames: odd width of the moving average over frames of 8 ms.

    Source: Matrouf, Bonastre and Fredouille (2006), "Effect of speech transformation on impostor acceptance", with the
    nearest frame in place of their Gaussian mixture.
    """
    spectrum = stft(samples)
    cepstra, active = cepstra_of(spectrum)
    if towards is not None:
        other, other_active = cepstra_of(stft(towards))
    elif len(samples) > 1:
        order = torch.randperm(len(samples), device=samples.device, generator=generator)
        partners = torch.empty_like(order).scatter_(0, order, order.roll(-1))
        other, other_active = cepstra[partners], active[partners]
    else:
        other, other_active = _moved_formants(cepstra, generator), active
    distance = torch.cdist(_centred(cepstra, active), _centred(other, other_active))
    nearest = distance.masked_fill(~other_active.unsqueeze(1), torch.inf).argmin(dim=-1)
    wanted = other.gather(1, nearest.unsqueeze(-1).expand(-1, -1, NUM_CEPSTRAL))
    # Coefficient 0, the level, is left alone.
    change = torch.nn.functional.pad((wanted - cepstra)[..., 1:], (1, 0)) * active.unsqueeze(-1)
    change = torch.nn.functional.avg_pool1d(
        change.transpose(1, 2), smoothing_frames, stride=1, padding=smoothing_frames // 2, count_include_pad=False
    ).transpose(1, 2)
    limit = _MAX_GAIN_DB / 20 * torch.log(torch.tensor(10.0))
    gain = log_envelope(change).clamp(-limit, limit).exp()
    made = istft(spectrum * gain, samples.shape[-1])
    return at_level_of(made, samples)


def waveform_filtering(samples: torch.Tensor, generator: torch.Generator, *, ratio: float | None = None) -> torch.Tensor:
    """Pitch and formants moved together: resampled, and brought back to its duration by overlapping and adding grains.

    Args:
        ratio: new frequencies over old; by default drawn for each recording, 8 to 22 % up or down.

    Source: Verhelst and Roelands (1993), WSOLA.
    """
    drawn = torch.rand(2, len(samples), device=samples.device, generator=generator).cpu()
    ratios = torch.where(drawn[0] < 0.5, 1 / (1.08 + 0.14 * drawn[1]), 1.08 + 0.14 * drawn[1])
    # In hundredths, so that the resampler's filters stay short.
    hundredths = [round(100 * (ratio or each)) for each in ratios.tolist()]
    quick = [torchaudio.functional.resample(each, per, 100) for each, per in zip(samples, hundredths, strict=True)]
    rates = torch.tensor([len(each) for each in quick], device=samples.device) / samples.shape[-1]
    padded = torch.nn.utils.rnn.pad_sequence(quick, batch_first=True)
    return at_level_of(_overlap_added(padded, rates, samples.shape[-1]), samples)


def concatenation(
    samples: torch.Tensor, generator: torch.Generator, *, min_segment_s: float = 0.15, max_segment_s: float = 0.5
) -> torch.Tensor:
    """The recording cut where it is quietest, the segments in a random order, joined by short cross-fades.

    A recording shorter than two segments comes back as it is.

    Args:
        min_segment_s: about the shortest segment.
        max_segment_s: about the longest segment.

    Raises:
        CoreError: the longest is shorter than the shortest.
    """
    if not 0.02 <= min_segment_s <= max_segment_s:
        raise CoreError(f"Segments of {min_segment_s:g} to {max_segment_s:g} s were asked for; expected 0.02 s or more, rising.")
    return at_level_of(torch.stack([_reordered(each, generator, min_segment_s, max_segment_s) for each in samples]), samples)


MAKERS: dict[str, Maker] = {
    "spectral_filtering": spectral_filtering,
    "waveform_filtering": waveform_filtering,
    "concatenation": concatenation,
}
"""Attack name -> maker with its usual parameters."""


def _centred(cepstra: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
    """Cepstra with their mean over active frames taken off, without the level."""
    share = active.unsqueeze(-1).to(cepstra.dtype)
    return (cepstra - (cepstra * share).sum(dim=1, keepdim=True) / share.sum(dim=1, keepdim=True).clamp_min(1.0))[..., 1:]


def _moved_formants(cepstra: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    up, size = torch.rand(2, device=cepstra.device, generator=generator).tolist()
    return with_formants_moved(cepstra, (1.1 + 0.1 * size) ** (1 if up < 0.5 else -1))


def _overlap_added(samples: torch.Tensor, rates: torch.Tensor, length: int) -> torch.Tensor:
    """Samples `[batch, time]` read at `rates` `[batch]` samples per sample made, `[batch, length]`."""
    num_grains = -(-length // _GRAIN_HOP) + 1
    window = torch.hann_window(_GRAIN, device=samples.device)
    reach = _TOLERANCE + _GRAIN
    padded = torch.nn.functional.pad(samples, (reach, 2 * reach))
    within = torch.arange(_GRAIN + 2 * _TOLERANCE, device=samples.device)
    made = samples.new_zeros(len(samples), (num_grains + 1) * _GRAIN_HOP)
    follows = None
    for k in range(num_grains):
        # A grain's centre is where it is added; the first is centred on sample 0.
        at = (k * _GRAIN_HOP * rates).round().long() + reach - _GRAIN // 2
        around = padded.gather(1, (at.unsqueeze(1) - _TOLERANCE + within).clamp(0, padded.shape[1] - 1))
        choices = around.unfold(1, _GRAIN, 1)
        shift = torch.full_like(at, _TOLERANCE)
        if follows is not None:
            likeness = (choices @ follows.unsqueeze(-1)).squeeze(-1) / choices.square().sum(dim=-1).sqrt().clamp_min(1e-6)
            shift = likeness.argmax(dim=-1)
        rows = torch.arange(len(samples), device=samples.device)
        made[:, k * _GRAIN_HOP : k * _GRAIN_HOP + _GRAIN] += choices[rows, shift] * window
        # What would come next if nothing were changed: the next grain is chosen to be like it.
        start = at - _TOLERANCE + shift + _GRAIN_HOP
        follows = padded.gather(1, (start.unsqueeze(1) + within[:_GRAIN]).clamp(0, padded.shape[1] - 1))
    return made[:, _GRAIN // 2 : _GRAIN // 2 + length]


def _reordered(samples: torch.Tensor, generator: torch.Generator, min_s: float, max_s: float) -> torch.Tensor:
    """One recording `[time]`, its segments in another order; as long as before, since fades reach into the neighbours."""
    edges = _quiet_edges(samples, generator, min_s, max_s)
    num = len(edges) - 1
    if num < 2:
        return samples.clone()
    order = torch.randperm(num, device=samples.device, generator=generator)
    if bool((order.diff() == 1).all()):
        order = order.roll(1)
    padded = torch.nn.functional.pad(samples, (_FADE // 2, _FADE // 2))
    rise = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(_FADE, device=samples.device) + 0.5) / _FADE)
    made, at = torch.zeros_like(padded), 0
    for i in order.tolist():
        segment = padded[edges[i] : edges[i + 1] + _FADE].clone()
        segment[:_FADE] *= rise
        segment[-_FADE:] *= rise.flip(0)
        made[at : at + len(segment)] += segment
        at += edges[i + 1] - edges[i]
    return made[_FADE // 2 : _FADE // 2 + len(samples)]


def _quiet_edges(samples: torch.Tensor, generator: torch.Generator, min_s: float, max_s: float) -> list[int]:
    """Where to cut: from each edge, the quietest 10 ms between the shortest and a drawn longest segment."""
    num_frames = len(samples) // _LEVEL_FRAME
    energy = samples[: num_frames * _LEVEL_FRAME].view(num_frames, _LEVEL_FRAME).square().mean(dim=-1).cpu()
    shortest, longest = (int(seconds * SAMPLE_RATE_HZ / _LEVEL_FRAME) for seconds in (min_s, max_s))
    draws = torch.rand(num_frames // shortest + 1, device=samples.device, generator=generator).tolist()
    edges = [0]
    while edges[-1] + longest + shortest < num_frames:
        first = edges[-1] + shortest
        last = first + 1 + int(draws[len(edges) - 1] * (longest - shortest))
        edges.append(first + int(energy[first:last].argmin()))
    return [edge * _LEVEL_FRAME + _LEVEL_FRAME // 2 * (edge > 0) for edge in edges] + [len(samples)]

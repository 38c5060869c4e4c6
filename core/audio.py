"""Reading recordings: hash, resample, stream. `core.native_audio` decodes. Judges nothing but whether samples come out.

Inside the program audio is mono float32 at 16,000 Hz, shape `[time]`; a reader yields `[channel, time]`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from core.errors import AudioRefusal
from core.native_audio import NativeReader, open_regular
from core.records import SAMPLE_RATE_HZ  # noqa: F401 - part of what this module says of audio

if TYPE_CHECKING:
    import torch

MIN_DURATION_S = 0.5
"""Shorter recordings are refused: half a second holds a syllable or two, too little to judge."""
EXTENSIONS = frozenset(
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .ogx .ogv .spx .opus .mp1 .mp2 .mp3 .mpa .mpga .aiff .aif .aifc .au .snd .caf "
    ".sph .nist .gsm .voc .m4a .m4b .m4r .mp4 .m4v .mov .3gp .3gpp .3g2 .3ga .f4a .f4v .aac .adts .amr .awb .ac3 .eac3 .ec3 .dts "
    ".wma .wmv .asf .webm .weba .mkv .mka .avi .flv .mpg .mpeg .vob .ts .mts .m2ts .rm .ra .wv .ape .tta .tak .mpc .dsf .dss "
    ".qcp .sf .ircam".split()
)
"""File name endings that a scan looks at by default: those of the formats that FFmpeg reads from one file."""
MIN_MIX_SHARE = 0.1
"""A mixdown keeps at least the power of channels that have nothing in common; with less than this of it, they cancel each other."""

Channels = Literal["mix", "each"]


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, hexadecimal.

    Raises:
        AudioRefusal: `unreadable` or `empty`.
    """
    with open_regular(path) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise AudioRefusal("unreadable", f"The file could not be read: {error.strerror}.") from None


class AudioReader:
    """Iterates over a recording's samples at 16 kHz in bounded memory.

    Yields `[channel, time]` float32 blocks of at most about 30 s; one channel for `mix`, all of the
    recording's for `each`.

    Args:
        path: the file.
        channels: `mix` averages the channels, `each` keeps them apart.
        start_s: where to begin; most formats are read from there on, some are decoded up to there.

    Raises:
        AudioRefusal: on construction or iteration; `unreadable`, `empty`, `undecodable`, `too_long`, `non_finite`.
    """

    def __init__(self, path: str | os.PathLike[str], *, channels: Channels = "mix", start_s: float = 0.0) -> None:
        self.path = path
        self.channels = channels
        self.start_s = start_s
        self._native = NativeReader(path)
        self.info = self._native.info
        self.num_samples = 0
        """Samples yielded so far, at 16 kHz."""
        self._mix_power = self._channel_power = 0.0

    @property
    def num_channels(self) -> int:
        """Rows of each block."""
        return 1 if self.channels == "mix" else self.info.num_channels

    @property
    def is_truncated(self) -> bool:
        """Whether clearly less came out than the file states; nothing is missed of a length that it does not state."""
        return self._native.is_truncated

    @property
    def warnings(self) -> tuple[str, ...]:
        """Codes of `core.terms.WARNINGS` about what was not read (valid after iteration)."""
        found = {
            "truncated": self.is_truncated,
            "more_tracks": self._native.num_tracks > 1,
            "unread_bytes": self._native.has_unread_bytes,
        }
        return tuple(code for code, applies in found.items() if applies)

    def check_mix(self) -> None:
        """Raises when the channels cancel each other in the mixdown (to be asked after iteration).

        Raises:
            AudioRefusal: `cancelled`.
        """
        if self._mix_power < MIN_MIX_SHARE * self._channel_power:
            words = "The channels cancel each other in the mixdown (one is the other turned round), so that little of it is left"
            raise AudioRefusal("cancelled", f"{words}; judge each channel by itself (--channels each).")

    def __iter__(self) -> Iterator[torch.Tensor]:
        import torch

        from core.resample import StreamResampler

        self.num_samples = 0
        self._mix_power = self._channel_power = 0.0
        self._native.start_s = self.start_s
        resampler, rate_hz = None, None
        for block in self._native:
            if block.sample_rate_hz != rate_hz:
                if resampler is not None:
                    yield from self._emit(resampler.flush())
                rate_hz = block.sample_rate_hz
                resampler = StreamResampler(rate_hz)
            yield from self._emit(resampler.push(self._checked(torch.from_numpy(block.samples))))
        if resampler is not None:
            yield from self._emit(resampler.flush())
        if self.num_samples == 0:
            raise AudioRefusal("empty", "The file's header is fine but it holds no audio samples.")

    def _emit(self, block: torch.Tensor) -> Iterator[torch.Tensor]:
        if block.shape[1]:
            self.num_samples += block.shape[1]
            yield block

    def _checked(self, block: torch.Tensor) -> torch.Tensor:
        if not block.sum().isfinite() and not block.isfinite().all():
            raise AudioRefusal("non_finite", "The samples hold NaN or infinite values; export the recording again.")
        if self.channels == "mix":
            return self._mixed(block) if len(block) > 1 else block
        if len(block) == self.num_channels:
            return block
        # Where the number of channels changes midway, or the header is wrong, nobody knows which is which.
        return block.mean(dim=0, keepdim=True).expand(self.num_channels, -1)

    def _mixed(self, block: torch.Tensor) -> torch.Tensor:
        mix = block.mean(dim=0, keepdim=True)
        # Of the mean of n independent channels: the sum of their powers by n squared.
        self._channel_power += float(block.square().sum()) / len(block) ** 2
        self._mix_power += float(mix.square().sum())
        return mix


def load(path: str | os.PathLike[str], *, channels: Channels = "mix") -> torch.Tensor:
    """All of a recording, `[channel, time]` float32 at 16 kHz (one row for `mix`). For short recordings.

    Raises:
        AudioRefusal: as `AudioReader`.
    """
    import torch

    return torch.cat(list(AudioReader(path, channels=channels)), dim=1)

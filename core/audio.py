"""Reading recordings: hash, resample, stream. `core.native_audio` decodes. Judges nothing but whether samples come out.

Inside the program audio is mono float32 at 16,000 Hz, shape `[time]`; a reader yields `[channel, time]`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from core.errors import AudioRefusal
from core.native_audio import native_blocks, open_regular, probe
from core.records import SAMPLE_RATE_HZ, AudioInfo

if TYPE_CHECKING:
    import torch

MIN_DURATION_S = 0.5
"""Shorter recordings are refused: half a second holds a syllable or two, too little to judge."""
EXTENSIONS = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .caf .w64 .rf64 .sph .gsm "
    ".m4a .aac .amr .awb .wma .webm .mp4 .m4v .mkv .mka .mov .3gp .3g2 .ac3 .wv .ape .tta".split()
)
"""File name endings that a scan looks at by default."""

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
        self.info = probe(path)
        self.num_samples = 0
        """Samples yielded so far, at 16 kHz."""
        self._declared_short = _declares_more_than_it_holds(path, self.info)

    @property
    def num_channels(self) -> int:
        """Rows of each block."""
        return 1 if self.channels == "mix" else self.info.num_channels

    @property
    def is_truncated(self) -> bool:
        """Whether clearly less came out than the container declares (valid after iteration)."""
        declared_s = (self.info.duration_s or 0.0) - self.start_s
        return self._declared_short or self.num_samples / SAMPLE_RATE_HZ < 0.98 * declared_s - 0.1

    def __iter__(self) -> Iterator[torch.Tensor]:
        import torch

        from core.resample import StreamResampler

        self.num_samples = 0
        resampler = StreamResampler(self.info.sample_rate_hz)
        first_frame = round(self.start_s * self.info.sample_rate_hz)
        for block in native_blocks(self.path, self.info, first_frame=first_frame):
            yield from self._emit(resampler.push(self._checked(torch.from_numpy(block))))
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
            return block.mean(dim=0, keepdim=True) if len(block) > 1 else block
        if len(block) != self.num_channels:
            raise AudioRefusal(
                "undecodable", f"The header declares {self.num_channels} channels and {len(block)} are decoded; score the mixdown."
            )
        return block


def load(path: str | os.PathLike[str], *, channels: Channels = "mix") -> torch.Tensor:
    """All of a recording, `[channel, time]` float32 at 16 kHz (one row for `mix`). For short recordings.

    Raises:
        AudioRefusal: as `AudioReader`.
    """
    import torch

    return torch.cat(list(AudioReader(path, channels=channels)), dim=1)


def _declares_more_than_it_holds(path: str | os.PathLike[str], info: AudioInfo) -> bool:
    """Whether a RIFF header claims more bytes than the file has (libsndfile silently shortens its own count)."""
    if info.container not in ("WAV", "WAVEX"):
        return False
    with open(path, "rb") as file:
        header = file.read(8)
    declared = int.from_bytes(header[4:8], "little")
    # 0 and 0xFFFFFFFF are what streaming writers leave for "unknown".
    return header[:4] == b"RIFF" and 0 < declared < 0xFFFF_FF00 and declared + 8 > info.size_bytes + 1

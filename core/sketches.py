"""A recording before its scores: decoded into windows, measured on the way. Runs no network.

A sketch and the scores of its windows make a record (`core.detect.record_of`), on this machine or another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from core.audio import AudioReader, Channels, sha256_of
from core.errors import AudioRefusal
from core.quality import QualityMeter, has_sound, warnings_for
from core.records import AudioInfo, SignalQuality
from core.segments import WindowStream


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSketch:
    """One channel of a recording but for its scores."""

    name: str
    """`mix`, or the channel's number from `1`."""
    starts: tuple[int, ...]
    """First sample of each window, those without enough sound included."""
    duration_s: float
    quality: SignalQuality | None = None
    """None when refused."""
    warnings: tuple[str, ...] = ()
    refusal: tuple[str, str] | None = None
    """Code and sentence when it cannot be judged, whatever its scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A recording but for its scores."""

    path: str
    sha256: str | None
    info: AudioInfo | None
    channels: tuple[ChannelSketch, ...]


@dataclass
class _Track:
    """One channel on its way: quality so far, window starts."""

    stream: WindowStream
    meter: QualityMeter = field(default_factory=QualityMeter)
    starts: list[int] = field(default_factory=list)


class Decoding:
    """One file on its way from bytes to windows; streamed, so that memory is bounded for any length.

    Args:
        path: the file.
        channels: `mix` averages the channels, `each` keeps them apart.
        window_samples: length of a window at 16 kHz.
        on_block: told whenever some seconds have been decoded, be they silent.
    """

    def __init__(
        self, path: str | os.PathLike[str], channels: Channels, window_samples: int, *, on_block: Callable[[], object] = bool
    ) -> None:
        self.path, self.channels, self.window_samples, self.on_block = os.fspath(path), channels, window_samples, on_block
        self._sha256: str | None = None
        self._info: AudioInfo | None = None
        self._refusal: AudioRefusal | None = None
        self._warnings: tuple[str, ...] = ()
        self._tracks: list[_Track] = []

    def windows(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Decodes the file; yields channel, number and samples `[time]` of each window with enough sound."""
        try:
            self._sha256 = sha256_of(self.path)
            reader = AudioReader(self.path, channels=self.channels)
            self._info = reader.info
            self._tracks = [_Track(WindowStream(self.window_samples)) for _ in range(reader.num_channels)]
            for block in reader:
                self.on_block()
                for channel, (track, samples) in enumerate(zip(self._tracks, block, strict=True)):
                    track.meter.update(samples)
                    yield from _placed(channel, track, track.stream.push(samples))
            for channel, track in enumerate(self._tracks):
                yield from _placed(channel, track, track.stream.finish())
            self._warnings = reader.warnings
            reader.check_mix()
        except AudioRefusal as refusal:
            self._refusal = refusal

    def sketch(self) -> Sketch:
        """What was found; valid when `windows` has ended."""
        if self._refusal is not None:
            return refused_sketch(self.path, self.channels, self._refusal, sha256=self._sha256, info=self._info)
        names = ["mix"] if self.channels == "mix" else [str(i + 1) for i in range(len(self._tracks))]
        channels = tuple(self._channel(name, track) for name, track in zip(names, self._tracks, strict=True))
        return Sketch(path=self.path, sha256=self._sha256, info=self._info, channels=channels)

    def _channel(self, name: str, track: _Track) -> ChannelSketch:
        duration_s, starts = track.meter.duration_s, tuple(track.starts)
        try:
            track.meter.check()
        except AudioRefusal as refusal:
            return ChannelSketch(name=name, starts=starts, duration_s=duration_s, refusal=(refusal.code, str(refusal)))
        quality = track.meter.result()
        warnings = warnings_for(quality, self._info, duration_s=duration_s, of_reading=self._warnings)
        return ChannelSketch(name=name, starts=starts, duration_s=duration_s, quality=quality, warnings=warnings)


def refused_sketch(
    path: str, channels: Channels, refusal: AudioRefusal, *, sha256: str | None = None, info: AudioInfo | None = None
) -> Sketch:
    """Of a recording that could not be decoded."""
    name = "mix" if channels == "mix" else "1"
    channel = ChannelSketch(name=name, starts=(), duration_s=0.0, refusal=(refusal.code, str(refusal)))
    return Sketch(path=path, sha256=sha256, info=info, channels=(channel,))


def _placed(channel: int, track: _Track, windows: Iterator[tuple[int, torch.Tensor]]) -> Iterator[tuple[int, int, torch.Tensor]]:
    for start, window in windows:
        track.starts.append(start)
        if has_sound(window):
            yield channel, len(track.starts) - 1, window

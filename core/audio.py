"""Reading recordings: probe, hash, decode, resample, stream. Judges nothing but whether samples come out.

Inside the program audio is mono float32 at 16,000 Hz, shape `[time]`; a reader yields `[channel, time]`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Literal

import av
import numpy as np
import soundfile
import torch

from core.errors import AudioRefusal
from core.records import AudioInfo
from core.resample import SAMPLE_RATE_HZ, StreamResampler

MIN_DURATION_S = 0.5
"""Shorter recordings are refused: half a second holds a syllable or two, too little to judge."""
BLOCK_S = 30
"""Length of a streamed block: 30 s of float32 stereo at 48 kHz is 11.5 MB, the bound on memory per reader."""
EXTENSIONS = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .caf .w64 .rf64 .sph .gsm "
    ".m4a .aac .amr .awb .wma .webm .mp4 .m4v .mkv .mka .mov .3gp .3g2 .ac3 .wv .ape .tta".split()
)
"""File name endings that a scan looks at by default."""

Channels = Literal["mix", "each"]

# FFmpeg demuxers that hold one sound track in one file. Play lists (hls, concat, dash ...) are left out because
# they open other files and addresses.
_DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,eac3,flac,flv,gsm,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,"
    "mpeg,mpegts,nistsphere,ogg,rm,tta,voc,w64,wav,wv"
)
# What people call a format, by libsndfile's name of the container or the coding.
_CODEC_NAMES = {"FLAC": "FLAC", "MPEG_LAYER_I": "MP1", "MPEG_LAYER_II": "MP2", "MPEG_LAYER_III": "MP3"}
_CONTAINER_NAMES = {"mov,mp4,m4a,3gp,3g2,mj2": "MP4", "matroska,webm": "MATROSKA", "asf": "ASF"}
av.logging.set_level(None)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, hexadecimal.

    Raises:
        AudioRefusal: `unreadable` or `empty`.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise AudioRefusal("empty", "The file is 0 bytes long; copy or record it again.")
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise AudioRefusal("unreadable", "The file is no longer there (moved, deleted, or a link to nowhere).") from None
    except PermissionError:
        raise AudioRefusal("unreadable", "No permission to read the file; change its permissions, then scan again.") from None
    except OSError as error:
        raise AudioRefusal("unreadable", f"The file could not be read: {error.strerror}.") from None


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """What the container declares, without decoding the samples.

    Raises:
        AudioRefusal: `unreadable`, `empty` or `undecodable`.
    """
    size_bytes = _size_of(path)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            return _soundfile_info(file, size_bytes)
    except (soundfile.LibsndfileError, RuntimeError, TypeError):
        pass
    try:
        with _open_av(path) as container:
            return _av_info(container, size_bytes)
    except (av.error.FFmpegError, ValueError) as error:
        raise _undecodable(path, error) from None


class AudioReader:
    """Iterates over a recording's samples at 16 kHz in bounded memory.

    Yields `[channel, time]` float32 blocks of at most about `BLOCK_S`; one channel for `mix`, all of the
    recording's for `each`. libsndfile decodes what it can; what it refuses, at once or midway, goes to FFmpeg,
    which resumes after the last sample already yielded.

    Args:
        path: the file.
        channels: `mix` averages the channels, `each` keeps them apart.

    Raises:
        AudioRefusal: on construction or iteration; `unreadable`, `empty`, `undecodable`, `non_finite`.
    """

    def __init__(self, path: str | os.PathLike[str], *, channels: Channels = "mix") -> None:
        self.path = path
        self.channels = channels
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
        declared_s = self.info.duration_s or 0.0
        return self._declared_short or self.num_samples / SAMPLE_RATE_HZ < 0.98 * declared_s - 0.1

    def __iter__(self) -> Iterator[torch.Tensor]:
        self.num_samples = 0
        resampler = StreamResampler(self.info.sample_rate_hz)
        for block in self._native_blocks():
            yield from self._emit(resampler.push(block))
        yield from self._emit(resampler.flush())
        if self.num_samples == 0:
            raise AudioRefusal("empty", "The file's header is fine but it holds no audio samples.")

    def _emit(self, block: torch.Tensor) -> Iterator[torch.Tensor]:
        if block.shape[1]:
            self.num_samples += block.shape[1]
            yield block

    def _native_blocks(self) -> Iterator[torch.Tensor]:
        """Blocks `[channel, frame]` at the stored rate, mixed down if asked, checked for NaN and infinity."""
        num_frames = 0
        try:
            for block in _soundfile_blocks(self.path):
                num_frames += len(block)
                yield self._checked(torch.from_numpy(block.T))
            return
        except (soundfile.LibsndfileError, RuntimeError, TypeError):
            pass
        try:
            for block in _av_blocks(self.path, num_skipped=num_frames):
                num_frames += block.shape[1]
                yield self._checked(torch.from_numpy(block))
        except (av.error.FFmpegError, ValueError) as error:
            if num_frames == 0:
                raise _undecodable(self.path, error) from None
        if num_frames == 0:
            raise AudioRefusal("undecodable", f"The file is {self.info.container}, but none of its audio could be decoded.")

    def _checked(self, block: torch.Tensor) -> torch.Tensor:
        if not torch.isfinite(block.sum()) and not torch.isfinite(block).all():
            raise AudioRefusal("non_finite", "The samples hold NaN or infinite values; export the recording again.")
        return block.mean(dim=0, keepdim=True) if self.channels == "mix" and block.shape[0] > 1 else block


def load(path: str | os.PathLike[str], *, channels: Channels = "mix") -> torch.Tensor:
    """All of a recording, `[channel, time]` float32 at 16 kHz (one row for `mix`). For short recordings.

    Raises:
        AudioRefusal: as `AudioReader`.
    """
    return torch.cat(list(AudioReader(path, channels=channels)), dim=1)


def _size_of(path: str | os.PathLike[str]) -> int:
    try:
        with open(path, "rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise AudioRefusal("unreadable", "The file is not there.") from None
    except PermissionError:
        raise AudioRefusal("unreadable", "No permission to read the file; change its permissions, then try again.") from None
    except (OSError, ValueError) as error:
        raise AudioRefusal("unreadable", f"The file could not be opened: {error}.") from None
    if size_bytes == 0:
        raise AudioRefusal("empty", "The file is 0 bytes long; copy or record it again.")
    return size_bytes


def _soundfile_info(file: soundfile.SoundFile, size_bytes: int) -> AudioInfo:
    return AudioInfo(
        container=file.format,
        codec=_CODEC_NAMES.get(file.format) or _CODEC_NAMES.get(file.subtype, file.subtype),
        sample_rate_hz=_plausible_rate(file.samplerate),
        num_channels=file.channels,
        duration_s=file.frames / file.samplerate,
        size_bytes=size_bytes,
    )


def _av_info(container: av.container.InputContainer, size_bytes: int) -> AudioInfo:
    if not container.streams.audio:
        raise AudioRefusal("undecodable", "The file holds no sound track.")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioRefusal("undecodable", "The file's sound track uses a coding that FFmpeg does not know.")
    if stream.duration is not None and stream.time_base is not None:
        duration_s = float(stream.duration * stream.time_base)
    else:
        duration_s = container.duration / av.time_base if container.duration else None
    name = container.format.name
    return AudioInfo(
        container=_CONTAINER_NAMES.get(name, name.split(",")[0].upper()),
        codec=stream.codec_context.name.upper(),
        sample_rate_hz=_plausible_rate(stream.rate or 0),
        num_channels=stream.channels or 1,
        duration_s=duration_s,
        size_bytes=size_bytes,
    )


def _plausible_rate(sample_rate_hz: int) -> int:
    if not 1_000 <= sample_rate_hz <= 768_000:
        raise AudioRefusal("undecodable", f"The header declares {sample_rate_hz} Hz; expected 1,000 to 768,000 Hz.")
    return sample_rate_hz


def _soundfile_blocks(path: str | os.PathLike[str]) -> Iterator[np.ndarray]:
    """Blocks `[frame, channel]` as libsndfile decodes them."""
    with soundfile.SoundFile(os.fsencode(path)) as file:
        num_frames = BLOCK_S * file.samplerate
        while len(block := file.read(num_frames, dtype="float32", always_2d=True)):
            yield block


def _open_av(path: str | os.PathLike[str]) -> av.container.InputContainer:
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    return av.open(os.fspath(path), options=options, metadata_errors="ignore")


def _av_blocks(path: str | os.PathLike[str], *, num_skipped: int) -> Iterator[np.ndarray]:
    """Blocks `[channel, frame]` as FFmpeg decodes them, without the first `num_skipped` frames."""
    with _open_av(path) as container:
        stream = container.streams.audio[0]
        to_planar = av.AudioResampler(format="fltp")
        pending: list[np.ndarray] = []
        num_pending = 0
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # one broken packet; the next may be whole
            for frame in frames:
                for planar in to_planar.resample(frame):
                    samples = planar.to_ndarray()[:, num_skipped:]
                    num_skipped -= min(num_skipped, planar.samples)
                    pending.append(samples)
                    num_pending += samples.shape[1]
            if num_pending >= BLOCK_S * stream.rate:
                yield np.concatenate(pending, axis=1)
                pending, num_pending = [], 0
        if num_pending:
            yield np.concatenate(pending, axis=1)


def _declares_more_than_it_holds(path: str | os.PathLike[str], info: AudioInfo) -> bool:
    """Whether a RIFF header claims more bytes than the file has (libsndfile silently shortens its own count)."""
    if info.container not in ("WAV", "WAVEX"):
        return False
    with open(path, "rb") as file:
        header = file.read(8)
    declared = int.from_bytes(header[4:8], "little")
    # 0 and 0xFFFFFFFF are what streaming writers leave for "unknown".
    return header[:4] == b"RIFF" and 0 < declared < 0xFFFF_FF00 and declared + 8 > info.size_bytes + 1


def _undecodable(path: str | os.PathLike[str], error: Exception) -> AudioRefusal:
    ending = os.path.splitext(os.fspath(path))[1] or "no ending"
    detail = getattr(error, "strerror", None) or "no decoder recognises it"
    return AudioRefusal("undecodable", f"Not a recording that can be decoded ({ending}: {detail}).")

"""libsndfile and FFmpeg: what a file declares, and its samples as they are stored, in blocks. Nothing else calls them to read.

Without torch, so that a process of its own that only tries a file (`core.scanning.trial`) starts quickly.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np
import soundfile

from core.errors import AudioRefusal
from core.records import AudioInfo

BLOCK_S = 30
"""Length of a streamed block: 30 s of float32 stereo at 48 kHz is 11.5 MB."""
MAX_BLOCK_VALUES = 4 * 2**20
"""The bound on a block whatever the header declares: 16 MB."""
MAX_CHANNELS = 64
"""More than any recorder has; a header that declares hundreds is damaged or made to exhaust memory."""
MAX_S = 24 * 3_600.0
"""Longer recordings are refused: cut them."""
_FREE_S, _MIN_BYTES_PER_S = 3_600.0, 100.0
"""Beyond an hour a recording must have this many bytes for a second. AMR and Opus at their lowest have 600 to 750."""
_MAX_VALUES_PER_S, _MAX_VALUES_PER_BYTE = 400_000, 8
"""Values of all channels that are decoded: stereo at 192 kHz, or 8 for every byte that the file has."""

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
# What the two bindings raise of damaged files; `core.scanning.fuzz` found what is not in their documentation.
_SOUNDFILE_FAILURES = (soundfile.LibsndfileError, RuntimeError, TypeError, MemoryError)
_AV_FAILURES = (av.error.FFmpegError, ValueError, LookupError, ArithmeticError, MemoryError)


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """What the container declares, without decoding the samples.

    Raises:
        AudioRefusal: `unreadable`, `empty` or `undecodable`.
    """
    size_bytes = _size_of(path)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            return _soundfile_info(file, size_bytes)
    except _SOUNDFILE_FAILURES:
        pass
    try:
        with _open_av(path) as container:
            return _av_info(container, size_bytes)
    except _AV_FAILURES as error:
        raise _undecodable(path, error) from None


def max_duration_s(size_bytes: int) -> float:
    """What a file of that size may hold: a few kilobytes that decode to days are made to exhaust whoever decodes them."""
    return min(MAX_S, max(_FREE_S, size_bytes / _MIN_BYTES_PER_S))


def native_blocks(path: str | os.PathLike[str], info: AudioInfo, *, first_frame: int = 0) -> Iterator[np.ndarray]:
    """Blocks `[channel, frame]` float32 at the stored rate, at most `BLOCK_S` and `MAX_BLOCK_VALUES`.

    libsndfile decodes what it can; what it refuses, at once or midway, goes to FFmpeg, which goes on after the last frame.

    Args:
        info: what `probe` says of the file.
        first_frame: where to begin. libsndfile goes there at once, FFmpeg decodes up to there.

    Raises:
        AudioRefusal: `undecodable` when nothing could be decoded, `too_long`.
    """
    max_s = max_duration_s(info.size_bytes)
    max_values = max(max_s * _MAX_VALUES_PER_S, info.size_bytes * _MAX_VALUES_PER_BYTE)
    num_frames = num_values = 0
    for block in _decoded(path, info, first_frame):
        num_frames += block.shape[1]
        num_values += block.size
        if num_frames > max_s * info.sample_rate_hz or num_values > max_values:
            raise _too_long(num_frames / info.sample_rate_hz, num_values, info.size_bytes)
        yield block


def _decoded(path: str | os.PathLike[str], info: AudioInfo, first_frame: int) -> Iterator[np.ndarray]:
    """Blocks `[channel, frame]` of either decoder."""
    num_frames = 0
    try:
        for block in _soundfile_blocks(path, first_frame):
            num_frames += len(block)
            yield block.T
        return
    except _SOUNDFILE_FAILURES:
        pass
    try:
        for block in _av_blocks(path, num_skipped=first_frame + num_frames):
            num_frames += block.shape[1]
            yield block
    except _AV_FAILURES as error:
        if num_frames == 0:
            raise _undecodable(path, error) from None
    if num_frames == 0:
        raise AudioRefusal("undecodable", f"The file is {info.container}, but none of its audio could be decoded.")


def _soundfile_blocks(path: str | os.PathLike[str], first_frame: int) -> Iterator[np.ndarray]:
    """Blocks `[frame, channel]` as libsndfile decodes them."""
    with soundfile.SoundFile(os.fsencode(path)) as file:
        if first_frame:
            file.seek(min(first_frame, file.frames))
        num_frames = max(1, min(BLOCK_S * file.samplerate, MAX_BLOCK_VALUES // file.channels))
        while len(block := file.read(num_frames, dtype="float32", always_2d=True)):
            yield block


def _av_blocks(path: str | os.PathLike[str], *, num_skipped: int) -> Iterator[np.ndarray]:
    """Blocks `[channel, frame]` as FFmpeg decodes them, without the first `num_skipped` frames."""
    with _open_av(path) as container:
        stream = container.streams.audio[0]
        # Packed: of a planar frame PyAV counts the planes past the end of an array when there are eight, and crashes.
        to_packed = av.AudioResampler(format="flt")
        pending: list[np.ndarray] = []
        num_pending = 0
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # one broken packet; the next may be whole
            for frame in frames:
                for packed in to_packed.resample(frame):
                    samples = packed.to_ndarray().reshape(packed.samples, -1).T[:, num_skipped:]
                    num_skipped -= min(num_skipped, packed.samples)
                    pending.append(samples)
                    num_pending += samples.shape[1]
            if num_pending >= BLOCK_S * stream.rate or num_pending * len(pending[-1] if pending else ()) >= MAX_BLOCK_VALUES:
                yield np.concatenate(pending, axis=1)
                pending, num_pending = [], 0
        if num_pending:
            yield np.concatenate(pending, axis=1)


def _open_av(path: str | os.PathLike[str]) -> av.container.InputContainer:
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    return av.open(os.fspath(path), options=options, metadata_errors="ignore")


def _soundfile_info(file: soundfile.SoundFile, size_bytes: int) -> AudioInfo:
    return _plausible(
        container=file.format,
        codec=_CODEC_NAMES.get(file.format) or _CODEC_NAMES.get(file.subtype, file.subtype),
        sample_rate_hz=file.samplerate,
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
    return _plausible(
        container=_CONTAINER_NAMES.get(name, name.split(",")[0].upper()),
        codec=stream.codec_context.name.upper(),
        sample_rate_hz=stream.rate or 0,
        num_channels=stream.channels or 1,
        duration_s=duration_s,
        size_bytes=size_bytes,
    )


def _plausible(**declared: object) -> AudioInfo:
    info = AudioInfo(**declared)
    if not 1_000 <= info.sample_rate_hz <= 768_000:
        raise AudioRefusal("undecodable", f"The header declares {info.sample_rate_hz} Hz; expected 1,000 to 768,000 Hz.")
    if not 1 <= info.num_channels <= MAX_CHANNELS:
        raise AudioRefusal("undecodable", f"The header declares {info.num_channels} channels; expected 1 to {MAX_CHANNELS}.")
    return info


def _too_long(duration_s: float, num_values: int, size_bytes: int) -> AudioRefusal:
    if duration_s > MAX_S:
        return AudioRefusal("too_long", f"The recording is longer than {MAX_S / 3600:.0f} hours; cut it into shorter files.")
    held = f"The file's {size_bytes:,} bytes decode to more than {num_values - 1:,} samples"
    return AudioRefusal("too_long", f"{held}, as no recording of speech does; it may be made to exhaust whoever opens it.")


def _undecodable(path: str | os.PathLike[str], error: Exception) -> AudioRefusal:
    ending = os.path.splitext(os.fspath(path))[1] or "no ending"
    detail = getattr(error, "strerror", None) or "no decoder recognises it"
    return AudioRefusal("undecodable", f"Not a recording that can be decoded ({ending}: {detail}).")


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A file to read, if it is one: a pipe or a device is not waited for.

    Raises:
        AudioRefusal: `unreadable` or `empty`.
    """
    try:
        mode = os.stat(path).st_mode  # before it is opened: opening a device may do something
        if not stat.S_ISREG(mode):
            raise AudioRefusal("unreadable", "It is no file but a folder, a pipe, a socket or a device.")
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        raise AudioRefusal("unreadable", "The file is no longer there (moved, deleted, or a link to nowhere).") from None
    except PermissionError:
        raise AudioRefusal("unreadable", "No permission to read the file; change its permissions, then try again.") from None
    except (OSError, ValueError) as error:
        raise AudioRefusal("unreadable", f"The file could not be opened: {error}.") from None
    if os.fstat(file.fileno()).st_size:
        return file
    file.close()
    raise AudioRefusal("empty", "The file is 0 bytes long; copy or record it again.")


def _without_waiting(path: str | os.PathLike[str], flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _size_of(path: str | os.PathLike[str]) -> int:
    with open_regular(path) as file:
        return os.fstat(file.fileno()).st_size

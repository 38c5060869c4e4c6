"""libsndfile and FFmpeg: what a file declares, and its samples as they are stored, in blocks. Nothing else calls them to read.

FFmpeg decodes. libsndfile is for what it decodes faster and just as FFmpeg does: plain and whole WAV, FLAC, Ogg Opus and MP3
(`core.file_structure`). Without torch, so that a process of its own that only tries a file (`core.scanning.trial`) starts quickly.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import av
import numpy as np
import soundfile

from core.errors import AudioRefusal
from core.file_structure import (
    MIN_UNREAD_BYTES,
    FileFrom,
    Structure,
    find_recording,
    num_unread_after,
    read_structure,
    sound_span,
)
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
SHORT_SHARE, SHORT_S = 0.02, 0.1
"""A recording is cut off when both this share of its known length, and this long, are missing together."""

# FFmpeg demuxers that read one file. Play lists (hls, concat, dash ...) are left out because they open other files and addresses.
_DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dss,dts,eac3,flac,flv,gsm,ircam,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpc,mpc8,mpeg,mpegts,nistsphere,ogg,qcp,rm,tak,tta,voc,w64,wav,wv"
)
_MAX_LINKS = 100
"""So many links of an Ogg chain are opened anew; a file of more is made to keep somebody busy."""
_STREAMS = {"aac", "ac3", "amr", "amrnb", "amrwb", "dts", "eac3", "flac", "gsm", "mp3"}
"""Demuxers of formats that are frames up to the end of the file."""
_STATING = {"aiff", "ape", "caf", "mov,mp4,m4a,3gp,3g2,mj2", "nistsphere", "tak", "tta", "w64", "wv"}
"""Demuxers whose sound track states its length; Matroska states that of the whole. All others guess by the bit rate."""
_COMPLETE_DECODERS = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}
"""FFmpeg's own AMR decoders know no silence frames (SID, NO_DATA), which telephones write."""
# What people call a format, by libsndfile's name of the container or the coding, and by FFmpeg's.
_CODEC_NAMES = {"FLAC": "FLAC", "MPEG_LAYER_I": "MP1", "MPEG_LAYER_II": "MP2", "MPEG_LAYER_III": "MP3", "MP3FLOAT": "MP3"}
_CODEC_NAMES |= {"MP2FLOAT": "MP2", "MP1FLOAT": "MP1", "PCM_MULAW": "ULAW", "PCM_ALAW": "ALAW", "LIBOPUS": "OPUS"}
_CODEC_NAMES |= {f"PCM_{kind}{end}": name for end in ("LE", "BE") for kind, name in (
    ("S16", "PCM_16"), ("S24", "PCM_24"), ("S32", "PCM_32"), ("F32", "FLOAT"), ("F64", "DOUBLE"))}  # fmt: skip
_CONTAINER_NAMES = {"mov,mp4,m4a,3gp,3g2,mj2": "MP4", "matroska,webm": "MATROSKA", "asf": "ASF"}
av.logging.set_level(None)
# What the two bindings raise of damaged files; `core.scanning.fuzz` found what is not in their documentation.
_SOUNDFILE_FAILURES = (soundfile.LibsndfileError, RuntimeError, TypeError, MemoryError)
_AV_FAILURES = (av.error.FFmpegError, ValueError, LookupError, ArithmeticError, MemoryError)


@dataclass(frozen=True, slots=True)
class NativeBlock:
    """Some of a recording as it is stored."""

    samples: np.ndarray
    """`[channel, frame]` float32; another number of channels than declared where it changes midway."""
    sample_rate_hz: int
    """Of this block: it may change midway."""


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """What the container declares, without decoding the samples.

    Raises:
        AudioRefusal: `unreadable`, `empty` or `undecodable`.
    """
    return NativeReader(path).info


def max_duration_s(size_bytes: int) -> float:
    """What a file of that size may hold: a few kilobytes that decode to days are made to exhaust whoever decodes them."""
    return min(MAX_S, max(_FREE_S, size_bytes / _MIN_BYTES_PER_S))


class NativeReader:
    """Iterates over a recording's samples as they are stored, in blocks of at most `BLOCK_S` and `MAX_BLOCK_VALUES`.

    Args:
        path: the file.

    Raises:
        AudioRefusal: on construction `unreadable`, `empty` or `undecodable`; on iteration `undecodable` when nothing could be
            decoded, or `too_long`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        with open_regular(path) as file:
            self._size_bytes = os.fstat(file.fileno()).st_size
            self._structure = read_structure(file, self._size_bytes)
            self._may_be_mpeg = _may_be_mpeg(file)
        self.known_s: float | None = self._structure.known_s if self._structure else None
        """Length that the file states, in s; None where it states none, however well it can be guessed."""
        self.num_tracks = 1
        """Sound tracks in the file, of which one is decoded."""
        self.start_s = 0.0
        """Where iteration begins. libsndfile goes there at once, FFmpeg decodes up to there."""
        self.decoded_s = 0.0
        """Length of what iteration has yielded so far."""
        self._is_plain = bool(self._structure and self._structure.is_plain)
        self._position = self._num_lost = self._num_cut = 0
        self._is_stream, self._sound = False, None
        self.info = self._probe()
        """What the file declares."""

    @property
    def is_truncated(self) -> bool:
        """Whether clearly less came out than the file states (valid after iteration)."""
        return self.known_s is not None and self.decoded_s < (1 - SHORT_SHARE) * (self.known_s - self.start_s) - SHORT_S

    @property
    def has_unread_bytes(self) -> bool:
        """Whether bytes behind the last frame, or in frames that failed, may be sound (valid after iteration)."""
        num_lost = self._num_lost + (0 if self.is_truncated else self._num_cut)
        num = max(self._structure.num_unread if self._structure else 0, num_lost)
        if num < MIN_UNREAD_BYTES and self._position:
            with open_regular(self.path) as file:
                num = num_unread_after(file, self._position, self._size_bytes, is_stream=self._is_stream)
        return num >= MIN_UNREAD_BYTES

    def __iter__(self) -> Iterator[NativeBlock]:
        max_s = max_duration_s(self._size_bytes)
        max_values = max(max_s * _MAX_VALUES_PER_S, self._size_bytes * _MAX_VALUES_PER_BYTE)
        self.decoded_s, num_values = 0.0, 0
        self._position = self._num_lost = self._num_cut = 0
        for block in self._decoded():
            self.decoded_s += block.samples.shape[1] / block.sample_rate_hz
            num_values += block.samples.size
            if self.decoded_s > max_s or num_values > max_values:
                raise _too_long(self.decoded_s, num_values, self._size_bytes)
            yield block

    def _probe(self) -> AudioInfo:
        """What the file declares, by the decoder that is meant for it, or else by the other."""
        if self._is_plain:
            try:
                with soundfile.SoundFile(os.fsencode(self.path)) as file:
                    if abs(file.frames / file.samplerate - self.known_s) < SHORT_S:
                        return self._soundfile_info(file)
            except _SOUNDFILE_FAILURES:
                pass
            self._is_plain = False
        try:
            with _open_av(self.path) as container:
                return self._av_info(container)
        except _AV_FAILURES as error:
            failure = error
        # What only libsndfile knows; to its MPEG decoder, which writes to the terminal, nothing is given that is not whole.
        if not self._may_be_mpeg:
            try:
                with soundfile.SoundFile(os.fsencode(self.path)) as file:
                    self._is_plain = True
                    return self._soundfile_info(file)
            except _SOUNDFILE_FAILURES:
                pass
        raise self._undecodable(failure)

    def _decoded(self) -> Iterator[NativeBlock]:
        """Blocks of libsndfile where it is plain; what it refuses midway goes to FFmpeg, which goes on after the last frame."""
        done_s = 0.0
        if self._is_plain:
            rate_hz = self.info.sample_rate_hz
            try:
                for samples in _soundfile_blocks(self.path, round(self.start_s * rate_hz)):
                    done_s += len(samples) / rate_hz
                    yield NativeBlock(samples.T, rate_hz)
                if self.known_s is None or self.start_s + done_s > self.known_s - SHORT_S:
                    return
            except _SOUNDFILE_FAILURES:
                pass
        try:
            for block in self._av_blocks(self.start_s + done_s):
                done_s += block.samples.shape[1] / block.sample_rate_hz
                yield block
        except _AV_FAILURES as error:
            if not done_s:
                raise self._undecodable(error) from None
            self._num_lost = self._size_bytes
        if (self._num_lost or self._num_cut) and not done_s and not self.start_s:
            raise AudioRefusal("undecodable", f"The file is {self.info.container}, but none of its audio could be decoded.")

    def _av_blocks(self, skip_s: float) -> Iterator[NativeBlock]:
        """Blocks as FFmpeg decodes them, without the first `skip_s`."""
        pending, num_pending, kind = [], 0, (0, 0)
        for samples, rate_hz in self._av_frames():
            num_skipped = min(samples.shape[1], round(skip_s * rate_hz))
            skip_s = max(0.0, skip_s - samples.shape[1] / rate_hz) if num_skipped else 0.0
            samples = samples[:, num_skipped:]
            if num_pending and (len(samples), rate_hz) != kind:
                yield NativeBlock(np.concatenate(pending, axis=1), kind[1])
                pending, num_pending = [], 0
            kind = len(samples), rate_hz
            pending.append(samples)
            num_pending += samples.shape[1]
            if num_pending >= BLOCK_S * rate_hz or num_pending * len(samples) >= MAX_BLOCK_VALUES:
                yield NativeBlock(np.concatenate(pending, axis=1), rate_hz)
                pending, num_pending = [], 0
        if num_pending:
            yield NativeBlock(np.concatenate(pending, axis=1), kind[1])

    def _av_frames(self) -> Iterator[tuple[np.ndarray, int]]:
        """Samples `[channel, frame]` and rate of each frame that FFmpeg decodes."""
        with _open_av(self.path) as container:
            codec, ogg = _best_track(container).codec_context.name, container.format.name == "ogg"
            self._is_stream = container.format.name in _STREAMS
            yield from self._frames_of(container, 0)
        # FFmpeg stops where the rate changes from one link of a chain of Ogg to the next, but reads each by itself.
        for _ in range(_MAX_LINKS):
            if not (ogg and self._num_lost and (link := self._next_link()) is not None):
                return
            self._position = link + 1
            with suppress(*_AV_FAILURES, AudioRefusal), open(self.path, "rb") as file, _open_av(FileFrom(file, link)) as container:
                if _best_track(container).codec_context.name != codec:
                    return
                self._num_lost = 0
                yield from self._frames_of(container, link)

    def _next_link(self) -> int | None:
        with open_regular(self.path) as file:
            return find_recording(file, self._position)

    def _frames_of(self, container: av.container.InputContainer, first_byte: int) -> Iterator[tuple[np.ndarray, int]]:
        stream = _best_track(container)
        decode = _decoder_of(stream)
        resampler, kind = None, None
        for packet in self._packets(container, stream):
            if packet.pos is not None:
                self._position = max(self._position, first_byte + packet.pos + packet.size)
            try:
                for frame in decode(packet):
                    if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
                        # Packed: of a planar frame PyAV counts the planes past the end of an array when there are eight, and
                        # crashes.
                        resampler = av.AudioResampler(format="flt")
                    for packed in resampler.resample(frame):
                        yield packed.to_ndarray().reshape(packed.samples, -1).T, packed.sample_rate
                num_lost = 0
            except _AV_FAILURES:
                # One broken packet; the next may be whole. What FFmpeg takes for a packet in tags is none.
                num_lost = packet.size if packet.pos is None or self._is_sound(packet.pos) else 0
            if packet.size:  # a last packet that fails may be one that was cut off
                self._num_lost, self._num_cut = self._num_lost + self._num_cut, num_lost

    def _is_sound(self, position: int) -> bool:
        if self._sound is None:
            with open_regular(self.path) as file:
                self._sound = sound_span(file, self._size_bytes)
        return self._sound[0] <= position < self._sound[1]

    def _packets(self, container: av.container.InputContainer, stream: av.audio.AudioStream) -> Iterator[av.Packet]:
        """A track's packets, an empty one at the end, also where FFmpeg cannot go on."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except _AV_FAILURES:
                self._num_lost += self._size_bytes - self._position
                packet = av.Packet()
            if packet is None:
                return
            yield packet
            if not packet.size:
                return

    def _soundfile_info(self, file: soundfile.SoundFile) -> AudioInfo:
        return _plausible(
            container=file.format,
            codec=_CODEC_NAMES.get(file.format) or _CODEC_NAMES.get(file.subtype, file.subtype),
            sample_rate_hz=file.samplerate,
            num_channels=file.channels,
            duration_s=file.frames / file.samplerate,
            size_bytes=self._size_bytes,
        )

    def _av_info(self, container: av.container.InputContainer) -> AudioInfo:
        stream = _best_track(container)
        self.num_tracks = len(container.streams.audio)
        track_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        whole_s = container.duration / av.time_base if container.duration else None
        name, structure = container.format.name, self._structure or Structure()
        if structure.states_no_length:
            self.known_s = None
        elif name in _STATING:
            self.known_s = track_s
        elif name == "matroska,webm" and len(container.streams) == 1 and whole_s:
            self.known_s = whole_s - float((stream.start_time or 0) * stream.time_base)
        codec = stream.codec_context.name.upper()
        return _plausible(
            container=_CONTAINER_NAMES.get(name, name.split(",")[0].upper()),
            codec=_CODEC_NAMES.get(codec, codec),
            sample_rate_hz=stream.rate or 0,
            num_channels=stream.channels or 1,
            duration_s=self.known_s
            or structure.estimated_s
            or (None if name == "flac" and self._structure else track_s or whole_s),
            size_bytes=self._size_bytes,
        )

    def _undecodable(self, error: Exception) -> AudioRefusal:
        """Why, in our words: those of the libraries are for programmers."""
        if self._structure and not self._structure.has_index:
            words = "The MP4 file has no index (moov): it was cut off, or its recorder stopped before closing it. Copy it again"
            return AudioRefusal("undecodable", f"{words}, or have it repaired from another recording of the same device.")
        if isinstance(error, av.error.PatchWelcomeError):
            return AudioRefusal(
                "undecodable", "The recording uses a part of its coding that FFmpeg cannot decode; convert it to WAV."
            )
        return AudioRefusal("undecodable", "Not a recording that can be decoded: no decoder recognises what is in it.")


def _soundfile_blocks(path: str | os.PathLike[str], first_frame: int) -> Iterator[np.ndarray]:
    """Blocks `[frame, channel]` as libsndfile decodes them."""
    with soundfile.SoundFile(os.fsencode(path)) as file:
        if first_frame:
            file.seek(min(first_frame, file.frames))
        num_frames = max(1, min(BLOCK_S * file.samplerate, MAX_BLOCK_VALUES // file.channels))
        while len(block := file.read(num_frames, dtype="float32", always_2d=True)):
            yield block


def _open_av(file: str | os.PathLike[str] | FileFrom) -> av.container.InputContainer:
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    return av.open(file if isinstance(file, FileFrom) else os.fspath(file), options=options, metadata_errors="ignore")


def _best_track(container: av.container.InputContainer) -> av.audio.AudioStream:
    """The sound track that the ffmpeg program takes: the default one, else the one of the most channels, else the first."""
    if not container.streams.audio:
        raise AudioRefusal("undecodable", "The file holds no sound track.")
    tracks = [track for track in container.streams.audio if track.codec_context is not None]
    if not tracks:
        raise AudioRefusal("undecodable", "The file's sound track uses a coding that FFmpeg does not know.")
    default = av.stream.Disposition.default
    return max(tracks, key=lambda track: (bool(track.disposition & default), track.channels or 0))


def _decoder_of(stream: av.audio.AudioStream) -> Callable[[av.Packet], list[av.AudioFrame]]:
    """What decodes a track's packets, an empty one at the end."""
    name = _COMPLETE_DECODERS.get(stream.codec_context.name)
    decoder = stream.codec_context if name is None else av.CodecContext.create(name, "r")
    return lambda packet: decoder.decode(packet if packet.size else None)


def _may_be_mpeg(file: BinaryIO) -> bool:
    """Whether libsndfile would give a file to its MPEG decoder: by its first bytes, or by its ending where these say nothing."""
    file.seek(0)
    head = file.read(3)
    return head == b"ID3" or head[:1] == b"\xff" or os.fsencode(file.name).lower().endswith((b".mp1", b".mp2", b".mp3"))


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

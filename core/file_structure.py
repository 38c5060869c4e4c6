"""What a recording's bytes say of it without a decoder: whether it is plain and whole, how long it is, what lies behind its sound.

Of WAV, FLAC, Ogg, MP3, MP4 and Matroska; other formats are FFmpeg's alone. Reads what others wrote: every number may be a lie.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections import Counter
from dataclasses import dataclass
from typing import BinaryIO

MIN_UNREAD_BYTES = 1_024
"""Fewer bytes behind the last frame are no news: a last frame cut off, padding."""
_MAX_WALKED_BYTES = 64 * 2**20
"""Ogg and MP3 are walked page by page up to this size: Opus of six hours, MP3 of one."""
_MAX_PARTS = 10_000
"""Chunks, blocks or boxes that are looked at; a file of more is made to keep somebody busy."""
_CHUNK_BYTES = 2**20
_PLACEHOLDER = 0x7FFF_0000
"""WAV data sizes from here on are what a recorder writes before it knows: 0x7FFFFFFF, 0xFFFFFFFF and the like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What is said of one file."""

    is_plain: bool = False
    """One whole recording, which libsndfile decodes to its end just as FFmpeg does."""
    known_s: float | None = None
    """The length that the file states; None where it states none."""
    estimated_s: float | None = None
    """The length by the bytes there are, where none is stated."""
    num_unread: int = 0
    """Bytes that no decoder reaches."""
    states_no_length: bool = False
    """Of an MP4 file in fragments, or Matroska without a duration: what FFmpeg finds is an estimate."""
    has_index: bool = True
    """False of an MP4 file that was never closed: nothing tells where its sound is."""


def read_structure(file: BinaryIO, size_bytes: int) -> Structure | None:
    """The structure of an open file; None of a format that is not looked at here, or where it makes no sense."""
    try:
        return _structure(file, size_bytes)
    except (struct.error, LookupError, OSError):
        return None


def _structure(file: BinaryIO, size_bytes: int) -> Structure | None:
    head = _read_at(file, 0, 12)
    file.seek(0)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _wav(file, size_bytes)
    if head[:4] == b"fLaC":
        return _flac(file, size_bytes)
    if head[:4] == b"OggS":
        return _ogg(file.read(_MAX_WALKED_BYTES), size_bytes)
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6)):
        return _mpeg_audio(file, size_bytes)
    if head[:4] == b"\x1aE\xdf\xa3":
        return Structure(states_no_length=not _MATROSKA_DURATION.search(file.read(2**16)))
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _mp4(file, size_bytes)
    return None


_MATROSKA_DURATION = re.compile(rb"\x44\x89(?:\x84(?!\0{4}).{4}|\x88(?!\0{8}).{8})", re.DOTALL)
"""The element Duration, a number of 4 or 8 bytes that is not 0."""

# WAV ----------------------------------------------------------------------------------------------------------------------

_PLAIN_WAV_TAGS = {1, 3, 6, 7}
"""PCM, floating point, A-law, u-law."""


def _wav(file: BinaryIO, size_bytes: int) -> Structure:
    """Chunk after chunk up to the end. Source: Multimedia Programming Interface and Data Specifications 1.0 (1991)."""
    position, is_rf64 = 12, file.read(12)[:4] == b"RF64"
    long_data_bytes = bytes_per_s = data_bytes = data_at = None
    is_plain_coding, num_passed = False, 0
    for _ in range(_MAX_PARTS):
        if position + 8 > size_bytes:
            break
        file.seek(position)
        name, num_bytes = struct.unpack("<4sI", file.read(8))
        if not name.isascii() or not name.decode().isprintable() or name in (b"RIFF", b"RF64"):
            break
        if name == b"ds64":
            long_data_bytes = int.from_bytes(file.read(16)[8:16], "little")
        elif name == b"fmt ":
            bytes_per_s, is_plain_coding = _wav_format(file.read(min(num_bytes, 40)))
        elif name == b"data":
            if data_at is not None:  # FFmpeg takes the last one
                is_plain_coding, num_passed = False, num_passed + data_bytes
            data_at = position + 8
            data_bytes = long_data_bytes if is_rf64 and num_bytes == 0xFFFF_FFFF else num_bytes
            is_open = data_bytes is None or data_bytes >= _PLACEHOLDER > size_bytes or (data_bytes == 0 and data_at < size_bytes)
            if is_open or data_at + data_bytes > size_bytes:
                rate = bytes_per_s or 0
                held_s = (size_bytes - data_at) / rate if rate else None
                return Structure(known_s=None if is_open or not rate else data_bytes / rate, estimated_s=held_s)
            num_bytes = data_bytes
        position += 8 + num_bytes + num_bytes % 2
    known_s = data_bytes / bytes_per_s if data_bytes is not None and bytes_per_s else None
    unread = num_passed + max(0, size_bytes - position)
    return Structure(
        is_plain=is_plain_coding and not is_rf64 and known_s is not None and not unread, known_s=known_s, num_unread=unread
    )


def _wav_format(chunk: bytes) -> tuple[float | None, bool]:
    """Bytes per second, and whether it is a coding that is plain."""
    if len(chunk) < 16:
        return None, False
    tag, num_channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == 0xFFFE and len(chunk) >= 26:
        tag = struct.unpack_from("<H", chunk, 24)[0]
    if tag not in _PLAIN_WAV_TAGS:
        block_samples = struct.unpack_from("<H", chunk, 18)[0] if len(chunk) >= 20 else 0
        return rate_hz * frame_bytes / block_samples if block_samples else None, False
    is_sound = num_channels > 0 and bits > 0 and bits % 8 == 0 and frame_bytes == num_channels * bits // 8
    return rate_hz * frame_bytes or None, is_sound


# FLAC ---------------------------------------------------------------------------------------------------------------------


def _flac(file: BinaryIO, size_bytes: int) -> Structure:
    """The stated length, held against the number of the last frame. Source: RFC 9639, sections 8.2 and 9.1."""
    file.seek(4)
    block = file.read(38)
    if len(block) < 38 or block[0] & 0x7F:
        return Structure()
    rate_hz = int.from_bytes(block[14:17], "big") >> 4
    num_samples = int.from_bytes(block[17:22], "big") & 0xF_FFFF_FFFF
    if not num_samples or not rate_hz:
        return Structure()  # of unknown length
    position, is_last = 4, False
    for _ in range(_MAX_PARTS):
        if is_last:
            break
        header = _read_at(file, position, 4)
        is_last = bool(header[0] & 0x80)
        position += 4 + int.from_bytes(header[1:], "big")
    file.seek(max(position, size_bytes - _FLAC_TAIL_BYTES))
    end, num_behind = _flac_end(file.read(_FLAC_TAIL_BYTES), int.from_bytes(block[6:8], "big"))
    # A second recording behind the first has a beginning of its own; FFmpeg goes on with FLAC and with nothing else.
    is_single = end == num_samples and not _has(file, position, b"fLaC")
    next_at = find_recording(file, size_bytes - num_behind if is_single else position)
    unread = size_bytes - next_at if next_at and _read_at(file, next_at, 4) != b"fLaC" else 0
    return Structure(is_plain=is_single and not next_at, known_s=num_samples / rate_hz, num_unread=unread)


_FLAC_TAIL_BYTES = 2**18
"""A last frame and the tags behind it lie within."""


def _flac_end(tail: bytes, max_block: int) -> tuple[int | None, int]:
    """Samples up to the end of the last frame that begins in the tail, and the bytes from its beginning on."""
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        if at + 6 <= len(tail) and tail[at + 1] in (0xF8, 0xF9) and (end := _flac_frame_end(tail[at : at + 16], max_block)):
            return end, len(tail) - at
    return None, len(tail)


def _flac_frame_end(header: bytes, max_block: int) -> int | None:
    """Samples up to the end of the frame with this header; None if it is none."""
    size_code, rate_code = header[2] >> 4, header[2] & 15
    length = 1 if header[4] < 0x80 else 8 - (header[4] ^ 0xFF).bit_length()  # as UTF-8
    if not size_code or length > 7:
        return None
    number = header[4] & (0x7F if length == 1 else 0x7F >> length)
    for byte in header[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    at = 4 + length
    extra = {6: 1, 7: 2}.get(size_code, 0)
    size = int.from_bytes(header[at : at + extra], "big") + 1
    if not extra:
        size = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    at += extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(header) or _crc8(header[:at]) != header[at]:
        return None
    return (number if header[1] & 1 else number * max_block) + size


def _crc8(data: bytes) -> int:
    checksum = 0
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = (checksum << 1 ^ (7 if checksum & 0x80 else 0)) & 0xFF
    return checksum


# Ogg ----------------------------------------------------------------------------------------------------------------------


def _ogg(data: bytes, size_bytes: int) -> Structure:
    """Page after page. Source: RFC 3533, section 6; RFC 7845, section 4."""
    end = _last_page_end(data)
    unread = max(0, size_bytes - end) if len(data) == size_bytes else 0
    if data[28:36] != b"OpusHead" or len(data) < size_bytes:
        return Structure(num_unread=unread)
    serial, position, expected_number, held, on_last_page, granule, flags = data[14:18], 0, 0, 0, 0, 0, 0
    packet_at, num_packets = None, 0
    while data[position : position + 4] == b"OggS" and position + 27 <= size_bytes and not flags & 4:
        flags, page_granule = data[position + 5], int.from_bytes(data[position + 6 : position + 14], "little", signed=True)
        number, num_lacings = int.from_bytes(data[position + 18 : position + 22], "little"), data[position + 26]
        body = position + 27 + num_lacings
        if data[position + 14 : position + 18] != serial or number != expected_number or page_granule < granule:
            return Structure(num_unread=unread)
        granule, expected_number, on_last_page = page_granule, number + 1, 0
        for lacing in data[position + 27 : body]:
            if packet_at is None:
                packet_at = body
            body += lacing
            if lacing < 255:
                if num_packets > 1 and body > packet_at:  # the first two are headers
                    on_last_page += _opus_samples(data, packet_at)
                packet_at, num_packets = None, num_packets + 1
        held += on_last_page
        position = body
    # The end is trimmed within the last page; who declares less hides sound, who declares more has lost some.
    is_whole = position == size_bytes and flags & 4 and held - on_last_page <= granule <= held
    is_stereo_at_most, pre_skip = 1 <= data[37] <= 2, int.from_bytes(data[38:40], "little")
    if not (is_whole and is_stereo_at_most and granule > pre_skip):
        return Structure(num_unread=unread)
    return Structure(is_plain=True, known_s=(granule - pre_skip) / 48_000)


def _opus_samples(data: bytes, at: int) -> int:
    """Length at 48 kHz of the Opus packet that begins there. Source: RFC 6716, section 3.1."""
    toc = data[at]
    return _OPUS_FRAME_SAMPLES[toc >> 3] * ((1, 2, 2)[toc & 3] if toc & 3 < 3 else data[at + 1] & 63)


_OPUS_FRAME_SAMPLES = (*(480, 960, 1_920, 2_880) * 3, *(480, 960) * 2, *(120, 240, 480, 960) * 4)


def _last_page_end(data: bytes) -> int:
    """Where the last page ends; the length of the data if it is cut off."""
    at = data.rfind(b"OggS")
    if at + 27 > len(data):
        return len(data)
    lacings = data[at + 27 : at + 27 + data[at + 26]]
    return min(len(data), at + 27 + len(lacings) + sum(lacings))


# MP3 ----------------------------------------------------------------------------------------------------------------------

_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mpeg_audio(file: BinaryIO, size_bytes: int) -> Structure | None:
    """Frame after frame of MPEG layer III. Source: ISO/IEC 11172-3, section 2.4; the LAME project's Info tag."""
    start, num_tags = _start_of_sound(file)
    end = end_of_sound(file, start, size_bytes)
    data = _read_at(file, start, min(end - start, _MAX_WALKED_BYTES))
    frame = _mp3_frame(data, 0)
    if frame is None:
        return _free_format(data)  # or something between, or another layer: FFmpeg finds its way
    rate_hz, samples, kind, num_bytes = frame
    stated, tag = _stated_frames(data[:num_bytes], kind)
    position, num_frames, is_even = num_bytes if tag else 0, 0, True
    while (frame := _mp3_frame(data, position)) is not None and frame[:2] == (rate_hz, samples):
        is_even &= frame[2] == kind
        position, num_frames = position + frame[3], num_frames + 1
    if not stated:
        held_s = num_frames * samples / rate_hz * (end - start) / max(1, position)
        return Structure(estimated_s=held_s)
    delay, padding = _gapless(data[:num_bytes], tag)
    # FFmpeg doubts what the tag says of the end where it is of another size than the file; libmpg123 says so on the terminal.
    is_alone = position == end - start and tag[2] in (None, position) and 100 * (size_bytes - end) < position
    is_plain = is_even and num_tags < 2 and is_alone and stated == num_frames
    return Structure(is_plain=is_plain, known_s=max(0, stated * samples - delay - padding) / rate_hz)


def _free_format(data: bytes) -> Structure | None:
    """Layer III of a bit rate that is in no table, so that all frames are of one size; FFmpeg does not decode it."""
    if len(data) < 4 or data[1] & 0xE6 != 0xE2 or data[2] & 0xFC != data[2] & 0x0C or data[2] & 0x0C == 0x0C:
        return None
    version, rate, size = data[1] >> 3 & 3, data[2] >> 2 & 3, 3
    while (size := data.find(data[:2], size + 1)) >= 0 and data[size + 2] & 0xFC != data[2] & 0xFC:
        pass
    position, num_frames = 0, 0
    while size > 0 and data[position : position + 2] == data[:2] and data[position + 2] & 0xFC == data[2] & 0xFC:
        position += size - (data[2] >> 1 & 1) + (data[position + 2] >> 1 & 1)
        num_frames += 1
    if version not in _RATES_HZ or num_frames < 2 or position != len(data):
        return None
    return Structure(is_plain=True, known_s=num_frames * (1_152 if version == 3 else 576) / _RATES_HZ[version][rate])


def _mp3_frame(data: bytes, at: int) -> tuple[int, int, tuple[int, bool], int] | None:
    """Rate in Hz, samples, kind (version, is mono) and bytes of the layer III frame there; None if none is there whole."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
        return None
    version, bits, rate = data[at + 1] >> 3 & 3, data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or not 0 < bits < 15 or rate == 3:
        return None
    rate_hz, samples = _RATES_HZ[version][rate], 1_152 if version == 3 else 576
    kbits = (_KBITS_1 if version == 3 else _KBITS_2)[bits]
    num_bytes = samples // 8 * kbits * 1_000 // rate_hz + (data[at + 2] >> 1 & 1)
    is_whole = at + num_bytes <= len(data)
    return (rate_hz, samples, (version, data[at + 3] >> 6 == 3), num_bytes) if is_whole else None


def _stated_frames(frame: bytes, kind: tuple[int, bool]) -> tuple[int | None, tuple[int, int, int | None] | None]:
    """The number of frames that a first frame states, and of its tag where it begins, where it ends and the bytes it states."""
    version, is_mono = kind
    at = 4 + (17 if is_mono else 32) if version == 3 else 4 + (9 if is_mono else 17)
    if frame[at : at + 4] in (b"Xing", b"Info"):
        flags, end = int.from_bytes(frame[at + 4 : at + 8], "big"), at + 8
        fields = []
        for flag, num_bytes in ((1, 4), (2, 4), (4, 100), (8, 4)):
            fields.append(int.from_bytes(frame[end : end + 4], "big") if flags & flag else None)
            end += num_bytes if flags & flag else 0
        return fields[0], (at, end, fields[1])
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big"), (36, len(frame), -1)  # FFmpeg's: libsndfile does not look there
    return None, None


def _gapless(frame: bytes, tag: tuple[int, int, int | None]) -> tuple[int, int]:
    """Samples that the encoder put before and behind the sound."""
    field = int.from_bytes(frame[tag[1] + 21 : tag[1] + 24], "big") if frame[tag[0] : tag[0] + 1] in b"XI" else 0
    return field >> 12, field & 0xFFF


# MP4 ----------------------------------------------------------------------------------------------------------------------


def _mp4(file: BinaryIO, size_bytes: int) -> Structure:
    """The boxes of the top level. Source: ISO/IEC 14496-12, section 4.2."""
    position, boxes = 0, Counter()
    while position + 8 <= size_bytes and boxes.total() < _MAX_PARTS:
        num_bytes, name = struct.unpack(">I4s", _read_at(file, position, 8))
        if num_bytes == 1:
            num_bytes = int.from_bytes(_read_at(file, position + 8, 8), "big")
        elif num_bytes == 0:
            num_bytes = size_bytes - position
        if num_bytes < 8 or not name.isascii():
            break
        boxes[name] += 1
        position += num_bytes
    return Structure(states_no_length=bool(boxes[b"moof"]), has_index=bool(boxes[b"moov"]))


# What lies behind the sound ----------------------------------------------------------------------------------------------------

_BEGINNINGS = re.compile(
    rb"\x00\x00\x00[\x08-\x80]ftyp|RIFF.{4}WAVE|fLaC[\x00\x80]\x00\x00\x22|OggS\x00\x02|FORM.{4}AIF|#!AMR|ID3[\x02-\x04]\x00"
    rb"|caff\x00\x01|TTA1\x01\x00|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\x1aE\xdf\xa3.{0,60}(?:webm|matroska)",
    re.DOTALL,
)
_MARKS = (
    b"ftyp",
    b"WAVE",
    b"fLaC",
    b"OggS\x00\x02",
    b"FORM",
    b"#!AMR",
    b"ID3",
    b"caff",
    b"TTA1",
    b"\x30\x26\xb2\x75",
    b"\x1aE\xdf\xa3",
)
"""How a recording begins, and a part of each that is quickly looked for."""


def sound_span(file: BinaryIO, size_bytes: int) -> tuple[int, int]:
    """From where to where a file holds no tags."""
    start, _ = _start_of_sound(file)
    return start, end_of_sound(file, start, size_bytes)


def _start_of_sound(file: BinaryIO) -> tuple[int, int]:
    """Where the tags end that stand at the beginning (ID3v2, APE), and how many there are."""
    start, num_tags = 0, 0
    while (header := _read_at(file, start, 32))[:3] == b"ID3" or header[:8] == b"APETAGEX":
        if header[:3] == b"ID3":
            start += 10 + _synchsafe(header[6:10]) + (10 if header[5] & 0x10 else 0)
        else:
            start += 32 + int.from_bytes(header[12:16], "little")
        num_tags += 1
    return start, num_tags


def end_of_sound(file: BinaryIO, start: int, end: int) -> int:
    """Where the tags begin that stand at the end of a file (ID3v1, APE, Lyrics3, ID3v2, zeros), if there are any behind `start`."""
    while end > start:
        foot = _read_at(file, max(start, end - 160), end - max(start, end - 160))
        if foot[-128:-125] == b"TAG":
            end -= 128
        elif foot[-32:-24] == b"APETAGEX":
            end -= int.from_bytes(foot[-20:-16], "little") + (32 if foot[-9] & 0x80 else 0)
        elif foot[-9:] in (b"LYRICS200", b"LYRICSEND") and foot[-15:-9].isdigit():
            end -= int(foot[-15:-9]) + 15
        elif foot[-10:-7] == b"3DI":
            end -= _synchsafe(foot[-4:]) + 20
        elif not foot[-1]:
            end -= len(foot) - len(foot.rstrip(b"\0"))
        else:
            break
    return max(start, end)


def num_unread_after(file: BinaryIO, position: int, size_bytes: int, *, is_stream: bool) -> int:
    """Bytes behind the last frame that are no tags.

    Args:
        file: the file.
        position: where the last frame ends.
        size_bytes: where the file ends.
        is_stream: whether frames go on to the file's end; of other formats only what looks like another recording counts.
    """
    if is_stream:
        return end_of_sound(file, position, size_bytes) - position
    found = find_recording(file, position)
    return size_bytes - found if found else 0


def find_recording(file: BinaryIO, position: int) -> int | None:
    """Where behind a position another recording begins."""
    file.seek(position)
    kept = b""
    while chunk := file.read(_CHUNK_BYTES):
        chunk = kept + chunk
        if any(mark in chunk for mark in _MARKS) and (found := _BEGINNINGS.search(chunk)):
            return position - len(kept) + found.start()
        position += len(chunk) - len(kept)
        kept = chunk[-80:]
    return None


def _has(file: BinaryIO, position: int, mark: bytes) -> bool:
    """Whether a mark stands somewhere behind a position."""
    file.seek(position)
    kept = b""
    while chunk := file.read(_CHUNK_BYTES):
        if mark in kept + chunk:
            return True
        kept = chunk[-len(mark) :]
    return False


def _read_at(file: BinaryIO, position: int, num_bytes: int) -> bytes:
    file.seek(position, os.SEEK_SET)
    return file.read(max(0, num_bytes))


def _synchsafe(four: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(four, (21, 14, 7, 0), strict=False))


class FileFrom(io.RawIOBase):
    """A file from some byte on, as if it began there."""

    def __init__(self, file: BinaryIO, first_byte: int) -> None:
        self._file, self._first = file, first_byte
        file.seek(first_byte)

    def readable(self) -> bool:
        """As any file."""
        return True

    def seekable(self) -> bool:
        """As any file."""
        return True

    def read(self, num_bytes: int = -1) -> bytes:
        """As any file."""
        return self._file.read(num_bytes)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """As any file."""
        return self._file.seek(position + (self._first if whence == os.SEEK_SET else 0), whence) - self._first

    def tell(self) -> int:
        """As any file."""
        return self._file.tell() - self._first

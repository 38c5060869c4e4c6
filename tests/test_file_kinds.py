"""Every kind of file, odd ones too: whatever decodes it, it is as long as FFmpeg finds it and sounds as FFmpeg renders it."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from scipy import signal

from core.audio import AudioReader, load
from core.errors import AudioRefusal
from core.native_audio import probe
from core.scanning.fuzz import with_ogg_checksums

RATE_HZ = 16_000
CASES = Path(__file__).parents[2] / "shared" / "cases"
RNG = np.random.default_rng(0)


def by_ffmpeg(
    samples: np.ndarray,
    container: str,
    codec: str,
    *,
    rate_hz: int = RATE_HZ,
    layout: str = "mono",
    start_s: float = 0.0,
    **options: str,
) -> bytes:
    """A recording by PyAV; `options` are the container's."""
    path = Path(tempfile.mkdtemp()) / "recording"  # an index that is put first needs a file
    with av.open(str(path), "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = 12_200 if "amr" in codec else 128_000 if "ac3" in codec else 48_000
        _encode(out, stream, samples, start_s)
    return path.read_bytes()


def _encode(out: av.container.OutputContainer, stream: av.AudioStream, samples: np.ndarray, start_s: float = 0.0) -> None:
    rate_hz, context = stream.rate, stream.codec_context
    if not context.is_open:
        context.open()
    resampler = av.AudioResampler(
        format=context.format, layout=context.layout, rate=rate_hz, frame_size=context.frame_size or 1_024
    )
    frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate = RATE_HZ
    position = round(start_s * rate_hz)
    for ready in [*resampler.resample(frame), *resampler.resample(None)]:
        ready.pts, position = position, position + ready.samples
        out.mux(stream.encode(ready))
    out.mux(stream.encode(None))


def by_soundfile(samples: np.ndarray, container: str, subtype: str | None = None, *, rate_hz: int = RATE_HZ) -> bytes:
    """A recording by libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def mp3(samples: np.ndarray, **options: str) -> bytes:
    """MP3 without tags but the Info frame."""
    return by_ffmpeg(samples, "mp3", "libmp3lame", **({"id3v2_version": "0", "write_id3v1": "0"} | options))


def synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def id3(num_bytes: int = 100) -> bytes:
    """An ID3v2.4 tag with a picture of that size."""
    picture = b"\0image/jpeg\0\x03\0\xff\xd8\xff\xe0" + RNG.bytes(num_bytes)
    frame = b"APIC" + synchsafe(len(picture)) + b"\0\0" + picture
    return b"ID3\x04\0\0" + synchsafe(len(frame)) + frame


def ape(num_bytes: int) -> bytes:
    """An APEv2 tag with a header, of one binary item."""
    item = struct.pack("<II", num_bytes, 2) + b"Cover Art (Front)\0" + RNG.bytes(num_bytes)
    head, foot = (
        b"APETAGEX" + struct.pack("<IIII", 2_000, len(item) + 32, 1, flags) + bytes(8) for flags in (0xA000_0000, 0x8000_0000)
    )
    return head + item + foot


ID3V1 = b"TAG" + b"x" * 125
LYRICS3 = b"LYRICSBEGININD0000210LYR00010abcdefghij" + b"000039LYRICS200" + ID3V1


def vbri(samples: np.ndarray) -> bytes:
    """MP3 whose first frame holds Fraunhofer's tag in place of Xing's."""
    data = bytearray(mp3(samples))
    size = data.find(data[:2], 4)
    num_frames = len(data) // size - 1
    data[4:size] = bytes(size - 4)
    data[36:62] = b"VBRI" + struct.pack(">HHHIIHHHH", 1, 0, 100, len(data), num_frames, 1, 1, 2, 1)
    return bytes(data)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def wav(
    samples: np.ndarray, *, before: bytes = b"", behind: bytes = b"", data_bytes: int | None = None, riff_bytes: int | None = None
) -> bytes:
    """WAV of 16 bits, with chunks around its data and sizes that may lie."""
    pcm = (samples * 32_767).astype("<i2").tobytes()
    head = b"WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)) + before
    size = len(pcm) if data_bytes is None else data_bytes
    body = head + b"data" + struct.pack("<I", size) + pcm + behind
    return b"RIFF" + struct.pack("<I", len(body) if riff_bytes is None else riff_bytes) + body


def flac_of_unknown_length(samples: np.ndarray) -> bytes:
    data = bytearray(by_soundfile(samples, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


def pages(ogg: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    starts = [at for at in range(len(ogg)) if ogg[at : at + 4] == b"OggS"]
    return [ogg[start:end] for start, end in zip(starts, [*starts[1:], len(ogg)], strict=True)]


def page(packet: bytes, serial: int, number: int, flags: int) -> bytes:
    return with_ogg_checksums(
        b"OggS\0" + bytes([flags]) + bytes(8) + struct.pack("<III", serial, number, 0) + bytes([1, len(packet)]) + packet
    )


def with_skeleton(ogg: bytes) -> bytes:
    """The same with a skeleton track, as libogg's tools write it."""
    first, *others = pages(ogg)
    bone = b"fishead\0" + struct.pack("<HH", 3, 0) + bytes(52)
    return page(bone, 77, 0, 2) + first + page(b"", 77, 1, 4) + b"".join(others)


def opus(samples: np.ndarray) -> bytes:
    return by_soundfile(samples, "OGG", "OPUS")


def without_end_mark(ogg: bytes) -> bytes:
    *others, last = pages(ogg)
    return with_ogg_checksums(b"".join(others) + last[:5] + bytes([last[5] & ~4]) + last[6:])


def with_empty_last_page(ogg: bytes) -> bytes:
    """The end mark on a page of its own without packets, whose position is -1."""
    last = pages(ogg)[-1]
    number = struct.unpack_from("<I", last, 18)[0] + 1
    return with_ogg_checksums(
        without_end_mark(ogg) + b"OggS\0\x04" + b"\xff" * 8 + last[14:18] + struct.pack("<II", number, 0) + b"\0"
    )


def with_end_mark_in_the_middle(ogg: bytes) -> bytes:
    found = pages(ogg)
    middle = found[len(found) // 2]
    return with_ogg_checksums(
        b"".join(found[: len(found) // 2]) + middle[:5] + b"\x04" + middle[6:] + b"".join(found[len(found) // 2 + 1 :])
    )


def element(number: int, content: bytes) -> bytes:
    """An EBML element."""
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + (0x0100_0000_0000_0000 | len(content)).to_bytes(8, "big") + content


def mkv_with_lacing(samples: np.ndarray, lacing: int) -> bytes:
    """Matroska with four blocks of PCM to a cluster's SimpleBlock, laced by Xiph (1), by size (2) or by EBML (3)."""
    pcm, size = (samples * 32_767).astype("<i2").tobytes(), 200
    audio = element(0xE1, element(0xB5, struct.pack(">d", RATE_HZ)) + element(0x9F, b"\1") + element(0x6264, b"\x10"))
    track = element(0xD7, b"\1") + element(0x73C5, b"\1") + element(0x83, b"\2") + element(0x9C, b"\1")
    track += element(0x86, b"A_PCM/INT/LIT") + audio
    clusters = b""
    for at in range(0, len(pcm) // (4 * size) * 4 * size, 4 * size):
        sizes = {1: bytes([size] * 3), 2: b"", 3: bytes([0x40, size, 0xBF, 0xBF])}[lacing]
        block = b"\x81\0\0" + bytes([0x80 | lacing << 1, 3]) + sizes + pcm[at : at + 4 * size]
        clusters += element(0x1F43B675, element(0xE7, (at // 2 * 1_000 // RATE_HZ).to_bytes(4, "big")) + element(0xA3, block))
    head = element(0x1A45DFA3, element(0x4282, b"matroska") + element(0x4287, b"\4") + element(0x4285, b"\2"))
    info = element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
    return head + element(0x18538067, info + element(0x1654AE6B, element(0xAE, track)) + clusters)


def two_tracks(samples: np.ndarray, container: str) -> bytes:
    """The recording, and its reverse in a second track."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        streams = [out.add_stream("libopus", rate=48_000, layout="mono") for _ in range(2)]
        for stream, track in zip(streams, (samples, samples[::-1]), strict=True):
            _encode(out, stream, track)
    return file.getvalue()


def amr_with_silence_frames(samples: np.ndarray) -> bytes:
    """AMR whose every second half-second is silence frames: one SID (type 8), then NO_DATA (type 15)."""
    data, frames, at = by_ffmpeg(samples, "amr", "libopencore_amrnb", rate_hz=8_000), [], 6
    while at < len(data):
        frames.append(data[at : at + 32])
        at += 32
    frames = [frame if i // 25 % 2 == 0 else b"\x44" + bytes(5) if i % 8 == 0 else b"\x7c" for i, frame in enumerate(frames)]
    return data[:6] + b"".join(frames)


Make = Callable[[np.ndarray], bytes]
KINDS: dict[str, tuple[str, Make]] = {
    "WAV": ("wav", wav),
    "WAV of floats": ("wav", lambda x: by_soundfile(x, "WAV", "FLOAT")),
    "WAV by u-law": ("wav", lambda x: by_soundfile(x, "WAV", "ULAW")),
    "WAV of GSM": ("wav", lambda x: by_soundfile(x[::2], "WAV", "GSM610", rate_hz=8_000)),
    "WAV of Microsoft's ADPCM": ("wav", lambda x: by_soundfile(x, "WAV", "MS_ADPCM")),
    "WAV with bext before": ("wav", lambda x: wav(x, before=chunk(b"bext", bytes(602)))),
    "WAV with cue and LIST behind": ("wav", lambda x: wav(x, behind=chunk(b"cue ", bytes(28)) + chunk(b"LIST", bytes(35)))),
    "WAV of data size 0": ("wav", lambda x: wav(x, data_bytes=0, riff_bytes=0)),
    "WAV of data size 0xFFFFFFFF": ("wav", lambda x: wav(x, data_bytes=0xFFFF_FFFF, riff_bytes=0xFFFF_FFFF)),
    "WAV of data size 0x7FFFFFFF": ("wav", lambda x: wav(x, data_bytes=0x7FFF_FFFF)),
    "WAV of a wrong RIFF size": ("wav", lambda x: wav(x, riff_bytes=10_000_000)),
    "RF64": ("wav", lambda x: by_soundfile(x, "RF64")),
    "W64": ("w64", lambda x: by_soundfile(x, "W64")),
    "AIFF": ("aiff", lambda x: by_soundfile(x, "AIFF", "PCM_24")),
    "AIFF-C with sowt": ("aifc", lambda x: by_ffmpeg(x, "aiff", "pcm_s16le")),
    "AU": ("snd", lambda x: by_soundfile(x, "AU", "ULAW")),
    "CAF of ALAC": ("caf", lambda x: by_ffmpeg(x, "caf", "alac")),
    "CAF of PCM": ("caf", lambda x: by_soundfile(x, "CAF")),
    "FLAC": ("flac", lambda x: by_soundfile(x, "FLAC")),
    "FLAC of unknown length": ("flac", flac_of_unknown_length),
    "FLAC behind ID3": ("flac", lambda x: id3(2_000) + by_soundfile(x, "FLAC")),
    "FLAC before ID3v1": ("flac", lambda x: by_soundfile(x, "FLAC") + ID3V1),
    "FLAC in Ogg": ("oga", lambda x: by_ffmpeg(x, "ogg", "flac")),
    "two FLAC files joined": ("flac", lambda x: 2 * by_soundfile(x, "FLAC")),
    "Ogg Vorbis": ("ogg", lambda x: by_soundfile(x, "OGG", "VORBIS")),
    "Ogg Vorbis, chained": ("ogg", lambda x: 2 * by_soundfile(x, "OGG", "VORBIS")),
    "Ogg with a skeleton": ("ogg", lambda x: with_skeleton(by_soundfile(x, "OGG", "VORBIS"))),
    "Ogg Opus": ("opus", opus),
    "Ogg Opus of 48 kHz": ("opus", lambda x: by_ffmpeg(x, "ogg", "libopus", rate_hz=48_000)),
    "Ogg Opus without an end mark": ("opus", lambda x: without_end_mark(opus(x))),
    "Ogg Opus with an empty last page": ("opus", lambda x: with_empty_last_page(opus(x))),
    "Ogg Opus that goes on after its end mark": ("opus", lambda x: with_end_mark_in_the_middle(opus(x))),
    "Ogg Opus, chained": ("opus", lambda x: opus(x) + opus(x[::-1])),
    "Ogg Opus of two tracks": ("opus", lambda x: two_tracks(x, "ogg")),
    "Ogg Opus with a skeleton": ("opus", lambda x: with_skeleton(opus(x))),
    "MP3": ("mp3", mp3),
    "MP3 without an Info frame": ("mp3", lambda x: mp3(x, write_xing="0")),
    "MP3 with VBRI": ("mp3", vbri),
    "MP3 behind a picture of 2 MB": ("mp3", lambda x: id3(2_000_000) + mp3(x)),
    "MP3 behind two ID3 tags": ("mp3", lambda x: id3() + id3(5_000) + mp3(x)),
    "MP3 before ID3v1": ("mp3", lambda x: mp3(x) + ID3V1),
    "MP3 before a small APE tag": ("mp3", lambda x: mp3(x) + ape(10)),
    "MP3 before a large APE tag": ("mp3", lambda x: mp3(x) + ape(100_000)),
    "MP3 before APE and ID3v1": ("mp3", lambda x: mp3(x) + ape(100_000) + ID3V1),
    "MP3 behind an APE tag": ("mp3", lambda x: ape(3_000) + mp3(x)),
    "MP3 before Lyrics3": ("mp3", lambda x: mp3(x) + LYRICS3),
    "MP3 before zeros": ("mp3", lambda x: mp3(x) + bytes(5_000)),
    "two MP3 files joined": ("mp3", lambda x: mp3(x) + mp3(x[::-1])),
    "MP3 of mono, then of stereo": ("mp3", lambda x: mp3(x) + by_ffmpeg(x, "mp3", "libmp3lame", layout="stereo")),
    "MP3 of 16 kHz, then of 44.1": ("mp3", lambda x: mp3(x) + by_ffmpeg(x, "mp3", "libmp3lame", rate_hz=44_100)),
    "MP2": ("mp2", lambda x: by_ffmpeg(x, "mp2", "mp2")),
    "AAC": ("aac", lambda x: by_ffmpeg(x, "adts", "aac")),
    "two AAC files joined": ("aac", lambda x: 2 * by_ffmpeg(x, "adts", "aac")),
    "M4A": ("m4a", lambda x: by_ffmpeg(x, "ipod", "aac")),
    "M4A, its index first": ("m4a", lambda x: by_ffmpeg(x, "ipod", "aac", movflags="+faststart")),
    "M4A of ALAC": ("m4b", lambda x: by_ffmpeg(x, "ipod", "alac")),
    "MP4 with an edit list": ("mp4", lambda x: by_ffmpeg(x, "mp4", "aac", start_s=2.0)),
    "MP4 in fragments": ("mp4", lambda x: by_ffmpeg(x, "mp4", "aac", movflags="+frag_keyframe+empty_moov", frag_duration="500000")),
    "3GP": ("3gp", lambda x: by_ffmpeg(x, "3gp", "libopencore_amrnb", rate_hz=8_000)),
    "WebM": ("webm", lambda x: by_ffmpeg(x, "webm", "libopus", rate_hz=48_000)),
    "WebM that was streamed": ("webm", lambda x: by_ffmpeg(x, "webm", "libopus", rate_hz=48_000, live="1")),
    "Matroska laced by Xiph": ("mka", lambda x: mkv_with_lacing(x, 1)),
    "Matroska laced by size": ("mka", lambda x: mkv_with_lacing(x, 2)),
    "Matroska laced by EBML": ("mka", lambda x: mkv_with_lacing(x, 3)),
    "Matroska of two tracks": ("mka", lambda x: two_tracks(x, "matroska")),
    "AMR": ("amr", lambda x: by_ffmpeg(x, "amr", "libopencore_amrnb", rate_hz=8_000)),
    "AC-3": ("ac3", lambda x: by_ffmpeg(x, "ac3", "ac3", rate_hz=48_000)),
    "E-AC-3": ("ec3", lambda x: by_ffmpeg(x, "eac3", "eac3", rate_hz=48_000)),
    "WMA": ("wma", lambda x: by_ffmpeg(x, "asf", "wmav2")),
    "AVI": ("avi", lambda x: by_ffmpeg(x, "avi", "libmp3lame")),
    "FLV": ("flv", lambda x: by_ffmpeg(x, "flv", "aac", rate_hz=44_100)),
    "MPEG transport stream": ("ts", lambda x: by_ffmpeg(x, "mpegts", "aac")),
    "WavPack": ("wv", lambda x: by_ffmpeg(x, "wv", "wavpack")),
    "TTA": ("tta", lambda x: by_ffmpeg(x, "tta", "tta")),
}  # fmt: skip


@pytest.fixture(scope="module")
def speech(speech_like: Callable[..., np.ndarray]) -> np.ndarray:
    """3.3 s, `[time]`."""
    return speech_like(3.3)


def by_ffmpeg_alone(path: Path) -> np.ndarray:
    """`[time]` at 16 kHz as the ffmpeg program renders it: the mixdown of each frame, all brought to one rate."""
    parts, kind, resampler = [], None, None
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
                    parts += resampler.resample(None) if resampler else []
                    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
                parts += resampler.resample(frame)
        parts += resampler.resample(None)
    return np.concatenate([part.to_ndarray()[0] for part in parts])


def aligned(samples: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Samples `[time]` without the silence that a coder put before them: some hundred to two thousand samples."""
    lags = np.arange(0, 4_000)
    middle = reference[8_000:24_000]
    found = signal.correlate(samples[8_000 : 24_000 + len(lags)], middle, mode="valid")
    return samples[int(np.abs(found).argmax()) :]


def likeness(samples: np.ndarray, reference: np.ndarray) -> float:
    """Correlation of the levels of all frames and frequencies up to 3.5 kHz, `[time]` each."""

    def levels(signal: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(signal, 1_024)[::256] * np.hanning(1_024)
        return np.log(np.abs(np.fft.rfft(frames))[:, :224] + 1e-2)

    num = min(len(samples), len(reference))
    return float(np.corrcoef(levels(samples[:num]).ravel(), levels(reference[:num]).ravel())[0, 1])


TOLD = {
    "Ogg Opus of two tracks": ("more_tracks",),
    "Matroska of two tracks": ("more_tracks",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_as_long_as_ffmpeg_finds_it_and_sounds_the_same(kind: str, speech: np.ndarray, tmp_path: Path) -> None:
    ending, make = KINDS[kind]
    path = tmp_path / f"recording.{ending}"
    path.write_bytes(make(speech))
    reader = AudioReader(path)
    samples = np.concatenate([block[0].numpy() for block in reader])
    reference = by_ffmpeg_alone(path)
    assert len(samples) == pytest.approx(len(reference), abs=0.02 * RATE_HZ)
    assert len(samples) > 3.2 * RATE_HZ * (2 if "joined" in kind or "chained" in kind or "then" in kind else 1)
    assert likeness(samples, reference) > (0.9 if kind in ("AMR", "3GP") else 0.97)  # AMR is another decoder's
    assert max(likeness(samples, speech), likeness(aligned(samples, speech), speech)) > 0.6
    assert reader.warnings == TOLD.get(kind, ())
    if reader.info.duration_s is not None and not {"joined", "chained", "then", "AAC", "AMR"} & set(kind.split()):
        assert reader.info.duration_s == pytest.approx(len(samples) / RATE_HZ, abs=0.2)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "Ogg Opus", "MP3", "MP3 before ID3v1", "M4A", "Ogg Vorbis", "AIFF", "WebM"])
def test_reading_from_the_middle_gives_the_rest(kind: str, speech: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"recording.{KINDS[kind][0]}"
    path.write_bytes(KINDS[kind][1](speech))
    whole = load(path)[0].numpy()
    rest = np.concatenate([block[0].numpy() for block in AudioReader(path, start_s=2.0)])
    assert len(rest) == pytest.approx(len(whole) - 2 * RATE_HZ, abs=0.02 * RATE_HZ)
    assert likeness(rest, whole[2 * RATE_HZ :]) > 0.9


CUT = {"WAV": 0.5, "FLAC": 0.5, "MP3": 0.5, "AIFF": 0.5, "M4A, its index first": 0.6, "WebM": 0.5, "WAV of GSM": 0.5}


@pytest.mark.parametrize("kind", CUT)
def test_what_is_missed_of_a_known_length_is_told(kind: str, speech: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"recording.{KINDS[kind][0]}"
    data = KINDS[kind][1](speech)
    path.write_bytes(data[: int(CUT[kind] * len(data))])
    reader = AudioReader(path)
    assert 1.0 < sum(block.shape[1] for block in reader) / RATE_HZ < 2.5
    assert reader.warnings == ("truncated",)


HIDDEN: dict[str, tuple[str, Make]] = {
    "MP3 before FLAC": ("mp3", lambda x: mp3(x) + by_soundfile(x, "FLAC")),
    "MP3 before M4A": ("mp3", lambda x: mp3(x) + by_ffmpeg(x, "ipod", "aac")),
    "MP3 before something": ("mp3", lambda x: mp3(x) + RNG.bytes(20_000).replace(b"\xff", b"\0")),
    "FLAC before M4A": ("flac", lambda x: by_soundfile(x, "FLAC") + by_ffmpeg(x, "ipod", "aac")),
    "Opus before FLAC": ("opus", lambda x: opus(x) + by_soundfile(x, "FLAC")),
    "Opus before something": ("opus", lambda x: opus(x) + RNG.bytes(5_000)),
    "two WAV files joined": ("wav", lambda x: 2 * wav(x)),
    "WAV whose size was not brought up to date": ("wav", lambda x: wav(x, data_bytes=64_000)),
    "WAV of two data chunks": ("wav", lambda x: wav(x, behind=chunk(b"data", bytes(70_000)))),
    "two M4A files joined": ("m4a", lambda x: 2 * by_ffmpeg(x, "ipod", "aac")),
    "two AIFF files joined": ("aiff", lambda x: 2 * by_soundfile(x, "AIFF")),
    "M4A before Opus": ("m4a", lambda x: by_ffmpeg(x, "ipod", "aac") + opus(x)),
}  # fmt: skip


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_no_decoder_reaches_is_told(kind: str, speech: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"recording.{HIDDEN[kind][0]}"
    path.write_bytes(HIDDEN[kind][1](speech))
    reader = AudioReader(path)
    assert 1.9 < sum(block.shape[1] for block in reader) / RATE_HZ < 3.5
    assert reader.warnings == ("unread_bytes",)


def test_a_chain_of_other_rates_is_decoded_link_by_link(speech: np.ndarray, tmp_path: Path) -> None:
    links = [by_soundfile(speech, "OGG", "VORBIS"), by_soundfile(np.repeat(speech, 2), "OGG", "VORBIS", rate_hz=32_000)]
    (tmp_path / "a.ogg").write_bytes(b"".join(links))
    samples = load(tmp_path / "a.ogg")[0].numpy()
    assert len(samples) == pytest.approx(2 * len(speech), abs=0.02 * RATE_HZ)
    assert likeness(samples[-len(speech) :], speech) > 0.8


def test_free_format_mp3(speech: np.ndarray, tmp_path: Path) -> None:
    data = bytearray(mp3(speech, write_xing="0"))
    size = 576 // 8 * 48_000 // RATE_HZ
    assert data[size : size + 2] == data[:2]
    for at in range(0, len(data), size):
        data[at + 2] &= 0x0F
    (tmp_path / "a.mp3").write_bytes(data)
    samples = load(tmp_path / "a.mp3")[0].numpy()
    assert len(samples) == len(data) // size * 576
    assert likeness(samples[1_105:], speech) > 0.6


def test_silence_frames_of_amr_are_decoded(speech: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "a.amr").write_bytes(amr_with_silence_frames(speech))
    reader = AudioReader(tmp_path / "a.amr")
    samples = np.concatenate([block[0].numpy() for block in reader])
    assert len(samples) == pytest.approx(len(speech), abs=0.04 * RATE_HZ)
    assert reader.warnings == ()


def test_each_channel_where_their_number_changes(speech: np.ndarray, tmp_path: Path) -> None:
    stereo = by_ffmpeg(speech, "mp3", "libmp3lame", layout="stereo")
    (tmp_path / "a.mp3").write_bytes(stereo + mp3(speech))
    assert load(tmp_path / "a.mp3", channels="each").shape == (2, pytest.approx(2 * len(speech), abs=0.15 * RATE_HZ))
    (tmp_path / "a.mp3").write_bytes(mp3(speech) + stereo)
    assert load(tmp_path / "a.mp3", channels="each").shape == (1, pytest.approx(2 * len(speech), abs=0.15 * RATE_HZ))


def test_an_m4a_without_its_index_says_so(speech: np.ndarray, tmp_path: Path) -> None:
    data = by_ffmpeg(speech, "ipod", "aac")
    (tmp_path / "a.m4a").write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioRefusal, match=r"no index \(moov\): it was cut off") as refusal:
        probe(tmp_path / "a.m4a")
    assert refusal.value.code == "undecodable"


def test_no_word_of_a_library_reaches_anybody(tmp_path: Path, capfd: pytest.CaptureFixture[str], speech: np.ndarray) -> None:
    (tmp_path / "a.mp3").write_bytes(b"no sound at all " * 100)
    with pytest.raises(AudioRefusal, match=r"^Not a recording that can be decoded: no decoder recognises what is in it\.$"):
        load(tmp_path / "a.mp3")
    for number, data in enumerate(
        (ID3V1 * 40, id3() * 3, mp3(speech)[:3_000] + ape(30_000), ape(3_000) + mp3(speech), b"\xff\xfb\x90\x64" * 999)
    ):
        (tmp_path / f"{number}.mp3").write_bytes(data)
        with suppress(AudioRefusal):
            load(tmp_path / f"{number}.mp3")
    assert capfd.readouterr() == ("", "")


LENGTHS = {
    "01_vbr_without_xing.mp3": 8.908, "02_opus_16k_no_eos.opus": 8.873, "02_opus_16k_empty_eos_page_granule_minus1.opus": 8.873,
    "02_reference_same_speech.opus": 8.867, "03_chained.opus": 17.741, "03_two_mp3_joined.mp3": 17.790,
    "03_opus_page_after_eos.opus": 8.867, "04_wav_data_size_0.wav": 4.0, "05_flac_unknown_length.flac": 4.0,
    "06_amr_called_truncated.amr": 8.88, "06_vbr_quiet_called_truncated.mp3": 8.964,
}  # fmt: skip


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
@pytest.mark.parametrize("name", LENGTHS)
def test_files_that_came_out_wrong_once(name: str) -> None:
    reader = AudioReader(CASES / name)
    assert sum(block.shape[1] for block in reader) / RATE_HZ == pytest.approx(LENGTHS[name], abs=0.02)
    assert reader.warnings == ()
    assert (reader.info.duration_s is None) == ("unknown" in name)

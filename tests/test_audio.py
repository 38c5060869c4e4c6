"""core.audio: what decodes, to what length, and what is refused with which words."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from core.audio import AudioReader, load, sha256_of
from core.errors import AudioRefusal
from core.native_audio import probe
from core.resample import SAMPLE_RATE_HZ, StreamResampler, _resampling
from core.sketches import Decoding

LOST_SYNC = Path(__file__).parents[2] / "shared" / "fixtures" / "flac_lost_sync"


_MUXERS = {".mka": "matroska", ".wma": "asf"}


def _write_with_av(path: Path, samples: np.ndarray, codec: str, *, rate_hz: int = 16_000) -> None:
    with av.open(str(path), "w", format=_MUXERS.get(path.suffix)) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        stream.bit_rate = 64_000
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate_hz, frame_size=stream.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "FLOAT"),
        ("a.wav", "ULAW"),
        ("a.flac", "PCM_24"),
        ("a.ogg", "VORBIS"),
        ("a.opus", "OPUS"),
        ("a.mp3", None),
    ],
)
def test_libsndfile_formats_keep_length_and_sound(tmp_path: Path, speech_like, name: str, subtype: str | None) -> None:
    samples = speech_like(3.0)
    soundfile.write(tmp_path / name, samples, SAMPLE_RATE_HZ, subtype=subtype, format="OGG" if name.endswith("opus") else None)
    decoded = load(tmp_path / name)
    assert decoded.shape[0] == 1
    assert decoded.dtype == torch.float32
    assert abs(decoded.shape[1] - len(samples)) < 0.1 * SAMPLE_RATE_HZ
    level = np.sqrt((samples**2).mean())
    assert decoded.square().mean().sqrt().item() == pytest.approx(level, rel=0.1)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("a.m4a", "aac", 16_000), ("a.mp4", "aac", 44_100), ("a.mov", "aac", 48_000), ("a.mkv", "libopus", 48_000),
        ("a.webm", "libopus", 48_000), ("a.wma", "wmav2", 44_100), ("a.3gp", "aac", 16_000), ("a.mka", "libopus", 48_000),
    ],
)  # fmt: skip
def test_ffmpeg_formats_keep_length_and_sound(tmp_path: Path, speech_like, name: str, codec: str, rate_hz: int) -> None:
    samples = speech_like(3.0)
    _write_with_av(tmp_path / name, samples, codec, rate_hz=rate_hz)
    decoded, info = load(tmp_path / name), probe(tmp_path / name)
    assert info.sample_rate_hz == rate_hz
    assert info.duration_s == pytest.approx(3.0, abs=0.15)
    assert abs(decoded.shape[1] - len(samples)) < 0.2 * SAMPLE_RATE_HZ
    assert decoded.square().mean().sqrt().item() == pytest.approx(np.sqrt((samples**2).mean()), rel=0.15)


def test_amr_is_read_by_ffmpeg(tmp_path: Path) -> None:
    # PyAV's wheel decodes AMR but cannot write it. An AMR-NB frame of type 7 (12.2 kbit/s) has a header byte 0x3C
    # and 31 bytes; any payload decodes to 20 ms at 8 kHz.
    rng = np.random.default_rng(0)
    frames = b"".join(b"\x3c" + rng.integers(0, 256, 31, dtype=np.uint8).tobytes() for _ in range(100))
    (tmp_path / "a.amr").write_bytes(b"#!AMR\n" + frames)
    assert probe(tmp_path / "a.amr").sample_rate_hz == 8_000
    assert load(tmp_path / "a.amr").shape == (1, 100 * 320)


def test_lost_sync_flacs_decode_to_their_declared_length() -> None:
    if not LOST_SYNC.is_dir():
        pytest.skip("needs ../shared/fixtures")
    with open(LOST_SYNC / "files.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for row in rows:
        reader = AudioReader(LOST_SYNC / row["file"])
        length = sum(block.shape[1] for block in reader)
        assert length == pytest.approx(float(row["seconds"]) * SAMPLE_RATE_HZ, abs=16)
        assert length == round(reader.info.duration_s * SAMPLE_RATE_HZ)
        assert not reader.is_truncated


def test_the_fallback_goes_on_after_the_last_sample_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech_like) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(3.0), SAMPLE_RATE_HZ, subtype="FLOAT")
    whole = load(path)

    def breaks(*_: object):
        yield soundfile.read(path, frames=20_000, dtype="float32", always_2d=True)[0]
        raise soundfile.LibsndfileError(161)

    monkeypatch.setattr("core.native_audio._soundfile_blocks", breaks)
    assert torch.equal(load(path), whole)


@pytest.mark.parametrize(("name", "rate_hz"), [("a.flac", 16_000), ("a.ogg", 16_000), ("a.wav", 8_000)])
@pytest.mark.parametrize("decoder", ["libsndfile", "ffmpeg"])
def test_reading_begins_where_it_is_told_to(
    name: str, rate_hz: int, decoder: str, tmp_path: Path, speech_like, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise soundfile.LibsndfileError(161)

    soundfile.write(tmp_path / name, np.resize(speech_like(3.0), 3 * rate_hz), rate_hz)
    whole = load(tmp_path / name)[0]
    if decoder == "ffmpeg":
        monkeypatch.setattr("core.native_audio._soundfile_blocks", refuses)
    part = torch.cat(list(AudioReader(tmp_path / name, start_s=2.0)), dim=1)[0]
    assert len(part) == SAMPLE_RATE_HZ
    edge = 0 if rate_hz == SAMPLE_RATE_HZ else 100  # the resampler hears nothing before the part
    assert torch.allclose(part[edge:], whole[2 * SAMPLE_RATE_HZ + edge :], atol=1e-4)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 24_000, 44_100, 48_000])
def test_streamed_resampling_equals_whole(rate_hz: int) -> None:
    samples = torch.randn(2, 50_003, generator=torch.Generator().manual_seed(1))
    stream = StreamResampler(rate_hz)
    streamed = torch.cat([*(stream.push(part) for part in samples.split(3_001, dim=1)), stream.flush()], dim=1)
    assert torch.allclose(streamed, _resampling(rate_hz)[0](samples), atol=1e-6)


def test_resampling_keeps_a_tone_below_and_kills_one_above(tmp_path: Path) -> None:
    time_s = np.arange(48_000) / 48_000
    for tone_hz, gain in ((1_000, 1.0), (7_000, 1.0), (9_500, 0.0), (20_000, 0.0)):
        soundfile.write(tmp_path / "t.wav", 0.5 * np.sin(2 * np.pi * tone_hz * time_s), 48_000, subtype="FLOAT")
        level = load(tmp_path / "t.wav")[0, 2_000:-2_000].square().mean().sqrt().item() * np.sqrt(2) / 0.5
        assert level == pytest.approx(gain, abs=0.02)


def test_an_odd_rate_needs_no_giant_kernel(tmp_path: Path, speech_like) -> None:
    soundfile.write(tmp_path / "a.wav", speech_like(1.0), 15_991)
    assert _resampling(15_991)[2] <= 640
    assert load(tmp_path / "a.wav").shape[1] == pytest.approx(16_009, abs=20)


def test_stereo_is_mixed_or_kept_apart(tmp_path: Path, speech_like) -> None:
    left, right = speech_like(2.0, 1), speech_like(2.0, 2)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE_HZ, subtype="FLOAT")
    assert np.allclose(load(tmp_path / "a.wav")[0], (left + right) / 2, atol=1e-6)
    assert np.allclose(load(tmp_path / "a.wav", channels="each"), [left, right], atol=1e-6)


def test_channels_that_cancel_are_told_from_silence(tmp_path: Path, speech_like) -> None:
    left, right = speech_like(2.0, 1), speech_like(2.0, 2)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(left))
    for number, (other, is_cancelled) in enumerate(
        ((-left, True), (noise - 0.9 * left, True), (right, False), (left, False), (0 * left, False), (-0.3 * left, False))
    ):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.stack([left, other], axis=1), SAMPLE_RATE_HZ, subtype="FLOAT")
        for channels in ("mix", "each"):
            decoding = Decoding(path, channels, 64_000)
            assert len(list(decoding.windows())) > 0 or is_cancelled
            refusals = [channel.refusal and channel.refusal[0] for channel in decoding.sketch().channels]
            expected = "cancelled" if is_cancelled and channels == "mix" else None
            assert refusals[0] == expected
    soundfile.write(path, np.stack([left, -left], axis=1), SAMPLE_RATE_HZ)
    decoding = Decoding(path, "mix", 64_000)
    list(decoding.windows())
    assert "judge each channel by itself" in decoding.sketch().channels[0].refusal[1]


def test_long_files_come_in_bounded_blocks(tmp_path: Path, speech_like) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile(speech_like(10.0), 20), SAMPLE_RATE_HZ)
    lengths = [block.shape[1] for block in AudioReader(tmp_path / "a.wav")]
    assert max(lengths) <= 31 * SAMPLE_RATE_HZ
    assert sum(lengths) == 200 * SAMPLE_RATE_HZ


def _refusal(path: Path) -> AudioRefusal:
    with pytest.raises(AudioRefusal) as caught:
        load(path)
    return caught.value


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    assert _refusal(tmp_path / "a.wav").code == "empty"
    with pytest.raises(AudioRefusal, match="0 bytes"):
        sha256_of(tmp_path / "a.wav")


def test_text_called_wav(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("Dear Sir or Madam,\n" * 50)
    refusal = _refusal(tmp_path / "a.wav")
    assert refusal.code == "undecodable"
    assert "Not a recording" in str(refusal)


def test_header_without_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), SAMPLE_RATE_HZ)
    assert _refusal(tmp_path / "a.wav").code == "empty"


def test_not_a_number(tmp_path: Path, speech_like) -> None:
    samples = speech_like(1.0)
    samples[500] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    assert _refusal(tmp_path / "a.wav").code == "non_finite"


def test_missing_file(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "gone.wav").code == "unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; test_scan tries it as another user")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "a.wav").chmod(0)
    assert "permission" in str(_refusal(tmp_path / "a.wav")).lower()


def test_truncated_flac_gives_what_is_there_and_says_so(tmp_path: Path, speech_like) -> None:
    soundfile.write(tmp_path / "a.flac", speech_like(6.0), SAMPLE_RATE_HZ)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    reader = AudioReader(tmp_path / "a.flac")
    length_s = sum(block.shape[1] for block in reader) / SAMPLE_RATE_HZ
    assert 2.0 < length_s < 4.0
    assert reader.is_truncated


def test_wav_header_that_lies_about_its_length(tmp_path: Path, speech_like) -> None:
    soundfile.write(tmp_path / "a.wav", speech_like(2.0), SAMPLE_RATE_HZ)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = (10**9).to_bytes(4, "little")
    content[40:44] = (10**9 - 36).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    reader = AudioReader(tmp_path / "a.wav")
    assert sum(block.shape[1] for block in reader) == 2 * SAMPLE_RATE_HZ
    assert reader.is_truncated


def test_a_play_list_is_not_followed(tmp_path: Path, speech_like) -> None:
    soundfile.write(tmp_path / "a.wav", speech_like(2.0), SAMPLE_RATE_HZ)
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:2,\n{tmp_path / 'a.wav'}\n#EXT-X-ENDLIST\n")
    assert _refusal(tmp_path / "list.mp4").code == "undecodable"


@pytest.mark.parametrize("name", ["line\nbreak.wav", "emoji \N{SPEAKER}.wav", "-dash.wav", "%s 100%.wav"])
def test_odd_names(tmp_path: Path, speech_like, name: str) -> None:
    soundfile.write(tmp_path / name, speech_like(1.0), SAMPLE_RATE_HZ)
    assert load(tmp_path / name).shape == (1, SAMPLE_RATE_HZ)


def test_a_name_that_is_not_utf8(tmp_path: Path, speech_like) -> None:
    soundfile.write(tmp_path / "a.wav", speech_like(1.0), SAMPLE_RATE_HZ)
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    os.rename(tmp_path / "a.wav", odd)
    assert load(os.fsdecode(odd)).shape == (1, SAMPLE_RATE_HZ)
    _write_with_av(tmp_path / "a.m4a", speech_like(1.0), "aac")
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.m4a")
    os.rename(tmp_path / "a.m4a", odd)
    assert load(os.fsdecode(odd)).shape[1] == pytest.approx(SAMPLE_RATE_HZ, abs=3_000)

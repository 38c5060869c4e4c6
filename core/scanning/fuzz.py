"""Broken recordings by the thousand: whole ones in ten formats, damaged by chance, decoded and measured as a scan does.

`python -m core.scanning.fuzz --cases 10000 --seed 0` prints a table. A case is made from the seed and its number alone, so
that one that crashes can be made again (`--keep FOLDER`). Cases run in a forked process; a crash or a hang ends that process
and is counted, the next goes on.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import mmap
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile

from core.limits import limit_this_process
from core.segments import WINDOW_SAMPLES
from core.sketches import Decoding

HANG_S = 20.0
_MEMORY_BYTES = 2 * 2**30
"""Address space that decoding may add to the process."""
_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a case."""

    number: int
    format: str
    end: str
    """`decoded`, a refusal's code, `crash`, `hang`, or `error` for an exception that a scan would not survive."""
    words: str = ""


def run_cases(
    numbers: range, *, seed: int, hang_s: float = HANG_S, decode: Callable[[Path], str] | None = None
) -> Iterator[Outcome]:
    """Decodes damaged recordings in forked processes.

    Args:
        numbers: which cases.
        seed: decides what is done to each.
        hang_s: a case may take so long.
        decode: gives the end of one; as a scan decodes when None.
    """
    whole = whole_recordings()
    formats = list(whole)
    reached = memoryview(mmap.mmap(-1, 16)).cast("d")  # case in hand, and since when
    with tempfile.TemporaryDirectory(prefix="earwitness-fuzz-") as folder:
        ends = Path(folder, "ends")
        todo = numbers
        while todo:
            reached[0], reached[1] = -1, time.monotonic()
            pid = _fork(partial(_run, todo, whole, seed, Path(folder), reached, decode or decode_as_a_scan))
            killed_by = _wait(pid, reached, hang_s)
            told = [line.split("\t", 2) for line in ends.read_text(encoding="utf-8").splitlines()] if ends.exists() else []
            yield from (
                Outcome(number=int(n), format=formats[int(n) % len(formats)], end=end, words=words) for n, end, words in told
            )
            ends.unlink(missing_ok=True)
            done = len(told)
            if done < len(todo):
                number = todo[done]
                yield Outcome(number=number, format=formats[number % len(formats)], end=killed_by[0], words=killed_by[1])
                done += 1
            todo = todo[done:]


def decode_as_a_scan(path: Path) -> str:
    """`decoded`, or the code of the refusal."""
    decoding = Decoding(path, "each", WINDOW_SAMPLES)
    for _ in decoding.windows():
        pass
    refusals = [channel.refusal for channel in decoding.sketch().channels]
    return "decoded" if None in refusals else refusals[0][0]


def whole_recordings() -> dict[str, bytes]:
    """Ending -> a second and a half of a made voice in that format."""
    time_s = np.arange(24_000) / 16_000
    voice = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 12)) * np.abs(np.sin(9 * time_s)) * 0.1
    kinds = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
    kinds |= {"mp3": ("MP3", None), "aiff": ("AIFF", "PCM_24"), "gsm.wav": ("WAV", "GSM610")}
    made = {}
    for ending, (container, coding) in kinds.items():
        file = io.BytesIO()
        rate_hz = 8_000 if ending == "gsm.wav" else 16_000
        soundfile.write(file, voice[:: 16_000 // rate_hz], rate_hz, format=container, subtype=coding)
        made[ending] = file.getvalue()
    return made | {ending: _by_ffmpeg(voice, *kind) for ending, kind in _FFMPEG_KINDS.items()}


_FFMPEG_KINDS = {"m4a": ("ipod", "aac", 16_000), "webm": ("webm", "libopus", 48_000), "amr": ("amr", "libopencore_amrnb", 8_000)}


def damaged(whole: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A file with one or a few things done to it, half of them near its beginning, where the headers are."""
    data = bytearray(whole)
    for _ in range(int(rng.geometric(0.5))):
        end = len(data) if rng.random() < 0.5 else min(len(data), 200)
        if end < 8:
            break
        at = int(rng.integers(end))
        match rng.integers(7):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at] = int(rng.integers(256))
            case 2:
                value = _EXTREMES[rng.integers(len(_EXTREMES))]
                data[at : at + 4] = value.to_bytes(4, "little" if rng.random() < 0.5 else "big")
            case 3:
                del data[at:]
            case 4:
                del data[at : at + int(rng.integers(1, 64))]
            case 5:
                data[at:at] = bytes(data[: int(rng.integers(1, 64))])
            case _:
                start = int(rng.integers(len(other)))
                data[at:at] = other[start : start + int(rng.integers(1, 256))]
    # A page of Ogg with a wrong checksum is skipped, and no decoder would see the damage.
    return with_ogg_checksums(data) if rng.random() < 0.8 else bytes(data)


def with_ogg_checksums(data: bytes | bytearray) -> bytes:
    """The same with the right checksum in every page of Ogg that is whole. Source: RFC 3533, section 6."""
    data, at = bytearray(data), 0
    while (at := data.find(b"OggS", at)) >= 0:
        sizes = data[at + 27 : at + 27 + (data[at + 26] if at + 26 < len(data) else 0)]
        end = at + 27 + len(sizes) + sum(sizes)
        if end <= len(data):
            data[at + 22 : at + 26] = bytes(4)
            data[at + 22 : at + 26] = _ogg_checksum(data[at:end]).to_bytes(4, "little")
        at += 4
    return bytes(data)


def _ogg_checksum(page: bytearray) -> int:
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 & 0xFFFF_FFFF) ^ _OGG_TABLE[checksum >> 24 ^ byte]
    return checksum


def _ogg_remainder(byte: int) -> int:
    remainder = byte << 24
    for _ in range(8):
        remainder = remainder << 1 ^ (0x1_04C1_1DB7 if remainder & 0x8000_0000 else 0)
    return remainder


_OGG_TABLE = tuple(_ogg_remainder(byte) for byte in range(256))


def case_of(number: int, whole: dict[str, bytes], seed: int) -> tuple[str, bytes]:
    """Ending and bytes of a case."""
    rng = np.random.default_rng([seed, number])
    endings = list(whole)
    ending = endings[number % len(endings)]
    return ending, damaged(whole[ending], whole[endings[rng.integers(len(endings))]], rng)


def _run(
    numbers: range, whole: dict[str, bytes], seed: int, folder: Path, reached: memoryview, decode: Callable[[Path], str]
) -> None:
    limit_this_process(_MEMORY_BYTES, is_beyond_now=True)
    with open(folder / "ends", "w", encoding="utf-8", buffering=1) as ends:
        for number in numbers:
            ending, data = case_of(number, whole, seed)
            path = folder / f"case.{ending}"
            path.write_bytes(data)
            reached[0], reached[1] = number, time.monotonic()
            words = ""
            try:
                end = decode(path)
            except Exception as error:  # noqa: BLE001 - what a scan would not survive is what is looked for
                end, words = "error", repr(error)[:200].replace("\n", " ")
            print(number, end, words, sep="\t", file=ends)


def _fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    faulthandler.disable()  # crashes are what is looked for
    with suppress(BaseException):
        work()
        os._exit(0)
    os._exit(1)


def _wait(pid: int, reached: memoryview, hang_s: float) -> tuple[str, str]:
    """How the process ended: `crash` or `hang`, and the signal."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return "crash", signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"status {status}"
        if time.monotonic() - reached[1] > hang_s:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hang", f"longer than {hang_s:.0f} s"
        time.sleep(0.01)


def _by_ffmpeg(voice: np.ndarray, container: str, codec: str, rate_hz: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(voice[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        resampler = av.AudioResampler(stream.codec_context.format or "s16", "mono", rate_hz)
        for resampled in resampler.resample(frame):
            resampled.pts = None
            out.mux(stream.encode(resampled))
        out.mux(stream.encode(None))
    return file.getvalue()


def table(outcomes: list[Outcome]) -> str:
    """Lines of text: a row per format, a column per end."""
    counts = Counter((outcome.format, outcome.end) for outcome in outcomes)
    ends = sorted({end for _, end in counts} | {"decoded", "crash", "hang", "error"}, key=lambda end: (end != "decoded", end))
    lines = ["format".ljust(10) + "".join(end.rjust(max(len(end), 6) + 2) for end in ends)]
    for name in [*sorted({name for name, _ in counts}), "all"]:
        row = [sum(n for (kind, end), n in counts.items() if end == wanted and name in (kind, "all")) for wanted in ends]
        cells = "".join(f"{n:,}".rjust(max(len(end), 6) + 2) for n, end in zip(row, ends, strict=True))
        lines.append(name.ljust(10) + cells)
    return "\n".join(lines)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m core.scanning.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the cases that crash, hang or fail there")
    options = parser.parse_args()
    began = time.monotonic()
    outcomes = list(run_cases(range(options.cases), seed=options.seed))
    bad = [outcome for outcome in outcomes if outcome.end in ("crash", "hang", "error")]
    print(f"{len(outcomes):,} damaged recordings, seed {options.seed}, {time.monotonic() - began:.0f} s\n{table(outcomes)}")
    for outcome in bad:
        print(f"case {outcome.number} ({outcome.format}): {outcome.end} {outcome.words}")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            ending, data = case_of(outcome.number, whole_recordings(), options.seed)
            (options.keep / f"{outcome.number}.{ending}").write_bytes(data)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(_main())

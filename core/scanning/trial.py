"""Files tried alone: probed or decoded in a process of its own, within limits. Tells what would happen, keeps no audio.

`python -m core.scanning.trial probe|decode` reads paths from its input, each ended by NUL, and prints a line of JSON for each.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from core.errors import DECODER_FAILURES, AudioRefusal
from core.limits import limit_this_process
from core.native_audio import NativeReader
from core.records import AudioInfo

MEMORY_BYTES = 2 * 2**30
"""Address space of a trial. Decoders need some megabytes, numpy's threads some hundred."""
MIN_LIMIT_S, _BYTES_PER_S = 20.0, 2**20
"""Time of a trial: so long, and a second for every megabyte. FLAC decodes at about 50 MB/s."""


def try_alone(path: str | os.PathLike[str], *, limit_s: float | None = None) -> None:
    """Returns if decoding a file comes to an end, be it a refusal.

    Args:
        limit_s: time limit; from the file's size when None.

    Raises:
        AudioRefusal: one of `DECODER_FAILURES`.
    """
    (outcome,) = tried([path], limit_s=limit_s)
    if isinstance(outcome, AudioRefusal) and outcome.code in DECODER_FAILURES:
        raise outcome


def tried(
    paths: Iterable[str | os.PathLike[str]], *, how: Literal["probe", "decode"] = "decode", limit_s: float | None = None
) -> Iterator[AudioInfo | AudioRefusal]:
    """What comes of each file, in a process that does one after the other; a new one goes on after a crash or a hang.

    Args:
        how: look at what the container declares, or decode all of it too.
        limit_s: time limit of a file; from its size when None.
    """
    todo = list(map(os.path.abspath, paths))  # the process has another folder
    while todo:
        for outcome in _in_one_process(todo, how, limit_s):
            yield outcome
            todo = todo[1:]


def _in_one_process(paths: list[str], how: str, limit_s: float | None) -> Iterator[AudioInfo | AudioRefusal]:
    """Outcomes until one is a crash or a hang."""
    with tempfile.TemporaryFile() as given:
        given.write(b"".join(os.fsencode(path) + b"\0" for path in paths))
        given.seek(0)
        command = [sys.executable, "-m", "core.scanning.trial", how]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "cwd": Path(__file__).parents[2]}
        process = subprocess.Popen(command, stdin=given, **options)
    try:
        for path in paths:
            limit = limit_s or MIN_LIMIT_S + _size_bytes(path) / _BYTES_PER_S
            killer, began = threading.Timer(limit, process.kill), time.monotonic()
            killer.start()
            line = process.stdout.readline()
            killer.cancel()
            if not line.endswith(b"\n"):
                yield _hung(limit) if time.monotonic() - began >= limit else _crashed(process.wait())
                return
            told = json.loads(line)
            yield AudioRefusal(*told) if isinstance(told, list) else AudioInfo(**told)
    finally:
        process.kill()
        process.communicate()


def _hung(limit_s: float) -> AudioRefusal:
    sentence = f"Decoding it came to no end within {limit_s:.0f} s, so it was left out; convert it with a tool that you trust."
    return AudioRefusal("decoder_hung", sentence)


def _crashed(code: int) -> AudioRefusal:
    end = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    sentence = f"Decoding it ended the process that tried ({end}), so it was left out; it is damaged, or made to attack."
    return AudioRefusal("decoder_crashed", sentence)


def _size_bytes(path: str) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):
        return 0


def _try(path: str, how: str) -> dict | tuple[str, str]:
    try:
        reader = NativeReader(path)
        if how == "decode":
            for _ in reader:
                pass
    except AudioRefusal as refusal:
        return refusal.code, str(refusal)
    return asdict(reader.info)


if __name__ == "__main__":
    limit_this_process(MEMORY_BYTES)
    for name in sys.stdin.buffer.read().split(b"\0")[:-1]:
        print(json.dumps(_try(os.fsdecode(name), sys.argv[1])), flush=True)

"""A file tried alone: decoded in a process of its own, within limits, and thrown away. Tells what would happen, keeps nothing.

`python -m core.scanning.trial PATH` decodes the file and ends; a refusal is an end like any other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from core.errors import AudioRefusal
from core.native_audio import native_blocks, probe

MEMORY_BYTES = 2 * 2**30
"""Address space of a trial. Decoders need some megabytes, numpy's threads some hundred."""
MIN_LIMIT_S, _BYTES_PER_S = 20.0, 2**20
"""Time of a trial: at least so long, a second more for every megabyte. FLAC decodes at about 50 MB/s."""


def try_alone(path: str | os.PathLike[str], *, limit_s: float | None = None) -> None:
    """Returns if decoding a file comes to an end, be it a refusal.

    Args:
        limit_s: time limit; from the file's size when None.

    Raises:
        AudioRefusal: `decoder_crashed` or `decoder_hung`.
    """
    limit_s = limit_s or trial_limit_s(os.path.getsize(path))
    command = [sys.executable, "-m", "core.scanning.trial", os.fspath(path)]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        ended = subprocess.run(command, timeout=limit_s, check=False, cwd=Path(__file__).parents[2], **options)
    except subprocess.TimeoutExpired:
        sentence = f"Decoding it came to no end within {limit_s:.0f} s, so it was left out; convert it with a tool that you trust."
        raise AudioRefusal("decoder_hung", sentence) from None
    if ended.returncode:
        end = signal.Signals(-ended.returncode).name if ended.returncode < 0 else f"exit status {ended.returncode}"
        sentence = f"Decoding it ended the process that tried ({end}), so it was left out; it is damaged, or made to attack."
        raise AudioRefusal("decoder_crashed", sentence)


def trial_limit_s(size_bytes: int) -> float:
    """How long a trial of a file of that size may take."""
    return MIN_LIMIT_S + size_bytes / _BYTES_PER_S


def limit_this_process(memory_bytes: int = MEMORY_BYTES) -> None:
    """Bounds this process's address space, and lets it leave no dump; not everywhere can all of it be bounded."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decode(path: str) -> None:
    try:
        for _ in native_blocks(path, probe(path)):
            pass
    except AudioRefusal:
        pass


if __name__ == "__main__":
    limit_this_process()
    _decode(sys.argv[1])

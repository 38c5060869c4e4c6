"""How the C library hands out memory. By default glibc gives tensors of a few MiB back to the kernel as soon as they are freed, and
the next ones are faulted in anew. Does nothing where the C library is not glibc.
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3) in glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8
_MIB = 2**20


def keep_batches() -> None:
    """Lets a process that scores keep what a batch has freed for the next one: half of its time in the kernel was for that.

    What is larger, such as a long recording's parts, still goes back.
    """
    _set({_MMAP_THRESHOLD: 32 * _MIB, _TRIM_THRESHOLD: 128 * _MIB})


def keep_all() -> None:
    """Lets a process that trains keep all that it frees: a third of the time of a training step on two cores was the kernel's."""
    _set({_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 256 * _MIB, _ARENA_MAX: 1})


def _set(options: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in options.items():
            mallopt(parameter, value)

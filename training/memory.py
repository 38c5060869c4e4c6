"""How the C library hands out memory while training on the CPU."""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3) in glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def keep_memory() -> None:
    """Lets the process keep freed memory for its next step; does nothing where the C library is not glibc.

    By default glibc gives tensors of a few MiB back to the kernel as soon as they are freed, and each step faults
    them in anew: a third of the time of a training step on two cores was the kernel's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 256 * 2**20)
        mallopt(_ARENA_MAX, 1)

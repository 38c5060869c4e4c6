"""What a process that tries something untrusted may use. Starts no process."""

from __future__ import annotations

from pathlib import Path


def limit_this_process(memory_bytes: int, *, is_beyond_now: bool = False) -> None:
    """Bounds this process's address space, and lets it leave no dump; not everywhere can all of it be bounded.

    Args:
        memory_bytes: in all, or (`is_beyond_now`) beyond what it has: a fork of a large process is large.
    """
    try:
        import resource
    except ImportError:
        return
    if is_beyond_now and (sizes := Path("/proc/self/statm")).is_file():
        memory_bytes += int(sizes.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

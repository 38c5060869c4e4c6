"""What a process that tries something untrusted may use. Starts no process."""

from __future__ import annotations


def limit_this_process(memory_bytes: int) -> None:
    """Bounds this process's address space, and lets it leave no dump; not everywhere can all of it be bounded."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

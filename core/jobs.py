"""Work that the dashboard starts in a process of its own: a small record of it, whether it runs, its last words.

The process outlives this one. Nothing but the record, the log and the process number tells of it; what it makes is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from core.whole_files import replace_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One process that was started."""

    pid: int
    marker: str
    """One of its arguments, by which it is known again: numbers of processes are used again."""
    started_at: float
    """Seconds since 1970."""
    log: str
    """File that holds what it says."""
    out: str
    """Folder that it writes into."""

    @property
    def is_running(self) -> bool:
        """As it is now."""
        return is_alive(self.pid) and self._is_ours()

    def _is_ours(self) -> bool:
        try:
            arguments = Path(f"/proc/{self.pid}/cmdline").read_bytes()
            return not arguments or os.fsencode(self.marker) in arguments.split(b"\0")  # empty in the instant when it starts
        except FileNotFoundError:  # no /proc, or it ended just now
            return not Path("/proc").is_dir()

    def last_words(self, num_lines: int = 1) -> str:
        """The last lines that it wrote; empty when it wrote none."""
        try:
            text = Path(self.log).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join([line for line in text.splitlines() if line.strip()][-num_lines:])


def start_job(command: Sequence[str], record: Path, *, marker: str, out: Path, environment: Mapping[str, str] | None = None) -> Job:
    """Starts a process in a session of its own and writes `record`; its log stands beside it.

    Args:
        command: program and arguments; `marker` is one of them.
        record: file that `last_job` reads, overwritten.
        marker: by which the process is known again.
        out: folder that it writes into.
        environment: what it finds there beside this process's: what others must not read among its arguments.
    """
    record.parent.mkdir(parents=True, exist_ok=True)
    log = record.with_suffix(".log")
    with open(log, "wb") as file:
        options = {"start_new_session": True, "cwd": Path(__file__).parents[1], "env": os.environ | (environment or {})}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, **options)
    # Reaps the child, so that an ended process does not linger as a zombie.
    threading.Thread(target=process.wait, daemon=True).start()
    job = Job(pid=process.pid, marker=marker, started_at=time.time(), log=str(log), out=str(out))
    replace_file(record, json.dumps(asdict(job)))
    return job


def last_job(record: Path) -> Job | None:
    """The job that was last started under this record on this machine; None when there was none or its record is damaged."""
    try:
        return Job(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has that number and has not ended."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    with suppress(OSError):  # where there is no /proc, what exists is taken as alive
        # A zombie has ended and waits for its parent. The state follows the name, which may hold brackets.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    return True

"""A process over the one that scores: what a decoder breaks ends there, and takes one file along.

The scoring process is a fork, made while its process has one thread. A page of memory that both share says which file
each of its threads has in hand and since when it has made no step. When the scoring process dies of a signal, or a file
holds a thread for too long (then it is killed), a new one goes on by the ledger, and tries the files that were in hand
alone first (`core.scanning.trial`). Costs nothing while nothing happens.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

HANG_S = 300.0
"""A file that gives nothing for so long holds its thread. It gives a block of 30 s in some milliseconds."""
MAX_DEATHS = 3
"""The scoring process may die so often in a row without finishing a file."""
_LOOK_S = 0.2
_NUM_SLOTS = 256
_PR_SET_PDEATHSIG = 1


class Hands:
    """The files that the scoring threads have in hand. Emptied once by each supervisor, before it forks."""

    def __init__(self) -> None:
        self.empty()

    def empty(self) -> None:
        """Takes a page of its own: what was in hand before is not the work's, nor is what other processes have."""
        # Three numbers a slot: entry or 0, time of its last step, files put down.
        self._values = memoryview(mmap.mmap(-1, _NUM_SLOTS * 24)).cast("d")
        self._num_taken = 0
        self.num_deaths: Counter[int] = Counter()
        """How many scoring processes died with an entry in hand."""

    def slot(self) -> Slot:
        """A place for one more thread of this process."""
        self._num_taken += 1
        return Slot(self._values, (self._num_taken - 1) % _NUM_SLOTS * 3)

    @property
    def num_done(self) -> float:
        """Files that were put down again, by all threads of all processes."""
        return sum(self._values[2::3].tolist())

    def held(self, *, longer_than_s: float = 0.0) -> list[int]:
        """Entries in hand."""
        since = time.monotonic() - longer_than_s
        return [
            int(entry_id) for entry_id, at in zip(self._values[::3], self._values[1::3], strict=True) if entry_id and at <= since
        ]

    def drop(self, suspects: list[int]) -> None:
        """Empties all slots, for the next process; the suspects were in hand when this one died."""
        self.num_deaths.update(suspects)
        self._num_taken = 0
        for number in range(_NUM_SLOTS):
            self._values[3 * number] = 0


class Slot:
    """What one thread has in hand."""

    def __init__(self, values: memoryview, place: int) -> None:
        self._values, self._place = values, place

    def take(self, entry_id: int) -> None:
        """The thread begins with a file."""
        self.step()
        self._values[self._place] = entry_id

    def step(self) -> None:
        """The file in hand has given something."""
        self._values[self._place + 1] = time.monotonic()

    def put_down(self) -> None:
        """The thread is done with the file."""
        self._values[self._place] = 0
        self._values[self._place + 2] += 1


HANDS = Hands()
"""This process's."""


def supervised(work: Callable[[], int], *, hang_s: float = HANG_S) -> int:
    """Runs work in a process of its own, again whenever that dies of a signal; returns its exit status.

    SIGTERM is passed on, Ctrl-C reaches both processes and is for the inner one. Where there is no fork, the work is simply done.

    Args:
        work: takes what it has in hand from `HANDS`.
        hang_s: the time limit of a step.
    """
    if not hasattr(os, "fork"):
        return work()
    num_deaths = num_done = 0
    HANDS.empty()
    while True:
        pid = _fork(work)
        status = _wait(pid, hang_s)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
        name = signal.Signals(os.WTERMSIG(status)).name
        num_deaths = num_deaths + 1 if HANDS.num_done == num_done else 1
        num_done = HANDS.num_done
        if num_deaths > MAX_DEATHS:
            print(f"The scoring process died {num_deaths} times ({name}) without finishing a file; giving up.", file=sys.stderr)
            return 1
        HANDS.drop(HANDS.held())
        print(f"The scoring process died ({name}); going on. The files that it had in hand are tried alone first.", file=sys.stderr)


def _fork(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    _die_with(parent)
    try:
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - told as Python does; the process ends here
        sys.excepthook(*sys.exc_info())
        code = 1
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code or 0)


def _die_with(parent: int) -> None:
    """Makes this process end when its supervisor does (Linux), so that nobody scores behind a ledger's back."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _wait(pid: int, hang_s: float) -> int:
    """The status with which the scoring process ended; kills it when a file holds it for too long."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM)),
    }
    try:
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            if slow := HANDS.held(longer_than_s=hang_s):
                HANDS.drop(slow)
                os.kill(pid, signal.SIGKILL)
            time.sleep(_LOOK_S)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Waiting for a store that is away: a worker's calls are made again until it is back, and people are told. Knows no SQL."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from core.errors import StoreUnavailableError

PATIENCE_S = 24 * 3600.0
"""An outage that lasts longer ends the worker; its audit can be resumed."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Pauses between two tries double from the first to the longest."""

_log = logging.getLogger("earwitness")  # unless set up otherwise, warnings are plain lines on stderr

P = ParamSpec("P")
R = TypeVar("R")


class Patience:
    """What the threads of one worker know of an outage. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._away_since: float | None = None
        self._waited_s = 0.0

    def end(self) -> None:
        """From now on nobody waits: a store that is away is an error at once. For workers that are told to stop."""
        self._is_over.set()

    def take_waited_s(self) -> float:
        """Seconds of outages since the last time that this was asked."""
        with self._lock:
            waited_s, self._waited_s = self._waited_s, 0.0
            return waited_s

    def call(self, work: Callable[[], R]) -> R:
        """The result of some work, which is done again as long as the store is away. It must be such that twice is as good as once.

        Raises:
            StoreUnavailableError: the store is away and `end` was called, or it stayed away for `PATIENCE_S`.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = work()
            except StoreUnavailableError as error:
                if self._note_away(error) > PATIENCE_S or self._is_over.wait(pause_s):
                    raise
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._note_back()
                return result

    def _note_away(self, error: StoreUnavailableError) -> float:
        """Seconds that the store has been away. The first to notice tells it."""
        with self._lock:
            if self._away_since is None:
                self._away_since = time.monotonic()
                if not self._is_over.is_set():
                    _log.warning("%s Waiting for it; results so far are kept.", error)
            return time.monotonic() - self._away_since

    def _note_back(self) -> None:
        with self._lock:
            if self._away_since is not None:
                away_s, self._away_since = time.monotonic() - self._away_since, None
                self._waited_s += away_s
                _log.warning("The store is back after %.0f s; going on.", away_s)


class _Patient(Protocol):
    patience: Patience


def patient(method: Callable[Concatenate[_Patient, P], R]) -> Callable[Concatenate[_Patient, P], R]:
    """A method of an object with `patience`, done again as long as the store is away."""

    @functools.wraps(method)
    def call(self: _Patient, *arguments: P.args, **options: P.kwargs) -> R:
        return self.patience.call(lambda: method(self, *arguments, **options))

    return call

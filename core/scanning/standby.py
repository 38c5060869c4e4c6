"""Workers that start at once: one process loads what scoring needs, and forks a worker for each audit that it is given.

Loading PyTorch takes longer than scoring the first hundred recordings. The process is started when somebody is about to
start an audit, and ends when nobody has for a while, or with the dashboard; the workers outlive it. Audits reach it as
lines of JSON on its standard input.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from core.cache import cache_folder
from core.errors import CoreError
from core.scanning.supervision import supervised

IDLE_S = 600.0
"""The process waits so long for the next audit."""
_LOADED = "core.commands.program", "core.store.ledger", "core.scanning.scan", "core.scanning.local_engine"
_LOOK_S = 0.2


class Standby:
    """The process, seen from the one that starts audits. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._idle = threading.Timer(IDLE_S, self.close)

    def prepare(self) -> None:
        """Starts the process, where there is none; it does not wait for it."""
        with self._lock:
            self._running()

    def start(self, audit_id: int, environment: Mapping[str, str]) -> None:
        """Starts a worker on an audit; its output goes to a log in the cache folder.

        Args:
            audit_id: which one.
            environment: the worker's. Everybody may read arguments, and the URL of a store may hold a password.
        """
        log = str((cache_folder() / f"worker-{audit_id}.log").absolute())
        line = json.dumps({"audit": audit_id, "environment": dict(environment), "log": log}).encode() + b"\n"
        with self._lock:
            try:
                self._hand(line)
            except OSError:  # it has died
                self._end()
                self._hand(line)

    def close(self) -> None:
        """Ends the process; workers go on."""
        with self._lock:
            self._idle.cancel()
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            with suppress(OSError):  # there is something for it, and it has died
                self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _hand(self, line: bytes) -> None:
        stdin = self._running().stdin
        stdin.write(line)
        stdin.flush()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            cache_folder().mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "core.scanning.standby"]
            options = {"start_new_session": True, "cwd": Path(__file__).parents[2]}
            with open(cache_folder() / "standby.log", "ab") as log:
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, **options)
        self._idle.cancel()
        self._idle = threading.Timer(IDLE_S, self.close)
        self._idle.daemon = True
        self._idle.start()
        return self._process


STANDBY = Standby()
"""This process's."""


def serve() -> int:
    """The process itself: forks a worker for each line of its standard input, until that ends."""
    for module in _LOADED:
        importlib.import_module(module)
    if not _is_called(0) and os.fork() == 0:
        _export_default()
    waiting = b""
    while True:
        _reap()
        if not _is_called(_LOOK_S):
            continue
        if not (block := os.read(0, 1 << 16)):
            return 0
        *lines, waiting = (waiting + block).split(b"\n")
        for line in lines:
            if os.fork() == 0:
                _become_worker(**json.loads(line))


def _is_called(wait_s: float) -> bool:
    """Whether there is an audit, or the end, on the standard input; waits so long for it."""
    return bool(select.select([0], [], [], wait_s)[0])


def _export_default() -> NoReturn:
    """Exports the network of the detector that most audits use, where no audit did before: it takes a second, once."""
    from core.checkpoints import detector_named
    from core.runtime import exported_network

    with suppress(CoreError):  # the audit will say what is wrong
        detector = detector_named()
        for branch in () if detector.is_foreign else detector.branches:
            exported_network(branch)
    os._exit(0)


def _reap() -> None:
    """Takes note of workers that ended, so that none lingers as a zombie that looks alive."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become_worker(audit: int, environment: dict[str, str], log: str) -> NoReturn:
    from core.commands.program import main

    os.setsid()
    with open(os.devnull, "rb") as nothing, open(log, "ab") as written:
        os.dup2(nothing.fileno(), 0)
        os.dup2(written.fileno(), 1)
        os.dup2(written.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    os._exit(supervised(lambda: main(["worker", str(audit)])))


if __name__ == "__main__":
    sys.exit(serve())

"""What an audit is scored with: the engine of this machine, a thread per core, and what every engine hands to the audit."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from core.audio import Channels, sha256_of
from core.detect import Scorer, record_of
from core.errors import DECODER_FAILURES, AudioRefusal
from core.memory import keep_batches
from core.records import Audit, FoundFile, PendingFile, ScanSettings, ScoredRecording
from core.scanning.discovery import LeftOut, find_files
from core.scanning.supervision import HANDS, MAX_DEATHS
from core.scanning.trial import tried, try_alone
from core.sketches import refused_sketch
from core.store.ledger import Ledger

PAGE, FIRST_PAGE = 512, 32
"""Pending files read from the ledger, and hashed, at a time; few at first, so that scoring begins at once."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an engine found out about an entry: a new record, a known content, or a copy of one under way."""

    entry_id: int
    sha256: str | None
    record: ScoredRecording | None
    is_known: bool


Results = queue.Queue[Result | Exception | None]


class Engine(Protocol):
    """Lists an audit's files, and finds a result for each pending one."""

    def find(self, folder: str, settings: ScanSettings, left_out: LeftOut) -> Iterator[FoundFile]:
        """The files of a place, in a stable order.

        Raises:
            ScanError: it cannot be listed.
        """

    def threads(self, ledger: Ledger, audit: Audit, stop: threading.Event) -> list[Callable[[Results], None]]:
        """What to run, each in a thread, until every pending file has a result or `stop` is set."""


class LocalEngine:
    """Hashes in one thread, decodes and scores in one thread per core.

    Args:
        scorer: the detector.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def find(self, folder: str, settings: ScanSettings, left_out: LeftOut) -> Iterator[FoundFile]:
        """As `Engine`."""
        return find_files(folder, settings, left_out=left_out)

    def threads(self, ledger: Ledger, audit: Audit, stop: threading.Event) -> list[Callable[[Results], None]]:
        """As `Engine`."""
        keep_batches()
        num_threads = len(os.sched_getaffinity(0))
        to_score: queue.Queue[PendingFile | None] = queue.Queue(maxsize=64 * num_threads)
        work = _Work(self.scorer, ledger, audit, stop, to_score)
        return [partial(work.feed, num_threads), *[work.score] * num_threads]


@dataclass(frozen=True, slots=True)
class _Work:
    """What the threads of one pass over an audit share."""

    scorer: Scorer
    ledger: Ledger
    audit: Audit
    stop: threading.Event
    to_score: queue.Queue[PendingFile | None]

    def feed(self, num_threads: int, results: Results) -> None:
        """Hashes pending files; passes on what must be scored, reports what is known or a copy."""
        first_with: dict[str, int] = {}
        after, limit = 0, FIRST_PAGE
        while not self.stop.is_set() and (page := self.ledger.pending_files(after=after, limit=limit)):
            after, limit = page[-1].entry_id, PAGE
            hashes = {}
            for file in page:
                with suppress(AudioRefusal):  # the scorer meets the same refusal and reports it
                    hashes[file.entry_id] = sha256_of(self._path(file))
                if self.stop.is_set():
                    return
            known = self.ledger.known_hashes(hashes.values(), with_distance=self.scorer.familiarity is not None)
            for file in page:
                sha256 = hashes.get(file.entry_id)
                if file.entry_id in HANDS.num_deaths and (refused := self._tried(file, sha256)):
                    results.put(refused)
                elif sha256 in known:
                    results.put(Result(file.entry_id, sha256, None, is_known=True))
                elif sha256 is not None and first_with.setdefault(sha256, file.entry_id) != file.entry_id:
                    results.put(Result(file.entry_id, sha256, None, is_known=False))
                else:
                    _put(self.to_score, file, self.stop)
        for _ in range(num_threads):
            _put(self.to_score, None, self.stop)

    def score(self, results: Results) -> None:
        """Decodes and scores what the feeder passes on."""
        torch.set_num_threads(1)  # of this thread; the parallelism is across recordings
        taken: list[int] = []
        slot = HANDS.slot()

        def paths() -> Iterator[str]:
            while (file := _get(self.to_score, self.stop)) is not None:
                taken.append(file.entry_id)
                slot.take(file.entry_id)
                yield self._path(file)
                slot.put_down()

        def is_stopped() -> bool:
            slot.step()
            return self.stop.is_set()

        scored = self.scorer.score_files(paths(), channels=self.audit.settings.channels, is_stopped=is_stopped)
        for position, record in enumerate(scored):
            results.put(Result(taken[position], record.sha256, record, is_known=False))

    def _tried(self, file: PendingFile, sha256: str | None) -> Result | None:
        """The refusal of a file that was in hand when a scoring process died, if decoding it alone fails too."""
        path, channels = self._path(file), self.audit.settings.channels
        try:
            if HANDS.num_deaths[file.entry_id] > MAX_DEATHS:
                raise AudioRefusal("decoder_crashed", f"Scoring processes died {MAX_DEATHS + 1} times with it in hand.")
            try_alone(path)
        except AudioRefusal as refusal:
            return Result(file.entry_id, sha256, refused_record(self.scorer, path, channels, refusal, sha256), is_known=False)
        except OSError:  # it is gone; the scorer says so
            pass
        return None

    def _path(self, file: PendingFile) -> str:
        return os.path.join(self.audit.folder, os.fsdecode(file.path_bytes))


def score_untrusted(scorer: Scorer, paths: Sequence[str], *, channels: Channels = "mix") -> Iterator[ScoredRecording]:
    """As `Scorer.score_files`, each file tried alone before it is decoded here."""
    for path, outcome in zip(paths, tried(paths), strict=True):
        if isinstance(outcome, AudioRefusal) and outcome.code in DECODER_FAILURES:
            yield refused_record(scorer, path, channels, outcome)
        else:
            yield scorer.score_file(path, channels=channels)


def refused_record(
    scorer: Scorer, path: str, channels: Channels, refusal: AudioRefusal, sha256: str | None = None
) -> ScoredRecording:
    """The record of a file that is not opened here."""
    return record_of(refused_sketch(path, channels, refusal, sha256=sha256), {}, scorer.detector.manifest)


def _put(items: queue.Queue, item: object, stop: threading.Event) -> None:
    """Puts when there is room; gives up when told to stop."""
    while not stop.is_set():
        try:
            return items.put(item, timeout=0.2)
        except queue.Full:
            continue


def _get(items: queue.Queue, stop: threading.Event) -> PendingFile | None:
    """The next item; None when told to stop."""
    while not stop.is_set():
        try:
            return items.get(timeout=0.2)
        except queue.Empty:
            continue
    return None

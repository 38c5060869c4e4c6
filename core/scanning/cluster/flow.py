"""The work in flight on a cluster, bounded at every step: files to hash, chunks being decoded, pieces to be scored.

A chunk whose machine, process or actor dies is done again by others. A file whose decoding ends the process each time is given
up and reported.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

from core.detect import WindowScore, record_of
from core.errors import AudioRefusal
from core.familiarity import load_familiarity
from core.records import Audit, PendingFile
from core.scanning.cluster.decoding import decode_files, hash_files
from core.scanning.cluster.fleet import Fleet, Member
from core.scanning.cluster.scoring import ScoredPiece
from core.scanning.local_engine import PAGE, Result, Results
from core.sketches import Sketch, refused_sketch

if TYPE_CHECKING:
    from core.store.ledger import Ledger

HASHED_FILES = 128
"""Files per hashing task."""
CHUNK_FILES = 32
"""Files per decoding task: some 100 ms of decoding for short ones, a hundred times what a task costs."""
CHUNK_BYTES = 64 * 2**20
"""A chunk ends before it is larger than this, unless it is one file."""
OPEN_CHUNKS_PER_CORE = 2
"""Chunks that are begun and not complete: one whose windows are scored, one that is decoded meanwhile."""
UNREAD_PIECES = 2
"""A decoding task waits when this many of its pieces have not been taken."""
MAX_CRASHES = 3
"""A file on which this many decoding processes died alone is given up."""
REMEMBERED = 1_000_000
"""Contents of which it is remembered that they are under way; older ones are in the ledger by then."""
QUIET_S = 60.0
"""When nothing has come back for this long, it is told."""

_log = logging.getLogger("earwitness")


@dataclass(eq=False)
class _Chunk:
    """Files that one task decodes, and what has come back of them."""

    files: tuple[PendingFile, ...]
    num_crashes: int = 0
    scores: defaultdict[int, dict[tuple[int, int], WindowScore]] = field(default_factory=lambda: defaultdict(dict))
    sketches: dict[int, Sketch] = field(default_factory=dict)
    generator: Any = None
    num_open: int = 0
    """Pieces taken that have not been scored."""
    is_decoded: bool = False
    is_abandoned: bool = False

    @property
    def is_complete(self) -> bool:
        return self.is_decoded and not self.num_open and not self.is_abandoned


class Flow:
    """One pass over the pending files of an audit. Use from one thread.

    Args:
        fleet: the actors.
        ledger: asked for pending files and known contents, never written.
        audit: the audit.
        stop: set to end soon.
        results: where what is found goes.
    """

    def __init__(self, fleet: Fleet, ledger: Ledger, audit: Audit, stop: threading.Event, results: Results) -> None:
        self.fleet, self.ledger, self.audit, self.stop, self.results = fleet, ledger, audit, stop, results
        self.manifest = fleet.detector.manifest
        self._has_distance = load_familiarity(fleet.detector) is not None
        # No retries by Ray: a chunk is done again as a whole, and counted. A core for each task: Ray ends processes beyond the
        # number of cores as soon as they are idle, and a new one has everything to import.
        options = {"max_retries": 0, "num_cpus": 1, "scheduling_strategy": "SPREAD"}
        self._hash = ray.remote(hash_files).options(**options)
        generator = {"num_returns": "streaming", "_generator_backpressure_num_objects": UNREAD_PIECES}
        self._decode = ray.remote(decode_files).options(**options, **generator)
        self._handlers: dict[Any, Callable[[], None]] = {}
        self._files = self._pending()
        self._is_fed = False
        self._num_hashing = 0
        self._to_decode: deque[PendingFile] = deque()
        self._again: deque[_Chunk] = deque()
        self._chunks: set[_Chunk] = set()
        self._held: deque[_Chunk] = deque()
        self._pieces: deque[tuple[_Chunk, Any]] = deque()
        self._first_with: OrderedDict[str, int] = OrderedDict()
        self._heard_at = time.monotonic()

    def run(self) -> None:
        """Works until every pending file has a result, or `stop` is set.

        Raises:
            CoreError: the place of the recordings, or the detector on a node, cannot be used.
        """
        try:
            while not self.stop.is_set():
                for member, ready in self.fleet.tend():
                    self._handlers[ready] = lambda member=member, ready=ready: self._on_ready(member, ready)
                self._hash_more()
                self._decode_more()
                self._score_more()
                if self._is_fed and not (self._num_hashing or self._to_decode or self._again or self._chunks):
                    return
                self._wait()
        finally:
            for chunk in self._chunks:
                self._cancel(chunk)

    def _pending(self) -> Iterator[tuple[PendingFile, ...]]:
        after = 0
        while page := self.ledger.pending_files(after=after, limit=PAGE):
            after = page[-1].entry_id
            for first in range(0, len(page), HASHED_FILES):
                yield page[first : first + HASHED_FILES]

    # What is begun ------------------------------------------------------------------------------------------------

    def _hash_more(self) -> None:
        cores = self.fleet.num_cores
        while (
            not self._is_fed and self._num_hashing <= cores and len(self._to_decode) <= OPEN_CHUNKS_PER_CORE * cores * CHUNK_FILES
        ):
            files = next(self._files, None)
            if files is None:
                self._is_fed = True
                return
            self._begin_hashing(files)

    def _begin_hashing(self, files: tuple[PendingFile, ...]) -> None:
        hashes = self._hash.remote(self.audit.folder, tuple(file.path_bytes for file in files))
        self._handlers[hashes] = lambda: self._on_hashes(files, hashes)
        self._num_hashing += 1

    def _decode_more(self) -> None:
        while len(self._chunks) < OPEN_CHUNKS_PER_CORE * self.fleet.num_cores and (chunk := self._next_chunk()):
            paths = tuple(file.path_bytes for file in chunk.files)
            arguments = self.audit.folder, paths, self.audit.settings.channels, self.manifest.window_samples
            chunk.generator = self._decode.remote(*arguments)
            self._chunks.add(chunk)
            self._follow(chunk)
        while self._held and self._has_room:
            self._follow(self._held.popleft())

    def _next_chunk(self) -> _Chunk | None:
        if self._again:
            return self._again.popleft()
        files: list[PendingFile] = []
        num_bytes = 0
        while self._to_decode and len(files) < CHUNK_FILES:
            num_bytes += self._to_decode[0].size_bytes
            if files and num_bytes > CHUNK_BYTES:
                break
            files.append(self._to_decode.popleft())
        return _Chunk(tuple(files)) if files else None

    def _follow(self, chunk: _Chunk) -> None:
        if not chunk.is_abandoned:
            self._handlers[chunk.generator] = lambda: self._on_piece(chunk)

    def _score_more(self) -> None:
        while self._pieces and (member := self.fleet.idle()):
            chunk, piece = self._pieces.popleft()
            if chunk.is_abandoned:
                continue
            scored = member.handle.score.remote(piece)
            member.num_pieces += 1
            self._handlers[scored] = lambda chunk=chunk, member=member, scored=scored: self._on_scored(chunk, member, scored)

    @property
    def _has_room(self) -> bool:
        return len(self._pieces) < max(1, len(self.fleet.members))

    # What has come back -------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        ready, _ = ray.wait(list(self._handlers), num_returns=1, timeout=0.5, fetch_local=False) if self._handlers else ([], [])
        if ready:
            self._heard_at = time.monotonic()
            ready, _ = ray.wait(list(self._handlers), num_returns=len(self._handlers), timeout=0, fetch_local=False)
        for reference in ready:
            # One that came back together with another may have been abandoned by the other's handler.
            if handler := self._handlers.pop(reference, None):
                handler()
        if time.monotonic() - self._heard_at > QUIET_S:
            self._heard_at = time.monotonic()
            _log.warning("Nothing has come back from the cluster for %.0f s: has it a free CPU? Waiting.", QUIET_S)

    def _on_ready(self, member: Member, ready: Any) -> None:
        try:
            ray.get(ready)
        except RayError as error:
            self.fleet.lost(member, _cause(error))
        else:
            self.fleet.started(member)

    def _on_hashes(self, files: tuple[PendingFile, ...], hashes: Any) -> None:
        self._num_hashing -= 1
        try:
            found = ray.get(hashes)
        except RayError as error:
            _cause(error)
            self._begin_hashing(files)
            return
        known = self.ledger.known_hashes({sha256 for sha256 in found if sha256}, with_distance=self._has_distance)
        for file, sha256 in zip(files, found, strict=True):
            if sha256 in known:
                self.results.put(Result(file.entry_id, sha256, None, is_known=True))
            elif sha256 is not None and self._first_with.setdefault(sha256, file.entry_id) != file.entry_id:
                self.results.put(Result(file.entry_id, sha256, None, is_known=False))
            else:
                self._to_decode.append(file)
        while len(self._first_with) > REMEMBERED:
            self._first_with.popitem(last=False)

    def _on_piece(self, chunk: _Chunk) -> None:
        if chunk.is_abandoned:
            return
        if not self._has_room:
            self._held.append(chunk)  # the task waits as soon as `UNREAD_PIECES` lie there
            return
        try:
            piece = next(chunk.generator)
        except StopIteration:
            chunk.is_decoded = True
            self._finish(chunk)
            return
        except RayError as error:
            self._abandon(chunk, _cause(error))
            return
        chunk.num_open += 1
        self._pieces.append((chunk, piece))
        self._follow(chunk)

    def _on_scored(self, chunk: _Chunk, member: Member, scored: Any) -> None:
        member.num_pieces -= 1
        try:
            piece: ScoredPiece = ray.get(scored)
        except RayError as error:
            cause = _cause(error)
            if isinstance(cause, ray.exceptions.RayActorError):
                self.fleet.lost(member, cause)
            self._abandon(chunk, cause)
            return
        chunk.num_open -= 1
        for (number, channel, index), score in piece.scores:
            chunk.scores[number][channel, index] = score
        chunk.sketches.update(piece.sketches)
        self._finish(chunk)

    def _finish(self, chunk: _Chunk) -> None:
        if not chunk.is_complete:
            return
        self._chunks.discard(chunk)
        for number, file in enumerate(chunk.files):
            record = record_of(chunk.sketches[number], chunk.scores[number], self.manifest)
            self.results.put(Result(file.entry_id, record.sha256, record, is_known=False))

    # What is lost -------------------------------------------------------------------------------------------------

    def _abandon(self, chunk: _Chunk, cause: RayError) -> None:
        """Does a chunk again: file by file where its own process died, for one file may be why."""
        if chunk.is_abandoned:
            return
        chunk.is_abandoned = True
        self._chunks.discard(chunk)
        self._handlers.pop(chunk.generator, None)
        self._cancel(chunk)
        has_crashed = isinstance(cause, WorkerCrashedError | OutOfMemoryError)
        if not has_crashed:
            self._again.append(_Chunk(chunk.files, chunk.num_crashes))
        elif len(chunk.files) > 1:
            self._again.extend(_Chunk((file,)) for file in chunk.files)
        elif chunk.num_crashes + 1 < MAX_CRASHES:
            self._again.append(_Chunk(chunk.files, chunk.num_crashes + 1))
        else:
            self._give_up(chunk.files[0])

    def _give_up(self, file: PendingFile) -> None:
        reason = f"Decoding it ended the process {MAX_CRASHES} times (a damaged file, or not enough memory)."
        path, channels = file.path_bytes.decode("utf-8", "backslashreplace"), self.audit.settings.channels
        _log.warning("%s is given up: %s", path, reason)
        record = record_of(refused_sketch(path, channels, AudioRefusal("undecodable", reason)), {}, self.manifest)
        self.results.put(Result(file.entry_id, None, record, is_known=False))

    def _cancel(self, chunk: _Chunk) -> None:
        if not chunk.is_decoded:
            ray.cancel(chunk.generator)


def _cause(error: RayError) -> RayError:
    """What Ray failed of; what our own code failed of is raised as it was."""
    while isinstance(error, RayTaskError):
        if not isinstance(error.cause, RayError):
            raise error.cause from error
        error = error.cause
    return error

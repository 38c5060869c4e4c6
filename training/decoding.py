"""Recordings of a source to int16 samples with hashes, in processes that bounded numbers of them leave. Writes nothing."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection

import torch

from core.audio import AudioReader, sha256_of
from core.errors import AudioRefusal
from training.data import to_int16
from training.trees import CorpusError, Tree

_CHUNK_FILES, _CHUNK_BYTES = 32, 8 << 20
"""A chunk that goes to a process ends at whichever comes first; 32 files of 4 s come back as 4 MB."""
_CHUNKS_PER_WORKER = 3
"""Chunks under way per process: one decoded, one waiting, one being written. With the chunk's size, the bound on memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedRecording:
    """A recording's samples, or why there are none."""

    samples: bytes
    """Mono int16 at 16 kHz, little endian; empty when refused."""
    sha256: str
    """Of the file's bytes; empty when unreadable."""
    audio_sha256: str
    is_truncated: bool
    """Clearly less came out than the container declares."""
    refusal: str | None
    """Code and sentence, `undecodable: ...`."""


def decode_all(tree: Tree, names: Sequence[str], sizes: dict[str, int], *, num_workers: int) -> Iterator[DecodedRecording]:
    """Decodes files in order.

    Args:
        tree: where they are.
        names: which.
        sizes: name -> bytes, to keep chunks small.
        num_workers: processes; 0 decodes in this one.

    Raises:
        CorpusError: a process died (out of memory, or a decoder crashed).
    """
    if num_workers == 0:
        for name in names:
            yield decode(tree, name)
        return
    # A fork server: forking a process that runs threads (torch, Parquet) can deadlock, and spawning imports torch each time.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.decoding"])
    pending: deque = deque()
    chunks = _chunks(names, sizes)
    with ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            while True:
                while len(pending) < _CHUNKS_PER_WORKER * num_workers and (chunk := next(chunks, None)) is not None:
                    pending.append((chunk, pool.submit(_decode_chunk, tree, chunk)))
                if not pending:
                    return
                chunk, future = pending.popleft()
                yield from future.result()
        except BrokenProcessPool:
            raise CorpusError(
                f"A decoding process died near {tree.described(chunk[0])} (out of memory, or a decoder crashed). "
                "Run the command again to go on; with --workers 0 the file at fault can be found."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def decode(tree: Tree, name: str) -> DecodedRecording:
    """Decodes one file to mono int16 at 16 kHz (`core.audio`). Never raises for audio."""
    sha256, blocks, is_truncated = "", [], False
    try:
        with tree.opened(name) as path:
            sha256 = sha256_of(path)
            reader = AudioReader(path)
            blocks = [to_int16(block[0]).numpy().astype("<i2", copy=False) for block in reader]
            reader.check_mix()
            is_truncated = reader.is_truncated
    except AudioRefusal as refusal:
        reason = f"{refusal.code}: {refusal}"
        return DecodedRecording(samples=b"", sha256=sha256, audio_sha256="", is_truncated=False, refusal=reason)
    samples = b"".join(block.tobytes() for block in blocks)
    return DecodedRecording(
        samples=samples,
        sha256=sha256,
        audio_sha256=hashlib.sha256(samples).hexdigest(),
        is_truncated=is_truncated,
        refusal=None,
    )


def _decode_chunk(tree: Tree, names: Sequence[str]) -> list[DecodedRecording]:
    return [decode(tree, name) for name in names]


def _chunks(names: Iterable[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    chunk, num_bytes = [], 0
    for name in names:
        chunk.append(name)
        num_bytes += sizes.get(name, 0)
        if len(chunk) == _CHUNK_FILES or num_bytes >= _CHUNK_BYTES:
            yield chunk
            chunk, num_bytes = [], 0
    if chunk:
        yield chunk


def _start_worker() -> None:
    torch.set_num_threads(1)
    # Without this a process whose parent was killed waits for work for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)

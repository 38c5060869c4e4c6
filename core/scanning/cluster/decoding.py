"""The cluster's tasks: hash files, decode them into pieces of windows. Plain functions, which Ray runs; they load no network.

Audio travels as windows in shared memory, in pieces of bounded size, so that a recording of ten hours needs no more than others.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from core.audio import Channels, sha256_of
from core.errors import AudioRefusal, ScanError
from core.scanning.places import fetched, is_url
from core.sketches import Decoding, Sketch, refused_sketch

PIECE_WINDOWS = 32
"""Windows per piece: two batches of `core.detect`, 8 MB of float32 for windows of 4 s."""

Place = tuple[int, int, int]
"""Which file of the chunk, which of its channels, which window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Windows of one chunk of files that are to be scored, and the sketches of the files that end with them."""

    windows: np.ndarray
    """`[window, time]` float32."""
    places: tuple[Place, ...]
    sketches: tuple[tuple[int, Sketch], ...]
    """Number of the file in the chunk, and what was found on decoding it."""


def hash_files(folder: str, paths: tuple[bytes, ...]) -> tuple[str | None, ...]:
    """SHA-256 of each file; None where it cannot be read (decoding meets the same refusal and keeps the reason).

    Raises:
        ScanError: this machine does not see the folder, or the place does not answer.
    """
    _check_seen(folder)
    return tuple(_hash(folder, path) for path in paths)


def decode_files(folder: str, paths: tuple[bytes, ...], channels: Channels, window_samples: int) -> Iterator[Piece]:
    """Decodes a chunk of files; every file's sketch comes with or after its last window.

    Raises:
        ScanError: as `hash_files`.
    """
    _check_seen(folder)
    torch.set_num_threads(1)
    windows: list[np.ndarray] = []
    places: list[Place] = []
    sketches: list[tuple[int, Sketch]] = []

    def piece() -> Piece:
        stacked = np.stack(windows) if windows else np.empty((0, window_samples), np.float32)
        made = Piece(windows=stacked, places=tuple(places), sketches=tuple(sketches))
        for items in (windows, places, sketches):
            items.clear()
        return made

    for number, path in enumerate(paths):
        name = os.fsdecode(path)
        try:
            with fetched(folder, path) as local:
                decoding = Decoding(local, channels, window_samples)
                for channel, index, samples in decoding.windows():
                    windows.append(samples.numpy())
                    places.append((number, channel, index))
                    if len(windows) == PIECE_WINDOWS:
                        yield piece()
                sketches.append((number, replace(decoding.sketch(), path=name)))
        except AudioRefusal as refusal:
            sketches.append((number, refused_sketch(name, channels, refusal)))
    yield piece()


def _hash(folder: str, path: bytes) -> str | None:
    try:
        with fetched(folder, path) as local:
            return sha256_of(local)
    except AudioRefusal:
        return None


def _check_seen(folder: str) -> None:
    """A machine that does not see the folder must not refuse all that is in it."""
    if not is_url(folder) and not os.path.isdir(folder):
        raise ScanError(
            f"The machine {socket.gethostname()} of the cluster does not see the folder {folder}. Put the recordings where all "
            "machines see them under the same path, or on object storage (s3://, gs://)."
        )

"""The cluster's actors: each holds a detector and scores pieces of windows."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import torch

from core.detect import BATCH_WINDOWS, Scorer, WindowScore
from core.errors import ScanError
from core.scanning.cluster.decoding import PIECE_WINDOWS, Piece, Place
from core.scanning.cluster.parcels import DetectorParcel, unpack
from core.sketches import Sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPiece:
    """A piece with scores in place of windows."""

    scores: tuple[tuple[Place, WindowScore], ...]
    sketches: tuple[tuple[int, Sketch], ...]


class ScoringActor:
    """A detector in a process of its own.

    Args:
        parcel: the detector.
        on_gpu: whether PyTorch scores on the GPU that Ray gave to this process, or ONNX Runtime on the CPU.
    """

    def __init__(self, parcel: DetectorParcel, on_gpu: bool) -> None:
        torch.set_num_threads(1)
        detector = unpack(parcel)
        if on_gpu and not torch.cuda.is_available():
            raise ScanError(f"{socket.gethostname()} offers a GPU to Ray that PyTorch cannot use; scan without --gpus.")
        self.scorer = Scorer(detector, backend="torch", device="cuda") if on_gpu else Scorer(detector)
        self.batch_windows = PIECE_WINDOWS if on_gpu else BATCH_WINDOWS

    def ready(self) -> str:
        """The machine's name, once the detector is open."""
        return socket.gethostname()

    def score(self, piece: Piece) -> ScoredPiece:
        """Scores a piece in the batches of a scan."""
        found: list[WindowScore] = []
        for first in range(0, len(piece.windows), self.batch_windows):
            # Shared memory is read-only, which PyTorch does not know of.
            batch = torch.from_numpy(piece.windows[first : first + self.batch_windows].copy())
            scores, distances = self.scorer.judge_windows(batch)
            found += map(WindowScore, scores.tolist(), distances.tolist())
        return ScoredPiece(scores=tuple(zip(piece.places, found, strict=True)), sketches=piece.sketches)

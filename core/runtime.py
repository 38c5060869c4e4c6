"""Networks in ONNX Runtime, on the CPU: exported once from a detector's weights and cached by its hash, or made elsewhere."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from core.cache import cache_folder
from core.checkpoints import Detector
from core.detector_config import IMAGE_SIZE
from core.errors import DetectorError
from core.models import WithEmbedding, raw_scores

RawScorer = Callable[[torch.Tensor], torch.Tensor]
"""From what a detector's front end gives, `[batch, ...]`, to raw spoof scores `[batch]`."""

EmbeddingScorer = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""As `RawScorer`, with the embeddings `[batch, size]` beside the scores."""

_EXPORT_VERSION = 2
"""Raised when the export changes, so that older caches are not used."""

# torch.onnx.export crashes the process when an earlier export ran on a thread that has ended (torch 2.11), and the
# dashboard has a thread per rerun: all exports share one thread that lasts.
_EXPORTS = ThreadPoolExecutor(max_workers=1, thread_name_prefix="onnx-export")


def exported_network(detector: Detector) -> Path:
    """The ONNX file of a detector's own network, in the cache; exported when it is not there yet."""
    path = cache_folder() / exported_name(detector)
    if not path.is_file():
        features = detector.manifest.features
        _EXPORTS.submit(_export, detector.load_model(), (features.num_channels, IMAGE_SIZE, IMAGE_SIZE), path).result()
    return path


def exported_name(detector: Detector) -> str:
    """The name of that file."""
    return f"{detector.hash}.{_EXPORT_VERSION}.onnx"


def open_session(detector: Detector, *, num_threads: int = 1) -> RawScorer:
    """A detector's network, ready to run: our own exported to ONNX, or the file of one made elsewhere. Thread-safe.

    Args:
        detector: whose network.
        num_threads: threads within one run; 1 when several threads call it at once.

    Raises:
        DetectorError: the network cannot be opened.
    """
    if network := detector.manifest.network:
        from core.foreign.network import ForeignSession

        foreign = ForeignSession(detector.graph_path, num_threads=num_threads)
        return lambda segments: torch.from_numpy(foreign.scores(network, segments.numpy()))
    session = _own_session(detector, num_threads)

    def run(image: torch.Tensor) -> torch.Tensor:
        (logits,) = session.run(["logits"], {"image": np.ascontiguousarray(image.numpy())})
        return raw_scores(torch.from_numpy(logits))

    return run


def open_embedding_session(detector: Detector, *, num_threads: int = 1) -> EmbeddingScorer:
    """As `open_session`, of our own networks, with the embeddings from the same run.

    Raises:
        DetectorError: the network has no embedding.
    """
    session = _own_session(detector, num_threads)
    if "embedding" not in {output.name for output in session.get_outputs()}:
        raise DetectorError(f"The network of {detector.name} does not end in a linear layer, so that it has no embedding.")

    def run(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, embeddings = session.run(["logits", "embedding"], {"image": np.ascontiguousarray(image.numpy())})
        return raw_scores(torch.from_numpy(logits)), torch.from_numpy(embeddings)

    return run


def embedding_scorer(model: torch.nn.Module) -> EmbeddingScorer:
    """A network in PyTorch, with the embeddings from the same run.

    Raises:
        DetectorError: the network has no embedding.
    """
    both = WithEmbedding(model)

    def run(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, embeddings = both(image)
        return raw_scores(logits.float()), embeddings.float()

    return run


def _own_session(detector: Detector, num_threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # as fast without (measured), and 50 MB less for each thread that scores
    return onnxruntime.InferenceSession(exported_network(detector), options, providers=["CPUExecutionProvider"])


def _export(model: torch.nn.Module, image_shape: tuple[int, int, int], path: Path) -> None:
    """Writes the ONNX file under a temporary name and renames it, so that two processes may export at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    os.close(handle)
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model, outputs = WithEmbedding(model), ["logits", "embedding"]
            except DetectorError:
                outputs = ["logits"]
            program = torch.onnx.export(
                model,
                (torch.zeros(2, *image_shape),),
                input_names=["image"],
                output_names=outputs,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
        program.save(partial)
        os.replace(partial, path)
    finally:
        exporter_log.setLevel(level)
        Path(partial).unlink(missing_ok=True)

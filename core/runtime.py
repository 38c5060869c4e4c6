"""Networks on the CPU in ONNX Runtime, in bfloat16 in OpenVINO: exported once and cached by their hash, or made elsewhere."""

from __future__ import annotations

import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from core.cache import cache_folder
from core.checkpoints import BFLOAT16, Detector
from core.errors import DetectorError
from core.models import WithEmbedding, raw_scores

RawScorer = Callable[[torch.Tensor], torch.Tensor]
"""From what a detector's front end gives, `[batch, ...]`, to raw spoof scores `[batch]`."""

EmbeddingScorer = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""As `RawScorer`, with the embeddings `[batch, size]` beside the scores."""
Infer = Callable[[list[str], np.ndarray], list[np.ndarray]]
"""Names of outputs and images `[batch, channel, row, column]` float32 -> those outputs."""

_EXPORT_VERSION = 3
"""Raised when the export changes, so that older caches are not used."""

_EXPORTING = threading.Lock()  # PyTorch refuses a second export while one is under way (torch 2.11)


def exported_network(detector: Detector) -> Path:
    """The ONNX file of a detector's own network, in the cache; exported when it is not there yet. Of a fusion's, one by one."""
    path = cache_folder() / exported_name(detector)
    with _EXPORTING:
        if not path.is_file():
            _export(detector.load_model(), detector.manifest.features.image_shape, path)
    return path


def exported_name(detector: Detector) -> str:
    """The name of that file."""
    return f"{detector.hash}.{_EXPORT_VERSION}.onnx"


def engine_words(detector: Detector) -> str:
    """What runs a detector's network."""
    return "OpenVINO, bfloat16" if detector.manifest.precision == BFLOAT16 else "ONNX Runtime"


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
    if detector.manifest.branches:
        parts = [(branch, branch.build_front_end(), open_session(branch, num_threads=num_threads)) for branch in detector.branches]
        return lambda samples: sum(branch.branch_weight * run(front_end(samples)) for branch, front_end, run in parts)
    _, infer = _own_network(detector, num_threads)

    def run(image: torch.Tensor) -> torch.Tensor:
        (logits,) = infer(["logits"], np.ascontiguousarray(image.numpy()))
        return raw_scores(torch.from_numpy(logits))

    return run


def open_embedding_session(detector: Detector, *, num_threads: int = 1) -> EmbeddingScorer:
    """As `open_session`, of our own networks, with the embeddings from the same run; of a fusion, the fast network's.

    Raises:
        DetectorError: the network has no embedding.
    """
    if detector.manifest.branches:
        fast, *others = detector.branches
        first, front_end = open_embedding_session(fast, num_threads=num_threads), fast.build_front_end()
        rest = [(other, other.build_front_end(), open_session(other, num_threads=num_threads)) for other in others]

        def run_all(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            raw, embeddings = first(front_end(samples))
            return fast.branch_weight * raw + sum(
                o.branch_weight * network(shown(samples)) for o, shown, network in rest
            ), embeddings

        return run_all
    outputs, infer = _own_network(detector, num_threads)
    if "embedding" not in outputs:
        raise DetectorError(f"The network of {detector.name} does not end in a linear layer, so that it has no embedding.")

    def run(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, embeddings = infer(["logits", "embedding"], np.ascontiguousarray(image.numpy()))
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


def _own_network(detector: Detector, num_threads: int) -> tuple[Collection[str], Infer]:
    """The names of what our network gives, and what runs it."""
    path = exported_network(detector)
    if detector.manifest.precision == BFLOAT16:
        from core.precision.openvino_network import BFloat16Network

        network = BFloat16Network(path, num_threads=num_threads)
        return network.outputs, network.run
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # as fast without (measured), and 50 MB less for each thread that scores
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return {output.name for output in session.get_outputs()}, lambda names, image: session.run(names, {"image": image})


def _export(model: torch.nn.Module, image_shape: tuple[int, int, int], path: Path) -> None:
    """Writes the ONNX file under a temporary name and renames it, so that two processes may export at once."""
    try:
        model, outputs = WithEmbedding(model), ["logits", "embedding"]
    except DetectorError:
        outputs = ["logits"]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    os.close(handle)
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            torch.onnx.export(
                model.eval(),
                (torch.zeros(2, *image_shape),),
                partial,
                input_names=["image"],
                output_names=outputs,
                dynamic_axes={name: {0: "batch"} for name in ("image", *outputs)},
                dynamo=False,  # the newer exporter takes ten times as long (8 s before a first result) for a graph no faster
            )
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)

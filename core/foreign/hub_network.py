"""A hub classifier as one ONNX file: built by `transformers` from safetensors, exported with its front end, compared with itself.

Refuses a network whose weights are not all there, and an export that does not score as the network in PyTorch does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from core.errors import DetectorError
from core.foreign import hub_front_ends as front_ends
from core.foreign.hub_repository import FAMILIES, INSTALL, HubRepository
from core.foreign.network import MAX_BYTES
from core.foreign.records import MIN_WINDOW_SAMPLES
from core.hostile_text import visible
from core.records import SAMPLE_RATE_HZ

OPSET = 17
OUTPUT = "logits"
BONA_FIDE, SPOOF = 0, 1
"""Columns of the output."""
MAX_DIFFERENCE = 1e-3
"""Of logits, between PyTorch and ONNX Runtime, as a share of the largest one (of 1, where that is less)."""
_FRONT_ENDS = {
    "Wav2Vec2FeatureExtractor": front_ends.NormalisedSamples,
    "WhisperFeatureExtractor": front_ends.WhisperMel,
    "ASTFeatureExtractor": front_ends.AstMel,
    "SeamlessM4TFeatureExtractor": front_ends.StackedMel,
}
_NEVER_READ = ("masked_spec_embed",)
"""Weights that training alone uses: their lack is none."""


class HubClassifier:
    """A hub classifier in PyTorch, and what prepares its input.

    Args:
        repository: with its weights fetched.

    Raises:
        DetectorError: transformers is missing, or cannot build the network from these files.
    """

    def __init__(self, repository: HubRepository) -> None:
        self.repository = repository
        try:
            import transformers
        except ImportError:
            raise DetectorError(f"Detectors from the hub need the packages transformers and huggingface_hub: {INSTALL}") from None
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        class_name, extractor_name = FAMILIES[repository.model_type]
        self.extractor = self._opened(getattr(transformers, extractor_name))
        self.model = self._model(getattr(transformers, class_name)).eval()
        self.front_end = _FRONT_ENDS[extractor_name](self.extractor).eval()
        if self.model.config.num_labels != len(repository.labels):
            raise DetectorError(f"{repository.source} has {self.model.config.num_labels} outputs, but names {repository.labels}.")

    @property
    def max_samples(self) -> int | None:
        """Samples at 16 kHz beyond which it hears nothing; None where there is no limit."""
        if isinstance(self.front_end, front_ends.WhisperMel):
            return self.front_end.num_samples
        if isinstance(self.front_end, front_ends.AstMel):
            return (self.front_end.num_frames - 1) * 160 + 400
        return None

    def logits(self, segments: Sequence[np.ndarray]) -> np.ndarray:
        """The logits `[batch, label]` as transformers itself gives them, for segments of one length."""
        prepared = self.extractor(list(segments), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        with torch.inference_mode():
            return self.model(**prepared).logits.numpy()

    def _model(self, model_class: Any) -> nn.Module:
        options = {"use_safetensors": True, "dtype": torch.float32, "attn_implementation": "eager", "output_loading_info": True}
        model, loading = self._opened(model_class, **options)
        missing = sorted(name for name in loading["missing_keys"] if not name.endswith(_NEVER_READ))
        if missing:
            raise DetectorError(
                f"{self.repository.source} lacks {len(missing)} of the weights of a {self.repository.architecture} ({missing[0]}): "
                "it is another network than its config.json says."
            )
        return model

    def _opened(self, kind: Any, **options: Any) -> Any:
        """What `from_pretrained` makes of the folder: local files alone, and no code."""
        from huggingface_hub.errors import StrictDataclassError
        from safetensors import SafetensorError

        refusals = (
            SafetensorError,
            StrictDataclassError,
            OSError,
            ValueError,
            RuntimeError,
            TypeError,
            AttributeError,
            LookupError,
        )
        try:
            return kind.from_pretrained(self.repository.folder, local_files_only=True, trust_remote_code=False, **options)
        except (*refusals, ArithmeticError) as error:
            words = visible(" ".join(str(error).split()))[:200]
            raise DetectorError(
                f"transformers cannot open {self.repository.source} as a {kind.__name__}: {words}. The repository is damaged, or "
                f"of a version that does not fit; {INSTALL} gives the version that this was tested with."
            ) from None


class _SpoofLogits(nn.Module):
    """From samples `[batch, time]` to `[batch, 2]`: log odds of bona fide and of spoof, each over the labels that mean it."""

    def __init__(self, classifier: HubClassifier, spoof: Sequence[int]) -> None:
        super().__init__()
        self.front_end, self.model = classifier.front_end, classifier.model
        self.spoof = list(spoof)
        self.bona_fide = [index for index in range(len(classifier.repository.labels)) if index not in self.spoof]

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        logits = self.model(self.front_end(samples)).logits
        return torch.stack([torch.logsumexp(logits[:, columns], dim=1) for columns in (self.bona_fide, self.spoof)], dim=1)


def export(classifier: HubClassifier, spoof: Sequence[int], path: Path) -> None:
    """Writes the classifier with its front end as an ONNX file, batch and length free.

    Args:
        classifier: the network.
        spoof: which labels mean spoof; the others mean bona fide.
        path: the new file.

    Raises:
        DetectorError: it does not fit into one ONNX file, or cannot be exported.
    """
    wrapped = _SpoofLogits(classifier, spoof).eval()  # the exporter puts back the flag that it finds, and dropout with it
    num_bytes = 4 * sum(parameter.numel() for parameter in wrapped.parameters())
    if num_bytes > MAX_BYTES:
        raise DetectorError(
            f"{classifier.repository.source} has {num_bytes // 4:,} parameters of 32 bits; an ONNX file holds {MAX_BYTES // 4:,}."
        )
    samples = torch.from_numpy(np.stack(_sounds(2, 2 * MIN_WINDOW_SAMPLES)))
    try:
        with warnings.catch_warnings(action="ignore"), torch.inference_mode():
            torch.onnx.export(
                wrapped,
                (samples,),
                str(path),
                input_names=["samples"],
                output_names=[OUTPUT],
                dynamic_axes={"samples": {0: "batch", 1: "time"}, OUTPUT: {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,  # as for our own networks, see `core.runtime`
            )
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DetectorError(f"{classifier.repository.source} cannot be exported to ONNX: {words}") from None


def check_parity(classifier: HubClassifier, spoof: Sequence[int], path: Path, window_samples: int) -> float:
    """The largest difference of logits between transformers and the exported file, over several lengths and batches.

    Raises:
        DetectorError: it is larger than `MAX_DIFFERENCE`.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    lengths = {max(MIN_WINDOW_SAMPLES, window_samples // 2 + 77), window_samples, window_samples * 5 // 4}
    for num, length in enumerate(sorted(min(length, classifier.max_samples or length) for length in lengths), start=1):
        segments = _sounds(num, length)
        (found,) = session.run([OUTPUT], {"samples": np.stack(segments)})
        logits = classifier.logits(segments).astype(np.float64)
        bona_fide = np.delete(logits, list(spoof), axis=1)
        expected = np.stack([np.logaddexp.reduce(columns, axis=1) for columns in (bona_fide, logits[:, list(spoof)])], axis=1)
        difference = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
        if not difference <= MAX_DIFFERENCE:  # NaN too
            raise DetectorError(
                f"{classifier.repository.source} is not imported: on {length:,} samples its logits in ONNX Runtime differ from "
                f"those in PyTorch by {difference:.2g} of the largest; expected at most {MAX_DIFFERENCE:g}."
            )
        largest = max(largest, difference)
    return largest


def _sounds(num: int, length: int) -> list[np.ndarray]:
    """So many different chords in noise, `[time]` float32."""
    time_s = np.arange(length) / SAMPLE_RATE_HZ
    rng = np.random.default_rng(0)
    return [
        (
            sum(0.05 * np.sin(2 * math.pi * (110 + 70 * index) * partial * time_s) / partial for partial in range(1, 12))
            + 0.01 * rng.standard_normal(length)
        ).astype(np.float32)
        for index in range(num)
    ]

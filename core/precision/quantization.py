"""A detector's network in 8-bit integers, as a detector of its own: faster, with slightly other scores of its own.

Ranges of activations come from the shipped samples, so that the same detector gives the same file on every machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx.utils
import onnxruntime.quantization as quantization
import torch

from core.audio import EXTENSIONS, load
from core.checkpoints import Detector
from core.detector_config import CLASS_ORDER
from core.errors import AudioRefusal, DetectorError
from core.foreign.detector_import import import_detector
from core.foreign.records import Declaration
from core.runtime import exported_network
from core.scanning.browse import SAMPLES_FOLDER
from core.segments import WindowStream


def quantize_detector(detector: Detector, name: str, *, out: Path | None = None) -> Detector:
    """Writes the detector's network with 8-bit weights and activations as a new detector.

    Calibration, thresholds and aggregate are the first one's; figures are not, they have to be measured anew.

    Args:
        detector: one of ours.
        name: the new detector's.
        out: folder in which its folder is made; the one of installed detectors when None.

    Raises:
        DetectorError: a network made elsewhere, whose front end has several channels, or a name that is taken.
    """
    manifest = detector.manifest
    if detector.is_foreign or manifest.branches or manifest.features.num_channels > 1:
        raise DetectorError(f"{detector.name} cannot be quantised: only single networks of ours with an image of one channel can.")
    spoof, bona_fide = CLASS_ORDER.index("spoof"), CLASS_ORDER.index("bona fide")
    declared = Declaration(
        input=manifest.features.kind,
        column=spoof,
        minus=bona_fide,
        aggregate=manifest.aggregate,
        calibration=manifest.calibration,
        thresholds=manifest.thresholds,
    )
    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        path = Path(folder, f"{detector.name}.int8.onnx")
        _quantize(exported_network(detector), _images(detector), path)
        summary = f"{detector.name} ({detector.hash[:12]}) in 8-bit integers. {manifest.summary}"
        return import_detector(path, name, declared, out=out, summary=summary)


def _quantize(network: Path, images: np.ndarray, path: Path) -> None:
    scores_alone, prepared = path.with_suffix(".scores.onnx"), path.with_suffix(".prepared.onnx")
    # The embedding's mean would be put into integers too, and its scale into the layers before it.
    onnx.utils.extract_model(str(network), str(scores_alone), ["image"], ["logits"])
    quantization.quant_pre_process(str(scores_alone), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(path),
        _Images(images),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        # 7 bits: processors without VNNI add products of 8 by 8 bits in 16 and cut off what does not fit.
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


class _Images(quantization.CalibrationDataReader):
    """Hands out one image after the other, as the quantiser wants it."""

    def __init__(self, images: np.ndarray) -> None:
        self._batches: Iterator[dict[str, np.ndarray]] = iter([{"image": images[i : i + 1]} for i in range(len(images))])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch; None at the end."""
        return next(self._batches, None)


@torch.inference_mode()
def _images(detector: Detector) -> np.ndarray:
    """What the detector sees of the shipped samples, `[window, 1, 224, 224]`."""
    windows = []
    for path in sorted(path for path in SAMPLES_FOLDER.rglob("*") if path.suffix in EXTENSIONS):
        stream = WindowStream(detector.manifest.window_samples)
        try:
            windows += [window for _, window in [*stream.push(load(path)[0]), *stream.finish()]]
        except AudioRefusal:
            continue
    return detector.build_front_end()(torch.stack(windows)).numpy()

"""Networks of ours in bfloat16, by OpenVINO: several times as fast on processors that compute in it.

OpenVINO is not among the requirements, and is loaded by whoever runs such a network alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import DetectorError

if TYPE_CHECKING:
    import openvino


class BFloat16Network:
    """An ONNX file, run in bfloat16, or in float32 on a processor without it. Safe to share between threads.

    An image's outputs are the same to the bit whatever it shares a batch with (measured).

    Args:
        path: the file.
        num_threads: threads within one run.

    Raises:
        DetectorError: OpenVINO is not installed, or cannot run the network.
    """

    def __init__(self, path: Path, *, num_threads: int = 1) -> None:
        sys.modules.setdefault("openvino_telemetry", None)  # on import it would report to its makers; OpenVINO does without it
        try:
            import openvino
        except ImportError:
            raise DetectorError("A detector in bfloat16 needs OpenVINO: pip install -r requirements-openvino.txt") from None
        self._core, self._path = openvino.Core(), path
        self._options = {
            "INFERENCE_PRECISION_HINT": "bf16" if "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32",
            "INFERENCE_NUM_THREADS": num_threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # the threads that call it decode meanwhile
        }
        request = self._opened()
        self.outputs = frozenset(output.any_name for output in request.model_outputs)
        """Names of what comes out."""
        self._idle = [request]

    def run(self, names: Sequence[str], image: np.ndarray) -> list[np.ndarray]:
        """The named outputs, float32, for images `[batch, channel, row, column]`."""
        try:
            request = self._idle.pop()
        except IndexError:  # others are running theirs
            request = self._opened()
        made = request.infer({"image": image})
        self._idle.append(request)
        return [made[name] for name in names]

    def _opened(self) -> openvino.InferRequest:
        try:
            return self._core.compile_model(str(self._path), "CPU", self._options).create_infer_request()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DetectorError(f"{self._path} cannot be run by OpenVINO: {reason}") from None

"""Networks made elsewhere: an ONNX file, checked and run on the CPU as `ForeignNetwork` says.

Refuses files that reach outside themselves; knows nothing of folders, calibration and verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxruntime.capi.onnxruntime_pybind11_state as refusals
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from core.errors import DetectorError
from core.foreign.records import ForeignNetwork

MAX_BYTES = 2**31 - 1
"""What a protobuf, and so an ONNX file that stands alone, can hold."""
# What ONNX Runtime raises for a graph, or an input, that it cannot work with.
_REFUSALS = (
    refusals.Fail,
    refusals.InvalidArgument,
    refusals.InvalidGraph,
    refusals.InvalidProtobuf,
    refusals.NotImplemented,
    refusals.RuntimeException,
)
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An input or output of a graph; a dimension without a fixed length is None."""

    name: str
    shape: tuple[int | None, ...]

    def words(self) -> str:
        """Name and shape, e.g. `wave [any, 64600]`."""
        return f"{self.name} [{', '.join('any' if size is None else str(size) for size in self.shape)}]"


class ForeignSession:
    """An ONNX file made elsewhere, opened. Safe to run from several threads.

    Args:
        path: the file.
        num_threads: threads within one run.

    Raises:
        DetectorError: it is too large, no ONNX, reaches outside itself, or this ONNX Runtime cannot run it.
    """

    def __init__(self, path: Path, *, num_threads: int = 1) -> None:
        self.path = path
        graph = _read_graph(path)
        self.producer = f"{graph.producer_name} {graph.producer_version}".strip()
        """The program that wrote the file, as it says; may be empty."""
        self.opsets = {entry.domain or "ai.onnx": entry.version for entry in graph.opset_import}
        del graph  # as large as the file
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is told by the exception
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except _REFUSALS as error:
            raise DetectorError(f"{path} cannot be run by ONNX Runtime {onnxruntime.__version__}: {_first_line(error)}") from None

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """What must be fed."""
        return tuple(_slot(value) for value in self._session.get_inputs())

    @property
    def outputs(self) -> tuple[Slot, ...]:
        """What comes out, of floating-point numbers: others, such as the number of a class, hold no score."""
        return tuple(_slot(value) for value in self._session.get_outputs() if value.type in _DTYPES)

    def values(self, network: ForeignNetwork, segments: np.ndarray) -> np.ndarray:
        """The values that the named output gives for each segment, `[batch, value]` float64.

        Args:
            network: how it is fed and read.
            segments: samples `[batch, time]` or images `[batch, channel, row, column]`.

        Raises:
            DetectorError: the network refuses its input, or gives something else than a row of values per segment.
        """
        value = self._session.get_inputs()[0]
        fed = segments.reshape(len(segments), *network.input_shape)
        fed = np.ascontiguousarray(fed, dtype=_DTYPES.get(value.type, np.float32))
        parts = [fed] if network.is_batched else np.split(fed, len(fed))
        try:
            made = [self._session.run([network.output_name], {value.name: part})[0] for part in parts]
        except _REFUSALS as error:
            raise DetectorError(f"{self.path} fails on an input of shape {list(parts[0].shape)}: {_first_line(error)}") from None
        return np.concatenate([self._rows(output, len(part)) for output, part in zip(made, parts, strict=True)])

    def scores(self, network: ForeignNetwork, segments: np.ndarray) -> np.ndarray:
        """Raw spoof scores `[batch]` float32 of segments: the declared value, turned so that higher means spoof."""
        values = self.values(network, segments)
        if values.shape[1] <= max(network.column, network.minus or 0):
            wanted = f"value {max(network.column, network.minus or 0)}, counted from 0, is to be read"
            raise DetectorError(f"output {network.output_name!r} of {self.path} gives {values.shape[1]} value(s); {wanted}.")
        scores = values[:, network.column] - (0 if network.minus is None else values[:, network.minus])
        return (scores if network.higher_means == "spoof" else -scores).astype(np.float32)

    def _rows(self, output: np.ndarray, num: int) -> np.ndarray:
        """An output as `[segment, value]`; for one segment the batch may be missing."""
        sizes = [size for size in (output.shape[1:] if output.shape[:1] == (num,) else output.shape) if size > 1]
        if output.size == 0 or output.size % num or len(sizes) > 1 or (num > 1 and output.shape[:1] != (num,)):
            expected = f"expected one row of values for each of {num} segment(s)"
            raise DetectorError(f"{self.path} gives an output of shape {list(output.shape)}; {expected}.")
        return output.reshape(num, -1).astype(np.float64)


def _read_graph(path: Path) -> onnx.ModelProto:
    """The parsed file; its tensors must lie in it, so that what was hashed is all that is run."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DetectorError(f"{path} has {size:,} bytes; an ONNX file that stands alone has at most {MAX_BYTES:,}.")
        graph = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise DetectorError(f"{path} cannot be read: {error.strerror or error}.") from None
    except DecodeError:
        raise DetectorError(f"{path} is not an ONNX file: it does not parse as one.") from None
    if not graph.graph.node:
        raise DetectorError(f"{path} is not an ONNX file of a network: it has no nodes.")
    for tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            where = next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
            raise DetectorError(
                f"{path} keeps the tensor {tensor.name!r} in {where!r}; only files that hold all their weights are taken. "
                "Save it as one file: onnx.save_model(onnx.load(path), path, save_as_external_data=False)."
            )
    return graph


def _tensors(message: Message) -> Iterator[onnx.TensorProto]:
    """Every tensor in a message, in whatever subgraph, attribute or function it lies."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, content in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in [content] if isinstance(content, Message) else content:
                yield from _tensors(part)


def _slot(value: onnxruntime.NodeArg) -> Slot:
    if value.type not in _DTYPES:
        raise DetectorError(f"the network's {value.name!r} is a {value.type}; expected floating-point numbers")
    return Slot(name=value.name, shape=tuple(size if isinstance(size, int) else None for size in value.shape))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

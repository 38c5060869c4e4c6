"""Tiny ONNX networks as others might make them: level detectors whose score follows by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.array([[-40.0, 60.0]], dtype=np.float32)
BIAS = np.array([1.0, -2.0], dtype=np.float32)


def write_level_network(
    path: Path, *, shape: Sequence[int | str] = ("batch", 8_000), opset: int = 17, dtype: int = TensorProto.FLOAT, **changes: object
) -> Path:
    """Writes the network `mean |samples| @ WEIGHTS + BIAS`, `[batch, 2]`, over all but the first dimension.

    Args:
        path: the new file.
        shape: of the input.
        opset: version of the operators.
        dtype: of the input and everything else.
        changes: `nodes` in front of it (from `wave` to `fed`), more `inputs`, more `outputs`, `initializers`.
    """
    nodes = list(changes.get("nodes", [helper.make_node("Identity", ["wave"], ["fed"])]))
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    nodes += [
        helper.make_node("Abs", ["fed"], ["magnitude"]),
        helper.make_node("Flatten", ["magnitude"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["level"], axes=[1], keepdims=1),
        helper.make_node("Gemm", ["level", "weights", "bias"], ["logits"]),
    ]
    initializers = [numpy_helper.from_array(WEIGHTS.astype(kind), "weights"), numpy_helper.from_array(BIAS.astype(kind), "bias")]
    batch = shape[0] if shape else "batch"
    inputs = [helper.make_tensor_value_info("wave", dtype, list(shape)), *changes.get("inputs", ())]
    outputs = [helper.make_tensor_value_info("logits", dtype, [batch, 2]), *changes.get("outputs", ())]
    graph = helper.make_graph(nodes, "level", inputs, outputs, initializer=[*initializers, *changes.get("initializers", ())])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="by-hand", ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def logits_by_hand(samples: np.ndarray) -> np.ndarray:
    """What the network gives for segments `[batch, ...]`, `[batch, 2]`."""
    level = np.abs(samples.reshape(len(samples), -1).astype(np.float64)).mean(axis=1, keepdims=True)
    return level @ WEIGHTS.astype(np.float64) + BIAS


def with_external_weights(path: Path) -> Path:
    """The same file with one tensor that claims to lie in `../secret.bin`, inside the branch of an If."""
    model = onnx.load(path)
    tensor = numpy_helper.from_array(np.zeros(2, dtype=np.float32), "elsewhere")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["branch"], value=tensor)],
        "branch",
        [],
        [helper.make_tensor_value_info("branch", TensorProto.FLOAT, [2])],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    model.graph.node.append(helper.make_node("If", ["always"], ["unused"], then_branch=branch, else_branch=branch))
    path.write_bytes(model.SerializeToString())
    return path

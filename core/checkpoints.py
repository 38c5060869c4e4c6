"""Detectors on disk: a folder of `weights.safetensors` and `detector.json`, named by its content hash.

Nothing here unpickles: weights are safetensors, everything else is JSON that is validated field by field.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from core.calibration import Calibration, Thresholds
from core.errors import DetectorError
from core.features import FeatureConfig
from core.models import CLASS_ORDER, MODELS, build_model

SCHEMA_VERSION = 1
SHIPPED_DETECTORS = Path(__file__).parents[1] / "data" / "detectors"
"""Where the detectors that come with Earwitness lie."""
AGGREGATES = ("mean", "max")
"""How a recording's score follows from its segments': `mean` for speech of one kind, `max` for spliced speech."""
MAX_MEMBERS = 16
_WEIGHTS, _MANIFEST = "weights.safetensors", "detector.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure of merit of a detector."""

    split: str
    """Which data, e.g. `test`."""
    name: str
    """E.g. `EER`, `EER within sources`, `EER griffin-lim`."""
    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    num_bona_fide: int
    num_spoof: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorManifest:
    """Everything about a detector but its weights; the content of `detector.json`."""

    name: str
    """Short name, unique among installed detectors."""
    summary: str
    """One sentence for the analyst."""
    model: str
    """Key of `core.models.MODELS`."""
    features: FeatureConfig
    aggregate: str
    """One of `AGGREGATES`."""
    num_members: int = 1
    """Networks whose logits are averaged (`core.models.Ensemble`)."""
    calibration: Calibration
    thresholds: Thresholds
    provenance: dict[str, Any]
    """Recipe, seed, data hash, code revision, versions, date: what is needed to make it again."""
    figures: tuple[Figure, ...] = ()
    class_order: tuple[str, ...] = CLASS_ORDER
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise DetectorError(f"detector.json has schema version {self.schema_version}; this program reads {SCHEMA_VERSION}")
        if self.model not in MODELS:
            raise DetectorError(f"the detector needs model {self.model!r}; this program has {', '.join(MODELS)}")
        if not 1 <= self.num_members <= MAX_MEMBERS:
            raise DetectorError(f"the detector has {self.num_members} networks; expected 1 to {MAX_MEMBERS}")
        if self.aggregate not in AGGREGATES:
            raise DetectorError(f"unknown aggregate {self.aggregate!r}; expected one of {', '.join(AGGREGATES)}")
        if tuple(self.class_order) != CLASS_ORDER:
            raise DetectorError(f"the detector's classes are {self.class_order}; expected {CLASS_ORDER}")


@dataclass(frozen=True)
class Detector:
    """An installed detector: where it lies, what it says of itself, and the hash that names it."""

    folder: Path
    manifest: DetectorManifest
    hash: str
    """SHA-256 over `detector.json` and the weights."""

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

    @cached_property
    def card(self) -> str:
        """The model card, Markdown; empty when the folder holds none."""
        path = self.folder / "README.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def load_model(self) -> torch.nn.Module:
        """The network with its weights, in evaluation mode, on the CPU.

        Raises:
            DetectorError: the weights are damaged or of another network.
        """
        model = build_model(self.manifest.model, num_members=self.manifest.num_members)
        try:
            model.load_state_dict(load_file(self.folder / _WEIGHTS))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise DetectorError(f"{self.folder / _WEIGHTS} does not hold the weights of a {self.manifest.model}: {error}") from None
        return model.eval()


def save_detector(folder: Path, model: torch.nn.Module, manifest: DetectorManifest) -> Detector:
    """Writes a new detector folder, complete or not at all.

    Raises:
        DetectorError: the folder is there already.
    """
    if folder.exists():
        raise DetectorError(f"{folder} is there already; choose another name or remove it first.")
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True)
    try:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, partial / _WEIGHTS)
        (partial / _MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
        os.replace(partial, folder)
    except BaseException:
        for path in partial.iterdir():
            path.unlink()
        partial.rmdir()
        raise
    return load_detector(folder)


def load_detector(folder: Path) -> Detector:
    """Reads a detector folder; the weights are hashed, not yet loaded.

    Raises:
        DetectorError: something is missing, damaged, of another version, or pickled.
    """
    pickled = [path.name for path in folder.glob("*") if path.suffix in (".pt", ".pth", ".pkl", ".ckpt", ".bin", ".npy")]
    if pickled:
        raise DetectorError(f"{folder} holds {pickled[0]}, a format that can run code when opened; only safetensors are loaded.")
    missing = [name for name in (_WEIGHTS, _MANIFEST) if not (folder / name).is_file()]
    if missing:
        raise DetectorError(f"{folder} is not a detector: {' and '.join(missing)} missing.")
    text = (folder / _MANIFEST).read_bytes()
    digest = hashlib.sha256(text)
    digest.update((folder / _WEIGHTS).read_bytes())
    return Detector(folder=folder, manifest=_parse_manifest(text, folder), hash=digest.hexdigest())


def find_detectors() -> tuple[Detector, ...]:
    """All detectors in `data/detectors` and in the folder named by `EARWITNESS_DETECTORS`, by name.

    Raises:
        DetectorError: one of them is damaged, or two share a name.
    """
    roots = [SHIPPED_DETECTORS] + [Path(root) for root in [os.environ.get("EARWITNESS_DETECTORS")] if root]
    folders = [path for root in roots if root.is_dir() for path in sorted(root.iterdir()) if path.is_dir()]
    found: dict[str, Detector] = {}
    for detector in map(load_detector, folders):
        if detector.name in found:
            raise DetectorError(f"two detectors are called {detector.name!r}: {found[detector.name].folder} and {detector.folder}")
        found[detector.name] = detector
    return tuple(found[name] for name in sorted(found))


def detector_named(name: str | None = None) -> Detector:
    """The detector of that name, hash prefix (8 characters or more) or folder; the default one for None.

    The default is `EARWITNESS_DETECTOR`, else `DEFAULT_DETECTOR`.

    Raises:
        DetectorError: there is none.
    """
    name = name or os.environ.get("EARWITNESS_DETECTOR") or DEFAULT_DETECTOR
    if os.sep in name:
        return load_detector(Path(name))
    detectors = find_detectors()
    for detector in detectors:
        if detector.name == name or (len(name) >= 8 and detector.hash.startswith(name)):
            return detector
    installed = ", ".join(detector.name for detector in detectors) or "none"
    raise DetectorError(f"No detector is called {name!r}; installed: {installed}. `python -m core detectors` lists them.")


DEFAULT_DETECTOR = "vgg27-spectrogram"
"""Name of the detector used when none is chosen."""


def _parse_manifest(text: bytes, folder: Path) -> DetectorManifest:
    try:
        fields = json.loads(text)
        return DetectorManifest(
            **fields
            | {
                "features": FeatureConfig(**fields["features"]),
                "calibration": Calibration(**fields["calibration"]),
                "thresholds": Thresholds(**fields["thresholds"]),
                "figures": tuple(Figure(**figure) for figure in fields.get("figures", ())),
                "class_order": tuple(fields["class_order"]),
            }
        )
    except (ValueError, TypeError, KeyError) as error:
        raise DetectorError(f"{folder / _MANIFEST} is damaged or of another version: {error}") from None

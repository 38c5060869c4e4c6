"""Detectors on disk: a folder of `detector.json` and `weights.safetensors` or `model.onnx`, named by its content hash.

Nothing here unpickles: weights are safetensors or ONNX, everything else is JSON that is validated field by field. Torch
is imported by what builds or saves a network alone, so that whoever lists detectors starts quickly.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.calibration import Calibration, Thresholds
from core.detector_config import CLASS_ORDER, FUSION, MODEL_NAMES, WINDOW_SAMPLES, Branch, FeatureConfig
from core.errors import DetectorError
from core.foreign.records import ForeignNetwork
from core.records import SAMPLE_RATE_HZ
from core.whole_files import whole_folder

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1
SHIPPED_DETECTORS = Path(__file__).parents[1] / "data" / "detectors"
"""Where the detectors that come with Earwitness lie."""
AGGREGATES = ("mean", "max")
"""How a recording's score follows from its segments': `mean` for speech of one kind, `max` for spliced speech."""
MAX_MEMBERS = 16
FLOAT32, BFLOAT16 = "float32", "bfloat16"
"""What a network of ours computes with on scoring."""
FOREIGN = "onnx"
"""`DetectorManifest.model` of a network made elsewhere."""
_WEIGHTS, _GRAPH, _MANIFEST = "weights.safetensors", "model.onnx", "detector.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LARGE_BYTES = 2**25
"""Files from here on are hashed once per process and state of the file: 32 MiB take longer than the clock's grain."""


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
    """Key of `core.models.MODELS`, `FUSION` or `FOREIGN`."""
    features: FeatureConfig | None
    """None of a fusion, and where a network made elsewhere takes the samples themselves."""
    aggregate: str
    """One of `AGGREGATES`."""
    num_members: int = 1
    """Networks whose logits are averaged (`core.models.Ensemble`)."""
    precision: str = FLOAT32
    """`FLOAT32` or `BFLOAT16`; a network made elsewhere computes as its file says."""
    calibration: Calibration | None
    """None where scores are as the network gives them: they rank recordings and have no scale."""
    thresholds: Thresholds | None
    """None where every verdict is inconclusive."""
    branches: tuple[Branch, ...] = ()
    """Of a fusion: its networks, the fast one first."""
    num_second_pass: int = 0
    """Of a fusion: how many windows of a channel all networks judge (`core.fusion.SecondPass`); 0 for all."""
    network: ForeignNetwork | None = None
    """How a network made elsewhere is fed and read; None for ours."""
    provenance: dict[str, Any]
    """Recipe, seed, data hash, code revision, versions, date: what is needed to make it again."""
    figures: tuple[Figure, ...] = ()
    class_order: tuple[str, ...] = CLASS_ORDER
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise DetectorError(f"detector.json has schema version {self.schema_version}; this program reads {SCHEMA_VERSION}")
        has_features = self.features is not None or self.model == FUSION
        if self.network is None and not (has_features and self.calibration and self.thresholds):
            raise DetectorError("a detector of our own needs features, calibration and thresholds")
        if (self.model == FUSION) is not (len(self.branches) > 1):
            raise DetectorError(f"a detector of model {self.model!r} has {len(self.branches)} branches; a fusion has at least 2")
        if self.num_second_pass < 0 or self.num_second_pass == 1 or (self.num_second_pass and not self.branches):
            raise DetectorError(f"num_second_pass is {self.num_second_pass}; expected 0, or at least 2 of a fusion")
        if (self.model == FOREIGN) is not (self.network is not None):
            raise DetectorError(f"the detector's model is {self.model!r}; `network` belongs to model {FOREIGN!r} and to no other")
        for model in (self.model, *(branch.model for branch in self.branches)):
            if model not in (*MODEL_NAMES, FUSION, FOREIGN):
                _check_model(model)
        if not 1 <= self.num_members <= MAX_MEMBERS:
            raise DetectorError(f"the detector has {self.num_members} networks; expected 1 to {MAX_MEMBERS}")
        if self.precision not in (FLOAT32, BFLOAT16) or (self.network is not None and self.precision != FLOAT32):
            raise DetectorError(
                f"the detector's precision is {self.precision!r}; expected {FLOAT32}, or {BFLOAT16} for one of ours"
            )
        if self.aggregate not in AGGREGATES:
            raise DetectorError(f"unknown aggregate {self.aggregate!r}; expected one of {', '.join(AGGREGATES)}")
        if tuple(self.class_order) != CLASS_ORDER:
            raise DetectorError(f"the detector's classes are {self.class_order}; expected {CLASS_ORDER}")

    @property
    def window_samples(self) -> int:
        """Samples at 16 kHz that the detector sees at once."""
        return self.network.window_samples if self.network else WINDOW_SAMPLES

    @property
    def window_s(self) -> float:
        """The same in seconds."""
        return self.window_samples / SAMPLE_RATE_HZ

    @property
    def input_words(self) -> str:
        """What the network is shown: the kinds of features, or `samples`."""
        kinds = [branch.features.kind for branch in self.branches] or [self.features.kind if self.features else "samples"]
        return " and ".join(kinds)

    @property
    def score_words(self) -> str:
        """What its scores are called, with their unit."""
        return "Spoof score (nats)" if self.calibration else "Spoof score (not calibrated)"


@dataclass(frozen=True)
class Detector:
    """An installed detector: where it lies, what it says of itself, and the hash that names it."""

    folder: Path
    manifest: DetectorManifest
    hash: str
    """SHA-256 over `detector.json` and the weights (or `model.onnx`), and over what makes it thorough."""
    branch: int | None = None
    """Which network of a fusion this is, where it is one by itself (`branches`)."""
    network_hash: str | None = None
    """The hash that its exported networks go by, where it is another than `hash`."""
    branch_weight: float = 1.0
    """What that network's raw score is multiplied by in the fusion's sum."""

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

    @cached_property
    def card(self) -> str:
        """The model card, Markdown; empty when the folder holds none."""
        path = self.folder / "README.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @property
    def is_shipped(self) -> bool:
        """Whether it came with Earwitness, so that `data/results` has its scores."""
        return self.folder.parent == SHIPPED_DETECTORS

    @property
    def is_foreign(self) -> bool:
        """Whether the network was made elsewhere: it scores, and cannot be looked into."""
        return self.manifest.network is not None

    @property
    def graph_path(self) -> Path:
        """Where the ONNX file of a network made elsewhere lies."""
        return self.folder / _GRAPH

    @cached_property
    def branches(self) -> tuple[Detector, ...]:
        """The networks of a fusion as detectors of their own, the fast one first; the detector itself where it is none.

        Their calibrations give what they contribute to the sum, in nats.
        """
        if not self.manifest.branches:
            return (self,)
        whole = self.manifest.calibration
        return tuple(
            replace(
                self,
                hash=f"{self.network_hash or self.hash}.{number}",
                branch=number,
                branch_weight=branch.weight,
                manifest=replace(
                    self.manifest,
                    model=branch.model,
                    features=branch.features,
                    branches=(),
                    num_second_pass=0,
                    calibration=replace(whole, slope=whole.slope * branch.weight, offset=0.0),
                ),
            )
            for number, branch in enumerate(self.manifest.branches)
        )

    @cached_property
    def thorough(self) -> Detector:
        """The same detector with every window judged by all networks: another identity, since long recordings score otherwise."""
        if not self.manifest.num_second_pass:
            return self
        manifest = replace(self.manifest, name=f"{self.name}-thorough", num_second_pass=0)
        digest = hashlib.sha256(f"{self.hash} thorough".encode()).hexdigest()
        return replace(self, manifest=manifest, hash=digest, network_hash=self.hash)

    def build_front_end(self) -> torch.nn.Module:
        """From windows `[batch, time]` to what the network is shown: feature images, or the samples themselves."""
        import torch

        from core.features import build_front_end

        return build_front_end(self.manifest.features) if self.manifest.features else torch.nn.Identity()

    def load_model(self) -> torch.nn.Module:
        """The network with its weights, in evaluation mode, on the CPU.

        Raises:
            DetectorError: the weights are damaged or of another network, or the network was made elsewhere.
        """
        if self.is_foreign:
            raise DetectorError(
                f"{self.name} was made elsewhere and came as an ONNX graph: it scores recordings, but its layers, weights and "
                "gradients cannot be looked into. Choose a detector that was trained with Earwitness, or a run."
            )
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from core.models import build_model

        if self.manifest.branches:
            from core.fusion import Fusion

            model = Fusion(self.manifest.branches)
        else:
            model = build_model(self.manifest.model, num_members=self.manifest.num_members)
        prefix = "" if self.branch is None else f"networks.{self.branch}."
        try:
            tensors = load_file(self.folder / _WEIGHTS)
            model.load_state_dict({name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)})
        except (SafetensorError, RuntimeError, OSError) as error:
            raise DetectorError(f"{self.folder / _WEIGHTS} does not hold the weights of a {self.manifest.model}: {error}") from None
        return model.eval()


def save_detector(folder: Path, network: torch.nn.Module | Path, manifest: DetectorManifest, *, card: str = "") -> Detector:
    """Writes a new detector folder, complete or not at all.

    Args:
        folder: the new folder.
        network: our network, or the ONNX file of one made elsewhere, which is copied.
        manifest: everything else.
        card: the model card, Markdown.

    Raises:
        DetectorError: the folder is there already, or cannot be written.
    """
    if folder.exists():
        raise DetectorError(f"{folder} is there already; choose another name or remove it first.")
    try:
        with whole_folder(folder) as partial:
            if isinstance(network, Path):
                shutil.copyfile(network, partial / _GRAPH)
            else:
                from safetensors.torch import save_file

                save_file(_as_stored(network), partial / _WEIGHTS)
            (partial / _MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
            if card:
                (partial / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        raise DetectorError(f"{folder} cannot be written: {error.strerror}. Choose a folder that can, with space.") from None
    return load_detector(folder)


def _as_stored(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A network's tensors: Whisper's blocks, published in float16, and the heads on them in that; all others as they are."""
    of_whisper = re.compile(r"(^|\.)(encoder|heads)\..*\.(weight|bias)$")
    return {
        name: (tensor.half() if of_whisper.search(name) else tensor).contiguous() for name, tensor in network.state_dict().items()
    }


def name_problem(name: str, out: Path) -> str | None:
    """Why a new detector cannot have this name in this folder, as a sentence; None when it can.

    Raises:
        DetectorError: an installed detector is damaged.
    """
    if not _NAME.fullmatch(name):
        return f"{name!r} cannot be a detector's name: up to 64 letters, digits, dots, dashes and underscores."
    if (out / name).exists() or name in {detector.name for detector in find_detectors()}:
        return f"There is a detector {name!r} already; choose another name, or remove {out / name} first."
    return None


def load_detector(folder: Path) -> Detector:
    """Reads a detector folder; the weights are hashed, not yet loaded.

    Raises:
        DetectorError: something is missing, damaged, of another version, or pickled.
    """
    pickled = [path.name for path in folder.glob("*") if path.suffix in (".pt", ".pth", ".pkl", ".ckpt", ".bin", ".npy")]
    if pickled:
        raise DetectorError(f"{folder} holds {pickled[0]}, a format that can run code when opened; only safetensors are loaded.")
    network = _GRAPH if (folder / _GRAPH).is_file() else _WEIGHTS
    missing = [name for name in (network, _MANIFEST) if not (folder / name).is_file()]
    if missing:
        raise DetectorError(f"{folder} is not a detector: {' and '.join(missing)} missing.")
    text = (folder / _MANIFEST).read_bytes()
    manifest = _parse_manifest(text, folder)
    if (manifest.network is not None) is not (network == _GRAPH):
        raise DetectorError(f"{folder}: detector.json and {network} do not belong together; one is of a network made elsewhere.")
    return Detector(folder=folder, manifest=manifest, hash=_identity(text, folder / network))


def find_detectors() -> tuple[Detector, ...]:
    """All detectors in `data/detectors` and in the folder named by `EARWITNESS_DETECTORS`, by name.

    Raises:
        DetectorError: one of them is damaged, or two share a name.
    """
    named = os.environ.get("EARWITNESS_DETECTORS")
    roots = {root.resolve(): root for root in (SHIPPED_DETECTORS, *([Path(named)] if named else ())) if root.is_dir()}
    inside = (path for root in roots.values() for path in sorted(root.iterdir()))
    folders = [path for path in inside if path.is_dir() and path.name[0] != "."]
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
    for detector in [known for found in detectors for known in (found, found.thorough)]:
        if detector.name == name or (len(name) >= 8 and detector.hash.startswith(name)):
            return detector
    installed = ", ".join(detector.name for detector in detectors) or "none"
    raise DetectorError(f"No detector is called {name!r}; installed: {installed}. `python -m core detectors` lists them.")


DEFAULT_DETECTOR = "whisper-vgg27"
"""Name of the detector used when none is chosen."""
DEFAULT_FAST = "vgg27-spectrogram"
"""Name of the one to choose where time counts more."""


def _check_model(name: str) -> None:
    """Raises unless a network of that name, none of those that come with the program, was entered since it started."""
    from core.models import MODELS

    if name not in MODELS:
        raise DetectorError(f"the detector needs model {name!r}; this program has {', '.join(MODELS)}")


def _identity(text: bytes, network: Path) -> str:
    status = network.stat()
    if status.st_size < _LARGE_BYTES:
        return _hash(text, network)
    return _hash_once(text, network, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=64)
def _hash_once(text: bytes, network: Path, mtime_ns: int, size_bytes: int, inode: int) -> str:
    return _hash(text, network)


def _hash(text: bytes, network: Path) -> str:
    digest = hashlib.sha256(text)
    with open(network, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _parse_manifest(text: bytes, folder: Path) -> DetectorManifest:
    try:
        fields = json.loads(text)
        network = fields.get("network")
        if network is not None:
            network = ForeignNetwork(**network | {"input_shape": tuple(network["input_shape"])})

        def record(kind: type, name: str) -> Any:
            # A network made elsewhere may lack it; `**None` is the error that ours then is.
            return None if network is not None and fields[name] is None else kind(**fields[name])

        return DetectorManifest(
            **fields
            | {
                "network": network,
                "features": None if fields["model"] == FUSION else record(FeatureConfig, "features"),
                "branches": tuple(
                    Branch(**branch | {"features": FeatureConfig(**branch["features"])}) for branch in fields.get("branches", ())
                ),
                "calibration": record(Calibration, "calibration"),
                "thresholds": record(Thresholds, "thresholds"),
                "figures": tuple(Figure(**figure) for figure in fields.get("figures", ())),
                "class_order": tuple(fields["class_order"]),
            }
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DetectorError(f"{folder / _MANIFEST} is damaged or of another version: {error}") from None

"""How far a recording lies from what a detector was trained on, by its embeddings; what a warning is worth. Fits nothing.

`familiarity.safetensors` in the detector's folder holds the statistics and names the detector that they describe. It is no part of
the detector's identity, and may be absent: then nobody can tell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from core.checkpoints import Detector, Figure
from core.errors import DetectorError
from core.records import is_unfamiliar
from core.reports import figure_words, percent
from core.whole_files import replace_file

if TYPE_CHECKING:
    import torch

FAMILIARITY_FILE = "familiarity.safetensors"
SCHEMA_VERSION = 1
_ROWS = 16
WARNED, WRONG_WARNED, WRONG_OTHERS, WRONG_MORE = "warned", "wrong, warned", "wrong, not warned", "wrong, difference"
"""Names of the figures: share of recordings with a warning; share of wrong calls at a score of 0 with it, without it, and by how
much the first exceeds the second."""

TEST, POOLED = "test", "test, under conditions"
"""What the figures that travel with a detector are of: recordings as they are, and all conditions of a stress test together."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Familiarity:
    """Statistics of a detector's embeddings of its training data, and what was measured of the warning."""

    detector_hash: str
    """Whose embeddings they are."""
    means: torch.Tensor
    """`[class, size]` float32: mean embeddings of bona fide and of spoofed training recordings."""
    whitening: torch.Tensor
    """`[size, direction]` float32: after it, distances are Mahalanobis distances."""
    limit: float
    """The distance above which a recording is unfamiliar, before it is divided by itself."""
    limit_share: float
    """Share of dev recordings at or below the limit."""
    data: dict[str, str]
    """Split -> hash of the data that means, whitening (train) and limit (dev) come from."""
    figures: tuple[Figure, ...] = ()
    """Measured on a split that neither saw; `split` says on which and how it was changed. Empty where there was none."""

    def __post_init__(self) -> None:
        import torch

        means, whitening = self.means, self.whitening
        if means.ndim != 2 or whitening.ndim != 2 or means.shape[1] != whitening.shape[0] or not means.numel() * whitening.numel():
            raise DetectorError(f"means {tuple(means.shape)} and whitening {tuple(whitening.shape)} do not fit together")
        if any(tensor.dtype != torch.float32 or not tensor.isfinite().all() for tensor in (means, whitening)):
            raise DetectorError("means and whitening are to be finite float32")
        if not (0 < self.limit < math.inf and 0 < self.limit_share < 1):
            raise DetectorError(f"a limit of {self.limit} at a share of {self.limit_share}")

    def distances(self, embeddings: torch.Tensor) -> torch.Tensor:
        """How far embeddings `[batch, size]` lie from the nearer class, in limits, `[batch]`.

        Source: Lee et al. (2018), "A simple unified framework for detecting out-of-distribution samples", equation 2.
        """
        import torch

        # Always as many rows at once: products of fewer are summed in another order, and a scan's batches differ by chance.
        filled = torch.nn.functional.pad(embeddings, (0, 0, 0, -len(embeddings) % _ROWS))
        centres = self.means @ self.whitening
        found = [(rows @ self.whitening)[:, None] - centres for rows in filled.split(_ROWS)]
        return torch.linalg.vector_norm(torch.cat(found), dim=2).amin(dim=1)[: len(embeddings)] / self.limit

    @property
    def warned_figures(self) -> tuple[Figure, ...]:
        """Those that do not depend on the detector's calibration."""
        return tuple(figure for figure in self.figures if figure.name.startswith(WARNED))

    def figure(self, split: str, name: str) -> Figure | None:
        """A measured figure; None where it was not measured."""
        return next((figure for figure in self.figures if (figure.split, figure.name) == (split, name)), None)


def mean_distance(distances: Sequence[float]) -> float | None:
    """A recording's distance from its windows'; None where the detector could not tell of one."""
    mean = math.fsum(distances) / len(distances) if distances else math.nan
    return mean if math.isfinite(mean) else None


def distance_words(distance: float) -> str:
    """A recording's distance in a sentence."""
    unlike = "it is unlike the training data" if is_unfamiliar(distance) else "it is not unfamiliar"
    return f"Distance from the detector's training data: {distance:.2f} times the limit, so {unlike}."


def warning_words(familiarity: Familiarity | None) -> str:
    """What the warning of unfamiliar recordings means, how often it is raised for nothing, and whether it tells of errors."""
    if familiarity is None:
        return "This detector has no statistics of its training data, so that it cannot warn of recordings that are unlike it."
    words = (
        "A recording is called unfamiliar where it lies farther from the detector's training data than "
        f"{percent(familiarity.limit_share, 0)} of the recordings on which the limit was set. The warning changes no verdict."
    )
    if (warned := familiarity.figure(TEST, WARNED)) is None:
        return f"{words} How often it is raised for nothing was not measured."
    rate, interval = figure_words(warned)
    words += f" False alarms: {rate} ({interval}) of test recordings as they are were warned of."
    places = ((TEST, "On the same recordings"), (POOLED, "Under telephone lines, codecs, noise and rooms"))
    return " ".join([words, *filter(None, (_error_words(familiarity, *place) for place in places))])


def _error_words(familiarity: Familiarity, split: str, where: str) -> str | None:
    """Whether calls are wrong more often with the warning, by the interval of the difference."""
    warned, others, more = (familiarity.figure(split, name) for name in (WRONG_WARNED, WRONG_OTHERS, WRONG_MORE))
    if warned is None or others is None or more is None:
        return None
    rates = f"{where}, {figure_words(warned)[0]} of calls were wrong with the warning and {figure_words(others)[0]} without"
    if more.low > 0:
        return f"{rates}: with it a score is worth less, and without it no score is safe."
    if more.high < 0:
        return f"{rates}: a score without the warning is no safer."
    return f"{rates}, which may be chance: it says that a recording is different, not that its score is wrong."


def save_familiarity(folder: Path, familiarity: Familiarity) -> Path:
    """Writes the statistics into a detector's folder, in the place of older ones.

    Raises:
        DetectorError: it cannot be written.
    """
    from safetensors.torch import save

    facts = asdict(familiarity) | {"schema_version": SCHEMA_VERSION}
    tensors = {name: facts.pop(name).contiguous() for name in ("means", "whitening")}
    try:
        replace_file(folder / FAMILIARITY_FILE, save(tensors, {"familiarity": json.dumps(facts)}))
    except OSError as error:
        raise DetectorError(f"{folder / FAMILIARITY_FILE} cannot be written: {error.strerror}") from None
    return folder / FAMILIARITY_FILE


def load_familiarity(detector: Detector) -> Familiarity | None:
    """The statistics of a detector; None where its folder holds none.

    Raises:
        DetectorError: they are damaged, of another version, or of another detector.
    """
    path = detector.folder / FAMILIARITY_FILE
    try:
        state = path.stat()
    except OSError:
        return None
    return _load(path, detector.network_hash or detector.hash, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _load(path: Path, detector_hash: str, mtime_ns: int, size_bytes: int) -> Familiarity:
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["familiarity"])
            tensors = {name: file.get_tensor(name) for name in ("means", "whitening")}
        if (version := facts.pop("schema_version")) != SCHEMA_VERSION:
            raise DetectorError(f"schema version {version}; this program reads {SCHEMA_VERSION}")
        figures = tuple(Figure(**figure) for figure in facts.pop("figures"))
        familiarity = Familiarity(**facts, **tensors, figures=figures)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, DetectorError) as error:
        raise DetectorError(f"{path} is damaged or of another version: {error}. Delete it, or make it anew.") from None
    if familiarity.detector_hash != detector_hash:
        raise DetectorError(
            f"{path} describes the detector {familiarity.detector_hash[:12]}, not {detector_hash[:12]}. Delete it, or make it anew "
            "with `python -m training familiarity`."
        )
    return familiarity

"""Systems side by side on the same trials: figures, costs, and whether a difference is more than chance. Prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.checkpoints import Detector, Figure, load_detector
from core.errors import CoreError
from core.evaluation.resampling import PairedDifference, paired_difference, paired_mean_difference
from core.evaluation.tandem import AsvErrorRates
from core.evaluation.weighted_figures import weighted_eer
from training.evaluate import attack_figures, figures_of, is_spoof, within_source_eers
from training.measure import DetectorCost, measure_costs
from training.scores import SystemScores, read_scores

OURS = "earwitness"
PROBE_PREFIX = "probe-"
"""Systems of such names are shortcuts, not detectors."""
QUESTIONS = (
    ("Spectrogram against waveform (ResNet50)", "resnet50_spectrogram", "resnet50_waveform"),
    ("vgg27 against ResNet50 (spectrogram)", "cnn_multiply", "resnet50_spectrogram"),
    ("Multiplied bona fide against 3,000 spoofs (vgg27)", "cnn_multiply", "cnn_3000"),
)
"""Title and the two systems of each published experiment; `-` and `_` in names are the same."""
_EXPECTED = ("always-spoof", "lfcc-gmm", OURS, *dict.fromkeys(name for _, *pair in QUESTIONS for name in pair))


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemResult:
    """One system with all its figures."""

    system: SystemScores
    figures: tuple[Figure, ...]
    by_attack: tuple[Figure, ...]
    cost: DetectorCost | None
    """None for a system that is no detector folder."""

    def figure(self, name: str) -> Figure | None:
        """The figure of that name."""
        return next((figure for figure in self.figures if figure.name == name), None)

    @property
    def within_sources(self) -> Figure | None:
        """The mean EER within sources that hold both classes; None where none does."""
        return next((figure for figure in self.figures if figure.name.startswith("EER, mean within")), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Two systems compared on the same trials; differences are the first's EER minus the second's."""

    title: str
    first: str
    second: str
    first_eer: Figure
    second_eer: Figure
    pooled: PairedDifference
    within_sources: PairedDifference | None
    """None where no source holds both classes."""

    @property
    def intervals_overlap(self) -> bool:
        """Whether the two systems' own intervals share a value, which is stricter than the paired test."""
        return self.first_eer.low <= self.second_eer.high and self.second_eer.low <= self.first_eer.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All systems on one split."""

    split: str
    num_bona_fide: int
    num_spoof: int
    num_speakers: int
    has_asv: bool
    results: tuple[SystemResult, ...]
    """Detectors and baselines, the lowest EER first."""
    probes: tuple[SystemResult, ...]
    answers: tuple[Answer, ...]
    absent: tuple[str, ...]
    """Systems that a full comparison has and that were not given."""


def compare(
    paths: Sequence[Path], *, detectors: Path, asv: AsvErrorRates | None = None, is_speed_measured: bool = True
) -> Comparison:
    """Reads score files and compares their systems.

    Args:
        paths: score files over the same trials.
        detectors: folder that may hold a detector folder of a system's name.
        asv: the speaker verifier for the min t-DCF; None where the corpus has none.
        is_speed_measured: whether detectors' costs are measured, which takes about 10 s each.

    Raises:
        CoreError: no file, a damaged one, two of one name, or files over different trials.
    """
    systems = _aligned([read_scores(path) for path in paths])
    costs = _costs(systems, detectors) if is_speed_measured else {}
    results = [_measured(system, asv, costs.get(system.name)) for system in systems]
    results.sort(key=lambda result: result.figures[0].value)
    detectors_and_baselines = tuple(r for r in results if not r.system.name.startswith(PROBE_PREFIX))
    first = systems[0]
    return Comparison(
        split=first.split,
        num_bona_fide=int((~is_spoof(first)).sum()),
        num_spoof=int(is_spoof(first).sum()),
        num_speakers=int(first.index["speaker"].nunique()),
        has_asv=asv is not None,
        results=detectors_and_baselines,
        probes=tuple(r for r in results if r.system.name.startswith(PROBE_PREFIX)),
        answers=tuple(_answers(detectors_and_baselines)),
        absent=tuple(name for name in _EXPECTED if _key(name) not in {_key(system.name) for system in systems}),
    )


def _aligned(systems: list[SystemScores]) -> list[SystemScores]:
    """All systems in the first one's order of trials."""
    if not systems:
        raise CoreError("no score file was given; expected NAME.test.csv files as in data/results")
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise CoreError(
            f"two score files are called {next(n for n in names if names.count(n) > 1)!r}; a name says which system it is."
        )
    first, aligned = systems[0], []
    wanted = first.index["utterance"]
    # Newer files say more about the trials than older ones: the fullest index is everyone's.
    fullest = max(systems, key=lambda system: int(system.index.notna().to_numpy().sum()))
    index = fullest.index.set_index("utterance").reindex(wanted).reset_index()
    for system in systems:
        rows = system.index.reset_index().set_index("utterance")
        if set(rows.index) != set(wanted):
            raise CoreError(f"{system.name} and {first.name} hold different trials; compare score files over one split.")
        rows = rows.loc[wanted]
        if (rows["label"].to_numpy() != first.index["label"].to_numpy()).any():
            raise CoreError(f"{system.name} and {first.name} label some trials differently; compare score files over one split.")
        aligned.append(replace(system, index=index, scores=system.scores[rows["index"].to_numpy()]))
    return aligned


def _measured(system: SystemScores, asv: AsvErrorRates | None, cost: DetectorCost | None) -> SystemResult:
    return SystemResult(
        system=system,
        figures=figures_of(system.split, system.scores, system, asv=asv),
        by_attack=attack_figures(system.split, system.scores, system),
        cost=cost,
    )


def _costs(systems: list[SystemScores], folder: Path) -> dict[str, DetectorCost]:
    found: dict[str, Detector] = {s.name: load_detector(folder / s.name) for s in systems if (folder / s.name).is_dir()}
    return dict(zip(found, measure_costs(list(found.values())), strict=True))


def _answers(results: Sequence[SystemResult]) -> list[Answer]:
    by_key = {_key(result.system.name): result for result in results}
    pairs = [(title, by_key[a], by_key[b]) for title, a, b in QUESTIONS if a in by_key and b in by_key]
    if ours := by_key.get(OURS):
        pairs += [(f"Ours against {other.system.name}", ours, other) for other in results if other is not ours]
    return [_answer(title, first, second) for title, first, second in pairs]


def _answer(title: str, first: SystemResult, second: SystemResult) -> Answer:
    a, b = first.system, second.system
    speakers = a.index["speaker"].to_numpy(dtype=str)
    within = [np.array(list(within_source_eers(system.scores, system).values())) for system in (a, b)]
    return Answer(
        title=title,
        first=a.name,
        second=b.name,
        first_eer=first.figures[0],
        second_eer=second.figures[0],
        pooled=paired_difference(weighted_eer, a.scores, b.scores, is_spoof(a), groups=speakers),
        within_sources=paired_mean_difference(*within) if len(within[0]) else None,
    )


def _key(name: str) -> str:
    return name.replace("-", "_")

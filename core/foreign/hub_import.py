"""A classifier from the hub as a detector: which labels mean spoof, export, installation. Asks nobody anything."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from core.audio import SAMPLE_RATE_HZ
from core.cache import cache_folder
from core.checkpoints import Detector
from core.errors import DetectorError
from core.foreign.detector_import import import_detector
from core.foreign.hub_repository import HubRepository, fetch_weights
from core.foreign.records import SAMPLES, Declaration, Origin
from core.hostile_text import visible

_SPOOF_WORDS = frozenset(
    "spoof spoofed spoofing fake deepfake synthetic synthesized synthesised generated aivoice ai tts vc cloned converted "
    "artificial machine replay replayed".split()
)
_BONA_FIDE_WORDS = frozenset("bonafide real genuine human humanvoice authentic natural original live".split())
_NEGATIONS = frozenset("not non no un".split())


def import_from_hub(
    repository: HubRepository,
    name: str,
    declared: Declaration,
    *,
    spoof_labels: Collection[str] = (),
    out: Path | None = None,
    summary: str = "",
) -> Detector:
    """Fetches a repository's weights and installs the network as a detector.

    Args:
        repository: as `open_repository` found it.
        name: the new detector's.
        declared: window, aggregate, calibration and thresholds; what the network itself says is filled in.
        spoof_labels: the labels that mean spoof, the others meaning bona fide; by their names when empty.
        out: folder in which the detector's folder is made; the one of installed detectors when None.
        summary: a sentence for the analyst.

    Raises:
        DetectorError: it cannot be a detector like this; it says what was expected and what came.
    """
    spoof = spoof_columns(repository, spoof_labels)
    if declared.input != SAMPLES:
        raise DetectorError(f"{repository.source} takes samples, not {declared.input}; leave out --input.")
    repository = fetch_weights(repository)
    from core.foreign.hub_network import BONA_FIDE, OUTPUT, SPOOF, HubClassifier, check_parity, export

    classifier = HubClassifier(repository)
    if classifier.max_samples and declared.window_samples > classifier.max_samples:
        raise DetectorError(
            f"{repository.source} hears at most {classifier.max_samples:,} samples at once, not {declared.window_samples:,}; "
            "choose a smaller --length."
        )
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="hub-") as folder:
        path = Path(folder, f"{name}.onnx")
        export(classifier, spoof, path)
        difference = check_parity(classifier, spoof, path, declared.window_samples)
        del classifier  # as large as the file
        origin = Origin(
            source=repository.source,
            revision=repository.revision,
            licence=repository.licence,
            architecture=repository.architecture,
            spoof_labels=tuple(repository.labels[index] for index in spoof),
            bona_fide_labels=tuple(label for index, label in enumerate(repository.labels) if index not in spoof),
            weights=repository.weights,
            transformers=version("transformers"),
            difference=difference,
        )
        return import_detector(
            path,
            name,
            replace(declared, column=SPOOF, minus=BONA_FIDE, output_name=OUTPUT),
            out=out,
            summary=summary or f"{visible(repository.source)}, on samples of {declared.window_samples / SAMPLE_RATE_HZ:.4g} s.",
            origin=origin,
        )


def spoof_columns(repository: HubRepository, spoof_labels: Collection[str] = ()) -> tuple[int, ...]:
    """Which outputs mean spoof, the others meaning bona fide.

    Raises:
        DetectorError: the labels do not say it by their names, or those named are not among them.
    """
    labels = repository.labels
    shown = ", ".join(map(visible, labels))
    if spoof_labels:
        if unknown := sorted(set(spoof_labels) - set(labels)):
            raise DetectorError(f"{repository.source} has no label {unknown[0]!r}; its labels are {shown}.")
        columns = tuple(index for index, label in enumerate(labels) if label in spoof_labels)
        if len(columns) == len(labels):
            raise DetectorError(f"Every label of {repository.source} would mean spoof ({shown}); name only those that do.")
        return columns
    meanings = [_means_spoof(label) for label in labels]
    if None in meanings or len(set(meanings)) < 2:
        raise DetectorError(
            f"The labels of {repository.source} ({shown}) do not say which of them mean spoof. Its card may say it; then add "
            "--spoof-labels LABEL ..., and the others mean bona fide."
        )
    return tuple(index for index, meaning in enumerate(meanings) if meaning)


def _means_spoof(label: str) -> bool | None:
    """Whether a label means spoof, by the words in its name; None where they do not say it, or say both."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).lower())
    words += [first + second for first, second in pairwise(words)]  # "bona fide"
    is_spoof, is_bona_fide = bool(_SPOOF_WORDS & set(words)), bool(_BONA_FIDE_WORDS & set(words))
    return None if is_spoof is is_bona_fide or _NEGATIONS & set(words) else is_spoof

"""A detector in bfloat16, as a detector of its own: the same weights, faster, with slightly other scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.checkpoints import BFLOAT16, Detector, name_problem, save_detector
from core.errors import DetectorError
from core.familiarity import load_familiarity, save_familiarity
from core.precision.openvino_network import BFloat16Network
from core.runs.publishing import detectors_folder
from core.runtime import exported_network


def bfloat16_detector(detector: Detector, name: str, *, out: Path | None = None) -> Detector:
    """Writes a detector with the same weights that computes in bfloat16.

    All but the network's precision is the first one's; figures are not, they have to be measured anew.

    Args:
        detector: one of ours.
        name: the new detector's.
        out: folder in which its folder is made; the one of installed detectors when None.

    Raises:
        DetectorError: a network made elsewhere, or in bfloat16 already, or a name that is taken; OpenVINO is not installed.
    """
    manifest, out = detector.manifest, out or detectors_folder()
    if detector.is_foreign or manifest.precision == BFLOAT16:
        raise DetectorError(f"{detector.name} cannot be put into bfloat16: only our own networks in float32 can.")
    if problem := name_problem(name, out):
        raise DetectorError(problem)
    for branch in detector.branches:
        BFloat16Network(exported_network(branch))
    summary = f"{detector.name} ({detector.hash[:12]}) in bfloat16. {manifest.summary}"
    parent = {"name": detector.name, "hash": detector.hash}
    changed = replace(
        manifest,
        name=name,
        summary=summary,
        precision=BFLOAT16,
        figures=(),
        provenance=manifest.provenance | {"bfloat16_of": parent},
    )
    card = f"# {name}\n\n{summary} Its error rates were not measured; those below are the first one's.\n\n{detector.card}"
    made = save_detector(out / name, detector.load_model(), changed, card=card)
    if familiarity := load_familiarity(detector):
        save_familiarity(made.folder, replace(familiarity, detector_hash=made.hash, figures=()))
    return made

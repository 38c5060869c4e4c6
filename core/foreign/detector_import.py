"""Taking in a network that was made elsewhere as a detector: its file is tried on a tone and on silence, then installed."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from core.audio import SAMPLE_RATE_HZ, sha256_of
from core.calibration import Thresholds
from core.checkpoints import FOREIGN, Detector, DetectorManifest, name_problem, save_detector
from core.errors import DetectorError
from core.foreign.records import Declaration, ForeignNetwork, Origin
from core.foreign.trial import TriedNetwork, try_alone
from core.hostile_text import visible
from core.runs.publishing import detectors_folder

_TONE_HZ, _TONE_LEVEL = 440.0, 0.1


def import_detector(
    path: Path,
    name: str,
    declared: Declaration,
    *,
    out: Path | None = None,
    summary: str = "",
    file_name: str = "",
    origin: Origin | None = None,
) -> Detector:
    """Tries the network and writes it as a detector folder of that name.

    Args:
        path: the ONNX file.
        name: the new detector's.
        declared: how it is fed and read.
        out: folder in which the detector's folder is made; the one of installed detectors when None.
        summary: a sentence for the analyst.
        file_name: what the file is called, where `path` is a temporary one.
        origin: where it comes from, when it was exported here from a repository of the hub.

    Raises:
        DetectorError: the file cannot be a detector like this, or the name is taken; it says what was expected and what came.
    """
    out = out or detectors_folder()
    file_name = file_name or path.name
    if problem := name_problem(name, out):
        raise DetectorError(problem)
    tried = _tried(path, declared)
    thresholds = declared.thresholds or (Thresholds(lower=0.0, upper=0.0) if declared.calibration else None)
    manifest = DetectorManifest(
        name=name,
        summary=summary or f"Made elsewhere: {file_name}, on {declared.input} of {declared.window_samples / SAMPLE_RATE_HZ:.4g} s.",
        model=FOREIGN,
        features=declared.features,
        aggregate=declared.aggregate,
        calibration=declared.calibration,
        thresholds=thresholds,
        network=tried.network,
        provenance={
            "file": file_name,
            "file_sha256": sha256_of(path),
            "producer": tried.producer,
            "opsets": tried.opsets,
            "onnxruntime": version("onnxruntime"),
            "imported_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **({"hub": asdict(origin)} if origin else {}),
        },
    )
    try:
        return save_detector(out / name, path, manifest, card=model_card(manifest))
    except OSError as error:
        raise DetectorError(f"{out / name} cannot be written: {error.strerror or error}.") from None


def _tried(path: Path, declared: Declaration) -> TriedNetwork:
    """The network, tried on a tone and on silence."""
    import torch

    from core.features import build_front_end

    time_s = torch.arange(declared.window_samples) / SAMPLE_RATE_HZ
    tone = _TONE_LEVEL * torch.sin(2 * math.pi * _TONE_HZ * time_s)
    segments = torch.stack([tone, torch.zeros_like(tone)])
    if declared.features is not None:
        with torch.inference_mode():
            segments = build_front_end(declared.features)(segments)
    offered = ForeignNetwork(
        window_samples=declared.window_samples,
        input_shape=tuple(segments.shape[1:]),
        is_batched=False,
        output_name=declared.output_name or "",
        column=declared.column,
        minus=declared.minus,
        higher_means=declared.higher_means,
    )
    kind = f"{declared.input} of {declared.window_samples:,} samples at 16 kHz"
    return try_alone(path, offered, segments.numpy(), sounds=("a tone", "silence"), kind=kind)


def model_card(manifest: DetectorManifest) -> str:
    """The card of a detector made elsewhere, Markdown: what was declared, and what nobody has measured."""
    network, made = manifest.network, manifest.provenance
    value = f"value {network.column}" + (f" minus value {network.minus}" if network.minus is not None else "")
    calibration = "none: scores are as the network gives them, without a scale"
    if manifest.calibration:
        calibration = f"{manifest.calibration.slope:.4g} x score {manifest.calibration.offset:+.4g} nats, {_calibrated_on(made)}"
    limits = "none: every verdict is inconclusive"
    if manifest.thresholds:
        limits = f"spoof from {manifest.thresholds.upper:+.4g}, bona fide below {manifest.thresholds.lower:+.4g}"
    file = f"`{made['file']}`, SHA-256 `{made['file_sha256']}`, made by {made['producer'] or 'an unnamed program'}"
    came = "It was exported to ONNX when it was imported" if "hub" in made else "It came as an ONNX file"
    return f"""# {manifest.name}

{manifest.summary} {came}; Earwitness did not train it and has measured no error rates.

{_origin_lines(made["hub"]) if "hub" in made else ""}- **File**: {file}.
- **Input**: {manifest.input_words}, {network.window_samples:,} samples at 16 kHz at once, laid out {list(network.input_shape)};
  {"several segments" if network.is_batched else "one segment"} at a time.
- **Score**: {value} of the output `{network.output_name}`; higher means {network.higher_means}. A recording's score is the
  {manifest.aggregate} over its segments.
- **Calibration**: {calibration}.
- **Thresholds**: {limits}.
"""


def _origin_lines(hub: dict) -> str:
    """What its makers say of it; their names are strangers' text."""

    def shown(text: str) -> str:
        return f"`{visible(str(text)).replace('`', chr(39))}`"

    revision = f", revision {shown(hub['revision'])}" if hub["revision"] else ""
    weights = ", ".join(f"{shown(name)} (SHA-256 {shown(sha256)})" for name, sha256 in hub["weights"].items())
    spoof, bona_fide = (", ".join(map(shown, hub[key])) for key in ("spoof_labels", "bona_fide_labels"))
    return f"""- **Origin**: {shown(hub["source"])}{revision}; {weights}.
- **Licence**, as stated there: {shown(hub["licence"])}.
- **Network**: {shown(hub["architecture"])} of transformers {hub["transformers"]}; in ONNX Runtime its outputs differ from those in
  PyTorch by at most {hub["difference"]:.1g} of the largest.
- **Labels**: {spoof} mean spoof, {bona_fide} bona fide.
"""


def _calibrated_on(made: dict) -> str:
    if (told := made.get("calibrated_on")) is None:
        return "as declared on import"
    return f"fitted to {told['num_bona_fide']:,} bona fide and {told['num_spoof']:,} spoofed recordings of {told['folder']}"

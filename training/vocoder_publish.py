"""From a run to a vocoder folder: rounded, measured on dev beside Griffin-Lim, and published only if it is as close to speech."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.attacks.kind_records import SHIPPED_VOCODER
from core.attacks.neural import MANIFEST_FILE, SCHEMA_VERSION, WEIGHTS_FILE, NeuralVocoder
from core.audio import SAMPLE_RATE_HZ
from core.errors import CoreError
from training.checkpoint import save_weights
from training.data import load_split
from training.run_folder import utc_now
from training.vocoder import trained_vocoder
from training.vocoder_batches import bona_fide_recordings
from training.vocoder_evaluation import GRIFFIN_LIM_OF_MEL, MEASURES, SHARES, VOCODER, Closeness, as_table, compare, differences

DECIDING = "log_spectral_db"
"""The measure of `Closeness` in which a vocoder must be at least as close to speech as Griffin-Lim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderReport:
    """What a run's vocoder is worth."""

    network: NeuralVocoder
    """With weights rounded to half precision, as they are stored and as they were measured."""
    described: dict[str, Any]
    """The run's description, and the `step` it stands at."""
    compared: Mapping[str, Closeness]
    """Maker -> how close its copies of the dev recordings are."""
    dev_hash: str

    @property
    def is_close(self) -> bool:
        """Whether it is at least as close to speech as Griffin-Lim from the same mel spectrogram, by `DECIDING`."""
        return float(self._differences[DECIDING][0]) <= 0

    @property
    def words(self) -> str:
        """The table and what follows from it, Markdown."""
        decides, *others = (
            _difference_words(name, *self._differences[name]) for name in sorted(MEASURES, key=lambda name: name != DECIDING)
        )
        verdict = "at least as close" if self.is_close else "not as close"
        return (
            f"After step {self.described['step']:,}, on {len(self.compared[VOCODER].log_spectral_db)} bona fide recordings of dev "
            f"(never trained on); less is closer:\n\n{as_table(self.compared)}\n"
            "Neural less Griffin-Lim from the same mel spectrogram, paired, with 95 % intervals: "
            f"{decides}: {verdict}; {'; '.join(others)}.\n"
        )

    @property
    def _differences(self) -> dict[str, tuple[float, float]]:
        return differences(self.compared[VOCODER], self.compared[GRIFFIN_LIM_OF_MEL])


def measure(run: Path, *, every: int = 1) -> VocoderReport:
    """Measures a run's averaged network on the dev split of the data it was trained on.

    Args:
        every: takes each so many-th recording only.

    Raises:
        CoreError: no run or checkpoint, or the data has moved or changed.
    """
    network, described = trained_vocoder(run)
    folder = Path(described["data"]["folder"])
    if load_split(folder, "train").data_hash != described["data"]["hash"]:
        raise CoreError(f"{folder} holds another train split than the run was trained on; prepare the data as it was.")
    network.load_state_dict({name: part.half().float() for name, part in network.state_dict().items()})
    dev = load_split(folder, "dev")
    compared = compare(network, bona_fide_recordings(dev)[::every])
    return VocoderReport(network=network, described=described, compared=compared, dev_hash=dev.data_hash)


def publish_vocoder(run: Path, out: Path = SHIPPED_VOCODER) -> VocoderReport:
    """Writes `weights.safetensors` (half precision), `vocoder.json` and the card, or nothing.

    Raises:
        CoreError: as `measure`; not close enough to speech, with its figures; the folder cannot be written.
    """
    report = measure(run)
    if not report.is_close:
        raise CoreError(f"The vocoder is not published; train it for longer (`--steps`). {report.words}")
    out.mkdir(parents=True, exist_ok=True)
    save_weights(out / WEIGHTS_FILE, _halved(report.network))
    (out / MANIFEST_FILE).write_text(json.dumps(_manifest(report), indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(_card(report), encoding="utf-8")
    return report


def _difference_words(measure: str, mean: float, half: float) -> str:
    if measure in SHARES:
        return f"{MEASURES[measure]} {100 * mean:+.1f} +- {100 * half:.1f} points"
    return f"{MEASURES[measure]} {mean:+.2f} +- {half:.2f}"


def _halved(network: NeuralVocoder) -> NeuralVocoder:
    copy = NeuralVocoder(network.config)
    copy.load_state_dict(network.state_dict())
    return copy.half()


def _manifest(report: VocoderReport) -> dict[str, Any]:
    described = report.described
    figures = {
        maker: {name: round(float(np.nanmean(getattr(figures, name))), 4) for name in MEASURES}
        for maker, figures in report.compared.items()
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "config": asdict(report.network.config),
        "num_parameters": sum(each.numel() for each in report.network.parameters()),
        "step": described["step"],
        "recipe": described["recipe"],
        "seed": described["seed"],
        "data": {"train": described["data"]["hash"], "dev": report.dev_hash, "num_train": described["data"]["num_recordings"]},
        "code_revision": described["code_revision"],
        "torch": torch.__version__,
        "made_at": utc_now(),
        "deciding_measure": DECIDING,
        "figures": figures,
    }


def _card(report: VocoderReport) -> str:
    recipe, config = report.described["recipe"], report.network.config
    num_parameters = sum(each.numel() for each in report.network.parameters())
    crop_s = recipe["crop_samples"] / SAMPLE_RATE_HZ
    return f"""# The neural vocoder

Copies speech through a mel spectrogram ({config.num_mels} bands, 64 ms windows every 16 ms) and its fundamental, to make labelled
spoofs of bona fide recordings: `core.attacks.neural`. {num_parameters:,} parameters, stored in half precision.

- **Trained on** the {report.described["data"]["num_recordings"]:,} bona fide recordings of the training split and on nothing else:
  {report.described["step"]:,} steps of {recipe["batch_size"]} crops of {crop_s:.2f} s, from step {recipe["adversarial_from"]:,}
  against critics. The whole recipe and the data's hashes are in `vocoder.json`.
- **Not Vocos itself**: the network filters pulses at the measured fundamental, and noise; phases come from these.
  {config.num_corrections} fixed corrections of the made speech's mel spectrogram follow, inside the network.

## How close to speech

{report.words}
The log-spectral distance decides whether a vocoder is published: the root mean square over frequency of the difference of levels,
averaged over frames that hold sound and over windows of 64, 32, 16 and 8 ms.
"""

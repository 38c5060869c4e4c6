"""How a network made elsewhere is fed and read: as declared on import, and as `detector.json` keeps it. Runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.calibration import Calibration, Thresholds
from core.detector_config import FEATURE_KINDS, WINDOW_SAMPLES, FeatureConfig
from core.errors import DetectorError
from core.records import SAMPLE_RATE_HZ

MIN_WINDOW_SAMPLES = SAMPLE_RATE_HZ // 2
"""0.5 s: the shortest recording that is judged (`core.audio.MIN_DURATION_S`)."""
MAX_WINDOW_SAMPLES = 60 * SAMPLE_RATE_HZ
"""A batch of 16 windows of a minute is 61 MB of samples."""
SAMPLES = "samples"
INPUTS = (SAMPLES, *FEATURE_KINDS)
"""What a network can be fed with: the samples, or one of our feature images."""
HIGHER_MEANS = ("spoof", "bona fide")
"""What a higher output can speak for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignNetwork:
    """How a network made elsewhere is fed and read; `network` in `detector.json`."""

    window_samples: int
    """Samples at 16 kHz that it sees at once."""
    input_shape: tuple[int, ...]
    """How one segment is laid out for it, without the batch: samples or a feature image."""
    is_batched: bool
    """Whether it takes several segments at once; else they are run one by one."""
    output_name: str
    """Which of the graph's outputs holds the score."""
    column: int
    """Which value of that output, from 0."""
    minus: int | None = None
    """Which value is subtracted from it: the other class's logit."""
    higher_means: Literal["spoof", "bona fide"] = "spoof"
    """What a higher value speaks for."""

    def __post_init__(self) -> None:
        if not MIN_WINDOW_SAMPLES <= self.window_samples <= MAX_WINDOW_SAMPLES:
            expected = f"{MIN_WINDOW_SAMPLES:,} to {MAX_WINDOW_SAMPLES:,} samples at 16 kHz"
            raise DetectorError(f"the network is said to see {self.window_samples:,} samples at once; expected {expected}")
        if self.higher_means not in HIGHER_MEANS:
            raise DetectorError(f"higher_means is {self.higher_means!r}; expected {' or '.join(map(repr, HIGHER_MEANS))}")
        if self.column < 0 or (self.minus is not None and (self.minus < 0 or self.minus == self.column)):
            raise DetectorError(f"the score is output {self.column} minus {self.minus}; expected two different numbers from 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What has to be said of an ONNX file, because the file does not say it."""

    input: str = SAMPLES
    """One of `INPUTS`."""
    window_samples: int = WINDOW_SAMPLES
    """Samples at 16 kHz that the network sees at once."""
    column: int = 0
    """Which value of the output is the score, from 0."""
    minus: int | None = None
    """Which value is subtracted from it."""
    higher_means: str = "spoof"
    """`spoof` or `bona fide`: what a higher value speaks for."""
    output_name: str | None = None
    """Which output of the graph; needed where it has several."""
    aggregate: str = "mean"
    """One of `core.checkpoints.AGGREGATES`."""
    calibration: Calibration | None = None
    """From the score, turned so that higher means spoof, to nats; None where it is not known."""
    thresholds: Thresholds | None = None
    """In nats, or in the score's own unit without a calibration. None: 0 nats when calibrated, else no verdicts."""

    def __post_init__(self) -> None:
        if self.input not in INPUTS:
            raise DetectorError(f"unknown input {self.input!r}; expected one of {', '.join(INPUTS)}")
        if self.input == "waveform" and self.window_samples != WINDOW_SAMPLES:
            raise DetectorError(f"the waveform image is drawn from {WINDOW_SAMPLES:,} samples, not {self.window_samples:,}")

    @property
    def features(self) -> FeatureConfig | None:
        """The front end; None for samples."""
        return None if self.input == SAMPLES else FeatureConfig(kind=self.input)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a classifier from the hub comes from, as its makers say; `hub` in the provenance."""

    source: str
    """`hf:OWNER/NAME`, or the folder."""
    revision: str
    """The commit; empty for a folder."""
    licence: str
    architecture: str
    """The class of `transformers`."""
    spoof_labels: tuple[str, ...]
    bona_fide_labels: tuple[str, ...]
    weights: dict[str, str]
    """Names of the safetensors files -> SHA-256."""
    transformers: str
    """The version that built it."""
    difference: float
    """The largest one between its logits in PyTorch and in ONNX Runtime, as a share."""

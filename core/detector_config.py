"""What a detector is made of, in names and numbers: window, image, front ends, networks, classes. Without torch.

`core.features` and `core.models` hold what the names stand for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from core.errors import DetectorError

WINDOW_SAMPLES = 64_000
"""4 s at 16 kHz: what a detector sees at once."""
IMAGE_SIZE = 224
"""Rows and columns of a feature image, the input size of ImageNet networks."""
HOP_SAMPLES = 286
"""1 + 64,000 // 286 = 224 centred frames."""
CLASS_ORDER = ("bona fide", "spoof")
"""What the two outputs of a network mean, in order."""

FeatureKind = Literal["log_spectrogram", "multi_resolution", "mel", "lfcc", "mfcc", "waveform", "whisper_mel"]
FEATURE_KINDS: tuple[FeatureKind, ...] = get_args(FeatureKind)
"""Names of the front ends."""
MODEL_NAMES = ("vgg27", "resnet18", "resnet50", "efficientnet_lite0", "whisper_base")
"""Names of the networks."""
FUSION = "fusion"
"""`DetectorManifest.model` of a detector of several networks whose weighted scores are summed."""
_NUM_RESOLUTIONS = 3
WHISPER_MELS, WHISPER_HOP_SAMPLES = 80, 160
"""Rows of Whisper's mel image, and samples between its columns: 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """Which front end a detector uses; saved with it."""

    kind: FeatureKind = "log_spectrogram"
    """One of `FEATURE_KINDS`."""
    dynamic_range_db: float = 80.0
    """Levels further below the image's loudest point are raised to that floor (spectrograms and mel)."""

    def __post_init__(self) -> None:
        if self.kind not in FEATURE_KINDS:
            raise DetectorError(f"unknown feature kind {self.kind!r}; expected one of {', '.join(FEATURE_KINDS)}")
        if not 20 <= self.dynamic_range_db <= 120:
            raise DetectorError(f"dynamic_range_db is {self.dynamic_range_db}; expected 20 to 120")

    @property
    def num_channels(self) -> int:
        """Channels of the image."""
        return _NUM_RESOLUTIONS if self.kind == "multi_resolution" else 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of the image of a window."""
        if self.kind == "whisper_mel":
            return 1, WHISPER_MELS, WINDOW_SAMPLES // WHISPER_HOP_SAMPLES
        return self.num_channels, IMAGE_SIZE, IMAGE_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One network of a fusion, with the front end that feeds it; saved with the detector."""

    model: str
    """Key of `core.models.MODELS`."""
    features: FeatureConfig
    weight: float
    """What its raw score is multiplied by before the sum."""

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise DetectorError(f"a fusion's weight is {self.weight}; expected a positive number")

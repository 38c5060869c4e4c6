"""What a detector is shown of a window, with cells of it hidden, and what it says then.

A detector is opened once and shared by all threads: whoever puts hooks on its network or asks it for gradients holds `lock`.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import torch
from torch import nn

from core.checkpoints import Detector
from core.detector_config import CLASS_ORDER
from core.explanation import masked_stft
from core.explanation.records import ExplanationError, Target
from core.features import ImageAxes
from core.fusion import Fusion
from core.models import Ensemble, raw_scores
from core.networks.anatomy import describe_network
from core.runtime import RawScorer, open_session

BATCH = 16
"""Images per call of the network; more measured slower on the CPU (`core.detect`)."""
_NUM_CORES = len(os.sched_getaffinity(0))
CHUNK = BATCH * _NUM_CORES
"""Images to ask for at once: a batch for every core."""
_MAX_OPEN = 3
_open: OrderedDict[tuple[str, str], DetectorView] = OrderedDict()
_open_lock = threading.Lock()
# A thread per core, each with calls of one thread: threads within a call would wait for each other by spinning.
_pool = ThreadPoolExecutor(max_workers=_NUM_CORES, thread_name_prefix="explain")

# Front ends whose values are levels: a large value is loud. The others' are signed, and their size counts.
_LEVELS = ("log_spectrogram", "multi_resolution", "mel", "waveform")


def view_of(detector: Detector) -> DetectorView:
    """The detector, opened; the same object for every caller until a few others were opened."""
    key = (detector.hash, str(detector.folder))
    with _open_lock:
        if key not in _open:
            _open[key] = DetectorView(detector)
        _open.move_to_end(key)
        while len(_open) > _MAX_OPEN:
            _open.popitem(last=False)
        return _open[key]


class DetectorView:
    """One detector, opened. What is shown is a feature image, or the short-time spectrum where it takes the samples or is a fusion.

    Hidden cells are 0: an image's mean level (levels and cepstra are standardised), nothing drawn (waveform), silence (spectra).
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.lock = threading.RLock()
        """Held around hooks and gradients."""
        self.front_end = detector.build_front_end()

    @property
    def has_image(self) -> bool:
        """Whether the network takes a feature image."""
        return self.detector.manifest.features is not None

    @cached_property
    def axes(self) -> ImageAxes:
        """Of what is shown."""
        return self.front_end.axes() if self.has_image else masked_stft.axes(self.detector.manifest.window_samples)

    @property
    def model(self) -> nn.Module:
        """The network in PyTorch, in evaluation mode.

        Raises:
            DetectorError: it was made elsewhere and cannot be looked into.
        """
        with self.lock:
            if not hasattr(self, "_model"):
                # Convolutions on the CPU take half the time so, with gradients too.
                self._model = self.detector.load_model().to(memory_format=torch.channels_last)
            return self._model

    @property
    def session(self) -> RawScorer:
        """The network in ONNX Runtime: what a scan uses, several times as fast as PyTorch on the CPU."""
        with self.lock:
            if not hasattr(self, "_session"):
                self._session = open_session(self.detector, num_threads=1)
            return self._session

    @property
    def layers(self) -> tuple[str, ...]:
        """Convolutional layers whose output has rows and columns, in the order in which they run; a member's, of an ensemble."""
        if self.detector.is_foreign:
            return ()
        with self.lock:
            if not hasattr(self, "_layers"):
                network = members_of(self.model)[0]
                anatomy = describe_network(network, torch.zeros(1, *self.detector.branches[0].manifest.features.image_shape))
                maps = [layer.name for layer in anatomy.layers if len(layer.shape) == 3 and layer.shape[1] * layer.shape[2] > 1]
                kinds = dict(network.named_modules())
                self._layers = tuple(name for name in maps if isinstance(kinds.get(name), nn.Conv2d))
            return self._layers

    @torch.inference_mode()
    def shown(self, windows: torch.Tensor) -> torch.Tensor:
        """Windows `[window, time]` as `[window, channel, row, column]`."""
        if not self.has_image:
            return masked_stft.spectrum(windows).unsqueeze(1)
        return torch.cat([self.front_end(part) for part in windows.split(BATCH)])

    def energy(self, shown: torch.Tensor) -> torch.Tensor:
        """How loud each cell is, `[window, row, column]`, on any rising scale."""
        if self.has_image and self.detector.manifest.features.kind in _LEVELS:
            return shown.mean(dim=1)
        return shown.abs().square().sum(dim=1)

    @torch.inference_mode()
    def values(
        self, shown: torch.Tensor, *, target: Target = "spoof_minus_bona_fide", model: nn.Module | None = None
    ) -> torch.Tensor:
        """The target's value `[window]`, in the network's own units.

        Args:
            shown: `[window, channel, row, column]`, with or without hidden cells.
            target: which output. Our detectors give all; others only their score.
            model: a network in this one's place, e.g. one with random weights.
        """
        if self.detector.is_foreign and target != "spoof_minus_bona_fide":
            raise ExplanationError(
                f"{self.detector.name} was made elsewhere and gives one score; "
                f"expected the target spoof_minus_bona_fide, got {target}."
            )
        parts = [self.fed(part) for part in shown.split(BATCH)]
        if model is None and target == "spoof_minus_bona_fide":
            return torch.cat(list(_pool.map(self.session, parts)))
        with self.lock:
            network = self.model if model is None else model
            return torch.cat([target_values(network(part), target) for part in parts])

    def raw_scores(self, windows: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """The uncalibrated spoof scores `[window]`: of the samples themselves where what is shown of them is only another form."""
        return self.values(shown) if self.has_image else torch.cat(list(_pool.map(self.session, windows.split(BATCH))))

    def fed(self, shown: torch.Tensor) -> torch.Tensor:
        """What the network is given of what is shown; gradients pass through."""
        return shown if self.has_image else masked_stft.samples_of(shown[:, 0], self.detector.manifest.window_samples)


def target_values(logits: torch.Tensor, target: Target) -> torch.Tensor:
    """Logits `[batch, 2]` to the target's value `[batch]`."""
    if target == "spoof_minus_bona_fide":
        return raw_scores(logits)
    return logits[:, CLASS_ORDER.index(target.replace("_", " "))]


def members_of(model: nn.Module) -> list[nn.Module]:
    """The networks of an ensemble, the fast one of a fusion; the network itself where it is neither."""
    if isinstance(model, Fusion):
        return [model.networks[0]]
    return list(model.members) if isinstance(model, Ensemble) else [model]

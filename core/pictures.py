"""Pictures of a recording for people who want pictures: its waveform and its spectrogram as PNG files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from core.audio import SAMPLE_RATE_HZ, load
from core.detector_config import FeatureConfig, FeatureKind
from core.errors import CoreError
from core.features import build_front_end
from core.segments import WindowStream

# Five points of a perceptually ordered map from dark to light that also reads in grey.
_COLOURS = np.array([(13, 8, 40), (85, 15, 109), (186, 54, 85), (249, 140, 10), (252, 255, 164)], dtype=np.float64)


def export_png(path: str | os.PathLike[str], out: Path, *, kind: FeatureKind = "log_spectrogram") -> tuple[Path, ...]:
    """Writes one 224 x 224 PNG per window of a recording, exactly the image that a detector sees.

    Frequency (or amplitude) rises from the bottom. Files are called `NAME.KIND.START.png` with the start in s, to 0.1 ms
    because the last window may start a sample after the one before.

    Args:
        path: the recording.
        out: an existing or new folder.
        kind: one of `core.detector_config.FEATURE_KINDS`.

    Returns:
        The files written.

    Raises:
        AudioRefusal: the recording cannot be decoded.
        CoreError: the folder cannot be written.
    """
    front_end = build_front_end(FeatureConfig(kind=kind))
    stream = WindowStream()
    windows = [*stream.push(load(path)[0]), *stream.finish()]
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for start, window in windows:
            with torch.inference_mode():
                image = front_end(window[None])[0, 0].numpy()
            target = out / f"{Path(path).stem}.{kind}.{start / SAMPLE_RATE_HZ:09.4f}s.png"
            Image.fromarray(_coloured(image[::-1])).save(target)
            written.append(target)
    except OSError as error:
        raise CoreError(f"{out} cannot be written: {error.strerror}.") from None
    return tuple(written)


def _coloured(image: np.ndarray) -> np.ndarray:
    """Values `[row, column]` to RGB `[row, column, 3]` uint8, from the smallest to the largest."""
    share = (image - image.min()) / max(float(np.ptp(image)), 1e-9) * (len(_COLOURS) - 1)
    return np.stack([np.interp(share, range(len(_COLOURS)), channel) for channel in _COLOURS.T], axis=-1).round().astype(np.uint8)

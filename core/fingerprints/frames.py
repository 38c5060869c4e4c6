"""What the figures of fingerprints draw, as tables for CSV: a row per group and band, step, or group."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.fingerprints.figures import time_centres
from core.fingerprints.records import Curve, Fingerprint, FingerprintSet, Frames, TimeAxis


def band_frame(measured: FingerprintSet, fingerprints: Sequence[Fingerprint], frames: Frames) -> pd.DataFrame:
    """The numbers of the bands: a row per group and band."""
    parts = []
    for fingerprint in fingerprints:
        curve = fingerprint.bands[frames]
        columns = {"low": measured.band_edges[:-1], "high": measured.band_edges[1:], "saliency": curve.value}
        columns |= {"interval_low": curve.low, "interval_high": curve.high}
        parts.append(pd.DataFrame({"group": fingerprint.key, "frames": frames, "unit": measured.summary.row_label, **columns}))
    return pd.concat(parts, ignore_index=True)


def time_frame(fingerprints: Sequence[Fingerprint], axis: TimeAxis) -> pd.DataFrame:
    """The numbers of the time profiles: a row per group and step."""
    centres = time_centres(axis)
    parts = []
    for fingerprint in fingerprints:
        curve: Curve = getattr(fingerprint, axis)
        columns = {"at": centres, "saliency": curve.value, "interval_low": curve.low, "interval_high": curve.high}
        parts.append(pd.DataFrame({"group": fingerprint.key, "axis": axis, **columns}))
    return pd.concat(parts, ignore_index=True)


def size_frame(fingerprints: Sequence[Fingerprint]) -> pd.DataFrame:
    """A row per group: how many recordings, and where the saliency lies."""
    return pd.DataFrame(
        [
            {
                "group": fingerprint.key,
                "recordings": fingerprint.size.num_recordings,
                "resampled": f"{fingerprint.size.num_units} {fingerprint.size.unit}",
                "without evidence": fingerprint.size.num_empty,
                "refused": fingerprint.size.num_refused,
                **{zone.zone: zone.share.value for zone in fingerprint.zones},
                "in common with bona fide": fingerprint.common_with_bona_fide,
            }
            for fingerprint in fingerprints
        ]
    )

"""A dry run: what an audit would look at and how long it would take, from listing all and probing some."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import AudioRefusal
from core.records import NARROWBAND_HZ, ScanSettings
from core.scanning.discovery import LeftOut, find_files
from core.scanning.trial import tried

if TYPE_CHECKING:
    from core.detect import Scorer

MAX_PROBED = 200
"""Files opened to estimate hours and formats; they are spread evenly over the list."""

_UNKNOWN_S = 10.0
"""Taken for the length of each recording where none states its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPlan:
    """What a dry run found."""

    folder: str
    num_files: int
    total_bytes: int
    num_probed: int
    num_unreadable: int
    """Among the probed."""
    hours: float
    """Of audio, extrapolated from the probed files."""
    formats: tuple[tuple[str, int], ...]
    """Codec and number of files, extrapolated, most frequent first."""
    num_narrowband: int
    """Files sampled at 8 kHz or less, extrapolated."""
    expected_s: float | None
    """Time that scoring would take here; None when there is nothing to score."""
    example_paths: tuple[str, ...]
    ending_words: str
    """What is left out by its ending, in words; empty where nothing is."""


def dry_run(folder: str, settings: ScanSettings, *, scorer: Scorer | None = None) -> ScanPlan:
    """Lists a folder and probes up to `MAX_PROBED` files of it, in a process of their own; writes nothing.

    Args:
        folder: what would be audited.
        settings: with which settings.
        scorer: detector to time on one of the files; without one, no time is expected.

    Raises:
        ScanError: the folder cannot be listed.
    """
    left_out = LeftOut()
    files = list(find_files(folder, settings, left_out=left_out))
    num_probed = min(MAX_PROBED, len(files))
    probed = [files[i * len(files) // num_probed] for i in range(num_probed)]
    paths = [os.path.join(folder, os.fsdecode(file.path_bytes)) for file in probed]
    codecs: Counter[str] = Counter()
    durations: dict[str, float | None] = {}
    num_narrowband = 0
    for path, info in zip(paths, tried(paths, how="probe"), strict=True):
        if not isinstance(info, AudioRefusal):
            codecs[info.codec] += 1
            num_narrowband += info.sample_rate_hz <= NARROWBAND_HZ
            durations[path] = info.duration_s
    # Of what states no length nobody knows how long it is: it counts as the others do on average.
    known = [duration_s for duration_s in durations.values() if duration_s is not None]
    average_s = sum(known) / len(known) if known else _UNKNOWN_S
    durations = {path: average_s if duration_s is None else duration_s for path, duration_s in durations.items()}
    per_probed = len(files) / max(1, len(paths))
    audio_s = sum(durations.values()) * per_probed
    expected_s = _expected_s(scorer, durations) if scorer and durations else None
    return ScanPlan(
        folder=folder,
        num_files=len(files),
        total_bytes=sum(file.size_bytes for file in files),
        num_probed=len(paths),
        num_unreadable=len(paths) - len(durations),
        hours=audio_s / 3_600,
        formats=tuple((codec, round(num * per_probed)) for codec, num in codecs.most_common()),
        num_narrowband=round(num_narrowband * per_probed),
        expected_s=expected_s and expected_s * per_probed,
        example_paths=tuple(os.path.relpath(path, folder).encode("utf-8", "backslashreplace").decode() for path in paths[:5]),
        ending_words=left_out.ending_words,
    )


def _expected_s(scorer: Scorer, durations: dict[str, float]) -> float | None:
    """Time to score all of `durations` on this machine's cores, from scoring a few on the scorer's; None if none decodes."""
    timed = sorted(durations, key=durations.get)[:: max(1, len(durations) // 8)][:8]
    timed = [path for path in timed if durations[path] <= 60] or timed[:1]
    timed = [path for path, outcome in zip(timed, tried(timed), strict=True) if not isinstance(outcome, AudioRefusal)]
    list(scorer.score_files(timed[:1]))  # the first call of a session is slower
    started = time.monotonic()
    list(scorer.score_files(timed))
    elapsed_s = time.monotonic() - started
    # A recording shorter than a window costs as much as a window.
    window_s = scorer.detector.manifest.window_s
    if not (cost := sum(max(window_s, durations[path]) for path in timed)):
        return None
    total = sum(max(window_s, duration_s) for duration_s in durations.values())
    return elapsed_s / cost * total * scorer.num_threads / len(os.sched_getaffinity(0))

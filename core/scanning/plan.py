"""A dry run: what an audit would look at and how long it would take, from listing all and probing some."""

from __future__ import annotations

import math
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
    other_ways: tuple[tuple[str, float], ...] = ()
    """Of a detector with a fast network: what else one may choose, in words, and the time in seconds that it would take."""
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
    expected_s, other_ways = _expected_s(scorer, durations) if scorer and durations else (None, ())
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
        other_ways=tuple((way, seconds * per_probed) for way, seconds in other_ways),
        example_paths=tuple(os.path.relpath(path, folder).encode("utf-8", "backslashreplace").decode() for path in paths[:5]),
        ending_words=left_out.ending_words,
    )


def _expected_s(scorer: Scorer, durations: dict[str, float]) -> tuple[float | None, tuple[tuple[str, float], ...]]:
    """Time to score all of `durations` on this machine's cores, from scoring a few on the scorer's, and that of other ways.

    The time is None where no recording decodes.
    """
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
        return None, ()
    total = sum(max(window_s, duration_s) for duration_s in durations.values())
    per_core = scorer.num_threads / len(os.sched_getaffinity(0))
    if not (num_second := scorer.detector.manifest.num_second_pass):
        return elapsed_s / cost * total * per_core, ()
    # In two passes the cost is no longer in proportion to the length: a window costs `fast_s`, the judged ones `rest_s` more.
    rest_s = scorer.second_pass_s()
    timed_windows, all_windows = ([_num_windows(durations[path], window_s) for path in paths] for paths in (timed, durations))
    num_again = sum(min(num, num_second) for num in timed_windows)
    fast_s = max(0.0, elapsed_s - num_again * rest_s) / sum(timed_windows)
    ways = {
        "two passes": sum(num * fast_s + min(num, num_second) * rest_s for num in all_windows),
        "thorough, every window by all networks": sum(num * (fast_s + rest_s) for num in all_windows),
        "the fast network alone": sum(num * fast_s for num in all_windows),
    }
    return ways.pop("two passes") * per_core, tuple((way, seconds * per_core) for way, seconds in ways.items())


def _num_windows(duration_s: float, window_s: float) -> int:
    """How many windows a recording is cut into."""
    return 1 + max(0, math.ceil((duration_s - window_s) / (window_s / 2) - 1e-9))

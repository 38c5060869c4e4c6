"""The pointing game: how often the peak of a map lies in the part of a recording that is known to be spoofed.

Source: Zhang et al. (2018), "Top-down neural attention by excitation backprop", section 4.1, for the name and the count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from core.attacks.partial import chosen_parts, with_parts_of
from core.audio import SAMPLE_RATE_HZ, load
from core.checkpoints import Detector
from core.errors import AudioRefusal, CoreError
from core.evaluation.curves import wilson_interval
from core.explanation.detector_views import view_of
from core.explanation.explain import explain, explainable_layers, score_samples
from core.explanation.pointing_records import PointingGame, PointingScore
from core.explanation.recording_windows import samples_from, stitch, windows_of
from core.explanation.records import Method, available_methods
from core.whole_files import replace_file

PART_S = 0.8
"""About how long an inserted part is."""
NOTICED_NATS = 1.0
"""A detector that an insert moves by less than this has not noticed it: its map has nothing to point at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplicedRecording:
    """Bona fide speech with one spoofed part."""

    samples: np.ndarray
    """`[time]` float32 at 16 kHz."""
    untouched: np.ndarray
    """The same before the part was inserted."""
    start_s: float
    end_s: float


def spliced_recordings(bona_fide: Sequence[str], spoofs: Sequence[str], *, seed: int) -> Iterator[SplicedRecording]:
    """Pairs drawn at random without end: the loudest part of a spoof put, at its level, into bona fide speech at quiet places.

    Recordings that cannot be read or are too short are passed over.

    Raises:
        CoreError: either list is empty, or no pair could be spliced.
    """
    if not bona_fide or not spoofs:
        raise CoreError(
            f"Spliced recordings need both kinds; there are {len(bona_fide)} bona fide and {len(spoofs)} spoofed ones. "
            "Give a protocol that names both."
        )
    rng, num_failed = np.random.default_rng(seed), 0
    while num_failed < 100:
        pair = str(rng.choice(bona_fide)), str(rng.choice(spoofs))
        try:
            yield _spliced(*(load(path)[0].numpy() for path in pair), rng)
            num_failed = 0
        except AudioRefusal:
            num_failed += 1
    raise CoreError("100 pairs in a row could not be spliced: the recordings are too short, silent or cannot be read.")


def play_pointing_game(
    detector: Detector,
    spliced: Iterator[SplicedRecording],
    *,
    set_name: str,
    num: int = 100,
    max_tried: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PointingGame:
    """Makes maps of recordings whose insert the detector notices, until there are `num`, by every method.

    Args:
        detector: whose maps.
        spliced: the recordings, e.g. `spliced_recordings(...)`.
        set_name: what the recordings are from.
        num: recordings to play with.
        max_tried: give up after so many; ten times `num` for None.
        on_progress: told how many are played and wanted.

    Raises:
        CoreError: the detector noticed not one insert.
    """
    ways = [(method, explainable_layers(detector)[-1] if method == "grad_cam" else None) for method in available_methods(detector)]
    hits: dict[tuple[Method | None, str | None], list[bool]] = {way: [] for way in [*ways, (None, None)]}
    chances, num_tried = [], 0
    for one in spliced:
        num_tried += 1
        if _notices(detector, one):
            samples = torch.from_numpy(one.samples)
            chances.append((one.end_s - one.start_s) / (len(samples) / SAMPLE_RATE_HZ))
            for method, layer in ways:
                found = explain(detector, samples, method=method, layer=layer)
                hits[method, layer].append(_points_into(found.saliency, found.time_s, one))
            hits[None, None].append(_points_into(*_levels(detector, samples), one))
            if on_progress is not None:
                on_progress(len(chances), num)
        if len(chances) == num or num_tried == (max_tried or 10 * num):
            break
    if not chances:
        raise CoreError(f"{detector.name} noticed none of {num_tried} inserted parts, so its maps have nothing to point at.")
    return PointingGame(
        detector_name=detector.name,
        detector_hash=detector.hash,
        set_name=set_name,
        part_s=PART_S,
        noticed_nats=NOTICED_NATS,
        num_tried=num_tried,
        chance=float(np.mean(chances)),
        scores=tuple(_score(method, layer, found) for (method, layer), found in hits.items()),
    )


def save_pointing_game(game: PointingGame, path: Path) -> None:
    """As JSON, which `core.explanation.pointing_records.load_pointing_game` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(asdict(game), indent=1) + "\n")


def _spliced(speech: np.ndarray, spoof: np.ndarray, rng: np.random.Generator) -> SplicedRecording:
    ((first, end),) = chosen_parts(speech, num_parts=1, part_s=PART_S, rng=rng)
    length = end - first
    if len(spoof) < length:
        raise AudioRefusal(
            "too_short", f"{len(spoof) / SAMPLE_RATE_HZ:.2f} s of spoof; the part needs {length / SAMPLE_RATE_HZ:.2f} s."
        )
    energy = np.concatenate([[0.0], np.cumsum(np.square(spoof, dtype=np.float64))])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    made = np.zeros_like(speech)
    made[first:end] = spoof[start : start + length]
    partial = with_parts_of(speech, made, [(first, end)])
    ((start_s, end_s),) = partial.spans
    return SplicedRecording(samples=partial.samples.astype(np.float32), untouched=speech, start_s=start_s, end_s=end_s)


def _notices(detector: Detector, one: SplicedRecording) -> bool:
    with_part, without = score_samples(detector, one.samples), score_samples(detector, one.untouched)
    return with_part is not None and without is not None and with_part >= without + NOTICED_NATS


def _points_into(saliency: np.ndarray, time_s: np.ndarray, one: SplicedRecording) -> bool:
    """Whether the largest value lies in the part; a map without any points nowhere."""
    at_s = time_s[np.unravel_index(saliency.argmax(), saliency.shape)[1]]
    return bool(np.ptp(saliency) > 0 and one.start_s <= at_s <= one.end_s)


def _levels(detector: Detector, samples: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """How loud each cell is: what a map that knows nothing of the detector would mark."""
    view, windows = view_of(detector), windows_of(detector, samples_from(samples))
    energy = view.energy(view.shown(windows.samples[windows.judged])).double().numpy()
    return stitch(energy - energy.min(), windows, view.axes)


def _score(method: Method | None, layer: str | None, hits: list[bool]) -> PointingScore:
    low, high = wilson_interval(sum(hits), len(hits))
    return PointingScore(method=method, layer=layer, num=len(hits), num_hits=sum(hits), low=low, high=high)

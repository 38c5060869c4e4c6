"""Whether a map says something about the detector: curves under hiding and revealing, random weights, where it lies, agreement."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata

from core.attributions import randomised, window_maps
from core.checkpoints import Detector
from core.detector_views import CHUNK, DetectorView, view_of
from core.explanation_records import Explanation, ExplanationError, SaliencyTest
from core.models import build_model
from core.quality import FRAME_SAMPLES, active_frames
from core.recording_windows import between, cut, samples_from, windows_of

NUM_RANDOM = 19
"""A map that knows nothing is better than all of 19 others once in 20: the usual 5 %."""
MAX_TESTED_WINDOWS = 4
"""Windows of a long recording that are tested: those with the most saliency, where the map says most."""
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the cells that are hidden: closer where the curves are steep."""
NUM_RANDOM_NETWORKS = 3
"""Their maps are compared on the window where the map says most."""
MIN_SHIFT = 1 / 8
"""A map moved at random is moved by at least this share of either axis: a map moved by a cell or two is the same map."""
_MAX_RANKED = 200_000
"""Cells that a rank correlation takes; more are thinned evenly."""


def check_explanation(detector: Detector, samples: np.ndarray | torch.Tensor, explanation: Explanation) -> SaliencyTest:
    """Tests a map on the recording and the detector that it was made of.

    Args:
        detector: the explained one.
        samples: `[time]` float32 at 16 kHz, the explained ones.
        explanation: what is tested.

    Raises:
        ExplanationError: the map is of another detector or of another recording.

    Source: deletion and insertion: Petsiuk et al. (2018), "RISE", section 4.3. Random weights: Adebayo et al. (2018),
    "Sanity checks for saliency maps", section 3.
    """
    samples = samples_from(samples)
    windows = windows_of(detector, samples)
    if explanation.detector_hash != detector.hash:
        raise ExplanationError(f"the map explains the detector {explanation.detector_hash[:12]}, not {detector.hash[:12]}")
    if explanation.duration_s != windows.duration_s:
        raise ExplanationError(f"the map is of {explanation.duration_s:g} s of audio, not of {windows.duration_s:g} s")
    view = view_of(detector)
    maps = {i: cut(explanation.saliency, explanation.time_s, windows, i, view.axes) for i in windows.judged}
    tested = sorted(windows.judged, key=lambda i: -maps[i].sum())[:MAX_TESTED_WINDOWS]
    shown = view.shown(windows.samples[tested])
    tested_maps = np.stack([maps[i] for i in tested])
    deletion, insertion = _areas(view, shown, tested_maps, explanation)
    gain = insertion - deletion
    # Differences within the rounding of float32 are none.
    margin = 1e-5 * max(1.0, float(np.abs(np.stack([deletion, insertion])).max()))
    return SaliencyTest(
        deletion_auc=float(deletion[0]),
        insertion_auc=float(insertion[0]),
        energy_deletion_auc=float(deletion[1]),
        energy_insertion_auc=float(insertion[1]),
        random_deletion_auc=float(deletion[2:].mean()),
        random_insertion_auc=float(insertion[2:].mean()),
        beats_random=not explanation.is_empty and bool(gain[0] > gain[2:].max() + margin),
        num_random=NUM_RANDOM,
        randomised_correlation=_randomised_correlation(view, shown[:1], tested_maps[0], explanation),
        num_windows=len(tested),
        **_shares(explanation, samples),
    )


def agreement(first: Explanation, second: Explanation) -> float:
    """Spearman's rank correlation of two maps of one recording, -1 to 1; 0 where either is the same everywhere.

    Maps on other rows or frames (another detector's) are read on the first one's.

    Raises:
        ExplanationError: they are of other lengths, or their rows mean different things.
    """
    if abs(first.duration_s - second.duration_s) > 1e-6:
        raise ExplanationError(
            f"maps of one recording can be compared; these are of {first.duration_s:g} and {second.duration_s:g} s"
        )
    if first.row_label != second.row_label:
        raise ExplanationError(f"the maps' rows differ: {first.row_label} and {second.row_label}; they cannot be compared")
    other = second.saliency
    if not np.array_equal(first.time_s, second.time_s):
        other = between(np.interp(first.time_s, second.time_s, np.arange(len(second.time_s))), other)
    common = slice(None)
    if not np.array_equal(first.rows, second.rows):
        common = (first.rows >= second.rows[0]) & (first.rows <= second.rows[-1])
        other = between(np.interp(first.rows[common], second.rows, np.arange(len(second.rows))), other.T).T
    return _rank_correlation(first.saliency[common], other)


def _areas(view: DetectorView, shown: torch.Tensor, maps: np.ndarray, explanation: Explanation) -> tuple[np.ndarray, np.ndarray]:
    """Areas under the deletion and insertion curves `[order]`, averaged over windows; orders: map, energy, moved maps."""
    generator = np.random.default_rng(0)
    areas = []
    for one, saliency in zip(shown, maps, strict=True):
        energy = view.energy(one[None])[0].numpy()
        orders = [saliency, energy, *(_moved(saliency, generator) for _ in range(NUM_RANDOM))]
        places = torch.stack([_place_of(order, generator) for order in orders])
        limits = torch.tensor(SHARES[1:-1]) * places[0].numel()
        # `[order, share, row, column]` would be large: some hidden images at a time.
        hidden = [(order, float(limit), is_deletion) for is_deletion in (True, False) for order in places for limit in limits]
        values = []
        for start in range(0, len(hidden), CHUNK):
            masks = [(order < limit) == is_deletion for order, limit, is_deletion in hidden[start : start + CHUNK]]
            values.append(view.values(one * ~torch.stack(masks).unsqueeze(1), target=explanation.target))
        whole, nothing = view.values(torch.stack([one, torch.zeros_like(one)]), target=explanation.target).tolist()
        inner = torch.cat(values).double().numpy().reshape(2, len(orders), len(limits))
        ends = np.broadcast_to(np.array([[whole, nothing], [nothing, whole]])[:, :, None, None], (2, 2, len(orders), 1))
        areas.append(np.trapezoid(np.concatenate([ends[:, 0], inner, ends[:, 1]], axis=-1), SHARES, axis=-1))
    deletion, insertion = np.mean(areas, axis=0)
    return deletion, insertion


def _place_of(values: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
    """Each cell's place when cells are sorted, the largest first; equal ones at random."""
    order = np.lexsort((generator.random(values.size), -values.ravel()))
    places = np.empty(values.size, dtype=np.int64)
    places[order] = np.arange(values.size)
    return torch.from_numpy(places.reshape(values.shape))


def _moved(saliency: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The map at another place, wrapped round: same values, same smoothness, no knowledge."""
    shifts = [int(generator.integers(round(size * MIN_SHIFT), round(size * (1 - MIN_SHIFT)) + 1)) for size in saliency.shape]
    return np.roll(saliency, shifts, axis=(0, 1))


def _randomised_correlation(
    view: DetectorView, shown: torch.Tensor, saliency: np.ndarray, explanation: Explanation
) -> float | None:
    """Mean rank correlation with the maps of one window that the same network gives with random weights."""
    if view.detector.is_foreign:
        return None
    manifest = view.detector.manifest
    correlations = []
    for seed in range(NUM_RANDOM_NETWORKS):
        generator = torch.Generator().manual_seed(seed)
        other = randomised(view.model, generator, lambda: build_model(manifest.model, num_members=manifest.num_members))
        (made,) = window_maps(
            view,
            shown,
            method=explanation.method,
            layer=explanation.layer,
            target=explanation.target,
            model=other,
            is_coarse=True,  # these run in PyTorch, and there are several
        )
        correlations.append(_rank_correlation(saliency, made))
    return float(np.mean(correlations))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    step = max(1, first.size // _MAX_RANKED)
    ranks = [rankdata(values.ravel()[::step]) for values in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _shares(explanation: Explanation, samples: torch.Tensor) -> dict[str, float | None]:
    """Where the saliency lies: in pauses, below 300 Hz, above 4 kHz; shares of its sum, 0 of an empty map."""
    is_speech = active_frames(samples).numpy()
    frame = np.minimum((explanation.time_s * explanation.sample_rate_hz / FRAME_SAMPLES).astype(int), len(is_speech) - 1)
    is_pause = ~is_speech[frame]
    saliency, total = explanation.saliency.astype(np.float64), max(float(explanation.saliency.sum()), 1e-12)
    low, high = explanation.rows < 300, explanation.rows > 4_000
    return {
        "share_non_speech": float(saliency[:, is_pause].sum() / total),
        "share_of_time_non_speech": float(is_pause.mean()),
        "share_below_300_hz": float(saliency[low].sum() / total) if explanation.has_frequencies else None,
        "share_above_4_khz": float(saliency[high].sum() / total) if explanation.has_frequencies else None,
    }

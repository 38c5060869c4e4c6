"""Whether a map says something about the detector: curves under hiding and revealing, random weights, where it lies, agreement."""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy.stats import rankdata

from core.checkpoints import Detector
from core.explanation.attributions import randomised, window_maps
from core.explanation.detector_views import CHUNK, DetectorView, view_of
from core.explanation.recording_windows import between, cut, samples_from, windows_of
from core.explanation.records import Explanation, ExplanationError, SaliencyTest, Target
from core.quality import FRAME_SAMPLES, active_frames

NUM_RANDOM = 19
"""A map that knows nothing is better than all of 19 others once in 20: the usual 5 %."""
MAX_TESTED_WINDOWS = 4
"""Windows of a long recording that are tested: those with the most saliency, where the map says most."""
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the cells that are hidden: closer where the curves are steep."""
NUM_RANDOM_NETWORKS = {"grad_cam": 9, "integrated_gradients": 3, "occlusion": 3}
"""Networks with random weights, on the window where the map says most: few where each map takes seconds."""
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
    num_tested = 1 if detector.manifest.branches else MAX_TESTED_WINDOWS  # a fusion's window costs ten times as much
    tested = sorted(windows.judged, key=lambda i: -maps[i].sum())[:num_tested]
    shown = view.shown(windows.samples[tested])
    drawn = _maps_of_random_networks(view, shown[:1], explanation)
    generator = np.random.default_rng(0)
    areas = []
    for number, (i, one) in enumerate(zip(tested, shown, strict=True)):
        moved = [_moved(maps[i], generator) for _ in range(NUM_RANDOM)]
        orders = [maps[i], view.energy(one[None])[0].numpy(), *moved, *(drawn if number == 0 else [])]
        areas.append(_areas(view, one, [_places(order, generator) for order in orders], explanation.target))
    deletion, insertion = np.mean([window[:, : 2 + NUM_RANDOM] for window in areas], axis=0)
    gain, gain_of_first = insertion - deletion, areas[0][1] - areas[0][0]
    # Differences within the rounding of float32 are none.
    margin = 1e-5 * max(1.0, float(np.abs(areas[0]).max()))
    return SaliencyTest(
        deletion_auc=float(deletion[0]),
        insertion_auc=float(insertion[0]),
        energy_deletion_auc=float(deletion[1]),
        energy_insertion_auc=float(insertion[1]),
        random_deletion_auc=float(deletion[2:].mean()),
        random_insertion_auc=float(insertion[2:].mean()),
        beats_random=not explanation.is_empty and bool(gain[0] > gain[2:].max() + margin),
        num_random=NUM_RANDOM,
        randomised_correlation=_correlation_with(drawn, view, shown[:1], maps[tested[0]], explanation),
        beats_random_weights=bool(gain_of_first[0] > gain_of_first[2 + NUM_RANDOM :].max() + margin) if drawn else None,
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


def _areas(view: DetectorView, one: torch.Tensor, orders: list[torch.Tensor], target: Target) -> np.ndarray:
    """Areas under the deletion and the insertion curve of each order on one window, `[2, order]`.

    Args:
        one: `[channel, row, column]`, as shown to the detector.
        orders: each cell's place, `[row, column]`.
        target: whose value the curves show.
    """
    limits = torch.tensor(SHARES[1:-1]) * orders[0].numel()
    hidden = [(places, float(limit), is_deletion) for is_deletion in (True, False) for places in orders for limit in limits]
    values = []
    for start in range(0, len(hidden), CHUNK):  # `[order, share, row, column]` would be large
        masks = [(places < limit) == is_deletion for places, limit, is_deletion in hidden[start : start + CHUNK]]
        values.append(view.values(one * ~torch.stack(masks).unsqueeze(1), target=target))
    whole, nothing = view.values(torch.stack([one, torch.zeros_like(one)]), target=target).tolist()
    inner = torch.cat(values).double().numpy().reshape(2, len(orders), len(limits))
    first, last = (
        np.broadcast_to(np.array(ends)[:, None, None], (2, len(orders), 1)) for ends in ((whole, nothing), (nothing, whole))
    )
    return np.trapezoid(np.concatenate([first, inner, last], axis=-1), SHARES, axis=-1)


def _places(values: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
    """Each cell's place when cells are sorted, the largest first; equal ones at random."""
    order = np.lexsort((generator.random(values.size), -values.ravel()))
    places = np.empty(values.size, dtype=np.int64)
    places[order] = np.arange(values.size)
    return torch.from_numpy(places.reshape(values.shape))


def _moved(saliency: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The map at another place, wrapped round: same values, same smoothness, no knowledge."""
    shifts = [int(generator.integers(round(size * MIN_SHIFT), round(size * (1 - MIN_SHIFT)) + 1)) for size in saliency.shape]
    return np.roll(saliency, shifts, axis=(0, 1))


def _maps_of_random_networks(view: DetectorView, shown: torch.Tensor, explanation: Explanation) -> list[np.ndarray]:
    """Maps of one window by the same network with random weights; none where there are no weights."""
    if view.detector.is_foreign:
        return []
    wanted, maps = 1 if view.detector.manifest.branches else NUM_RANDOM_NETWORKS[explanation.method], []
    for seed in range(3 * wanted):
        generator = torch.Generator().manual_seed(seed)
        other = randomised(view.model, generator, lambda: copy.deepcopy(view.model))
        (made,) = window_maps(view, shown, **_options(explanation), model=other)
        if made.any() or explanation.is_empty:  # one that finds nothing for the target is no rival
            maps.append(made)
        if len(maps) == wanted:
            break
    return maps


def _correlation_with(
    drawn: list[np.ndarray], view: DetectorView, shown: torch.Tensor, saliency: np.ndarray, explanation: Explanation
) -> float | None:
    """Mean rank correlation of a window's map with those of random networks."""
    if not drawn:
        return None
    if explanation.method == "occlusion":  # theirs are coarse
        (saliency,) = window_maps(view, shown, **_options(explanation))
    return float(np.mean([_rank_correlation(saliency, other) for other in drawn]))


def _options(explanation: Explanation) -> dict[str, object]:
    """How the map was made; random networks run in PyTorch, so that coarse occlusion must do for them."""
    return {"method": explanation.method, "layer": explanation.layer, "target": explanation.target, "is_coarse": True}


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

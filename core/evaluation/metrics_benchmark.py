"""The bootstrap of per-attack EERs measured against the plain way, on as many made-up trials as ASVspoof 2019 has.

`python -m core.evaluation.metrics_benchmark` prints the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from core.evaluation.draws import resampled_weights
from core.evaluation.resampling import bootstrap_eers
from core.metrics import equal_error_rate

NUM_BONA_FIDE, NUM_PER_ATTACK, NUM_ATTACKS, NUM_SPEAKERS = 7_355, 4_914, 13, 67
"""ASVspoof 2019 LA eval: 71,237 trials."""
NUM_RESAMPLES = 1_000
NUM_PLAIN = 3
"""Resamples that go the plain way; all of them would take minutes."""


def run_metrics_benchmark(*, num_resamples: int = NUM_RESAMPLES, num_plain: int = NUM_PLAIN, scale: float = 1.0) -> str:
    """Measures and reports as Markdown.

    The plain way repeats the trials of a resample and takes `core.metrics.equal_error_rate` of each attack and of all.

    Args:
        num_resamples: of the bootstrap.
        num_plain: of the plain way, whose time is scaled up.
        scale: share of the trials to measure on.
    """
    scores, is_spoof, attacks, speakers = _made_up_trials(scale)
    rows = []
    for title, groups in (("trials", None), ("speakers", speakers)):
        drawn = {"groups": groups, "num_resamples": num_resamples}
        fast_s, busy_s = _timed(partial(bootstrap_eers, scores, is_spoof, attacks, **drawn))
        plain_s, _ = _timed(partial(_plain, scores, is_spoof, attacks, **drawn | {"num_resamples": num_plain}))
        plain_s *= num_resamples / num_plain
        rows.append(f"| {title} | {fast_s:.2f} s | {busy_s:.2f} s | {plain_s:.0f} s | **{plain_s / fast_s:.0f}** |")
    table = "\n".join(rows)
    return f"""{len(scores):,} trials, {NUM_ATTACKS} attacks and all together, {num_resamples:,} resamples; one thread.

| resampled | bootstrap | of it processor time | the plain way | ratio |
| --- | --- | --- | --- | --- |
{table}
"""


def _made_up_trials(scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores (unit Gaussians, spoofs at 3), is_spoof, attacks, speakers."""
    rng = np.random.default_rng(0)
    num_bona_fide, num_per_attack = round(scale * NUM_BONA_FIDE), round(scale * NUM_PER_ATTACK)
    names = [None, *(f"A{number:02d}" for number in range(7, 7 + NUM_ATTACKS))]
    attacks = np.repeat(np.array(names, dtype=object), [num_bona_fide] + [num_per_attack] * NUM_ATTACKS)
    is_spoof = np.arange(len(attacks)) >= num_bona_fide
    return rng.standard_normal(len(attacks)) + 3 * is_spoof, is_spoof, attacks, rng.integers(NUM_SPEAKERS, size=len(attacks))


def _plain(
    scores: np.ndarray, is_spoof: np.ndarray, attacks: np.ndarray, *, groups: np.ndarray | None, num_resamples: int
) -> list[float]:
    eers = []
    for weights in resampled_weights(is_spoof, groups=groups, num_resamples=num_resamples, seed=0):
        for counts in weights:
            drawn = np.repeat(np.arange(len(scores)), counts)
            chosen = [drawn, *(drawn[~is_spoof[drawn] | (attacks[drawn] == name)] for name in np.unique(attacks[is_spoof]))]
            eers += [equal_error_rate(scores[trials], is_spoof[trials])[0] for trials in chosen]
    return eers


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - busy


if __name__ == "__main__":
    print(run_metrics_benchmark())

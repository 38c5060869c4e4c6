"""A set of recordings under all conditions: every score, in parallel processes, and the table of figures made of them."""

from __future__ import annotations

import datetime
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

import pandas as pd
import torch

from core.audio import sha256_of
from core.checkpoints import Detector, load_detector
from core.detect import Scorer
from core.errors import AudioRefusal, CoreError
from core.recording_start import read_start
from core.records import Verdict
from core.stress.cache import ScoreCache
from core.stress.conditions import CLEAN, CONDITIONS, Condition, apply_condition, recording_seed, unavailable
from core.stress.figures import Scores, stress_cells, verdict_shares
from core.stress.records import StressTable
from core.stress.scoring import Judgement, judge_all

Progress = Callable[[int, int], None]
_scorer: Scorer | None = None  # of a worker process


def stress_trials(
    detector: Detector,
    recordings: pd.DataFrame,
    conditions: Sequence[Condition] | None = None,
    *,
    set_name: str,
    by: str = "attack",
    seed: int = 0,
    num_resamples: int = 1_000,
    cache: str | os.PathLike[str] | None = None,
    num_processes: int = 1,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> StressTable | None:
    """A detector on a set under each condition: EERs where both classes are known, and the share of verdicts that stay.

    Of recordings longer than `MAX_START_S` the first minute is stressed.

    Args:
        detector: which one.
        recordings: `path`, and where known `label`, `attack`, `family`, `speaker` (`labelled_folders.recordings_of`).
        conditions: all that this machine can make, for None.
        set_name: what people call the set.
        by: the column of the groups: `attack` or `family`.
        seed: of noise, rooms and resamples.
        num_resamples: of the bootstrap.
        cache: file of scores; with the same one the test goes on where it stopped.
        num_processes: at once.
        on_progress: told how many recordings are done, of how many.
        should_stop: asked after each recording.

    Returns:
        The table; None when it was stopped.

    Raises:
        CoreError: no recording, a condition that cannot be made here, or a cache of another test.
    """
    missing = {condition: problem for condition in conditions or CONDITIONS.values() if (problem := unavailable(condition))}
    if conditions is not None and missing:
        raise CoreError(next(iter(missing.values())))
    chosen = (CLEAN, *(condition for condition in conditions or CONDITIONS.values() if condition not in missing))
    if not len(recordings):
        raise CoreError("There are no recordings to stress.")
    scores = _scored(detector, recordings, chosen, ScoreCache(cache, detector_hash=detector.hash, seed=seed), seed=seed,
                     num_processes=num_processes, on_progress=on_progress, should_stop=should_stop)  # fmt: skip
    if scores is None:
        return None
    attacks, cells, resampled, notes = stress_cells(scores, by=by, num_resamples=num_resamples, seed=seed)
    return StressTable(
        detector_name=detector.name,
        detector_hash=detector.hash,
        set_name=set_name,
        grouping=by,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=seed,
        num_resamples=num_resamples,
        resampled=resampled,
        conditions=chosen,
        attacks=attacks,
        cells=cells,
        shares=verdict_shares(scores, has_verdicts=detector.manifest.thresholds is not None),
        num_recordings=len(recordings),
        notes=(*notes, *(f"Not tried, {condition.title}: {problem}" for condition, problem in missing.items())),
    )


def _scored(
    detector: Detector,
    recordings: pd.DataFrame,
    conditions: tuple[Condition, ...],
    cache: ScoreCache,
    *,
    seed: int,
    num_processes: int,
    on_progress: Progress | None,
    should_stop: Callable[[], bool] | None,
) -> Scores | None:
    """Judgements of all recordings under all conditions; None when stopped."""
    names, keys, tasks = [condition.name for condition in conditions], {}, []
    for path in recordings["path"]:
        keys[path] = _key_of(path)
        left = [name for name in names if cache.get(keys[path], name) is None]
        if left:
            tasks.append((path, keys[path], left, seed))
    num_done = len(keys) - len(tasks)
    for _, key, judged in _run(detector, tasks, num_processes):
        cache.add(key, judged)
        num_done += 1
        if on_progress is not None:
            on_progress(num_done, len(keys))
        if should_stop is not None and should_stop():
            return None
    judgements = {name: [cache.get(keys[path], name) for path in recordings["path"]] for name in names}
    return Scores(recordings=recordings.reset_index(drop=True), judgements=judgements)


def _run(
    detector: Detector, tasks: list[tuple[str, str, list[str], int]], num_processes: int
) -> Iterator[tuple[str, str, dict[str, Judgement]]]:
    """Each task's path, key and judgements, in the order in which they are done."""
    if num_processes <= 1 or len(tasks) < 2:
        scorer = Scorer(detector) if tasks else None
        yield from (_stressed(scorer, *task) for task in tasks)
        return
    # A fresh process each: forking one that holds threads of torch and ONNX Runtime can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context, initializer=_open, initargs=(str(detector.folder),)) as pool:
        waiting, rest = set(), iter(tasks)
        try:
            waiting |= {pool.submit(_in_worker, *task) for task in islice(rest, 2 * num_processes)}
            while waiting:
                done: Future = next(as_completed(waiting))
                waiting.remove(done)
                waiting |= {pool.submit(_in_worker, *task) for task in islice(rest, 1)}
                yield done.result()
        finally:
            for future in waiting:
                future.cancel()


def _open(folder: str) -> None:
    global _scorer
    torch.set_num_threads(1)
    _scorer = Scorer(load_detector(Path(folder)))


def _in_worker(*task: object) -> tuple[str, str, dict[str, Judgement]]:
    return _stressed(_scorer, *task)


def _stressed(scorer: Scorer, path: str, key: str, names: list[str], seed: int) -> tuple[str, str, dict[str, Judgement]]:
    """One recording under the named conditions."""
    try:
        samples = read_start(path)
    except AudioRefusal as refusal:
        refused = Judgement(score=None, verdict=Verdict.REFUSED, reason=str(refusal))
        return path, key, dict.fromkeys(names, refused)
    own_seed, judged = recording_seed(seed, key), {}
    for first in range(0, len(names), 8):
        part = names[first : first + 8]
        changed = [apply_condition(samples, CONDITIONS.get(name, CLEAN), seed=own_seed) for name in part]
        judged |= dict(zip(part, judge_all(scorer, changed), strict=True))
    return path, key, judged


def _key_of(path: str) -> str:
    try:
        return sha256_of(path)
    except AudioRefusal:
        return f"unreadable {path}"

"""Makes a labelled data set of recordings: each as bona fide, and a spoof of it by every kind. Resumes; overwrites nothing.

Every spoof has the level, bandwidth, duration and edge silence of its source; a replay is compared with its source heard in
the same room, which is written too.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

import numpy as np

from core.attacks.data_set_records import (
    SCHEMA_VERSION,
    DataSetError,
    DataSetReport,
    DoneSource,
    add_to_journal,
    open_folder,
    write_tables,
)
from core.attacks.data_set_task import Task, attack_recording
from core.attacks.kinds import attack_kind
from core.attacks.make import MAX_DURATION_S
from core.errors import CoreError

Parameters = Mapping[str, Mapping[str, float | str]]
"""Kind -> parameter -> value."""


def make_data_set(
    recordings: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    kinds: Sequence[str],
    *,
    seed: int,
    text: str | Sequence[str] | None = None,
    parameters: Parameters | None = None,
    speakers: Mapping[str, str] | None = None,
    max_duration_s: float = 60.0,
    num_processes: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DataSetReport:
    """Writes a data set (`core.attacks.data_set_records`); run again with the same arguments, it goes on where it stopped.

    Args:
        recordings: bona fide speech, any format that `core.audio` reads.
        out: a new or empty folder, or one that an earlier run left.
        kinds: names of `core.attacks.kinds.ATTACK_KINDS`.
        seed: decides everything random; same seed, same bytes, however many processes.
        text: for text-to-speech, one for all or several taken in turn; by default drawn sentences.
        parameters: what is not given is drawn for each recording, or the default.
        speakers: recording -> speaker; without, every recording counts as a speaker of its own.
        max_duration_s: longer recordings are cut there, and noted.
        num_processes: each takes a recording at a time.
        on_progress: told recordings done and in all.
        should_stop: asked between recordings; what is done stays.

    Raises:
        DataSetError: `out` holds something else, or nothing could be made at all.
        CoreError: an unknown kind, one that cannot run here, a parameter out of range, no recordings.
    """
    _check(recordings, kinds, seed, parameters or {}, max_duration_s)
    texts = [text] if isinstance(text, str) else list(text or [])
    paths = list(dict.fromkeys(os.path.abspath(os.fspath(path)) for path in recordings))
    settings = {
        "schema_version": SCHEMA_VERSION,
        "recordings": paths,
        "kinds": list(kinds),
        "seed": seed,
        "text": texts,
        "parameters": {kind: dict(values) for kind, values in (parameters or {}).items()},
        "speakers": {os.path.abspath(path): speaker for path, speaker in (speakers or {}).items()},
        "max_duration_s": max_duration_s,
    }
    folder = Path(out)
    done = open_folder(folder, settings)
    tasks = [task for task in _tasks(paths, folder, settings) if task.recording not in done]
    report = on_progress or (lambda *_: None)
    report(len(done), len(paths))
    for source in _worked(tasks, num_processes, should_stop or (lambda: False)):
        add_to_journal(folder, source)
        done[source.recording] = source
        report(len(done), len(paths))
    in_order = [done[path] for path in paths if path in done]
    write_tables(folder, settings, in_order, is_complete=len(done) == len(paths))
    return _report(folder, len(paths), in_order)


def other_recordings(paths: Sequence[str], *, seed: int, speakers: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Which recording each is converted towards, for kinds that take one: another speaker's, any other where speakers are unknown.

    Args:
        paths: absolute.
        seed: of the set.
        speakers: path -> speaker.

    Returns:
        Path -> another path; None where there is none.
    """
    order = np.random.default_rng([seed, 17]).permutation(len(paths)).tolist()
    who = {path: (speakers or {}).get(path) for path in paths}
    others = {}
    for at, i in enumerate(order):
        following = (paths[j] for j in (*order[at + 1 :], *order[:at]))
        others[paths[i]] = next((each for each in following if who[paths[i]] is None or who[each] != who[paths[i]]), None)
    return others


def _tasks(paths: list[str], out: Path, settings: dict) -> list[Task]:
    """One task per recording."""
    speakers, texts = settings["speakers"], settings["text"]
    needs_other = any(attack_kind(kind).takes_other or kind == "partial" for kind in settings["kinds"])
    others = other_recordings(paths, seed=settings["seed"], speakers=speakers)
    tasks = []
    for number, (path, name) in enumerate(zip(paths, _names(paths), strict=True)):
        speaker = speakers.get(path)
        tasks.append(
            Task(
                recording=path,
                name=name,
                speaker=re.sub(r"\s+", "_", speaker or name),
                other=others[path] if needs_other else None,
                out=str(out),
                kinds=tuple(settings["kinds"]),
                seed=settings["seed"],
                text=texts[number % len(texts)] if texts else None,
                parameters=settings["parameters"],
                max_duration_s=settings["max_duration_s"],
            )
        )
    return tasks


def _names(paths: list[str]) -> list[str]:
    """The files' own names with nothing in them that a protocol cannot hold, numbered where two are the same."""
    names: dict[str, None] = {}
    for path in paths:
        plain = re.sub(r"[^A-Za-z0-9.-]+", "_", Path(path).stem).strip("_") or "recording"
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}_{number}"
        names[name] = None
    return list(names)


def _worked(tasks: list[Task], num_processes: int, should_stop: Callable[[], bool]) -> Iterator[DoneSource]:
    """Each task's result as it comes, until told to stop."""
    if num_processes <= 1 or len(tasks) < 2:
        for task in tasks:
            if should_stop():
                return
            yield attack_recording(task)
        return
    # Spawned: a forked copy of a process that runs PyTorch's threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, context, initializer=_leave_signals_to_the_parent) as pool:
        left, waiting = iter(tasks), set()
        while True:
            while len(waiting) < 2 * num_processes and not should_stop():
                task = next(left, None)
                if task is None:
                    break
                waiting.add(pool.submit(attack_recording, task))
            if not waiting:
                return
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal


def _check(recordings: Sequence, kinds: Sequence[str], seed: int, parameters: Parameters, max_duration_s: float) -> None:
    if not recordings:
        raise CoreError("There are no recordings to attack; give at least one.")
    if not kinds:
        raise CoreError("There is no kind of attack to make; choose at least one.")
    if len(set(kinds)) < len(kinds):
        raise CoreError(f"A kind of attack is named twice in {', '.join(kinds)}; name each once.")
    missing = [reason for kind in kinds if (reason := attack_kind(kind).unavailable)]
    if missing:
        raise CoreError(" ".join(missing))
    for kind, values in parameters.items():
        attack_kind(kind).settled(values, seed=0)
        if kind not in kinds:
            raise CoreError(f"Parameters are given for {kind}, which is not among the kinds {', '.join(kinds)}.")
    if seed < 0:
        raise CoreError(f"The seed is {seed}; expected 0 or more.")
    if not 0.5 <= max_duration_s <= MAX_DURATION_S:
        raise CoreError(f"Recordings would be cut at {max_duration_s:g} s; expected 0.5 to {MAX_DURATION_S:.0f} s.")


def _report(out: Path, num_recordings: int, done: list[DoneSource]) -> DataSetReport:
    files = [file for source in done for file in source.files]
    if num_recordings == len(done) and not files:
        first = next((failure.sentence for source in done for failure in source.failures), "")
        raise DataSetError(f"Nothing could be made of {num_recordings} recordings. The first: {first}")
    return DataSetReport(
        out=out,
        num_recordings=num_recordings,
        num_done=len(done),
        num_bona_fide=sum(file.label == "bona fide" for file in files),
        num_spoof=sum(file.label == "spoof" for file in files),
        failures=tuple(failure for source in done for failure in source.failures),
        notes=tuple(source.note for source in done if source.note),
    )

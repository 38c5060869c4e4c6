"""Works on one recording of a made data set: its spoofs, matched to one another's level, as files. Knows no other recording."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from core.attacks.data_set_records import AUDIO, DoneSource, Failure, MadeFile
from core.attacks.kinds import attack_kind
from core.attacks.make import MAX_DURATION_S, MadeSpoof, make_spoof, spoof_seed
from core.audio import SAMPLE_RATE_HZ, load, sha256_of
from core.errors import CoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One recording to be worked on, as it travels to a process."""

    recording: str
    name: str
    speaker: str
    other: str | None
    out: str
    kinds: tuple[str, ...]
    seed: int
    text: str | None
    parameters: dict[str, dict[str, float | str]]
    max_duration_s: float


def attack_recording(task: Task) -> DoneSource:
    """All files of one recording, written; what fails is told, and does not stop the rest."""
    failures: list[Failure] = []
    try:
        sha256 = sha256_of(task.recording)
        whole = load(task.recording)[0].numpy()
        other = None if task.other is None else load(task.other)[0][: int(MAX_DURATION_S * SAMPLE_RATE_HZ)].numpy()
    except CoreError as error:
        return DoneSource(
            recording=task.recording,
            sha256=None,
            speaker=task.speaker,
            files=(),
            failures=(Failure(recording=task.recording, kind=None, sentence=str(error)),),
        )
    samples = whole[: int(task.max_duration_s * SAMPLE_RATE_HZ)]
    spoofs: list[MadeSpoof] = []
    with _one_thread():
        for kind in task.kinds:
            try:
                spoofs.append(
                    make_spoof(
                        samples,
                        kind,
                        seed=spoof_seed(task.seed, sha256, kind),
                        parameters=task.parameters.get(kind),
                        text=task.text,
                        other=other,
                        source=task.name,
                    )
                )
            except CoreError as error:
                failures.append(Failure(recording=task.recording, kind=kind, sentence=str(error)))
    note = None
    if len(samples) < len(whole):
        note = f"{task.recording}: cut to its first {task.max_duration_s:g} s of {len(whole) / SAMPLE_RATE_HZ:.0f} s"
    files = _written(task, samples, spoofs) if spoofs else ()
    return DoneSource(
        recording=task.recording, sha256=sha256, speaker=task.speaker, files=files, failures=tuple(failures), note=note
    )


def _written(task: Task, samples: np.ndarray, spoofs: list[MadeSpoof]) -> tuple[MadeFile, ...]:
    """The source and its spoofs, all turned down by one gain where one of them would be over full scale."""
    gain = min(spoof.gain for spoof in spoofs)
    files = [_file(task, task.name, samples * gain, label="bona fide")]
    for spoof in spoofs:
        utterance = f"{task.name}__{spoof.kind}"
        turn = gain / spoof.gain
        if spoof.counterpart is not None:
            room = f"{utterance}__bonafide"
            files.append(_file(task, room, spoof.counterpart * turn, label="bona fide", environment=spoof.environment))
        kind = attack_kind(spoof.kind)
        choices = {parameter.name: parameter.choices for parameter in kind.parameters if parameter.choices}
        named = {name: choices[name][int(value)] if name in choices else value for name, value in spoof.parameters.items()}
        files.append(
            _file(
                task,
                utterance,
                spoof.samples * turn,
                label="spoof",
                attack=spoof.attack,
                environment=spoof.environment,
                kind=spoof.kind,
                parameters=named,
                seed=spoof.seed,
                text=spoof.text,
                made_by=spoof.made_by,
                spans=spoof.spans,
            )
        )
    return tuple(files)


def _file(task: Task, utterance: str, samples: np.ndarray, *, attack=None, environment=None, **more) -> MadeFile:
    path = Path(task.out, AUDIO, f"{utterance}.flac")
    part = path.with_suffix(".part")
    soundfile.write(part, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    os.replace(part, path)
    return MadeFile(
        utterance=utterance, attack=attack, environment=environment, num_samples=len(samples), sha256=sha256_of(path), **more
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch on one thread: sums in another order round otherwise, and bytes would depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

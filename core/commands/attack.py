"""`python -m core attack` and `attack-kinds`: labelled spoofs of a folder of bona fide speech."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from core.attacks.kinds import ATTACK_KINDS, attack_kind, value_words
from core.commands.protocol_options import add_protocol_choices, protocol_choices
from core.errors import CoreError
from core.hostile_text import one_line
from core.names import find_name
from core.progress import CountProgress
from core.protocols import read_protocol
from core.records import ScanSettings
from core.scanning.discovery import find_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `attack` takes."""
    parser.add_argument("folder", help="folder with bona fide recordings, searched with all below it")
    parser.add_argument(
        "out", type=Path, help="new or empty folder for the data set; run the command again to go on where it stopped"
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        required=True,
        metavar="KIND",
        help="kinds of attack (`python -m core attack-kinds`), or `all` that can run here",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides everything random (default: 0); same seed, same bytes")
    parser.add_argument(
        "--text", type=Path, metavar="FILE", help="what text-to-speech says, one text per line, taken in turn (default: drawn)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KIND.PARAMETER=VALUE",
        help="fix a parameter; without, it is drawn for each recording",
    )
    parser.add_argument(
        "--protocol",
        metavar="FILE",
        help="ASVspoof protocol, or a table: only its bona fide recordings are attacked, and its speakers are kept",
    )
    add_protocol_choices(parser)
    parser.add_argument("--pattern", default="", metavar="GLOB", help="only paths within the folder that match, e.g. '2026/*.wav'")
    parser.add_argument("--max-seconds", type=float, default=60.0, help="longer recordings are cut there (default: 60)")
    parser.add_argument(
        "--processes", type=int, default=len(os.sched_getaffinity(0)), help="recordings at a time (default: one per core)"
    )


def run(options: argparse.Namespace) -> int:
    """Makes the data set; status 1 when something could not be made or it was interrupted."""
    from core.attacks.data_set import make_data_set

    kinds = _kinds(options.kinds)
    recordings, speakers = _recordings(options)
    texts = _texts(options.text) if options.text else None
    print(f"{len(recordings)} recordings, {len(kinds)} kinds of attack: {', '.join(kinds)}", file=sys.stderr)
    with CountProgress() as progress, _StopOnSignal() as stop:
        report = make_data_set(
            recordings,
            options.out,
            kinds,
            seed=options.seed,
            text=texts,
            parameters=_parameters(options.set),
            speakers=speakers,
            max_duration_s=options.max_seconds,
            num_processes=options.processes,
            on_progress=progress.show,
            should_stop=stop.is_asked,
        )
    for note in report.notes:
        print(f"note: {one_line(note)}", file=sys.stderr)
    for failure in report.failures:
        print(f"not made  {one_line(failure.recording)}{f' {failure.kind}' if failure.kind else ''}: {failure.sentence}")
    print(one_line(report.words), file=sys.stderr)
    if not report.is_complete:
        print("run the same command again to go on", file=sys.stderr)
    return 0 if report.is_complete and not report.failures else 1


def run_kinds(options: argparse.Namespace) -> int:
    """Lists the kinds of attack with their parameters, and what those need that cannot run here."""
    for kind in ATTACK_KINDS.values():
        print(f"{kind.name}  ({kind.family})\n  {kind.title}: {kind.summary}")
        for parameter in kind.parameters:
            values = ", ".join(parameter.choices) or f"{parameter.low:g} to {parameter.high:g} {parameter.unit}".rstrip()
            drawn = ", drawn" if parameter.drawn else ""
            print(f"  {kind.name}.{parameter.name}: {values} (default {value_words(parameter, parameter.default)}{drawn})")
        if kind.unavailable:
            print(f"  cannot run here: {kind.unavailable}")
    return 0


def _kinds(names: list[str]) -> list[str]:
    if "all" not in names:
        return [attack_kind(name).name for name in names]
    for kind in ATTACK_KINDS.values():
        if kind.unavailable:
            print(f"left out: {kind.unavailable}", file=sys.stderr)
    return [kind.name for kind in ATTACK_KINDS.values() if not kind.unavailable]


def _recordings(options: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """The recordings to attack, and their speakers where a protocol tells them."""
    found = find_files(options.folder, ScanSettings(pattern=options.pattern))
    paths = [os.path.join(options.folder, os.fsdecode(file.path_bytes)) for file in found]
    if not paths:
        raise CoreError(f"There are no recordings in {options.folder}; check the path and the pattern.")
    if not options.protocol:
        return paths, {}
    trials = read_protocol(options.protocol, protocol_choices(options))
    named = {path: trials[name] for path in paths if (name := find_name(path, trials))}
    chosen = [path for path, trial in named.items() if trial.label == "bona fide"]
    if not chosen:
        raise CoreError(f"{options.protocol} names none of the {len(paths)} recordings in {options.folder} as bona fide.")
    return chosen, {path: named[path].speaker for path in chosen if named[path].speaker != "-"}


def _texts(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise CoreError(f"The texts in {path} could not be read: {error}.") from None
    if not any(lines):
        raise CoreError(f"{path} holds no text; write one on each line.")
    return [line for line in lines if line]


def _parameters(assignments: list[str]) -> dict[str, dict[str, float | str]]:
    parameters: dict[str, dict[str, float | str]] = {}
    for assignment in assignments:
        place, is_set, value = assignment.partition("=")
        kind, has_name, name = place.partition(".")
        if not is_set or not has_name:
            raise CoreError(
                f"--set {assignment} is not understood; expected KIND.PARAMETER=VALUE, e.g. pitch_shift.pitch_semitones=4."
            )
        parameters.setdefault(kind, {})[name] = value
    return parameters


class _StopOnSignal:
    """Ctrl-C and SIGTERM end the work after the recording that it is at."""

    def __enter__(self) -> _StopOnSignal:
        self._asked = False
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_asked(self) -> bool:
        """Whether a signal came."""
        return self._asked

    def _ask(self, number: int, frame: object) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        print("stopping after the recordings in work; once more stops at once", file=sys.stderr)

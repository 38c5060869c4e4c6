"""core.scanning.supervision, core.scanning.trial: what crashes or hangs a decoder takes one file along, never the scan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from core.errors import AudioRefusal
from core.records import ScanSettings
from core.scanning import trial
from core.scanning.plan import dry_run
from core.scanning.supervision import HANDS, Hands, supervised
from core.scanning.trial import tried, try_alone
from core.store.store import Store
from core.store.triage import entry_detail, failures

PLANTED = """
import ctypes, os, time
import soundfile

def planted(file):
    def reading(self, *arguments, **options):
        name = os.path.basename(os.fsdecode(self.name))
        if name.startswith("crash"):
            ctypes.string_at(0)
        while name.startswith("hang"):
            time.sleep(0.01)
        return file(self, *arguments, **options)
    return reading

soundfile.SoundFile.read = planted(soundfile.SoundFile.read)
"""
"""What a process finds first: reading `crash*` is a segmentation fault, `hang*` never ends."""

SCAN = """
import sys
from core.scanning.supervision import supervised

def work():
    import core.scanning.trial
    core.scanning.trial.MIN_LIMIT_S = 3.0
    from core.commands.program import main
    return main(["scan", sys.argv[1], "--db", sys.argv[2]])

sys.exit(supervised(work, hang_s=2.0))
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recordings, and decoders that break on some of them in every process started from here."""
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "sitecustomize.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "planted"))
    folder = tmp_path / "calls"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in [*(f"good{i:02}" for i in range(12)), "crash1", "hang1", "crash2", "good99"]:
        loudness = 0.1 * np.abs(np.sin(np.arange(24_000) / 2_000))  # steady noise would be refused
        soundfile.write(folder / f"{name}.wav", loudness * rng.standard_normal(24_000), 16_000)
    return folder


def test_a_crash_and_a_hang_cost_one_file_each(planted: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    command = [sys.executable, "-c", SCAN, str(planted), url]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=Path(__file__).parents[1])
    assert run.returncode == 0, run.stderr
    assert "The scoring process died (SIGSEGV); going on." in run.stderr
    audit = Store(url).audit(1)
    assert (audit.num_files, audit.num_done, audit.num_refused) == (16, 16, 3)
    refused = {row.path: entry_detail(Store(url), row.entry_id).detections[0] for row in failures(Store(url), 1)}
    assert {path: detection.reason_code for path, detection in refused.items()} == {
        "crash1.wav": "decoder_crashed",
        "crash2.wav": "decoder_crashed",
        "hang1.wav": "decoder_hung",
    }
    assert "SIGSEGV" in refused["crash1.wav"].reason


def test_a_file_tried_alone(planted: Path) -> None:
    try_alone(planted / "good99.wav")
    (planted / "text.wav").write_text("no sound")
    try_alone(planted / "text.wav")  # a refusal is an end too
    with pytest.raises(AudioRefusal, match="SIGSEGV") as crash:
        try_alone(planted / "crash1.wav")
    with pytest.raises(AudioRefusal, match="no end within 1 s") as hang:
        try_alone(planted / "hang1.wav", limit_s=1.0)
    assert (crash.value.code, hang.value.code) == ("decoder_crashed", "decoder_hung")


def test_files_tried_one_after_the_other(planted: Path) -> None:
    names = ["good00.wav", "crash1.wav", "none.wav", "good01.wav", "hang1.wav", "crash2.wav", "good02.wav"]
    outcomes = list(tried([planted / name for name in names], limit_s=2.0))
    assert [outcome.code if isinstance(outcome, AudioRefusal) else outcome.duration_s for outcome in outcomes] == [
        1.5, "decoder_crashed", "unreadable", 1.5, "decoder_hung", "decoder_crashed", 1.5
    ]  # fmt: skip
    probed = list(tried([planted / name for name in names], how="probe"))  # which reads no samples
    assert [isinstance(outcome, AudioRefusal) for outcome in probed] == [name == "none.wav" for name in names]
    assert list(tried([])) == []


def test_single_files_are_tried_before_they_are_scored(planted: Path) -> None:
    command = [sys.executable, "-m", "core", "score", "crash1.wav", "good00.wav", "none.wav"]
    environment = os.environ | {"PYTHONPATH": f"{os.environ['PYTHONPATH']}:{Path(__file__).parents[1]}"}
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=planted, env=environment)
    assert run.returncode == 1, run.stderr
    crashed, scored, missing = run.stdout.splitlines()
    assert crashed.startswith("refused       crash1.wav: Decoding it ended the process that tried (SIGSEGV)")
    assert "good00.wav: score" in scored
    assert missing.startswith("refused       none.wav: The file is no longer there")


def test_a_dry_run_decodes_nothing_that_crashes(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MIN_LIMIT_S", 2.0)
    timed: list[str] = []
    manifest = SimpleNamespace(window_s=4.0, num_second_pass=0)
    scorer = SimpleNamespace(
        detector=SimpleNamespace(manifest=manifest), num_threads=1, score_files=lambda paths: timed.extend(paths) or ()
    )
    monkeypatch.setattr("core.scanning.plan.time.monotonic", iter(range(100)).__next__)
    for pattern, num_decoded in (("*", 7), ("crash*", 0)):
        timed.clear()
        plan = dry_run(str(planted), ScanSettings(pattern=pattern), scorer=scorer)
        assert plan.num_unreadable == 0
        assert (plan.expected_s is None) == (num_decoded == 0)
        assert len(set(timed)) == num_decoded
        assert not [path for path in timed if os.path.basename(path).startswith(("crash", "hang"))]


def test_work_that_dies_again_and_again_is_given_up(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    log = tmp_path / "log"

    def work() -> int:
        with open(log, "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    assert supervised(work) == 1
    assert log.read_text() == "xxxx"
    assert "died 4 times (SIGKILL) without finishing a file; giving up" in capfd.readouterr().err


def test_what_was_in_hand_before_is_not_the_works(capfd: pytest.CaptureFixture) -> None:
    HANDS.slot().take(7)
    time.sleep(0.2)
    assert supervised(lambda: time.sleep(1.5), hang_s=0.1) == 0
    assert "died" not in capfd.readouterr().err


@pytest.mark.parametrize("status", [0, 1, 7])
def test_the_exit_status_is_that_of_the_work(status: int) -> None:
    assert supervised(lambda: status) == status
    assert supervised(lambda: sys.exit(status)) == status


def test_an_exception_is_told_and_ends(capfd: pytest.CaptureFixture) -> None:
    def work() -> int:
        raise RuntimeError("planted")

    assert supervised(work) == 1
    assert "RuntimeError: planted" in capfd.readouterr().err


def test_the_work_ends_with_its_supervisor(tmp_path: Path) -> None:
    code = f"""
import os, pathlib, sys, time
from core.scanning.supervision import supervised
def work():
    pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
    time.sleep(60)
    return 0
sys.exit(supervised(work))
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    pid = _soon(lambda: int((tmp_path / "pid").read_text()))
    process.kill()
    process.wait()
    _soon(lambda: not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z" or None)


def test_what_is_in_hand() -> None:
    hands = Hands()
    first, second = hands.slot(), hands.slot()
    first.take(3)
    second.take(5)
    assert hands.held() == [3, 5]
    first.put_down()
    assert (hands.held(), hands.num_done) == ([5], 1)
    assert hands.held(longer_than_s=60) == []
    time.sleep(0.05)
    assert hands.held(longer_than_s=0.04) == [5]
    second.step()
    assert hands.held(longer_than_s=0.04) == []
    hands.drop(hands.held())
    hands.drop([5])
    assert hands.held() == []
    assert dict(hands.num_deaths) == {5: 2}
    hands.empty()
    second.take(7)  # of another process: nothing of this one's
    assert (hands.held(), hands.num_done, dict(hands.num_deaths)) == ([], 0, {})


def _soon(found: object) -> object:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if (value := found()) is not None:
                return value
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    raise AssertionError("it did not happen")

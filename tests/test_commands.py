"""core.commands.program: what the command line prints, writes and returns; a few commands as real processes."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from permissions import ordinary_user

from core.checkpoints import Detector
from core.commands import scan as scan_command
from core.commands.program import build_parser, main
from core.detect import Scorer
from core.detector_config import FEATURE_KINDS
from core.records import AuditStatus, ScanSettings
from core.scanning.scan import prepare_audit
from core.store.exports import EXPORT_COLUMNS
from core.store.store import Store

PROJECT = Path(__file__).parents[1]
COMMANDS = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A scan sets what SIGTERM does; the tests' process has its own back afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def folder(tmp_path: Path, write_recordings: Callable) -> Path:
    """Six recordings, one of them twice, and a text that is none."""
    write_recordings(tmp_path / "audio", 4)
    write_recordings(tmp_path / "audio" / "deep", 1)
    (tmp_path / "audio" / "text.wav").write_text("no sound at all")
    return tmp_path / "audio"


def start(*arguments: object, **options: object) -> subprocess.Popen:
    """`python -m core` with these arguments."""
    command = [sys.executable, "-m", "core", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT, **options)


def exit_status(*arguments: object) -> int:
    """What `main` returns, or exits with."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


# Scan ------------------------------------------------------------------------------------------------------------


def test_scan_as_a_process(folder: Path, tmp_path: Path, store_url: str, lively_detector: Detector) -> None:
    out = tmp_path / "scores.csv"
    process = start("scan", folder, "--out", out)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (0, "")
    assert f"audit 1 of {folder} with lively ({lively_detector.hash[:12]})" in stderr
    assert "finished: 6 of 6 files" in stderr
    assert "1 refused; 1 known or duplicate" in stderr
    assert f"6 rows written to {out}" in stderr
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == EXPORT_COLUMNS
    assert [row["path"] for row in rows] == ["deep/r0000.wav", *(f"r000{i}.wav" for i in range(4)), "text.wav"]
    expected = {record.path: record for record in Scorer(lively_detector).score_files(folder / row["path"] for row in rows)}
    for row in rows:
        record = expected[str(folder / row["path"])]
        (detection,) = record.detections
        assert (row["verdict"], row["sha256"], row["reason"]) == (detection.verdict, record.sha256, detection.reason or "")
        if detection.spoof_score is not None:
            assert float(row["spoof_score"]) == pytest.approx(detection.spoof_score, abs=1e-4)
    assert rows[1]["duplicate_of"] == "" or rows[0]["duplicate_of"] == ""
    assert {rows[0]["duplicate_of"], rows[1]["duplicate_of"]} <= {"", "deep/r0000.wav", "r0000.wav"}


def test_a_second_scan_is_all_known(folder: Path, store_url: str, tiny_detector: Detector, capsys, monkeypatch) -> None:
    assert exit_status("scan", folder) == 0
    assert "1 known or duplicate" in capsys.readouterr().err
    monkeypatch.setattr(Scorer, "judge_windows", None)  # the network is not called again
    assert exit_status("scan", folder) == 0
    err = capsys.readouterr().err
    assert "audit 2 of" in err
    assert "finished: 6 of 6 files" in err
    assert "6 known or duplicate" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_scan_on_a_gpu_that_is_not_there(folder: Path, store_url: str, tiny_detector: Detector, capsys) -> None:
    assert main(["scan", str(folder), "--device", "cuda"]) == 1
    assert "PyTorch finds no GPU that it can use here" in capsys.readouterr().err


def test_scan_settings_reach_the_audit(folder: Path, tmp_path: Path, store_url: str, tiny_detector: Detector, capsys) -> None:
    (tmp_path / "protocol.txt").write_text("LA_1 r0001 - A07 spoof\n")
    options = [
        "--channels",
        "each",
        "--pattern",
        "r*",
        "--all-files",
        "--hidden",
        "--follow-links",
        "--protocol",
        os.path.relpath(tmp_path / "protocol.txt"),
    ]
    assert exit_status("scan", folder, *options, "--out", tmp_path / "a.jsonl") == 0
    (audit,) = Store(store_url).recent_audits()
    assert audit.settings == ScanSettings(
        channels="each",
        pattern="r*",
        all_files=True,
        include_hidden=True,
        follow_links=True,
        protocol=str(tmp_path / "protocol.txt"),
    )
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["path"], row["channel"], row["attack"]) for row in rows] == [
        (f"r000{i}.wav", "1", "A07" if i == 1 else None) for i in range(4)
    ]


def test_scan_with_a_detector_by_its_folder(
    folder: Path, tmp_path: Path, store_url: str, tiny_detector: Detector, lively_detector: Detector, capsys
) -> None:
    assert exit_status("scan", folder, "--detector", tiny_detector.folder) == 0  # `lively` is the installed one
    assert "with tiny" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan", "{folder}/none"], "error: There is no folder"),
        (["scan", "{folder}", "--detector", "nobody"], "error: No detector is called 'nobody'; installed: "),
        (["scan", "{folder}", "--detector", "{folder}"], "is not a detector"),
        (["scan", "{folder}", "--db", "sqlite:///{folder}/text.wav/a.db"], "cannot be opened for writing"),
        (["scan", "{folder}", "--db", "nonsense"], "cannot be opened for writing"),
        (["scan", "{folder}", "--out", "{folder}/none/a.csv"], "there is no folder"),
        (["scan", "{folder}", "--out", "{folder}/a.txt"], "Expected a file name that ends in .csv, .parquet, .jsonl, .xlsx"),
        (["scan", "{folder}", "--protocol", "{folder}/none.txt"], "is not there"),
        (["score", "{folder}/r0000.wav", "--detector", "nobody"], "No detector is called"),
        (["export-png", "{folder}/text.wav", "--out", "{folder}/out"], "Not a recording"),
        (["export-png", "{folder}/r0000.wav", "--out", "{folder}/text.wav"], "cannot be written"),
        (["benchmark", "{folder}/none"], "There is no folder"),
        (["benchmark", "{folder}", "--sizes", "0"], "--sizes expects"),
        (["worker", "7"], "There is no audit 7"),
    ],
)
def test_what_cannot_be_done_says_why_and_returns_1(
    folder: Path, store_url: str, tiny_detector: Detector, capsys, arguments: list[str], message: str
) -> None:
    assert exit_status(*(argument.format(folder=folder) for argument in arguments)) == 1
    out, err = capsys.readouterr()
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert Store(store_url).recent_audits() == ()  # nothing was begun


def test_a_store_without_permission(folder: Path, tmp_path: Path, tiny_detector: Detector, capsys) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with ordinary_user():
        assert exit_status("scan", folder, "--db", f"sqlite:///{tmp_path}/closed/a.db") == 1
    assert "unable to open database file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "usage",
    ["", "dance", "scan", "scan a b", "scan a --channels left", "score", "score --loud a", "worker x", "export-png a.wav",
     "export-png a.wav --out x --kind cqt"],
)  # fmt: skip
def test_wrong_usage_returns_2(usage: str, capsys) -> None:
    assert exit_status(*usage.split()) == 2
    assert "usage: python -m core" in capsys.readouterr().err


def test_a_terminated_scan_pauses_and_goes_on(
    tmp_path: Path, store_url: str, lively_detector: Detector, speech_like: Callable
) -> None:
    (tmp_path / "audio").mkdir()
    sound = speech_like(10.0)
    for i in range(160):
        soundfile.write(tmp_path / "audio" / f"{i:03}.wav", np.roll(sound, 1_001 * i), 16_000, subtype="ULAW")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # one core, so that there is time to terminate it
    try:
        process = start("scan", tmp_path / "audio")
    finally:
        os.sched_setaffinity(0, cores)
    store = Store(store_url)
    deadline = time.monotonic() + 120
    while not any(audit.num_done for audit in store.recent_audits()):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    (audit,) = store.recent_audits()
    assert (process.returncode, audit.status, audit.worker) == (1, AuditStatus.PAUSED, None)
    assert 0 < audit.num_done < 160
    assert f"paused: {audit.num_done} of 160 files" in stderr
    assert "Traceback" not in stderr
    process = start("scan", tmp_path / "audio")
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0
    assert f"going on after {audit.num_done} of 160 files" in stderr
    assert "finished: 160 of 160 files" in stderr
    assert len(store.recent_audits()) == 1


# Worker ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wish", "status"), [("cancel", AuditStatus.CANCELLED), ("pause", AuditStatus.PAUSED)])
def test_a_worker_obeys_what_was_asked_while_it_started(
    folder: Path, store: Store, tiny_detector: Detector, wish: str, status: AuditStatus
) -> None:
    audit_id = prepare_audit(store, str(folder), tiny_detector, ScanSettings())
    store.queue(audit_id)
    store.request(audit_id, wish)
    assert exit_status("worker", audit_id) == 0
    audit = store.audit(audit_id)
    assert (audit.status, audit.num_done) == (status, 0)
    store.queue(audit_id)
    assert exit_status("worker", audit_id) == 0
    assert store.audit(audit_id).status is AuditStatus.FINISHED


# Score -----------------------------------------------------------------------------------------------------------


def test_score_prints_a_line_per_file(folder: Path, tmp_path: Path, lively_detector: Detector, capsys) -> None:
    assert exit_status("score", folder / "r0000.wav", folder / "text.wav", folder / "r0001.wav") == 1  # one was refused
    lines = capsys.readouterr().out.splitlines()
    for line, record in zip(lines[::2], Scorer(lively_detector).score_files([folder / "r0000.wav", folder / "r0001.wav"])):
        (detection,) = record.detections
        figures = f"score {detection.spoof_score:+.2f} nats, probability {100 * detection.probability:.1f} %"
        assert line.startswith(f"{detection.verdict:<13} {record.path}: {figures}")
    assert lines[1].startswith(f"refused       {folder / 'text.wav'}: Not a recording")
    assert len(lines) == 3
    assert exit_status("score", folder / "r0000.wav") == 0


def test_score_prints_json_that_any_parser_reads(tmp_path: Path, lively_detector: Detector, speech_like: Callable, capsys) -> None:
    gap = np.concatenate([speech_like(4.0, 1), np.zeros(128_000), speech_like(4.0, 2)])  # its silent windows have no score
    soundfile.write(tmp_path / "gap.wav", np.stack([gap, gap], axis=1), 16_000)
    (tmp_path / "text.wav").write_text("no sound at all")
    assert exit_status("score", "--json", "--channels", "each", tmp_path / "gap.wav", tmp_path / "text.wav") == 1

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    gap, text = (json.loads(line, parse_constant=refuse) for line in capsys.readouterr().out.splitlines())
    assert (gap["path"], len(gap["sha256"]), gap["info"]["num_channels"]) == (str(tmp_path / "gap.wav"), 64, 2)
    assert [detection["channel"] for detection in gap["detections"]] == ["1", "2"]
    scores = [segment["spoof_score"] for segment in gap["detections"][0]["segments"]]
    assert [score is None for score in scores] == [False, False, True, True, True, False, False]
    assert gap["detections"][0]["quality"]["silence_share"] > 0.5
    assert (text["detections"][0]["verdict"], text["detections"][0]["reason_code"]) == ("refused", "undecodable")


def test_odd_names_can_be_printed(tmp_path: Path, tiny_detector: Detector, speech_like: Callable, capsys) -> None:
    soundfile.write(tmp_path / "line\nbreak.wav", speech_like(2.0), 16_000)
    soundfile.write(tmp_path / "a.wav", speech_like(2.0), 16_000)
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    os.rename(tmp_path / "a.wav", odd)
    assert exit_status("score", tmp_path / "line\nbreak.wav", os.fsdecode(odd)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "line\\nbreak.wav" in lines[0]
    assert exit_status("score", "--json", os.fsdecode(odd)) == 0
    assert json.loads(capsys.readouterr().out)["path"].startswith(str(tmp_path))


# The others ------------------------------------------------------------------------------------------------------


def test_detectors_lists_names_hashes_and_figures(tiny_detector: Detector, capsys) -> None:
    assert exit_status("detectors") == 0
    out = capsys.readouterr().out
    assert f"tiny  {tiny_detector.hash[:12]}  vgg27 on log_spectrogram\n  Random weights, for tests." in out
    shipped = out[out.index("vgg27-spectrogram") :].partition("vgg27-telephone")[0].splitlines()
    assert any("EER" in line and "%" in line and "bona fide" in line for line in shipped)
    (cllr,) = [line for line in shipped if line.startswith("  test ") and "Cllr (bits)" in line]
    assert "%" not in cllr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_into_a_pipe_that_closes(tiny_detector: Detector, unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "core", "detectors"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        check=False,
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (1, "")


def test_wrong_usage_of_a_process() -> None:
    process = start("scan")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the following arguments are required: folder" in stderr


def test_export_png(folder: Path, tmp_path: Path, capsys) -> None:
    assert exit_status("export-png", folder / "r0000.wav", folder / "r0001.wav", "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out.splitlines()
    names = [f"r000{i}.{kind}.0000.0000s.png" for i in (0, 1) for kind in ("waveform", "log_spectrogram")]
    assert printed == [str(tmp_path / "out" / name) for name in names]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    kinds = [argument for kind in FEATURE_KINDS for argument in ("--kind", kind)]
    assert exit_status("export-png", folder / "r0002.wav", "--out", tmp_path / "all", *kinds) == 0
    assert len(list((tmp_path / "all").iterdir())) == len(FEATURE_KINDS)


def test_benchmark_writes_what_it_prints(folder: Path, tmp_path: Path, tiny_detector: Detector, capsys, monkeypatch) -> None:
    seen = {}

    def run_benchmark(path: str, detector: Detector, *, scratch: Path, peer: None, sizes: list[int], num_entries: None) -> str:
        seen.update(path=path, name=detector.name, is_there=scratch.is_dir(), more=(peer, sizes, num_entries))
        return "# Benchmark"

    monkeypatch.setattr("core.scanning.benchmark.run_benchmark", run_benchmark)
    assert exit_status("benchmark", folder, "--out", tmp_path / "b.md") == 0
    assert (capsys.readouterr().out, (tmp_path / "b.md").read_text()) == ("# Benchmark\n", "# Benchmark")
    assert seen == {"path": str(folder), "name": "tiny", "is_there": True, "more": (None, [], None)}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_explains_its_options(name: str, capsys) -> None:
    assert exit_status(name, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python -m core {name}")
    for action in COMMANDS[name]._actions:
        for option in action.option_strings:
            assert option in text
        assert action.help or not action.option_strings


def test_help_lists_every_command(capsys) -> None:
    assert exit_status("--help") == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^    {name}\s+\w", text, re.MULTILINE)
    assert "exit status: 0 finished" in text


def test_progress_is_one_line_in_ten_seconds(capsys, store: Store, folder: Path, tiny_detector: Detector) -> None:
    from dataclasses import replace

    audit = store.audit(prepare_audit(store, str(folder), tiny_detector, ScanSettings()))
    with scan_command.ScanProgress() as progress:
        for second in range(1, 31):
            progress.show(replace(audit, num_files=100, num_done=2 * second, seconds_running=float(second)))
    assert capsys.readouterr().err.splitlines() == [
        "20 of 100 files, 2 per s, 40 s left",
        "40 of 100 files, 2 per s, 30 s left",
        "60 of 100 files, 2 per s, 20 s left",
    ]

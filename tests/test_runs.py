"""folders, metrics and publishing: what a run's folder says, also while it is written, cut off or damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from run_folders import dead_pid, points, write_run

from core.jobs import Job, is_alive
from core.runs import publishing
from core.runs.folders import STALE_S, RunError, RunStatus, compare_runs, find_runs, read_run, runs_folder
from core.runs.metrics import read_metrics
from core.runs.publishing import PublishError, PublishStatus, last_publication, start_publishing


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "mine", seed=2, epoch=4, state="stopped early", message="dev EER rose for 3 epochs"))
    assert (run.name, run.seed, run.epoch, run.num_epochs, run.status) == ("mine", 2, 4, 10, RunStatus.STOPPED_EARLY)
    assert run.message == "dev EER rose for 3 epochs"
    assert run.recipe["features"]["kind"] == "log_spectrogram"
    assert run.facts["data.hash.train"] == "a1" * 32
    assert run.facts["code revision"] == "0" * 40
    assert run.facts["versions.torch"] == "2.11.0"
    assert run.has_weights
    assert not run.is_live


def test_runs_are_found_with_their_seeds_newest_first_and_damage_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "ours" / "seed-0", has_weights=False)
    write_run(tmp_path / "ours" / "seed-1", seed=1, has_weights=False)
    write_run(tmp_path / "single", seed=2, has_weights=False)
    (tmp_path / "single" / "run.json").replace(tmp_path / "single" / "kept")
    (tmp_path / "other" / "notes").mkdir(parents=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "run.json").write_text('{"recipe": {')
    listing = find_runs(tmp_path)
    assert [run.name for run in listing.runs] == ["ours/seed-1", "ours/seed-0"]
    cut, single = sorted(listing.problems)
    assert "cut/run.json cannot be read" in cut
    assert "single is not a run: its run.json is missing" in single


def test_no_folder_has_no_runs(tmp_path: Path) -> None:
    assert find_runs(tmp_path / "none").runs == find_runs(tmp_path / "none").problems == ()


def test_the_runs_folder_is_configurable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_RUNS", str(tmp_path))
    assert runs_folder() == tmp_path
    monkeypatch.delenv("EARWITNESS_RUNS")
    assert runs_folder() == Path(__file__).parents[1] / "runs"


def test_running_needs_a_living_process_that_wrote_lately(tmp_path: Path) -> None:
    old = datetime.now(UTC) - timedelta(seconds=STALE_S + 60)
    write_run(tmp_path / "alive", state="running", has_weights=False)
    write_run(tmp_path / "dead", state="running", pid=dead_pid(), has_weights=False)
    silent = write_run(tmp_path / "silent", state="running", updated_at=old, has_weights=False)
    os.utime(silent / "metrics.jsonl", (old.timestamp(), old.timestamp()))
    write_run(tmp_path / "measuring", state="running", updated_at=old, has_weights=False)  # its metrics are new
    assert {run.name: run.status for run in find_runs(tmp_path).runs} == {
        "alive": RunStatus.RUNNING,
        "dead": RunStatus.INTERRUPTED,
        "silent": RunStatus.INTERRUPTED,
        "measuring": RunStatus.RUNNING,
    }


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 20
    while is_alive(child.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(child.pid)  # ended, not yet waited for
    child.wait()
    assert is_alive(os.getpid())
    assert not is_alive(0)


def test_a_run_without_a_state_was_interrupted(tmp_path: Path) -> None:
    (write_run(tmp_path / "young", has_weights=False) / "state.json").unlink()
    assert read_run(tmp_path / "young").status is RunStatus.INTERRUPTED


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("run.json", {"schema_version": 2}, "schema version 2; expected 1"),
        ("run.json", {"recipe": "cnn"}, "no recipe with a name"),
        ("state.json", {"state": "dancing"}, "a value that cannot be .*dancing"),
        ("state.json", {"epoch": "three"}, "a value that cannot be"),
        ("state.json", {"state": "running", "updated_at": "yesterday"}, "a value that cannot be"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, file: str, change: dict, words: str) -> None:
    path = write_run(tmp_path / "mine", has_weights=False) / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RunError, match=words):
        read_run(tmp_path / "mine")


def test_a_json_list_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(RunError, match="holds list; an object"):
        read_run(tmp_path)


def test_metrics_are_read_and_the_best_is_the_lowest_eer(tmp_path: Path) -> None:
    metrics = read_metrics(write_run(tmp_path / "mine", epoch=4, has_weights=False))
    assert len(metrics.train) == 40
    # 0.1 + 0.4 / epoch, and 0.01 more at the last: 0.5, 0.3, 0.2333, 0.21.
    assert [round(point.eer, 4) for point in metrics.dev] == [0.5, 0.3, 0.2333, 0.21]
    assert metrics.best == metrics.dev[3]
    assert metrics.train[9].step == metrics.dev[0].step == 10


def test_a_line_that_was_cut_off_is_left_out_at_any_byte(tmp_path: Path) -> None:
    path = write_run(tmp_path / "mine", epoch=1, has_weights=False) / "metrics.jsonl"
    whole = path.read_bytes()
    last = whole.rstrip().rindex(b"\n") + 1
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        metrics = read_metrics(path.parent)
        assert (len(metrics.train), len(metrics.dev)) == (10, int(end == len(whole) - 1))


def test_foreign_lines_are_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "mine", epoch=1, has_weights=False)
    with open(folder / "metrics.jsonl", "ab") as file:
        file.write(b'\n{"split": "test", "step": 9}\nnull\n7\n\xff\xfe\n{"split": ["dev"]}\n{"split": "dev", "epoch": 2}\n')
    assert (len(read_metrics(folder).train), len(read_metrics(folder).dev)) == (10, 1)


def test_what_a_resumed_run_did_again_replaces_what_it_did_before(tmp_path: Path) -> None:
    first, again = points(2), points(3, floor=0.05)
    # Killed in the middle of the second epoch, resumed from the checkpoint after the first.
    lines = first[:16] + again[11:]
    metrics = read_metrics(write_run(tmp_path / "mine", metrics=lines, has_weights=False))
    assert [point.step for point in metrics.train] == list(range(1, 31))
    assert [round(point.eer, 4) for point in metrics.dev] == [0.5, 0.25, 0.1933]  # 0.05 + 0.4 / 3 + 0.01


def test_a_run_without_metrics_has_no_curves(tmp_path: Path) -> None:
    assert read_metrics(tmp_path).best is None


def test_what_differs_comes_first(tmp_path: Path) -> None:
    a = read_run(write_run(tmp_path / "a", has_weights=False))
    b = read_run(write_run(tmp_path / "b", seed=1, batch_size=32, margin=0.2, has_weights=False))
    rows = compare_runs((a, b))
    differing = {row.name: row.values for row in rows if row.differs}
    assert differing == {
        "seed": ("0", "1"),
        "batch_size": ("64", "32"),
        "margin": ("-", "0.2"),
        "started at": ("2026-11-25T07:00:00Z", "2026-11-25T07:01:00Z"),
    }
    assert [row.differs for row in rows] == sorted((row.differs for row in rows), reverse=True)
    assert {"features.kind", "data.hash.dev", "code revision", "machine", "versions.torch"} <= {row.name for row in rows}


_MAKES_A_DETECTOR = """
import sys, time, pathlib
run, name, out = sys.argv[1], sys.argv[3], sys.argv[5]
assert sys.argv[2::2] == ["--name", "--out"]
print("measuring dev", flush=True)
while not pathlib.Path(run, "go").exists(): time.sleep(0.01)
folder = pathlib.Path(out, name); folder.mkdir(parents=True); (folder / "detector.json").write_text("{}")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that new detectors go to."""
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(tmp_path / "detectors"))
    return tmp_path / "detectors"


def _ended(run) -> PublishStatus:
    deadline = time.monotonic() + 30
    while (publication := last_publication(run)).status is PublishStatus.RUNNING and time.monotonic() < deadline:
        time.sleep(0.02)
    return publication.status


def test_publishing_runs_in_a_process_of_its_own_and_tells_when_it_is_done(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "COMMAND", (sys.executable, "-c", _MAKES_A_DETECTOR))
    run = read_run(write_run(tmp_path / "mine"))
    assert last_publication(run) is None
    started = start_publishing(run, "new-one")
    assert started.job.pid != os.getpid()
    assert last_publication(run) == started
    assert started.status is PublishStatus.RUNNING
    with pytest.raises(PublishError, match="being published as 'new-one' right now"):
        start_publishing(run, "another")
    (run.folder / "go").touch()
    assert _ended(run) is PublishStatus.DONE
    assert (installed / "new-one" / "detector.json").is_file()
    assert started.job.last_words() == "measuring dev"


def test_a_failed_publication_keeps_its_last_words(tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; print('reading'); print('error: no prepared data at /data/packed', file=sys.stderr); sys.exit(1)"
    monkeypatch.setattr(publishing, "COMMAND", (sys.executable, "-c", code))
    run = read_run(write_run(tmp_path / "mine"))
    publication = start_publishing(run, "new-one")
    assert _ended(run) is PublishStatus.FAILED
    assert publication.job.last_words() == "error: no prepared data at /data/packed"
    assert publication.job.last_words(5) == "reading\nerror: no prepared data at /data/packed"


def test_another_process_with_the_same_number_is_not_ours(tmp_path: Path, installed: Path) -> None:
    other = publishing.Publication(job=Job(marker="new-one", out=str(installed), pid=os.getpid(), started_at=0.0, log="/none"))
    assert other.status is PublishStatus.FAILED
    assert other.job.last_words() == ""


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x", "a/b", "x" * 65, ".hidden"])
def test_impossible_names_are_refused(tmp_path: Path, installed: Path, name: str) -> None:
    run = read_run(write_run(tmp_path / "mine", has_weights=False))
    with pytest.raises(PublishError, match="cannot be a detector's name"):
        start_publishing(run, name)


def test_a_taken_name_and_missing_weights_are_refused(tmp_path: Path, installed: Path) -> None:
    run = read_run(write_run(tmp_path / "mine", has_weights=False))
    with pytest.raises(PublishError, match="There is a detector 'vgg27-spectrogram' already"):
        start_publishing(run, "vgg27-spectrogram")
    with pytest.raises(PublishError, match="mine has no weights yet"):
        start_publishing(run, "new-one")
    assert last_publication(run) is None

"""Training: empty, working and failing."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from run_folders import dead_pid, points, write_run
from streamlit.testing.v1 import AppTest

from core.checkpoints import load_detector
from core.runs import publishing
from core.runs.folders import read_run
from core.runs.publishing import PublishStatus, last_publication

HOME = str(Path(__file__).parents[1] / "Home.py")
SAMPLE = "flite_slt_invoice"


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text, *app.success, *app.header]
    return "\n".join(str(part.value) for part in parts)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EARWITNESS_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def page(tiny_detector, runs: Path) -> AppTest:
    return AppTest.from_file(HOME, default_timeout=60).switch_page("pages/2_Training.py")


def _open(page: AppTest, view: str) -> AppTest:
    page.session_state["view"] = view
    page.run()
    assert not page.exception
    return page


def _table(page: AppTest, column: str):
    return next(element.value for element in page.dataframe if column in element.value.columns)


def _figures(page: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]


def test_empty_state_tells_how_to_start_and_still_shows_the_detectors_network(page: AppTest, runs: Path) -> None:
    page.run()
    assert not page.exception
    words = _words(page)
    assert "python -m training prepare" in words
    assert "python -m training train" in words
    assert str(runs.name) in words
    assert {metric.label: metric.value for metric in page.metric}["Parameters"] == "306,738"
    assert not page.multiselect


def test_runs_stand_side_by_side_with_their_figures(page: AppTest, runs: Path) -> None:
    write_run(runs / "ours" / "seed-0", epoch=4, has_weights=False)
    write_run(runs / "ours" / "seed-1", seed=1, epoch=2, state="stopped early", metrics=points(2, floor=0.2), has_weights=False)
    page.run()
    assert not page.exception
    table = _table(page, "Best EER on dev")
    assert list(table["Run"]) == ["● ours/seed-1", "● ours/seed-0"]
    assert list(table["State"]) == ["stopped early", "finished"]
    assert list(table["Epochs"]) == ["2 of 10", "4 of 10"]
    # floor + 0.4 / epoch, 0.01 more in the last: 0.2 + 0.2 + 0.01 and 0.1 + 0.1 + 0.01.
    assert list(table["Best EER on dev"].round(6)) == [41.0, 21.0]
    assert list(table["Waits for data"]) == [2.0, 2.0]
    figures = _figures(page)
    assert [figure["layout"]["yaxis"]["title"]["text"] for figure in figures] == [
        "Loss", "Accuracy (%)", "EER on dev (%)", "Throughput (samples/s)",
    ]  # fmt: skip
    eer = figures[2]["data"]
    assert [trace["y"] for trace in eer if trace["mode"] == "lines+markers"] == [
        pytest.approx([60.0, 41.0]),
        pytest.approx([50.0, 30.0, 100 * (0.1 + 0.4 / 3), 21.0]),
    ]


def test_a_hidden_run_is_not_drawn(page: AppTest, runs: Path) -> None:
    write_run(runs / "a", has_weights=False)
    write_run(runs / "b", seed=1, has_weights=False)
    page.run()
    page.multiselect(key="runs").set_value(["a"]).run()
    assert list(_table(page, "Best EER on dev")["Run"]) == ["● a"]
    page.multiselect(key="runs").set_value([]).run()
    assert not page.exception
    assert "Choose one run or more" in _words(page)


def test_a_running_run_is_read_anew_and_an_interrupted_one_is_told(page: AppTest, runs: Path) -> None:
    running = write_run(runs / "running", state="running", epoch=1, has_weights=False)
    write_run(runs / "killed", state="running", pid=dead_pid(), epoch=1, seed=1, has_weights=False)
    page.run()
    assert not page.exception
    assert list(_table(page, "State")["State"]) == ["interrupted", "running"]
    assert "**killed** was interrupted" in _words(page)
    assert _table(page, "State")["Best EER on dev"][1] == pytest.approx(51.0)
    (running / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in points(3)) + '{"split": "tr')
    page.run()
    assert not page.exception
    assert _table(page, "State")["Best EER on dev"][1] == pytest.approx(100 * (0.1 + 0.4 / 3 + 0.01))


def test_a_failed_run_and_damaged_folders_are_told_in_words(page: AppTest, runs: Path) -> None:
    write_run(runs / "nan", state="failed", message="the loss became *nan* in epoch 3", metrics=[], has_weights=False)
    (runs / "cut").mkdir()
    (runs / "cut" / "run.json").write_text("{")
    page.run()
    assert not page.exception
    assert r"the loss became \*nan\* in epoch 3" in _words(page)
    assert "Nothing measured yet" in _words(page)
    assert any("cannot be read" in warning.value for warning in page.warning)


def test_configurations_show_what_differs_first(page: AppTest, runs: Path) -> None:
    write_run(runs / "a", has_weights=False)
    write_run(runs / "b", seed=1, learning_rate=1e-4, has_weights=False)
    _open(page.run(), "Configurations")
    table = _table(page, "Field")
    marked = table[table[""] == "≠"]
    assert sorted(marked["Field"]) == ["learning_rate", "seed", "started at"]
    assert list(marked.index) == [0, 1, 2]
    assert set(table["Field"]) >= {"data.hash.train", "code revision", "features.kind", "versions.torch", "machine"}
    assert list(table.set_index("Field").loc["learning_rate", ["b", "a"]]) == ["0.0001", "0.0004"]
    page.toggle(key="only-differing").set_value(True).run()
    assert len(_table(page, "Field")) == 3


def _choose_sample(page: AppTest, name: str) -> AppTest:
    box = page.selectbox(key="sample")
    return box.set_value(next(option for option in box.options if name in option)).run()


def test_a_recording_lights_up_the_network(page: AppTest, runs: Path) -> None:
    write_run(runs / "mine")
    _open(page.run(), "Network")
    assert len(_figures(page)) == 1
    assert "intensity" not in _figures(page)[0]["data"][0]
    assert "Mean |activation|" not in _table(page, "MACs").columns
    layers = _table(page, "MACs")
    assert (len(layers), layers["MACs"][0], layers["Parameters"].sum()) == (31, 7_225_344, 306_738)
    _choose_sample(page, SAMPLE)
    assert not page.exception
    network, maps = _figures(page)
    assert network["data"][0]["intensitymode"] == "cell"
    assert maps["data"][0]["type"] == "heatmap"
    assert _table(page, "MACs")["Mean |activation|"].gt(0).all()
    last = page.selectbox(key="box").options[-1]
    page.selectbox(key="box").set_value(last).run()
    assert not page.exception
    assert "0 is bona fide, 1 is spoof" in _words(page)
    assert len(_figures(page)[1]["data"][0]["x"]) == 2


def test_a_runs_network_is_shown_too(page: AppTest, runs: Path) -> None:
    write_run(runs / "mine", features={"kind": "waveform"})
    _open(page.run(), "Network")
    detector = _choose_sample(page, SAMPLE).dataframe[0].value["Mean |activation|"]
    page.selectbox(key="network").set_value("Run: mine").run()
    assert not page.exception
    assert not page.error
    assert not _table(page, "MACs")["Mean |activation|"].equals(detector)


def test_a_recording_that_cannot_be_judged_leaves_the_boxes_plain(page: AppTest) -> None:
    page.run()
    _choose_sample(page, "refused_text")
    assert not page.exception
    assert any("Not a recording" in error.value for error in page.error)
    assert "intensity" not in _figures(page)[0]["data"][0]


def test_missing_weights_are_told_in_words(page: AppTest, runs: Path) -> None:
    write_run(runs / "young", state="running", epoch=0, metrics=[], has_weights=False)
    _open(page.run(), "Network")
    page.selectbox(key="network").set_value("Run: young").run()
    assert not page.exception
    assert any("has no best" in error.value for error in page.error)
    _open(page, "Publish")
    assert "No run has weights yet" in _words(page)


def _publish(page: AppTest, name: str) -> AppTest:
    _open(page.run(), "Publish")
    next(field for field in page.text_input if field.label == "Name of the detector").set_value(name)
    return page.button(key="publish").click().run()


def _ended(folder: Path) -> PublishStatus:
    deadline = time.monotonic() + 30
    while (publication := last_publication(read_run(folder, name="mine"))).status is PublishStatus.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return publication.status


def test_publishing_shows_progress_and_outcome(
    page: AppTest, runs: Path, tiny_detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(tmp_path / "installed"))
    monkeypatch.setenv("EARWITNESS_DETECTOR", "vgg27-spectrogram")
    made = tmp_path / "made" / "new-one"
    made.mkdir(parents=True)
    for file in tiny_detector.folder.iterdir():
        (made / file.name).write_bytes(file.read_bytes().replace(b'"tiny"', b'"new-one"'))
    copies = (
        "import shutil, sys, time, pathlib\nprint('measuring dev', flush=True)\n"
        f"while not pathlib.Path(sys.argv[1], 'go').exists(): time.sleep(0.02)\n"
        f"shutil.copytree({str(made)!r}, pathlib.Path(sys.argv[5], sys.argv[3]))"
    )
    monkeypatch.setattr(publishing, "COMMAND", (sys.executable, "-c", copies))
    folder = write_run(runs / "mine")
    _open(page.run(), "Network")
    assert "Detector: new-one" not in page.selectbox(key="network").options
    _publish(page, "new-one")
    assert not page.exception
    assert "Publishing **new\\-one**" in _words(page)
    assert page.button(key="publish").disabled
    (folder / "go").touch()
    assert _ended(folder) is PublishStatus.DONE
    page.run()
    assert not page.exception
    assert "**new\\-one** is installed" in _words(page)
    assert load_detector(tmp_path / "installed" / "new-one").name == "new-one"
    _open(page, "Network")
    assert "Detector: new-one" in page.selectbox(key="network").options  # at once, whatever was kept of the list


def test_a_failed_publication_says_why(page: AppTest, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; print('error: there is no prepared data in /data/packed', file=sys.stderr); sys.exit(1)"
    monkeypatch.setattr(publishing, "COMMAND", (sys.executable, "-c", code))
    folder = write_run(runs / "mine")
    _publish(page, "new-one")
    assert _ended(folder) is PublishStatus.FAILED
    page.run()
    assert not page.exception
    assert any("could not be published" in error.value and "no prepared data" in error.value for error in page.error)
    assert not page.button(key="publish").disabled


@pytest.mark.parametrize(
    ("name", "words"), [("tiny", "There is a detector 'tiny' already"), ("a/b", "cannot be a detector's name")]
)
def test_names_that_cannot_be_are_told(page: AppTest, runs: Path, name: str, words: str) -> None:
    write_run(runs / "mine")
    _publish(page, name)
    assert not page.exception
    assert any(words in error.value.replace("\\", "") for error in page.error)

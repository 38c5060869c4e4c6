"""A detector made elsewhere on the pages: chosen on Home, in an audit, on Training, and imported by the form."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.foreign.detector_import import import_detector
from core.foreign.records import Declaration
from core.records import ScanSettings
from core.scanning.scan import prepare_audit, run_audit
from tests.foreign_networks import write_level_network
from tests.test_page_home import HOME, _choose_sample, _words

ROOT = Path(__file__).parents[1]


@pytest.fixture
def level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_url):
    """An uncalibrated detector made elsewhere, installed beside the shipped ones, which is the one in use."""
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(tmp_path / "installed"))
    monkeypatch.setenv("EARWITNESS_DETECTOR", "level")
    path = write_level_network(tmp_path / "a.onnx", shape=("batch", 32_000))
    return import_detector(path, "level", Declaration(window_samples=32_000, column=1, minus=0))


def test_home_judges_a_sample_with_it(level) -> None:
    home = _choose_sample(AppTest.from_file(HOME, default_timeout=120), "flite_slt_invoice")
    assert not home.exception
    assert home.selectbox(key="home-detector").options[0] == "level"
    metrics = {metric.label: metric.value for metric in home.metric}
    assert "Probability of spoof" not in metrics
    assert metrics["Spoof score (not calibrated)"][0] in "+-"
    assert metrics["Segments"] == "4"  # 4.1 s in windows of 2 s, every 1 s: 0, 1, 2 and the end
    words = _words(home)
    assert "Inconclusive" in words
    assert "is not calibrated" in words
    assert "No error rates were measured" in words
    assert len(home.get("plotly_chart")) == 1


def test_an_audit_made_with_it_is_shown(level, store, tmp_path: Path, write_recordings) -> None:
    write_recordings(tmp_path / "calls", 3)
    audit = run_audit(store, prepare_audit(store, str(tmp_path / "calls"), level, ScanSettings()))
    page = AppTest.from_file(HOME, default_timeout=120).switch_page("pages/1_Batch_audit.py")
    page.query_params["audit"] = str(audit.id)
    page.run()
    assert not page.exception
    assert "is not calibrated" in _words(page)
    frame = page.dataframe[0].value
    assert "Score" in frame.columns
    assert "Score (nats)" not in frame.columns
    assert len(page.get("plotly_chart")) == 2


def test_training_says_that_it_cannot_be_looked_into(level, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_RUNS", str(tmp_path / "no runs"))
    page = AppTest.from_file(str(ROOT / "Home.py"), default_timeout=120).switch_page("pages/2_Training.py").run()
    assert not page.exception
    box = page.selectbox(key="network")
    assert box.options[-1] == "Detector: level"
    box.set_value("Detector: level").run()
    assert not page.exception
    assert any("was made elsewhere" in escaped.value.replace("\\", "") for escaped in page.error)


def test_the_form_imports(level, tmp_path: Path) -> None:
    home = AppTest.from_file(HOME, default_timeout=120).run()
    assert home.button(key="import").disabled
    home.file_uploader(key="import-file").set_value(("theirs.onnx", level.graph_path.read_bytes(), "application/octet-stream"))
    home.text_input(key="import-name").set_value("theirs")
    home.number_input(key="import-length").set_value(16_000)
    home.run()
    home.button(key="import").click().run()
    assert not home.exception
    assert any("takes wave" in error.value for error in home.error)
    home.number_input(key="import-length").set_value(32_000)
    home.button(key="import").click().run()
    assert not home.exception
    assert any("theirs" in success.value for success in home.success)
    assert (tmp_path / "installed" / "theirs" / "model.onnx").is_file()
    assert "theirs" in home.selectbox(key="home-detector").options

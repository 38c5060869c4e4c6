"""Home: empty, working and failing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamlit.testing.v1 import AppTest

from core.records import ScanSettings
from core.scanning.scan import prepare_audit, run_audit

HOME = str(Path(__file__).parents[1] / "Home.py")


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text, *app.success]
    return "\n".join(str(part.value) for part in parts)


@pytest.fixture
def home(tiny_detector, store_url) -> AppTest:
    return AppTest.from_file(HOME, default_timeout=60)


def test_empty_state_says_what_to_do(home: AppTest) -> None:
    home.run()
    assert not home.exception
    assert home.title[0].value == "Check one recording"
    words = _words(home)
    assert "Nothing chosen yet" in words
    assert "No audits yet" in words
    assert "tiny" in words


def test_the_first_steps_are_one_click_each(home: AppTest, store, tiny_detector, tmp_path: Path, write_recordings) -> None:
    home.run()
    assert "New here?" in _words(home)
    assert home.button(key="first-audit").label == "Audit the samples"
    home.button(key="first-sample").click().run()
    assert not home.exception
    assert "Spoof score (nats)" in [metric.label for metric in home.metric]
    write_recordings(tmp_path / "calls", 1)
    prepare_audit(store, str(tmp_path / "calls"), tiny_detector, ScanSettings())
    assert "New here?" not in _words(home.run())


def test_it_runs_without_a_browser(tiny_detector, store_url) -> None:
    """As in each process that a page's work spawns: Python runs the page's script there once more."""
    done = subprocess.run(
        [sys.executable, HOME], env=os.environ | {"PYTHONPATH": str(Path(HOME).parent)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2_000:]


def _choose_sample(home: AppTest, name: str) -> AppTest:
    home.run()
    home.button_group(key="source").set_value("A sample").run()
    box = home.selectbox(key="sample")
    return box.set_value(next(option for option in box.options if name in option)).run()


def test_a_sample_is_judged_with_its_evidence(home: AppTest, tiny_detector) -> None:
    _choose_sample(home, "flite_slt_invoice")
    assert not home.exception
    metrics = {metric.label: metric.value for metric in home.metric}
    assert float(metrics["Spoof score (nats)"]) == pytest.approx(0.14, abs=0.2)
    assert metrics["Judged"] == "4.1 s"
    assert metrics["Segments"] == "2"
    words = _words(home)
    assert "Inconclusive" in words or "Bona fide" in words or "Spoof" in words
    assert tiny_detector.hash[:12] in words
    assert len(home.get("plotly_chart")) == 1
    assert len(home.get("download_button")) == 2


def test_a_long_recording_has_a_timeline_and_is_heard_in_parts(home: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("core.preview", "core.figures", "pages.components.detection_view"):
        monkeypatch.setattr(f"{module}.PART_S", 2.0)
    _choose_sample(home, "espeak-ng_fr_bill")
    assert not home.exception
    part = home.select_slider(key="home-part")
    assert part.options[:3] == ["0:00:00", "0:00:01", "0:00:02"]
    assert len(home.get("plotly_chart")) == 2
    part.set_value(1.0).run()
    assert not home.exception
    timeline, recording = (json.loads(chart.proto.spec) for chart in home.get("plotly_chart"))
    assert [time[11:19] for time in recording["layout"]["xaxis"]["range"]] == ["00:00:01", "00:00:03"]
    assert timeline["layout"]["xaxis"]["title"]["text"] == "Time (h:min:s)"


def test_each_channel_of_a_call_has_its_own_verdict(home: AppTest) -> None:
    _choose_sample(home, "call_two-sided")
    home.toggle(key="each").set_value(True).run()
    assert not home.exception
    assert [tab.label.split(":")[0] for tab in home.tabs] == ["Channel 1", "Channel 2"]


def test_a_refused_file_says_why(home: AppTest) -> None:
    _choose_sample(home, "refused")
    assert not home.exception
    words = _words(home)
    assert "Refused" in words
    assert "Not a recording that can be decoded" in words
    assert not home.metric


def test_without_a_detector_it_says_so_in_plain_words(home: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_DETECTOR", "gone")
    home.run()
    assert not home.exception
    assert any("No detector is called" in error.value for error in home.error)


def test_an_unwritable_store_is_told_and_the_check_still_works(home: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_DB", "sqlite:////proc/none/test.db")
    home.run()
    assert not home.exception
    assert any("cannot be opened" in error.value for error in home.error)
    assert "Nothing chosen yet" in _words(home)


def test_recent_audits_are_listed(home: AppTest, store, tiny_detector, tmp_path: Path, write_recordings) -> None:
    write_recordings(tmp_path / "calls", 3)
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), tiny_detector, ScanSettings()))
    home.run()
    assert not home.exception
    assert str(tmp_path / "calls") in _words(home)


def test_an_upload_that_crashes_a_decoder_is_told(home: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import ctypes, soundfile\nsoundfile.SoundFile.read = lambda *_, **__: ctypes.string_at(0)\n"
    (tmp_path / "sitecustomize.py").write_text(code)  # found by every process that the server starts, not by the server
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sound = io.BytesIO()
    soundfile.write(sound, 0.1 * np.sin(np.arange(32_123) / 9), 16_000, format="WAV")
    home.run()
    home.file_uploader(key="upload").set_value([("call.wav", sound.getvalue(), "audio/wav")]).run()
    assert not home.exception
    assert "Decoding it ended the process that tried \\(SIGSEGV\\)" in home.error[0].value
    assert not home.get("plotly_chart")


def test_what_crashed_a_decoder_in_its_audit_is_not_drawn(tiny_detector, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("pages.components.resources.part", lambda path, *_: opened.append(path))

    def show(code: str) -> None:
        from core.checkpoints import find_detectors
        from core.records import Detection, Verdict
        from pages.components.detection_view import show_detections

        fields = {"spoof_score": None, "probability": None, "segments": (), "duration_s": 0.0, "quality": None, "warnings": ()}
        refused = Detection(channel="mix", verdict=Verdict.REFUSED, reason_code=code, reason="Words.", **fields)
        show_detections("a.wav", "a.wav", "0" * 64, None, (refused,), find_detectors()[0], key="k")

    for code in ("decoder_crashed", "decoder_hung", "too_long"):
        page = AppTest.from_function(show, args=(code,), default_timeout=60).run()
        assert "Words." in [text.value for text in page.text]
        assert bool(opened) == (code == "too_long")

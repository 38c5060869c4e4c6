"""core.explanation.files and `python -m core explain`: what is written reads back; nothing is overwritten or left behind."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from planted_detectors import PlantedDetectors, planted, recording_with_tone

from core.commands.program import main
from core.explanation import files as explanation_files
from core.explanation.explain import explain
from core.explanation.files import draw_explanation, load_explanation, save_explanation
from core.explanation.map_tests import check_explanation
from core.explanation.records import Explanation, ExplanationError

__all__ = ["planted"]


def test_what_is_written_reads_back(planted: PlantedDetectors, tmp_path: Path) -> None:
    detector, samples = planted("find_tone"), recording_with_tone()
    samples[:] = np.concatenate([samples[:32_000], samples[:32_000]])
    long = np.concatenate([samples, np.zeros(80_000, dtype=np.float32), samples])  # with windows that are not judged
    found = explain(detector, long)
    assert any(np.isnan(segment.spoof_score) for segment in found.segments)
    test = check_explanation(detector, long, found)
    paths = save_explanation(found, tmp_path / "new" / "out", stem="call.grad_cam", test=test, samples=long)
    assert [path.name for path in paths] == ["call.grad_cam.png", "call.grad_cam.npz", "call.grad_cam.json"]
    read = load_explanation(paths[2])
    for name in Explanation.__dataclass_fields__:
        given, expected = getattr(read, name), getattr(found, name)
        assert np.array_equal(given, expected) if isinstance(expected, np.ndarray) else repr(given) == repr(expected), name
    manifest = json.loads(paths[2].read_text())
    assert manifest["schema_version"] == 1
    assert manifest["test"]["passes"] is test.passes
    assert manifest["explanation"]["detector_hash"] == detector.hash
    assert Image.open(paths[0]).size[0] > 800


def test_nothing_is_overwritten_or_left_behind(planted: PlantedDetectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = explain(planted("find_tone"), recording_with_tone())
    (tmp_path / "call.json").write_text("mine")
    with pytest.raises(ExplanationError, match=r"call\.json is there already"):
        save_explanation(found, tmp_path, stem="call")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["call.json"]
    assert (tmp_path / "call.json").read_text() == "mine"
    monkeypatch.setattr(explanation_files, "_manifest", lambda *_: None)  # fails when it is written
    with pytest.raises(TypeError):
        save_explanation(found, tmp_path / "fresh", stem="call")
    assert not (tmp_path / "fresh").exists()
    with pytest.raises(ExplanationError, match="without folders"):
        save_explanation(found, tmp_path, stem="../call")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ExplanationError, match="is there already"):
        save_explanation(found, tmp_path / "file", stem="call")
    with pytest.raises(ExplanationError, match="cannot be written"):
        save_explanation(found, tmp_path / "file" / "deeper", stem="call")


def test_damaged_manifests_are_refused(planted: PlantedDetectors, tmp_path: Path) -> None:
    *_, manifest = save_explanation(explain(planted("find_tone"), recording_with_tone()), tmp_path, stem="call")
    text = manifest.read_text()
    for damaged, words in (
        (text.replace('"schema_version": 1', '"schema_version": 2'), "this program reads 1"),
        (text.replace("call.npz", "gone.npz"), "no saved map"),
        (text.replace('"method"', '"means"'), "no saved map"),
        (text[:100], "no saved map"),
    ):
        manifest.write_text(damaged)
        with pytest.raises(ExplanationError, match=words):
            load_explanation(manifest)


def test_a_map_that_fails_is_drawn_grey(planted: PlantedDetectors) -> None:
    def num_colourful(png: bytes) -> int:
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        return int((np.ptp(pixels, axis=-1) > 30).sum())

    detector, samples = planted("find_tone"), recording_with_tone()
    found = explain(detector, samples, method="grad_cam")
    test = check_explanation(detector, samples, found)
    assert num_colourful(draw_explanation(found, test=test)) > 10_000
    failed = type(test)(**{name: getattr(test, name) for name in test.__dataclass_fields__} | {"beats_random": False})
    assert num_colourful(draw_explanation(found, test=failed)) == 0


def test_the_command_explains_many_files(planted: PlantedDetectors, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    detector = planted("find_tone")
    soundfile.write(tmp_path / "tone.wav", recording_with_tone(), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(64_000), 16_000)
    files = [str(tmp_path / name) for name in ("tone.wav", "silent.wav", "gone.wav")]
    out = tmp_path / "maps"
    assert main(["explain", *files, "--method", "grad_cam", "--detector", str(detector.folder), "--out", str(out)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("holds ")
    assert "Grad-CAM at layer 0" in lines[0]
    assert lines[1].startswith("not done")
    assert "No window" in lines[1]
    assert lines[2].startswith("not done")
    assert sorted(path.name for path in out.iterdir()) == ["tone.grad_cam.json", "tone.grad_cam.npz", "tone.grad_cam.png"]
    assert main(["explain", files[0], "--method", "grad_cam", "--detector", str(detector.folder), "--out", str(out)]) == 1
    assert "is there already" in capsys.readouterr().out
    occlusion = ["--method", "occlusion", "--target", "spoof", "--no-test"]
    assert main(["explain", files[0], "--detector", str(detector.folder), "--out", str(out), *occlusion]) == 0
    assert capsys.readouterr().out.startswith("not tested")
    assert load_explanation(out / "tone.occlusion.json").target == "spoof"
    with pytest.raises(SystemExit):
        main(["explain", files[0], "--out", str(out), "--method", "noise"])

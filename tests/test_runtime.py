"""core.runtime: exports give what the networks give, are cached by hash, and may be asked for by many threads at once."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnxruntime
import pytest
import torch
from test_models import with_statistics

from core import runtime
from core.cache import cache_folder
from core.models import IMAGE_MODELS, WithEmbedding
from core.runtime import exported_network, open_session

ROOT = Path(__file__).parents[1]

_OPENING = """
from core.checkpoints import detector_named
from core.runtime import open_session

open_session(detector_named("tiny"))
"""


# One of PyTorch's exporters ended the process with a segmentation fault in the second round; hence a process of its own.
_TWO_THREADS = """
import dataclasses, threading
from core.checkpoints import detector_named
from core.runtime import open_session

detector = detector_named("tiny")
for name in ("first", "second"):
    thread = threading.Thread(target=open_session, args=(dataclasses.replace(detector, hash=name),))
    thread.start()
    thread.join()
    print(name)
"""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_an_export_gives_what_the_network_gives(name: str, tmp_path: Path) -> None:
    model = with_statistics(name, 1)
    runtime._export(model, (1, 224, 224), tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for num_images in (1, 3):
        images = torch.randn(num_images, 1, 224, 224)
        with torch.inference_mode():
            expected = WithEmbedding(model)(images)
        for given, wanted in zip(session.run(["logits", "embedding"], {"image": images.numpy()}), expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(given), wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


def test_exports_from_many_threads(tiny_detector, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path))
    detectors = [dataclasses.replace(tiny_detector, hash=name) for name in ("first", "second", "third", "third")]
    with ThreadPoolExecutor(len(detectors)) as pool:
        paths = set(pool.map(exported_network, detectors))
    assert len(paths) == 3
    assert len({path.read_bytes() for path in paths}) == 1
    assert set(tmp_path.iterdir()) == paths


def test_exports_from_threads_that_have_ended(tiny_detector, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path))
    run = subprocess.run([sys.executable, "-c", _TWO_THREADS], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout.split()) == (0, ["first", "second"]), run.stderr
    assert len(list(tmp_path.glob("*.onnx"))) == 2
    assert not list(tmp_path.glob("*.partial"))


def test_an_export_is_made_once(tiny_detector, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path))
    open_session(tiny_detector)
    (path,) = cache_folder().glob("*.onnx")
    made_at = path.stat().st_mtime_ns
    open_session(tiny_detector)
    assert path.stat().st_mtime_ns == made_at


def test_onnx_runtime_reports_to_nobody(tiny_detector, tmp_path: Path) -> None:
    quiet = ("CI", "ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY")  # each would do, set from outside
    environment = {name: value for name, value in os.environ.items() if name not in (*quiet, "XDG_CACHE_HOME")}
    own = {"HOME": str(tmp_path), "EARWITNESS_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", _OPENING], env=environment | own, cwd=ROOT, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]  # where it reports, it keeps a number of this machine, too
    assert b"ORT_DISABLE_TELEMETRY" in Path(onnxruntime.capi.onnxruntime_pybind11_state.__file__).read_bytes()

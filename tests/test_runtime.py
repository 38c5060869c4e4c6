"""core.runtime: exports are cached by hash, and survive threads that come and go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from core.cache import cache_folder
from core.runtime import open_session

ROOT = Path(__file__).parents[1]

# Before exports shared a thread, the second round ended the process with a segmentation fault; hence a process of its own.
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

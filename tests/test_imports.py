"""What a command or a page loads before there is anything to compute: no torch, and nothing else that takes a second."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LOADED = """
def check(what, heavy):
    import sys
    loaded = sorted(set(heavy.split()) & set(sys.modules))
    assert not loaded, f"{what} loads {loaded}"
"""
_COMMANDS = """
import argparse, contextlib, io
from core.commands.program import build_parser, main
(commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
words = [parser.format_help() for parser in commands.choices.values()]
assert len(words) > 20 and all("usage: python -m core" in text for text in words)
with contextlib.redirect_stdout(io.StringIO()) as printed:
    assert main(["detectors"]) == 0
assert "vgg27-spectrogram" in printed.getvalue()
import core.scanning.scan, core.store.triage  # what starts a worker, and what reads its results
check("core", "torch torchaudio torchvision sklearn scipy captum plotly pandas ray onnx onnxruntime openvino matplotlib pyarrow")
check("core", "transformers huggingface_hub")
"""
_TITLE = """
import ast
home = ast.parse(open("Home.py").read()).body
(title,) = (at for at, node in enumerate(home) if ast.unparse(node).startswith("open_page("))
imports = [node for node in home[:title] if isinstance(node, ast.Import | ast.ImportFrom)]
exec(compile(ast.Module(imports, []), "Home.py", "exec"))
assert open_page
check("Home before its title", "torch sklearn scipy captum ray onnx onnxruntime matplotlib pandas sqlalchemy av")
"""
_PAGES = """
from streamlit.testing.v1 import AppTest
shown = AppTest.from_file("Home.py", default_timeout=60).run()
for page in ("Home", "1_Batch_audit", "8_Stress_test", "10_Reviews"):
    if page != "Home":
        shown.switch_page(f"pages/{page}.py").run()
    assert not shown.exception and shown.title, (page, shown.exception)
    check(page, "torch torchaudio torchvision sklearn captum ray onnx onnxruntime matplotlib")
    if page == "Home":
        check(page, "pandas pyarrow")
"""
_SCORING = """
import core.runtime, core.scanning.local_engine, core.store.ledger
from core.checkpoints import detector_named
from core.sketches import Decoding
front_ends = [branch.build_front_end() for branch in detector_named().branches]
(window, *_) = (window for _, _, window in Decoding("data/samples/flite/flite_slt_invoice.flac", "mix", 64_000).windows())
assert [front_end(window[None]).shape for front_end in front_ends] == [(1, 1, 224, 224), (1, 1, 80, 400)]
check("a scan", "torchvision sklearn scipy.stats scipy.optimize captum plotly pandas pyarrow ray onnx openvino matplotlib")
"""


def _run(program: str, tmp_path: Path) -> None:
    environment = os.environ | {"EARWITNESS_DB": f"sqlite:///{tmp_path}/e.db", "EARWITNESS_RESULTS": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _LOADED + program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]


def test_no_command_loads_torch_before_it_computes(tmp_path: Path) -> None:
    _run(_COMMANDS, tmp_path)


def test_home_has_a_title_before_what_it_shows_is_loaded(tmp_path: Path) -> None:
    _run(_TITLE, tmp_path)


def test_pages_paint_without_torch(tmp_path: Path) -> None:
    _run(_PAGES, tmp_path)


def test_a_scan_loads_what_scoring_needs_and_no_more(tmp_path: Path) -> None:
    _run(_SCORING, tmp_path)

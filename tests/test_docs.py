"""The documents name only commands, options, pages, files and settings that exist, and the README's figures are measured ones."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from core.checkpoints import DEFAULT_DETECTOR, DEFAULT_FAST, SHIPPED_DETECTORS, load_detector
from core.commands.program import build_parser as core_parser
from core.explanation.pointing_records import load_pointing_game
from core.familiarity import load_familiarity
from core.store.schema import SCHEMA_VERSION
from core.stress.table_files import SHIPPED_STRESS, load_table
from training.__main__ import build_parser as training_parser

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "data").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARSERS = {"core": core_parser(), "training": training_parser()}


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def _code_lines(text: str) -> list[str]:
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for package, command in re.findall(r"python -m (core|training)(?: ([a-z][a-z-]*))?", text):
        assert not command or command in _subparsers(PARSERS[package]), f"python -m {package} {command}"
    for line in _code_lines(text):
        found = re.search(r"python -m (core|training) ([a-z-]+)(.*)", line)
        if found:
            package, command, rest = found.groups()
            options = {option for action in _subparsers(PARSERS[package])[command]._actions for option in action.option_strings}
            for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
                assert option in options, f"{line}: {option}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_linked_files_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_every_command_is_documented() -> None:
    everything = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    for package, parser in PARSERS.items():
        for command in _subparsers(parser):
            assert re.search(rf"python -m {package} {command}\b|`{command}`", everything), f"python -m {package} {command}"


def test_every_module_of_core_is_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = {row.split("`")[1].rstrip("/"): row for row in text.splitlines() if row.startswith("| `")}
    for module in (ROOT / "core").rglob("[a-z]*.py"):
        package = module.relative_to(ROOT / "core").parts[0]
        row = rows[package] if module.parent != ROOT / "core" else text
        assert f"`{module.stem}`" in row or f"/{module.stem}`" in row or package == "commands", module
    assert f"Schema version {SCHEMA_VERSION}." in text


def test_every_setting_is_documented_and_used() -> None:
    named = set(re.findall(r"EARWITNESS_[A-Z_]+", README))
    sources = [path for folder in ("core", "training", "pages", "tests") for path in (ROOT / folder).rglob("*.py")]
    used = set(re.findall(r"EARWITNESS_[A-Z_]+", "\n".join(path.read_text(encoding="utf-8") for path in sources)))
    assert named | {"EARWITNESS_PICTURES"} == used


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?:`|^)make ([a-z]+)", README, flags=re.MULTILINE)
    assert {"run", "test", "benchmark"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_pages_named_in_the_readme_exist() -> None:
    titles = {re.sub(r"^\d+_", "", page.stem).replace("_", " ") for page in (ROOT / "pages").glob("*.py")}
    for name in re.findall(r"page \*\*([^*]+)\*\*", README):
        assert name in titles


def test_the_figures_in_the_readme_are_the_detectors() -> None:
    detector = load_detector(SHIPPED_DETECTORS / DEFAULT_DETECTOR)
    figures = {(figure.split, figure.name): figure for figure in detector.manifest.figures}
    fast = load_detector(SHIPPED_DETECTORS / DEFAULT_FAST)
    trust = README.partition("## How far to trust it")[2].partition("\n## ")[0]
    pattern = r"\| ([^|]+?) \((test2?)\) \| ([\d.]+) % \| ([\d.]+) to ([\d.]+) % \|"
    for name, split, value, low, high in re.findall(pattern, trust):
        figure = figures[split, name]
        assert (value, low, high) == tuple(f"{100 * x:.1f}" for x in (figure.value, figure.low, figure.high))
    (eer,) = (figure for figure in fast.manifest.figures if (figure.split, figure.name) == ("test", "EER"))
    assert f"EER {100 * eer.value:.1f} % on test ({100 * eer.low:.1f} to {100 * eer.high:.1f} %)" in " ".join(trust.split())
    assert f"more than {detector.manifest.num_second_pass} windows" in " ".join(trust.split())
    assert len(re.findall(pattern, trust)) >= 8
    assert detector.hash[:12] in detector.card
    assert json.loads((detector.folder / "detector.json").read_text())["provenance"]["data"]["train"]


def test_how_often_maps_point_at_a_spoof_is_as_measured() -> None:
    game = load_pointing_game(load_detector(SHIPPED_DETECTORS / "vgg27-spectrogram").hash)
    section = README.partition("Do maps point at")[2].partition("\n## ")[0]
    shares = re.findall(r"\| ([\d.]+) % \| ([\d.]+) to ([\d.]+) % \|", section)
    assert len(shares) == len(game.scores) == 4
    for score in game.scores:
        assert tuple(f"{100 * x:.0f}" for x in (score.share, score.low, score.high)) in shares


def test_what_the_warning_is_worth_is_as_measured() -> None:
    words, results = " ".join(README.split()), ROOT / "data" / "results" / "familiarity"
    shown = []
    for name in ("vgg27-spectrogram", "vgg27-telephone"):
        measured = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        figures = {(f["split"], f["name"]): f for f in measured["figures"]}
        detector = load_detector(SHIPPED_DETECTORS / name)
        familiarity = load_familiarity(detector)
        assert (measured["detector_hash"], measured["data"]) == (detector.hash, familiarity.data)
        # What travels with the detector is what the results say.
        for figure in familiarity.figures:
            assert asdict(figure) == figures[figure.split, figure.name]
        rate, low, high = (f"{100 * figures['test', 'warned'][key]:.1f}" for key in ("value", "low", "high"))
        assert f"{rate} % ({low} to {high} %) with `{name}`" in words
        shown.append({split: f"{100 * f['value']:.1f} %" for (split, which), f in figures.items() if which == "warned"})
        wrong = [f"{100 * figures['test, under conditions', f'wrong, {which}']['value']:.1f}" for which in ("warned", "not warned")]
        assert f"{wrong[0]} and {wrong[1]} %" in words
    for condition in shown[0].keys() - {"test", "test, under conditions"}:
        assert f"| {condition} | {shown[0][condition]} | {shown[1][condition]} |" in words


def test_what_stress_does_is_as_measured() -> None:
    family, made = (load_table(SHIPPED_STRESS / f"{name}.json") for name in ("corpus-test-by-family", "made-attacks"))
    share = next(share for share in family.shares if (share.condition, share.label) == ("phone_gsm", "bona fide"))
    gsm, clean = family.cells["phone_gsm"][""].eer, {attack: cell.eer for attack, cell in made.cells["clean"].items()}
    words = " ".join(README.split())
    assert f"through GSM the EER is {100 * gsm:.0f} %, and of {share.num} bona fide recordings" in words
    assert f"{share.num_opposite} turn into *spoof*" in words
    assert f"its EER is {100 * clean['']:.0f} %, from {100 * clean['flite']:.0f} % (flite)" in words
    telephone = load_table(SHIPPED_STRESS / "corpus-test-telephone-by-family.json")
    share = next(share for share in telephone.shares if (share.condition, share.label) == ("phone_gsm", "bona fide"))
    assert f"through GSM {share.num_opposite} of its {share.num} clear bona fide verdicts turn into *spoof*" in words
    eers = [telephone.cells[condition][""].eer for condition in ("clean", "phone_gsm")]
    assert "its EER is {:.1%} on clean speech and {:.1%} through GSM".format(*eers).replace("%", " %") in words
    assert all(clean[attack] > 0.45 for attack in ("replay", "sinusoidal", "concatenation"))


_ONLY_THEIRS = r"theirs\.onnx|AUDIT|FOLDER|core backup"


def _readme_commands() -> list[str]:
    """All but those about what only the reader has; `test_foreign`, `test_evidence` and `test_backup` run them."""
    return [line for line in _code_lines(README) if line.startswith("python -m core") and not re.search(_ONLY_THEIRS, line)]


@pytest.mark.parametrize("command", _readme_commands())
def test_readme_commands_run(command: str, tmp_path: Path, store_url: str) -> None:
    """As written, but with their output in a scratch folder."""
    words = shlex.split(command)
    assert len(_readme_commands()) == 9
    words = [str(tmp_path / word) if word in ("scores.csv", "pictures", "attacked") else word for word in words]
    run = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout or (tmp_path / "attacked" / "protocol.txt").is_file() or (tmp_path / "scores.csv").stat().st_size > 500


def test_the_threat_model_names_tests_that_exist() -> None:
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    for file, test in named:
        assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_the_server_is_closed_by_default() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["server"]["address"] == "localhost"
    assert config["server"]["enableXsrfProtection"] is True
    assert config["server"]["maxUploadSize"] <= 500
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"

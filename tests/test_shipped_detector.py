"""The shipped detector: its card's figures follow from its committed scores, and a scan of the corpus gives them again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from core.checkpoints import SHIPPED_DETECTORS, detector_named
from core.commands.program import main
from core.metrics import equal_error_rate, log_likelihood_ratio_cost

RESULTS = Path(__file__).parents[1] / "data" / "results"


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EARWITNESS_DETECTOR", raising=False)
    monkeypatch.delenv("EARWITNESS_DETECTORS", raising=False)
    return detector_named()


def _figure(detector, split: str, name: str):
    return next(figure for figure in detector.manifest.figures if (figure.split, figure.name) == (split, name))


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_card_follows_from_the_committed_scores(shipped) -> None:
    rows = _read(RESULTS / f"{shipped.name}.test.csv")
    scores = np.array([float(row["spoof_score"]) for row in rows])
    is_spoof = np.array([row["label"] == "spoof" for row in rows])
    assert (len(rows), int(is_spoof.sum())) == (684, 304)
    assert equal_error_rate(scores, is_spoof)[0] == pytest.approx(_figure(shipped, "test", "EER").value, abs=1e-6)
    assert log_likelihood_ratio_cost(scores, is_spoof) == pytest.approx(_figure(shipped, "test", "Cllr (bits)").value, abs=1e-5)
    sources = {}
    for row, score, spoof in zip(rows, scores, is_spoof, strict=True):
        sources.setdefault(row["source"], []).append((score, spoof))
    both = [np.array(trials) for trials in sources.values() if len({spoof for _, spoof in trials}) == 2]
    mean = np.mean([equal_error_rate(trials[:, 0], trials[:, 1].astype(bool))[0] for trials in both])
    assert mean == pytest.approx(_figure(shipped, "test", f"EER, mean within {len(both)} sources").value, abs=1e-6)
    for name in ("EER", "Cllr (bits)"):
        figure = _figure(shipped, "test", name)
        assert figure.low < figure.value < figure.high
        assert f"{100 * figure.value:.1f} %" in shipped.card or f"{figure.value:.3f}" in shipped.card


def test_pooled_test_eer_is_what_was_promised(shipped) -> None:
    assert _figure(shipped, "test", "EER").value <= 0.20


def test_a_scan_of_the_corpus_gives_the_cards_figures(shipped, corpus: Path, tmp_path: Path, store_url: str) -> None:
    out = tmp_path / "scores.csv"
    protocol = corpus / "protocols" / "EW.test.txt"
    assert main(["scan", str(corpus / "test"), "--out", str(out), "--protocol", str(protocol), "--db", store_url]) == 0
    rows = _read(out)
    assert len(rows) == 684
    assert all(row["verdict"] != "refused" for row in rows)
    scores = np.array([float(row["spoof_score"]) for row in rows])
    is_spoof = np.array([row["label"] == "spoof" for row in rows])
    assert equal_error_rate(scores, is_spoof)[0] == pytest.approx(_figure(shipped, "test", "EER").value, abs=0.003)
    committed = {row["utterance"]: float(row["spoof_score"]) for row in _read(RESULTS / f"{shipped.name}.test.csv")}
    difference = [abs(score - committed[Path(row["path"]).stem]) for row, score in zip(rows, scores, strict=True)]
    assert max(difference) < 0.01


def test_shipped_detectors_are_small_and_documented() -> None:
    folders = [path for path in SHIPPED_DETECTORS.iterdir() if path.is_dir()]
    assert folders
    for folder in folders:
        assert sum(path.stat().st_size for path in folder.iterdir()) < 100e6
        assert "Known weaknesses" in (folder / "README.md").read_text(encoding="utf-8")

"""training.baselines: the LFCC front end, the mixtures on sounds that differ, and the command with its score files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from prepared_data import noise, write_prepared

from core.errors import CoreError
from core.metrics import accuracy, equal_error_rate
from training import baselines
from training.__main__ import main
from training.baselines import FrameLfcc, GmmConfig, LfccGmm, run_baseline
from training.data import load_split
from training.evaluate import is_spoof
from training.probes import PROBES
from training.scores import read_scores

SMALL = GmmConfig(num_components=4, num_frames=2_000, max_iterations=5)


def _make(spoof: bool, rng: np.random.Generator) -> np.ndarray:
    """Noise; spoofs are low-passed."""
    samples = noise(int(rng.uniform(0.5, 1.0) * 16_000), rng)
    return np.convolve(samples, np.ones(3) / 3, mode="same") if spoof else samples


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("prepared"), _make)


def test_frames_have_sixty_numbers_and_no_level() -> None:
    samples = torch.from_numpy(noise(16_000, np.random.default_rng(0))).float()
    front_end = FrameLfcc()
    frames = front_end(samples)
    assert frames.shape == (1 + (16_000 - 512) // 160, 60)
    assert torch.isfinite(frames).all()
    assert torch.allclose(front_end(0.01 * samples), frames, atol=1e-2)
    assert front_end(samples[:100]).shape == (1, 60)
    assert torch.isfinite(front_end(torch.zeros(1_000))).all()


def test_differences_are_slopes() -> None:
    # Noise that repeats with every hop gives the same frame again and again: its differences are zero.
    steady = torch.from_numpy(np.tile(noise(160, np.random.default_rng(0)), 100)).float()
    frames = FrameLfcc()(steady)
    assert frames[:, 20:].abs().max() < 1e-3
    assert frames[:, :20].abs().max() > 1
    # Noise that grows by 1 dB a frame: the first coefficient rises steadily, so that its second difference vanishes.
    growing = FrameLfcc()(steady * 10 ** (torch.arange(16_000) / 160 / 20))
    assert growing[20:-20, 20].std() < 0.05 * growing[20:-20, 20].mean()
    assert growing[20:-20, 40].abs().max() < 0.05 * growing[20:-20, 20].mean()


def test_mixtures_tell_sounds_apart_and_repeat(prepared: Path) -> None:
    train, test = load_split(prepared, "train"), load_split(prepared, "test")
    scores = []
    for _ in range(2):
        system = LfccGmm(SMALL)
        system.fit(train, seed=3)
        scores.append(system.score(test))
    assert equal_error_rate(scores[0], test.is_spoof)[0] == 0.0
    assert scores[0].tolist() == scores[1].tolist()


def test_the_score_is_the_mean_log_likelihood_ratio(prepared: Path) -> None:
    test = load_split(prepared, "test")
    system = LfccGmm(SMALL)
    system.fit(load_split(prepared, "train"), seed=0)
    frames = system.front_end(test.recording(1).float() / 32_768).numpy().astype(np.float64)

    def log_likelihood(spoof: bool) -> np.ndarray:
        mixture = system.mixtures[spoof]
        squares = (frames[:, None] - mixture.means_) ** 2 / mixture.covariances_ + np.log(2 * np.pi * mixture.covariances_)
        return np.log((mixture.weights_ * np.exp(-0.5 * squares.sum(axis=2))).sum(axis=1))

    assert system.score(test)[1] == pytest.approx((log_likelihood(True) - log_likelihood(False)).mean(), rel=1e-3)


def test_the_budget_of_frames_is_kept() -> None:
    recordings = [np.full((num, 60), num, dtype=np.float32) for num in (50, 150, 100) * 40]
    frames = baselines._thinned(iter(recordings), 3_000 / 120, np.random.default_rng(0))
    assert len(frames) == pytest.approx(3_000, rel=0.15)
    assert len(baselines._thinned(iter(recordings), 1e9, np.random.default_rng(0))) == 12_000
    # Long recordings give more.
    assert (frames[:, 0] == 150).sum() > 1.5 * (frames[:, 0] == 50).sum()


def test_too_few_frames_are_told(prepared: Path) -> None:
    system = LfccGmm(GmmConfig(num_components=20_000, num_frames=20_000))
    with pytest.raises(CoreError, match="fewer than the 20000 components"):
        system.fit(load_split(prepared, "train"), seed=0)
    with pytest.raises(CoreError, match="a frame for each"):
        GmmConfig(num_components=10, num_frames=5)


def test_always_spoof_is_right_as_often_as_there_are_spoofs(prepared: Path, tmp_path: Path) -> None:
    assert main(["baseline", "always-spoof", "--data", str(prepared), "--scores-out", str(tmp_path)]) == 0
    system = read_scores(tmp_path / "always-spoof.test.csv")
    assert set(system.scores) == {1.0}
    assert accuracy(system.scores, is_spoof(system)) == 0.5


def test_lfcc_gmm_writes_calibrated_scores(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "GmmConfig", lambda: SMALL)
    assert main(["baseline", "lfcc-gmm", "--data", str(prepared), "--scores-out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "4 components a class" in printed
    assert "EER 0.0 %" in printed
    system = read_scores(tmp_path / "lfcc-gmm.test.csv")
    assert accuracy(system.scores, is_spoof(system)) == 1.0


def test_every_probe_writes_scores(prepared: Path, tmp_path: Path) -> None:
    figures = run_baseline("probes", prepared, scores_out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.test.csv" for name in PROBES)
    eers = {figure.name: figure.value for figure in figures}
    assert eers["probe-bandwidth"] == 0.0
    assert eers["probe-duration"] > 0.2


def test_wrong_use_is_told(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(CoreError, match="unknown baseline 'svm'"):
        run_baseline("svm", prepared, scores_out=tmp_path)
    with pytest.raises(CoreError, match="prepare"):
        run_baseline("always-spoof", tmp_path, scores_out=tmp_path)
    one_class = write_prepared(tmp_path / "one", _make, sizes={"train": 1, "dev": 4, "test": 4})
    with pytest.raises(CoreError, match="spoof speech of train gives 0 frames"):
        run_baseline("lfcc-gmm", one_class, scores_out=tmp_path / "out", config=SMALL)
    assert not (tmp_path / "out").exists()

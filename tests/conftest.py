"""Shared fixtures: a tiny installed detector, speech-like sounds, a fresh store. Offline, seeded, on the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from postgres_server import NoServerError, PostgresServer

torch.set_num_threads(1)

RATE_HZ = 16_000


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    """A page under test becomes `__main__`, which every process that a later test spawns would run once more."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


def _speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """A buzz with three syllables a second, gliding pitch and pauses, `[time]` float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = 120 + 30 * np.sin(2 * np.pi * 0.7 * time_s + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    buzz = sum(np.sin(k * phase) / k for k in range(1, 30))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time_s + rng.uniform(0, 6)), 0, None) ** 2
    return (0.2 * buzz * syllables + 1e-3 * rng.standard_normal(len(time_s))).astype(np.float32)


@pytest.fixture(scope="session")
def speech_like() -> Callable[..., np.ndarray]:
    """Function of seconds and seed: samples `[time]` that pass as speech."""
    return _speech_like


@pytest.fixture(scope="session")
def write_recordings() -> Callable[..., list[Path]]:
    """Function of folder and number: writes that many different speech-like WAV files of 2 to 5 s."""

    def write(folder: Path, num: int, *, first_seed: int = 0) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"r{seed:04d}.wav" for seed in range(first_seed, first_seed + num)]
        for path, seed in zip(paths, range(first_seed, first_seed + num), strict=True):
            soundfile.write(path, _speech_like(2 + seed % 4, seed), RATE_HZ)
        return paths

    return write


@pytest.fixture(scope="session")
def detectors_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one detector, `tiny`: vgg27 with seeded random weights."""
    from core.calibration import Calibration, Thresholds
    from core.checkpoints import DetectorManifest, save_detector
    from core.detector_config import FeatureConfig
    from core.models import build_model

    folder = tmp_path_factory.mktemp("detectors")
    torch.manual_seed(0)
    manifest = DetectorManifest(
        name="tiny",
        summary="Random weights, for tests.",
        model="vgg27",
        features=FeatureConfig(),
        aggregate="mean",
        calibration=Calibration(slope=10.0, offset=0.0),
        thresholds=Thresholds(lower=-0.2, upper=0.2),
        provenance={"recipe": "none"},
    )
    save_detector(folder / "tiny", build_model("vgg27").eval(), manifest)
    return folder


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny_detector(detectors_folder: Path, _cache: Path, monkeypatch: pytest.MonkeyPatch):
    """The `tiny` detector, installed and the default one of this test and its child processes."""
    from core.checkpoints import detector_named

    monkeypatch.setenv("EARWITNESS_DETECTORS", str(detectors_folder))
    monkeypatch.setenv("EARWITNESS_DETECTOR", "tiny")
    monkeypatch.setenv("EARWITNESS_CACHE", str(_cache))
    return detector_named()


@pytest.fixture(scope="session")
def _lively_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from core.calibration import Calibration, Thresholds
    from core.checkpoints import DetectorManifest, save_detector
    from core.detector_config import FeatureConfig
    from core.familiarity import Familiarity, save_familiarity
    from core.features import build_front_end
    from core.models import WithEmbedding, build_model

    torch.manual_seed(0)
    model = build_model("vgg27")
    with torch.no_grad():  # statistics of speech in the normalisation: otherwise the depth levels all differences
        model.train()
        for module in model:
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        model(
            build_front_end(FeatureConfig())(torch.stack([torch.from_numpy(_speech_like(4.0, 100 + seed)) for seed in range(16)]))
        )
    manifest = DetectorManifest(
        name="lively",
        summary="Random weights that tell recordings apart, for tests.",
        model="vgg27",
        features=FeatureConfig(),
        aggregate="mean",
        calibration=Calibration(slope=5.0, offset=-5.4),
        thresholds=Thresholds(lower=-1.0, upper=1.0),
        provenance={"recipe": "none"},
    )
    folder = tmp_path_factory.mktemp("lively")
    detector = save_detector(folder / "lively", model.eval(), manifest)
    # Distances along some directions, about half of the recordings beyond the limit.
    with torch.inference_mode():
        seen = build_front_end(FeatureConfig())(torch.stack([torch.from_numpy(_speech_like(4.0, 200 + seed)) for seed in range(8)]))
        embeddings = WithEmbedding(model)(seen)[1]
    means, whitening = embeddings[:2].clone(), 10 * torch.eye(embeddings.shape[1])[:, ::20].contiguous()
    unscaled = Familiarity(detector_hash=detector.hash, means=means, whitening=whitening, limit=1.0, limit_share=0.5, data={})
    limit = float(unscaled.distances(embeddings[2:]).median())
    save_familiarity(detector.folder, replace(unscaled, limit=limit))
    return folder


@pytest.fixture
def lively_detector(_lively_folder: Path, _cache: Path, monkeypatch: pytest.MonkeyPatch):
    """As `tiny_detector`, for tests of scores: they differ by about 2 nats between recordings (`tiny`: 0.001)."""
    from core.checkpoints import detector_named

    monkeypatch.setenv("EARWITNESS_DETECTORS", str(_lively_folder))
    monkeypatch.setenv("EARWITNESS_DETECTOR", "lively")
    monkeypatch.setenv("EARWITNESS_CACHE", str(_cache))
    return detector_named()


@pytest.fixture
def store_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a fresh SQLite store, the default one of this test and its child processes; results of one's own are apart too."""
    url = f"sqlite:///{tmp_path / 'store' / 'test.db'}"
    monkeypatch.setenv("EARWITNESS_DB", url)
    monkeypatch.setenv("EARWITNESS_RESULTS", str(tmp_path / "results"))
    return url


@pytest.fixture
def store(store_url: str):
    """An open fresh store."""
    from core.store.store import Store

    return Store(store_url)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A private PostgreSQL server; tests that need one are skipped where it cannot be started."""
    try:
        server = PostgresServer()
    except NoServerError as error:
        pytest.skip(f"needs a PostgreSQL server: {error}")
    yield server
    server.close()


@pytest.fixture(scope="session")
def _postgres_url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database(request: pytest.FixtureRequest) -> str:
    """Which kind of database `any_store_url` is of: every test that uses one runs on both."""
    return request.param


@pytest.fixture
def any_store_url(database: str, store_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a fresh store in either database, the default one of this test and its child processes."""
    if database == "sqlite":
        return store_url
    url = request.getfixturevalue("postgres").emptied(request.getfixturevalue("_postgres_url"))
    monkeypatch.setenv("EARWITNESS_DB", url)
    return url


@pytest.fixture
def any_store(any_store_url: str):
    """An open fresh store in either database."""
    from core.store.store import Store

    opened = Store(any_store_url)
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The real corpus; the test is skipped where it is not at hand."""
    folder = Path(os.environ.get("EARWITNESS_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
    if not (folder / "protocols").is_dir():
        pytest.skip("needs the corpus (EARWITNESS_CORPUS)")
    return folder

"""core.familiarity and training.familiarity: distances by hand and by scipy, the file, scores with and without it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from ledger_records import WORKER, list_files, make_audit, make_detector, scored, sha256
from safetensors.torch import save_file
from scipy.spatial.distance import mahalanobis
from scipy.stats import binomtest
from torch import nn

from core.checkpoints import Detector, Figure, load_detector
from core.detect import Scorer
from core.errors import DetectorError
from core.familiarity import (
    FAMILIARITY_FILE,
    POOLED,
    TEST,
    WARNED,
    WRONG_MORE,
    WRONG_OTHERS,
    WRONG_WARNED,
    Familiarity,
    load_familiarity,
    mean_distance,
    save_familiarity,
    warning_words,
)
from core.models import IMAGE_MODELS, WithEmbedding, build_model
from core.records import ScanSettings, TriageFilter, is_unfamiliar
from core.scanning.cluster.parcels import pack, unpack
from core.store.ledger import Ledger
from core.store.store import Store
from core.store.triage import entry_detail, triage_page
from tests.tiny_training import write_tiny
from training import familiarity as training_familiarity
from training.data import LabelledSplit, load_split
from training.familiarity import fit_familiarity, warning_figures


def _statistics(**changes: object) -> Familiarity:
    values = {"detector_hash": "ab" * 32, "means": torch.tensor([[0.0, 0.0], [4.0, 0.0]]), "whitening": torch.eye(2)}
    return Familiarity(**values | {"limit": 2.0, "limit_share": 0.95, "data": {"train": "t", "dev": "d"}} | changes)


def test_distances_by_hand() -> None:
    # To the nearer class mean, over the limit of 2.
    found = _statistics().distances(torch.tensor([[0.0, 0.0], [1.0, 0.0], [4.0, 3.0], [2.0, 0.0]]))
    assert found.tolist() == [0.0, 0.5, 1.5, 1.0]
    stretched = _statistics(whitening=torch.tensor([[0.5], [0.0]]))  # along one direction, of variance 4
    assert stretched.distances(torch.tensor([[2.0, 9.0]])).tolist() == [0.5]
    assert (mean_distance([0.5, 1.5]), mean_distance([]), mean_distance([0.5, float("nan")])) == (1.0, None, None)
    assert [is_unfamiliar(distance) for distance in (None, 0.5, 1.0, 1.01)] == [False, False, False, True]


def test_a_distance_does_not_depend_on_the_batch(lively_detector: Detector) -> None:
    statistics = load_familiarity(lively_detector)
    embeddings = torch.rand(40, statistics.means.shape[1], generator=torch.Generator().manual_seed(0))
    together = statistics.distances(embeddings)
    for size in (1, 2, 3, 16, 17):
        assert torch.equal(torch.cat([statistics.distances(part) for part in embeddings.split(size)]), together), size


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledSplit, LabelledSplit]:
    data = write_tiny(tmp_path_factory.mktemp("tiny") / "data", sizes={"train": 24, "dev": 12})
    return load_split(data, "train"), load_split(data, "dev")


def test_statistics_are_those_of_the_training_data(splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_familiarity, "SHRINKAGE", 0.0)
    network = lambda windows: (windows[:, 0], _embedding(windows))  # noqa: E731
    found = fit_familiarity(network, nn.Identity(), *splits, "ab" * 32)
    embeddings, kinds = [], []
    for number in range(len(splits[0])):
        _, of_one, _ = training_familiarity.embed_split(network, nn.Identity(), _only(splits[0], number))
        embeddings += of_one.tolist()
        kinds += [splits[0].is_spoof[number]] * len(of_one)
    embeddings, kinds = np.array(embeddings), np.array(kinds)
    means = [embeddings[~kinds].mean(axis=0), embeddings[kinds].mean(axis=0)]
    np.testing.assert_allclose(found.means, means, rtol=1e-5)
    within = embeddings - np.array(means)[kinds.astype(int)]
    precision = np.linalg.inv(within.T @ within / len(within))
    new = np.random.default_rng(0).normal(size=(5, embeddings.shape[1])) * embeddings.std(axis=0) + embeddings.mean(axis=0)
    expected = [min(mahalanobis(row, mean, precision) for mean in means) / found.limit for row in new]
    np.testing.assert_allclose(found.distances(torch.from_numpy(new).float()), expected, rtol=1e-3)
    # 95 % of dev's recordings are within the limit.
    _, of_dev, owners = training_familiarity.embed_split(network, nn.Identity(), splits[1])
    of_dev = [found.distances(of_dev)[owners == number].mean() for number in range(len(splits[1]))]
    assert np.mean(np.array(of_dev) <= 1) == pytest.approx(11 / 12)


def _embedding(windows: torch.Tensor) -> torch.Tensor:
    return torch.stack([windows.std(dim=1), windows.abs().mean(dim=1), windows.diff(dim=1).std(dim=1)], dim=1) * 100


def _only(split: LabelledSplit, number: int) -> LabelledSplit:
    chosen = slice(number, number + 1)
    return replace(split, index=split.index.iloc[chosen], starts=split.starts[chosen], lengths=split.lengths[chosen])


def _labelled(is_spoof: np.ndarray) -> LabelledSplit:
    index = pd.DataFrame({"label": np.where(is_spoof, "spoof", "bona fide"), "speaker": np.arange(len(is_spoof)).astype(str)})
    none = torch.zeros(0, dtype=torch.int64)
    return LabelledSplit(name="test", index=index, samples=none, starts=none, lengths=none, data_hash="x")


def test_what_a_warning_is_worth_by_hand() -> None:
    # Of 40 recordings 10 are warned of, 4 of these are called wrong; of the other 30 three are.
    is_spoof = np.arange(40) % 2 == 1
    wrong = np.isin(np.arange(40), (0, 1, 2, 3, 20, 21, 22))
    distances = np.where(np.arange(40) < 10, 1.5, 0.5)
    scores = np.where(is_spoof != wrong, 1.0, -1.0)
    found = {figure.name: figure for figure in warning_figures("test", scores, distances, _labelled(is_spoof))}
    values = [found[name].value for name in (WARNED, WRONG_WARNED, WRONG_OTHERS, WRONG_MORE, f"{WARNED}, spoofs")]
    assert values == pytest.approx([0.25, 0.4, 0.1, 0.3, 0.25])
    assert all(figure.low <= figure.value <= figure.high and figure.low < figure.high for figure in found.values())
    # The same twice over, as under two conditions: the same figures, no narrower, for the speakers are the same.
    twice = {f.name: f for f in warning_figures("test", np.tile(scores, 2), np.tile(distances, 2), _labelled(is_spoof))}
    assert twice[WARNED].low == pytest.approx(found[WARNED].low)
    # Nobody warned of: no error rate with a warning, and never certain that nobody is.
    none = {figure.name: figure for figure in warning_figures("test", scores, distances / 3, _labelled(is_spoof))}
    assert none.keys() == {WARNED, f"{WARNED}, bona fide", f"{WARNED}, spoofs", WRONG_OTHERS}
    assert none[WARNED].high == pytest.approx(binomtest(0, 40).proportion_ci(0.95, "exact").high)


def test_words_do_not_oversell() -> None:
    def with_difference(low: float, high: float, split: str = TEST) -> str:
        counts = {"num_bona_fide": 10, "num_spoof": 10}
        shares = {
            WARNED: (0.06, 0.04, 0.09),
            WRONG_WARNED: (0.3, 0.2, 0.4),
            WRONG_OTHERS: (0.1, 0.05, 0.2),
            WRONG_MORE: (0.2, low, high),
        }
        figures = [Figure(split=split, name=name, value=v, low=a, high=b, **counts) for name, (v, a, b) in shares.items()]
        figures += [Figure(split=TEST, name=WARNED, value=0.06, low=0.04, high=0.09, **counts)] if split != TEST else []
        return warning_words(_statistics(figures=tuple(figures)))

    assert "6.0 % (4.0 % to 9.0 %) of test recordings" in with_difference(0.1, 0.3)
    assert "with it a score is worth less" in with_difference(0.1, 0.3)
    assert "may be chance" in with_difference(-0.1, 0.3)
    assert "no safer" in with_difference(-0.3, -0.1)
    assert "telephone lines" in with_difference(-0.3, -0.1, POOLED)
    assert "was not measured" in warning_words(_statistics())
    assert "cannot warn" in warning_words(None)


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_the_embedding_is_what_the_last_layer_sees(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name).eval()
    image = torch.randn(2, 1 if name == "vgg27" else 3, 224, 224)
    with torch.inference_mode():
        logits, embeddings = WithEmbedding(model)(image)
        assert torch.allclose(logits, model(image), atol=1e-5)
        assert embeddings.shape == (2, {"vgg27": 896, "resnet18": 512, "resnet50": 2_048, "efficientnet_lite0": 1_280}[name])
        if name != "vgg27":
            head = model[1].fc if name.startswith("resnet") else model[-1]
            assert torch.allclose(head(embeddings), logits, atol=1e-5)


def test_an_ensemble_has_the_embedding_of_its_first_network() -> None:
    model = build_model("vgg27", num_members=2).eval()
    image = torch.randn(2, 1, 224, 224)
    with torch.inference_mode():
        logits, embeddings = WithEmbedding(model)(image)
        assert torch.allclose(logits, model(image), atol=1e-5)
        assert torch.allclose(embeddings, WithEmbedding(model.members[0])(image)[1])
    with pytest.raises(DetectorError, match="does not end in a linear layer"):
        WithEmbedding(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))


# In a detector's folder -------------------------------------------------------------------------------------------


@pytest.fixture
def copied(lively_detector: Detector, tmp_path: Path) -> Detector:
    """A copy of the detector that a test may change."""
    return load_detector(Path(shutil.copytree(lively_detector.folder, tmp_path / "lively")))


def test_the_statistics_change_neither_hash_nor_scores(copied: Detector, tmp_path: Path, speech_like: Callable) -> None:
    paths = [tmp_path / f"{seed}.wav" for seed in range(6)]
    for seed, path in enumerate(paths):
        soundfile.write(path, speech_like(3.0 + 3 * (seed % 2), seed), 16_000)
    with_them = list(Scorer(copied).score_files(paths))
    in_pytorch = list(Scorer(copied, backend="torch").score_files(paths))
    (copied.folder / FAMILIARITY_FILE).unlink()
    assert load_detector(copied.folder).hash == copied.hash
    assert load_familiarity(copied) is None
    for record, slow, plain in zip(with_them, in_pytorch, Scorer(copied).score_files(paths), strict=True):
        (one,), (two,), (three,) = record.detections, slow.detections, plain.detections
        assert (one.verdict, one.spoof_score) == (three.verdict, pytest.approx(three.spoof_score, abs=1e-4))
        assert three.training_distance is None
        assert one.training_distance == pytest.approx(two.training_distance, abs=1e-3)
        assert ("unfamiliar" in one.warnings) is is_unfamiliar(one.training_distance)
        assert "unfamiliar" not in three.warnings
    assert {is_unfamiliar(record.detections[0].training_distance) for record in with_them} == {True, False}


def test_a_recordings_distance_is_its_windows_mean(lively_detector: Detector, tmp_path: Path, speech_like: Callable) -> None:
    samples = torch.from_numpy(speech_like(8.0, 3))
    soundfile.write(tmp_path / "a.wav", samples.numpy(), 16_000, subtype="FLOAT")
    scorer = Scorer(lively_detector)
    windows = torch.stack([samples[start : start + 64_000] for start in (0, 32_000, 64_000)])
    (detection,) = scorer.score_file(tmp_path / "a.wav").detections
    assert detection.training_distance == pytest.approx(float(scorer.judge_windows(windows)[1].mean()), abs=1e-5)


def test_a_file_that_does_not_fit_is_told(copied: Detector) -> None:
    good = load_familiarity(copied)
    path = copied.folder / FAMILIARITY_FILE
    save_familiarity(copied.folder, replace(good, detector_hash="cd" * 32))
    with pytest.raises(DetectorError, match="describes the detector cdcdcdcdcdcd, not"):
        Scorer(copied)
    for content in (b"", b"not safetensors", path.read_bytes()[:-4]):
        path.write_bytes(content)
        with pytest.raises(DetectorError, match="is damaged or of another version"):
            load_familiarity(copied)
    save_file({"means": good.means, "whitening": good.whitening}, path)  # without a word of what it is
    with pytest.raises(DetectorError, match="is damaged or of another version"):
        load_familiarity(copied)
    save_familiarity(copied.folder, good)
    assert torch.equal(load_familiarity(copied).whitening, good.whitening)


@pytest.mark.parametrize(
    "changes",
    [
        {"means": torch.zeros(2, 3)},
        {"means": torch.zeros(2)},
        {"means": torch.full((2, 2), float("nan"))},
        {"whitening": torch.eye(2).double()},
        {"whitening": torch.zeros(2, 0)},
        {"limit": 0.0},
        {"limit_share": 1.0},
    ],
)
def test_impossible_statistics_are_refused(changes: dict) -> None:
    with pytest.raises(DetectorError):
        _statistics(**changes)


def test_the_statistics_travel_with_a_detector(copied: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = pack(copied)
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "node"))
    there = unpack(parcel)
    assert load_familiarity(there).limit == load_familiarity(copied).limit
    # What lies there from an earlier scan is replaced: it is no part of the hash.
    save_familiarity(copied.folder, replace(load_familiarity(copied), limit=77.0))
    assert load_familiarity(unpack(replace(parcel, files=pack(copied).files))).limit == 77.0
    assert load_familiarity(unpack(replace(parcel, files=tuple(f for f in parcel.files if f[0] != FAMILIARITY_FILE)))) is None


# In the store ----------------------------------------------------------------------------------------------------


def test_unfamiliar_files_are_filtered(any_store: Store) -> None:
    records = [
        scored("a.wav", 2.0, training_distance=1.5),
        scored("b.wav", 1.0, training_distance=0.5),
        scored("c.wav", 0.0),
        scored("d.wav", None),
    ]
    audit_id, ids = make_audit(any_store, records)
    found = {
        wanted: [row.path for row in triage_page(any_store, audit_id, TriageFilter(unfamiliar=wanted)).rows]
        for wanted in (True, False, None)
    }
    assert (found[True], found[False]) == (["a.wav"], ["b.wav", "c.wav", "d.wav"])
    assert len(found[None]) == 4
    assert entry_detail(any_store, ids["a.wav"]).detections[0].training_distance == 1.5


def test_what_was_scored_without_a_distance_gets_one_and_keeps_its_score(any_store: Store) -> None:
    make_audit(any_store, [scored("a.wav", 2.0), scored("b.wav", None)])
    audit_id = any_store.create_audit("/audio", make_detector(), ScanSettings())
    ledger = Ledger(any_store, audit_id, WORKER)
    hashes = [sha256("a.wav"), sha256("b.wav")]
    assert ledger.known_hashes(hashes) == set(hashes)
    assert ledger.known_hashes(hashes, with_distance=True) == {sha256("b.wav")}  # a refusal has none
    ids = list_files(ledger, ["a.wav"])
    again = scored("a.wav", 2.5, warnings=("unfamiliar",), training_distance=1.25)
    ledger.record_results(scored=[(ids["a.wav"], again)], reused=[])
    (row,) = triage_page(any_store, audit_id).rows
    assert (row.spoof_score, row.training_distance) == (2.0, 1.25)
    assert entry_detail(any_store, row.entry_id).detections[0].warnings == ("unfamiliar",)
    assert ledger.known_hashes(hashes, with_distance=True) == set(hashes)

"""core.checkpoints: a detector comes back as it was saved, or is refused with what is wrong."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core import checkpoints, whole_files
from core.calibration import Calibration, Thresholds
from core.checkpoints import DetectorManifest, Figure, detector_named, find_detectors, load_detector, save_detector
from core.detector_config import FeatureConfig
from core.errors import DetectorError
from core.models import MODELS, build_model
from core.whole_files import whole_folder

MANIFEST = DetectorManifest(
    name="made",
    summary="Für Tests.",
    model="vgg27",
    features=FeatureConfig(kind="lfcc", dynamic_range_db=60.0),
    aggregate="max",
    calibration=Calibration(slope=0.1 + 0.2, offset=-1.5, prior_spoof=0.25),
    thresholds=Thresholds(lower=-0.5, upper=1 / 3),
    provenance={"recipe": "none", "seed": 7, "data": {"hash": "ab"}},
    figures=(Figure(split="test", name="EER", value=0.1, low=0.05, high=0.2, num_bona_fide=10, num_spoof=20),),
)


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(1)
    return build_model("vgg27").eval()


@pytest.fixture
def folder(tmp_path: Path, model: torch.nn.Module) -> Path:
    """The folder of a saved detector."""
    return save_detector(tmp_path / "installed" / "made", model, MANIFEST).folder


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of installed detectors, with `made` alone."""
    monkeypatch.setattr(checkpoints, "SHIPPED_DETECTORS", tmp_path / "none shipped")
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(folder.parent))
    monkeypatch.delenv("EARWITNESS_DETECTOR", raising=False)
    return folder.parent


def change_manifest(folder: Path, **fields: object) -> None:
    path = folder / "detector.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")


# Saving and loading ----------------------------------------------------------------------------------------------


def test_a_detector_comes_back_as_it_was_saved(folder: Path, model: torch.nn.Module) -> None:
    detector = load_detector(folder)
    assert detector.manifest == MANIFEST
    assert (detector.name, detector.folder, len(detector.hash), detector.card) == ("made", folder, 64, "")
    loaded = detector.load_model()
    assert not loaded.training
    image = torch.randn(2, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded(image), model(image))
    assert sorted(path.name for path in folder.parent.rglob("*") if path.is_file()) == ["detector.json", "weights.safetensors"]


def test_an_ensemble_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(2)
    ensemble = build_model("vgg27", num_members=2).eval()
    loaded = save_detector(tmp_path / "two", ensemble, replace(MANIFEST, num_members=2)).load_model()
    assert not loaded.training
    for name, tensor in ensemble.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_an_ensemble_is_not_taken_for_one_network(folder: Path) -> None:
    change_manifest(folder, num_members=2)
    with pytest.raises(DetectorError, match="does not hold the weights of a vgg27"):
        load_detector(folder).load_model()


def test_the_card_is_read(folder: Path) -> None:
    (folder / "README.md").write_text("# Made\nÜber", encoding="utf-8")
    assert load_detector(folder).card == "# Made\nÜber"


def test_the_same_content_has_the_same_hash_anywhere(folder: Path, model: torch.nn.Module, tmp_path: Path) -> None:
    assert save_detector(tmp_path / "again", model, MANIFEST).hash == load_detector(folder).hash


@pytest.mark.parametrize("name", ["weights.safetensors", "detector.json"])
def test_the_hash_changes_with_any_byte(folder: Path, name: str) -> None:
    before = load_detector(folder).hash
    content = bytearray((folder / name).read_bytes())
    place = -1 if name == "weights.safetensors" else content.index(b"Tests")  # data, or a letter of the summary
    content[place] ^= 1
    (folder / name).write_bytes(content)
    assert load_detector(folder).hash != before


def test_a_folder_that_is_there_is_not_overwritten(folder: Path, model: torch.nn.Module) -> None:
    before = load_detector(folder).hash
    with pytest.raises(DetectorError, match="is there already"):
        save_detector(folder, model, replace(MANIFEST, summary="Another."))
    assert load_detector(folder).hash == before


def test_saving_that_fails_leaves_nothing(tmp_path: Path, model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files.os, "rename", full)
    with pytest.raises(DetectorError, match="cannot be written: No space left"):
        save_detector(tmp_path / "made", model, MANIFEST)
    assert list(tmp_path.iterdir()) == []


def test_a_detector_that_is_being_written_harms_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_DETECTORS", str(folder.parent))
    with whole_folder(folder.parent / "another") as partial:  # as when the process is killed here
        (partial / "weights.safetensors").touch()
        assert load_detector(folder).hash in {detector.hash for detector in find_detectors()}


# What is refused -------------------------------------------------------------------------------------------------


class _Trap:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize("name", ["weights.pt", "model.pth", "state.pkl", "pytorch_model.bin", "last.ckpt"])
def test_pickled_files_are_refused_unopened(folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / name).write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(DetectorError, match=rf"{name}, a format that can run code"):
        load_detector(folder)
    assert not (tmp_path / "sprung").exists()


def test_a_pickle_called_safetensors_is_not_opened_as_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "weights.safetensors").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(DetectorError, match="does not hold the weights of a vgg27"):
        load_detector(folder).load_model()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "detector.json"])
def test_missing_parts_are_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DetectorError, match=rf"is not a detector: {name} missing"):
        load_detector(folder)


def test_an_empty_folder_lacks_both(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"weights\.safetensors and detector\.json missing"):
        load_detector(tmp_path)


def test_truncated_weights_are_refused(folder: Path) -> None:
    content = (folder / "weights.safetensors").read_bytes()
    for length in (len(content) - 1, len(content) // 2, 4, 0):
        (folder / "weights.safetensors").write_bytes(content[:length])
        with pytest.raises(DetectorError, match="does not hold the weights of a vgg27"):
            load_detector(folder).load_model()


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    change_manifest(folder, model="resnet50")
    with pytest.raises(DetectorError, match="does not hold the weights of a resnet50"):
        load_detector(folder).load_model()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema_version": 2}, "schema version 2; this program reads 1"),
        ({"model": "vgg99"}, f"needs model 'vgg99'; this program has {', '.join(MODELS)}"),
        ({"num_members": 0}, "has 0 networks; expected 1 to 16"),
        ({"num_members": 17}, "has 17 networks; expected 1 to 16"),
        ({"aggregate": "median"}, "unknown aggregate 'median'; expected one of mean, max"),
        ({"class_order": ["spoof", "bona fide"]}, "classes"),
        ({"features": {"kind": "cqt"}}, "unknown feature kind 'cqt'"),
        ({"features": {"kind": "lfcc", "bands": 3}}, "damaged or of another version"),
        ({"calibration": {"slope": -1.0, "offset": 0.0}}, "positive finite slope"),
        ({"calibration": {"slope": 1.0}}, "damaged or of another version"),
        ({"thresholds": {"lower": 2.0, "upper": 1.0}}, "above the upper"),
        ({"novelty": 1}, "damaged or of another version.*novelty"),
        ({"figures": [{"split": "test"}]}, "damaged or of another version"),
        ({"features": None}, "damaged or of another version"),
    ],
)
def test_manifests_of_another_kind_are_refused(folder: Path, fields: dict, message: str) -> None:
    change_manifest(folder, **fields)
    with pytest.raises(DetectorError, match=message):
        load_detector(folder)


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda _: b"", lambda _: b"[]", lambda _: b"\xff\xfe{}"])
def test_damaged_manifests_are_refused(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / "detector.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DetectorError, match="damaged or of another version"):
        load_detector(folder)


# Finding ---------------------------------------------------------------------------------------------------------


def test_names_hashes_and_folders_find_it(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = load_detector(installed / "made")
    for name in ("made", detector.hash, detector.hash[:8], str(installed / "made")):
        assert detector_named(name).hash == detector.hash
    monkeypatch.setenv("EARWITNESS_DETECTOR", "made")
    assert detector_named().name == "made"


@pytest.mark.parametrize("name", ["mad", "MADE", "nobody"])
def test_other_names_list_what_is_installed(installed: Path, name: str) -> None:
    with pytest.raises(DetectorError, match=f"No detector is called '{name}'; installed: made"):
        detector_named(name)


def test_a_short_beginning_of_a_hash_is_not_enough(installed: Path) -> None:
    with pytest.raises(DetectorError, match="No detector is called"):
        detector_named(load_detector(installed / "made").hash[:7])


def test_nothing_installed_says_so(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EARWITNESS_DETECTORS")
    assert find_detectors() == ()
    with pytest.raises(DetectorError, match="installed: none"):
        detector_named()


def test_detectors_come_by_name_and_names_are_unique(installed: Path, model: torch.nn.Module) -> None:
    save_detector(installed / "0", model, replace(MANIFEST, name="other"))
    (installed / "README.md").write_text("a file among the folders")
    assert [detector.name for detector in find_detectors()] == ["made", "other"]
    save_detector(installed / "1", model, MANIFEST)
    with pytest.raises(DetectorError, match="two detectors are called 'made'"):
        find_detectors()


def test_the_shipped_folder_may_be_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_DETECTORS", f"{checkpoints.SHIPPED_DETECTORS}/../detectors")
    named = find_detectors()
    monkeypatch.delenv("EARWITNESS_DETECTORS")
    assert [detector.hash for detector in named] == [detector.hash for detector in find_detectors()]


def test_shipped_detectors_load() -> None:
    for folder in sorted(checkpoints.SHIPPED_DETECTORS.iterdir()):
        detector = load_detector(folder)
        assert detector.name == folder.name
        assert sum(p.numel() for p in detector.load_model().parameters()) > 0
    assert load_detector(checkpoints.SHIPPED_DETECTORS / checkpoints.DEFAULT_DETECTOR).card

"""core.pictures: the PNG files hold exactly the feature images, bottom row first."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from permissions import ordinary_user
from PIL import Image

from core.detector_config import FEATURE_KINDS, FeatureConfig
from core.errors import AudioRefusal, CoreError
from core.pictures import export_png


def write_tone(path: Path, num_samples: int, frequency_hz: float = 1_000.0) -> Path:
    soundfile.write(path, 0.5 * np.sin(2 * math.pi * frequency_hz * np.arange(num_samples) / 16_000), 16_000)
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_one_picture_per_window(tmp_path: Path, kind: str) -> None:
    written = export_png(write_tone(tmp_path / "a.b.wav", 100_000), tmp_path / "out" / "deep", kind=kind)
    assert [path.name for path in written] == [f"a.b.{kind}.{start}s.png" for start in ("0000.0000", "0002.0000", "0002.2500")]
    assert sorted((tmp_path / "out" / "deep").iterdir()) == sorted(written)
    _, rows, columns = FeatureConfig(kind=kind).image_shape
    assert {pixels(path).shape for path in written} == {(rows, columns, 3)}


def test_a_last_window_one_sample_on_does_not_replace_the_one_before(tmp_path: Path) -> None:
    written = export_png(write_tone(tmp_path / "a.wav", 96_001), tmp_path)
    assert len({path.name for path in written}) == 3
    assert all(path.is_file() for path in written)


def test_frequency_rises_from_the_bottom(tmp_path: Path) -> None:
    (picture,) = export_png(write_tone(tmp_path / "a.wav", 64_000), tmp_path)
    brightness = pixels(picture).sum(axis=2)
    assert set(brightness[:, 10:-10].argmax(axis=0)) == {223 - 32}  # 1,000 Hz is bin 32


def test_waveform_by_hand(tmp_path: Path) -> None:
    # Positive samples only: everything below the middle stays in the darkest colour, the peak's column is light.
    samples = np.zeros(64_000)
    samples[100 * 286] = 0.5
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    (picture,) = export_png(tmp_path / "a.wav", tmp_path, kind="waveform")
    image = pixels(picture)
    dark, light = np.array((13, 8, 40)), np.array((252, 255, 164))
    assert (image[113:] == dark).all()
    assert (image[:112, 100] == light).all()
    assert (image[:111, 99] == dark).all()
    assert (image[111:113] == light).all()


def test_flat_images_do_not_fail(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(64_000), 16_000)
    (picture,) = export_png(tmp_path / "a.wav", tmp_path)
    assert len(np.unique(pixels(picture).reshape(-1, 3), axis=0)) == 1


def test_what_cannot_be_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no sound at all")
    with pytest.raises(AudioRefusal):
        export_png(tmp_path / "a.wav", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    recording = write_tone(tmp_path / "a.wav", 64_000)
    (tmp_path / "file").write_text("a file where a folder is needed")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(CoreError, match="cannot be written"):
        export_png(recording, tmp_path / "file")
    with ordinary_user(), pytest.raises(CoreError, match="cannot be written: Permission denied"):
        export_png(recording, tmp_path / "closed")


def test_pictures_do_not_disturb_gradients(tmp_path: Path) -> None:
    export_png(write_tone(tmp_path / "a.wav", 64_000), tmp_path)
    assert torch.is_grad_enabled()

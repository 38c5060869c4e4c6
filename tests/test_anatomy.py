"""anatomy, activations, opening and their pictures: counts solved by hand, and torch's own counter."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchvision
from run_folders import write_run
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core.detector_config import FeatureConfig
from core.errors import AudioRefusal
from core.features import build_front_end
from core.models import IMAGE_MODELS, build_model
from core.networks.activations import MAX_MAPS, feature_maps, watch_activations
from core.networks.anatomy import MAX_BOXES, FeatureBox, describe_network
from core.networks.figures import feature_map_figure, network_figure
from core.networks.opening import open_network, recording_image, version_of
from core.runs.folders import RunError, read_run
from core.scanning.browse import SAMPLES_FOLDER

IMAGE = (1, 1, 224, 224)


def _counted_macs(model: nn.Module, image: torch.Tensor) -> int:
    """By torch's dispatcher, which counts two operations per multiply-accumulate."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(image)
    return counter.get_total_flops() // 2


def test_vgg27_by_hand() -> None:
    anatomy = describe_network(build_model("vgg27").eval(), torch.zeros(IMAGE))
    assert anatomy.num_parameters == sum(layer.num_parameters for layer in anatomy.layers) == 306_738
    assert len(anatomy.layers) == 31
    first, second, pool, last = (anatomy.layers[i] for i in (0, 3, 6, 30))
    assert (first.name, first.kind, first.shape, first.num_parameters) == ("0", "Conv2d", (16, 224, 224), 160)
    assert first.num_macs == 224 * 224 * 16 * 1 * 3 * 3 == 7_225_344
    assert second.num_macs == 224 * 224 * 16 * 16 * 3 * 3 == 115_605_504
    assert (pool.kind, pool.shape, pool.num_parameters, pool.num_macs) == ("MaxPool2d", (16, 112, 112), 0, 0)
    assert (last.kind, last.shape, last.num_parameters, last.num_macs) == ("Linear", (2,), 12_546, 128 * 7 * 7 * 2)
    assert anatomy.num_macs == 404_631_808
    assert anatomy.has_all_macs


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_every_network_agrees_with_torchs_counter(name: str) -> None:
    model, image = build_model(name).eval(), torch.zeros(IMAGE)
    anatomy = describe_network(model, image)
    assert anatomy.num_macs == _counted_macs(model, image)
    assert anatomy.num_parameters == sum(layer.num_parameters for layer in anatomy.layers)
    boxes = anatomy.boxes()
    assert 3 < len(boxes) <= MAX_BOXES
    assert (boxes[0].layer, boxes[-1].num_channels, boxes[-1].height) == (-1, 2, 1)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "convnext_tiny"])
def test_foreign_networks_with_depthwise_convolutions(name: str) -> None:
    model, image = getattr(torchvision.models, name)(weights=None, num_classes=2).eval(), torch.zeros(1, 3, 64, 64)
    anatomy = describe_network(model, image)
    assert anatomy.num_macs == _counted_macs(model, image)
    assert anatomy.num_parameters == sum(layer.num_parameters for layer in anatomy.layers)
    assert anatomy.has_all_macs
    boxes = anatomy.boxes()
    heights = [box.height for box in boxes]
    assert heights == sorted(heights, reverse=True)  # looks aside (squeeze and excitation) are left out
    for box in (boxes[1], boxes[len(boxes) // 2], boxes[-1]):
        maps = feature_maps(model, image, box)
        assert maps.num_channels == box.num_channels
        assert len(maps.channels) == (min(MAX_MAPS, box.num_channels) if box.height > 1 else box.num_channels)


def test_groups_transposes_and_one_dimension() -> None:
    grouped = nn.Sequential(nn.Conv2d(4, 8, (3, 1), groups=2), nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2))
    image = torch.zeros(1, 4, 10, 6)
    layers = describe_network(grouped, image).layers
    assert layers[0].num_macs == (8 * 8 * 6) * 2 * 3  # output values x inputs per group x kernel
    assert layers[1].num_macs == (8 * 8 * 6) * 2 * 4  # input values x outputs per group x kernel
    assert sum(layer.num_macs for layer in layers) == _counted_macs(grouped, image)
    line = nn.Conv1d(2, 3, 5)
    assert describe_network(nn.Sequential(line), torch.zeros(1, 2, 20)).layers[0].num_macs == (3 * 16) * 2 * 5


def test_a_layer_without_a_formula_is_told() -> None:
    model = nn.Sequential(nn.Flatten(2), nn.GRU(9, 5, batch_first=True))
    anatomy = describe_network(model, torch.zeros(1, 4, 3, 3))
    assert [layer.num_macs for layer in anatomy.layers] == [0, None]
    assert not anatomy.has_all_macs
    assert anatomy.layers[1].shape == (4, 5)


def test_a_module_that_runs_twice_is_two_layers_with_its_parameters_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(3, 3)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.dense(self.dense(values))

    anatomy = describe_network(Twice(), torch.zeros(1, 1, 1, 3))
    assert [(layer.name, layer.num_parameters, layer.num_macs) for layer in anatomy.layers] == [
        ("dense", 12, 9),
        ("dense (2)", 0, 9),
    ]
    assert anatomy.num_parameters == 12


def test_boxes_end_after_the_non_linearity_and_before_the_flattening() -> None:
    boxes = describe_network(build_model("vgg27").eval(), torch.zeros(IMAGE)).boxes()
    assert len(boxes) == 1 + 8 + 5 + 1  # the image, convolutions, pools, the dense layer
    assert boxes[0] == FeatureBox(layer=-1, name="image", kind="Input", num_channels=1, height=224, width=224)
    assert (boxes[1].title, boxes[1].layer) == ("Conv2d 0", 2)  # after BatchNorm2d 1 and ReLU 2
    sizes = [(box.num_channels, box.height) for box in boxes]
    assert sizes[-4:] == [(128, 14), (128, 7), (128, 7), (2, 1)]


def test_a_large_network_is_drawn_by_its_changes_of_shape() -> None:
    anatomy = describe_network(build_model("resnet50").eval(), torch.zeros(IMAGE))
    boxes = anatomy.boxes()
    assert len(anatomy.layers) > 100 > len(boxes)
    sizes = [(box.num_channels, box.height, box.width) for box in boxes]
    assert all(a != b for a, b in pairwise(sizes))
    assert {(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7), (2048, 1, 1), (2, 1, 1)} <= set(sizes)


def _known() -> nn.Sequential:
    """Channel 0 doubles the image, channel 1 is its negative times 3, then the negatives are cut off in place."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(inplace=True))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([2.0, -3.0]).view(2, 1, 1, 1))
    return model.eval()


def test_activations_by_hand() -> None:
    image = torch.tensor([[[[1.0, -1.0], [2.0, 0.0]]]])
    model = _known()
    levels = watch_activations(model, image)
    assert levels.image_level == 1.0
    # Convolution: |2, -2, 4, 0| and |-3, 3, -6, 0| have means 2 and 3. After the ReLU: 2, 0, 4, 0 and 0, 3, 0, 0.
    assert levels.levels == (2.5, (6 + 3) / 8)
    box = describe_network(model, image).boxes()[1]
    maps = feature_maps(model, image, box)
    assert maps.channels == (0, 1)
    assert maps.maps.tolist() == [[[2.0, 0.0], [4.0, 0.0]], [[0.0, 3.0], [0.0, 0.0]]]
    assert levels.of(box) == 9 / 8
    conv = FeatureBox(layer=0, name="0", kind="Conv2d", num_channels=2, height=2, width=2)
    assert feature_maps(model, image, conv).channels == (1, 0)  # before the ReLU; its work in place must not show
    assert feature_maps(model, image, conv).maps[0].tolist() == [[-3.0, 3.0], [-6.0, 0.0]]


def test_large_maps_are_averaged_down() -> None:
    image = torch.arange(112.0 * 112).view(1, 1, 112, 112)
    maps = feature_maps(_known(), image, FeatureBox(layer=-1, name="image", kind="Input", num_channels=1, height=112, width=112))
    assert maps.maps.shape == (1, 56, 56)
    assert maps.maps[0, 0, 0] == (0 + 1 + 112 + 113) / 4


def test_no_hook_is_left_behind_also_after_a_failure() -> None:
    model = build_model("vgg27").eval()
    with pytest.raises(RuntimeError):
        watch_activations(model, torch.zeros(1, 3, 224, 224))
    watch_activations(model, torch.zeros(IMAGE))
    assert not any(module._forward_hooks for module in model.modules())


def test_users_of_one_network_do_not_see_each_others_layers() -> None:
    model = build_model("vgg27").eval()
    found: list[int] = []

    def look() -> None:
        for _ in range(3):
            found.append(len(watch_activations(model, torch.zeros(1, 1, 224, 224)).levels))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [31] * 12


def test_a_runs_network_gives_what_its_weights_give(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "mine", seed=7, features={"kind": "mel"}))
    torch.manual_seed(7)
    expected = build_model("vgg27").eval()
    opened = open_network(run)
    samples = torch.randn(1, 64_000)
    with torch.inference_mode():
        image = build_front_end(FeatureConfig(kind="mel"))(samples)
        assert torch.equal(opened.model(opened.front_end(samples)), expected(image))
    assert opened.anatomy.num_parameters == 306_738
    assert opened.anatomy.image_shape == (1, 224, 224)


def test_a_detectors_network_is_known_by_its_hash(tiny_detector) -> None:
    assert version_of(tiny_detector) == tiny_detector.hash
    assert open_network(tiny_detector).anatomy.num_macs == 404_631_808


def test_better_weights_are_another_version(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "mine"))
    before = version_of(run)
    (run.folder / "best.safetensors").write_bytes(b"new")
    assert version_of(run) != before
    with pytest.raises(RunError, match="does not hold the weights of a vgg27"):
        open_network(run)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": {"kind": "sonar"}}, "unknown feature kind 'sonar'"),
        ({"features": {"colour": 1}}, "the recipe needs model and features"),
        ({"features": None}, "the recipe needs model and features"),
    ],
)
def test_recipes_of_another_program_are_told(tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(RunError, match=words):
        open_network(read_run(write_run(tmp_path / "mine", **changes)))


def test_weights_of_another_network_or_none_are_told(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "none", has_weights=False))
    with pytest.raises(RunError, match=r"none has no best\.safetensors yet"):
        open_network(run)
    folder = write_run(tmp_path / "other")
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"vgg27"', '"resnet50"'))
    with pytest.raises(RunError, match="does not hold the weights of a resnet50"):
        open_network(read_run(folder))
    (folder / "run.json").write_text(text.replace('"vgg27"', '"vgg99"'))
    with pytest.raises(RunError, match="unknown model 'vgg99'"):
        open_network(read_run(folder))


def test_the_first_window_with_sound_is_shown(tmp_path: Path, speech_like) -> None:
    samples = np.concatenate([np.zeros(6 * 16_000, dtype=np.float32), speech_like(4.0)])
    soundfile.write(tmp_path / "late.wav", samples, 16_000, subtype="FLOAT")
    front_end = build_front_end(FeatureConfig())
    shown = recording_image(tmp_path / "late.wav", front_end)
    assert shown.start_s == 4.0  # windows slide by 2 s; the one from 4 to 8 s is the first that reaches the speech
    with torch.inference_mode():
        assert torch.equal(shown.image, front_end(torch.from_numpy(samples[64_000:128_000])[None]))
    soundfile.write(tmp_path / "silent.wav", np.zeros(80_000, dtype=np.float32), 16_000)
    with pytest.raises(AudioRefusal, match="there is nothing to show"):
        recording_image(tmp_path / "silent.wav", front_end)


def _boxes(figure) -> np.ndarray:
    """Lowest and highest corner of each box, `[box, 2, axis]`."""
    mesh = next(trace for trace in figure.data if trace.type == "mesh3d")
    corners = np.stack([mesh.x, mesh.y, mesh.z], axis=1).reshape(-1, 8, 3)
    return np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)


def test_boxes_have_logarithmic_sizes_and_do_not_overlap(tiny_detector) -> None:
    network = open_network(tiny_detector)
    boxes = network.anatomy.boxes()
    drawn = _boxes(network_figure(boxes))
    sizes = drawn[:, 1] - drawn[:, 0]
    expected = [(0.5 * np.log2(1 + box.num_channels), np.log2(1 + box.width), np.log2(1 + box.height)) for box in boxes]
    np.testing.assert_allclose(sizes, expected)
    assert np.all(drawn[1:, 0, 0] > drawn[:-1, 1, 0])


def test_every_side_of_a_box_is_closed(tiny_detector) -> None:
    mesh = network_figure(open_network(tiny_detector).anatomy.boxes()).data[0]
    corners = np.stack([mesh.x, mesh.y, mesh.z], axis=1)
    a, b, c = (corners[np.asarray(index)[:12]] for index in (mesh.i, mesh.j, mesh.k))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    depth, width, height = np.ptp(corners[:8], axis=0)
    assert area == pytest.approx(2 * (depth * width + depth * height + width * height))


def test_boxes_light_up_with_the_recording(tiny_detector) -> None:
    network = open_network(tiny_detector)
    boxes = network.anatomy.boxes()
    shown = recording_image(SAMPLES_FOLDER / "flite" / "flite_slt_invoice.flac", network.front_end)
    activations = watch_activations(network.model, shown.image)
    figure = network_figure(boxes, activations=activations, chosen=3)
    mesh = figure.data[0]
    assert mesh.intensitymode == "cell"
    lit = np.asarray(mesh.intensity).reshape(len(boxes), 12)
    np.testing.assert_allclose(10 ** lit[:, 0], [activations.of(box) for box in boxes], rtol=1e-6)
    assert np.ptp(lit, axis=1).max() == 0
    assert f"{activations.of(boxes[3]):.3g}" in mesh.text[3 * 8]
    assert figure.data[-1].text == ("image", "logits", "MaxPool2d 6")
    outline = np.array([point for point in zip(figure.data[2].x, figure.data[2].y, figure.data[2].z) if point[0] is not None])
    np.testing.assert_allclose([outline.min(axis=0), outline.max(axis=0)], _boxes(figure)[3])


def test_maps_are_a_grid_with_the_strongest_first_and_frequency_rising(tiny_detector) -> None:
    network = open_network(tiny_detector)
    shown = recording_image(SAMPLES_FOLDER / "flite" / "flite_slt_invoice.flac", network.front_end)
    box = network.anatomy.boxes()[-3]  # 128 x 7 x 7
    maps = feature_maps(network.model, shown.image, box)
    heat = feature_map_figure(maps).data[0]
    grid, numbers = np.asarray(heat.z), np.asarray(heat.customdata)
    assert grid.shape == (4 * 7 + 3, 8 * 7 + 7)  # 32 maps in 4 rows of 8, gaps of one
    np.testing.assert_array_equal(grid[-7:, :7], maps.maps[0])
    assert numbers[-1, 0] == maps.channels[0]
    assert np.isnan(grid[:, 7]).all()
    assert set(numbers.ravel()) == {-1, *maps.channels}


def test_values_without_rows_are_bars_by_channel(tiny_detector) -> None:
    network = open_network(tiny_detector)
    shown = recording_image(SAMPLES_FOLDER / "flite" / "flite_slt_invoice.flac", network.front_end)
    bars = feature_map_figure(feature_maps(network.model, shown.image, network.anatomy.boxes()[-1])).data[0]
    with torch.inference_mode():
        logits = network.model(shown.image)[0]
    assert list(bars.x) == [0, 1]
    np.testing.assert_allclose(bars.y, logits.numpy())

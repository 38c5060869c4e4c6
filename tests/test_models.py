"""core.models: sizes module by module, shapes, and what happens without a network connection."""

from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from core.errors import DetectorError
from core.models import MODELS, RepeatChannels, build_model, raw_scores


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


@pytest.mark.parametrize("name", MODELS)
def test_networks_give_two_logits_of_a_one_channel_image(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name).eval()
    with torch.inference_mode():
        logits = model(torch.randn(2, 1, 224, 224))
    assert logits.shape == (2, 2)
    assert torch.isfinite(logits).all()
    assert not torch.allclose(logits[0], logits[1])


def test_resnet50_sees_the_image_three_times() -> None:
    torch.manual_seed(0)
    model = build_model("resnet50").eval()
    image = torch.randn(1, 1, 224, 224)
    with torch.inference_mode():
        assert torch.equal(model(image), model[1](torch.cat([image] * 3, dim=1)))
    assert num_parameters(model) == 25_557_032 - (2_048 * 1_000 + 1_000) + (2_048 * 2 + 2)  # torchvision's, with two outputs


def test_repeated_channels() -> None:
    assert torch.equal(RepeatChannels(3)(torch.tensor([[[[1.0, 2.0]]]])), torch.tensor([[[[1.0, 2.0]]] * 3]))


def test_pretrained_without_a_connection_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", refuse)
    with pytest.raises(DetectorError, match=r"resnet50 could not be downloaded.*pretrained=False"):
        build_model("resnet50", pretrained=True)


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(DetectorError, match="unknown model 'vgg99'; expected one of vgg27, resnet50"):
        build_model("vgg99")


def test_raw_score_is_spoof_minus_bona_fide() -> None:
    assert raw_scores(torch.tensor([[1.0, 3.0], [5.0, 0.0]])).tolist() == [2.0, -5.0]

"""Networks from feature images to two logits, by name. A new network is one function here."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from core.detector_config import CLASS_ORDER
from core.errors import DetectorError
from core.imagenet import load_imagenet
from core.whisper import WhisperConfig, WhisperNetwork

# Output channels of each 3x3 convolution, and whether a 2x2 max pool follows.
_VGG27_BLOCKS = (
    (16, False), (16, True), (32, False), (32, True), (64, True), (64, True), (128, True), (128, False),
)  # fmt: skip


def vgg27() -> nn.Sequential:
    """A small VGG-like network of 31 modules and 306,738 parameters.

    Takes `[batch, 1, 224, 224]`, returns logits `[batch, 2]`.
    """
    layers: list[nn.Module] = []
    num_in = 1
    for num_out, has_pool in _VGG27_BLOCKS:
        layers += [nn.Conv2d(num_in, num_out, 3, padding=1), nn.BatchNorm2d(num_out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if has_pool else []
        num_in = num_out
    # Five pools leave 224 / 2^5 = 7 rows and columns: 128 * 7 * 7 = 6,272.
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6_272, len(CLASS_ORDER)))


def resnet50(*, pretrained: bool = False) -> nn.Sequential:
    """Torchvision's ResNet-50 (He et al. 2015) on an image of one channel, repeated, or of three; two outputs.

    Args:
        pretrained: start from ImageNet weights, which must be at hand (`core.imagenet`).

    Raises:
        DetectorError: the weights are asked for and are not there.
    """
    return _resnet("resnet50", pretrained=pretrained)


def resnet18(*, pretrained: bool = False) -> nn.Sequential:
    """Torchvision's ResNet-18 (He et al. 2015), as `resnet50`."""
    return _resnet("resnet18", pretrained=pretrained)


def _resnet(name: str, *, pretrained: bool) -> nn.Sequential:
    import torchvision  # here: it takes longer to import than all that a scan needs

    network = torchvision.models.get_model(name, weights=None)
    if pretrained:
        network.load_state_dict(load_imagenet(name))
    network.fc = nn.Linear(network.fc.in_features, len(CLASS_ORDER))
    return nn.Sequential(RepeatChannels(3), network)


# Output channels, repeats, kernel, stride of the first, expansion. Source: Tan and Le (2019), table 1.
_EFFICIENTNET_STAGES = (
    (16, 1, 3, 1, 1), (24, 2, 3, 2, 6), (40, 2, 5, 2, 6), (80, 3, 3, 2, 6), (112, 3, 5, 1, 6), (192, 4, 5, 2, 6), (320, 1, 3, 1, 6),
)  # fmt: skip


def efficientnet_lite0(*, pretrained: bool = False) -> nn.Sequential:
    """EfficientNet-Lite0 on an image of one channel, repeated, or of three; two outputs. 3.4 million parameters.

    Tan and Le's B0 without squeeze-and-excitation and with ReLU6, as Google published it in 2020: cheap on a CPU.

    Args:
        pretrained: as `resnet50`.
    """
    layers = [*_convolution(3, 32, kernel=3, stride=2), nn.ReLU6()]
    num_in = 32
    for num_out, num_repeats, kernel, stride, expansion in _EFFICIENTNET_STAGES:
        for repeat in range(num_repeats):
            layers.append(InvertedResidual(num_in, num_out, kernel=kernel, stride=1 if repeat else stride, expansion=expansion))
            num_in = num_out
    layers += [*_convolution(num_in, 1_280, kernel=1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)]
    body = nn.Sequential(*layers)
    if pretrained:
        # The file names its tensors otherwise but lists them in this order, the 1,000-class layer's two last.
        names, tensors = list(body.state_dict()), list(load_imagenet("efficientnet_lite0").values())[:-2]
        body.load_state_dict(dict(zip(names, tensors, strict=True)))
    return nn.Sequential(RepeatChannels(3), body, nn.Linear(1_280, len(CLASS_ORDER)))


class InvertedResidual(nn.Module):
    """1x1 convolution up, depthwise convolution, 1x1 down, and the input added where shapes agree (Sandler et al. 2018)."""

    def __init__(self, num_in: int, num_out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        num_hidden = num_in * expansion
        up = [*_convolution(num_in, num_hidden, kernel=1), nn.ReLU6()] if expansion > 1 else []
        across = _convolution(num_hidden, num_hidden, kernel=kernel, stride=stride, groups=num_hidden)
        self.layers = nn.Sequential(*up, *across, nn.ReLU6(), *_convolution(num_hidden, num_out, kernel=1))
        self.adds_input = stride == 1 and num_in == num_out

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """`[batch, num_in, h, w]` to `[batch, num_out, h / stride, w / stride]`."""
        made = self.layers(image)
        return made + image if self.adds_input else made


def _convolution(num_in: int, num_out: int, *, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution and its normalisation; epsilon is the published networks' (TensorFlow's default)."""
    convolution = nn.Conv2d(num_in, num_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(num_out, eps=1e-3)]


class RepeatChannels(nn.Module):
    """Repeats a one-channel image `[batch, 1, h, w]` to `[batch, num, h, w]`; lets one of `num` channels through."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.num = num

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The image in `num` channels."""
        return image.expand(-1, self.num, -1, -1)


def whisper_base() -> WhisperNetwork:
    """The first four of Whisper base's blocks, frozen in training, and three heads: 17.6 million parameters.

    Takes `[batch, 1, 80, 400]`, the front end `whisper_mel`.
    """
    return WhisperNetwork(WhisperConfig())


MODELS: dict[str, Callable[..., nn.Module]] = {
    "vgg27": vgg27,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "efficientnet_lite0": efficientnet_lite0,
    "whisper_base": whisper_base,
}
"""Name -> function that builds the network; in the order of `core.detector_config.MODEL_NAMES`."""
IMAGE_MODELS = tuple(name for name in MODELS if name != "whisper_base")
"""Those that take our square images; `whisper_base` takes Whisper's alone."""


class Ensemble(nn.Module):
    """Networks of one kind whose logits are averaged."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Mean logits `[batch, 2]`."""
        return torch.stack([member(image) for member in self.members]).mean(dim=0)


def build_model(name: str, *, num_members: int = 1, **options: object) -> nn.Module:
    """The network of that name, untrained unless an option says otherwise.

    Args:
        num_members: more than 1 gives an `Ensemble` of as many.

    Raises:
        DetectorError: no such network.
    """
    if name not in MODELS:
        raise DetectorError(f"unknown model {name!r}; expected one of {', '.join(MODELS)}")
    members = [MODELS[name](**options) for _ in range(num_members)]
    return members[0] if num_members == 1 else Ensemble(members)


class WithEmbedding(nn.Module):
    """A network that gives its embedding too: what its last layer sees, the mean over time where that still is an image.

    Of an `Ensemble` it is the first network's.

    Raises:
        DetectorError: the network does not end in a linear layer.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = _split_head(network.members[0] if isinstance(network, Ensemble) else network)
        self.others = network.members[1:] if isinstance(network, Ensemble) else nn.ModuleList()
        self.train(network.training)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `[batch, 2]`, and embeddings `[batch, size]`."""
        seen = self.trunk(image)
        logits = self.head(seen)
        if self.others:
            logits = torch.stack([logits, *(member(image) for member in self.others)]).mean(dim=0)
        return logits, (seen.mean(dim=3) if seen.ndim == 4 else seen).flatten(1)


def _split_head(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A network's last layer, with the flattening before it, and all that comes before; both share its weights."""
    layers = list(network.children())
    if isinstance(network, nn.Sequential) and isinstance(layers[-1], nn.Linear):
        num_head = 2 if isinstance(layers[-2], nn.Flatten) else 1
        return network[:-num_head], network[-num_head:]
    if isinstance(network, nn.Sequential) and isinstance(getattr(layers[-1], "fc", None), nn.Linear):
        body = copy.copy(layers[-1])
        body._modules = layers[-1]._modules | {"fc": nn.Identity()}
        return nn.Sequential(*layers[:-1], body), layers[-1].fc
    raise DetectorError("the network does not end in a linear layer, so that it has no embedding")


def raw_scores(logits: torch.Tensor) -> torch.Tensor:
    """Logits `[batch, 2]` to the uncalibrated spoof score `[batch]`: the spoof logit minus the bona fide logit."""
    return logits[:, CLASS_ORDER.index("spoof")] - logits[:, CLASS_ORDER.index("bona fide")]

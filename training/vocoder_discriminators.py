"""The vocoder's critics: small networks over log spectrograms at several resolutions, each place judged by itself."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from training.vocoder_losses import log_magnitude

_RESOLUTIONS = (1_024, 512, 256)
_CHANNELS = 16
_CENTRE, _SPREAD = -2.0, 2.5
"""About the mean and the standard deviation of log magnitudes of speech at -26 dB of full scale."""


class SpectrogramDiscriminators(nn.Module):
    """One critic for each resolution.

    Source: Jang et al. (2021), "UnivNet", multi-resolution spectrogram discriminator; fewer channels, bins halved at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.critics = nn.ModuleList(_Critic() for _ in _RESOLUTIONS)

    def forward(self, samples: torch.Tensor) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
        """Judgements (large is real) `[batch, 1, band, frame]` and features of samples `[batch, time]`, a critic each."""
        judged = [
            critic((log_magnitude(samples, num_fft).unsqueeze(1) - _CENTRE) / _SPREAD)
            for critic, num_fft in zip(self.critics, _RESOLUTIONS, strict=True)
        ]
        return [judgement for judgement, _ in judged], [features for _, features in judged]


class _Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = (1, _CHANNELS, _CHANNELS, _CHANNELS, 2 * _CHANNELS)
        kernels = ((7, 5), (5, 3), (5, 3), (5, 3))
        strides = ((2, 1), (2, 2), (2, 2), (2, 1))
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(here, after, kernel, stride=stride, padding=(kernel[0] // 2, kernel[1] // 2)))
            for here, after, kernel, stride in zip(widths[:-1], widths[1:], kernels, strides, strict=True)
        )
        self.judge = weight_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        features = []
        for layer in self.layers:
            images = nn.functional.leaky_relu(layer(images), 0.2)
            features.append(images)
        return self.judge(images), features

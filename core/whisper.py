"""The first blocks of Whisper's encoder, frozen, and a small trained head on their pooled outputs: a network of `core.models`.

Whisper learnt to recognise speech on 680,000 hours in 98 languages; what it hears of voices it never met carries over to
detection where a network trained on our few thousand clips does not.

Source: Radford et al. (2022), "Robust speech recognition via large-scale weak supervision"; the weights are OpenAI's, MIT licence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from core.detector_config import CLASS_ORDER


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperConfig:
    """The shape of an encoder that is cut after its first blocks."""

    num_mels: int = 80
    width: int = 512
    num_attention_heads: int = 8
    num_blocks: int = 4
    """Blocks that are kept of Whisper base's six: the last ones turn from how speech sounds to what it says."""
    num_positions: int = 200
    """Rows of the position table that 4 s need: a column is 10 ms and the second convolution halves them."""


class WhisperEncoder(nn.Module):
    """Log-mel images to what the stem and each block make of them, pooled over time.

    Parameters have the names of `openai/whisper-base` in `transformers`, so that its safetensors load as they are.

    Args:
        config: the shape.
    """

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.num_mels, config.width, 3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.num_positions, config.width)
        self.layers = nn.ModuleList(WhisperBlock(config.width, config.num_attention_heads) for _ in range(config.num_blocks))

    @property
    def num_features(self) -> int:
        """Values of `pooled` for each window."""
        return 2 * self.config.width * (1 + self.config.num_blocks)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """`[batch, 1, mel, column]` to the outputs of the stem and of each block, `[batch, column / 2, width]` each."""
        hidden = nn.functional.gelu(self.conv1(image.squeeze(1)))
        hidden = nn.functional.gelu(self.conv2(hidden)).transpose(1, 2)
        hidden = hidden + self.embed_positions.weight[: hidden.shape[1]]
        outputs = [hidden]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return outputs

    def pooled(self, image: torch.Tensor) -> torch.Tensor:
        """`[batch, 1, mel, column]` to means and standard deviations over time, `[batch, num_features]`, stem first."""
        parts = []
        for output in self(image):
            mean = output.mean(dim=1)
            # Written out: an exported `std` would take twice the operations.
            deviation = ((output - mean.unsqueeze(1)).square().mean(dim=1) + 1e-6).sqrt()
            parts += [mean, deviation]
        return torch.cat(parts, dim=1)


class WhisperBlock(nn.Module):
    """A transformer block with normalisation before its parts (Vaswani et al. 2017; Xiong et al. 2020)."""

    def __init__(self, width: int, num_attention_heads: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width, num_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """`[batch, position, width]` to the same shape."""
        hidden = hidden + self.self_attn(self.self_attn_layer_norm(hidden))
        return hidden + self.fc2(nn.functional.gelu(self.fc1(self.final_layer_norm(hidden))))


class _Attention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(3))
        self.k_proj = nn.Linear(width, width, bias=False)  # a bias of all keys would cancel in the softmax

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(hidden).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))
        return self.out_proj(torch.matmul(scores.softmax(dim=-1), value).transpose(1, 2).flatten(2))


class PooledHead(nn.Module):
    """A small network on pooled features: standardised, two hidden layers, two logits.

    Args:
        num_features: how many it takes.
        width: of the hidden layers.
        feature_dropout: share of the features that training hides; high, because most of them tell sources apart, not classes.
        dropout: the same of hidden values.
    """

    def __init__(self, num_features: int, *, width: int = 256, feature_dropout: float = 0.3, dropout: float = 0.5) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))
        self.layers = nn.Sequential(
            nn.Dropout(feature_dropout),
            nn.Linear(num_features, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, len(CLASS_ORDER)),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """`[batch, num_features]` to logits `[batch, 2]`."""
        return self.layers((features - self.mean) / self.deviation)


class WhisperNetwork(nn.Module):
    """The frozen encoder and heads that differ in their seed, whose logits are averaged.

    Args:
        config: the encoder's shape.
        num_heads: how many heads.
    """

    def __init__(self, config: WhisperConfig, *, num_heads: int = 3) -> None:
        super().__init__()
        self.encoder = WhisperEncoder(config)
        self.heads = nn.ModuleList(PooledHead(self.encoder.num_features) for _ in range(num_heads))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """`[batch, 1, mel, column]` to logits `[batch, 2]`."""
        pooled = self.encoder.pooled(image)
        return torch.stack([head(pooled) for head in self.heads]).mean(dim=0)

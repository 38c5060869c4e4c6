"""Heads on frozen features: trained in seconds, chosen by what was left out, put together with the encoder as one network.

Source of the mixing: Zhang et al. (2018), "mixup".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from core.errors import CoreError
from core.metrics import equal_error_rate
from core.models import raw_scores
from core.whisper import PooledHead, WhisperConfig
from training.frozen import FrozenSet

NUM_FOLDS = 5
_PER_LAYER = 2 * WhisperConfig().width


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRecipe:
    """All that decides a head, but for the features and the seed."""

    width: int = 256
    feature_dropout: float = 0.3
    dropout: float = 0.5
    learning_rate: float = 1e-3
    """Peak of one cycle."""
    weight_decay: float = 1e-2
    num_steps: int = 1_200
    batch_size: int = 128
    mixing: float = 0.4
    """Both parameters of the Beta distribution that pairs are mixed by."""
    smoothed: float = 0.05
    """Label of bona fide; spoof's is 1 less it."""
    views: tuple[str, ...] = ("plain",)
    """Which views of the training recordings are drawn."""
    copy_share: float = 0.0
    """Share of a batch that are copies by a vocoder; as many are their originals, changed alike."""
    num_blocks: int | None = None
    """Features of the stem and so many blocks alone; None for all."""
    sharpness: float = 0.0
    """Radius of sharpness-aware minimisation (Foret et al. 2021); 0 for none."""

    def __post_init__(self) -> None:
        if min(self.width, self.num_steps, self.batch_size) < 1 or not 0 <= self.copy_share < 0.5:
            raise CoreError(f"a head needs a width, steps and a batch, and a copy share below 0.5, not {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadMaterial:
    """What heads are trained on, in memory."""

    features: torch.Tensor
    """`[row, feature]` float32, of train alone."""
    is_spoof: torch.Tensor
    groups: np.ndarray
    """`[row]`: the source of each."""
    recordings: np.ndarray
    """`[row]`: its number in the split."""
    views: np.ndarray
    pairs: np.ndarray
    """`[pair, 2]`: rows of a changed bona fide crop and of its copy."""


def material_of(frozen: FrozenSet) -> HeadMaterial:
    """The training rows of a frozen set."""
    chosen = frozen.of("train")
    rows = frozen.rows.iloc[chosen].reset_index(drop=True)
    return HeadMaterial(
        features=torch.from_numpy(frozen.features[chosen].astype(np.float32)),
        is_spoof=torch.from_numpy(rows["is_spoof"].to_numpy(copy=True)),
        groups=rows["group"].to_numpy(dtype=str),
        recordings=rows["recording"].to_numpy(),
        views=rows["view"].to_numpy(dtype=str),
        pairs=_pairs(rows),
    )


def train_head(material: HeadMaterial, recipe: HeadRecipe, *, seed: int, left_out: Sequence[str] | None = None) -> PooledHead:
    """A head in evaluation mode. It takes the first of the features: those of the stem and its recipe's blocks.

    Args:
        material: what it is trained on.
        recipe: how.
        seed: decides all randomness.
        left_out: sources that it must not see.
    """
    num_features = material.features.shape[1] if recipe.num_blocks is None else _PER_LAYER * (1 + recipe.num_blocks)
    whole = material.features[:, :num_features]
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    is_kept = ~np.isin(material.groups, list(left_out or ()))
    is_drawn = is_kept & np.isin(material.views, recipe.views)
    drawn = np.flatnonzero(is_drawn & ~(material.views == "copy"))
    pairs = material.pairs[is_kept[material.pairs[:, 0]]]
    weights = _weights(material.groups[drawn], material.is_spoof.numpy()[drawn])
    head = PooledHead(num_features, width=recipe.width, feature_dropout=recipe.feature_dropout, dropout=recipe.dropout)
    sample = whole[drawn[:: max(1, len(drawn) // 4_000)]]
    head.mean.copy_(sample.mean(dim=0))
    head.deviation.copy_(sample.std(dim=0).clamp_min(1e-3))
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.num_steps + 1, pct_start=0.2)
    num_copies = round(recipe.copy_share * recipe.batch_size) if len(pairs) else 0
    head.train()
    for _ in range(recipe.num_steps):
        chosen = rng.choice(drawn, recipe.batch_size - 2 * num_copies, p=weights)
        chosen = np.concatenate([chosen, pairs[rng.integers(len(pairs), size=num_copies)].ravel()]) if num_copies else chosen
        features = whole[chosen]
        labels = (material.is_spoof[chosen].float() * (1 - 2 * recipe.smoothed) + recipe.smoothed)[:, None]
        share = torch.from_numpy(rng.beta(recipe.mixing, recipe.mixing, (len(chosen), 1))).float()
        other = torch.from_numpy(rng.permutation(len(chosen)))
        features = share * features + (1 - share) * features[other]
        labels = share * labels + (1 - share) * labels[other]
        wanted = torch.cat([1 - labels, labels], dim=1)
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(head(features), wanted).backward()
        if recipe.sharpness:
            _sharpest(head, recipe.sharpness, lambda x=features, y=wanted: cross_entropy(head(x), y))
        optimizer.step()
        schedule.step()
    return head.eval()


@torch.inference_mode()
def head_scores(heads: Sequence[PooledHead], features: np.ndarray) -> np.ndarray:
    """Raw spoof scores `[row]`, the mean over heads, of features `[row, feature]`."""
    total = np.zeros(len(features))
    for start in range(0, len(features), 4_096):
        part = torch.from_numpy(np.asarray(features[start : start + 4_096], dtype=np.float32))
        made = [raw_scores(head(part[:, : len(head.mean)])) for head in heads]
        total[start : start + 4_096] = torch.stack(made).mean(dim=0).numpy()
    return total


def split_scores(frozen: FrozenSet, split: str, heads: Sequence[PooledHead]) -> np.ndarray:
    """Raw scores of a split's recordings `[recording]`, the mean over their windows, as in serving."""
    chosen = frozen.of(split, "plain")
    scores = pd.Series(head_scores(heads, frozen.features[chosen]))
    return scores.groupby(frozen.rows["recording"].to_numpy()[chosen]).mean().to_numpy()


def fold_of_groups(material: HeadMaterial) -> dict[str, int]:
    """Source -> the fold that leaves it out: the large ones first, each into the fold that holds least of both classes."""
    plain = material.views == "plain"
    table = pd.DataFrame({"group": material.groups[plain], "is_spoof": material.is_spoof.numpy()[plain]})
    counts = table.groupby("group")["is_spoof"].agg(["sum", "size"])
    counts["bona_fide"] = counts["size"] - counts["sum"]
    totals = np.zeros((NUM_FOLDS, 2))
    share = np.array([counts["sum"].sum(), counts["bona_fide"].sum()])
    folds = {}
    for group, row in counts.sort_values("size", ascending=False).iterrows():
        added = np.array([row["sum"], row["bona_fide"]])
        cost = [float((((totals + added * (np.arange(NUM_FOLDS) == i)[:, None]) / share) ** 2).sum()) for i in range(NUM_FOLDS)]
        folds[str(group)] = best = int(np.argmin(cost))
        totals[best] += added
    return folds


def left_out_scores(material: HeadMaterial, recipe: HeadRecipe, *, seeds: Sequence[int]) -> np.ndarray:
    """Raw scores of the training recordings as they are, `[recording]`, each by heads that never saw its source."""
    folds = fold_of_groups(material)
    fold_of_row = np.array([folds[group] for group in material.groups])
    scores = np.full(int(material.recordings.max()) + 1, math.nan)
    for fold in range(NUM_FOLDS):
        left_out = [group for group, number in folds.items() if number == fold]
        heads = [train_head(material, recipe, seed=seed, left_out=left_out) for seed in seeds]
        chosen = np.flatnonzero((fold_of_row == fold) & (material.views == "plain"))
        scores[material.recordings[chosen]] = head_scores(heads, material.features[chosen].numpy())
    return scores


def pooled_eer(scores: np.ndarray, is_spoof: np.ndarray) -> float:
    """The EER alone."""
    return equal_error_rate(scores, is_spoof)[0]


def _weights(groups: np.ndarray, is_spoof: np.ndarray) -> np.ndarray:
    """Chances `[row]`: both classes alike, and in a class a source of n rows counts the root of n."""
    keys = pd.Series(groups) + "\n" + pd.Series(is_spoof).astype(str)
    weights = keys.map(keys.value_counts()).to_numpy(dtype=np.float64) ** -0.5
    for label in (False, True):
        weights[is_spoof == label] /= 2 * weights[is_spoof == label].sum()
    return weights / weights.sum()


def _pairs(rows: pd.DataFrame) -> np.ndarray:
    """The n-th copy of a recording was made of its n-th changed crop."""
    parts = []
    for view in ("changed", "copy"):
        part = rows.loc[rows["view"] == view, ["recording"]].copy()
        part["number"], part[view] = part.groupby("recording").cumcount(), part.index
        parts.append(part)
    return parts[1].merge(parts[0], on=["recording", "number"])[["changed", "copy"]].to_numpy()


def _sharpest(head: PooledHead, radius: float, loss: object) -> None:
    """Gradients at the worst place within a radius, in the place of those here."""
    weights = [weight for weight in head.parameters() if weight.grad is not None]
    norm = torch.stack([weight.grad.norm() for weight in weights]).norm().clamp_min(1e-12)
    steps = [weight.grad * (radius / norm) for weight in weights]
    with torch.no_grad():
        for weight, step in zip(weights, steps, strict=True):
            weight.add_(step)
    head.zero_grad(set_to_none=True)
    loss().backward()
    with torch.no_grad():
        for weight, step in zip(weights, steps, strict=True):
            weight.sub_(step)

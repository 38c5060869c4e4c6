"""Scoring a labelled split, in the same windows as serving, and the report that a model card prints."""

from __future__ import annotations

import numpy as np
import torch

from core.models import raw_scores
from core.segments import split_windows
from training.data import LabelledSplit


@torch.inference_mode()
def score_split(model: torch.nn.Module, front_end: torch.nn.Module, split: LabelledSplit, *, batch_size: int = 64) -> np.ndarray:
    """Raw spoof score of each recording: the mean over its windows, `[recording]`."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    windows = [split_windows(samples.float() / 32_768) for samples in split.samples]
    owners = torch.repeat_interleave(torch.arange(len(windows)), torch.tensor([len(w) for w in windows]))
    totals, scores = torch.cat(windows), []
    for batch in totals.split(batch_size):
        scores.append(raw_scores(model(front_end(batch.to(device)).contiguous(memory_format=torch.channels_last)).float()).cpu())
    model.train(was_training)
    sums = torch.zeros(len(windows)).index_add(0, owners, torch.cat(scores))
    return (sums / torch.bincount(owners)).numpy()

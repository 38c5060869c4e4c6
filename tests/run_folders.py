"""Writes run folders as `python -m training train` leaves them: a real network's weights, made-up curves."""

from __future__ import annotations

import json
import math
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from core.models import build_model


def recipe(**changes: Any) -> dict[str, Any]:
    """A recipe's fields."""
    features = {"kind": "log_spectrogram", "dynamic_range_db": 80.0}
    base = {
        "name": "cnn_multiply",
        "model": "vgg27",
        "features": features,
        "num_epochs": 10,
        "batch_size": 64,
        "learning_rate": 4e-4,
    }
    return base | changes


def points(num_epochs: int, *, floor: float = 0.1, per_epoch: int = 10) -> list[dict[str, Any]]:
    """Falling curves: EER on dev after epoch e is floor + 0.4 / e, a little higher again at the last."""
    lines: list[dict[str, Any]] = []
    for epoch in range(1, num_epochs + 1):
        for i in range(1, per_epoch + 1):
            at = epoch - 1 + i / per_epoch
            loss = 0.15 + 0.55 * math.exp(-at / 3) + 0.03 * math.sin(9 * at)
            lines.append(
                {
                    "split": "train", "epoch": at, "step": round(at * per_epoch), "loss": loss, "accuracy": 1 - loss / 2,
                    "learning_rate": 4e-4, "samples_per_s": 240 + 5 * math.sin(at), "data_share": 0.02, "time_s": 60 * at,
                }
            )  # fmt: skip
        eer = floor + 0.4 / epoch + (0.01 if epoch == num_epochs else 0)
        lines.append(
            {
                "split": "dev", "epoch": epoch, "step": epoch * per_epoch, "loss": 0.2 + eer, "accuracy": 1 - eer,
                "balanced_accuracy": 1 - eer, "eer": eer, "time_s": 60.0 * epoch,
            }
        )  # fmt: skip
    return lines


def write_run(
    folder: Path,
    *,
    state: str = "finished",
    epoch: int = 4,
    pid: int | None = None,
    seed: int = 0,
    message: str = "",
    metrics: list[dict[str, Any]] | None = None,
    has_weights: bool = True,
    updated_at: datetime | None = None,
    **recipe_changes: Any,
) -> Path:
    """A complete run folder; returns it. `pid` is this process's unless given."""
    folder.mkdir(parents=True)
    fields = recipe(**recipe_changes)
    run = {
        "schema_version": 1, "recipe": fields, "seed": seed, "device": "cpu", "num_processes": 1,
        "data": {
            "folder": "/data/packed", "hash": {"train": "a1" * 32, "dev": "b2" * 32},
            "num_recordings": {"train": 25_380, "dev": 24_844},
        },
        "code_revision": "0" * 40, "versions": {"torch": "2.11.0", "torchaudio": "2.11.0"}, "python": "3.11.9",
        "machine": "host, 2 cores", "started_at": f"2026-11-25T07:0{seed}:00Z",
    }  # fmt: skip
    status = {
        "state": state, "pid": os.getpid() if pid is None else pid, "epoch": epoch, "num_epochs": fields["num_epochs"],
        "message": message, "updated_at": (updated_at or datetime.now(UTC)).isoformat(),
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "state.json").write_text(json.dumps(status))
    lines = points(epoch) if metrics is None else metrics
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if has_weights:
        torch.manual_seed(seed)
        save_file(
            {name: tensor.contiguous() for name, tensor in build_model(fields["model"]).state_dict().items()},
            folder / "best.safetensors",
        )
    return folder


def dead_pid() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid

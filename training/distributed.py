"""Several processes training one network, as torchrun starts them: joining, wrapping, batch statistics over all of them.

Gloo on the CPU, NCCL on CUDA. Knows nothing of data: every process must be given its own part of each batch, as large as
the others'.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import nn
from torch.distributed.nn.functional import all_reduce

from core.errors import CoreError

_TIMEOUT = timedelta(hours=1)
"""How long a process waits for the others: as long as the first may be busy scoring dev by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The processes that train together, seen from one of them."""

    rank: int
    """This process's number, from 0."""
    size: int
    """How many there are."""
    device: torch.device
    """Where this process computes."""

    def mean(self, value: torch.Tensor) -> float:
        """The mean of a number that each process has, as all of them get it."""
        value = value.detach().float().clone()
        if self.size > 1:
            torch.distributed.all_reduce(value)
        return float(value) / self.size


@contextmanager
def joined(device: str | None = None) -> Iterator[World]:
    """Joins the processes that torchrun started, and leaves them at the end; by itself, a process is a world of one.

    Reads `RANK`, `LOCAL_RANK` and `WORLD_SIZE`, and what torchrun tells of where to meet.

    Args:
        device: `cpu` or `cuda` (each process takes the GPU of its local rank); by default CUDA where there is one.

    Raises:
        CoreError: no such device, fewer GPUs than local processes, or torchrun's variables are missing or do not fit.
    """
    rank, local_rank, size = _number("RANK", 0), _number("LOCAL_RANK", 0), _number("WORLD_SIZE", 1)
    if not 0 <= rank < size:
        raise CoreError(f"RANK is {rank} and WORLD_SIZE {size}; expected a rank from 0 to {size - 1}. Start with torchrun.")
    place = _device(device, local_rank)
    if size == 1:
        yield World(rank=0, size=1, device=place)
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise CoreError(f"WORLD_SIZE is {size} but {' and '.join(missing)} not set. Start with torchrun, or unset WORLD_SIZE.")
    try:
        torch.distributed.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=_TIMEOUT)
    except (torch.distributed.DistError, RuntimeError, ValueError) as error:
        raise CoreError(f"process {rank} of {size} could not join the others: {error}") from error
    try:
        yield World(rank=rank, size=size, device=place)
    finally:
        torch.distributed.destroy_process_group()


def is_main() -> bool:
    """Whether this process is the one that writes files and speaks: rank 0, or alone."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def wrap(model: nn.Module, world: World) -> nn.Module:
    """The module to train with: `model` itself alone, else `DistributedDataParallel` around it.

    `model` is moved to the world's device and its batch normalisations are replaced in place by those over all processes
    (with the same parameters and state names), so that it may be saved, averaged and scored as before. Gradients are
    averaged over processes; with each one's loss a mean over its part, that is the gradient of the mean over all.

    Raises:
        CoreError: a kind of batch normalisation that cannot be computed over all processes on the CPU.
    """
    model.to(world.device)
    if world.size == 1:
        return model
    on_cuda = world.device.type == "cuda"
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model) if on_cuda else synced(model)
    # Every process computes the same statistics itself, so buffers need no broadcast.
    return nn.parallel.DistributedDataParallel(model, device_ids=[world.device] if on_cuda else None, broadcast_buffers=False)


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose statistics are over the batches of all processes, on any device.

    Equals `nn.BatchNorm2d` over the whole batch in output, gradients (each process's loss added up) and running
    statistics. In evaluation, and where no processes are joined, it is `nn.BatchNorm2d`. `nn.SyncBatchNorm` does the same
    but refuses the CPU.
    """

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """`[batch, channel, height, width]`; the batches of different processes may differ in size."""
        if not torch.distributed.is_initialized() or not (self.training or self.running_mean is None):
            return super().forward(image)
        self._check_input_dim(image)
        values = image.to(torch.promote_types(image.dtype, torch.float32))
        # Two passes, sums and then squared distances from the mean: the difference of large sums would lose digits.
        count = values.new_full((1,), values.numel() / self.num_features)
        *sums, count = all_reduce(torch.cat([values.sum(dim=(0, 2, 3)), count])).split([self.num_features, 1])
        mean = sums[0] / count
        centred = values - mean.view(1, -1, 1, 1)
        variance = all_reduce(centred.square().sum(dim=(0, 2, 3))) / count
        if self.track_running_stats and self.training:
            self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        made = centred * scale.view(1, -1, 1, 1)
        return (made + self.bias.view(1, -1, 1, 1) if self.affine else made).to(image.dtype)

    @torch.no_grad()
    def _follow(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def synced(module: nn.Module) -> nn.Module:
    """The module with each `nn.BatchNorm2d` in it replaced, in place, by a `SyncedBatchNorm2d` of the same tensors.

    Raises:
        CoreError: another kind of batch normalisation is in it.
    """
    if type(module) is nn.BatchNorm2d:
        return _synced_norm(module)
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, SyncedBatchNorm2d):
        raise CoreError(f"{type(module).__name__} has no form over all processes on the CPU; use BatchNorm2d or one process.")
    for name, child in module.named_children():
        setattr(module, name, synced(child))
    return module


def _synced_norm(norm: nn.BatchNorm2d) -> SyncedBatchNorm2d:
    made = SyncedBatchNorm2d(
        norm.num_features, norm.eps, norm.momentum, affine=norm.affine, track_running_stats=norm.track_running_stats
    )
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var, made.num_batches_tracked = norm.running_mean, norm.running_var, norm.num_batches_tracked
    return made.train(norm.training)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.lstrip("-").isdigit():
        raise CoreError(f"the environment variable {name} is {text!r}; expected a whole number, as torchrun sets it")
    return int(text)


def _device(name: str | None, local_rank: int) -> torch.device:
    kind = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind not in ("cpu", "cuda"):
        raise CoreError(f"unknown device {kind!r}; expected cpu or cuda")
    if kind == "cpu":
        return torch.device("cpu")
    num = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank >= num:
        raise CoreError(f"process {local_rank} of this machine needs a GPU of its own and {num} are there; use --device cpu.")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)

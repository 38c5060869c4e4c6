"""What a process of `test_distributed` does: `python -m torch.distributed.run ... -m tests.distributed_steps FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from training.distributed import SyncedBatchNorm2d, World, is_main, joined, wrap

NUM_STEPS = 5
PARTS = (5, 3)
"""Images of each process where the parts differ."""


def network() -> nn.Sequential:
    """A small network with batch normalisation, the same in every process."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, momentum=None), nn.ReLU(),
        nn.Flatten(), nn.Linear(96, 2),
    )  # fmt: skip


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images `[8, 1, 8, 8]`, far from zero and different in level, so that each half has statistics of its own; labels."""
    drawing = torch.Generator().manual_seed(100 + step)
    level = torch.linspace(-1, 3, 8).view(8, 1, 1, 1)
    return torch.randn(8, 1, 8, 8, generator=drawing) + level, torch.randint(2, (8,), generator=drawing)


def steps(trained: nn.Module, rank: int, size: int) -> torch.Tensor:
    """Some steps of SGD on this process's part of each batch; its losses `[step]`."""
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(NUM_STEPS):
        images, labels = (each.chunk(size)[rank] for each in batch(step))
        loss = nn.functional.cross_entropy(trained(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def uneven(norm: nn.Module, rank: int | None) -> dict[str, torch.Tensor]:
    """Output and gradients of one normalisation where processes hold 5 and 3 images; of all 8 without a rank."""
    images, _ = batch(0)
    chosen = images if rank is None else images.split(PARTS)[rank]
    chosen = chosen.clone().requires_grad_()
    made = norm(chosen)
    (made.pow(3) + made.sin()).sum().backward()
    return {"output": made.detach(), "gradient": chosen.grad, "running_var": norm.running_var}


def _run(folder: Path, world: World) -> None:
    model = network()
    tensors = {"losses": steps(wrap(model, world), world.rank, world.size)} | model.state_dict()
    plain = nn.parallel.DistributedDataParallel(network())
    tensors["losses without syncing"] = steps(plain, world.rank, world.size)
    free = SyncedBatchNorm2d(1, affine=False)
    tensors |= {f"uneven {name}": tensor for name, tensor in uneven(free, world.rank).items()}
    low = SyncedBatchNorm2d(1)(batch(1)[0].chunk(2)[world.rank].bfloat16())
    tensors |= {"low": low.detach(), "evaluated": model.eval()(batch(2)[0]).detach()}
    loss = torch.tensor(float(3 + world.rank), requires_grad=True)
    tensors["mean"] = torch.tensor([world.mean(loss), loss.item()])
    tensors["world"] = torch.tensor([world.rank, world.size, is_main(), world.device.type == "cpu"])
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"{world.rank}.safetensors")


if __name__ == "__main__":
    with joined("cpu") as world:
        _run(Path(sys.argv[1]), world)
    assert not torch.distributed.is_initialized()

"""Two real processes against one: the same steps, batch statistics, gradients; and what goes wrong is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from core.errors import CoreError
from core.models import build_model
from tests.distributed_steps import batch, network, steps, uneven
from training.distributed import SyncedBatchNorm2d, World, is_main, joined, synced, wrap

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ALONE = World(rank=0, size=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """What each of two processes computed."""
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "tests.distributed_steps"]
    done = subprocess.run(
        [*command, str(folder)], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return [load_file(folder / f"{rank}.safetensors") for rank in (0, 1)]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_the_processes_know_who_they_are(processes) -> None:
    assert [each["world"].tolist() for each in processes] == [[0, 2, 1, 1], [1, 2, 0, 1]]


def test_the_mean_is_over_all_and_leaves_the_number_alone(processes) -> None:
    assert [each["mean"].tolist() for each in processes] == [[3.5, 3.0], [3.5, 4.0]]
    assert ALONE.mean(torch.tensor(0.25, requires_grad=True)) == 0.25


def test_five_steps_equal_those_of_one_process(processes) -> None:
    model = network()
    losses = steps(wrap(model, ALONE), 0, 1)
    torch.testing.assert_close((processes[0]["losses"] + processes[1]["losses"]) / 2, losses, **CLOSE)
    for process in processes:
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(process[name], tensor, msg=lambda text, name=name: f"{name}: {text}", **CLOSE)
    assert (losses[0] - losses[-1]).abs() > 0.01, "the steps must have done something"


def test_without_syncing_they_would_not(processes) -> None:
    losses = steps(network(), 0, 1)
    unsynced = (processes[0]["losses without syncing"] + processes[1]["losses without syncing"]) / 2
    assert (unsynced - losses).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["output", "gradient"])
def test_parts_of_different_size_count_by_their_size(processes, name: str) -> None:
    whole = uneven(nn.BatchNorm2d(1, affine=False), None)
    torch.testing.assert_close(torch.cat([each[f"uneven {name}"] for each in processes]), whole[name], **CLOSE)
    for process in processes:
        torch.testing.assert_close(process["uneven running_var"], whole["running_var"], **CLOSE)


def test_bfloat16_comes_out_as_bfloat16(processes) -> None:
    low = torch.cat([each["low"] for each in processes])
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), nn.BatchNorm2d(1)(batch(1)[0]).detach(), rtol=0.02, atol=0.02)


def test_evaluation_uses_the_running_statistics_and_no_other_process(processes) -> None:
    model = network()
    steps(model, 0, 1)
    for process in processes:
        torch.testing.assert_close(process["evaluated"], model.eval()(batch(2)[0]).detach(), **CLOSE)


def test_alone_nothing_is_wrapped_or_replaced() -> None:
    model = network()
    with joined("cpu") as world:
        assert (world.rank, world.size, world.device.type) == (0, 1, "cpu")
        assert is_main()
        assert not torch.distributed.is_initialized()
        assert wrap(model, world) is model
    assert not any(isinstance(module, SyncedBatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("name", ["vgg27", "resnet50"])
def test_syncing_keeps_tensors_and_state_names(name: str) -> None:
    model = build_model(name)
    before, state = {key: value.data_ptr() for key, value in model.state_dict().items()}, list(model.state_dict())
    num_norms = sum(type(module) is nn.BatchNorm2d for module in model.modules())
    assert synced(model) is model
    assert sum(type(module) is SyncedBatchNorm2d for module in model.modules()) == num_norms > 0
    assert list(model.state_dict()) == state
    assert {key: value.data_ptr() for key, value in model.state_dict().items()} == before
    assert synced(model) is model


def test_another_kind_of_batch_normalisation_is_refused() -> None:
    with pytest.raises(CoreError, match=r"BatchNorm1d .* use BatchNorm2d or one process"):
        synced(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, r"MASTER_ADDR and MASTER_PORT not set. Start with torchrun"),
        ({"WORLD_SIZE": "two"}, r"WORLD_SIZE is 'two'; expected a whole number"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, r"RANK is 2 and WORLD_SIZE 2; expected a rank from 0 to 1"),
    ],
)
def test_variables_that_do_not_fit_are_told(variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CoreError, match=message), joined("cpu"):
        pass


def test_a_device_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CoreError, match="unknown device 'tpu'"), joined("tpu"):
        pass
    with pytest.raises(CoreError, match="needs a GPU of its own and 0 are there"), joined("cuda"):
        pass
    with joined() as world:
        assert world.device.type == "cpu"


def test_an_error_leaves_the_processes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    left = []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *arguments, **options: None)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: left.append(os.getpid()))
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KeyError), joined("cpu"):
        raise KeyError
    assert len(left) == 1

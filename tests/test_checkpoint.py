"""training.checkpoint: any state comes back to the bit; a file appears whole or not at all; nothing is unpickled."""

from __future__ import annotations

import errno
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from core.errors import CoreError
from tests.tiny_training import equal_trees, tiny_network
from training.checkpoint import load_state, save_state, save_weights


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def test_a_tree_comes_back_with_its_kinds(path: Path) -> None:
    state = {
        "numbers": {0: 1, 1: 0.1 + 0.2, -7: math.inf, "text": "Größe/0", "none": None, "yes": True},
        "lists": [[], [1, [2.5, torch.arange(3)]], {}, {"a": {}}],
        "tensors": {
            "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
            "scalar": torch.tensor(3),
            "empty": torch.zeros(0, 2),
            "bool": torch.tensor([True, False]),
            "strided": torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last),
            "nan": torch.tensor([math.nan]),
        },
    }
    save_state(path, state)
    loaded = load_state(path)
    assert math.isnan(loaded["tensors"].pop("nan"))
    state["tensors"].pop("nan")
    assert equal_trees(loaded, state)
    assert list(loaded["numbers"]) == [0, 1, -7, "text", "none", "yes"], "keys stay numbers"
    assert type(loaded["numbers"][0]) is int
    assert loaded["numbers"]["yes"] is True


def test_tuples_come_back_as_lists(path: Path) -> None:
    save_state(path, {"betas": (0.9, 0.999)})
    assert load_state(path) == {"betas": [0.9, 0.999]}


def test_a_network_its_average_and_its_optimizer_come_back(path: Path) -> None:
    torch.manual_seed(0)
    network = tiny_network().to(memory_format=torch.channels_last)
    average = AveragedModel(network, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=9)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(4, 1, 224, 224)).square().sum().backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
    parts = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    state = {name: part.state_dict() for name, part in parts.items()}
    assert set(state["optimizer"]["state"]) == set(range(len(list(network.parameters()))))
    save_state(path, state)
    loaded = load_state(path)
    assert equal_trees(loaded, state)
    other = tiny_network()
    restored = torch.optim.AdamW(other.parameters(), lr=0.5)
    other.load_state_dict(loaded["network"])
    restored.load_state_dict(loaded["optimizer"])
    assert equal_trees(restored.state_dict(), optimizer.state_dict())


def test_tensors_that_share_memory_are_kept_apart(path: Path) -> None:
    whole = torch.arange(6.0)
    save_state(path, {"whole": whole, "part": whole[:3], "again": whole})
    loaded = load_state(path)
    assert (loaded["part"].tolist(), loaded["again"].tolist()) == ([0, 1, 2], [0, 1, 2, 3, 4, 5])
    loaded["whole"].zero_()
    assert loaded["again"].sum() == 15


def test_weights_have_their_own_names(path: Path) -> None:
    torch.manual_seed(0)
    network = tiny_network().to(memory_format=torch.channels_last)
    save_weights(path, network)
    loaded = load_file(path)
    assert list(sorted(loaded)) == sorted(network.state_dict())
    assert all(torch.equal(loaded[name], tensor) for name, tensor in network.state_dict().items())


# Whole or not at all ---------------------------------------------------------------------------------------------


def _save_state(path: Path, value: float) -> None:
    save_state(path, {"w": torch.full((1_000,), value)})


def _save_weights(path: Path, value: float) -> None:
    layer = nn.Linear(10, 10, bias=False)
    nn.init.constant_(layer.weight, value)
    save_weights(path, layer)


_FULL = (
    OSError(errno.ENOSPC, "No space left on device"),
    # As safetensors 0.8 says it on a full tmpfs.
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
)


@pytest.mark.parametrize("save", [_save_state, _save_weights])
@pytest.mark.parametrize("step", ["save", "os.replace"])
@pytest.mark.parametrize("error", _FULL)
def test_a_full_disk_leaves_the_earlier_file_and_nothing_else(
    path: Path, save: Callable[[Path, float], None], step: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(*arguments: Any, **_: Any) -> None:
        path.with_name(path.name + ".partial").write_bytes(b"half of it")
        raise error

    save(path, 1.0)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(f"training.checkpoint.{step}", fill_up)
        with pytest.raises(CoreError, match=r"checkpoint.safetensors could not be written: the disk is full. Free some space"):
            save(path, 2.0)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    save(path, 2.0)
    assert path.read_bytes() != before


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CoreError, match=r"none/checkpoint.safetensors could not be written: .*No such file"):
        _save_state(tmp_path / "none" / "checkpoint.safetensors", 1.0)


def test_a_partial_file_of_a_killed_process_is_in_nobodys_way(path: Path) -> None:
    path.with_name(path.name + ".partial").write_bytes(b"cut o")
    _save_state(path, 3.0)
    assert load_state(path)["w"][0] == 3.0
    assert [each.name for each in path.parent.iterdir()] == [path.name]


# What is refused -------------------------------------------------------------------------------------------------


class _Trap:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: c[: len(c) // 2], lambda c: c[:4], lambda _: b"", lambda c: b"\xff" + c]
)
def test_damaged_files_are_refused(path: Path, damage: Callable[[bytes], bytes]) -> None:
    _save_state(path, 1.0)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CoreError, match=r"is not a checkpoint of this program or is damaged.*remove it to start again"):
        load_state(path)


def test_plain_weights_and_nothing_are_no_checkpoint(path: Path) -> None:
    with pytest.raises(CoreError, match="is not a checkpoint"):
        load_state(path)
    _save_weights(path, 1.0)
    with pytest.raises(CoreError, match="is not a checkpoint"):
        load_state(path)


def test_a_pickle_is_not_opened(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path.write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(CoreError, match="is not a checkpoint"):
        load_state(path)
    assert not (tmp_path / "sprung").exists()

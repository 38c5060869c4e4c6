"""training.batches: who is drawn, how often and with what; the same whenever and wherever it is made again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from core.detector_config import FeatureConfig
from core.errors import CoreError
from core.features import build_front_end
from core.models import MODELS
from tests.tiny_training import tiny_network, tiny_recipe
from training import batches as batches_module
from training.batches import BatchMaker
from training.data import LabelledSplit

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", tiny_network)


def split_of(num_bona_fide: int, num_spoofs: int, *, num_samples: int = 2_000) -> LabelledSplit:
    """Bona fide first; recording i holds values of its own: noise around 20 i."""
    num = num_bona_fide + num_spoofs
    rng = np.random.default_rng(0)
    samples = (20 * np.arange(1, num + 1)[:, None] + rng.integers(0, 20, (num, num_samples))).astype(np.int16)
    labels = ["bona fide"] * num_bona_fide + ["spoof"] * num_spoofs
    return LabelledSplit(
        name="train",
        index=pd.DataFrame({"label": labels, "group": [f"page{i % 3}" for i in range(num)]}),
        samples=torch.from_numpy(samples.reshape(-1)),
        starts=torch.arange(num) * num_samples,
        lengths=torch.full((num,), num_samples),
        data_hash="",
    )


def maker_of(split: LabelledSplit, *, seed: int = 0, **changes: Any) -> BatchMaker:
    plain = {"multiplies_bona_fide": False, "random_crops": False, "channel_share": 0.0, "masks_images": False}
    return BatchMaker(tiny_recipe(**plain | changes), split, seed=seed, device=CPU)


class Samples(torch.nn.Module):
    """A front end that shows the samples themselves, `[batch, 1, 1, 64000]`."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return samples[:, None, None]


# Who is drawn ----------------------------------------------------------------------------------------------------


def test_each_recording_is_shown_once_an_epoch() -> None:
    made = maker_of(split_of(9, 14))
    assert made.steps_per_epoch == 5  # 23 recordings in batches of 4; three are left out, others each time
    shown = [made.epoch(number) for number in range(6)]
    for drawn in shown:
        assert drawn.shape == (5, 4, 2)
        assert len(drawn[..., 0].unique()) == 20
        assert not drawn[..., 1].any()
    assert torch.cat(shown)[..., 0].unique().tolist() == list(range(23))


def test_draws_follow_from_seed_and_epoch() -> None:
    split = split_of(9, 14)
    for changes in ({}, {"sampling": "balanced"}, {"multiplies_bona_fide": True}, {"max_spoofs": 12}):
        made = maker_of(split, **changes)
        first = made.epoch(3)
        made.epoch(4)
        assert torch.equal(made.epoch(3), first), "whatever was drawn between"
        assert torch.equal(maker_of(split, **changes).epoch(3), first)
        assert not torch.equal(made.epoch(4), first)
        assert not torch.equal(maker_of(split, seed=1, **changes).epoch(3), first)


def test_bona_fide_are_multiplied_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "CropSampler", lambda *_: None)
    split = split_of(2_580, 22_800, num_samples=1)
    made = maker_of(split, multiplies_bona_fide=True, batch_size=20, num_shards=2)
    assert made.steps_per_epoch == (20_640 + 22_800) // 20 == 2_172  # exactly: none is left out
    recordings, multiplied = made.epoch(0).view(-1, 2).unbind(-1)
    bona_fide = recordings < 2_580
    assert int(bona_fide.sum()) == 20_640
    assert int(multiplied.sum()) == 20_640 - 2_580
    assert not multiplied[~bona_fide].any()
    assert recordings.bincount().tolist() == [8] * 2_580 + [1] * 22_800
    assert recordings[multiplied == 0].bincount().tolist() == [1] * 25_380, "each once as it is"


def test_fewer_spoofs_than_bona_fide_multiply_nothing() -> None:
    drawn = maker_of(split_of(9, 7), multiplies_bona_fide=True).epoch(0)
    assert sorted(drawn[..., 0].flatten().tolist()) == list(range(16))
    assert not drawn[..., 1].any()


def test_spoofs_are_limited_to_a_draw_that_stays() -> None:
    split = split_of(6, 100)
    made = maker_of(split, max_spoofs=10)
    assert made.steps_per_epoch == 4
    shown = torch.cat([made.epoch(number)[..., 0].flatten() for number in range(8)])
    counts = shown.bincount(minlength=106)
    spoofs = torch.nonzero(counts[6:]).flatten()
    assert len(spoofs) == 10
    assert counts.max() == 8
    other = maker_of(split, seed=1, max_spoofs=10)
    shown = torch.cat([other.epoch(number)[..., 0].flatten() for number in range(8)])
    assert torch.nonzero(shown.bincount(minlength=106)[6:]).flatten().tolist() != spoofs.tolist()
    assert maker_of(split_of(6, 9), max_spoofs=50).steps_per_epoch == 3, "fewer than the limit are all"


def test_balanced_draws_show_both_classes_equally_often() -> None:
    made = maker_of(split_of(4, 60), sampling="balanced")
    shown = torch.cat([made.epoch(number)[..., 0].flatten() for number in range(30)])
    assert float((shown < 4).float().mean()) == pytest.approx(0.5, abs=0.04)


# What is made of them --------------------------------------------------------------------------------------------


def test_labels_and_images_are_those_of_the_recordings() -> None:
    split = split_of(3, 5)
    made = maker_of(split)
    images, labels = made.shard(torch.tensor([[7, 0], [0, 0], [2, 0]]), epoch=0, step=0, number=0)
    assert labels.tolist() == [1, 0, 0]
    repeated = torch.stack([split.recording(i).repeat(32).float() / 32_768 for i in (7, 0, 2)])
    assert torch.equal(images, build_front_end(FeatureConfig())(repeated))


def test_a_shard_is_the_same_again_and_different_elsewhere() -> None:
    split = split_of(6, 6, num_samples=9_000)
    changes = {"random_crops": True, "channel_share": 0.5, "masks_images": True, "copy_share": 0.5, "multiplies_bona_fide": True}
    drawn = torch.tensor([[1, 0], [8, 0], [2, 1], [9, 0]])
    where = {"epoch": 1, "step": 2, "number": 1}

    def images(seed: int = 0, **elsewhere: int) -> torch.Tensor:
        return maker_of(split, seed=seed, **changes).shard(drawn, **where | elsewhere)[0]

    first = images()
    torch.manual_seed(99)  # the global generator decides nothing
    assert torch.equal(images(), first)
    for elsewhere in ({"seed": 1}, {"epoch": 2}, {"step": 3}, {"number": 0}):
        other = images(**elsewhere)
        assert all(not torch.equal(a, b) for a, b in zip(other, first, strict=True)), elsewhere


def test_shards_do_not_depend_on_how_many_processes_share_them() -> None:
    split = split_of(8, 8, num_samples=9_000)
    changes = {"batch_size": 8, "num_shards": 4, "random_crops": True, "channel_share": 0.5, "masks_images": True}

    def batch(order: list[int]) -> dict[int, torch.Tensor]:
        made = maker_of(split, **changes)
        parts = made.epoch(0)[1].chunk(4)
        return {number: made.shard(parts[number], epoch=0, step=1, number=number)[0] for number in order}

    alone = batch([0, 1, 2, 3])
    for own in ([0, 1], [2, 3], [3], [1]):
        for number, images in batch(own).items():
            assert torch.equal(images, alone[number])


def test_only_the_multiplied_are_distorted() -> None:
    made = maker_of(split_of(4, 4), multiplies_bona_fide=True)
    plain, _ = made.shard(torch.tensor([[0, 0], [1, 0], [6, 0]]), epoch=0, step=0, number=0)
    images, _ = made.shard(torch.tensor([[0, 0], [1, 1], [6, 0]]), epoch=0, step=0, number=0)
    assert torch.equal(images[[0, 2]], plain[[0, 2]])
    assert not torch.allclose(images[1], plain[1], atol=0.1)
    assert torch.isfinite(images).all()


def test_a_share_of_the_windows_passes_through_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "build_front_end", lambda _: Samples())
    monkeypatch.setattr(batches_module, "augment_samples", lambda samples, _: samples + 10)
    drawn = torch.stack([torch.arange(8), torch.zeros(8, dtype=torch.int64)], dim=1)
    made = maker_of(split_of(4, 4), channel_share=0.25, batch_size=8)
    through = [made.shard(drawn, epoch=0, step=step, number=0)[0][:, 0, 0, 0] > 5 for step in range(12)]
    assert {int(each.sum()) for each in through} == {2}
    assert torch.stack(through).any(dim=0).all(), "not always the same ones"


# Copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "num"), [(0.0, 0), (0.4, 2), (1.0, 3)])
def test_copies_replace_spoofs_and_are_of_bona_fide_of_the_shard(share: float, num: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a maker that adds 0.5, a copy shows which recording it is of."""
    monkeypatch.setattr(batches_module, "build_front_end", lambda _: Samples())
    monkeypatch.setattr(batches_module, "COPY_MAKERS", (lambda samples, _: samples + 0.5,))
    split = split_of(10, 10)
    drawn = torch.tensor([12, 3, 15, 7, 19, 18, 5, 11])  # five spoofs, three bona fide
    images, labels = maker_of(split, copy_share=share).shard(
        torch.stack([drawn, torch.zeros_like(drawn)], dim=1), epoch=0, step=0, number=0
    )
    samples = images[:, 0, 0]
    assert labels.tolist() == [1, 0, 1, 0, 1, 1, 0, 1], "a copy is a spoof"
    is_copy = samples[:, 0] > 0.4
    assert int(is_copy.sum()) == num
    assert not is_copy[labels == 0].any()
    windows = {number: split.recording(number).repeat(32).float() / 32_768 for number in range(20)}
    for number, window, copied in zip(drawn.tolist(), samples, is_copy.tolist(), strict=True):
        if copied:
            assert sum(torch.equal(window, windows[source] + 0.5) for source in (3, 7, 5)) == 1
        else:
            assert torch.equal(window, windows[number])


def test_every_maker_gets_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    makers = tuple(lambda samples, _, i=i: (used.append(i), samples)[1] for i in range(3))
    monkeypatch.setattr(batches_module, "COPY_MAKERS", makers)
    made = maker_of(split_of(4, 4), copy_share=1.0)
    for step in range(30):
        made.shard(torch.tensor([[0, 0], [5, 0]]), epoch=0, step=step, number=0)
    assert set(used) == {0, 1, 2}
    assert len(used) == 30


@pytest.mark.parametrize("number", range(len(batches_module.COPY_MAKERS)))
def test_real_makers_give_finite_images(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "COPY_MAKERS", (batches_module.COPY_MAKERS[number],))
    made, drawn = maker_of(split_of(2, 2), copy_share=1.0), torch.tensor([[0, 0], [3, 0]])
    images, _ = made.shard(drawn, epoch=0, step=0, number=0)
    plain, _ = maker_of(split_of(2, 2)).shard(drawn, epoch=0, step=0, number=0)
    assert torch.isfinite(images).all()
    assert torch.equal(images[0], plain[0])
    assert not torch.equal(images[1], plain[1])


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counts", "there"), [((0, 9), "spoof"), ((9, 0), "bona fide")])
def test_one_class_only_is_refused(counts: tuple[int, int], there: str) -> None:
    with pytest.raises(CoreError, match=f"holds only {there} recordings; both classes are needed"):
        maker_of(split_of(*counts))


def test_fewer_recordings_than_a_batch_are_refused() -> None:
    with pytest.raises(CoreError, match="holds 3 recordings, fewer than one batch of 4"):
        maker_of(split_of(2, 1))

"""From a split and a recipe to batches of images on the device: who is drawn when, and what happens to it by chance.

All randomness follows from seed, epoch, step and shard, so that a resumed run equals an uninterrupted one and
several processes see what one would.
"""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms import v2

from core.attacks.filtering import waveform_filtering
from core.attacks.neural import neural_vocoder
from core.attacks.resynthesis import MAKERS
from core.attacks.shifting import formant_shift, pitch_shift
from core.errors import CoreError
from core.features import build_front_end
from training.augment import augment_samples, mask_image
from training.crops import CropSampler
from training.data import LabelledSplit, balanced_weights
from training.recipes import Recipe

COPY_MAKERS = (*MAKERS.values(), *(neural_vocoder,) * 4, pitch_shift, formant_shift, waveform_filtering)
"""All equally frequent, but for the neural vocoder: what is met today is mostly neural."""


class BatchMaker:
    """Images `[batch, channel, 224, 224]` and labels `[batch]` (1 is spoof), part by part.

    Args:
        recipe: what to draw and what to do with it.
        split: the training split.
        seed: decides all randomness.
        device: where everything happens.

    Raises:
        CoreError: one class only, or fewer recordings than one batch.
    """

    def __init__(self, recipe: Recipe, split: LabelledSplit, *, seed: int, device: torch.device) -> None:
        spoof = torch.from_numpy(split.is_spoof)
        if spoof.all() or not spoof.any():
            there = "spoof" if spoof.all() else "bona fide"
            raise CoreError(f"the training split holds only {there} recordings; both classes are needed")
        self.recipe, self.seed, self.device = recipe, seed, device
        self.front_end = build_front_end(recipe.features).to(device)
        self.crops = CropSampler(split, device)
        self.labels = spoof.long().to(device)
        self._weights = balanced_weights(split) if recipe.sampling == "balanced" else None
        self._drawn = _drawn_once(recipe, spoof, self._generator(0))
        self.steps_per_epoch = len(self._drawn) // recipe.batch_size
        if not self.steps_per_epoch:
            raise CoreError(f"the training split holds {len(split)} recordings, fewer than one batch of {recipe.batch_size}")
        self._distort = v2.Compose(
            [v2.RandomRotation(10), v2.RandomAffine(0, translate=(0.1, 0.1), shear=5), v2.RandomHorizontalFlip()]
        )

    def epoch(self, number: int) -> torch.Tensor:
        """What an epoch shows, `[step, batch, 2]`: the recording, and whether it is one of the multiplied."""
        generator = self._generator(1, number)
        num = self.steps_per_epoch * self.recipe.batch_size
        if self._weights is not None:
            chosen = torch.multinomial(self._weights, num, replacement=True, generator=generator)
            drawn = torch.stack([chosen, torch.zeros_like(chosen)], dim=-1)
        else:
            drawn = self._drawn[torch.randperm(len(self._drawn), generator=generator)[:num]]
        return drawn.view(self.steps_per_epoch, self.recipe.batch_size, 2)

    @torch.no_grad()
    def shard(self, drawn: torch.Tensor, *, epoch: int, step: int, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels of one shard.

        Args:
            drawn: `[shard, 2]`, the shard's part of `epoch(...)[step]`.
            number: which shard of the batch.
        """
        chosen, is_multiplied = drawn.to(self.device).unbind(-1)
        generator = self._generator(2, epoch, step, number, device=self.device)
        labels = self.labels[chosen]
        samples = self.crops.random(chosen, generator) if self.recipe.random_crops else self.crops.from_start(chosen)
        samples = self._with_copies(samples, labels, generator)
        if num_channelled := round(self.recipe.channel_share * len(samples)):
            some = torch.randperm(len(samples), device=self.device, generator=generator)[:num_channelled]
            samples[some] = augment_samples(samples[some], generator)
        images = self.front_end(samples)
        if is_multiplied.any():
            torch.manual_seed(generator.initial_seed())  # torchvision draws from the global generator
            for i in torch.nonzero(is_multiplied).flatten().tolist():
                images[i] = self._distort(images[i])
        return (mask_image(images, generator) if self.recipe.masks_images else images), labels

    def _with_copies(self, samples: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Some of the spoofs replaced by copies of bona fide windows of the same shard, all by one maker."""
        spoof, bona_fide = torch.nonzero(labels == 1).flatten(), torch.nonzero(labels == 0).flatten()
        num = min(round(self.recipe.copy_share * len(spoof)), len(bona_fide))
        if num:
            maker = COPY_MAKERS[int(torch.randint(len(COPY_MAKERS), (1,), device=self.device, generator=generator))]
            samples[spoof[:num]] = maker(samples[bona_fide[:num]], generator)
        return samples

    def _generator(self, *where: int, device: torch.device | str = "cpu") -> torch.Generator:
        state = np.random.SeedSequence([self.seed, *where]).generate_state(1, np.uint64)
        return torch.Generator(device).manual_seed(int(state[0] >> np.uint64(1)))


def _drawn_once(recipe: Recipe, spoof: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """`[draw, 2]`: every recording of an epoch without replacement, bona fide perhaps several times."""
    spoofs, bona_fide = torch.nonzero(spoof).flatten(), torch.nonzero(~spoof).flatten()
    if recipe.max_spoofs is not None:
        spoofs = spoofs[torch.randperm(len(spoofs), generator=generator)[: recipe.max_spoofs]]
    times = max(1, len(spoofs) // len(bona_fide)) if recipe.multiplies_bona_fide else 1
    # As published: 2,580 bona fide become 20,640 beside 22,800 spoofs, 8 times each.
    repeated = bona_fide.repeat(times)
    multiplied = (torch.arange(len(repeated)) >= len(bona_fide)).long()
    return torch.cat([torch.stack([repeated, multiplied], dim=-1), torch.stack([spoofs, torch.zeros_like(spoofs)], dim=-1)])

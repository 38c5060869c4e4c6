"""Ways to train heads, compared on both dev splits and on sources left out of training, never on test. Keeps no head."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from core.whole_files import replace_file
from training.data import by_corpus, load_split
from training.frozen import open_features
from training.heads import HeadRecipe, left_out_scores, material_of, pooled_eer, split_scores, train_head

WAYS = {
    "as shipped": HeadRecipe(),
    "changed views too": HeadRecipe(views=("plain", "changed")),
    "copies by vocoders too": HeadRecipe(copy_share=0.125),
    "changed views and copies too": HeadRecipe(views=("plain", "changed"), copy_share=0.125),
    "stem and 1 block": HeadRecipe(num_blocks=1),
    "stem and 2 blocks": HeadRecipe(num_blocks=2),
    "sharpness-aware, radius 0.05": HeadRecipe(sharpness=0.05),
    "width 128": HeadRecipe(width=128),
    "2,400 steps": HeadRecipe(num_steps=2_400),
}
"""What each is called in the table -> how."""


def compare_ways(features: Path, out: Path, *, ways: dict[str, HeadRecipe] = WAYS, num_seeds: int = 1) -> str:
    """Measures each way and writes the table as JSON after each; returns it as text.

    Args:
        features: folder that `training.frozen` wrote.
        out: the JSON file; ways that it holds already are not measured again.
        ways: what to compare.
        num_seeds: heads of each way and fold.
    """
    frozen = open_features(features)
    data, material = Path(frozen.manifest["data"]), material_of(frozen)
    train, dev = load_split(data, "train"), load_split(data, "dev")
    table = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    for name, recipe in ways.items():
        if name in table:
            continue
        started = time.monotonic()
        heads = [train_head(material, recipe, seed=seed) for seed in range(num_seeds)]
        scores = split_scores(frozen, "dev", heads)
        row = {split: pooled_eer(scores[chosen], dev.is_spoof[chosen]) for split, chosen in by_corpus(dev).items()}
        left_out = left_out_scores(material, recipe, seeds=range(num_seeds))
        for split, chosen in by_corpus(train).items():
            row[f"left-out sources of {split}"] = pooled_eer(left_out[chosen], train.is_spoof[chosen])
        row["left-out sources"] = pooled_eer(left_out, train.is_spoof)
        table[name] = {"eer": row, "recipe": asdict(recipe), "seeds": num_seeds, "seconds": round(time.monotonic() - started)}
        replace_file(out, json.dumps(table, indent=1) + "\n")
        print(f"{name}: " + ", ".join(f"{split} {value:.1%}" for split, value in row.items()), flush=True)
    best = min(table, key=lambda name: table[name]["eer"]["left-out sources"])
    return f"{len(table)} ways in {out}; the lowest EER on left-out sources: {best}"

"""The training command line: `python -m training train`, `publish`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.errors import CoreError
from training.data import corpus_root, load_split
from training.recipes import RECIPES, recipe_named


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns 0 when it worked, 1 when it could not, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a recipe on the corpus; resumes an interrupted run")
    train.add_argument("recipe", choices=sorted(RECIPES))
    train.add_argument(
        "--corpus", type=Path, default=corpus_root(), help="corpus folder (default: $EARWITNESS_CORPUS or ../shared/corpus)"
    )
    train.add_argument("--run", type=Path, required=True, help="folder for log and checkpoint")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args(arguments)
    try:
        return _train(options)
    except CoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _train(options: argparse.Namespace) -> int:
    from training.loop import train

    splits = [load_split(options.corpus, split) for split in ("train", "dev")]
    train(recipe_named(options.recipe), *splits, options.run, seed=options.seed, device=options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())

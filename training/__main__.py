"""The training command line: `python -m training COMMAND`. Exit status: 0 done, 1 not done, 2 wrong usage."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.checkpoints import SHIPPED_DETECTORS
from core.errors import CoreError
from training.data import corpus_root, load_split
from training.recipes import RECIPES, recipe_named

_DATA = Path(__file__).parents[1] / "data"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = build_parser().parse_args(arguments)
    try:
        options.run_command(options)
    except CoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command line, as `--help` shows it."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Make detectors.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe on the corpus; run it again to go on after an interruption")
    train.set_defaults(run_command=_train)
    _add_run(train)
    train.add_argument("--seed", type=int, default=0, help="decides all randomness (default: 0)")
    train.add_argument("--device", default="cpu", help="cpu (default) or cuda")

    publish = commands.add_parser("publish", help="calibrate a finished run on dev, measure it on test, write a detector folder")
    publish.set_defaults(run_command=_publish)
    _add_run(publish)
    publish.add_argument("--name", required=True, help="the detector's name")
    publish.add_argument(
        "--out", type=Path, default=SHIPPED_DETECTORS, metavar="DIR", help="where detectors lie (default: data/detectors)"
    )
    publish.add_argument(
        "--scores-out", type=Path, default=_DATA / "results", metavar="DIR", help="for the test scores (data/results)"
    )

    samples = commands.add_parser("samples", help="make the sample recordings with espeak-ng, flite and festival")
    samples.set_defaults(run_command=_samples)
    samples.add_argument("--out", type=Path, default=_DATA / "samples", metavar="DIR", help="where to (default: data/samples)")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder for log and checkpoint")
    help_text = "corpus folder (default: $EARWITNESS_CORPUS, else ../shared/corpus)"
    parser.add_argument("--corpus", type=Path, default=corpus_root(), metavar="DIR", help=help_text)


def _train(options: argparse.Namespace) -> None:
    from training.loop import train
    from training.made import add_made_spoofs

    recipe, splits = recipe_named(options.recipe), [load_split(options.corpus, split) for split in ("train", "dev")]
    splits[0] = add_made_spoofs(splits[0], num_spoken=recipe.num_spoken, num_copied=recipe.num_copied, seed=options.seed)
    train(recipe, *splits, options.run, seed=options.seed, device=options.device)


def _publish(options: argparse.Namespace) -> None:
    from training.publish import publish

    splits = {split: load_split(options.corpus, split) for split in ("train", "dev", "test")}
    recipe = recipe_named(options.recipe)
    detector = publish(recipe, options.run, splits, name=options.name, out=options.out, scores_out=options.scores_out)
    print(detector.card)


def _samples(options: argparse.Namespace) -> None:
    from training.samples import make_samples

    for path in make_samples(options.out):
        print(path)


if __name__ == "__main__":
    sys.exit(main())

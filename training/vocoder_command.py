"""The command line of `vocoder`: train the small neural vocoder, measure it, publish it. Trains nothing itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.attacks.kind_records import SHIPPED_VOCODER
from core.errors import CoreError

PARTS = ("train", "measure", "publish")


def add_vocoder(commands: argparse._SubParsersAction) -> None:
    """Adds the subcommand `vocoder`."""
    parser = commands.add_parser("vocoder", help="the neural vocoder of the attack lab: train it, measure it, publish it")
    parser.set_defaults(run_command=_run)
    help_text = (
        "train on bona fide speech (run it again to go on after an interruption); measure copies of dev beside Griffin-Lim's; "
        "publish: measure, and ship what is as close to speech as Griffin-Lim"
    )
    parser.add_argument("part", choices=PARTS, help=help_text)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the run's folder, which knows its data")
    parser.add_argument("--data", type=Path, metavar="DIR", help="train: folder that `prepare` wrote")
    parser.add_argument("--seed", type=int, default=0, help="train: decides all randomness (default: 0)")
    parser.add_argument("--steps", type=int, metavar="NUM", help="train: steps in all (default: the recipe's); more lengthen a run")
    parser.add_argument("--every", type=int, default=1, metavar="NUM", help="measure: only each NUM-th recording (default: all)")
    parser.add_argument(
        "--out", type=Path, default=SHIPPED_VOCODER, metavar="DIR", help="publish: where to (default: data/vocoder)"
    )


def _run(options: argparse.Namespace) -> None:
    {"train": _train, "measure": _measure, "publish": _publish}[options.part](options)


def _train(options: argparse.Namespace) -> None:
    from core.memory import keep_all
    from training.data import load_split
    from training.vocoder import train_vocoder
    from training.vocoder_run import VocoderRecipe, longer

    if options.data is None:
        raise CoreError("training needs --data, a folder that `python -m training prepare` wrote.")
    keep_all()
    recipe, split = longer(VocoderRecipe(), options.steps), load_split(options.data, "train")
    path = train_vocoder(recipe, split, options.run, seed=options.seed, data_folder=options.data, say=_say)
    print(f"trained to step {recipe.num_steps:,}: {path}")


def _measure(options: argparse.Namespace) -> None:
    from training.vocoder_publish import measure

    print(measure(options.run, every=max(1, options.every)).words)


def _publish(options: argparse.Namespace) -> None:
    from training.vocoder_publish import publish_vocoder

    print(publish_vocoder(options.run, options.out).words)


def _say(line: str) -> None:
    print(line, flush=True)

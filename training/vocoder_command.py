"""The command line of `vocoder`: train the small neural vocoder, measure it, publish it. Trains nothing itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.attacks.kind_records import SHIPPED_VOCODER


def add_vocoder(commands: argparse._SubParsersAction) -> None:
    """Adds the subcommand `vocoder`."""
    parser = commands.add_parser("vocoder", help="the neural vocoder of the attack lab: train, measure, publish")
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")

    train = parts.add_parser("train", help="train on bona fide speech; run it again to go on after an interruption")
    train.set_defaults(run_command=_train)
    train.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder that `prepare` wrote")
    train.add_argument("--run", type=Path, required=True, metavar="DIR", help="the run's folder")
    train.add_argument("--seed", type=int, default=0, help="decides all randomness (default: 0)")
    train.add_argument("--steps", type=int, metavar="NUM", help="steps in all (default: the recipe's); more lengthen a run")

    measure = parts.add_parser("measure", help="compare copies of dev's bona fide speech with those by Griffin-Lim")
    measure.set_defaults(run_command=_measure)
    measure.add_argument("--run", type=Path, required=True, metavar="DIR", help="the run's folder, which knows its data")
    measure.add_argument("--every", type=int, default=1, metavar="NUM", help="only each NUM-th recording (default: all)")

    publish = parts.add_parser("publish", help="measure, and ship it if it is as close to speech as Griffin-Lim")
    publish.set_defaults(run_command=_publish)
    publish.add_argument("--run", type=Path, required=True, metavar="DIR", help="the run's folder, which knows its data")
    publish.add_argument("--out", type=Path, default=SHIPPED_VOCODER, metavar="DIR", help="where to (default: data/vocoder)")


def _train(options: argparse.Namespace) -> None:
    from training.data import load_split
    from training.memory import keep_memory
    from training.vocoder import train_vocoder
    from training.vocoder_run import VocoderRecipe, longer

    keep_memory()
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

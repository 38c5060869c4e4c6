"""The reference, written from the code: commands with their options, front ends, networks, attacks, conditions, terms.

`python -m training.reference` prints it; `--write` puts it into docs/reference.md. It lies here to read both command lines.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from core.attacks.kinds import ATTACK_KINDS
from core.commands.program import build_parser as core_parser
from core.detector_config import FEATURE_KINDS
from core.evaluation.records import METRIC_TITLES
from core.models import MODELS
from core.stress.conditions import CONDITIONS
from core.terms import TERMS
from core.whole_files import replace_file
from training.__main__ import build_parser as training_parser

REFERENCE = Path(__file__).parents[1] / "docs" / "reference.md"


def reference() -> str:
    """The whole document, as Markdown."""
    lines = ["# Reference", "", "Written from the code by `python -m training.reference --write`; do not edit it."]
    for package, parser in (("core", core_parser()), ("training", training_parser())):
        lines += ["", f"## `python -m {package}`", *_commands(package, parser)]
    attacks = ((name, kind.family, f"{kind.title}. {kind.summary}") for name, kind in ATTACK_KINDS.items())
    conditions = ((name, condition.family, condition.summary) for name, condition in CONDITIONS.items())
    lines += ["", "## Front ends", "", ", ".join(f"`{name}`" for name in FEATURE_KINDS)]
    lines += ["", "## Networks", "", ", ".join(f"`{name}`" for name in MODELS)]
    lines += ["", "## Metrics of groups", "", *_table(("name", "what"), METRIC_TITLES.items())]
    lines += ["", "## Attacks", "", *_table(("name", "family", "how"), attacks)]
    lines += ["", "## Conditions", "", *_table(("name", "family", "what"), conditions)]
    lines += ["", "## Terms", "", *_table(("term", "sentence"), TERMS.items()), ""]
    return "\n".join(lines)


def main() -> int:
    """Prints the reference, or writes it."""
    parser = argparse.ArgumentParser(prog="python -m training.reference", description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"replace {REFERENCE.name}")
    if parser.parse_args().write:
        replace_file(REFERENCE, reference())
    else:
        sys.stdout.write(reference())
    return 0


def _commands(package: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help for choice in subparsers._choices_actions}
    for name, command in subparsers.choices.items():
        yield from ("", f"### `{name}`", "", f"{_sentence(summaries.get(name) or command.description)}", "")
        options = [action for action in command._actions if action.dest != "help"]
        if options:
            yield from _table(("option", "what"), ((_option(action), _help(action)) for action in options))


def _option(action: argparse.Action) -> str:
    shown = ", ".join(action.option_strings) or str(action.metavar or action.dest).upper()
    takes = action.option_strings and action.nargs != 0
    return f"`{shown} {action.metavar or action.dest.upper()}`" if takes else f"`{shown}`"


def _help(action: argparse.Action) -> str:
    values = {key: value for key, value in vars(action).items() if isinstance(value, str | int | float)}
    words = (action.help or "").replace("%%", "%") if "%(" not in (action.help or "") else action.help % values
    choices = f" One of {', '.join(map(str, action.choices))}." if action.choices else ""
    return f"{_sentence(words)}{choices}".strip()


def _sentence(words: str | None) -> str:
    words = " ".join((words or "").split())
    return f"{words[:1].upper()}{words[1:].removesuffix('.') if not words.endswith('...') else words[1:-1]}." if words else ""


def _table(heading: tuple[str, ...], rows: object) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield f"| {' | '.join('---' for _ in heading)} |"
    for row in rows:
        yield "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in row) + " |"


if __name__ == "__main__":
    sys.exit(main())

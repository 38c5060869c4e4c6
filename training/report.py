"""A comparison as Markdown with its pictures. Measures nothing."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.checkpoints import Figure
from core.errors import CoreError
from core.evaluation.resampling import PairedDifference
from training.compare import OURS, Answer, Comparison, SystemResult
from training.evaluate import MIN_PER_GROUP
from training.plots import draw_plots

REPORT_NAME = "REPORT.md"
WAYS_NAME = "ways.json"
"""What `heads --compare` wrote, where it lies beside the report."""
_MANY_TRIALS = 5_000
"""From here on one trial moves a rate by less than about 0.02 points, and two decimals mean something."""
_CAPTIONS = {
    "eer.png": "EER of every system with its 95 % interval, pooled and as the mean within sources.",
    "trade-off.png": "Missed spoofs against bona fide speech called spoof, at every threshold (axes are normal deviates).",
    "families.png": "EER by family of attack.",
    "cost.png": "EER against speed on two cores.",
}


def write_report(comparison: Comparison, out: Path) -> tuple[Path, ...]:
    """Writes `REPORT.md` and its pictures into a folder and replaces those already there.

    Everything is made in a scratch folder first, so that a failure leaves what was there.

    Raises:
        CoreError: the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".report-") as scratch:
            made = draw_plots(comparison, Path(scratch))
            text = Path(scratch, REPORT_NAME)
            ways = out / WAYS_NAME
            table = json.loads(ways.read_text(encoding="utf-8")) if ways.is_file() else {}
            text.write_text(report_text(comparison, [path.name for path in made], ways=table), encoding="utf-8")
            for path in (*made, text):
                os.replace(path, out / path.name)
    except OSError as error:
        raise CoreError(f"The report could not be written to {out}: {error.strerror}.") from None
    return tuple(out / path.name for path in (*made, text))


def report_text(comparison: Comparison, pictures: Sequence[str], *, ways: dict | None = None) -> str:
    """The report, Markdown.

    Args:
        pictures: file names of the plots that lie beside it.
        ways: what `training.head_choice` measured; a section of its own where there is any.
    """
    c = comparison
    parts = [
        f"# Systems on {c.split}",
        f"Made by `python -m training compare` on {time.strftime('%Y-%m-%d', time.gmtime())}. {c.num_bona_fide:,} bona fide and "
        f"{c.num_spoof:,} spoofed recordings of {c.num_speakers:,} speakers. EER: the share of wrong calls where both kinds of "
        "error are equally frequent; 50 % is guessing. In brackets are 95 % intervals: bootstrap over speakers, 1,000 resamples, "
        "for the mean within sources over sources.",
        _absent_words(c),
        "## All systems",
        _systems_table(c),
        f"Accuracy is taken at a spoof score of 0 nats. Always saying spoof is right as often as there are spoofs "
        f"({_rate(c.num_spoof / (c.num_bona_fide + c.num_spoof), c)}). Cllr is in bits: 0 is perfect, 1 says nothing. "
        f"min t-DCF: {'1 says nothing.' if c.has_asv else _NO_ASV + '.'}",
        *(f"![{_CAPTIONS[name]}]({name})\n\n{_CAPTIONS[name]}" for name in pictures if name in ("eer.png", "trade-off.png")),
        *_known_systems(c),
        *_costs(c, pictures),
        *_answers(c),
        *_ways(ways or {}),
        *_probes(c),
        "## By family of attack",
        f"EER of each family with at least {MIN_PER_GROUP} recordings against all bona fide.",
        _groups_table(c, lambda result: [f for f in result.figures if f.name in _families(result)], strip="EER, "),
        *(f"![{_CAPTIONS[name]}]({name})" for name in pictures if name == "families.png"),
        "## By attack",
        f"EER of each attack with at least {MIN_PER_GROUP} recordings against all bona fide. Few recordings make wide intervals.",
        _groups_table(c, lambda result: result.by_attack),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _ways(ways: dict) -> Iterable[str]:
    if not ways:
        return
    yield "## How the heads on frozen features were chosen"
    yield (
        "EER in % of heads on Whisper's features alone (`python -m training heads --compare`; one seed, so that differences below "
        "about half a point are chance). Left-out sources: five folds over the training's sources, each scored by heads that never "
        "saw it. Test took no part in the choice."
    )
    splits = list(next(iter(ways.values()))["eer"])
    rows = [(name, *(f"{100 * row['eer'][split]:.1f}" for split in splits)) for name, row in ways.items()]
    yield _table(("way", *splits), rows)


_NO_ASV = "no ASV scores for this corpus"


def _absent_words(c: Comparison) -> str:
    return (
        f"Left out, because no score file of theirs was given: {', '.join(f'`{name}`' for name in c.absent)}." if c.absent else ""
    )


def _systems_table(c: Comparison) -> str:
    heads = ("system", "EER", "EER, mean within sources", "accuracy", "balanced accuracy", "min t-DCF", "Cllr (bits)")
    rows = []
    for result in c.results:
        tandem = result.figure("min t-DCF")
        cost = _number_cell(tandem) if tandem else _NO_ASV
        eers = (result.figure("EER"), result.within_sources)
        rates = [_rate_cell(f, c) for f in (*eers, result.figure("accuracy at 0"), result.figure("balanced accuracy at 0"))]
        rows.append((f"`{result.system.name}`", *rates, cost, _number_cell(result.figure("Cllr (bits)"))))
    return _table(heads, rows)


def _known_systems(c: Comparison) -> Iterable[str]:
    kinds = [kind for kind in ("known", "unknown") if any(r.figure(f"EER, {kind} systems") for r in c.results)]
    if not kinds:
        return
    yield "## Systems that training knew, and others"
    columns = {kind: [r.figure(f"EER, {kind} systems") for r in c.results] for kind in kinds}
    heads = ("system", *(f"EER, {kind} ({figures[0].num_spoof:,} spoofs)" for kind, figures in columns.items()))
    names = [f"`{r.system.name}`" for r in c.results]
    yield _table(heads, [(name, *(_rate_cell(f, c) for f in row)) for name, *row in zip(names, *columns.values(), strict=True)])


def _costs(c: Comparison, pictures: Sequence[str]) -> Iterable[str]:
    measured = [r for r in c.results if r.cost is not None]
    if not measured:
        return
    num_cores = measured[0].cost.num_cores
    yield "## Cost"
    rows = [
        (f"`{r.system.name}`", f"{r.cost.num_parameters:,}", _millions(r.cost.num_macs), f"{r.cost.segments_per_s:,.0f}")
        for r in measured
    ]
    yield _table(("system", "parameters", "MACs (millions)", f"segments/s on {num_cores} cores"), rows)
    yield (
        "MACs are the network's for one segment of 4 s. Speed is front end and network in ONNX Runtime, one thread per core, all "
        "systems in turn in one run; other work on the machine slows all alike. Systems without a detector folder have no row."
    )
    yield from (f"![{_CAPTIONS[name]}]({name})" for name in pictures if name == "cost.png")


def _answers(c: Comparison) -> Iterable[str]:
    if not c.answers:
        return
    yield "## What differs, and whether it is chance"
    yield (
        "Difference: the first system's EER minus the second's in points, on the same resamples of the same trials; negative means "
        "that the first is better. p is two-sided; it is not corrected for the number of comparisons "
        f"({len(c.answers)})."
    )
    heads = ("question", "first", "second", "EER, difference", "p", "mean within sources, difference", "p")
    rows = [
        (a.title, f"`{a.first}`", f"`{a.second}`", *_difference_cells(a.pooled, c), *_difference_cells(a.within_sources, c))
        for a in c.answers
    ]
    yield _table(heads, rows)
    yield "\n".join(f"- {_answer_words(answer, c)}" for answer in c.answers)


def _answer_words(answer: Answer, c: Comparison) -> str:
    first, second = answer.first_eer.value, answer.second_eer.value
    if answer.pooled.p_value >= 0.05:
        said = f"no difference is shown between `{answer.first}` and `{answer.second}`"
    else:
        said = f"`{answer.first}` is {'better' if first < second else 'worse'} than `{answer.second}`"
    ratio = f", {first / second:.2f} times" if second > 0 and OURS in answer.first.replace("-", "_") else ""
    overlap = "overlap" if answer.intervals_overlap else "do not overlap"
    return f"{answer.title}: {said} (EER {_rate(first, c)} against {_rate(second, c)}{ratio}; their own intervals {overlap})."


def _probes(c: Comparison) -> Iterable[str]:
    if not c.probes:
        return
    ours = next((r for r in c.results if r.system.name.replace("-", "_") == OURS), c.results[0] if c.results else None)
    yield "## What shortcuts give away"
    yield (
        "Each probe hears nothing but one property of a recording: fitted on train, chosen and calibrated on dev. A probe well "
        "below 50 % shows what a detector could learn without hearing any trace of synthesis."
    )
    shown = [(f"`{r.system.name}`", r) for r in c.probes]
    if ours is not None:
        shown.append((f"`{ours.system.name}`, for comparison", ours))
    rows = [(name, _rate_cell(r.figure("EER"), c), _rate_cell(r.within_sources, c)) for name, r in shown]
    yield _table(("probe", "EER", "EER, mean within sources"), rows)


def _families(result: SystemResult) -> set[str]:
    """Names of the figures that are of a family of attacks."""
    families = set(result.system.index["family"].dropna())
    return {f"EER, {family}" for family in families}


def _groups_table(c: Comparison, figures_of_result, *, strip: str = "") -> str:
    columns = [list(figures_of_result(result)) for result in c.results]
    if not columns or not columns[0]:
        return "No group is that large."
    rows = []
    for i, first in enumerate(columns[0]):
        cells = [_rate_cell(column[i], c, digits=1) for column in columns]
        rows.append((first.name.removeprefix(strip), f"{first.num_spoof:,}", *cells))
    return _table(("", "spoofs", *(f"`{result.system.name}`" for result in c.results)), rows)


def _rate(value: float, c: Comparison, *, digits: int | None = None) -> str:
    digits = digits if digits is not None else 2 if c.num_bona_fide + c.num_spoof >= _MANY_TRIALS else 1
    return f"{100 * value:.{digits}f} %"


def _rate_cell(figure: Figure | None, c: Comparison, *, digits: int | None = None) -> str:
    if figure is None:
        return "-"
    low, high = (_rate(x, c, digits=digits).removesuffix(" %") for x in (figure.low, figure.high))
    return f"{_rate(figure.value, c, digits=digits)} ({low} to {high})"


def _number_cell(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _difference_cells(difference: PairedDifference | None, c: Comparison) -> tuple[str, str]:
    if difference is None:
        return "-", "-"
    digits = 2 if c.num_bona_fide + c.num_spoof >= _MANY_TRIALS else 1
    value, low, high = (f"{100 * x:+.{digits}f}" for x in (difference.value, difference.low, difference.high))
    return f"{value} ({low} to {high})", f"{difference.p_value:.3f}"


def _millions(count: int) -> str:
    return f"{count / 1e6:,.0f}" if count >= 1e7 else f"{count / 1e6:.2g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)

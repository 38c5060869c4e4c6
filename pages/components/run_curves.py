"""Training runs side by side: which ones, where they stand, and their curves, live while one of them runs."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.runs.figures import RUN_COLOURS, accuracy_figure, eer_figure, loss_figure, run_colour, throughput_figure
from core.runs.folders import Run, RunListing, RunStatus, find_runs, runs_folder
from core.runs.metrics import Metrics
from pages.components import resources
from pages.components.frame import escaped, plain, telling_failures

REFRESH_S = 2.0
_NUM_FIRST = 4
"""Runs that are compared at first: the newest."""
_FIGURES = {
    "loss": (loss_figure, "Loss of train and dev over epochs"),
    "eer": (eer_figure, "EER on dev over epochs"),
    "accuracy": (accuracy_figure, "Accuracy of train and dev over epochs"),
    "throughput": (throughput_figure, "Samples per second over epochs"),
}
_HOW_TO = """No runs yet. A run is started on the command line, in Earwitness's folder:

```
python -m training prepare SOURCE data-packed
python -m training train earwitness --data data-packed --run runs/mine
```

Its curves then appear here while it trains. `SOURCE` is a corpus such as ASVspoof 2019 LA (a folder or its zip)."""


def show_how_to_start() -> None:
    """The empty state: how a run is made, and where this page looks."""
    st.info(_HOW_TO, icon=":material/model_training:")
    st.caption(f"Runs are looked for in {escaped(str(runs_folder()))}. EARWITNESS\\_RUNS names another folder.")
    st.button("Look again", icon=":material/refresh:")


def show_problems(listing: RunListing) -> None:
    """What lies in the runs folder and cannot be read."""
    for problem in listing.problems:
        st.warning(escaped(problem), icon=":material/folder_off:")


def choose_runs(listing: RunListing) -> tuple[Run, ...]:
    """A widget to choose the runs to compare."""
    names = [run.name for run in listing.runs]
    chosen = st.multiselect(
        "Runs to compare",
        names,
        default=names[:_NUM_FIRST],
        format_func=plain,
        max_selections=len(RUN_COLOURS),
        key="runs",
        placeholder="Choose runs",
    )
    if not chosen:
        st.info("Choose one run or more to see curves and configurations.")
    return tuple(run for run in listing.runs if run.name in chosen)


def show_curves(runs: tuple[Run, ...]) -> None:
    """The runs' states and curves; polls while one of them runs, redraws the page when that changes."""
    is_live = any(run.is_live for run in runs)
    names = {run.name for run in runs}

    @st.fragment(run_every=REFRESH_S if is_live else None)
    def curves() -> None:
        with telling_failures():
            now = tuple(run for run in find_runs(runs_folder()).runs if run.name in names) if is_live else runs
            measured = [(run.name, resources.run_metrics(run)) for run in now]
            _show_states(now, [metrics for _, metrics in measured])
            _show_figures(measured)
            if is_live and not any(run.is_live for run in now):
                st.rerun()

    curves()


def _show_states(runs: tuple[Run, ...], measured: list[Metrics]) -> None:
    rows = [_row(run, metrics) for run, metrics in zip(runs, measured, strict=True)]
    colours = {row["Run"]: f"color: {run_colour(i)}; font-weight: 600" for i, row in enumerate(rows)}
    per_cent = st.column_config.NumberColumn(format="%.1f %%")
    st.dataframe(
        pd.DataFrame(rows).style.map(lambda name: colours.get(name, ""), subset=["Run"]),
        hide_index=True,
        column_config={
            "Run": st.column_config.TextColumn(help="In the colour of its curves."),
            "Best EER on dev": st.column_config.NumberColumn(
                format="%.2f %%", help="The lowest so far; these weights are published."
            ),
            "Accuracy (train)": per_cent,
            "Accuracy (dev)": per_cent,
            "after epoch": st.column_config.NumberColumn(format="%.0f"),
            "Loss (train)": st.column_config.NumberColumn(format="%.4f"),
            "Samples/s": st.column_config.NumberColumn(format="%.0f"),
            "Waits for data": st.column_config.NumberColumn(
                format="%.1f %%", help="Share of a training step spent on getting data."
            ),
        },
        alt="The chosen runs with their states and newest figures",
    )
    for run in runs:
        if run.status is RunStatus.INTERRUPTED:
            words = "was interrupted. The command that started it goes on where it stopped."
            st.warning(f"**{escaped(run.name)}** {words} {escaped(run.message)}", icon=":material/power_off:")
        elif run.status is RunStatus.FAILED:
            st.error(f"**{escaped(run.name)}** failed: {escaped(run.message)}", icon=":material/error:")
        elif run.message:
            st.caption(f"{escaped(run.name)}: {escaped(run.message)}")


def _row(run: Run, metrics: Metrics) -> dict[str, object]:
    last, dev, best = (metrics.train or (None,))[-1], (metrics.dev or (None,))[-1], metrics.best
    return {
        "Run": f"● {plain(run.name)}",
        "State": str(run.status),
        "Epochs": f"{run.epoch} of {run.num_epochs}",
        "Best EER on dev": 100 * best.eer if best else None,
        "after epoch": best.epoch if best else None,
        "Loss (train)": last.loss if last else None,
        "Accuracy (train)": 100 * last.accuracy if last else None,
        "Accuracy (dev)": 100 * dev.accuracy if dev else None,
        "Samples/s": last.samples_per_s if last else None,
        "Waits for data": 100 * last.data_share if last else None,
    }


def _show_figures(measured: list[tuple[str, Metrics]]) -> None:
    if not any(metrics.train or metrics.dev for _, metrics in measured):
        st.info("Nothing measured yet. The first points come after the first steps.")
        return
    columns = st.columns(2)
    for i, (name, (figure, words)) in enumerate(_FIGURES.items()):
        columns[i % 2].plotly_chart(figure(measured), key=f"curve-{name}", alt=words)
    st.caption("Thin lines: train. Thick lines with points: dev, after each epoch. Stars: the epoch whose weights are kept.")

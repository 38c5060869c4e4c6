"""Two systems against each other: who is better where, by more than chance, and on which recordings they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from core.evaluation.comparison import score_scatter
from core.evaluation.comparison_figures import difference_figure, scatter_figure
from core.evaluation.comparison_records import ComparisonRow, Disagreement, SystemComparison
from core.evaluation.frames import scatter_frame
from core.evaluation.trial_attributes import GROUPING_TITLES, available_groupings
from core.store.store import Store
from pages.components import resources
from pages.components.error_list import show_recording
from pages.components.figure_view import show_figure
from pages.components.frame import escaped, plain
from pages.components.system_picker import Chosen


def compare(chosen: Chosen, thresholds: Mapping[str, float]) -> SystemComparison:
    """The comparison, after its rows were chosen."""
    groupings = available_groupings(chosen.systems[0].trial_set)
    grouping = st.selectbox("Rows", groupings, format_func=GROUPING_TITLES.get, key=f"compare-grouping-{len(groupings)}", width=300)
    return resources.comparison(chosen.fingerprint, chosen.systems, grouping=grouping, thresholds=thresholds)


def show_answer(chosen: Chosen, comparison: SystemComparison) -> None:
    """Which is better, in a sentence per total."""
    for row in comparison.totals:
        words = "there is no EER to compare; it needs both classes." if row.difference is None else _sentence(comparison, row)
        st.info(f"{escaped(row.title)}: {words}", icon=":material/balance:")
    for warning in (words for words in comparison.warnings if words not in chosen.told):
        st.caption(f":orange[:material/warning:] {escaped(warning)}")


def show_differences(comparison: SystemComparison) -> None:
    """The figure and the table of the rows."""
    show_figure(
        difference_figure(comparison),
        key="differences",
        words=f"Difference of EER between {comparison.first} and {comparison.second} in each row",
        numbers=comparison.to_frame(),
    )
    st.dataframe(
        _rows(comparison),
        hide_index=True,
        key="compare-rows",
        placeholder="–",
        height="content" if len(comparison.rows) <= 25 else 700,
        column_config={
            GROUPING_TITLES[comparison.grouping]: st.column_config.TextColumn(pinned=True, width=150),
            "First": st.column_config.NumberColumn(f"EER {plain(comparison.first)}", format="%.2f %%"),
            "Second": st.column_config.NumberColumn(f"EER {plain(comparison.second)}", format="%.2f %%"),
            "Difference": st.column_config.NumberColumn(format="%+.2f", help="First minus second, in points."),
            "p": st.column_config.NumberColumn(format="%.3f", help="Of the EER difference, after Holm's correction."),
            "Only first": st.column_config.NumberColumn(f"Only {plain(comparison.first)} wrong", format="localized"),
            "Only second": st.column_config.NumberColumn(f"Only {plain(comparison.second)} wrong", format="localized"),
            "Both": st.column_config.NumberColumn("Both wrong", format="localized"),
            "McNemar p": st.column_config.NumberColumn(
                format="%.3f", help="Of the errors at the thresholds; takes trials for independent."
            ),
            "Trials": st.column_config.NumberColumn(format="localized"),
        },
        alt="EERs, differences and errors of the two systems in each row",
    )
    st.caption(escaped(comparison.interval_method))


def show_scatter(chosen: Chosen, comparison: SystemComparison) -> None:
    """Scores against scores."""
    scatter = score_scatter(*chosen.systems)
    words = f"Scores of {scatter.first} against those of {scatter.second}"
    show_figure(scatter_figure(scatter, comparison.thresholds), key="scatter", words=words, numbers=scatter_frame(scatter))
    shown = (
        f"{len(scatter.utterances):,} of {scatter.num_common:,} recordings, chosen at random"
        if (len(scatter.utterances) < scatter.num_common)
        else f"{scatter.num_common:,} recordings"
    )
    st.caption(
        f"{shown}; correlation {scatter.correlation:.3f}. Dashed: thresholds; upper left and lower right of them the two disagree."
    )


def show_disagreements(store: Store, comparison: SystemComparison) -> None:
    """Recordings that one gets right and the other wrong; the chosen one plays."""
    trials = comparison.disagreements
    if not trials:
        st.success("At these thresholds the two say the same of every recording.", icon=":material/check_circle:")
        return
    st.caption(
        f"{'The widest ' if len(trials) < comparison.num_disagreements else ''}{len(trials):,} of {comparison.num_disagreements:,} "
        f"recordings on which one is right and the other wrong, of {comparison.num_common:,}. Select one to hear it."
    )
    event = st.dataframe(
        _disagreements(trials, comparison),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"disagreements-{comparison.first}-{comparison.second}-{hash(trials)}",
        height=min(420, 38 + 35 * len(trials)),
        column_config={
            "First": st.column_config.NumberColumn(plain(comparison.first), format="%+.3f"),
            "Second": st.column_config.NumberColumn(plain(comparison.second), format="%+.3f"),
            "Margin": st.column_config.NumberColumn(
                format="%.2f", help="How far apart they stand from their thresholds, in standard deviations of their scores."
            ),
        },
        alt="Recordings on which the two systems disagree",
    )
    if event.selection.rows:
        show_recording(store, trials[event.selection.rows[0]])


def _sentence(comparison: SystemComparison, row: ComparisonRow) -> str:
    """Who is better, by how much, and how sure that is."""
    sides = [(row.first, escaped(comparison.first)), (row.second, escaped(comparison.second))]
    (low, better), (high, worse) = sides if row.difference.value < 0 else reversed(sides)
    eers = f"EER {100 * low:.2f} % against {100 * high:.2f} %"
    is_better = f"**{better}** is better than **{worse}**: {eers}"
    words = is_better if row.is_significant else f"No difference is shown between **{better}** and **{worse}**: {eers}"
    ends = f"95 % {100 * row.difference.low:+.2f} to {100 * row.difference.high:+.2f}"
    difference = f"{sides[0][1]} minus {sides[1][1]} {100 * row.difference.value:+.2f} points ({ends})"
    return f"{words}; {difference}, p {row.p_adjusted:.3f}."


def _rows(comparison: SystemComparison) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                GROUPING_TITLES[comparison.grouping]: plain(row.title),
                "First": None if row.first is None else 100 * row.first,
                "Second": None if row.second is None else 100 * row.second,
                "Difference": None if row.difference is None else 100 * row.difference.value,
                "p": row.p_adjusted,
                "Better": _better(comparison, row),
                "Only first": row.errors.only_first,
                "Only second": row.errors.only_second,
                "Both": row.errors.both,
                "McNemar p": row.errors.p_value,
                "Trials": row.num_trials,
            }
            for row in comparison.rows
        ]
    )


def _better(comparison: SystemComparison, row: ComparisonRow) -> str:
    if not row.is_significant:
        return ""
    return plain(comparison.first if row.difference.value < 0 else comparison.second)


def _disagreements(trials: Sequence[Disagreement], comparison: SystemComparison) -> pd.DataFrame:
    names = {"first": comparison.first, "second": comparison.second}
    return pd.DataFrame(
        {
            "Utterance": [plain(trial.utterance) for trial in trials],
            "Truth": [trial.label for trial in trials],
            "Attack": [plain(trial.attack or "") for trial in trials],
            "Right": [plain(names[trial.right]) for trial in trials],
            "First": [trial.first_score for trial in trials],
            "Second": [trial.second_score for trial in trials],
            "Margin": [trial.margin for trial in trials],
        }
    )

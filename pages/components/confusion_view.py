"""Confusion matrices side by side, and what lies behind them: score histograms, DET, reliability, verdicts per attack."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from core.evaluation.confusion import always_spoof, confusion_matrix, score_histogram, verdict_table
from core.evaluation.curve_figures import det_figure, reliability_figure, score_spread_figure
from core.evaluation.figures import confusion_figure, verdict_figure
from core.evaluation.frames import confusion_frame, det_frame, histogram_frame, reliability_frame, verdict_frame
from core.evaluation.operating_points import verdict_thresholds
from core.evaluation.system_records import System
from pages.components import resources
from pages.components.figure_view import show_figure
from pages.components.frame import escaped
from pages.components.system_picker import Chosen

_MATRIX_WIDTH = 290
_ERRORS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def show_matrices(chosen: Chosen, thresholds: Mapping[str, float]) -> None:
    """Each system's matrix beside that of a detector that always says spoof."""
    matrices = [confusion_matrix(system, thresholds[system.name]) for system in chosen.systems]
    baseline = always_spoof(chosen.systems[0].trial_set)
    row = st.container(horizontal=True, gap="small")
    for i, matrix in enumerate([*matrices, baseline]):
        with row.container(width=_MATRIX_WIDTH, border=True):
            words = f"Confusion matrix of {matrix.system}: rows are the truth, columns what it says"
            show_figure(
                confusion_figure(matrix),
                key=f"confusion-{i + 1}",
                words=words,
                numbers=confusion_frame([matrix]),
                title=escaped(matrix.system),
            )
            st.caption(escaped(matrix.sentence))
            if matrix.not_scored:
                st.caption(f"{matrix.not_scored:,} trials have no score and are in no cell.")
    st.caption("Rows: what a recording is. Columns: what the system says. Blue is right, orange wrong; shares are of the row.")


def show_histograms(chosen: Chosen, thresholds: Mapping[str, float]) -> None:
    """How the scores of each system spread in the two classes, with its threshold."""
    for i, (system, place) in enumerate(zip(chosen.systems, _places(chosen))):
        histogram = score_histogram(system)
        with place:
            show_figure(
                score_spread_figure(histogram, {"threshold": thresholds[system.name]}),
                key=f"histogram-{i + 1}",
                words=f"Scores of {system.name} for bona fide speech and spoofs",
                numbers=histogram_frame(histogram),
                title=escaped(system.name),
            )
    st.caption("Each class by itself, so that the larger does not hide the smaller. The outermost bars hold what lies beyond.")


def show_det(chosen: Chosen, thresholds: Mapping[str, float]) -> None:
    """All systems' trade-off between misses and false alarms."""
    lines = [
        resources.curve(chosen.fingerprint, system, name=system.name, threshold=thresholds[system.name])
        for system in chosen.systems
    ]
    show_figure(det_figure(lines), key="det", words="Spoofs missed against bona fide called spoof", numbers=det_frame(lines))
    st.caption("Circle: where both errors are equal (EER). Diamond: the threshold chosen above. Lower left is better.")


def show_reliability(chosen: Chosen) -> None:
    """Whether scores are what they claim: log-likelihood ratios."""
    curves = {system.name: resources.reliability_of(chosen.fingerprint, system, name=system.name) for system in chosen.systems}
    show_figure(
        reliability_figure(curves),
        key="reliability",
        words="Observed share of spoofs against the probability that the scores claim",
        numbers=reliability_frame(curves),
    )
    st.caption(
        "A score taken as log-likelihood ratio claims a probability of spoof, here at equal prior. On the diagonal the claim "
        "holds: of recordings said to be spoofs at 80 %, 80 % are. Imported scores need not be log-likelihood ratios; theirs may "
        "lie off it however well they tell the classes apart. Bars are 95 % intervals (Wilson)."
    )


def show_verdicts(chosen: Chosen) -> None:
    """Verdicts of each system per attack."""
    max_error = None
    if any(system.thresholds is None for system in chosen.systems):
        max_error = st.select_slider(
            "Both errors at most",
            _ERRORS,
            value=0.01,
            format_func=lambda share: f"{100 * share:g} %",
            key="verdict-error",
            persist_state="session",
            help="Imported scores have no verdicts. The band between bona fide and spoof is made as narrow as keeps both kinds of "
            "wrong verdicts at this share on this set; what falls into it is inconclusive.",
        )
    for i, (system, place) in enumerate(zip(chosen.systems, _places(chosen))):
        with place:
            _show_verdicts(system, max_error, key=f"verdicts-{i + 1}")
    st.caption("Refused: no score. A refusal is never counted as bona fide. Shares are of the row.")


def _show_verdicts(system: System, max_error: float | None, *, key: str) -> None:
    table = verdict_table(system, verdict_thresholds(system, max_error))
    show_figure(
        verdict_figure(table),
        key=key,
        words=f"Verdicts of {system.name} on bona fide speech and on each attack",
        numbers=verdict_frame(table),
        title=escaped(system.name),
    )
    limits = f"Bona fide below {table.thresholds.lower:.3f}, spoof from {table.thresholds.upper:.3f} on"
    st.caption(escaped(f"{limits}; {'its own limits' if system.thresholds else 'limits from this very set'}."))


def _places(chosen: Chosen) -> list[st.delta_generator.DeltaGenerator]:
    """Two in a row where there are several."""
    num = len(chosen.systems)
    return [place for _ in range(0, num, 2) for place in st.columns(2 if num > 1 else 1)]

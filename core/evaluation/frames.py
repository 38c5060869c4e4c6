"""What the figures of evaluations draw, as tables for CSV: one row per cell, bin, or point. No arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from core.evaluation.comparison_records import ScoreScatter
from core.evaluation.confusion import ConfusionMatrix, ScoreHistogram, VerdictTable
from core.evaluation.curves import ReliabilityCurve
from core.evaluation.operating_points import DetLine


def confusion_frame(matrices: Sequence[ConfusionMatrix]) -> pd.DataFrame:
    """A row per system."""
    names = ("system", "threshold", "true_spoof", "missed", "false_alarm", "true_bona_fide", "not_scored")
    names += ("spoof_share_right", "bona_fide_share_right", "accuracy", "balanced_accuracy")
    return pd.DataFrame([{name: getattr(matrix, name) for name in names} for matrix in matrices])


def verdict_frame(table: VerdictTable) -> pd.DataFrame:
    """A row per attack."""
    names = ("key", "title", "description", "num_bona_fide", "num_inconclusive", "num_spoof", "num_refused", "num_trials")
    rows = [{name: getattr(row, name) for name in names} for row in table.rows]
    return pd.DataFrame(rows).assign(system=table.system, lower=table.thresholds.lower, upper=table.thresholds.upper)


def histogram_frame(histogram: ScoreHistogram) -> pd.DataFrame:
    """A row per bin."""
    return pd.DataFrame(
        {
            "system": histogram.system,
            "low": histogram.edges[:-1],
            "high": histogram.edges[1:],
            "num_bona_fide": histogram.num_bona_fide,
            "num_spoof": histogram.num_spoof,
            "bona_fide_share": histogram.bona_fide_share,
            "spoof_share": histogram.spoof_share,
        }
    )


def det_frame(lines: Sequence[DetLine]) -> pd.DataFrame:
    """A row per point of a curve, then the marked points."""
    curves = [
        pd.DataFrame(
            {
                "system": line.name,
                "point": "curve",
                "threshold": line.curve.thresholds,
                "false_alarm": line.curve.false_alarm,
                "miss": line.curve.miss,
            }
        )
        for line in lines
    ]
    marks = [
        {
            "system": line.name,
            "point": mark.title,
            "threshold": mark.threshold,
            "false_alarm": mark.false_alarm,
            "miss": mark.miss,
        }
        for line in lines
        for mark in line.marks
    ]
    return pd.concat([*curves, pd.DataFrame(marks)], ignore_index=True)


def reliability_frame(curves: Mapping[str, ReliabilityCurve]) -> pd.DataFrame:
    """A row per bin of each system."""
    return pd.DataFrame([{"system": name} | asdict(item) for name, curve in curves.items() for item in curve.bins])


def scatter_frame(scatter: ScoreScatter) -> pd.DataFrame:
    """A row per point."""
    return pd.DataFrame(
        {
            "utterance": scatter.utterances,
            "label": scatter.labels,
            "attack": scatter.attacks,
            scatter.first: scatter.first_scores,
            scatter.second: scatter.second_scores,
        }
    )

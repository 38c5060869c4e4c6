"""core.evaluation.metrics_benchmark: the report holds what was measured, and the plain way gives the bootstrap's figures."""

from __future__ import annotations

import numpy as np
import pytest

from core.evaluation import metrics_benchmark
from core.evaluation.attack_curves import attack_curves
from core.evaluation.draws import resampled_weights


def test_report_on_few_trials() -> None:
    report = metrics_benchmark.run_metrics_benchmark(num_resamples=4, num_plain=1, scale=0.01)
    assert "711 trials, 13 attacks and all together, 4 resamples" in report
    rows = [line.split("|")[1:-1] for line in report.splitlines() if line.startswith(("| trials", "| speakers"))]
    assert [row[0].strip() for row in rows] == ["trials", "speakers"]
    assert all(float(row[4].strip(" *")) >= 0 for row in rows)


@pytest.mark.parametrize("by_speaker", [False, True])
def test_both_ways_give_the_same_figures(by_speaker: bool) -> None:
    scores, is_spoof, attacks, speakers = metrics_benchmark._made_up_trials(0.01)
    groups = speakers if by_speaker else None
    plain = metrics_benchmark._plain(scores, is_spoof, attacks, groups=groups, num_resamples=3)
    weights = np.concatenate(list(resampled_weights(is_spoof, groups=groups, num_resamples=3, seed=0)))
    assert attack_curves(scores, is_spoof, attacks).eers(weights).ravel().tolist() == plain

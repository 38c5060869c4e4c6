"""core.reports: figures in words."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from core.checkpoints import Figure
from core.reports import figure_words


@pytest.mark.parametrize(
    ("name", "ends", "words"),
    [
        ("EER", (0.174, 0.129, 0.218), ("17.4 %", "12.9 % to 21.8 %")),
        ("Cllr (bits)", (0.5871, 0.458, 0.739), ("0.587", "0.458 to 0.739")),
        ("EER, classical-vocoder", (0.0, 0.0, 0.238), ("0.0 %", "0.0 % to 23.8 %")),
        ("EER, griffin-lim", (0.0, 0.0, 0.0), ("0.0 %", "0.0 % to 33.6 %")),
    ],
)
def test_figures_in_words(name: str, ends: tuple[float, float, float], words: tuple[str, str]) -> None:
    value, low, high = ends
    figure = Figure(split="test", name=name, value=value, low=low, high=high, num_bona_fide=380, num_spoof=9)
    assert figure_words(figure) == words


def test_no_error_of_nine_is_no_proof() -> None:
    figure = Figure(split="test", name="EER", value=0.0, low=0.0, high=0.0, num_bona_fide=380, num_spoof=9)
    high = binomtest(0, 9).proportion_ci(0.95, method="exact").high
    assert figure_words(figure)[1] == f"0.0 % to {100 * high:.1f} %"

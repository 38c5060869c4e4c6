"""core.evaluation.attack_info: the table of ASVspoof 2019's attacks, and published figures as they were printed."""

from __future__ import annotations

import pytest
from scored_sets import published_set, trials

from core.evaluation.attack_info import ATTACKS, EVAL_PART, TRAIN_PART, is_asvspoof2019_la, reference_columns

PRINTED = {
    "human": (0.9110, 0.9547),
    "A07": (0.9988, 0.9833),
    "A08": (None, None),
    "A09": (0.9988, 0.9996),
    "A10": (0.8115, 0.9580),
    "A11": (0.9424, 0.9656),
    "A12": (0.7912, 0.9762),
    "A13": (0.7597, 0.9909),
    "A14": (0.9278, 0.9996),
    "A15": (0.9174, 0.9657),
    "A16": (0.9424, 0.9656),
    "A17": (0.9364, 0.7322),
    "A18": (0.5345, 0.2441),
    "A19": (0.9846, 0.8459),
    "total": (0.90, 0.91),
}
AASIST = ".80 .44 .00 1.06 .31 .91 .10 .14 .65 .72 1.52 3.40 .62"


def test_published_columns_are_as_printed() -> None:
    multiply, three_thousand, aasist = reference_columns(trials("bs", attack=[None, "A07"]))
    assert (multiply.name, three_thousand.name) == ("CNN-Multiply (published)", "CNN-3000 (published)")
    for key, (first, second) in PRINTED.items():
        assert (multiply.cell(key).value, three_thousand.cell(key).value) == (first, second)
    assert [f"{100 * aasist.values[f'A{7 + i:02d}']:.2f}" for i in range(13)] == [f"{float(word):.2f}" for word in AASIST.split()]
    assert (multiply.metric, aasist.metric) == ("accuracy", "eer")
    assert "arXiv:2110.01200" in aasist.source


def test_what_was_not_reported_is_missing_with_a_note() -> None:
    multiply, _, aasist = reference_columns(trials("bs", attack=[None, "A07"]))
    for cell in (multiply.cell("A08"), aasist.cell("total"), aasist.cell("human"), multiply.cell("nonsense")):
        assert (cell.value, cell.low, cell.note) == (None, None, "Not reported.")


@pytest.mark.parametrize(
    "trial_set",
    [
        trials("bs", attack=[None, "A01"]),
        trials("bs", attack=[None, "A20"]),
        trials("bs"),
        trials("bs", attack=[None, "A09"], utterance=["D_0000000001", "D_0000000002"]),
        trials("bs", attack=[None, "A07"], codec=["alaw/ita_tx", "alaw/ita_tx"]),
    ],
    ids=["train", "unheard", "untold", "ASVspoof 5", "2021, sent through codecs"],
)
def test_other_sets_have_no_published_columns(trial_set: object) -> None:
    assert reference_columns(trial_set) == ()


def test_the_table_is_whole() -> None:
    assert list(ATTACKS) == [f"A{number:02d}" for number in range(1, 20)]
    assert [code for code, info in ATTACKS.items() if info.part == TRAIN_PART] == ["A01", "A02", "A03", "A04", "A05", "A06"]
    assert ATTACKS["A07"].part == EVAL_PART
    assert {info.family for info in ATTACKS.values()} == {"TTS", "VC", "TTS-VC"}
    assert {info.generator_class for info in ATTACKS.values()} == {
        "neural",
        "vocoder",
        "Griffin-Lim",
        "concatenation",
        "spectral filtering",
        "waveform filtering",
    }
    assert [code for code, info in ATTACKS.items() if info.is_known] == ["A01", "A02", "A03", "A04", "A05", "A06", "A16", "A19"]
    assert [code for code, info in ATTACKS.items() if info.family == "TTS-VC"] == ["A13", "A14", "A15"]
    assert ATTACKS["A11"].description == "TTS: Tacotron 2 with speaker embeddings; waveform: Griffin-Lim (Griffin-Lim)"


def test_the_published_protocol_is_recognised() -> None:
    assert is_asvspoof2019_la(published_set())

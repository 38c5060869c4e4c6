"""core.protocols: ASVspoof lines as they are, and words for lines that are not."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from core.errors import ProtocolError
from core.names import utterance_of
from core.protocols import ProtocolChoices, Trial, parse_protocol, read_protocol

LINES = "LA_0069 LA_D_1047731 - - bonafide\nLA_0071 LA_D_1340209 - A04 spoof\n\nPA_0079 PA_T_0005401 aaa AB spoof\n"


def write(folder: Path, text: str, name: str = "protocol.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_trials_by_hand(tmp_path: Path) -> None:
    trials = read_protocol(write(tmp_path, LINES))
    assert list(trials) == ["LA_D_1047731", "LA_D_1340209", "PA_T_0005401"]
    assert trials["LA_D_1047731"] == Trial(
        speaker="LA_0069", utterance="LA_D_1047731", environment=None, attack=None, label="bona fide"
    )
    assert trials["LA_D_1340209"] == Trial(
        speaker="LA_0071", utterance="LA_D_1340209", environment=None, attack="A04", label="spoof"
    )
    assert (trials["PA_T_0005401"].environment, trials["PA_T_0005401"].attack) == ("aaa", "AB")


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_line_ends_and_tabs_do_not_matter(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "p.txt"
    path.write_bytes(LINES.replace("\n", ending).replace(" ", "\t").encode())
    assert read_protocol(path) == read_protocol(write(tmp_path, LINES))


def test_gzipped(tmp_path: Path) -> None:
    path = tmp_path / "p.txt.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    assert read_protocol(path) == read_protocol(write(tmp_path, LINES))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b - - bonafide\na c - -\n", r"line 2: expected 5 columns .* found 4"),
        ("a b - - bonafide x y z w\n", r"line 1: 9 columns are no protocol that is known. ASVspoof 2015 has 4, 2019 5"),
        ("\na b - - perhaps\n", r"line 2: the key is 'perhaps'; expected a word such as bonafide, genuine or real, or spoof"),
        ("a b - - spoof\nc b - A01 spoof\n", r"line 2: b occurs twice"),
        ("", "is empty"),
        ("\n \n", "is empty"),
    ],
)
def test_other_lines_are_refused_with_their_number(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        read_protocol(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match=r"none.txt is not there; check the path"):
        read_protocol(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 b - - spoof\n")
    whole = gzip.compress(os.urandom(2_000).hex().encode())
    (tmp_path / "short.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "broken.gz").write_bytes(whole[:10] + b"\xff" * 40 + whole[50:])
    for name, message in {
        "latin.txt": "line 1: not UTF-8 text. Save it as UTF-8",
        "short.gz": "is cut off",
        "broken.gz": "damaged gzip file",
        "": "could not be read: Is a directory",
    }.items():
        with pytest.raises(ProtocolError, match=message):
            read_protocol(tmp_path / name)
    (tmp_path / "plain.gz").write_text(LINES)  # its bytes tell that it is not packed
    assert len(read_protocol(tmp_path / "plain.gz")) == 3


@pytest.mark.parametrize(
    ("path", "utterance"), [("a/LA_E_1.flac", "LA_E_1"), ("LA_E_1", "LA_E_1"), ("a.b/LA.E.1.wav", "LA.E.1"), ("a/.wav", ".wav")]
)
def test_the_utterance_is_the_name_without_its_ending(path: str, utterance: str) -> None:
    assert utterance_of(path) == utterance


@pytest.mark.parametrize(
    ("line", "environment", "attack", "family", "subset"),
    [
        ("LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval", "alaw/ita_tx", "A07", None, "eval"),
        ("LA_0009 LA_E_1 alaw ita_tx bonafide bonafide notrim progress", "alaw/ita_tx", None, None, "progress"),
        ("PA_0010 PA_E_1000001 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval", "R3/M3/d4", "r1/m1/s4/c4", None, "eval"),
        ("PA_0010 PA_E_2 R1 M1 D2 - - - - bonafide trim hidden", "R1/M1/D2", None, None, "hidden"),
        (
            "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval neural_vocoder_nonautoregressive Task1 team20 FF E",
            "low_m4a/vcc2020",
            "Task1-team20",
            "neural_vocoder_nonautoregressive",
            "eval",
        ),
        ("LA_0023 DF_E_3 nocodec asvspoof - bonafide notrim eval bonafide - - - -", "nocodec/asvspoof", None, None, "eval"),
        ("T_4850 T_0000000000 F - - - AC3 A05 spoof -", None, "A05", None, None),
        ("E_1607 E_0009538969 M C01 3 E_0001 - bonafide bonafide -", "C01/3", None, None, None),
        ("E_1607 E_0009538970 M - 0 - AC2 A17 spoof -", None, "A17", None, None),
    ],
)
def test_forms_of_2021_and_5(tmp_path: Path, line: str, environment, attack, family, subset) -> None:
    """Lines as in the organisers' eval-package README (2021) and README.txt of Zenodo record 14498691 (5)."""
    speaker, utterance = line.split()[:2]
    label = "bona fide" if "bonafide" in line else "spoof"
    assert read_protocol(write(tmp_path, line + "\n"), ProtocolChoices(subset="all"))[utterance] == Trial(
        speaker=speaker, utterance=utterance, environment=environment, attack=attack, label=label, family=family, subset=subset
    )


def test_a_line_of_another_form_within_a_file(tmp_path: Path) -> None:
    lines = "T_1 T_1 F - - - AC3 A05 spoof -\nLA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n"
    with pytest.raises(ProtocolError, match=r"line 2: expected 10 columns as in line 1, found 8"):
        read_protocol(write(tmp_path, lines))


def test_flaws_are_told_and_left_out() -> None:
    data = b"s a - - bonafide\ns b - A01 maybe\ns a - - bonafide\ns c - A01 spoof\ns c - - bonafide\n"
    protocol = parse_protocol(data, name="p.txt")
    assert list(protocol.trials) == ["a", "c"]
    assert [(flaw.kind, flaw.utterance) for flaw in protocol.flaws] == [
        ("unknown key", "b"),
        ("duplicate", "a"),
        ("contradiction", "c"),
    ]
    assert protocol.flaws[2].sentence == "p.txt, line 5: c occurs twice, with two labels."

"""core.evaluation.trial_sets: tables that are checked, keys that say which trials, protocols with all that they tell."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pandas as pd
import pytest
from published_scores import FIXTURES

from core.errors import CoreError, ProtocolError
from core.evaluation.trial_sets import COLUMNS, key_of, make_trial_set, parse_trial_set, protocol_title, read_trial_set
from core.protocols import ProtocolChoices

TABLE = pd.DataFrame({"utterance": ["b", "a", "c"], "label": ["spoof", "bona fide", "spoof"], "attack": ["A07", "-", None]})


def test_a_table_gets_all_columns_with_their_types() -> None:
    table = TABLE.assign(known_system=[True, None, False], rubbish=[1, 2, 3]).set_index(pd.Index([7, 8, 9]))
    trials = make_trial_set("mine", table)
    assert list(trials.table.columns) == list(COLUMNS)
    assert trials.table.dtypes.astype(str).to_dict() == COLUMNS
    assert trials.table.index.equals(pd.RangeIndex(3))
    assert trials.table["utterance"].tolist() == ["b", "a", "c"]
    assert trials.table["attack"].isna().tolist() == [False, True, True]
    assert trials.table["known_system"].tolist() == [True, pd.NA, False]
    assert trials.table["speaker"].isna().all()
    assert trials.is_spoof.tolist() == [True, False, True]
    assert (len(trials), trials.num_spoof, trials.num_bona_fide, trials.name) == (3, 2, 1, "mine")


def test_an_attack_of_bona_fide_speech_is_none() -> None:
    trials = make_trial_set("x", TABLE.assign(attack="A07"))
    assert trials.table["attack"].isna().tolist() == [False, True, False]


def test_the_key_is_the_hash_of_the_sorted_trials() -> None:
    lines = "a bona fide -\nb spoof A07\nc spoof -\n"
    expected = hashlib.sha256(lines.encode()).hexdigest()[:16]
    assert make_trial_set("x", TABLE).key == expected
    assert make_trial_set("y", TABLE.iloc[[2, 0, 1]].assign(speaker="s")).key == expected  # order, name and the rest do not matter
    assert make_trial_set("x", TABLE.assign(attack=["A08", None, None])).key != expected
    assert make_trial_set("x", TABLE, key="audit-1").key == "audit-1"
    assert key_of(make_trial_set("x", TABLE).table) == expected


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.drop(columns="label"), "lack the column label"),
        (TABLE[["attack"]], "lack the column utterance and label"),
        (TABLE.iloc[:0], "holds no trials"),
        (TABLE.assign(label=["spoof", "genuine", "spoof"]), "a has the label 'genuine'; expected bona fide or spoof"),
        (TABLE.assign(utterance=["b", "a", "b"]), "b occurs twice"),
        (TABLE.assign(utterance=["b", None, "c"]), "trial 2 has no utterance"),
        (TABLE.assign(utterance=["b", "a", ""]), "trial 3 has no utterance"),
    ],
)
def test_tables_that_are_no_trials_are_refused(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(CoreError, match=message):
        make_trial_set("x", table)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("LA_0039 LA_E_2834763 - A11 spoof", {"speaker": "LA_0039", "attack": "A11", "split": "eval"}),
        ("- LA_T_1138215 - - bonafide", {"label": "bona fide", "split": "train"}),
        ("PA_0069 PA_D_0000001 aab AB spoof", {"speaker": "PA_0069", "environment": "aab", "attack": "AB", "split": "dev"}),
        (
            "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval",
            {"speaker": "LA_0009", "codec": "alaw/ita_tx", "attack": "A07", "split": "eval"},
        ),
        (
            "LA_0043 DF_E_2000011 low_mp3 vcc2018 A09 spoof notrim progress traditional_vocoder - - - -",
            {
                "speaker": "LA_0043",
                "codec": "low_mp3",
                "source": "vcc2018",
                "attack": "A09",
                "family": "traditional_vocoder",
                "split": "progress",
            },
        ),
        ("E_1 E_0000000001 F C01 1 x AC3 A17 spoof -", {"speaker": "E_1", "codec": "C01/1", "attack": "A17"}),
    ],
)
def test_each_protocol_tells_what_it_knows(line: str, expected: dict) -> None:
    trials = parse_trial_set(f"{line}\n".encode(), file_name="p.txt", choices=ProtocolChoices(subset="all"))
    (row,) = trials.table.to_dict("records")
    told = {column: value for column, value in row.items() if not pd.isna(value)}
    assert told == {"utterance": line.split()[1], "label": "spoof"} | expected


def test_flaws_in_a_protocol_are_told_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match=r"p.txt, line 3: a occurs twice, with two labels\. 2 lines of it"):
        parse_trial_set(b"s a - - bonafide\ns b - A07 spoof\ns a - A07 spoof\ns c - A07 maybe\n", file_name="p.txt")
    with pytest.raises(ProtocolError, match=r"none.txt is not there; check the path"):
        read_trial_set(tmp_path / "none.txt")
    cut = gzip.compress(b"s a - - bonafide\n" * 100)[:-12]
    with pytest.raises(ProtocolError, match="is cut off"):
        parse_trial_set(cut, file_name="p.txt.gz")


def test_titles() -> None:
    assert protocol_title("/a/ASVspoof2019.LA.cm.eval.trl.txt.gz") == "ASVspoof2019.LA.cm.eval"
    assert protocol_title("trial_metadata.txt") == "trial_metadata"


def test_the_organisers_protocols() -> None:
    if not FIXTURES.is_dir():
        pytest.skip("needs ../shared/fixtures")
    trials = read_trial_set(FIXTURES / "ASVspoof2019.LA.cm.eval.trl.txt.gz")
    assert (trials.name, trials.num_bona_fide, trials.num_spoof) == ("ASVspoof2019.LA.cm.eval", 7_355, 63_882)
    assert trials.table["attack"].nunique() == 13
    assert trials.table["speaker"].nunique() == 67
    assert set(trials.table["split"]) == {"eval"}
    assert trials.table["environment"].isna().all()
    replayed = read_trial_set(FIXTURES / "ASVspoof2019.PA.cm.dev.trl.txt.gz", name="PA dev")
    assert (replayed.name, replayed.table["environment"].nunique()) == ("PA dev", 27)

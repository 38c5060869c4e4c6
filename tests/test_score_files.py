"""score_files, score_matching, score_import: all forms, flaws with their lines, signs that are never flipped silently."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published_scores import FIXTURES, PUBLISHED_SIGNS, published_scores

from core.errors import InvertedScoresError, ScoreFileError, UnmappedColumnsError
from core.evaluation.score_files import ColumnMapping, ScoreTable, read_score_file, title_of
from core.evaluation.score_import import is_inverted, system_of
from core.evaluation.score_matching import match
from core.evaluation.trial_sets import TrialSet, make_trial_set, read_trial_set

OLD = "a - bonafide 2.5\nb A07 spoof -1\nc A08 spoof 1e-3\n"
NEW = "a 2.5\nb -1\nc 1e-3\n"
OURS = (
    "utterance,attack,label,speaker,source,family,known_system,spoof_score\n"
    "a,-,bona fide,s1,p,recording,,-2.5\nb,A07,spoof,s1,p,TTS,True,1\nc,A08,spoof,s2,q,,False,-0.001\n"
)


def read(text: str, **options: object) -> ScoreTable:
    return read_score_file(text.encode(), name="x.txt", **options)


def trials(**columns: list) -> TrialSet:
    table = pd.DataFrame({"utterance": list("abc"), "label": ["bona fide", "spoof", "spoof"], "attack": [None, "A07", "A08"]})
    return make_trial_set("P", table.assign(**columns))


# Reading ---------------------------------------------------------------------------------------------------------


def test_asvspoof_2019_by_hand() -> None:
    table = read(OLD)
    assert (table.form, table.columns, table.mapping, table.higher_means) == ("ASVspoof 2019", (), None, "bona fide")
    assert table.utterances.tolist() == ["a", "b", "c"]
    assert table.scores.tolist() == [2.5, -1.0, 0.001]
    assert table.labels.tolist() == ["bona fide", "spoof", "spoof"]
    assert table.attacks.tolist() == ["-", "A07", "A08"]
    assert table.line_numbers.tolist() == [1, 2, 3]
    assert table.trial_set("own").key == trials().key
    assert table.spoof_scores().tolist() == [-2.5, 1.0, -0.001]
    assert table.spoof_scores("spoof").tolist() == [2.5, -1.0, 0.001]


def test_utterance_and_score() -> None:
    table = read("\n" + NEW.replace(" ", "\t") + "\n\n")
    assert (table.form, table.labels, table.attacks, table.higher_means) == ("utterance score", None, None, "bona fide")
    assert table.line_numbers.tolist() == [2, 3, 4]
    assert table.scores.tolist() == [2.5, -1.0, 0.001]
    with pytest.raises(ScoreFileError, match=r"x.txt does not say which utterances are spoofed. Give the protocol"):
        table.trial_set("own")


def test_asvspoof_5_has_a_header() -> None:
    table = read("filename\tcm-score\na.flac\t2.5\nb.flac\t-1\nc.flac\t1e-3\n")
    assert (table.form, table.columns, table.higher_means) == ("table", ("filename", "cm-score"), "bona fide")
    assert match(table, trials()).scores.tolist() == [2.5, -1.0, 0.001]


def test_our_own_table_brings_its_labels_and_details() -> None:
    table = read(OURS)
    assert (table.higher_means, table.mapping.score) == ("spoof", "spoof_score")
    own = table.trial_set("own").table
    assert own["speaker"].tolist() == ["s1", "s1", "s2"]
    assert own["source"].tolist() == ["p", "p", "q"]
    assert own["family"].isna().tolist() == [False, False, True]
    assert own["known_system"].tolist() == [pd.NA, True, False]
    assert own["attack"].isna().tolist() == [True, False, False]


def test_columns_by_mapping() -> None:
    text = 'file;class;method;logit\n"deep/a.wav";bonafide;;2.5\nb.wav;spoof;A07;-1\nc.wav;spoof;A08;1e-3\n'
    with pytest.raises(ScoreFileError, match=r"Which holds the score. Choose one of file, class, method, logit"):
        read(text)
    with pytest.raises(UnmappedColumnsError) as failure:
        read(text)
    assert failure.value.columns == ("file", "class", "method", "logit")
    columns = ColumnMapping(score="logit", label="class", attack="method")
    table = read(text, columns=columns)
    assert table.mapping == ColumnMapping(utterance="file", score="logit", label="class", attack="method")
    report = match(table, trials())
    assert (report.findings, report.scores.tolist()) == ((), [2.5, -1.0, 0.001])
    with pytest.raises(ScoreFileError, match=r"no column 'logits'; its columns are file"):
        read(text, columns=ColumnMapping(score="logits"))
    with pytest.raises(ScoreFileError, match=r"column 'score' twice"):
        read("file,score,score\na,1,2\n")


def test_parquet_and_gzip(tmp_path: Path) -> None:
    frame = pd.DataFrame({"utterance": ["a", "b", "c"], "score": [0.1, np.nan, -3e-8], "label": ["bonafide", "spoof", "spoof"]})
    frame.to_parquet(tmp_path / "s.parquet")
    table = read_score_file(tmp_path / "s.parquet")
    assert table.scores[[0, 2]].tolist() == [0.1, -3e-8]  # exactly
    assert np.isnan(table.scores[1])
    for data in (gzip.compress(OLD.encode()), b"\xef\xbb\xbf" + OLD.replace("\n", "\r\n").encode()):
        (tmp_path / "s.gz").write_bytes(data)
        assert read_score_file(tmp_path / "s.gz").scores.tolist() == [2.5, -1.0, 0.001]
        assert read_score_file(data).utterances.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OLD.replace("A07 spoof", "A07"), "x.txt, line 2: expected 4 columns as in line 1, found 3"),
        (OLD + "d A09 spoof 1 2\n", "x.txt, line 4: expected 4 columns as in line 1, found 5"),
        ("a b 1\n", "x.txt, line 1: expected 4 columns .*, 2 .* or a header that names the columns, found 3"),
        ("a\n", r"holds no rows: its one line .a. is taken for names of columns"),
        ("a\nb\n", "first line is taken for names of columns. Which holds the utterance. Choose one of a"),
        (OLD.replace("-1", "low"), "x.txt, line 2: the score is 'low'; expected a number"),
        (OLD.replace("2.5", "high"), "x.txt, line 1: the score is 'high'"),
        (NEW.replace("2.5", "high"), "taken for names of columns. Which holds the utterance. Choose one of a, high"),
        (OLD.replace("b A07 spoof", "b spoof A07"), "x.txt, line 2: the key is 'A07'; expected a word .* The columns are"),
        (OURS.replace("bona fide", "perhaps"), "x.txt, line 2: the key is 'perhaps'; expected a word such as bonafide"),
        (OURS.replace("c,A08", ",A08"), "x.txt, line 4: no utterance"),
        (OURS.replace("c,A08", "c;A08"), "x.txt, line 4: expected 8 columns as in line 1, found 7"),
        ("utterance,score\n", "holds no rows: its one line .utterance, score. is taken for"),
        ("", "x.txt is empty"),
        ("\n \n", "x.txt is empty"),
        ('utterance,score\n"a,1\n' + "x" * 200_000, "x.txt, line .*: field larger than field limit"),
    ],
)
def test_bad_files_are_told_with_their_line(text: str, message: str) -> None:
    with pytest.raises(ScoreFileError, match=message):
        read(text)


def test_files_that_are_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(ScoreFileError, match=r"none.txt is not there; check the path"):
        read_score_file(tmp_path / "none.txt")
    with pytest.raises(ScoreFileError, match=r"s.gz is cut off: its gzip stream has no end"):
        read_score_file(gzip.compress(OLD.encode() * 1_000)[:-20], name="s.gz")
    with pytest.raises(ScoreFileError, match=r"s.gz is a damaged gzip file"):
        read_score_file(b"\x1f\x8b" + b"\0" * 30, name="s.gz")
    with pytest.raises(ScoreFileError, match=r"s.txt, line 2: not UTF-8 text"):
        read_score_file(b"a 1\n\xff\xfe 2\n", name="s.txt")
    with pytest.raises(ScoreFileError, match=r"Parquet file that could not be read"):
        read_score_file(b"PAR1 and no more", name="s.parquet")
    buffer = io.BytesIO()
    pd.DataFrame({"utterance": [], "score": []}).to_parquet(buffer)
    with pytest.raises(ScoreFileError, match=r"holds no rows"):
        read_score_file(buffer.getvalue(), name="s.parquet")


def test_titles() -> None:
    assert title_of("/x/air-softmax.LA.eval.scores.txt.gz") == "air-softmax.LA.eval"
    assert title_of("mine.v2.csv") == "mine.v2"


# Matching --------------------------------------------------------------------------------------------------------


def test_scores_come_in_the_protocols_order() -> None:
    report = match(read("c 3\na 1\nb 2\n"), trials())
    assert (report.scores.tolist(), report.findings, report.num_matched, report.num_scored) == ([1, 2, 3], (), 3, 3)
    report.check()


@pytest.mark.parametrize(
    ("text", "kind", "num", "lines", "message"),
    [
        ("x 1\ny 2\n", "foreign", 2, (1, 2), r"line 1: x is not in P, nor is any other of the 2 utterances.*another set.*like a\)"),
        (NEW + "x 1\ny 2\n", "unknown", 2, (4, 5), "line 4: x is not in P, nor are 1 other utterances of the file"),
        (NEW + "b 7\n", "duplicate", 1, (4,), "line 4: b occurs twice, first in line 2"),
        (NEW + "deep/b.wav 7\n", "duplicate", 1, (4,), "line 4: deep/b.wav occurs twice, first in line 2"),
        (OLD.replace("A07 spoof", "- bonafide"), "label", 1, (2,), "line 2: b is bona fide here and spoof in P"),
        (OLD.replace("A08", "A09"), "attack", 1, (3,), "line 3: c is A09 here and A08 in P"),
        (NEW.replace("-1", "nan"), "not finite", 1, (2,), "line 2: the score of b is NaN"),
        (NEW.replace("-1", "inf"), "not finite", 1, (2,), "line 2: the score of b is infinite"),
        ("a 1\nb 2\n", "missing", 1, (), r"no score for c of P \(1 of 3\).*never as bona fide"),
    ],
)
def test_what_does_not_fit_is_told(text: str, kind: str, num: int, lines: tuple[int, ...], message: str) -> None:
    report = match(read(text), trials())
    (finding,) = report.findings
    assert (finding.kind, finding.num, finding.line_numbers) == (kind, num, lines)
    assert report.finding(kind) is finding
    with pytest.raises(ScoreFileError, match=message):
        report.check()


def test_the_first_of_a_repeated_utterance_is_kept_in_the_report() -> None:
    assert match(read(NEW + "b 7\n"), trials()).scores.tolist() == [2.5, -1.0, 0.001]


def test_an_unknown_attack_contradicts_nothing() -> None:
    assert match(read(OLD.replace("A07", "-")), trials()).findings == ()
    assert match(read(OLD), trials(attack=None)).findings == ()


def test_missing_scores_only_when_allowed_and_then_nan() -> None:
    for text in ("a 1\nb 2\n", "a 1\nb 2\nc nan\n", "utterance,score\na,1\nb,2\nc,\n"):
        report = match(read(text), trials())
        with pytest.raises(ScoreFileError):
            report.check()
        report.check(allow_missing=True)
        system = system_of(read(text), trials(), name="x", higher_means="spoof", allow_missing=True)
        assert system.scores[:2].tolist() == [1.0, 2.0]
        assert np.isnan(system.scores[2])
        assert system.note == "1 trial has no score"
    for text in (NEW.replace("-1", "inf"), "a 1\nb 2\nx 3\n"):
        with pytest.raises(ScoreFileError):
            match(read(text), trials()).check(allow_missing=True)


# Signs -----------------------------------------------------------------------------------------------------------


def test_inverted_means_an_area_below_one_half() -> None:
    is_spoof = np.array([False, False, True, True])
    assert is_inverted(np.array([1.0, 2.0, 0.0, 1.5]), is_spoof)  # 1 pair of 4 is right
    assert not is_inverted(np.array([1.0, 2.0, 0.0, 3.0]), is_spoof)  # 2 of 4: chance
    assert not is_inverted(np.array([np.nan, 2.0, 0.0, 3.0]), is_spoof)  # 1 of 2
    assert is_inverted(np.array([np.nan, 2.0, 0.0, np.nan]), is_spoof)


def test_a_sign_is_checked_flipped_or_kept() -> None:
    right, wrong = read("a 3\nb 1\nc 2\n"), read("a 1\nb 3\nc 2\n")  # of the ASVspoof form: higher means bona fide
    system = system_of(right, trials(), name="x")
    assert (system.scores.tolist(), system.is_flipped, system.origin, system.note) == ([-3, -1, -2], False, "imported", "")
    assert (system.thresholds, system.audit_id, system.name) == (None, None, "x")
    with pytest.raises(
        InvertedScoresError, match=r"looks inverted: with high scores meaning bona fide.*seem to mean spoof. Nothing"
    ):
        system_of(wrong, trials(), name="x")
    flipped = system_of(wrong, trials(), name="x", sign="flip")
    assert (flipped.scores.tolist(), flipped.is_flipped) == ([1, 3, 2], True)
    kept = system_of(wrong, trials(), name="x", sign="keep")
    assert (kept.scores.tolist(), kept.is_flipped) == ([-1, -3, -2], False)
    declared = system_of(wrong, trials(), name="x", higher_means="spoof")
    assert (declared.scores.tolist(), declared.is_flipped) == ([1, 3, 2], False)
    with pytest.raises(ScoreFileError, match=r"is not inverted.*Leave the flip out"):
        system_of(right, trials(), name="x", sign="flip")


def test_one_class_is_refused() -> None:
    with pytest.raises(ScoreFileError, match=r"x.txt, lines 1 to 3: all 3 scored trials are spoof; error rates need both"):
        system_of(read(NEW), trials(label="spoof"), name="x")
    with pytest.raises(ScoreFileError, match=r"all 1 scored trials are bona fide"):
        system_of(read("a 1\n"), trials(), name="x", allow_missing=True)
    with pytest.raises(ScoreFileError, match=r"no score for any trial"):
        system_of(read("a nan\n"), trials(), name="x", allow_missing=True)


# The organisers' files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", sorted(PUBLISHED_SIGNS))
def test_published_files_match_the_protocol(system: str) -> None:
    expected, is_spoof, _, _ = published_scores(system)
    protocol = read_trial_set(FIXTURES / "ASVspoof2019.LA.cm.eval.trl.txt.gz")
    table = read_score_file(FIXTURES / f"{system}.LA.eval.scores.txt.gz")
    report = match(table, protocol)
    assert (report.findings, report.num_scored) == ((), 71_237)
    assert table.trial_set("own").key == protocol.key
    is_wrong = PUBLISHED_SIGNS[system] == 1
    assert is_inverted(-report.scores, protocol.is_spoof) == is_wrong
    made = system_of(table, protocol, name=system, sign="flip" if is_wrong else "check")
    # The protocol has the files' own order.
    assert np.array_equal(made.scores, expected)
    assert np.array_equal(protocol.is_spoof, is_spoof)


def test_the_protocol_of_another_set_is_told() -> None:
    if not FIXTURES.is_dir():
        pytest.skip("needs ../shared/fixtures")
    table = read_score_file(FIXTURES / "air-softmax.LA.eval.scores.txt.gz")
    report = match(table, read_trial_set(FIXTURES / "ASVspoof2019.LA.cm.dev.trl.txt.gz"))
    (finding,) = report.findings
    assert (finding.kind, finding.num, finding.line_numbers) == ("foreign", 71_237, (1, 2, 3))
    assert "line 1: LA_E_2834763 is not in ASVspoof2019.LA.cm.dev, nor is any other of the 71237" in finding.sentence

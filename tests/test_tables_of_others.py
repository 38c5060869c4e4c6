"""Protocols and score files as other people write them: each of ten trials, of which one is wrong, so that every EER is 20 %."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xlsxwriter

from core.errors import CoreError, UnclearLabelsError
from core.evaluation.labelled_folders import recordings_of
from core.evaluation.notes import system_warnings
from core.evaluation.score_files import read_score_file
from core.evaluation.score_import import system_of
from core.evaluation.trial_sets import read_trial_set
from core.metrics import asvspoof_equal_error_rate, equal_error_rate
from core.names import bare_names, find_name, match_names
from core.protocols import ProtocolChoices, read_protocol

TRIALS = [
    (f"S{i % 3}", f"LA_E_100000{i}", f"A0{7 + i % 2}" if i >= 5 else "-", "spoof" if i >= 5 else "bonafide") for i in range(10)
]
SCORES = dict(zip([trial[1] for trial in TRIALS], (5, 4, 3, 2, -1.5, -2, -3, -4, -5, 0.5), strict=True))


def lines(form: str, **words: str) -> str:
    """A line for each trial; `{s}` speaker, `{u}` utterance, `{a}` attack, `{k}` key, `{x}` score."""
    named = [(s, u, a, words.get(k, k), SCORES[u]) for s, u, a, k in TRIALS]
    return "".join(form.format(s=s, u=u, a=a, k=k, x=x) + "\n" for s, u, a, k, x in named)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def eer_of(scores: Path, protocol: Path | None = None, *, one_means: str | None = None) -> float:
    table = read_score_file(scores, one_means=one_means)
    choices = ProtocolChoices(one_means=one_means)
    trial_set = read_trial_set(protocol, choices=choices) if protocol else table.trial_set("own")
    system = system_of(table, trial_set, name="x")
    return asvspoof_equal_error_rate(system.scores, trial_set.is_spoof)


PROTOCOL_2019 = lines("{s} {u} - {a} {k}")
PROTOCOLS = {
    "2019": PROTOCOL_2019,
    "2015": lines("{s} {u} {a} {k}", bonafide="human"),
    "2017": lines("{u}.wav {k} {s} S02 E03 P11 R09", bonafide="genuine"),
    "2021 LA": lines("{s} {u} alaw ita_tx {a} {k} notrim eval"),
    "2021 DF": lines("{s} {u} nocodec asvspoof {a} {k} notrim eval traditional_vocoder - - - -"),
    "2021 PA": lines("{s} {u} R1 M1 d1 r1 m1 s1 c1 {k} notrim eval"),
    "5": lines("{s}\t{u}\tF\t-\t-\t-\tAC1\t{a}\t{k}\t-"),
    "5, phase 1": lines("{s} {u} F - {a} {k}"),
    "5, key": "filename\tcm-label\n" + lines("{u}\t{k}"),
    "5, both keys": "spk\tfilename\tcm-label\tasv-label\n" + lines("{s}\t{u}\t{k}\ttarget"),
    "RawNet2": lines("{s} {u} {a} {k}"),
    "two columns": lines("{u} {k}"),
    "endings": lines("{s} {u}.flac - {a} {k}"),
    "folders": lines("{s} flac/{u}.flac - {a} {k}"),
    "CSV": "utterance,label,attack\r\n" + lines("{u},{k},{a}\r"),
    "semicolons, Windows": "File_Name;Class\r\n" + lines("D:\\flac\\{u}.WAV;{k}\r", bonafide="Bona Fide", spoof="Deepfake"),
    "real and fake": "path,label\n" + lines("/data/{u}.wav,{k}", bonafide="real", spoof="fake"),
    "is_fake": "path,is_fake\n" + lines("{u},{k}", bonafide="0", spoof="1"),
    "is_bonafide": "path,is_bonafide\n" + lines("{u},{k}", bonafide="True", spoof="False"),
    "JSON lines": lines('{{"utt": "{u}", "key": "{k}"}}', bonafide="bona-fide", spoof="Spoofed"),
    "tab at the end": lines("{s}\t{u}\t-\t{a}\t{k}\t"),
    "tabs and blanks": lines("{s}\t{u} - {a} {k}"),
}


@pytest.mark.parametrize("form", PROTOCOLS)
def test_protocols_in_every_form(tmp_path: Path, form: str) -> None:
    scores = write(tmp_path / "scores.txt", lines("{u} {x}"))
    assert eer_of(scores, write(tmp_path / "protocol.txt", PROTOCOLS[form])) == pytest.approx(0.2)
    trials = read_protocol(tmp_path / "protocol.txt")
    assert list(trials) == list(SCORES)
    if "{s}" in PROTOCOLS[form] or form in ("2019", "2015", "2017", "5", "RawNet2", "5, both keys"):
        assert {trial.speaker for trial in trials.values()} == {"S0", "S1", "S2"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gz"])
def test_marks_and_encodings(tmp_path: Path, encoding: str) -> None:
    """A mark at the beginning once made a speaker of its own."""
    paths = []
    for name, text in (("scores.txt", lines("{u} {x}")), ("protocol.txt", PROTOCOL_2019)):
        data = gzip.compress(text.encode()) if encoding == "gz" else text.encode(encoding)
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    assert eer_of(*paths) == pytest.approx(0.2)
    assert {trial.speaker for trial in read_protocol(paths[1]).values()} == {"S0", "S1", "S2"}
    unmarked = write(tmp_path / "unmarked.txt", PROTOCOL_2019, "utf-16-le")
    with pytest.raises(CoreError, match=r"UTF-16 without its mark\. Save it as UTF-8"):
        read_protocol(unmarked)


def write_xlsx(path: Path, rows: list[list]) -> None:
    with xlsxwriter.Workbook(path, {"constant_memory": path.stem == "inline"}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)


@pytest.mark.parametrize("name", ["shared.xlsx", "inline.xlsx", "table.parquet", "table.jsonl"])
def test_tables_with_labels_and_scores(tmp_path: Path, name: str) -> None:
    """As our exports have them: with the sign of `spoof_score`, and lines without a label or a score."""
    rows = [
        {"path": f"calls/{u}.flac", "spoof_score": -SCORES[u], "label": k.replace("bonafide", "bona fide")} for _, u, _, k in TRIALS
    ]
    rows.append({"path": "calls/unknown.flac", "spoof_score": 3.25, "label": None})
    path = tmp_path / name
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        write_xlsx(path, [list(rows[0]), *([row["path"], row["spoof_score"], row["label"] or ""] for row in rows)])
    assert eer_of(path) == pytest.approx(0.2)
    assert list(read_protocol(path)) == list(SCORES)


SCORE_FILES = {
    "2019": lines("{u} {a} {k} {x}"),
    "2019, other words": lines("{u} {a} {k} {x}", bonafide="human", spoof="fake"),
    "5, baseline": lines("{s} {u} {x} {k}"),
    "5, with labels": "filename\tcm-label\tcm-score\n" + lines("{u}\t{k}\t{x}"),
    "key and score": lines("{u} {k} {x}"),
    "score and key": lines("{u} {x} {k}"),
    "five columns": lines("{s} {u} {a} {k} {x}"),
    "CSV": "utterance,label,score\n" + lines("{u}.wav,{k},{x}", bonafide="Real", spoof="Synthetic"),
}


@pytest.mark.parametrize("form", SCORE_FILES)
def test_score_files_with_labels(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "scores.txt", SCORE_FILES[form])
    assert eer_of(path) == pytest.approx(0.2)
    assert eer_of(path, write(tmp_path / "protocol.txt", PROTOCOLS["endings"])) == pytest.approx(0.2)
    assert read_score_file(path).trial_set("own").table["utterance"].tolist() == list(SCORES)


ZEROS_AND_ONES = {
    "CSV": "utterance,label,score\n" + lines("{u},{k},{x}", bonafide="1", spoof="0"),
    "words": "utterance,target,score\n" + lines("{u},{k},{x}", bonafide="True", spoof="False"),
    "no header": lines("{u} {k} {x}", bonafide="1", spoof="0"),
    "log of the LCNN": "Start\nload model, 3\n" + lines("Output, {u}, {k}, {x}\nGenerating {u},", bonafide="1", spoof="0"),
}


@pytest.mark.parametrize("form", ZEROS_AND_ONES)
def test_zeros_and_ones_are_asked_about(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "scores.txt", ZEROS_AND_ONES[form])
    with pytest.raises(UnclearLabelsError, match=r"which does not say which of them is the spoof\..* --one-means spoof"):
        eer_of(path)
    assert eer_of(path, one_means="bona-fide") == pytest.approx(0.2)
    assert eer_of(path, write(tmp_path / "protocol.txt", PROTOCOL_2019)) == pytest.approx(0.2)


def test_zeros_and_ones_in_a_protocol(tmp_path: Path) -> None:
    scores = write(tmp_path / "scores.txt", lines("{u} {x}"))
    protocol = write(tmp_path / "protocol.txt", lines("{u} {k}", bonafide="1", spoof="0"))
    with pytest.raises(UnclearLabelsError):
        eer_of(scores, protocol)
    assert eer_of(scores, protocol, one_means="bona fide") == pytest.approx(0.2)
    assert read_protocol(protocol, ProtocolChoices(one_means="spoof"))["LA_E_1000000"].label == "spoof"


NO_SCORES = {
    "the score '0,5' has a decimal comma": lines("{u};{x}").replace("0.5", "0,5"),
    "'-1,5' has a decimal comma. Save it with decimal points": lines("{u} {x}").replace("-1.5", "-1,5"),
    "expected 2 columns as in line 1, found 3.* decimal comma": "utterance,score\n" + lines("{u},{x}").replace(".", ","),
    "found 3 columns .*Or do the numbers have a decimal comma": lines("{u},{x}").replace(".0", "").replace(",", ",7,"),
    r"found 3 columns \(S0, LA_E_1000000, 5\), of which none is a label": lines("{s} {u} {x}"),
    "trials or scores of a speaker verifier .* belong after --asv-scores": lines("{a} target {x}"),
    "speaker verifier": lines("{s} {u} {a} {k}", bonafide="nontarget"),
    "holds a label but no score. It looks like a protocol, which belongs after --protocol": PROTOCOL_2019,
    "alaw ita_tx .* It looks like a protocol": PROTOCOLS["2021 LA"],
    "Which holds the score.* It looks like a protocol": PROTOCOLS["5, key"],
}
NO_PROTOCOLS = {
    "This is a score file; give the protocol that belongs to it": lines("{u} {x}"),
    "lists trials of a speaker verifier .*CM/trial_metadata.txt": lines(
        "{s} {u} alaw ita_tx {a} {k} notrim eval", bonafide="nontarget"
    ),
    "LA_E_1000000 stands alone. .*CM/trial_metadata.txt": lines("{u}"),
    "9 columns are no protocol that is known": lines("{s} {u} - - - - - {a} {k}"),
    "none of them is known as the label. Call it 'label' .or labels, key": "utterance,colour\n" + lines("{u},red"),
    "has no trials of the subset eval, but 10 of progress. Choose another with --subset": PROTOCOLS["2021 LA"].replace(
        "eval", "progress"
    ),
}


@pytest.mark.parametrize("message", [*NO_SCORES, *NO_PROTOCOLS])
def test_refusals_name_the_cause(tmp_path: Path, message: str) -> None:
    path = write(tmp_path / "table.txt", (NO_SCORES | NO_PROTOCOLS)[message])
    read: Callable = read_score_file if message in NO_SCORES else read_protocol
    with pytest.raises(CoreError, match=message):
        read(path)


def test_scores_that_are_all_the_same_tell_nothing_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "scores.txt", lines("{u} {a} {k} 0.5"))
    table = read_score_file(path)
    system = system_of(table, table.trial_set("own"), name="flat")
    assert asvspoof_equal_error_rate(system.scores, system.trial_set.is_spoof) == 0.5
    assert equal_error_rate(system.scores, system.trial_set.is_spoof)[0] == 0.5
    assert system_warnings(system) == ("flat: all scores are the same. It tells nothing apart, and its EER is 50 %.",)
    hard = write(tmp_path / "hard.txt", "".join(f"{u} {a} {k} {int(SCORES[u] > 0)}\n" for _, u, a, k in TRIALS))
    table = read_score_file(hard)
    assert "5 of 10 trials have the same score" in system_warnings(system_of(table, table.trial_set("own"), name="hard"))[0]


def test_subsets_of_asvspoof_2021(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The organisers' figure is that of eval; trials of the other subsets are no error."""
    from core.commands.program import main  # which alone brings PyTorch

    others = "".join(f"S{i} LA_E_200000{i} alaw ita_tx A07 spoof notrim {('progress', 'hidden')[i % 2]}\n" for i in range(4))
    protocol = write(tmp_path / "trial_metadata.txt", PROTOCOLS["2021 LA"] + others)
    scores = write(tmp_path / "scores.txt", lines("{u} {x}") + "".join(f"LA_E_200000{i} 9\n" for i in range(4)))
    assert eer_of(scores, protocol) == pytest.approx(0.2)
    found = {}
    for subset in ("eval", "all"):
        assert main(["evaluate", str(scores), "--protocol", str(protocol), "--subset", subset, "--resamples", "100"]) == 0
        found[subset] = capsys.readouterr().out.splitlines()[:2]
    assert found["eval"][0] == "scores on trial_metadata (subset eval): 5 bona fide, 5 spoofed, 0 not scored"
    assert "20.0000 %" in found["eval"][1]
    assert found["all"][0] == "scores on trial_metadata (subset all): 5 bona fide, 9 spoofed, 0 not scored"
    assert "20.0000 %" not in found["all"][1]
    assert len(read_protocol(protocol, ProtocolChoices(subset="hidden"))) == 2


def test_names_match_whatever_folder_and_ending_either_side_has(tmp_path: Path) -> None:
    assert bare_names(["flac/a.flac", "b.WAV", "LA.E.1"]) == ["a", "b", "LA.E.1"]
    assert bare_names(["real/a.wav", "fake/a.wav"]) == ["real/a.wav", "fake/a.wav"]
    assert find_name("/data/set/fake/a.wav", {"real/a.wav", "fake/a.wav"}) == "fake/a.wav"
    assert find_name("x/LA.E.1.odd", {"LA.E.1"}) == "LA.E.1"
    assert find_name("x/c.wav", {"a", "b"}) is None
    assert match_names(["D:\\x\\a.wav", "wav/b", "c", "e"], ["a.flac", "flac/b.flac", "c", "1/e.wav", "2/e.wav"]) == [0, 1, 2, -1]
    for place in ("real/one.wav", "fake/one.wav", "real/two.flac"):
        (tmp_path / "set" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / place).write_bytes(b"-")
    protocol = write(tmp_path / "p.csv", "utterance,label\none.wav,spoof\ntwo.mp3,bonafide\n")
    with pytest.raises(CoreError, match=r"one occurs twice in .*give the folder of one set"):
        recordings_of(tmp_path / "set", protocol)
    protocol.write_text("path,label\nreal/one.wav,human\nfake/one.wav,cloned\nreal/two.flac,human\n")
    table = recordings_of(tmp_path / "set", protocol)[1]
    assert dict(zip(table["path"].map(lambda path: Path(path).parent.name), table["label"])) == {
        "real": "bona fide",
        "fake": "spoof",
    }
    protocol.write_text("utterance,label\nthree,spoof\n")
    with pytest.raises(CoreError, match=r"names none of the 3 recordings .*a recording here is one.wav, an utterance there three"):
        recordings_of(tmp_path / "set", protocol)


def test_the_reader_of_labels_alone_decides_nothing_about_signs() -> None:
    table = read_score_file(("utterance,label,spoof_score\n" + lines("{u},{k},{x}")).encode())
    assert table.higher_means == "spoof"
    assert np.isfinite(table.scores).all()

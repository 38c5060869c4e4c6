"""core.commands.evaluate: `evaluate` and `import-scores` as typed, on small files and on the organisers' figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published_scores import ASV_SCORES, FIXTURES, PUBLISHED_SIGNS, published_scores

from core.commands.program import main
from core.evaluation.systems import list_trial_sets, load_systems
from core.store.store import Store

LINES = [f"b{i} - bonafide {i}" for i in range(4)] + [f"s{i} A07 spoof {i - 2.5}" for i in range(4)]
PROTOCOL = [f"x {line.split()[0]} - {line.split()[1]} {line.split()[2]}" for line in LINES]


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Eight labelled trials: three of the spoofs lie below all but one of the bona fide, one among them."""
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(LINES) + "\n")
    (tmp_path / "protocol.txt").write_text("\n".join(PROTOCOL) + "\n")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    status, out, err = run(capsys, "evaluate", *arguments, "--resamples", 100, "--json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    return told | {figure["key"]: figure["value"] for figure in told["figures"]}


@pytest.mark.parametrize("system", sorted(PUBLISHED_SIGNS))
def test_the_organisers_figures_of_published_systems(system: str, capsys: pytest.CaptureFixture[str]) -> None:
    *_, expected = published_scores(system)
    file, protocol = FIXTURES / f"{system}.LA.eval.scores.txt.gz", FIXTURES / "ASVspoof2019.LA.cm.eval.trl.txt.gz"
    command = [file, "--protocol", protocol, "--asv-scores", ASV_SCORES]
    is_inverted = PUBLISHED_SIGNS[system] == 1
    if is_inverted:
        status, out, err = run(capsys, "evaluate", *command)
        assert (status, out) == (1, "")
        assert "looks inverted" in err
        assert "Give --flip to turn the sign" in err
    told = evaluated(capsys, *command, *(["--flip"] if is_inverted else []))
    assert (told["num_bona_fide"], told["num_spoof"], told["num_not_scored"]) == (expected["nb"], expected["ns"], 0)
    assert told["is_flipped"] == is_inverted
    assert 100 * told["eer"] == pytest.approx(expected["eer"], abs=1e-3)
    assert told["min_tdcf_2019"] == pytest.approx(expected["min_tdcf"], abs=1e-5)
    of_attacks = {figure["key"]: 100 * figure["value"] for figure in told["eer_by_attack"]}
    assert of_attacks == pytest.approx(expected["per_attack"], abs=1e-3)


def test_figures_of_a_file_with_labels(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = evaluated(capsys, scores)
    assert (told["system"], told["trial_set"], told["is_flipped"], told["note"]) == ("mine", "Trials of mine", False, "")
    # Spoof scores: bona fide 0, -1, -2, -3, spoofs 2.5, 1.5, 0.5, -0.5: one of 16 pairs is wrong.
    assert told["auc"] == pytest.approx(15 / 16)
    assert evaluated(capsys, scores, "--threshold", "-0.75")["false_alarm"] == pytest.approx(0.25)
    by_protocol = evaluated(capsys, scores, "--protocol", scores.with_name("protocol.txt"), "--name", "Ours")
    assert (by_protocol["system"], by_protocol["trial_set"], by_protocol["auc"]) == ("Ours", "protocol", told["auc"])


def test_figures_are_printed_as_text(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "evaluate", scores, "--higher-means", "spoof", "--flip", "--resamples", 100)
    assert (status, err) == (0, "")
    assert out.startswith("mine on Trials of mine: 4 bona fide, 4 spoofed, 0 not scored\nIts sign was flipped.\n")
    assert "Area under the ROC curve" in out
    assert "0.9375    (" in out
    assert "EER of each attack against all bona fide speech\n  A07" in out


def test_an_inverted_file_is_told_and_flipped_or_kept_on_demand(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [scores, "--higher-means", "spoof"]
    status, out, err = run(capsys, "evaluate", *command)
    assert (status, out) == (1, "")
    assert "mine.txt looks inverted: with high scores meaning spoof" in err
    assert err.endswith("Give --flip to turn the sign, or --keep-sign if the system really is worse than chance.\n")
    assert evaluated(capsys, *command, "--flip")["auc"] == pytest.approx(15 / 16)
    assert evaluated(capsys, *command, "--keep-sign")["auc"] == pytest.approx(1 / 16)
    assert "is not inverted" in run(capsys, "evaluate", scores, "--flip")[2]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda text: text.replace("A07 spoof -2.5", "A07 spoof"),
            [],
            "mine.txt, line 5: expected 4 columns as in line 1, found 3",
        ),
        (lambda text: text.replace("-2.5", "nan"), [], "mine.txt, line 5: the score of s0 is NaN"),
        (lambda text: text + "s0 A07 spoof 3\n", [], "mine.txt, line 9: s0 occurs twice, first in line 5"),
        (lambda text: text.replace("s0", "s9"), ["--protocol"], "mine.txt, line 5: s9 is not in protocol"),
        (lambda text: text.replace("bonafide 3", "perhaps 3"), ["--protocol"], "line 4: the key is 'perhaps'; expected a word"),
        (lambda text: "LA_E_1 1\nLA_E_2 2\n", ["--protocol"], "line 1: LA_E_1 is not in protocol, nor is any other .* another set"),
        (lambda text: text.partition("\n")[2], ["--protocol"], "has no score for b0 of protocol .1 of 8.. Allow missing"),
        (lambda text: "\n".join(text.splitlines()[4:]), [], "lines 1 to 4: all 4 scored trials are spoof"),
        (lambda text: "u 1\nv 2\n", [], "does not say which utterances are spoofed. Give the protocol"),
        (lambda text: "", [], "mine.txt is empty"),
        (str, ["--columns", "value=x"], "--columns value=x: expected WHAT=NAME"),
        (str, ["--resamples", "3"], "95 % intervals need 100 or more"),
        (str, ["--protocol", "{folder}/none"], "none is not there; check the path"),
        (str, ["--protocol", "{folder}"], "could not be read: Is a directory"),
        (str, ["--asv-scores", "{folder}/none"], "could not be read"),
    ],
)
def test_bad_input_is_told_in_a_sentence(
    scores: Path, change, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scores.write_text(change(scores.read_text()))
    options = [option.format(folder=scores.parent) for option in options]
    if options == ["--protocol"]:
        options += [str(scores.with_name("protocol.txt"))]
    status, out, err = run(capsys, "evaluate", scores, *options)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    with pytest.raises(ValueError, match=message):
        raise ValueError(err)


def test_missing_scores_count_as_not_scored_when_allowed(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores.write_text(scores.read_text().partition("\n")[2].replace("-2.5", "nan"))
    told = evaluated(capsys, scores, "--protocol", scores.with_name("protocol.txt"), "--allow-missing")
    assert (told["num_bona_fide"], told["num_spoof"], told["num_not_scored"]) == (3, 3, 2)
    assert told["note"] == "2 trials have no score"


def test_a_table_by_its_columns(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["wav,kind,how,llr", *(f"{u},{key},{attack},{score}" for u, attack, key, score in (line.split() for line in LINES))]
    table = scores.with_name("table.csv")
    table.write_text("\n".join(rows) + "\n")
    columns = ["utterance=wav", "label=kind", "attack=how", "score=llr"]
    assert "Which holds the score? Choose one of wav, kind, how, llr" in run(capsys, "evaluate", table)[2]
    assert evaluated(capsys, table, "--columns", *columns)["auc"] == pytest.approx(15 / 16)


def test_import_puts_a_system_into_the_store(scores: Path, store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    protocol = scores.with_name("protocol.txt")
    status, out, err = run(capsys, "import-scores", scores, "--protocol", protocol)
    store = Store(store_url)
    summary = list_trial_sets(store)[0]
    assert (status, err) == (0, "")
    assert out == f"mine is imported for protocol (4 bona fide, 4 spoofed; set {summary.key})\n"
    assert (summary.name, [system.name for system in summary.systems]) == ("protocol", ["mine"])
    status, out, err = run(capsys, "import-scores", scores)
    assert (status, out) == (1, "")
    assert "has a system 'mine' already" in err
    # Labels of the file's own make the same set.
    flipped = ["--name", "turned", "--higher-means", "spoof", "--flip", "--db", store_url]
    status, out, _ = run(capsys, "import-scores", scores, *flipped)
    assert status == 0
    assert out == f"turned is imported for protocol (4 bona fide, 4 spoofed; set {summary.key}); its sign was flipped\n"
    assert [system.name for system in list_trial_sets(store)[0].systems] == ["turned", "mine"]
    mine, turned = load_systems(store, summary.key, ["mine", "turned"])
    assert mine.scores.tolist() == turned.scores.tolist() == [0, -1, -2, -3, 2.5, 1.5, 0.5, -0.5]
    assert (mine.is_flipped, turned.is_flipped) == (False, True)

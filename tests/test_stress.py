"""core.stress on recordings and sets: scores as a scan's, flips along lines, figures by hand, caches that go on, files, command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from core.commands.program import main
from core.detect import Scorer
from core.errors import AudioRefusal, CoreError
from core.evaluation.labelled_folders import recordings_of, recordings_of_audit
from core.metrics import equal_error_rate
from core.records import Verdict
from core.stress import data_set
from core.stress.conditions import CLEAN, CONDITIONS, conditions_named
from core.stress.data_set import stress_trials
from core.stress.figures import Scores, stress_cells, verdict_shares
from core.stress.recording import card_of, smallest_flips, stress_recording
from core.stress.records import POOLED, StressedScore
from core.stress.scoring import Judgement, judge_all
from core.stress.table_files import find_tables, load_table, own_stress_folder, save_table

FEW = ("trim_silence", "phone_gsm", "noise_white_30db", "noise_white_10db")
NAMES = {Verdict.SPOOF: 2.0, Verdict.INCONCLUSIVE: 0.0, Verdict.BONA_FIDE: -2.0}


def row(name: str, verdict: Verdict, clean: Verdict) -> StressedScore:
    return StressedScore(
        condition=CONDITIONS[name],
        score=NAMES.get(verdict),
        verdict=verdict,
        change=None if verdict is Verdict.REFUSED else NAMES[verdict] - NAMES[clean],
        reason="Silent." if verdict is Verdict.REFUSED else "",
        survives=verdict is clean,
    )


@pytest.fixture
def labelled(tmp_path: Path, write_recordings) -> tuple[Path, Path]:
    """A folder of 12 recordings of 12 speakers and a protocol: every second one is a spoof by A or B."""
    paths = write_recordings(tmp_path / "set", 12)
    protocol = tmp_path / "set.txt"
    lines = [
        f"s{i} {path.stem} - {'AB'[i % 4 // 2] if i % 2 else '-'} {'spoof' if i % 2 else 'bonafide'}"
        for i, path in enumerate(paths)
    ]
    protocol.write_text("\n".join(lines) + "\n")
    return tmp_path / "set", protocol


def test_scores_in_memory_are_a_scans(tiny_detector, tmp_path: Path, speech_like) -> None:
    sounds = [speech_like(2.0), speech_like(9.3, 1), np.zeros(32_000, np.float32), np.zeros(100, np.float32), speech_like(0.4)]
    scorer = Scorer(tiny_detector)
    for i, samples in enumerate(sounds):
        soundfile.write(tmp_path / f"{i}.wav", samples, 16_000, subtype="FLOAT")
    judged = judge_all(scorer, sounds)
    for one, record in zip(judged, scorer.score_files(tmp_path / f"{i}.wav" for i in range(5)), strict=True):
        scanned = record.detections[0]
        assert one.verdict is scanned.verdict
        assert (one.score is None) == (scanned.spoof_score is None)
        if one.score is None:
            assert one.reason == scanned.reason
        else:
            assert one.score == pytest.approx(scanned.spoof_score, abs=1e-5)


def test_a_card_tells_every_condition(lively_detector, speech_like) -> None:
    seen = []
    card = stress_recording(lively_detector, speech_like(3.0, 2), on_progress=lambda done, num: seen.append((done, num)))
    assert [one.condition.name for one in card.rows] == list(CONDITIONS)
    assert seen[-1] == (len(CONDITIONS), len(CONDITIONS))
    quieter = next(one for one in card.rows if one.condition.name == "gain_down_10db")
    assert quieter.survives
    assert abs(quieter.change) < 0.05
    assert any(abs(one.change) > 0.05 for one in card.rows)
    for one in card.rows:
        assert one.survives == (one.verdict is card.verdict)
        assert one.change == pytest.approx(one.score - card.score)
    assert {flip.line for flip in card.smallest_flip} == {condition.line for condition in CONDITIONS.values()}
    assert f"stays under {card.num_survived} of {len(CONDITIONS)} conditions" in card.words
    again = stress_recording(lively_detector, speech_like(3.0, 2), conditions_named(FEW), scorer=Scorer(lively_detector))
    assert [one.score for one in again.rows] == pytest.approx(
        [one.score for one in card.rows if one.condition.name in FEW], abs=1e-4
    )
    assert again.survives_phone == next(one.survives for one in card.rows if one.condition.name == "phone_gsm")


def test_the_smallest_flip_is_the_mildest_along_its_line() -> None:
    clean = Verdict.SPOOF
    said = {
        "noise_white_30db": Verdict.SPOOF,
        "noise_white_20db": Verdict.INCONCLUSIVE,
        "noise_white_10db": Verdict.SPOOF,
        "noise_white_5db": Verdict.BONA_FIDE,
        "room_small": Verdict.SPOOF,
        "room_large": Verdict.SPOOF,
        "phone_gsm": Verdict.REFUSED,
    }
    rows = [row(name, verdict, clean) for name, verdict in reversed(said.items())]
    flips = {flip.line: flip for flip in smallest_flips(rows, clean)}
    assert flips["White noise"].condition.name == "noise_white_20db"
    assert flips["White noise"].verdict is Verdict.INCONCLUSIVE
    assert flips["White noise"].words == (
        "Becomes inconclusive with white noise, 20 dB SNR, though not with white noise, 10 dB SNR."
    )
    assert flips["Room"].condition is None
    assert flips["Room"].words == "Stays spoof up to hall, T60 1 s."
    assert flips["Mobile"].verdict is Verdict.REFUSED
    assert flips["Mobile"].words.endswith("Silent.")
    assert smallest_flips([], clean) == ()


def test_words_of_a_card(tiny_detector) -> None:
    clean = Judgement(score=2.0, verdict=Verdict.SPOOF)
    rows = [row("phone_gsm", Verdict.BONA_FIDE, Verdict.SPOOF), row("trim_silence", Verdict.SPOOF, Verdict.SPOOF)]
    card = card_of(tiny_detector, clean, rows)
    assert card.survives_phone is False
    assert card.words == (
        "The verdict spoof (score +2.00) stays under 1 of 2 conditions. It does not survive a phone call: mobile, GSM full rate."
        " It turns into its opposite, bona fide, with mobile, GSM full rate."
    )
    assert card_of(tiny_detector, clean, rows[1:]).survives_phone is None
    assert card_of(tiny_detector, clean, []).words == "No condition was tried."


def test_what_cannot_be_judged_has_no_card(tiny_detector) -> None:
    with pytest.raises(AudioRefusal, match="no verdict to stress: Silent"):
        stress_recording(tiny_detector, np.zeros(32_000, np.float32))


def _scores(label: list[str], judged: dict[str, list[float | None]], **columns: list) -> Scores:
    def one(score: float | None) -> Judgement:
        if score is None:
            return Judgement(score=None, verdict=Verdict.REFUSED, reason="Silent.")
        return Judgement(
            score=score, verdict=Verdict.SPOOF if score >= 1 else Verdict.BONA_FIDE if score < -1 else Verdict.INCONCLUSIVE
        )

    table = pd.DataFrame({"path": [str(i) for i in range(len(label))], "label": label, **columns})
    return Scores(recordings=table, judgements={name: [one(score) for score in scores] for name, scores in judged.items()})


def test_cells_by_hand() -> None:
    label = ["bona fide"] * 6 + ["spoof"] * 6
    attack = [None] * 6 + ["A"] * 5 + ["rare"]
    clean = [-3, -2.5, -2, -1.8, -1.5, -1.2, 3, 2.5, 2, 1.8, 1.5, 1.2]
    # One bona fide trial (of 5 left) goes above all of A but one, and one is refused.
    noisy = [None, 2.8, -2, -1.8, -1.5, -1.2, 3, 2.5, 2, 1.8, 1.5, 1.2]
    scores = _scores(label, {"clean": clean, "phone_gsm": noisy}, attack=attack)
    attacks, cells, resampled, notes = stress_cells(scores, by="attack", num_resamples=200, seed=0)
    assert attacks == (POOLED, "A")
    assert resampled == "recordings"
    assert notes == ("Groups of fewer than 5 spoofs, which count among all spoofs only: 1.",)
    assert cells["clean"]["A"].eer == 0.0
    assert cells["clean"]["A"].change is None
    pooled, of_a = cells["phone_gsm"][POOLED], cells["phone_gsm"]["A"]
    is_spoof = np.array([one == "spoof" for one in label])
    kept = np.array([score is not None for score in noisy])
    finite = np.array([math.nan if score is None else score for score in noisy])
    assert pooled.eer == pytest.approx(equal_error_rate(finite[kept], is_spoof[kept])[0])
    assert of_a.eer == pytest.approx(0.2)  # 1 of 5 false alarms, and at that threshold 1 of 5 missed at most
    assert of_a.change == of_a.eer
    assert of_a.low <= of_a.eer <= of_a.high
    assert of_a.change_low <= of_a.change <= of_a.change_high
    assert (pooled.num_bona_fide, pooled.num_spoof, of_a.num_spoof) == (5, 6, 5)
    assert "left out: 1." in of_a.note


def test_a_condition_that_changes_nothing_has_no_change() -> None:
    rng = np.random.default_rng(0)
    label = ["bona fide"] * 40 + ["spoof"] * 40
    clean = [*rng.normal(-1, 1, 40), *rng.normal(1, 1, 40)]
    speaker = [f"s{i % 8}" for i in range(80)]
    scores = _scores(label, {"clean": clean, "phone_gsm": clean}, speaker=speaker)
    _, cells, resampled, _ = stress_cells(scores, by="attack", num_resamples=200, seed=0)
    cell = cells["phone_gsm"][POOLED]
    assert resampled == "speakers"
    assert (cell.change, cell.change_low, cell.change_high, cell.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert cell.eer == cells["clean"][POOLED].eer == pytest.approx(equal_error_rate(np.array(clean), np.arange(80) >= 40)[0])


def test_refused_classes_are_told() -> None:
    scores = _scores(["bona fide", "spoof"], {"clean": [-2.0, 2.0], "phone_gsm": [-2.0, None]}, attack=[None, "A"])
    _, cells, _, _ = stress_cells(scores, by="attack", num_resamples=100, seed=0)
    assert cells["phone_gsm"][POOLED].eer is None
    assert cells["phone_gsm"][POOLED].note.startswith("One class was refused altogether.")


def test_shares_by_hand() -> None:
    scores = _scores(
        ["spoof", "spoof", "bona fide", "bona fide", "spoof"],
        {"clean": [2, 2, -2, -2, 0], "phone_gsm": [2, -2, -2, None, 2], "mp3_64k": [2, 0, -2, -2, 2]},
    )
    shares = {(share.condition, share.label): share for share in verdict_shares(scores, has_verdicts=True)}
    every = shares["phone_gsm", "all"]
    assert (every.num, every.num_same, every.num_opposite, every.num_inconclusive, every.num_refused) == (4, 2, 1, 0, 1)
    assert every.share == 0.5
    assert 0 < every.low < 0.5 < every.high < 1
    assert shares["phone_gsm", "said spoof"].num == 2
    assert shares["phone_gsm", "bona fide"].num_refused == 1
    assert shares["mp3_64k", "all"].num_inconclusive == 1
    assert shares["mp3_64k", "said bona fide"].share == 1.0
    assert verdict_shares(scores, has_verdicts=False) == ()


def test_a_set_in_two_processes_is_the_same_as_in_one(lively_detector, labelled, tmp_path: Path) -> None:
    name, recordings = recordings_of(*labelled)
    options = {"set_name": name, "num_resamples": 100}
    one = stress_trials(lively_detector, recordings, conditions_named(FEW[:2]), **options)
    two = stress_trials(lively_detector, recordings, conditions_named(FEW[:2]), num_processes=2, **options)
    assert name == "set"
    assert [condition.name for condition in one.conditions] == ["clean", *FEW[:2]]
    assert one.attacks == (POOLED,)  # three spoofs each are too few for rows of their own
    for mine, other in zip(one.all_cells(), two.all_cells(), strict=True):
        assert mine.eer == pytest.approx(other.eer)
        assert mine.num_spoof == other.num_spoof == 6
    assert one.shares == two.shares
    assert len(one.to_frame()) == 3


def test_a_stopped_test_goes_on(tiny_detector, labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, recordings = recordings_of(*labelled)
    cache, done = tmp_path / "scores.jsonl", []
    options = {"set_name": "set", "num_resamples": 100, "cache": cache, "on_progress": lambda num, _: done.append(num)}
    few = conditions_named(FEW[:1])
    assert stress_trials(tiny_detector, recordings, few, should_stop=lambda: len(done) == 5, **options) is None
    with open(cache, "a") as file:
        file.write('["half a li')  # as a killed process leaves it
    table = stress_trials(tiny_detector, recordings, few, **options)
    assert done == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert table.num_recordings == 12

    def never(*_: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(data_set, "_stressed", never)
    again = stress_trials(tiny_detector, recordings, few, **options)
    assert again.cells == table.cells
    with pytest.raises(CoreError, match="another detector, seed or version"):
        stress_trials(tiny_detector, recordings, few, seed=1, **options)
    cache.write_text(cache.read_text() + "[1]\n")
    with pytest.raises(CoreError, match="damaged"):
        stress_trials(tiny_detector, recordings, few, **options)


def test_without_labels_only_verdicts_are_compared(tiny_detector, labelled) -> None:
    folder, _ = labelled
    (folder / "broken.wav").write_bytes(b"no sound")
    name, recordings = recordings_of(folder)
    table = stress_trials(tiny_detector, recordings, conditions_named(["phone_gsm"]), set_name=name, num_resamples=100)
    assert table.attacks == ()
    assert table.cells == {}
    assert table.num_recordings == 13
    assert {share.label for share in table.shares} == {"all", "said spoof", "said bona fide"}
    assert table.notes[0].startswith("Without labels")
    with pytest.raises(CoreError, match="no recordings"):
        stress_trials(tiny_detector, recordings.iloc[:0], set_name=name)


def test_recordings_that_do_not_fit_a_protocol_are_told(labelled, tmp_path: Path) -> None:
    folder, protocol = labelled
    (tmp_path / "empty").mkdir()
    with pytest.raises(CoreError, match="no recordings"):
        recordings_of(tmp_path / "empty")
    other = tmp_path / "other.csv"
    other.write_text("utterance,label\nnobody,spoof\n")
    with pytest.raises(CoreError, match="names none of the 12"):
        recordings_of(folder, other)
    other.write_text("utterance,score\nnobody,1\n")
    with pytest.raises(CoreError, match=r"utterance, score; none of them is known as the label\. Call it 'label'"):
        recordings_of(folder, other)
    other.write_text("utt,label,family,speaker_id\nr0000,bonafide,,x\nr0001,spoof,vocoder,y\n")
    name, table = recordings_of(folder, other)
    assert name == "other"
    assert list(table["family"].fillna("")) == ["", "vocoder"]
    assert list(table["speaker"]) == ["x", "y"]
    (folder / "again").mkdir()
    (folder / "again" / "r0000.wav").write_bytes((folder / "r0000.wav").read_bytes())
    with pytest.raises(CoreError, match="r0000 occurs twice"):
        recordings_of(folder, protocol)


def test_tables_survive_files(tiny_detector, labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, recordings = recordings_of(*labelled)
    table = stress_trials(tiny_detector, recordings, conditions_named(FEW), set_name="set", num_resamples=100)
    monkeypatch.setenv("EARWITNESS_RESULTS", str(tmp_path / "results"))
    json_path, csv_path = save_table(table, own_stress_folder() / "mine.json")
    read = load_table(json_path)
    assert read.conditions == table.conditions
    assert read.shares == table.shares
    assert read.attacks == table.attacks
    for mine, other in zip(table.all_cells(), read.all_cells(), strict=True):
        assert other.eer == pytest.approx(mine.eer, abs=1e-6)
        assert other.attack == mine.attack
    assert list(pd.read_csv(csv_path)["condition"]) == ["clean", *(condition.name for condition in conditions_named(FEW))]
    (own_stress_folder() / "bad.json").write_text("{")
    newer = json.loads(json_path.read_text()) | {"schema_version": 9}
    (own_stress_folder() / "newer.json").write_text(json.dumps(newer))
    tables = find_tables()
    assert json_path in [path for path, _ in tables.found]
    assert len(tables.problems) == 2
    assert "schema version 9" in tables.problems[1]
    with pytest.raises(CoreError, match="must end with"):
        save_table(table, tmp_path / "table.csv")


def test_shipped_tables_are_whole() -> None:
    tables = [table for path, table in find_tables().found if "data/results/stress" in path.as_posix()]
    assert {table.detector_name for table in tables} == {"vgg27-spectrogram", "vgg27-telephone"}
    assert any(table.set_name == "Earwitness corpus, test" and table.grouping == "family" for table in tables)
    for table in tables:
        assert [condition.name for condition in table.conditions] == ["clean", *CONDITIONS]
        assert table.conditions[1:] == tuple(CONDITIONS.values()), "conditions changed: run the stress test again"
        for cell in table.all_cells():
            assert (cell.eer is not None and cell.low <= cell.eer + 1e-6 and cell.eer <= cell.high + 1e-6) or cell.note
        assert table.cells[CLEAN.name][POOLED].change is None


def test_the_command(tiny_detector, labelled, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, protocol = labelled
    assert main(["stress", str(folder / "r0000.wav"), "--conditions", "phone"]) == 0
    assert "phone call" in capsys.readouterr().out
    out = tmp_path / "t.json"
    command = ["stress", str(folder), "--protocol", str(protocol), "--conditions", "band_4k", "--resamples", "100"]
    assert main([*command, "--processes", "1", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "Resampled to 8 kHz" in text
    assert "EER" in text
    assert out.is_file()
    assert out.with_suffix(".csv").is_file()
    assert main(["stress", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(CONDITIONS)
    assert main([*command[:-1], "5"]) == 1
    assert "need 100 or more" in capsys.readouterr().err
    assert main([*command, "--out", "t.csv"]) == 1
    assert "must end with .json" in capsys.readouterr().err
    assert main(["stress", str(folder), "--conditions", "underwater"]) == 1
    assert "no condition 'underwater'" in capsys.readouterr().err
    assert main(["stress", str(folder / "r0000.wav"), "--protocol", str(protocol)]) == 1


def test_an_audit_of_the_store(tiny_detector, labelled, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from core.store.store import Store

    folder, protocol = labelled
    url = f"sqlite:///{tmp_path / 'store.db'}"
    assert main(["scan", str(folder), "--db", url]) == 0
    assert main(["scan", str(folder), "--db", url, "--protocol", str(protocol)]) == 0
    name, table = recordings_of_audit(Store(url), 1)
    assert name == "Audit 1, set"
    assert len(table) == 12
    assert table["label"].isna().all()
    assert Path(table["path"][0]).is_file()
    assert list(recordings_of_audit(Store(url), 2)[1]["label"].value_counts()) == [6, 6]
    capsys.readouterr()
    assert main(["stress", "--audit", "1", "--db", url, "--conditions", "band_4k", "--processes", "1"]) == 0
    assert "Without labels of both classes" in capsys.readouterr().out
    assert main(["stress", "--audit", "9", "--db", url]) == 1

"""core.evaluation.systems: imported, shipped and audited systems side by side; audits with labels; what is stored and what goes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
from ledger_records import THRESHOLDS, list_files, make_audit, make_detector, scored, unreadable

from core.errors import CoreError, ScoreFileError
from core.evaluation import shipped_results as shipped_module
from core.evaluation.labelled_audits import entry_of_trial
from core.evaluation.score_files import read_score_file
from core.evaluation.shipped_results import SET_NAME, SHIPPED_RESULTS, shipped_results
from core.evaluation.systems import add_system, attach_protocol, list_trial_sets, load_systems, load_trial_set, remove_system
from core.evaluation.trial_sets import TrialSet, make_trial_set
from core.protocols import Trial
from core.records import ScanSettings
from core.store.ledger import Ledger
from core.store.store import Store
from core.store.triage import add_reviews, triage_page

NAN = np.nan
TABLE = pd.DataFrame(
    {"utterance": list("abcd"), "label": ["bona fide", "spoof", "spoof", "bona fide"], "attack": [None, "A07", "A08", None]}
)


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the shipped results."""
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(shipped_module, "SHIPPED_RESULTS", tmp_path / "results")
    return tmp_path / "results"


def trials(name: str = "P", **columns: object) -> TrialSet:
    return make_trial_set(name, TABLE.assign(**columns))


def add(store: Store, trial_set: TrialSet, name: str, scores: list[float], **options: object) -> None:
    add_system(store, trial_set, name, np.array(scores), **({"is_flipped": False, "note": ""} | options))


def by_protocol(*utterances: str) -> dict[str, Trial]:
    table = TABLE.set_index("utterance").astype(object).where(TABLE.set_index("utterance").notna(), None)
    return {
        u: Trial(speaker="s", utterance=u, environment=None, attack=table.at[u, "attack"], label=table.at[u, "label"])
        for u in utterances
    }


# Imported --------------------------------------------------------------------------------------------------------


def test_an_imported_system_comes_back_as_it_was(store: Store) -> None:
    trial_set = trials(speaker=["s1", None, "s2", None], known_system=[None, True, False, None])
    add(store, trial_set, "mine", [-1.25, NAN, 1e-300, 3], is_flipped=True, note="1 trial has no score")
    (summary,) = list_trial_sets(store)
    assert (summary.key, summary.name, summary.num_bona_fide, summary.num_spoof) == (trial_set.key, "P", 2, 2)
    (of_system,) = summary.systems
    assert (of_system.name, of_system.origin, of_system.num_scored, of_system.audit_id) == ("mine", "imported", 3, None)
    assert of_system.imported_at > 1e9
    pd.testing.assert_frame_equal(load_trial_set(store, trial_set.key).table, trial_set.table)
    (system,) = load_systems(Store(store.url), trial_set.key, ["mine"])
    assert np.array_equal(system.scores, [-1.25, NAN, 1e-300, 3], equal_nan=True)
    assert (system.name, system.origin, system.is_flipped, system.note) == ("mine", "imported", True, "1 trial has no score")
    assert (system.thresholds, system.audit_id) == (None, None)


def test_the_same_protocol_twice_is_one_set_and_scores_follow_the_trials(store: Store) -> None:
    add(store, trials(), "first", [1, 2, 3, 4])
    fuller = make_trial_set("Official", TABLE.assign(speaker=list("wxyz")).iloc[[3, 1, 0, 2]])
    add(store, fuller, "second", [4, 2, 1, 3])
    add(store, trials("poorer"), "third", [1, 2, 3, 4])
    (summary,) = list_trial_sets(store)
    assert (summary.name, [system.name for system in summary.systems]) == ("Official", ["third", "second", "first"])
    systems = load_systems(store, summary.key, ["second", "first", "third"])
    for system in systems:
        assert system.trial_set.table["utterance"].tolist() == list("abcd")
        assert system.trial_set.table["speaker"].tolist() == list("wxyz")
        assert system.scores.tolist() == [1, 2, 3, 4]


def test_sets_are_listed_by_their_newest_import(store: Store) -> None:
    other = trials("Q", attack=[None, "A09", "A08", None])
    add(store, trials(), "x", [1, 2, 3, 4])
    add(store, other, "x", [1, 2, 3, 4])
    assert [summary.name for summary in list_trial_sets(store)] == ["Q", "P"]
    add(store, trials(), "y", [1, 2, 3, 4])
    assert [summary.name for summary in list_trial_sets(store)] == ["P", "Q"]


@pytest.mark.parametrize(
    ("name", "scores", "message"),
    [
        ("taken", [1, 2, 3, 4], "has a system 'taken' already"),
        (" ", [1, 2, 3, 4], "needs a name"),
        ("x", [1, 2, 3], "expected 4 scores"),
        ("x", [1, 2, 3, np.inf], "finite or NaN"),
        ("x", [NAN] * 4, "finite or NaN"),
    ],
)
def test_what_cannot_be_added_is_refused_and_changes_nothing(store: Store, name: str, scores: list[float], message: str) -> None:
    add(store, trials(), "taken", [1, 2, 3, 4])
    before = list_trial_sets(store)
    with pytest.raises(CoreError, match=message):
        add(store, trials("fuller", speaker="s"), name, scores)
    assert list_trial_sets(store) == before


def test_removing_systems_and_with_the_last_one_the_set(store: Store) -> None:
    key = trials().key
    add(store, trials(), "x", [1, 2, 3, 4])
    add(store, trials(), "y", [1, 2, 3, 4])
    remove_system(store, key, "x")
    assert [system.name for system in list_trial_sets(store)[0].systems] == ["y"]
    with pytest.raises(CoreError, match="P has no system 'x'"):
        load_systems(store, key, ["y", "x"])
    with pytest.raises(CoreError, match="no imported system 'x'"):
        remove_system(store, key, "x")
    remove_system(store, key, "y")
    assert list_trial_sets(store) == ()
    with pytest.raises(CoreError, match="no such set of trials"):
        load_trial_set(store, key)


# Shipped ---------------------------------------------------------------------------------------------------------


def write_results(folder: Path) -> None:
    header = "utterance,attack,label,speaker,source,spoof_score\n"
    (folder / "old.test.csv").write_text(header + "b,x,spoof,s,p,1\na,-,bona fide,s,p,0\n")
    header = header.replace("spoof_score", "family,known_system,spoof_score")
    (folder / "new.test.csv").write_text(header + "a,-,bona fide,s,p,rec,,-2\nb,x,spoof,s,p,TTS,True,2\n")


def test_shipped_results_come_last_and_take_imports(store: Store, results: Path) -> None:
    write_results(results)
    add(store, trials(), "x", [1, 2, 3, 4])
    listed = list_trial_sets(store)
    assert [summary.name for summary in listed] == ["P", SET_NAME]
    key = listed[1].key
    assert [(s.name, s.origin, s.num_scored, s.imported_at) for s in listed[1].systems] == [
        ("new", "shipped", 2, None),
        ("old", "shipped", 2, None),
    ]
    new, old = load_systems(store, key, ["new", "old"])
    assert new.trial_set.table["family"].tolist() == ["rec", "TTS"]
    assert (new.scores.tolist(), old.scores.tolist()) == ([-2, 2], [0, 1])
    # The same trials in another order, from a file that knows less.
    table = read_score_file(b"b x spoof 5\na - bonafide 4\n", name="mine")
    add_system(store, table.trial_set("mine"), "mine", table.spoof_scores("spoof"), is_flipped=False, note="")
    with pytest.raises(CoreError, match="has a system 'old' already"):
        add_system(store, table.trial_set("mine"), "old", table.scores, is_flipped=False, note="")
    listed = list_trial_sets(store)
    assert [(summary.name, [s.name for s in summary.systems]) for summary in listed] == [
        ("P", ["x"]),
        (SET_NAME, ["mine", "new", "old"]),
    ]
    mine, new = load_systems(store, key, ["mine", "new"])
    assert mine.trial_set is new.trial_set
    assert mine.scores.tolist() == [4, 5]
    with pytest.raises(CoreError, match="not removed here"):
        remove_system(store, key, "old")
    remove_system(store, key, "mine")
    assert [s.name for s in list_trial_sets(store)[1].systems] == ["new", "old"]


def test_changed_results_are_read_again_and_damaged_ones_told(results: Path) -> None:
    assert shipped_results() is None
    write_results(results)
    assert shipped_results() is shipped_results()
    (results / "odd.test.csv").write_text("utterance,label,score\na,bona fide,1\nb,spoof,2\n")
    with pytest.raises(ScoreFileError, match=r"odd.test.csv has no column spoof_score"):
        shipped_results()
    (results / "odd.test.csv").write_text("utterance,label,spoof_score\na,bona fide,1\nz,spoof,2\n")
    with pytest.raises(ScoreFileError, match=r"odd.test.csv, line 3: z is not in"):
        shipped_results()


def test_the_results_that_come_with_earwitness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_module, "SHIPPED_RESULTS", SHIPPED_RESULTS)
    shipped = shipped_results()
    assert (shipped.trial_set.num_bona_fide, shipped.trial_set.num_spoof) == (380, 304)
    assert shipped.trial_set.table["known_system"].sum() == 119  # as data/results/REPORT.md says
    assert {"earwitness", "always-spoof", "vgg27-spectrogram"} <= set(shipped.scores)
    assert all(np.isfinite(scores).all() for scores in shipped.scores.values())
    assert (shipped.scores["always-spoof"] == 1).all()


# Audits ----------------------------------------------------------------------------------------------------------


def labelled_audit(store: Store, **options: object) -> int:
    """`a.wav` to `d.wav`: a bona fide, b and c spoofed, d without a label; c is refused, e pending."""
    records = [
        scored("a.wav", -2.0),
        scored("b.wav", 3.0, codec="OPUS", duration_s=2.5),
        scored("c.wav", None),
        scored("d.wav", 0.0),
    ]
    settings = ScanSettings(protocol="/p.txt")
    audit_id = store.create_audit("/audio", options.get("detector") or make_detector(), settings)
    ledger = Ledger(store, audit_id, "host:1:x")
    ids = list_files(ledger, [*(record.path for record in records), "e.wav"], by_protocol("a", "b", "c"))
    ledger.record_results(scored=[(ids[record.path], record) for record in records], reused=[])
    return audit_id


def test_an_audit_with_a_protocol_is_a_labelled_set(store: Store) -> None:
    audit_id = labelled_audit(store)
    make_audit(
        store, [scored("a.wav", 1.0)], detector=make_detector("other", "cd" * 32)
    )  # a second one of the folder, without labels; c and b are not in it
    third = store.create_audit("/elsewhere", make_detector(), ScanSettings())
    (summary,) = list_trial_sets(store)
    assert (summary.key, summary.name) == (f"audit-{audit_id}", f"Audit {audit_id}, audio, labels by protocol")
    assert (summary.num_bona_fide, summary.num_spoof) == (1, 2)
    assert [(s.name, s.origin, s.audit_id, s.num_scored) for s in summary.systems] == [
        ("fake (audit 1)", "audit", 1, 2),
        ("other (audit 2)", "audit", 2, 1),
    ]
    trial_set = load_trial_set(store, summary.key)
    assert trial_set.table["utterance"].tolist() == ["a", "b", "c"]
    assert trial_set.table["path"].tolist() == ["a.wav", "b.wav", "c.wav"]
    assert trial_set.table["codec"].tolist() == ["PCM_16", "OPUS", "PCM_16"]
    assert trial_set.table["duration_s"].tolist() == [4.0, 2.5, 4.0]
    assert trial_set.table["attack"].tolist()[1:] == ["A07", "A08"]
    own, other = load_systems(store, summary.key, ["fake (audit 1)", "other (audit 2)"])
    assert np.array_equal(own.scores, [-2, 3, NAN], equal_nan=True)
    assert (own.thresholds, own.origin, own.audit_id, own.note) == (THRESHOLDS, "audit", 1, "1 trial has no score (1 refused)")
    assert np.array_equal(other.scores, [1, NAN, NAN], equal_nan=True)
    assert other.note == "2 trials have no score (2 not in the audit or pending)"
    for key in (f"audit-{third}", "audit-99", "audit-99-reviews"):
        with pytest.raises(CoreError, match=r"has a label. Attach a protocol, or review"):
            load_trial_set(store, key)


def test_reviews_serve_as_labels(store: Store) -> None:
    records = [scored("a.wav", -2.0), scored("b.wav", 3.0), scored("copy.wav", 3.0, content="b.wav"), scored("c.wav", 1.0)]
    audit_id, ids = make_audit(store, records)
    add_reviews(store, [ids["a.wav"]], verdict="spoof", reviewer="me")
    add_reviews(store, [ids["a.wav"]], verdict="bona fide", reviewer="me")  # the newest counts
    add_reviews(store, [ids["b.wav"]], verdict="spoof", reviewer="me")
    add_reviews(store, [ids["c.wav"]], verdict="inconclusive", reviewer="me")
    (summary,) = list_trial_sets(store)
    assert (summary.key, summary.name) == (f"audit-{audit_id}-reviews", f"Audit {audit_id}, audio, labels by reviews")
    (system,) = load_systems(store, summary.key, [summary.systems[0].name])
    assert system.trial_set.table[["utterance", "label"]].to_numpy().tolist() == [["a", "bona fide"], ["b", "spoof"]]
    assert (summary.num_bona_fide, summary.num_spoof, summary.systems[0].num_scored) == (1, 1, 2)
    assert (system.scores.tolist(), system.note) == ([-2.0, 3.0], "")


def test_a_protocol_is_attached_and_the_audit_joins_its_set(store: Store) -> None:
    audit_id, ids = make_audit(
        store, [scored("x/a.wav", -2.0), scored("x/b.wav", 3.0), scored("y/b.wav", 5.0), unreadable("c.wav")]
    )
    protocol = trials(speaker=list("wxyz"), environment=["e", "f", "g", "h"])
    assert attach_protocol(store, audit_id, protocol) == 3
    rows = {row.path: (row.label, row.attack) for row in triage_page(store, audit_id).rows}
    # The first file of a name is the utterance.
    assert rows == {
        "x/a.wav": ("bona fide", None),
        "x/b.wav": ("spoof", "A07"),
        "y/b.wav": (None, None),
        "c.wav": ("spoof", "A08"),
    }
    own, joined = sorted(list_trial_sets(store), key=lambda summary: summary.name)
    assert (own.key, joined.key, joined.num_spoof) == (f"audit-{audit_id}", protocol.key, 2)
    name = f"fake (audit {audit_id})"
    assert [(s.name, s.num_scored, s.audit_id) for s in joined.systems] == [(name, 2, audit_id)]
    (system,) = load_systems(store, protocol.key, [name])
    assert np.array_equal(system.scores, [-2, 3, NAN, NAN], equal_nan=True)
    assert system.note == "2 trials have no score (1 refused, 1 not in the audit or pending)"
    table = load_trial_set(store, own.key).table
    assert table["utterance"].tolist() == ["c", "a", "b"]
    assert table["environment"].tolist() == ["g", "e", "f"]
    assert table["speaker"].tolist() == ["y", "w", "x"]
    # Score files stand beside it.
    add(store, trials(), "theirs", [1, 2, 3, 4])
    with pytest.raises(CoreError, match=r"has a system 'fake .audit 1.' already"):
        add(store, trials(), name, [1, 2, 3, 4])
    both = load_systems(store, protocol.key, ["theirs", name])
    assert [system.origin for system in both] == ["imported", "audit"]
    remove_system(store, protocol.key, "theirs")
    assert load_systems(store, protocol.key, [name])[0].scores[1] == 3.0
    assert entry_of_trial(store, audit_id, utterance="b") == ids["x/b.wav"]
    assert entry_of_trial(store, audit_id, utterance="b", path="y/b.wav") == ids["y/b.wav"]
    assert entry_of_trial(store, audit_id, utterance="d") is None


def test_attaching_again_replaces_labels_and_drops_what_nothing_uses(store: Store) -> None:
    audit_id, _ = make_audit(store, [scored("a.wav", -2.0), scored("b.wav", 3.0)])
    attach_protocol(store, audit_id, trials())
    other = make_trial_set("Q", pd.DataFrame({"utterance": ["b", "z"], "label": ["bona fide", "spoof"]}))
    assert attach_protocol(store, audit_id, other) == 1
    assert {row.path: row.label for row in triage_page(store, audit_id).rows} == {"a.wav": None, "b.wav": "bona fide"}
    assert {summary.name for summary in list_trial_sets(store)} == {"Q", f"Audit {audit_id}, audio, labels by protocol"}
    assert attach_protocol(store, audit_id, other) == 1


def test_what_cannot_be_attached_is_refused_and_changes_nothing(store: Store) -> None:
    audit_id, _ = make_audit(store, [scored("a.wav", -2.0)])
    attach_protocol(store, audit_id, trials())
    before = list_trial_sets(store)
    foreign = make_trial_set("Q", pd.DataFrame({"utterance": ["z"], "label": ["spoof"]}))
    with pytest.raises(CoreError, match=r"No file of audit 1 is in Q .files like a.wav, utterances like z.: .* another set"):
        attach_protocol(store, audit_id, foreign)
    with pytest.raises(CoreError, match="Audit 9 is not in this store"):
        attach_protocol(store, 9, trials())
    with pytest.raises(CoreError, match="still being listed"):
        attach_protocol(store, store.create_audit("/audio", make_detector(), ScanSettings()), trials())
    with pytest.raises(CoreError, match="another audit cannot be attached"):
        attach_protocol(store, audit_id, load_trial_set(store, f"audit-{audit_id}"))
    with pytest.raises(CoreError, match="not for the labels of an audit"):
        add(store, load_trial_set(store, f"audit-{audit_id}"), "x", [1])
    assert list_trial_sets(store) == before


def test_files_of_one_name_are_told_apart(store: Store) -> None:
    settings = ScanSettings(protocol="/p.txt")
    audit_id = store.create_audit("/audio", make_detector(), settings)
    ledger = Ledger(store, audit_id, "host:1:x")
    ids = list_files(ledger, ["x/a.wav", "y/a.wav", "b.wav"], by_protocol("a", "b"))
    records = [scored("x/a.wav", 1.0), scored("y/a.wav", 2.0), scored("b.wav", 3.0)]
    ledger.record_results(scored=[(ids[record.path], record) for record in records], reused=[])
    (system,) = load_systems(store, f"audit-{audit_id}", [f"fake (audit {audit_id})"])
    assert system.trial_set.table["utterance"].tolist() == ["b", "x/a.wav", "y/a.wav"]
    assert system.scores.tolist() == [3, 1, 2]


# At once ----------------------------------------------------------------------------------------------------------


def _at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Results of calls that threads start together; what they failed of, where it is a `CoreError`."""
    barrier = Barrier(len(calls))

    def call(function: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return function()
        except CoreError as error:
            return str(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_of_imports_of_one_name_at_once_one_succeeds_and_the_others_are_told(store: Store) -> None:
    outcomes = _at_once([lambda: add(store, trials(), "lcnn", [0.1, 2.0, 1.0, 0.0])] * 4)
    assert outcomes.count(None) == 1
    told = "P has a system 'lcnn' already. Give this one another name, or remove the other first."
    assert outcomes.count(told) == 3
    (summary,) = [each for each in list_trial_sets(store) if each.name == "P"]
    assert [system.name for system in summary.systems] == ["lcnn"]


def test_imports_of_many_names_at_once_share_one_set(store: Store) -> None:
    names = [f"s{i}" for i in range(6)]
    assert _at_once([lambda name=name: add(store, trials(), name, [0.1, 2.0, 1.0, 0.0]) for name in names]) == [None] * 6
    (summary,) = [each for each in list_trial_sets(store) if each.name == "P"]
    assert sorted(system.name for system in summary.systems) == names


def test_a_set_that_is_removed_while_it_is_imported_for_is_there_in_the_end(store: Store) -> None:
    key = trials().key
    for i in range(5):
        add(store, trials(), f"old{i}", [0.1, 2.0, 1.0, 0.0])
        calls = [
            lambda i=i: remove_system(store, key, f"old{i}"),
            lambda i=i: add(store, trials(), f"new{i}", [0.1, 2.0, 1.0, 0.0]),
        ]
        assert _at_once(calls) == [None, None]
        assert [system.name for system in load_systems(store, key, [f"new{i}"])] == [f"new{i}"]
        remove_system(store, key, f"new{i}")

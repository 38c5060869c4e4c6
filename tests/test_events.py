"""core.store.events: who did what when, in a chain that tells of every change."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from ledger_records import make_audit, scored

from core.evaluation.systems import attach_protocol
from core.evaluation.trial_sets import make_trial_set
from core.records import TriageFilter
from core.store.events import audit_events, broken_links, named_recordings
from core.store.exports import export_audit, export_bytes
from core.store.store import Store
from core.store.triage import add_reviews, entry_detail
from core.whole_files import file_sha256


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


def test_the_log_tells_who_did_what_and_is_chained(store: Store) -> None:
    audit_id, ids = make_audit(store, [scored("a.wav", 2.0), scored("b.wav", 1.0)])
    other, _ = make_audit(store, [])
    add_reviews(store, [ids["a.wav"], ids["b.wav"]], verdict="spoof", reviewer="Ada", note="hiss")
    store.request(audit_id, "pause")
    log = audit_events(store, audit_id)
    assert log[0].action == "created"
    assert [event.action for event in log][-2:] == ["reviewed", "asked"]
    reviewed = next(event for event in log if event.action == "reviewed")
    details = json.loads(reviewed.details)
    assert (reviewed.actor, details["verdict"], details["note"], details["num_recordings"]) == ("Ada", "spoof", "hiss", 2)
    assert len(details["recordings"]) == 2
    assert [event.number for event in log] == list(range(1, len(log) + 1))
    assert broken_links(log) == ()
    assert [event.action for event in audit_events(store, other)][:1] == ["created"]


def test_exports_and_labels_are_told(store: Store, tmp_path: Path) -> None:
    audit_id, _ = make_audit(store, [scored("a.wav", 2.0), scored("b.wav", 1.0)])
    protocol = make_trial_set("mine", pd.DataFrame({"utterance": ["a", "z"], "label": ["spoof", "bona fide"]}))
    attach_protocol(store, audit_id, protocol, by="Ada")
    export_audit(store, audit_id, tmp_path / "a.csv", TriageFilter(text="b"), by="Ben")
    export_bytes(store, audit_id, ".jsonl")
    labelled, first, second = (event for event in audit_events(store, audit_id) if event.action in ("labelled", "exported"))
    assert (labelled.actor, json.loads(labelled.details)["name"], json.loads(labelled.details)["num_files"]) == ("Ada", "mine", 1)
    said = json.loads(first.details)
    assert (first.actor, said["name"], said["num_rows"], said["filter"]["text"]) == ("Ben", "a.csv", 1, "b")
    assert said["sha256"] == file_sha256(tmp_path / "a.csv")
    assert json.loads(second.details)["name"] == f"audit-{audit_id}.jsonl"
    assert broken_links(audit_events(store, audit_id)) == ()


def test_a_log_that_was_tampered_with_is_told(store: Store) -> None:
    audit_id, ids = make_audit(store, [scored("a.wav", 2.0)])
    for note in ("one", "two", "three"):
        add_reviews(store, [ids["a.wav"]], verdict="spoof", reviewer="Ada", note=note)
    log = audit_events(store, audit_id)
    assert len(log) >= 4
    for field, value in (("at", 1.0), ("actor", "Eve"), ("action", "asked"), ("details", "{}"), ("hash", "0" * 64), ("number", 9)):
        changed = [*log[:1], replace(log[1], **{field: value}), *log[2:]]
        assert broken_links(changed), field
    assert broken_links([*log[:1], *log[2:]])
    assert broken_links([log[1], log[0], *log[2:]])
    assert broken_links(log[1:])
    assert broken_links(log[:-1]) == ()  # what was cut off at the end shows only beside a hash that was kept elsewhere


def test_a_clock_that_is_set_back_breaks_no_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    audit_id, ids = make_audit(store, [scored("a.wav", 2.0)])
    add_reviews(store, [ids["a.wav"]], verdict="spoof", reviewer="Ada", note="before")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86_400)
    add_reviews(store, [ids["a.wav"]], verdict="bona fide", reviewer="Ada", note="after")
    log, detail = audit_events(store, audit_id), entry_detail(store, ids["a.wav"])
    assert log[-1].at < log[-2].at
    assert [json.loads(event.details)["note"] for event in log[-2:]] == ["before", "after"]
    assert broken_links(log) == ()
    assert [review.note for review in detail.reviews] == ["after", "before"]  # the newest first, whatever the clock said


def test_many_reviews_are_named_by_one_hash() -> None:
    few, many = named_recordings(["b", "a"]), named_recordings([f"{i:03}" for i in range(101)])
    assert few["recordings"] == ["a", "b"]
    assert few["sha256_of_their_hashes"] == hashlib.sha256(b"a\nb").hexdigest()
    assert (many["num_recordings"], "recordings" in many) == (101, False)

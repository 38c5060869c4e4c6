"""The page Reviews, and the box on Batch audit that says how many verdicts would be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_records import make_audit, scored
from streamlit.testing.v1 import AppTest

from core.checkpoints import detector_named
from core.records import FoundFile, ScanSettings
from core.store.ledger import Ledger
from core.store.store import Store
from core.store.triage import add_reviews

HOME = str(Path(__file__).parents[1] / "Home.py")
HOSTILE = "<script>alert(1)</script> *Ben*"


def page_of(name: str, **address: str) -> AppTest:
    page = AppTest.from_file(HOME, default_timeout=60).switch_page(f"pages/{name}.py")
    page.query_params.update(address)
    return page.run()


def test_without_audits_it_says_what_to_do(store: Store) -> None:
    assert "No audits yet" in page_of("10_Reviews").info[0].value


def test_one_analyst_alone(store: Store) -> None:
    audit_id, ids = make_audit(store, [scored("a.wav", 1.0)])
    add_reviews(store, list(ids.values()), verdict="spoof", reviewer="Ada")
    assert "two analysts" in page_of("10_Reviews", audit=str(audit_id)).info[0].value


def test_two_analysts_and_what_they_see_differently(store: Store) -> None:
    audit_id, ids = make_audit(store, [scored(f"{i}.wav", float(i)) for i in range(4)])
    make_audit(store, [scored("other.wav", 0.0)])
    add_reviews(store, list(ids.values()), verdict="spoof", reviewer="Ada")
    add_reviews(store, list(ids.values())[:3], verdict="bona fide", reviewer=HOSTILE)
    add_reviews(store, list(ids.values())[:2], verdict="spoof", reviewer=HOSTILE)
    page = page_of("10_Reviews", audit=str(audit_id))
    assert not page.exception
    row = page.dataframe[0].value.iloc[0]
    assert (row["Recordings of both"], row["The same verdict"]) == (3, 2)
    assert row["Cohen's kappa"].startswith("0.00 (")
    assert page.selectbox[0].value == audit_id
    assert any("Ada: spoof" in text.value and "bona fide" in text.value for text in page.text)
    assert page.get("page_link")
    assert f"calibrate-detector {audit_id} --reviews" in "".join(text.value for text in page.markdown)


@pytest.mark.parametrize(("address", "words"), [("x", "a number is expected"), ("77", "There is no audit 77")])
def test_an_address_that_names_nothing(store: Store, address: str, words: str) -> None:
    assert words in page_of("10_Reviews", audit=address).error[0].value


def test_what_verdicts_are_worth(store: Store) -> None:
    detector = detector_named("vgg27-spectrogram")
    audit_id = store.create_audit("/calls", detector, ScanSettings())
    ledger = Ledger(store, audit_id, "elsewhere:1:x")
    ledger.claim()
    names = [f"{i}.wav" for i in range(10)]
    ledger.add_entries([FoundFile(path_bytes=name.encode(), size_bytes=1) for name in names])
    ledger.mark_listed()
    pending = ledger.pending_files(after=0, limit=100)
    ledger.record_results(scored=[(file.entry_id, scored(names[i], i - 4.0)) for i, file in enumerate(pending)], reused=[])
    page = page_of("1_Batch_audit", audit=str(audit_id))
    assert not page.exception
    table = next(frame.value for frame in page.dataframe if "False accusations" in frame.value.columns)
    assert list(table["Verdicts"]) == ["As stored: spoof from +0.97", "Cheapest: spoof from +2.94"]
    assert list(table["Called spoof here"]) == ["5", "3"]
    page.select_slider(key="policy-prevalence").set_value(0.5).run()
    table = next(frame.value for frame in page.dataframe if "False accusations" in frame.value.columns)
    assert list(table["Verdicts"])[1] == "Cheapest: spoof from +0.00"

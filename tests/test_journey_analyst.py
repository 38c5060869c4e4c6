"""A fraud analyst in headless Chromium: the guided first run, 3,000 calls of which the worst are reviewed by keyboard, a case for a
lawyer, links that reopen it."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from ledger_records import WORKER, make_audit, scored
from test_journey_arena import _IMPORT_MS
from test_journeys import Server, _select_row, environment, page, server, settled  # noqa: F401 - fixtures

from core.checkpoints import detector_named
from core.records import AuditStatus, TriageFilter
from core.store.ledger import Ledger
from core.store.store import Store
from core.store.triage import matching_entries, triage_page

pytestmark = pytest.mark.browser
_WORST = [f"desk-{i % 6}/call-{i:04}.wav" for i in range(5)]


def _press(page, key: str, *, then: str) -> None:  # noqa: F811
    """Presses a key outside of all fields, and waits for the file that it opens."""
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(key)
    page.get_by_test_id("stText").filter(has_text=then).first.wait_for()
    settled(page)


def _download(page, button: str, file_name: str) -> bytes:  # noqa: F811
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    assert download.value.suggested_filename == file_name
    return Path(download.value.path()).read_bytes()


def _review_filter(page, choice: str) -> None:  # noqa: F811
    page.get_by_role("combobox", name="Review").click()
    page.get_by_role("option", name=choice, exact=True).click()


def test_from_the_first_click_to_the_case_of_the_worst_of_3000(server: Server, page, store_url: str) -> None:  # noqa: F811
    page.goto(server.url)
    page.get_by_role("button", name="Judge a sample").click(timeout=_IMPORT_MS)
    page.get_by_role("paragraph").filter(has_text="Spoof score (nats)").wait_for()
    page.get_by_role("button", name="Audit the samples").click()
    page.wait_for_url("**/Batch_audit?audit=1")
    page.get_by_text("finished: 15 of 15 files").wait_for()
    settled(page)

    store = Store(store_url)
    entry = matching_entries(store, 1)[0]
    page.goto(f"{server.url}/Batch_audit?audit=1&entry={entry}")  # as a colleague opens the link
    page.get_by_role("heading", name="Recording 1 of 15").wait_for()
    page.get_by_label("Your name", exact=True).fill("A. Analyst")
    page.get_by_label("Note").press_sequentially("bis zum Schluss")  # its keys are letters, no verdicts
    page.locator(".js-plotly-plot .heatmaplayer").first.wait_for()
    assert page.locator("audio").first.is_visible()
    _press(page, "S", then=triage_page(store, 1).rows[1].path)
    (review,) = (row.review for row in triage_page(store, 1, TriageFilter(review="reviewed")).rows)
    assert (review.verdict, review.reviewer, review.note) == ("spoof", "A. Analyst", "bis zum Schluss")

    audit_id, _ = make_audit(
        store, [scored(f"desk-{i % 6}/call-{i:04}.wav", 9 - 0.005 * i) for i in range(3_000)], detector=detector_named()
    )
    ledger = Ledger(store, audit_id, WORKER)
    ledger.claim()
    ledger.release(AuditStatus.FINISHED)
    page.goto(f"{server.url}/Batch_audit?audit={audit_id}")
    page.get_by_text("3,000 files match, page 1 of 60").wait_for()
    _review_filter(page, "Not yet reviewed")
    settled(page)
    _select_row(page, 0)
    page.get_by_role("heading", name="Recording 1 of 50").wait_for()
    page.get_by_label("Your name", exact=True).fill("A. Analyst")
    _press(page, "S", then=_WORST[1])
    _press(page, "N", then=_WORST[2])
    _press(page, "P", then=_WORST[1])
    _press(page, "I", then=_WORST[2])
    _press(page, "B", then=_WORST[3])
    _press(page, "S", then=_WORST[4])
    page.get_by_text("2,996 files match").wait_for()
    reviewed = triage_page(store, audit_id, TriageFilter(review="reviewed")).rows
    assert [(row.path, row.review.verdict) for row in reviewed] == list(
        zip(_WORST, ("spoof", "inconclusive", "bona fide", "spoof"))
    )

    _review_filter(page, "Reviewed")
    page.get_by_text("Only the 4 files that match").wait_for()
    settled(page)
    page.get_by_text("Only the 4 files that match").click()
    settled(page)
    rows = list(csv.DictReader(io.StringIO(_download(page, "CSV", f"audit-{audit_id}-filtered.csv").decode())))
    assert [row["path"] for row in rows] == _WORST[:4]
    page.get_by_label("Your name, for the log").fill("A. Analyst")
    page.get_by_role("button", name="Make a case bundle of the 4 files").click()
    page.get_by_role("button", name="The case bundle (ZIP)").wait_for()
    settled(page)
    bundle = zipfile.ZipFile(io.BytesIO(_download(page, "The case bundle (ZIP)", f"audit-{audit_id}-bundle.zip")))
    assert [json.loads(line)["path"] for line in bundle.read(f"audit-{audit_id}/recordings.jsonl").splitlines()] == _WORST[:4]
    report = bundle.read(f"audit-{audit_id}/report.html").decode()
    assert report.count("Review by A. Analyst") == 4
    assert "4 of the audit's 3,000 files" in report

    page.goto(server.url)
    page.get_by_role("link", name=f"Audit {audit_id}").wait_for()
    assert page.get_by_text("New here?").count() == 0

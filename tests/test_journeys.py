"""The main journeys in headless Chromium against a real server, worker processes and the shipped detector.

With EARWITNESS_PICTURES=1 the screenshots replace the README's pictures.
"""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.checkpoints import detector_named
from core.detect import Scorer
from core.records import AuditStatus
from core.scanning.browse import SAMPLES_FOLDER
from core.store.store import Store

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
ROW_HEIGHT = 35


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A dashboard in a process of its own."""

    def __init__(self, environment: dict[str, str], *, port: int | None = None) -> None:
        self.port = port or free_port()
        command = [sys.executable, "-m", "streamlit", "run", "Home.py", "--server.port", str(self.port)]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - the server writes it as long as it runs
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=self._log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2)
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("the dashboard did not start within 60 s")

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if not self._log.closed:
            with self._log:
                self._log.seek(0)
                self._said = self._log.read()

    def complaints(self) -> str:
        """The log of a killed server, where there is a stack in it: a failure that no user saw, or a warning of Streamlit's."""
        return self._said if "(most recent call last)" in self._said else ""


@pytest.fixture
def environment(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EARWITNESS_ROOTS", f"{tmp_path}{os.pathsep}{SAMPLES_FOLDER}")
    return dict(os.environ)


@pytest.fixture
def server(environment: dict[str, str]) -> Iterator[Server]:
    running = Server(environment)
    yield running
    running.kill()
    assert not running.complaints()


@pytest.fixture
def page(tmp_path: Path):
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1500}, accept_downloads=True)
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)  # has a limit of its own
        yield page
        browser.close()


def _picture(page, name: str, tmp_path: Path) -> None:
    page.mouse.move(2, 2)
    page.wait_for_timeout(1_500)
    path = tmp_path / f"{name}.png"
    page.screenshot(path=path)
    assert path.stat().st_size > 20_000
    if os.environ.get("EARWITNESS_PICTURES"):
        (ROOT / "docs" / "pictures").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, ROOT / "docs" / "pictures" / path.name)


def _select_row(page, number: int) -> None:
    """Ticks a row of the triage table, which is drawn on a canvas: by position."""
    box = page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
    page.mouse.click(box["x"] + 16, box["y"] + ROW_HEIGHT * (number + 1) + ROW_HEIGHT / 2)


def settled(page) -> None:
    """Waits until the script has run to its end. Before that the page may put a widget anew, and what is done to it is lost."""
    page.wait_for_timeout(700)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=240_000)


def test_check_one_recording(server: Server, page, tmp_path: Path) -> None:
    sample = SAMPLES_FOLDER / "flite" / "flite_slt_invoice.flac"
    expected = Scorer(detector_named()).score_file(sample).detections[0]
    page.goto(server.url)
    page.get_by_text("Nothing chosen yet").wait_for()
    settled(page)
    page.locator("input[type=file]").first.set_input_files(sample)
    page.get_by_role("paragraph").filter(has_text="Spoof score (nats)").wait_for()
    assert page.get_by_text(f"{expected.spoof_score:+.2f}", exact=True).is_visible()
    page.locator("audio").wait_for()
    page.locator(".js-plotly-plot .heatmaplayer").first.wait_for()
    assert page.evaluate("document.querySelector('audio').readyState > 0 || document.querySelector('audio').src.length > 0")
    _picture(page, "check-one-recording", tmp_path)
    settled(page)
    with page.expect_download() as download:
        page.get_by_text("The file and its measurements").click()
        page.get_by_role("button", name="Download all of it (JSON)").click()
    assert '"verdict"' in Path(download.value.path()).read_text()


def test_audit_a_folder_review_three_export(server: Server, page, tmp_path: Path) -> None:
    page.goto(f"{server.url}/Batch_audit")
    page.get_by_role("button", name="Look first").click()
    page.get_by_text("Expected time").wait_for()
    _picture(page, "look-first", tmp_path)
    page.get_by_role("button", name="Start the audit").click()
    page.get_by_text("finished: 15 of 15 files").wait_for()
    page.wait_for_timeout(1_500)
    _select_row(page, 0)
    for number, verdict in enumerate(("spoof", "spoof", "inconclusive")):
        page.get_by_role("heading", name=f"Recording {number + 1} of 15").wait_for()  # the next one opens by itself
        page.locator(".js-plotly-plot .heatmaplayer").first.wait_for()
        page.wait_for_timeout(2_000)
        form = page.locator("[data-testid=stForm]").filter(has_text="Your verdict")
        form.get_by_label("Your name").fill("A. Analyst")
        form.get_by_label("Note").fill(f"=note {number}")
        if number == 2:
            page.get_by_test_id("stDataFrame").first.evaluate("table => table.scrollIntoView()")
            _picture(page, "batch-audit", tmp_path)
        form.get_by_role("button", name=verdict.capitalize()).click()
        page.get_by_text(f"1 recording(s) reviewed as {verdict}").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    assert download.value.suggested_filename == "audit-1.csv"
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    reviewed = sorted((row for row in rows if row["review"]), key=lambda row: -float(row["spoof_score"]))
    assert [row["review"] for row in reviewed] == ["spoof", "spoof", "inconclusive"]
    assert {row["reviewer"] for row in reviewed} == {"A. Analyst"}
    assert all(row["review_note"].startswith("'=note") for row in reviewed)
    assert sum(row["verdict"] == "refused" for row in rows) == 1
    page.get_by_role("tab", name="Charts").click()
    page.locator(".js-plotly-plot .barlayer").first.wait_for()
    _picture(page, "charts", tmp_path)


def test_an_audit_outlives_its_tab_and_its_server(
    server: Server, page, environment: dict[str, str], tmp_path: Path, write_recordings, store_url: str
) -> None:
    write_recordings(tmp_path / "calls", 120)
    page.goto(f"{server.url}/Batch_audit")
    page.get_by_label("Folder with recordings").fill(str(tmp_path / "calls"))
    page.get_by_label("Folder with recordings").press("Enter")
    page.get_by_role("button", name="Look first").click()
    page.get_by_text("Expected time").wait_for()
    page.get_by_role("button", name="Start the audit").click()
    page.wait_for_url("**/Batch_audit?audit=1")
    page.goto("about:blank")
    server.kill()
    store, deadline = Store(store_url), time.monotonic() + 240  # the default detector takes a while on a busy machine
    while store.audit(1).status is not AuditStatus.FINISHED and time.monotonic() < deadline:
        time.sleep(0.3)
    assert store.audit(1).num_done == 120
    again = Server(environment)
    try:
        page.goto(f"{again.url}/Batch_audit?audit=1")
        page.get_by_text("finished: 120 of 120 files").wait_for()
    finally:
        again.kill()


def test_hostile_names_stay_text(server: Server, page, tmp_path: Path, write_recordings) -> None:
    (first,) = write_recordings(tmp_path / "calls", 1)
    first.rename(tmp_path / "calls" / "<img src=x onerror=document.title='owned'> **b** [l](x).wav")
    page.goto(f"{server.url}/Batch_audit")
    page.get_by_label("Folder with recordings").fill(str(tmp_path / "calls"))
    page.get_by_label("Folder with recordings").press("Enter")
    page.wait_for_timeout(1_000)
    page.get_by_role("button", name="Start the audit").click()
    page.get_by_text("finished: 1 of 1 files").wait_for()
    page.wait_for_timeout(1_500)
    _select_row(page, 0)
    page.get_by_role("paragraph").filter(has_text="Spoof score (nats)").wait_for()
    page.locator("[data-testid=stText]").filter(has_text="<img src=x onerror").first.wait_for()
    assert page.title() != "owned"
    assert page.locator("img[src=x]").count() == 0

"""How long a user waits for the dashboard, in headless Chromium on a store with one large audit: `python -m tests.page_times`.

Prints Markdown. A benchmark and no test: what it prints depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from playwright.sync_api import Page, sync_playwright

from core.checkpoints import detector_named
from core.store.benchmark import benchmark_store
from tests.test_journeys import ARGUMENTS, CHROMIUM, Server

PAGES = ("", *sorted(path.stem.partition("_")[2] for path in (Path(__file__).parents[1] / "pages").glob("*.py")))
NUM_REPEATS = 3
MIN_ENTRIES = 20_000
CHOOSING_S = 10
"""Between opening the page and starting an audit there: time to choose a folder."""
_ENDED = "document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'"
_MATCH = "document.body.innerText.match(/([\\d,]+) files match, page (\\d+)/)?.[0]"


@dataclass(frozen=True, slots=True)
class PageTime:
    """Of one page or one action: seconds until the title or the answer stands there, and until the script has ended."""

    name: str
    first_s: float
    all_s: float


def page_times(folder: Path, num_entries: int) -> list[PageTime]:
    """Fills a store in the folder, starts a server on it, and waits as a user would."""
    url = f"sqlite:///{folder / 'store.db'}"
    benchmark_store(url, num_entries, detector=detector_named())
    own = {"EARWITNESS_DB": url, "EARWITNESS_CACHE": str(folder / "cache"), "EARWITNESS_RESULTS": str(folder / "results")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        started = time.perf_counter()
        server = Server(dict(os.environ) | own)
        try:
            times = [_opened(browser.new_page(), server.url, "Home, from the start of the server", started)]
            times.append(_first_result(browser.new_page(), f"{server.url}/Batch_audit"))
            for name in (*PAGES, "Batch_audit?audit=1"):
                _opened(page := browser.new_page(), f"{server.url}/{name}", name)  # once to read what the server then holds
                page.close()
                times.append(_median([_in_a_new_tab(browser, f"{server.url}/{name}", name or "Home") for _ in range(NUM_REPEATS)]))
            return times + _actions(browser.new_page(viewport={"width": 1400, "height": 1500}), f"{server.url}/Batch_audit?audit=1")
        finally:
            server.kill()
            browser.close()


def _in_a_new_tab(browser, address: str, name: str) -> PageTime:
    page = browser.new_page()
    try:
        return _opened(page, address, name)
    finally:
        page.close()


def _opened(page: Page, address: str, name: str, started: float | None = None) -> PageTime:
    page.set_default_timeout(120_000)
    started = time.perf_counter() if started is None else started
    page.goto(address)
    page.locator("h1").first.wait_for()
    first_s = time.perf_counter() - started
    page.wait_for_function(_ENDED)
    return PageTime(name, first_s, time.perf_counter() - started)


def _actions(page: Page, address: str) -> list[PageTime]:
    """What is done most on an audit, each as often as pages are opened."""
    _opened(page, address, "")
    page.get_by_test_id("stDataFrame").first.wait_for()

    def press(button: str) -> None:
        page.get_by_role("button", name=button, exact=True).first.click()

    def press_next_page() -> None:
        # Others stand before it, in an expander that is closed.
        field = page.get_by_test_id("stNumberInput").filter(has_text=re.compile("^Page"))
        field.get_by_test_id("stNumberInputStepUp").click()

    def select_first() -> None:
        box = page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
        page.mouse.click(box["x"] + 16, box["y"] + 52)

    def until_new_rows(before: str) -> None:
        page.wait_for_function(f"({_MATCH}) && ({_MATCH}) !== {before!r}")

    def until_heading(words: str) -> None:
        page.get_by_role("heading", name=re.compile(words)).wait_for()

    times = [_timed(page, "Batch audit: a verdict clicked as filter", lambda: press("spoof"), until_new_rows)]
    times.append(
        _timed(
            page,
            "Batch audit: next page of the table",
            lambda: press_next_page(),
            until_new_rows,
        )
    )
    select_first()
    until_heading("Recording 1 of")
    page.wait_for_function(_ENDED)
    numbers = iter(range(2, 50))
    times.append(
        _timed(
            page,
            "Batch audit: the next recording",
            lambda: page.keyboard.press("n"),
            lambda _: until_heading(f"Recording {next(numbers)} of"),
        )
    )
    return times


def _first_result(page: Page, address: str) -> PageTime:
    """The server's first audit, with an empty cache. Once only: the second time the samples are known, and nothing is scored."""
    _opened(page, address, "")
    page.wait_for_timeout(1_000 * CHOOSING_S)
    started = time.perf_counter()
    page.get_by_role("button", name="Start the audit").click()
    page.wait_for_function(_MATCH)
    first_s = time.perf_counter() - started
    page.wait_for_function(_ENDED)
    return PageTime("Batch audit: the first result after `Start the audit`", first_s, time.perf_counter() - started)


def _timed(page: Page, name: str, act: Callable[[], None], until: Callable[[str], None]) -> PageTime:
    found = []
    for _ in range(NUM_REPEATS):
        before = page.evaluate(_MATCH)
        started = time.perf_counter()
        act()
        until(before)
        first_s = time.perf_counter() - started
        page.wait_for_function(_ENDED)
        found.append(PageTime(name, first_s, time.perf_counter() - started))
    return _median(found)


def _median(times: list[PageTime]) -> PageTime:
    return PageTime(times[0].name, median(one.first_s for one in times), median(one.all_s for one in times))


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.page_times", description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=100_000, metavar="NUM", help="recordings of the audit (default: 100,000)")
    options = parser.parse_args(arguments)
    if options.entries < MIN_ENTRIES:
        print(
            f"error: --entries expects {MIN_ENTRIES:,} or more: fewer leave no second page of spoofs to turn to.", file=sys.stderr
        )
        return 1
    if CHROMIUM is None:
        print("error: Chromium is needed: apt-get install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        times = page_times(Path(folder), options.entries)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{options.entries:,} recordings, {len(os.sched_getaffinity(0))} cores, load at the end {load}; medians of {NUM_REPEATS}.\n"
    )
    print("| page or action | first paint or answer (s) | complete (s) |\n| --- | --- | --- |")
    print("\n".join(f"| {one.name.replace('_', ' ')} | {one.first_s:.2f} | {one.all_s:.2f} |" for one in times))
    return 0


if __name__ == "__main__":
    sys.exit(main())

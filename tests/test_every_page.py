"""Every page, found by itself: no serious finding of axe in either theme, and no exception text whatever the address says."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_journeys import ARGUMENTS, CHROMIUM, Server, environment, server  # noqa: F401 - fixtures

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
PARAMETERS = ("audit", "entry", "set", "system", "view", "table", "attack", "doc", "reviewer")
HOSTILE = (
    "",
    "0",
    "-1",
    "99999999999999999999999",
    "audit-99999999999999999999999",
    "../../etc/passwd",
    "<img src=x onerror=alert(1)>",
    "é\u202e\x00",
    "x" * 5_000,
)
_SCRIPT_ENDED = "document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'"


ADDRESSES = ("", *(name.partition("_")[2] for name in PAGES), "Help?doc=terms")
IN_THE_DARK = ("", "Batch_audit", "Attack_accuracy")
"""They have every kind of widget whose colours differ there."""


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_address_shows_no_exception(name: str, value: str, tiny_detector, store_url, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("EARWITNESS_RUNS", str(tmp_path / "runs"))
    page = AppTest.from_file(str(ROOT / "Home.py"), default_timeout=60).switch_page(f"pages/{name}.py")
    for parameter in PARAMETERS:
        page.query_params[parameter] = value
    page.run()
    assert not page.exception
    assert page.title


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "addresses"), [("light", ADDRESSES), ("dark", IN_THE_DARK)], ids=["light", "dark"])
def test_axe_finds_nothing_serious(theme: str, addresses: tuple[str, ...], server: Server) -> None:  # noqa: F811
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1200}, color_scheme=theme, reduced_motion="reduce")
        page.set_default_timeout(120_000)
        for address in addresses:
            page.goto(f"{server.url}/{address}")
            page.locator("h1").first.wait_for()
            page.wait_for_timeout(500)
            page.wait_for_function(_SCRIPT_ENDED)
            page.evaluate(axe)
            violations = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
            found[address] = [
                (finding["id"], node["html"][:200])
                for finding in violations
                if finding["impact"] in ("serious", "critical")
                for node in finding["nodes"]
            ]
            assert page.locator("[data-testid=stException]").count() == 0
        browser.close()
    assert len(found) == len(addresses)
    assert not {address: findings for address, findings in found.items() if findings}

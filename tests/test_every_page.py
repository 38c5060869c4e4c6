"""Every page, found by itself: no serious finding of axe in either theme, empty and full, and no exception text whatever the
address says."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from arenas import fill
from ledger_records import make_audit, scored
from run_folders import write_run
from streamlit.testing.v1 import AppTest
from test_journeys import ARGUMENTS, CHROMIUM, Server, environment, server  # noqa: F401 - fixtures

from core.checkpoints import detector_named
from core.evaluation.systems import list_trial_sets
from core.protocols import Trial
from core.store.store import Store
from core.store.triage import add_reviews

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


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EARWITNESS_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def _fill(store: Store, runs: Path) -> tuple[str, ...]:
    """An audit with labels and reviews by two analysts, two systems of a set, a run; the addresses that show them."""
    records = [scored(f"{name}.wav", None if i == 7 else i - 6.0) for i, name in enumerate("abcdefghijkl")]
    kinds = ["-" if i < 6 else "A07" for i in range(len(records))]
    trials = {
        record.path[0]: Trial(
            speaker=f"S{i % 4}",
            utterance=record.path[0],
            environment=None,
            attack=None if kind == "-" else kind,
            label="bona fide" if kind == "-" else "spoof",
        )
        for i, (record, kind) in enumerate(zip(records, kinds, strict=True))
    }
    audit_id, ids = make_audit(store, records, trials=trials, detector=detector_named())
    for reviewer, num in (("Ada", 4), ("Ben", 3)):
        add_reviews(store, list(ids.values())[:num], verdict="spoof" if reviewer == "Ada" else "bona fide", reviewer=reviewer)
    pair = fill(store).key
    write_run(runs / "mine" / "seed-0", epoch=3)
    labelled = next(summary.key for summary in list_trial_sets(store) if summary.key.startswith("audit-"))
    return (
        "",
        f"Batch_audit?audit={audit_id}&entry={ids['l.wav']}",
        f"Reviews?audit={audit_id}",
        f"Attack_accuracy?set={labelled}",
        f"Confusion_matrices?set={pair}",
        f"Compare?set={pair}&system=system+0&system=system+1",
        "Training",
    )


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "addresses"), [("light", ADDRESSES), ("dark", IN_THE_DARK)], ids=["light", "dark"])
def test_axe_finds_nothing_serious(
    theme: str,
    addresses: tuple[str, ...],
    runs: Path,
    server: Server,  # noqa: F811
    store_url: str,
) -> None:
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1200}, color_scheme=theme, reduced_motion="reduce")
        page.set_default_timeout(120_000)

        def look_at(address: str) -> list[tuple[str, str]]:
            page.goto(f"{server.url}/{address}")
            page.locator("h1").first.wait_for()
            page.wait_for_timeout(500)
            page.wait_for_function(_SCRIPT_ENDED)
            page.evaluate(axe)
            violations = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
            assert page.locator("[data-testid=stException]").count() == 0
            return [
                (finding["id"], node["html"][:200])
                for finding in violations
                if finding["impact"] in ("serious", "critical") or finding["id"] == "heading-order"
                for node in finding["nodes"]
            ]

        found = {address: look_at(address) for address in addresses}
        if theme == "light":
            found |= {f"full {address}": look_at(address) for address in _fill(Store(store_url), runs)}
        browser.close()
    assert len(found) == len(addresses) + (7 if theme == "light" else 0)
    assert not {address: findings for address, findings in found.items() if findings}

"""What users read in `docs/`: figures are the measured ones, the reference is up to date, the page Help shows every document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints import SHIPPED_DETECTORS, load_detector
from core.stress.table_files import SHIPPED_STRESS, load_table
from core.terms import TERMS
from pages.components.document_view import TITLES
from training.reference import REFERENCE, reference

ROOT = Path(__file__).parents[1]
LIMITS = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")


def _rows(heading: str) -> dict[str, str]:
    table = LIMITS.partition(f"| {heading} | EER |")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+) % \|$", table, flags=re.MULTILINE))


def test_the_limits_are_as_measured() -> None:
    by_family, made = (load_table(SHIPPED_STRESS / f"{name}.json") for name in ("corpus-test-by-family", "made-attacks"))
    attacks, conditions = _rows("attack"), _rows("condition")
    assert len(attacks) == 9
    assert len(conditions) == 5
    for name, shown in attacks.items():
        assert shown == f"{100 * made.cells['clean']['' if name == 'all together' else name].eer:.1f}", name
    for name, shown in conditions.items():
        assert shown == f"{100 * by_family.cells['clean' if name == 'as it is' else name][''].eer:.1f}", name
    share = next(share for share in by_family.shares if (share.condition, share.label) == ("phone_gsm", "bona fide"))
    assert f"of {share.num} bona fide recordings with a clear verdict {share.num_opposite} turn into *spoof*" in LIMITS


def test_the_error_rates_in_the_limits_are_the_detectors() -> None:
    figures = {
        figure.name: figure
        for figure in load_detector(SHIPPED_DETECTORS / "vgg27-spectrogram").manifest.figures
        if figure.split == "test"
    }
    eer, words = figures["EER"], " ".join(LIMITS.split())
    assert f"{100 * eer.value:.1f} % of calls are wrong" in words
    assert f"interval {100 * eer.low:.1f} to {100 * eer.high:.1f} %" in words
    unknown, known = (100 * figures[f"EER, {which} systems"].value for which in ("unknown", "known"))
    assert f"the EER is {unknown:.1f} %, on those it saw {known:.1f} %" in words


def test_the_reference_is_up_to_date() -> None:
    words = "run `python -m training.reference --write`"
    assert REFERENCE.read_text(encoding="utf-8") == reference(), words


@pytest.mark.parametrize("document", sorted((ROOT / "docs" / "tutorials").glob("*.md")), ids=lambda path: path.stem)
def test_what_tutorials_point_at_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (document.parent / target).exists(), target
    pages = {re.sub(r"^\d+_", "", page.stem).replace("_", " ") for page in (ROOT / "pages").glob("*.py")} | {"Home"}
    assert set(re.findall(r"\*\*([^*]+)\*\*", text)) <= pages


@pytest.mark.parametrize("name", TITLES)
def test_help_shows_every_document(name: str, tiny_detector, store_url) -> None:
    page = AppTest.from_file(str(ROOT / "Home.py"), default_timeout=60).switch_page("pages/11_Help.py")
    page.query_params["doc"] = name
    page.run()
    assert not page.exception
    assert page.selectbox(key="help-doc").value == name
    words = "\n".join(part.value for part in page.markdown)
    assert len(words) > 500
    assert "](" not in re.sub(r"\]\(https?://", "", words)
    if name == "terms":
        assert all(term in words for term in TERMS)
    if name.startswith("tutorials/"):
        assert page.get("image")


def test_every_document_is_offered() -> None:
    there = {str(path.relative_to(ROOT / "docs").with_suffix("")) for path in (ROOT / "docs").rglob("*.md")}
    assert there <= set(TITLES)

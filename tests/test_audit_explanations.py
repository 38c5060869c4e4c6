"""Files of an audit explained into a folder: by the library, by the command, from the page; resumed; failures told."""

from __future__ import annotations

import io
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from core.commands.program import main
from core.errors import CoreError
from core.explanation import attributions, audit_explaining
from core.explanation import map_tests as explanation_tests
from core.explanation.audit_explaining import explaining, explanations_zip, is_explained, start_explaining
from core.explanation.audit_explanations import explain_entries
from core.explanation.files import load_explanation
from core.records import ScanSettings, TriageFilter
from core.scanning.scan import prepare_audit, run_audit
from core.store.store import Store
from core.store.triage import entry_detail, matching_entries


@pytest.fixture
def audited(lively_detector, store_url: str, write_recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Audit 1: three recordings, one of them silent, one with a name that is markup and a formula."""
    monkeypatch.setattr(attributions, "PATCHES_PER_SIDE", (2, 3))
    monkeypatch.setattr(explanation_tests, "NUM_RANDOM", 2)
    monkeypatch.setattr(explanation_tests, "NUM_RANDOM_NETWORKS", dict.fromkeys(explanation_tests.NUM_RANDOM_NETWORKS, 1))
    folder = tmp_path / "calls"
    paths = write_recordings(folder, 2)
    paths[1].rename(folder / "=<b>1+1.wav")
    soundfile.write(folder / "silent.wav", np.zeros(32_000), 16_000)
    store = Store()
    run_audit(store, prepare_audit(store, str(folder), lively_detector, ScanSettings()))
    return store


def test_each_file_gets_a_tested_map_and_the_refused_its_reason(audited: Store, lively_detector, tmp_path: Path) -> None:
    ids = matching_entries(audited, 1, TriageFilter())
    told = []
    done = explain_entries(
        audited, lively_detector, ids, tmp_path / "out", method="grad_cam", on_progress=lambda *news: told.append(news[:2])
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert [one.picture is None for one in done] == [False, False, True]
    assert "Silent" in done[2].not_done
    detail = entry_detail(audited, ids[0])
    assert done[0].spoof_score == detail.detections[0].spoof_score
    saved = load_explanation(tmp_path / "out" / f"{ids[0]:06d}.grad_cam.spoof_minus_bona_fide.json")
    assert saved.spoof_score == pytest.approx(done[0].spoof_score, abs=1e-4)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "=&lt;b&gt;1+1.wav" in page
    assert "<b>1" not in page
    assert page.count("<img") == 2
    table = pd.read_csv(tmp_path / "out" / "explanations.csv")
    assert list(table["entry_id"]) == list(ids)
    assert "'=<b>1+1.wav" in set(table["path"])  # inert in a spreadsheet
    with pytest.raises(CoreError, match="nothing to explain"):
        explain_entries(audited, lively_detector, [], tmp_path / "none", method="grad_cam")


def test_run_again_it_goes_on_and_a_changed_file_is_told(audited: Store, lively_detector, tmp_path: Path) -> None:
    ids = matching_entries(audited, 1, TriageFilter())[:2]
    out = tmp_path / "out"
    explain_entries(audited, lively_detector, ids[:1], out, method="grad_cam")
    first = next(out.glob("*.json")).stat().st_mtime_ns
    path = Path(entry_detail(audited, ids[1]).absolute_path)
    path.write_bytes(path.read_bytes() + b"\0")
    done = explain_entries(audited, lively_detector, ids, out, method="grad_cam")
    assert next(out.glob("*.json")).stat().st_mtime_ns == first
    assert done[0].not_done is None
    assert "has changed since its audit" in done[1].not_done


def test_the_command(audited: Store, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert main(["explain-audit", "1", "--limit", "1", "--method", "grad_cam", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "index.html")
    assert main(["explain-audit", "1", "--verdict", "refused", "--out", str(tmp_path / "refused")]) == 1
    assert "1 of 1: silent.wav: " in capsys.readouterr().out
    for wrong, words in (
        (["7"], "There is no audit 7"),
        (["1", "--limit", "0"], "at least one"),
        (["1", "--filter", "{"], "is no filter"),
        (["1", "--filter", '{"text": "nothing like it"}'], "nothing to explain"),
    ):
        assert main(["explain-audit", *wrong, "--out", str(tmp_path / "wrong")]) == 1
        assert words in capsys.readouterr().err


def _ended(store: Store) -> None:
    deadline = time.monotonic() + 120
    while explaining(store, 1).is_running:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_runs_in_a_process_of_its_own_and_is_taken_away_as_a_zip(audited: Store) -> None:
    assert explaining(audited, 1) is None
    start_explaining(audited, 1, TriageFilter(text="r0000"), limit=5, method="grad_cam")
    with pytest.raises(CoreError, match="right now"):
        start_explaining(audited, 1, TriageFilter(), limit=5, method="grad_cam")
    _ended(audited)
    job = explaining(audited, 1)
    assert is_explained(job), job.last_words(10)
    names = zipfile.ZipFile(io.BytesIO(explanations_zip(job))).namelist()
    assert {name.rpartition(".")[2] for name in names} == {"html", "csv", "png", "npz", "json"}


def test_a_process_that_fails_keeps_its_words(audited: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_explaining, "COMMAND", (sys.executable, "-c", "import sys; sys.exit('error: no space left')"))
    job = start_explaining(audited, 1, TriageFilter(), limit=5, method="grad_cam")
    _ended(audited)
    assert not is_explained(job)
    assert job.last_words() == "error: no space left"

"""core.evidence: a bundle says what the store knows, every changed byte is named, scores come again from the recordings."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamlit.testing.v1 import AppTest

from core.checkpoints import Detector, detector_named
from core.commands.program import main
from core.errors import CoreError
from core.evidence.bundle import files_of, make_bundle
from core.evidence.bundling import bundle_zip, bundling, is_bundled
from core.evidence.contents import audio_sha256
from core.evidence.records import LOG, MANIFEST, RECORDINGS, REPORT, SCORES, SEAL
from core.evidence.report import band_lines
from core.evidence.verify import verify_bundle
from core.records import ScanSettings, TriageFilter
from core.scanning.scan import prepare_audit, run_audit
from core.store.store import Store
from core.store.triage import add_reviews, matching_entries
from core.whole_files import file_sha256

HOSTILE = "<img src=x onerror=alert(1)>.wav"


@pytest.fixture(scope="module")
def case(
    tmp_path_factory: pytest.TempPathFactory, _lively_folder: Path, _cache: Path, speech_like: Callable
) -> Iterator[tuple[Store, Path, Path]]:
    """A store with an audit, its folder, and a bundle of all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARWITNESS_DETECTORS", str(_lively_folder))
        patch.setenv("EARWITNESS_CACHE", str(_cache))
        yield _case(tmp_path_factory.mktemp("case"), detector_named("lively"), speech_like)


def _case(root: Path, lively_detector: Detector, speech_like: Callable) -> tuple[Store, Path, Path]:
    folder = root / "calls"
    folder.mkdir()
    for seed, name in enumerate(["a.wav", HOSTILE, "long.wav", "=1+1.wav", os.fsdecode(b"\xff.wav")]):
        soundfile.write(os.fsencode(folder / name), speech_like(9.0 if name == "long.wav" else 3.0, seed), 16_000)
    soundfile.write(folder / "two.wav", np.stack([speech_like(3.0, 8), speech_like(3.0, 9)], axis=1), 16_000)
    (folder / "text.wav").write_text("no sound")
    shutil.copy(folder / "a.wav", folder / "copy.wav")
    store = Store(f"sqlite:///{root / 'store.db'}")
    audit_id = prepare_audit(store, str(folder), lively_detector, ScanSettings())
    run_audit(store, audit_id, detector=lively_detector)
    ids = matching_entries(store, audit_id, TriageFilter(verdicts=("spoof", "inconclusive", "bona fide"), order="path"))
    add_reviews(store, ids[:2], verdict="bona fide", reviewer="Ada", note="<script>alert(2)</script>")
    make_bundle(store, audit_id, root / "bundle", made_by="Ada")
    return store, folder, root / "bundle"


@pytest.fixture
def copy(case: tuple[Store, Path, Path], tmp_path: Path) -> Path:
    """A bundle to be changed."""
    return Path(shutil.copytree(case[2], tmp_path / "copy"))


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sealed(bundle: Path, change: Callable[[list[dict]], None], name: str = RECORDINGS) -> Path:
    """The bundle with a change, and every hash in it made to fit again, as a forger would."""
    lines = lines_of(bundle / name)
    change(lines)
    (bundle / name).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][name] = file_sha256(bundle / name)
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    (bundle / SEAL).write_text(f"{file_sha256(bundle / MANIFEST)}  {MANIFEST}\n")
    return bundle


def test_a_bundle_holds_all_and_is_verified(case: tuple[Store, Path, Path]) -> None:
    _, folder, bundle = case
    assert list(verify_bundle(bundle)) == []
    assert list(verify_bundle(bundle, audio=folder)) == []
    lines = {line["path"]: line for line in lines_of(bundle / RECORDINGS)}
    assert len(lines) == 8
    assert lines["text.wav"]["detections"][0]["reason_code"] == "undecodable"
    assert lines["a.wav"]["audio_sha256"] == audio_sha256(folder / "a.wav") == lines["copy.wav"]["audio_sha256"]
    assert len(lines["long.wav"]["detections"][0]["segments"]) == 4
    assert [review["reviewer"] for review in lines["=1+1.wav"]["reviews"]] == ["Ada"]
    assert bytes.fromhex(lines[r"\xff.wav"]["path_hex"]) == b"\xff.wav"
    assert [event["action"] for event in lines_of(bundle / LOG)] == ["created", "started", "ended", "reviewed", "bundled"]
    manifest = json.loads((bundle / MANIFEST).read_text())
    assert manifest["log_hash"] == lines_of(bundle / LOG)[-1]["hash"]
    assert manifest["audit"]["num_files"] == 8
    assert set(manifest["files"]) == set(files_of(bundle))
    table = (bundle / SCORES).read_text(encoding="utf-8")
    assert "\n'=1+1.wav," in table.replace("\r", "")


def test_the_report_stands_alone_and_names_are_text(case: tuple[Store, Path, Path]) -> None:
    report = (case[2] / REPORT).read_text(encoding="utf-8")
    assert "&lt;img src=x onerror=alert(1)&gt;.wav" in report
    assert "<img src=x" not in report
    assert "<script" not in report
    assert "http" not in report.replace("http-equiv", "")
    assert "@media print" in report
    assert report.count("data:image/png;base64,") == 7  # all that could be decoded, the copy too
    for words in ("Summary", "Method", "Error rates of the detector", "What this cannot show", "Log of the audit"):
        assert f"<h2>{words}</h2>" in report


def test_the_report_says_what_verdicts_and_warnings_are_worth(case: tuple[Store, Path, Path]) -> None:
    report = (case[2] / REPORT).read_text(encoding="utf-8")
    assert "how often the others are wrong, was not measured here" in report  # of a detector that is not shipped
    assert "Recordings unlike its training data" in report
    distances = [d["training_distance"] for line in lines_of(case[2] / RECORDINGS) for d in line["detections"]]
    num = sum(distance is not None and distance > 1 for distance in distances)
    assert 0 < num < len(distances)
    assert report.count("<td>unfamiliar") == num
    assert report.count("times the limit, so it is unlike the training data") == num
    shipped = "".join(band_lines(detector_named("vgg27-spectrogram")))
    assert "33.7 % (27.7 to 40.5)" in shipped
    assert "-1.73 to +0.97 (in use)" in shipped


@pytest.mark.parametrize("is_hidden", [True, False])
def test_a_forged_distance_is_named(copy: Path, case: tuple[Store, Path, Path], is_hidden: bool) -> None:
    def forge(lines: list[dict]) -> None:
        warned = next(d for line in lines for d in line["detections"] if "unfamiliar" in d["warnings"])
        warned["training_distance"] = 0.5
        warned["warnings"] = [] if is_hidden else warned["warnings"]

    whats = [problem.what for problem in verify_bundle(sealed(copy, forge), audio=case[1] if is_hidden else None)]
    if is_hidden:
        assert any("distance from the training data is 0.5000 in the bundle and" in what for what in whats)
    else:
        assert whats == ["the warning of an unfamiliar recording does not follow from its distance"]


def test_every_changed_byte_is_found_and_named(copy: Path) -> None:
    for path in [path for path in copy.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            name = path.relative_to(copy).as_posix()
            if name in (MANIFEST, SEAL):
                with pytest.raises(CoreError, match=r"do not fit together|no case bundle that can be read"):
                    list(verify_bundle(copy))
            else:
                assert name in {problem.place for problem in verify_bundle(copy)}, (name, place)
        path.write_bytes(whole)
    assert list(verify_bundle(copy)) == []


def test_files_that_are_missing_or_added_are_named(copy: Path) -> None:
    (copy / SCORES).unlink()
    (copy / "extra.html").write_text("hello")
    assert {(p.place, p.what) for p in verify_bundle(copy)} == {
        (SCORES, "the file is missing"),
        ("extra.html", "the file does not belong to the bundle"),
    }


def _score(lines: list[dict]) -> None:
    judged = next(line for line in lines if line["detections"][0]["spoof_score"] is not None)
    judged["detections"][0]["spoof_score"] += 0.001


def _verdict(lines: list[dict]) -> None:
    judged = next(line for line in lines if line["detections"][0]["spoof_score"] is not None)
    judged["detections"][0]["verdict"] = "bona fide" if judged["detections"][0]["verdict"] != "bona fide" else "spoof"


def _review(lines: list[dict]) -> None:
    next(line for line in lines if line["reviews"])["reviews"][0]["verdict"] = "spoof"


def _left_out(lines: list[dict]) -> None:
    lines.pop()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_score, "its score is"),
        (_verdict, "does not follow from the score"),
        (_review, "is not in the log"),
        (_left_out, "it holds 7 recordings; the manifest says 8"),
    ],
)
def test_a_forger_who_makes_the_hashes_fit_is_found_by_what_follows_from_what(copy: Path, change: Callable, words: str) -> None:
    assert [words in problem.what for problem in verify_bundle(sealed(copy, change))] == [True]


def test_scores_forged_with_their_segments_are_found_in_the_recordings(case: tuple[Store, Path, Path], copy: Path) -> None:
    def change(lines: list[dict]) -> None:
        line = next(line for line in lines if line["path"] == "long.wav")
        detection = line["detections"][0]
        detection["spoof_score"] += 0.01
        for segment in detection["segments"]:
            segment["spoof_score"] += 0.01

    sealed(copy, change)
    assert [p for p in verify_bundle(copy) if "does not follow" not in p.what] == []
    assert any(p.place == "long.wav, channel mix" and "when derived again" in p.what for p in verify_bundle(copy, audio=case[1]))


def test_a_changed_log_is_found_by_its_chain_and_by_the_hash_that_was_kept(case: tuple[Store, Path, Path], copy: Path) -> None:
    kept = lines_of(case[2] / LOG)[-1]["hash"]
    assert list(verify_bundle(copy, log_hash=kept)) == []
    assert any("you wrote down" in p.what for p in verify_bundle(copy, log_hash="0" * 64))

    def change(lines: list[dict]) -> None:
        lines[1]["actor"] = "Eve"

    found = list(verify_bundle(sealed(copy, change, LOG)))
    assert any("log entry 2 (started, Eve) was changed" in p.what for p in found)


def test_other_recordings_are_not_taken_for_those(case: tuple[Store, Path, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(case[1], tmp_path / "calls"))
    (folder / "a.wav").unlink()
    data = bytearray((folder / "long.wav").read_bytes())
    data[-1] ^= 1
    (folder / "long.wav").write_bytes(data)
    found = {p.place: p.what for p in verify_bundle(case[2], audio=folder)}
    assert set(found) == {"a.wav", "long.wav"}
    assert "no longer there" in found["a.wav"]


def test_what_is_gone_when_the_bundle_is_made_is_told(case: tuple[Store, Path, Path], tmp_path: Path) -> None:
    store, folder, _ = case
    moved = tmp_path / "moved.wav"
    shutil.move(folder / "long.wav", moved)
    try:
        make_bundle(store, 1, tmp_path / "bundle", chosen=TriageFilter(text="long"))
    finally:
        shutil.move(moved, folder / "long.wav")
    (line,) = lines_of(tmp_path / "bundle" / RECORDINGS)
    assert (line["audio_sha256"], line["file_state"]) == (None, "the file is not there any more")
    assert list(verify_bundle(tmp_path / "bundle")) == []


def test_errors_leave_nothing_behind(case: tuple[Store, Path, Path], tmp_path: Path) -> None:
    store, _, bundle = case
    with pytest.raises(CoreError, match="is there already"):
        make_bundle(store, 1, bundle)
    with pytest.raises(CoreError, match="nothing to put into a bundle"):
        make_bundle(store, 1, tmp_path / "none", chosen=TriageFilter(text="nothing like it"))
    (tmp_path / "file").write_text("")
    with pytest.raises(CoreError, match="cannot be written"):
        make_bundle(store, 1, tmp_path / "file" / "bundle")

    def stop(num_done: int, num: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_bundle(store, 1, tmp_path / "stopped", on_progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_commands(case: tuple[Store, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    store, folder, _ = case
    out = tmp_path / "of two"
    assert main(["bundle", "1", "--db", store.url, "--out", str(out), "--limit", "2", "--by", "Ada"]) == 0
    said = capsys.readouterr().out.split()
    assert said[:2] == ["2", "recordings"]
    assert main(["verify", str(out), "--audio", str(folder), "--log-hash", said[-1]]) == 0
    assert "verified: 2 recordings" in capsys.readouterr().out
    (out / REPORT).write_text("changed")
    assert main(["verify", str(out)]) == 1
    assert "report.html: the file was changed" in capsys.readouterr().out
    for wrong, words in (
        (["verify", str(tmp_path)], "is no case bundle"),
        (["verify", str(out), "--audio", str(tmp_path / "none")], "There is no folder"),
        (["bundle", "9", "--db", store.url, "--out", str(tmp_path / "x")], "There is no audit 9"),
        (["bundle", "1", "--db", store.url, "--out", str(tmp_path / "x"), "--limit", "0"], "at least one file"),
    ):
        assert main(wrong) == 1
        assert words in capsys.readouterr().err


def test_from_the_page(case: tuple[Store, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    store, folder, _ = case
    monkeypatch.setenv("EARWITNESS_DB", store.url)
    home = str(Path(__file__).parents[1] / "Home.py")
    page = AppTest.from_file(home, default_timeout=60).switch_page("pages/1_Batch_audit.py")
    page.query_params["audit"] = "1"
    page.run()
    make = next(button for button in page.button if "case bundle" in button.label)
    make.click().run()
    assert "write your name" in page.error[0].value
    next(box for box in page.text_input if "for the log" in box.label).set_value("Ada")
    next(button for button in page.button if "case bundle" in button.label).click().run()
    assert not page.exception
    assert not [error.value for error in page.error]
    deadline = time.monotonic() + 60
    while (job := bundling(store, 1)).is_running:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    page.run()
    assert is_bundled(job), job.last_words(10)
    assert any("ZIP" in button.label for button in page.get("download_button"))
    with zipfile.ZipFile(io.BytesIO(bundle_zip(job))) as archive:
        archive.extractall(job.out + "-unpacked")
    assert list(verify_bundle(Path(job.out + "-unpacked", "audit-1"), audio=folder)) == []
    assert json.loads((Path(job.out) / MANIFEST).read_text())["made_by"] == "Ada"

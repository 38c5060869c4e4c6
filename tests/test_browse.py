"""core.scanning.browse: nothing outside the allowed folders is shown, whatever is typed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from permissions import ordinary_user

from core.errors import ScanError
from core.scanning.browse import SAMPLES_FOLDER, allowed_roots, check_folder, complete_path, list_folders


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only allowed folder, beside one that is secret and one whose name starts alike."""
    for name in ("audio/calls/2024", "audio/calls/2025", "audio/music", "audio/.hidden", "secret/inner", "audio2"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "audio" / "file.wav").write_text("x")
    monkeypatch.setenv("EARWITNESS_ROOTS", str(tmp_path / "audio"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "audio"


def test_roots_by_default_are_home_and_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EARWITNESS_ROOTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert allowed_roots() == (tmp_path.resolve(), SAMPLES_FOLDER.resolve())


def test_configured_roots_replace_them(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_ROOTS", os.pathsep.join([str(root), "", str(root / "none"), "~/audio2", str(root)]))
    assert allowed_roots() == (root, root.parent / "audio2")


def test_folders_inside_are_resolved(root: Path) -> None:
    for text in (str(root), f" {root}/ ", f"{root}/calls/..", f"{root}/calls/../music/..", "~/audio"):
        assert check_folder(text) == root


@pytest.mark.parametrize(
    "text", ["{root}/..", "{root}/../secret", "{root}/calls/../../secret", "{root}2", "/", "/etc", "~", "secret", "."]
)
def test_folders_outside_are_refused(root: Path, text: str) -> None:
    with pytest.raises(ScanError, match="is outside the folders that this dashboard may show"):
        check_folder(text.format(root=root))


def test_links_do_not_lead_out(root: Path) -> None:
    (root / "escape").symlink_to(root.parent / "secret")
    (root / "stay").symlink_to(root / "calls")
    for path in (root / "escape", root / "escape" / "inner", root / "stay" / ".." / ".." / "secret"):
        with pytest.raises(ScanError, match="is outside"):
            check_folder(str(path))
        with pytest.raises(ScanError, match="is outside"):
            list_folders(path)
        assert complete_path(f"{path}/") == ()
    assert check_folder(str(root / "stay")) == root / "calls"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Type the path"),
        ("  ", "Type the path"),
        ("{root}/a\0b", "Type the path"),
        ("{root}/none", "There is no folder"),
        ("{root}/file.wav", "is not a folder"),
        ("{root}/" + "n" * 300, "cannot be a folder"),
        ("{root}/loop", "cannot be a folder"),
        ("~nobody-of-that-name/x", "cannot be a folder"),
    ],
)
def test_what_is_no_folder_says_why(root: Path, text: str, message: str) -> None:
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(ScanError, match=message):
        check_folder(text.format(root=root))


def test_subfolders_by_name_without_hidden_ones(root: Path) -> None:
    assert list_folders(root) == (root / "calls", root / "music")
    assert list_folders(root / "music") == ()


def test_a_closed_folder_is_refused(root: Path) -> None:
    (root / "closed").mkdir(mode=0)
    with ordinary_user(), pytest.raises(ScanError, match="No permission to list"):
        list_folders(root / "closed")


def test_completion(root: Path) -> None:
    calls, music = str(root / "calls"), str(root / "music")
    expected = {f"{root}/": (calls, music), f"{root}/ca": (calls,), f"{calls}/202": (f"{calls}/2024", f"{calls}/2025")}
    expected |= {f"{root}/x": (), f"{root}/CA": (), "~/audio/m": (music,), str(root): (str(root),), f"{root.parent}/": (str(root),)}
    expected |= {"": (str(root),), str(root.parent / "se"): (), f"{root.parent}/secret/": (), "~nobody-of-that-name/": ()}
    expected |= {"/": (str(root),), f"{root}/\0": (), f"{root}/{'n' * 300}/": ()}
    assert {text: complete_path(text) for text in expected} == expected
    assert complete_path(f"{calls}/", limit=1) == (f"{calls}/2024",)

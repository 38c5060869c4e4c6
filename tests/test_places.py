"""places: the same files are found and read on storage as in a folder; what is not there is refused, what is away is not."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from core.errors import AudioRefusal, ScanError
from core.records import ScanSettings
from core.scanning import places
from core.scanning.discovery import find_files
from core.scanning.places import fetched, find_in, is_url, normalised

FILES = ("b.wav", "a.flac", "notes.txt", ".hidden.wav", "below/c.wav", "below/deeper/d.mp3", ".secret/e.wav", "ü x.ogg")


@pytest.fixture
def memory() -> Iterator[str]:
    filesystem = fsspec.filesystem("memory")
    for name in FILES:
        filesystem.pipe(f"/set/{name}", name.encode())
    yield "memory://set"
    filesystem.rm("/set", recursive=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "set"


@pytest.mark.parametrize(
    "settings",
    [
        ScanSettings(),
        ScanSettings(all_files=True),
        ScanSettings(include_hidden=True),
        ScanSettings(pattern="below/*"),
        ScanSettings(pattern="nothing*"),
    ],
)
def test_finds_what_a_folder_has_in_its_order(memory: str, folder: Path, tmp_path: Path, settings: ScanSettings) -> None:
    expected = list(find_files(str(folder), settings))
    assert list(find_in(memory, settings)) == expected
    assert list(find_in(str(folder), settings)) == expected
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in FILES:
            archive.write(folder / name, name)
    assert list(find_in(f"zip://::file://{tmp_path}/set.zip", settings)) == expected


def test_by_hand(memory: str) -> None:
    names = [os.fsdecode(file.path_bytes) for file in find_in(memory, ScanSettings())]
    assert names == ["a.flac", "b.wav", "ü x.ogg", "below/c.wav", "below/deeper/d.mp3"]
    assert [file.size_bytes for file in find_in(memory, ScanSettings())] == [len(name.encode()) for name in names]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("memory://none", "There is no folder memory://none"),
        ("nonsense://a", "nonsense://a cannot be opened: Protocol not known"),
        ("zip://::file:///nowhere/a.zip", "cannot be opened"),
        ("/nowhere/at/all", "There is no folder"),
    ],
)
def test_what_cannot_be_listed(place: str, words: str) -> None:
    with pytest.raises(ScanError, match=words):
        list(find_in(place, ScanSettings()))


def test_a_protocol_whose_package_is_missing() -> None:
    known = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
    missing = next(name for name, package in known.items() if not _is_installed(package))
    with pytest.raises(ScanError, match=f"{missing}://bucket/set needs a package that is not installed here"):
        list(find_in(f"{missing}://bucket/set", ScanSettings()))


def _is_installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def test_a_copy_is_there_for_as_long_as_it_is_needed(memory: str, folder: Path) -> None:
    with fetched(memory, "ü x.ogg".encode()) as path:
        assert path.endswith(".ogg")
        assert Path(path).read_text() == "ü x.ogg"
    assert not os.path.exists(path)
    with fetched(str(folder), b"b.wav") as path:
        assert path == str(folder / "b.wav")
    assert (folder / "b.wav").exists()


def test_a_file_that_went_is_refused(memory: str) -> None:
    with pytest.raises(AudioRefusal, match="no longer there") as caught, fetched(memory, b"gone.wav"):
        pass
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize(
    ("failures", "error", "outcome"),
    [
        ([OSError(5, "try later")] * 2, None, None),
        ([OSError(5, "try later")] * 3, ScanError, "memory://set does not answer: try later"),
        ([TimeoutError()] * 3, ScanError, "does not answer: TimeoutError"),
        ([PermissionError(13, "no")], AudioRefusal, "No permission"),
    ],
)
def test_storage_that_is_away_is_asked_again_and_refuses_no_file(
    memory: str, monkeypatch, failures: list[OSError], error: type | None, outcome: str | None
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(places, "FIRST_PAUSE_S", 0.0)
    get_file = MemoryFileSystem.get_file
    left = list(failures)

    def get(self: MemoryFileSystem, *arguments: object, **options: object) -> None:
        if left:
            raise left.pop()
        get_file(self, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get)
    read: Callable[[], object] = lambda: _read(memory)  # noqa: E731
    if error is None:
        assert read() == "b.wav"
    else:
        with pytest.raises(error, match=outcome):
            read()
    assert not left


def _read(place: str) -> str:
    with fetched(place, b"b.wav") as path:
        return Path(path).read_text()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("s3", os.path.abspath("s3")),
        ("/a/../b/", "/b"),
        ("file:///a/b", "/a/b"),
        ("file:///a/b/", "/a/b"),
        ("memory://a/b/", "memory://a/b"),
        ("memory://", "memory://"),
    ],
)
def test_places_have_one_name(place: str, expected: str) -> None:
    assert normalised(place) == expected
    assert normalised(expected) == expected
    assert is_url(expected) is expected.startswith("memory")

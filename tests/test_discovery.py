"""core.scanning.discovery: every file once, in a stable order, whatever links and names there are."""

from __future__ import annotations

import os
import socket
from collections import Counter
from pathlib import Path

import pytest
from permissions import ordinary_user

from core.errors import ScanError
from core.records import ScanSettings
from core.scanning.discovery import LeftOut, find_files


def make(folder: Path, *names: str | bytes) -> None:
    """Files of one byte."""
    for name in names:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")


def found(folder: Path, **settings: object) -> list[bytes]:
    return [file.path_bytes for file in find_files(str(folder), ScanSettings(**settings))]


def test_folder_by_folder_in_the_order_of_names(tmp_path: Path) -> None:
    make(tmp_path, "z.wav", "a/2.wav", "a/10.wav", "a/b/1.wav", "B/1.wav", "M.wav", "ä.wav")
    expected = ["M.wav", "z.wav", "ä.wav", "B/1.wav", "a/10.wav", "a/2.wav", "a/b/1.wav"]
    assert found(tmp_path) == [name.encode() for name in expected]
    assert [file.size_bytes for file in find_files(str(tmp_path), ScanSettings())] == [1] * 7


def test_sound_endings_in_any_case(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "b.FLAC", "c.Mp3", "d.m4a", "e.txt", "f", "wav", "g.wav.txt")
    assert found(tmp_path) == [b"a.wav", b"b.FLAC", b"c.Mp3", b"d.m4a"]
    assert found(tmp_path, all_files=True) == sorted(
        [b"a.wav", b"b.FLAC", b"c.Mp3", b"d.m4a", b"e.txt", b"f", b"wav", b"g.wav.txt"]
    )


def test_what_its_ending_leaves_out_is_counted(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "b.TXT", "c/d.txt", "e", ".hidden.txt", "f.a_very_long_ending_that_is_none", "g.x\u202ey")
    left_out = LeftOut()
    assert len(list(find_files(str(tmp_path), ScanSettings(), left_out=left_out))) == 1
    assert left_out.endings == {".txt": 2, "": 1, ".a_very_long": 1, r".x\u202ey": 1}
    words = r"5 files left out by their ending: 2 .txt, 1 without one, 1 .a_very_long, 1 .x\u202ey"
    assert left_out.sentence == f"{words} (--all-files tries them too)."
    left_out.places += ["x is a link that leads out of the folder", "y"]
    assert left_out.sentence.startswith("Left out: x is a link that leads out of the folder, and 1 more. 5 files")
    for settings in (ScanSettings(all_files=True), ScanSettings(pattern="*.wav")):
        left_out = LeftOut()
        list(find_files(str(tmp_path), settings, left_out=left_out))
        assert (left_out.ending_words, left_out.sentence) == ("", None)
    many = LeftOut(endings=Counter({f".{i}": 10 - i for i in range(8)}))
    assert many.ending_words == "52 files left out by their ending: 10 .0, 9 .1, 8 .2, 7 .3, 6 .4, 12 others"
    assert LeftOut(endings=Counter({".md": 1})).ending_words == "1 file left out by its ending: 1 .md"


def test_endings_of_what_ffmpeg_reads(tmp_path: Path) -> None:
    names = [f"a.{ending}" for ending in "wave snd spx m4b oga aif caf 3gp wv w64 aifc amr awb 3gpp weba mpga mp2 ts dss".split()]
    make(tmp_path, *names)
    assert sorted(found(tmp_path)) == sorted(name.encode() for name in names)


def test_hidden_names_are_left_out_unless_wanted(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", ".b.wav", ".git/c.wav", "d/.e/f.wav")
    assert found(tmp_path) == [b"a.wav"]
    assert found(tmp_path, include_hidden=True) == [b".b.wav", b"a.wav", b".git/c.wav", b"d/.e/f.wav"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", [b"a.wav", b"2024/b.wav"]),
        ("2024/*", [b"2024/b.wav", b"2024/c.flac"]),
        ("2024/*.wav", [b"2024/b.wav"]),
        ("A.wav", []),
        ("[ab].wav", [b"a.wav"]),
    ],
)
def test_patterns_are_of_the_path(tmp_path: Path, pattern: str, expected: list[bytes]) -> None:
    make(tmp_path, "a.wav", "2024/b.wav", "2024/c.flac")
    assert found(tmp_path, pattern=pattern) == expected


def test_odd_names_keep_their_bytes(tmp_path: Path) -> None:
    names = [b"caf\xe9.wav", b"line\nbreak.wav", "emoji \N{SPEAKER}.wav".encode(), b"-dash.wav", b" .wav", b"%s\\.wav"]
    make(tmp_path, *names)
    assert sorted(found(tmp_path)) == sorted(names)


def test_loops_of_links_end(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "b/c.wav")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b")
    assert found(tmp_path) == [b"a.wav", b"b/c.wav"]


def test_linked_folders_and_files_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "x.wav")
    make(tmp_path / "audio", "a.wav")
    (tmp_path / "audio" / "one").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "audio" / "two").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "audio" / "link.wav").symlink_to(tmp_path / "elsewhere" / "x.wav")
    assert found(tmp_path / "audio", follow_links=True) == [b"a.wav", b"link.wav", b"one/x.wav"]


def test_links_are_followed_within_the_folder_alone(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "x.wav")
    make(tmp_path / "audio", "a.wav", "b/c.wav")
    make(tmp_path / "audio-2", "y.wav")  # whose name begins as the folder's
    (tmp_path / "audio" / "0").symlink_to(tmp_path / "audio" / "b")
    (tmp_path / "audio" / "d.wav").symlink_to("b/../a.wav")
    (tmp_path / "audio" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "audio" / "out.wav").symlink_to("../elsewhere/x.wav")
    (tmp_path / "audio" / "b" / "nested").symlink_to("../out")
    (tmp_path / "audio" / "b" / "second").symlink_to(tmp_path / "audio-2")
    (tmp_path / "audio" / "out.txt").symlink_to("../elsewhere/x.wav")  # not wanted
    left_out = LeftOut()
    files = list(find_files(str(tmp_path / "audio"), ScanSettings(), left_out=left_out))
    assert [file.path_bytes for file in files] == [b"a.wav", b"d.wav", b"0/c.wav"]
    names = ["out", "out.wav", "0/nested", "0/second"]
    assert left_out.places == [f"{name} is a link that leads out of the folder" for name in names]
    (tmp_path / "link").symlink_to(tmp_path / "audio")  # what is audited may be a link itself
    assert found(tmp_path / "link") == [b"a.wav", b"d.wav", b"0/c.wav"]


def test_a_link_to_nowhere_is_a_file_to_be_refused_later(tmp_path: Path) -> None:
    make(tmp_path, "a.wav")
    (tmp_path / "lost.wav").symlink_to(tmp_path / "gone")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "lost.txt").symlink_to(tmp_path / "gone")
    assert found(tmp_path) == [b"a.wav", b"loop.wav", b"lost.wav"]


def test_what_is_no_file_is_to_be_refused_later(tmp_path: Path) -> None:
    make(tmp_path, "folder.wav/a.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.wav"))
        assert found(tmp_path, follow_links=True) == [b"pipe.wav", b"socket.wav", b"zero.wav", b"folder.wav/a.wav"]
        assert found(tmp_path) == [b"pipe.wav", b"socket.wav", b"folder.wav/a.wav"]


def test_folders_deeper_than_a_path_can_say(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "z/b.wav")
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(24):  # 24 x 201 bytes
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
            Path("x.wav").write_bytes(b"x")
    finally:
        os.chdir(here)
    left_out = LeftOut()
    files = list(find_files(str(tmp_path), ScanSettings(), left_out=left_out))
    below = [file.path_bytes for file in files if file.path_bytes.startswith(b"ddd")]
    assert len(files) == len(below) + 2
    assert 15 < len(below) < 24
    assert max(map(len, below)) > 3_000
    assert len(left_out.places) == 1
    assert left_out.places[0].endswith("could not be opened (File name too long)")


def test_folders_thousands_deep(tmp_path: Path) -> None:
    folders = [os.path.join(tmp_path, "d/" * i) for i in range(1, 1_200)]
    for folder in folders:
        os.mkdir(folder)
    make(tmp_path, "z.wav")
    Path(last := os.path.join(folders[-1], "x.wav")).write_bytes(b"x")
    try:
        assert found(tmp_path) == [b"z.wav", os.fsencode(os.path.relpath(last, tmp_path))]
    finally:  # what clears up after tests goes down by recursion
        os.remove(last)
        for folder in reversed(folders):
            os.rmdir(folder)


def test_a_folder_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "closed/b.wav", "open/c.wav")
    (tmp_path / "closed").chmod(0)
    left_out = LeftOut()
    with ordinary_user():
        files = list(find_files(str(tmp_path), ScanSettings(), left_out=left_out))
    (tmp_path / "closed").chmod(0o700)
    assert [file.path_bytes for file in files] == [b"a.wav", b"open/c.wav"]
    assert left_out.places == ["closed could not be opened (Permission denied)"]


def test_the_folder_itself_must_be_there_and_open(tmp_path: Path) -> None:
    make(tmp_path, "a.wav")
    for name in ("none", "a.wav"):
        with pytest.raises(ScanError, match="There is no folder"):
            found(tmp_path / name)
    (tmp_path / "closed").mkdir(mode=0)
    with ordinary_user(), pytest.raises(ScanError, match="No permission to list"):
        found(tmp_path / "closed")

"""A detector on its way to other machines: its files with the exported network, unpacked and verified by hash where they arrive."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from core.cache import cache_folder
from core.checkpoints import Detector, load_detector
from core.errors import DetectorError
from core.familiarity import FAMILIARITY_FILE
from core.runtime import exported_name, exported_network


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorParcel:
    """All files of a detector."""

    hash: str
    files: tuple[tuple[str, bytes], ...]
    """Names within the detector's folder, and contents."""
    networks: tuple[bytes, ...]
    """Our own networks as ONNX, so that all machines run the very same; none where the detector's folder holds it."""


def pack(detector: Detector) -> DetectorParcel:
    """Reads a detector's files; exports its network where that was not done before."""
    names = sorted(path.name for path in detector.folder.iterdir() if path.is_file())
    files = tuple((name, (detector.folder / name).read_bytes()) for name in names)
    networks = () if detector.is_foreign else tuple(exported_network(branch).read_bytes() for branch in detector.branches)
    return DetectorParcel(hash=detector.hash, files=files, networks=networks)


def unpack(parcel: DetectorParcel) -> Detector:
    """The detector, in this machine's cache folder.

    Raises:
        DetectorError: what arrived is not what was sent.
    """
    folder = cache_folder() / "detectors" / parcel.hash
    try:
        detector = load_detector(folder)
    except DetectorError:
        _write(folder, parcel.files)
        detector = load_detector(folder)
    if detector.thorough.hash == parcel.hash:
        detector = detector.thorough
    if detector.hash != parcel.hash:
        raise DetectorError(f"The detector in {folder} is {detector.hash[:12]}, not {parcel.hash[:12]}; delete that folder.")
    _bring_familiarity(folder, dict(parcel.files).get(FAMILIARITY_FILE))
    for branch, network in zip(detector.branches, parcel.networks):
        if not (cache_folder() / exported_name(branch)).is_file():
            _write_file(cache_folder() / exported_name(branch), network)
    return detector


def _bring_familiarity(folder: Path, content: bytes | None) -> None:
    """The statistics as they were sent: they are no part of the hash that names the folder, which may be from an earlier scan."""
    path = folder / FAMILIARITY_FILE
    if content is None:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_bytes() != content:
        _write_file(path, content)


def _write(folder: Path, files: tuple[tuple[str, bytes], ...]) -> None:
    """Makes the folder under another name first, so that several processes may do it at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    try:
        for name, content in files:
            (partial / name).write_bytes(content)
        if folder.exists() and not (folder / "detector.json").is_file():
            shutil.rmtree(folder)
        try:
            os.replace(partial, folder)
        except OSError:  # another process was quicker
            if not (folder / "detector.json").is_file():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_file(path: Path, content: bytes) -> None:
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)

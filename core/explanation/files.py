"""A map on disk: a picture with axes, the arrays, and a manifest. Never overwrites; leaves nothing behind when it fails."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from core.explanation.masked_stft import axes, spectrum
from core.explanation.records import Explanation, ExplanationError, SaliencyTest
from core.records import SegmentScore
from core.reports import without_nan

SCHEMA_VERSION = 1
_ARRAYS = ("saliency", "time_s", "rows")
_DYNAMIC_RANGE_DB = 80.0
_MAX_COLUMNS = 2_000


def save_explanation(
    explanation: Explanation,
    folder: Path,
    *,
    stem: str,
    test: SaliencyTest | None = None,
    samples: np.ndarray | torch.Tensor | None = None,
) -> tuple[Path, ...]:
    """Writes `STEM.png`, `STEM.npz` and, last, the manifest `STEM.json`.

    Args:
        explanation: what is written.
        folder: an existing or new folder.
        stem: name of the files without their ending.
        test: of the map; a map that fails it is drawn grey, with the words.
        samples: `[time]` at 16 kHz, the explained ones: their spectrogram is drawn above the map.

    Raises:
        ExplanationError: one of the files is there already, or the folder cannot be written.
    """
    if not stem or Path(stem).name != stem:
        raise ExplanationError(f"{stem!r} cannot be a file's name; expected one without folders.")
    picture, arrays, manifest = (folder / f"{stem}.{ending}" for ending in ("png", "npz", "json"))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: getattr(explanation, name) for name in _ARRAYS})
    contents = {
        picture: draw_explanation(explanation, test=test, samples=samples),
        arrays: buffer.getvalue(),
        manifest: _manifest(explanation, test, arrays.name, picture.name),
    }
    with _all_or_nothing(folder) as written:
        for path, content in contents.items():
            with open(path, "xb") as file:
                written.append(path)
                file.write(content)
    return tuple(contents)


def load_explanation(manifest: Path) -> Explanation:
    """Reads what `save_explanation` wrote.

    Raises:
        ExplanationError: a file is missing, damaged, or of another version.
    """
    try:
        fields = json.loads(manifest.read_text(encoding="utf-8"))
        if fields["schema_version"] != SCHEMA_VERSION:
            raise ExplanationError(f"{manifest} has schema version {fields['schema_version']}; this program reads {SCHEMA_VERSION}")
        with np.load(manifest.with_name(fields["arrays"]), allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in _ARRAYS}
        record = fields["explanation"]
        segments = tuple(
            SegmentScore(**segment | {"spoof_score": np.nan if segment["spoof_score"] is None else segment["spoof_score"]})
            for segment in record.pop("segments")
        )
        return Explanation(**record, **content, segments=segments)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExplanationError(f"{manifest} is no saved map, or damaged: {error}") from None


def draw_explanation(
    explanation: Explanation, *, test: SaliencyTest | None = None, samples: np.ndarray | torch.Tensor | None = None
) -> bytes:
    """The map as PNG, time to the right in s, rows upwards with their unit; above it the spectrogram where samples are given."""
    is_grey = explanation.is_empty or (test is not None and not test.passes)
    num_panels = 1 if samples is None else 2
    figure = Figure(
        figsize=(float(np.clip(4 + explanation.duration_s, 8, 24)), 3.2 * num_panels + 0.6), dpi=100, layout="constrained"
    )
    panels = figure.subplots(num_panels, 1, sharex=True, squeeze=False)[:, 0]
    if samples is not None:
        level_db, time_s, hertz = _levels(torch.as_tensor(samples, dtype=torch.float32))
        drawn = _draw(panels[0], level_db, time_s, hertz, colours="magma", limits=(-_DYNAMIC_RANGE_DB, 0.0))
        figure.colorbar(drawn, ax=panels[0], label="Level (dB)")
        panels[0].set_ylabel("Frequency (Hz)")
    step = max(1, explanation.saliency.shape[1] // _MAX_COLUMNS)
    drawn = _draw(
        panels[-1],
        explanation.saliency[:, ::step],
        explanation.time_s[::step],
        explanation.rows,
        colours="Greys" if is_grey else "viridis",
        limits=(0.0, 1.0),
    )
    figure.colorbar(drawn, ax=panels[-1], label="Saliency (of the maximum)")
    panels[-1].set(xlabel="Time (s)", ylabel=explanation.row_label, xlim=(0, explanation.duration_s))
    words = "There is no evidence for the target anywhere." if explanation.is_empty else test.words if test else "Not tested."
    score = f"{explanation.detector_name} {explanation.detector_hash[:12]}, spoof score {explanation.spoof_score:+.2f}"
    figure.suptitle(f"{explanation.title}\n{score}\n{words}", fontsize=9, wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(panel, values: np.ndarray, time_s: np.ndarray, rows: np.ndarray, *, colours: str, limits: tuple[float, float]):
    """Values `[row, frame]`, each cell round its centre, rows evenly spaced or not."""
    return panel.pcolormesh(time_s, rows, values, cmap=colours, vmin=limits[0], vmax=limits[1], shading="nearest", rasterized=True)


def _levels(samples: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectrogram in dB below its maximum, with its times and frequencies."""
    grid = axes(len(samples))
    step = max(1, len(grid.time_s) // _MAX_COLUMNS)
    power = spectrum(samples)[:, ::step].abs().square()
    level_db = 10 * torch.log10((power / power.max().clamp_min(1e-12)).clamp_min(10 ** (-_DYNAMIC_RANGE_DB / 10)))
    return level_db.numpy(), np.array(grid.time_s)[::step], np.array(grid.rows)


def _manifest(explanation: Explanation, test: SaliencyTest | None, arrays: str, picture: str) -> bytes:
    record = {name: getattr(explanation, name) for name in Explanation.__dataclass_fields__ if name not in (*_ARRAYS, "segments")}
    record["segments"] = [asdict(segment) for segment in explanation.segments]
    tested = None if test is None else asdict(test) | {"passes": test.passes, "words": test.words}
    fields = {"schema_version": SCHEMA_VERSION, "arrays": arrays, "picture": picture, "explanation": record, "test": tested}
    return (json.dumps(without_nan(fields), indent=1, allow_nan=False) + "\n").encode()


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[list[Path]]:
    """A list of files written; they go when the block fails, and the folder with them where it was made for them."""
    written: list[Path] = []
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield written
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        if isinstance(error, FileExistsError):
            raise ExplanationError(f"{error.filename} is there already; choose another folder or remove it first.") from None
        if isinstance(error, OSError):
            raise ExplanationError(f"{folder} cannot be written: {error.strerror or error}.") from None
        raise

"""What was found, in words and files: verdicts as sentences, one recording as JSON, its segments as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict

from core.checkpoints import Detector, Figure
from core.records import AudioInfo, Detection, Verdict

_WORDS = {
    Verdict.SPOOF: "Spoof: this sounds synthetic or converted to the detector",
    Verdict.INCONCLUSIVE: "Inconclusive: the detector cannot tell",
    Verdict.BONA_FIDE: "Bona fide: the detector finds no trace of synthesis",
    Verdict.REFUSED: "Refused: this recording cannot be judged",
}


def verdict_words(detection: Detection) -> str:
    """The verdict as a sentence."""
    return _WORDS[detection.verdict]


def probability_words(probability: float) -> str:
    """A probability without false certainty: never 0 % or 100 %."""
    if probability < 0.01:
        return "under 1 %"
    return "over 99 %" if probability > 0.99 else percent(probability, 0)


def percent(share: float, digits: int = 1) -> str:
    """A share as it is written everywhere: per cent, a space before the sign."""
    return f"{100 * share:.{digits}f} %"


def clock_words(time_s: float) -> str:
    """A time in a long recording: hours, minutes and seconds."""
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """A table of Markdown.

    Args:
        head: the columns' names.
        rows: the cells, ready for Markdown.
        right: names of the columns that are aligned at the right.
    """
    rule = ["---:" if name in right else "---" for name in head]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def figure_words(figure: Figure) -> tuple[str, str]:
    """A measured figure and its 95 % interval: rates in per cent, costs (Cllr in bits, t-DCF) as they are.

    Where no error was seen, resampling knows none either; the interval then ends where that would be seen once in 40 times.

    Source: Clopper and Pearson (1934), "The use of confidence or fiducial limits", with trials as the independent units.
    """
    is_cost = "bits" in figure.name or "t-DCF" in figure.name
    end = figure.high
    if "EER" in figure.name and figure.high == 0:
        end = 1 - 0.025 ** (1 / max(1, min(figure.num_bona_fide, figure.num_spoof)))
    value, low, high = (f"{x:.3f}" if is_cost else percent(x) for x in (figure.value, figure.low, end))
    return value, f"{low} to {high}"


def file_words(name: str, sha256: str | None, info: AudioInfo | None, detections: tuple[Detection, ...], detector: Detector) -> str:
    """What a recording is and what was measured on it, as lines of plain text."""
    lines = [f"Name      {name}", f"SHA-256   {sha256 or 'could not be read'}", f"Detector  {detector.name} {detector.hash[:12]}"]
    if info is not None:
        length = f"{info.duration_s:.2f} s declared" if info.duration_s is not None else "length not declared"
        stored = f"{info.sample_rate_hz:,} Hz, {info.num_channels} channel(s), {length}, {info.size_bytes:,} bytes"
        lines.append(f"Format    {info.container}, {info.codec}, {stored}")
    for detection in detections:
        if (quality := detection.quality) is not None:
            level = (
                f"level {quality.level_db:.1f} dBFS, peak {quality.peak_db:.1f} dBFS, clipped {percent(quality.clipped_share, 2)}"
            )
            rest = f"silence {percent(quality.silence_share, 0)}, bandwidth {quality.bandwidth_hz:,.0f} Hz"
            lines.append(f"Channel {detection.channel}: {level}, {rest}")
    return "\n".join(lines)


def recording_json(
    name: str, sha256: str | None, info: AudioInfo | None, detections: tuple[Detection, ...], detector: Detector
) -> str:
    """All that is known of a recording as JSON; NaN (a window that was not judged) is null."""
    manifest = detector.manifest
    content = {
        "name": name,
        "sha256": sha256,
        "info": asdict(info) if info else None,
        "detector": {
            "name": detector.name,
            "hash": detector.hash,
            "is_calibrated": manifest.calibration is not None,
            "thresholds": asdict(manifest.thresholds) if manifest.thresholds else None,
        },
        "prior_spoof": manifest.calibration.prior_spoof if manifest.calibration else None,
        "detections": [asdict(detection) for detection in detections],
    }
    return json.dumps(without_nan(content), indent=1)


def segments_csv(detections: tuple[Detection, ...]) -> str:
    """One line per channel and segment: channel, start_s, end_s, spoof_score (empty where not judged), judged_by."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["channel", "start_s", "end_s", "spoof_score", "judged_by"])
    for detection in detections:
        for segment in detection.segments:
            score = "" if math.isnan(segment.spoof_score) else f"{segment.spoof_score:.6f}"
            judged_by = "" if not score else "fast network" if segment.is_estimated else "all networks"
            writer.writerow([detection.channel, f"{segment.start_s:.3f}", f"{segment.end_s:.3f}", score, judged_by])
    return buffer.getvalue()


def without_nan(value: object) -> object:
    """The same structure with NaN as None: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value

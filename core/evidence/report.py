"""The report of a bundle: one HTML file that needs nothing else, to be read, printed and filed. Judges nothing.

Every name in it is text, never markup. Made line by line from what the bundle holds.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.calibration import Thresholds, verdict_of
from core.checkpoints import Detector
from core.errors import CoreError
from core.evaluation.inconclusive_band import COLUMNS, band_coverage, share_words
from core.evaluation.verdict_policy import measured_scores
from core.evidence.contents import json_lines, path_of, worst_score
from core.evidence.records import LOG, RECORDINGS, TOLERANCE, Manifest
from core.familiarity import distance_words, load_familiarity, warning_words
from core.hostile_text import visible_html
from core.preview import RecordingPreview, preview_recording
from core.records import Verdict, is_unfamiliar
from core.reports import figure_words, probability_words
from core.terms import TERMS, WARNINGS

_STYLE = """
:root { color-scheme: light; } body { font: 14px/1.5 system-ui, sans-serif; color: #1B2733; max-width: 960px; margin: 2rem auto;
padding: 0 1rem; } h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 2px solid #1B2733; }
h1, h2, h3, td, .mono { overflow-wrap: anywhere; } table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #dde3e8; }
tbody th { font-weight: 400; } td.n, th.n { text-align: right; } td[class] { white-space: nowrap; overflow-wrap: normal; }
td.mono { white-space: normal; overflow-wrap: anywhere; } .mono { font-family: ui-monospace, monospace; font-size: .85em; }
.small { color: #52606d; }
figure { margin: .8rem 0; } figure img, figure svg { width: 100%; height: auto; display: block; } figcaption { color: #52606d; }
.spoof { color: #A84300; font-weight: 600; } .inconclusive { color: #7A5800; font-weight: 600; }
.bonafide { color: #13649A; font-weight: 600; } .refused { color: #52606d; font-weight: 600; }
section.recording { break-inside: avoid-page; } thead { display: table-header-group; }
@page { margin: 18mm; } @media print { body { margin: 0; max-width: none; font-size: 10pt; }
section.recording { break-before: page; } a { color: inherit; text-decoration: none; } }
"""
_COLOURS = {Verdict.SPOOF: "#A84300", Verdict.INCONCLUSIVE: "#7A5800", Verdict.BONA_FIDE: "#13649A"}
_MAX_DRAWN = 10.0
"""Nats; scores beyond are drawn at the edge."""
_LIMITS = (
    "A spoof score is evidence, not proof. It is the natural logarithm of how many times likelier the recording's traits are for "
    "speech that a machine made than for human speech, as far as this detector can tell. It holds for recordings like those that "
    "the detector was measured on. Telephone lines, low bit rates, noise and rooms make human speech look spoofed, and spoofs by "
    "systems that the detector never met are missed more often. A refused recording was not judged, and never counts as bona fide.",
    "The log shows who did what when; each entry is bound to the one before by its hash. That shows that nothing was changed since "
    "a hash was written down outside of the store and of this bundle. It does not show that clocks were right or names true.",
    "Nobody can conclude from this report alone that a person lied, or that a call was fraudulent.",
)


def report_pages(manifest: Manifest, detector: Detector, bundle: Path, folder: str, *, num_shown: int) -> Iterator[str]:
    """The report's HTML, piece by piece.

    Args:
        manifest: of the bundle.
        detector: which scored.
        bundle: folder with recordings and log.
        folder: where the recordings lie, for their pictures.
        num_shown: how many recordings are told in full, the first ones and all that were reviewed.
    """
    title = f"Audit of {manifest.audit['folder']}"
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{visible_html(title)}</title>"
    yield f'<meta name=viewport content="width=device-width"><style>{_STYLE}</style><h1>{visible_html(title)}</h1>'
    yield f"<p class=small>Made by {visible_html(manifest.made_by)} with Earwitness, {visible_html(manifest.made_at)}.</p>"
    yield from _summary(manifest, bundle)
    yield from _method(manifest, detector)
    yield "<h2>What this cannot show</h2>" + "".join(f"<p>{visible_html(words)}</p>" for words in _LIMITS)
    yield from _table(bundle)
    for position, line in enumerate(json_lines(bundle / RECORDINGS)):
        if position < num_shown or line["reviews"]:
            yield from _recording(line, folder, detector.manifest.thresholds)
    yield from _log(bundle)
    yield "</html>"


def _summary(manifest: Manifest, bundle: Path) -> Iterator[str]:
    verdicts: Counter[str] = Counter()
    reviewed: Counter[str] = Counter()
    for line in json_lines(bundle / RECORDINGS):
        verdicts[_verdict(line)] += 1
        if line["reviews"]:
            reviewed[line["reviews"][-1]["verdict"]] += 1
    num, of = manifest.selection["num_files"], manifest.selection["num_files_of_audit"]
    yield f"<h2>Summary</h2><p>{num:,} of the audit's {of:,} files are in this bundle. What the detector says of them:</p>"
    rows = [(f'<span class="{_css(v)}">{v}</span>', f"{verdicts[v]:,}", f"{reviewed[v]:,}") for v in map(str, Verdict)]
    yield _html_table(("verdict", "files, by the detector", "files, by the newest review"), rows, numeric=(1, 2))


def _method(manifest: Manifest, detector: Detector) -> Iterator[str]:
    window = detector.manifest.window_s
    thresholds = detector.manifest.thresholds
    limits = (
        f"Scores above {thresholds.upper:+.2f} are called spoof, below {thresholds.lower:+.2f} bona fide, others inconclusive."
        if thresholds
        else "The detector has no thresholds: every verdict is inconclusive."
    )
    yield f"<h2>Method</h2><p>{visible_html(detector.name)}: {visible_html(detector.manifest.summary)} "
    yield f"It hears {window:g} s at once, sliding by {window / 2:g} s; "
    yield f"a recording's score is the {detector.manifest.aggregate} of its segments'. {limits}</p>"
    facts = [
        ("Detector", f"{detector.name}, SHA-256 {detector.hash}"),
        ("Folder", manifest.audit["folder"]),
        ("Settings", json.dumps(manifest.audit["settings"], ensure_ascii=False)),
        ("Source code of Earwitness", f"SHA-256 {manifest.code_revision}"),
        ("Computed with", ", ".join(f"{name} {version}" for name, version in manifest.environment.items())),
        ("Newest entry of the log", manifest.log_hash),
    ]
    yield _html_table(("", ""), [(visible_html(name), f"<span class=mono>{visible_html(text)}</span>") for name, text in facts])
    yield "<h2>Error rates of the detector</h2><p>Measured on recordings that it was not trained on, with 95 % intervals.</p>"
    rows = []
    tested = [figure for figure in detector.manifest.figures if figure.split == "test"]
    for figure in tested or detector.manifest.figures:
        value, interval = figure_words(figure)
        cells = (figure.split, figure.name, value, interval, f"{figure.num_bona_fide:,}", f"{figure.num_spoof:,}")
        rows.append(tuple(visible_html(cell) for cell in cells))
    yield _html_table(("measured on", "figure", "value", "95 % interval", "bona fide", "spoofs"), rows, numeric=(2, 3, 4, 5))
    terms = (f"<b>{term}</b>: {visible_html(TERMS[term])}" for term in ("EER", "Cllr", "95 % interval"))
    yield f"<p class=small>{'<br>'.join(terms)}</p>"
    yield from band_lines(detector)
    yield f"<h3>Recordings unlike its training data</h3><p>{visible_html(warning_words(load_familiarity(detector)))}</p>"
    again = "<code>python -m core verify BUNDLE --audio FOLDER</code> derives every score again"
    yield f"<p class=small>{again} (within {TOLERANCE:g} nats).</p>"


def band_lines(detector: Detector) -> Iterator[str]:
    """What the verdicts leave undecided and get wrong, on the shipped test scores."""
    measured = measured_scores(detector.name) if detector.is_shipped and detector.manifest.thresholds else None
    if measured is None:
        yield "<p>What its verdicts leave undecided, and how often the others are wrong, was not measured here.</p>"
        return
    yield "<h3>What its verdicts leave undecided</h3><p>Shares left inconclusive and errors among the rest, on the shipped "
    yield "test recordings, with 95 % intervals over speakers. The first row is the band in use, the others are what it would be "
    yield "worth were it wider or narrower.</p>"
    bands = band_coverage(*measured, detector.manifest.thresholds, widths=(1.0, 0.0, 0.5, 1.5, 2.0))
    rows = []
    for band in bands:
        limits = f"{band.thresholds.lower:+.2f} to {band.thresholds.upper:+.2f}"
        rows.append((limits + (" (in use)" if band.width == 1 else ""), *map(share_words, band.shares)))
    yield _html_table(("inconclusive from", *(name.lower() for name in COLUMNS)), rows, numeric=(1, 2, 3, 4))


def _table(bundle: Path) -> Iterator[str]:
    yield "<h2>All recordings</h2><table><thead><tr><th>file<th>verdict<th class=n>spoof score<th>warning<th>review<th>SHA-256</tr>"
    yield "</thead>"
    for line in json_lines(bundle / RECORDINGS):
        verdict = _verdict(line)
        review = line["reviews"][-1] if line["reviews"] else None
        said = visible_html(f"{review['verdict']} ({review['reviewer']})") if review else ""
        yield f"<tr><td>{visible_html(line['path'])}<td class={_css(verdict)}>{verdict}<td class=n>{_score(worst_score(line))}"
        yield f"<td>{'unfamiliar' if any(is_unfamiliar(d['training_distance']) for d in line['detections']) else ''}"
        yield f"<td>{said}<td class=mono>{(line['sha256'] or 'could not be read')[:16]}</tr>"
    yield "</table>"


def _recording(line: dict[str, Any], folder: str, thresholds: Thresholds | None) -> Iterator[str]:
    yield f"<section class=recording><h2>{visible_html(line['path'])}</h2>"
    facts = [
        ("SHA-256 of the file", line["sha256"]),
        ("SHA-256 of its decoded audio", line["audio_sha256"]),
        ("File", line["file_state"]),
    ]
    if line["info"]:
        info = line["info"]
        facts.append(
            ("Format", f"{info['container']}, {info['codec']}, {info['sample_rate_hz']:,} Hz, {info['num_channels']} channel(s)")
        )
    if line["label"]:
        facts.append(("Label by the protocol", f"{line['label']} {line['attack'] or ''}"))
    yield _html_table(("", ""), [(name, f"<span class=mono>{visible_html(str(text))}</span>") for name, text in facts])
    for detection in line["detections"]:
        yield from _detection(line, detection, folder, thresholds)
    for review in line["reviews"]:
        yield f"<p>Review by {visible_html(review['reviewer'])}, {_time(review['created_at'])}: "
        yield f"<b>{visible_html(review['verdict'])}</b>. {visible_html(review['note'])}</p>"
    yield "</section>"


def _detection(line: dict[str, Any], detection: dict[str, Any], folder: str, thresholds: Thresholds | None) -> Iterator[str]:
    verdict = detection["verdict"]
    place = "The detector's verdict" if detection["channel"] == "mix" else f"Channel {visible_html(detection['channel'])}"
    yield f"<h3>{place}: <span class={_css(verdict)}>{verdict}</span></h3>"
    if detection["reason"]:
        yield f"<p>{visible_html(detection['reason'])}</p>"
        return
    chance = ""
    if detection["probability"] is not None:
        chance = f", {probability_words(detection['probability'])} if half of such recordings were spoofs"
    yield f"<p>Spoof score {_score(detection['spoof_score'])}{chance}; {detection['duration_s']:.2f} s judged.</p>"
    for code in detection["warnings"]:
        yield f"<p class=small>{visible_html(WARNINGS.get(code, code))}</p>"
    if detection["training_distance"] is not None:
        yield f"<p class=small>{visible_html(distance_words(detection['training_distance']))}</p>"
    if line["audio_sha256"]:
        try:
            preview = preview_recording(path_of(line, folder), channel=detection["channel"])
            yield f"<figure>{_picture(preview)}{_segments(detection, thresholds)}<figcaption>Spectrogram, 0 to 8 kHz. Below it the "
            yield f"segments' spoof scores over the same time, {_band_words(thresholds)}</figcaption></figure>"
        except CoreError:  # a name that is not UTF-8, or gone in this moment: there is no picture of it
            yield f"<figure>{_segments(detection, thresholds)}<figcaption>The segments' spoof scores over time, "
            yield f"{_band_words(thresholds)}</figcaption></figure>"


def _picture(preview: RecordingPreview) -> str:
    # Dark is quiet; -80 to 0 dB.
    grey = (255 - np.clip((preview.level_db.astype(np.float32) + 80) / 80, 0, 1) * 255).astype(np.uint8)[::-1]
    image = Image.fromarray(grey).resize((900, 220), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f'<img alt="Spectrogram" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def _band_words(thresholds: Thresholds | None) -> str:
    scale = f"from {-_MAX_DRAWN:g} at the bottom to {_MAX_DRAWN:g} at the top; beyond, at the edge."
    return f"{scale} In the grey band they are inconclusive, above it spoof, below it bona fide." if thresholds else scale


def _segments(detection: dict[str, Any], thresholds: Thresholds | None) -> str:
    """Steps of the segments' scores as SVG, coloured by the verdict that each would be, over the inconclusive band."""
    length = max(detection["duration_s"], 0.1)

    def height(score: float) -> float:
        return 60 - 50 / _MAX_DRAWN * max(-_MAX_DRAWN, min(_MAX_DRAWN, score))

    bars = []
    if thresholds:
        top, bottom = height(thresholds.upper), height(thresholds.lower)
        bars.append(f'<rect x="0" y="{top:.1f}" width="900" height="{max(bottom - top, 0.5):.1f}" fill="#e6eaee"/>')
    for segment in detection["segments"]:
        if segment["spoof_score"] is not None:
            x, width = 900 * segment["start_s"] / length, 900 * (segment["end_s"] - segment["start_s"]) / length
            y, colour = height(segment["spoof_score"]), _COLOURS[verdict_of(segment["spoof_score"], thresholds)]
            place = f'x="{x:.1f}" y="{y - 2:.1f}" width="{max(width, 1):.1f}" height="4"'
            opacity = ".3" if segment.get("is_estimated") else ".7"
            bars.append(f'<rect {place} fill="{colour}" opacity="{opacity}"/>')
    axis = "".join(
        f'<text x="0" y="{height(score) + 4:.1f}" font-size="11" fill="#52606d">{score:+g}</text>'
        for score in (-_MAX_DRAWN, 0.0, _MAX_DRAWN)
    )
    return f'<svg viewBox="0 0 900 120" role="img" aria-label="Scores of the segments">{"".join(bars)}{axis}</svg>'


def _log(bundle: Path) -> Iterator[str]:
    yield "<h2>Log of the audit</h2><table><thead><tr><th class=n>no.<th>when (UTC)<th>who<th>what<th>hash</tr></thead>"
    for event in json_lines(bundle / LOG):
        when = _time(event["at"])
        details = event["details"] if len(event["details"]) <= 400 else event["details"][:400] + " ..."
        yield f"<tr><td class=n>{event['number']}<td>{when}<td>{visible_html(event['actor'])}<td>{visible_html(event['action'])} "
        yield f"<span class=mono>{visible_html(details)}</span><td class=mono>{event['hash'][:16]}</tr>"
    yield "</table>"


def _verdict(line: dict[str, Any]) -> str:
    """That of the riskiest channel; refused only where all are."""
    judged = [d for d in line["detections"] if d["spoof_score"] is not None]
    return max(judged, key=lambda d: d["spoof_score"])["verdict"] if judged else str(Verdict.REFUSED)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _css(verdict: str) -> str:
    return verdict.replace(" ", "")


def _score(score: float) -> str:
    return f"{score:+.2f}" if math.isfinite(score) else "none"


def _html_table(heads: Iterable[str], rows: Iterable[tuple[str, ...]], *, numeric: tuple[int, ...] = ()) -> str:
    """Cells are HTML already; the first of a row names it, in words that are not broken."""
    kinds = {i: " class=n" for i in numeric}
    head = "".join(f"<th{kinds.get(i, '')}>{text}" for i, text in enumerate(heads))
    body = ""
    for first, *rest in rows:
        body += f"<tr><th scope=row>{first}" + "".join(f"<td{kinds.get(i, '')}>{cell}" for i, cell in enumerate(rest, 1)) + "</tr>"
    return f"<table><thead><tr>{head}</tr></thead>{body}</table>"

"""One recording, what a detector looked at in it, and the tests of that, as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from core.calibration import Thresholds, verdict_of
from core.explanation.band_importance import compared_bands
from core.explanation.excerpts import Excerpt
from core.explanation.playback_line import PLAYBACK_SCRIPT
from core.explanation.records import CounterfactualScore, EvidenceAudio, Explanation, SaliencyTest, TimeFrequencyBox
from core.explanation.saliency_figures import band_figure, evidence_figure
from core.explanation.saliency_words import agreement_words, badge_words, box_words, change_words, counterfactual_words, test_lines
from core.hostile_text import visible_html
from core.preview import wav_bytes
from core.reports import percent

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1B2733; background: #fff; max-width: 1100px;
margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
border-bottom: 1px solid #dde3e8; } td.mono { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; color: #fff; background: #1E7B34; }
.badge.fails { background: #6b6b6b; } .small { color: #52606d; font-size: .87rem; }
.sounds { display: flex; flex-wrap: wrap; gap: 1.2rem; } .sounds > div { flex: 1 1 260px; } audio { width: 100%; }
.wide { overflow-x: auto; }
"""
_CAVEAT = (
    "A score is evidence, not proof, and holds for recordings like those that the detector was measured on. A map shows what moved "
    "this detector's score, by one method; it does not show what is fake."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedMap:
    """One map with all that was found out about it."""

    explanation: Explanation
    test: SaliencyTest
    audio: EvidenceAudio | None
    """None where the map cannot be made into sound."""
    thresholds: Thresholds | None
    score_words: str
    """What the detector's scores are called, with their unit."""
    counterfactual: CounterfactualScore | None = None
    """The score without the box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaliencyReport:
    """What one file holds."""

    name: str
    sha256: str
    excerpt: Excerpt
    maps: tuple[ReportedMap, ...]
    """One, or two side by side."""
    agreement: float | None
    """Rank correlation of two maps."""
    box: TimeFrequencyBox | None
    opacity: float


def report_html(report: SaliencyReport) -> bytes:
    """The file. Figures can be zoomed; sounds play with a line at their position; names are text, never markup."""
    excerpt = report.excerpt
    title = f"What the detector looked at: {report.name}"
    body = [f"<h1>{visible_html(title)}</h1>", f"<p>{visible_html(_CAVEAT)}</p>", _facts(report)]
    if report.agreement is not None:
        body.append(f"<p><b>{visible_html(agreement_words(report.agreement))}</b></p>")
    body += ["<h2>The recording</h2>", f"<div class=sounds>{_sound('As it is', excerpt.samples, '')}</div>"]
    for i, shown in enumerate(report.maps):
        body += _map_parts(report, shown, i)
    body.append(f"<h2>Over bands</h2><div class=wide>{_figure(_bands(report.maps), 'bands')}</div>")
    script = f"{PLAYBACK_SCRIPT}\nfollowPlayback('.recording .js-plotly-plot', {excerpt.start_s!r});"
    return "\n".join(
        [
            "<!doctype html><html lang=en><head><meta charset=utf-8>",
            '<meta name=viewport content="width=device-width, initial-scale=1">',
            f"<title>{visible_html(title)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head><body>",
            *body,
            f"<script>{script}</script></body></html>",
        ]
    ).encode("utf-8", "backslashreplace")


def _map_parts(report: SaliencyReport, shown: ReportedMap, number: int) -> Iterator[str]:
    explanation, test = shown.explanation, shown.test
    yield f"<h2>{visible_html(explanation.detector_name)}: {visible_html(explanation.title)}</h2>"
    score, verdict = explanation.spoof_score, verdict_of(explanation.spoof_score, shown.thresholds)
    yield f"<p>{visible_html(shown.score_words)} <b>{score:+.2f}</b>, {verdict}. "
    yield f'<span class="badge{"" if test.passes else " fails"}">{visible_html(badge_words(test))}</span></p>'
    yield f"<p class=small>{visible_html(test.words)}</p>"
    figure = evidence_figure(
        report.excerpt,
        explanation,
        thresholds=shown.thresholds,
        score_words=shown.score_words,
        opacity=report.opacity,
        is_trusted=test.passes,
        box=report.box,
    )
    figure.update_layout(dragmode="zoom")
    yield f'<div class="recording wide">{_figure(figure, f"recording-{number}")}</div>'
    if shown.audio is not None:
        audio = shown.audio
        yield "<div class=sounds>"
        yield _sound(
            f"Only the evidence: the strongest {percent(audio.share_of_cells, 0)} of the map",
            audio.only,
            change_words(audio.score, audio.score_only),
        )
        yield _sound("Without the evidence", audio.without, change_words(audio.score, audio.score_without))
        yield "</div>"
    if report.box is not None and shown.counterfactual is not None:
        where = box_words(report.box, offset_s=report.excerpt.start_s)
        yield f"<p><b>The box</b> ({visible_html(where)}). {visible_html(counterfactual_words(shown.counterfactual, unit=''))}</p>"
    yield "<h3>How the map was tested</h3><div class=wide><table><tr><th>Test<th>This map<th>To hold it against<th>Meaning</tr>"
    for line in test_lines(test):
        yield (
            "<tr>" + "".join(f"<td>{visible_html(cell)}" for cell in (line.name, line.value, line.baseline, line.meaning)) + "</tr>"
        )
    yield "</table></div>"


def _facts(report: SaliencyReport) -> str:
    excerpt, first = report.excerpt, report.maps[0].explanation
    part = f"{excerpt.start_s:.2f} to {excerpt.end_s:.2f} s of {excerpt.recording_s:.2f} s, channel {excerpt.channel}, 16 kHz"
    rows = [("Recording", report.name), ("SHA-256", report.sha256), ("Looked into", part)]
    detectors = {shown.explanation.detector_name: shown.explanation.detector_hash for shown in report.maps}
    rows += [(f"Detector {name}", digest) for name, digest in detectors.items()]
    rows.append(("Made with", ", ".join(f"{name} {version}" for name, version in first.versions.items())))
    cells = "".join(f"<tr><th>{visible_html(name)}<td class=mono>{visible_html(value)}</tr>" for name, value in rows)
    return f"<div class=wide><table>{cells}</table></div>"


def _bands(maps: Sequence[ReportedMap]) -> go.Figure:
    explanations = [shown.explanation for shown in maps]
    return band_figure(compared_bands(explanations), row_label=explanations[0].row_label)


def _sound(title: str, samples: np.ndarray, words: str) -> str:
    data = base64.b64encode(wav_bytes(samples)).decode()
    words = f"<br><span class=small>{visible_html(words)}</span>" if words else ""
    return f'<div><b>{visible_html(title)}</b><audio controls src="data:audio/wav;base64,{data}"></audio>{words}</div>'


def _figure(figure: go.Figure, name: str) -> str:
    figure.update_layout(template="plotly_white", font={"color": "#1B2733"})
    config = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"filename": name, "scale": 2}}
    return figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config)

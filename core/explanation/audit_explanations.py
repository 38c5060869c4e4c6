"""Maps of many files of an audit, tested, in one folder: a page to open, a table, and each map's picture, arrays and manifest.

Run again, it goes on where it stopped: a file whose manifest is there is not explained again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from core.audio import sha256_of
from core.checkpoints import Detector
from core.errors import CoreError
from core.explanation.excerpts import excerpt_start_s, read_excerpt
from core.explanation.explain import explain
from core.explanation.files import save_explanation
from core.explanation.map_tests import check_explanation
from core.explanation.records import METHOD_NAMES, PAGE_NAME, TARGET_NAMES, Method, Target
from core.hostile_text import visible_html
from core.records import Verdict
from core.store.exports import csv_of_frame
from core.store.store import Store
from core.store.triage import entry_detail
from core.whole_files import replace_file

TABLE_NAME = "explanations.csv"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#1B2733;max-width:1100px;margin:2rem auto;padding:0 1rem}"
    "section{border-top:1px solid #dde3e8;padding:1rem 0}img{max-width:100%}h2{font-size:1rem;overflow-wrap:anywhere}"
    ".small{color:#52606d;font-size:.87rem}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedEntry:
    """One file of the audit, explained or not."""

    entry_id: int
    path: str
    channel: str | None
    spoof_score: float | None
    verdict: str | None
    start_s: float | None
    """Where the part that was looked into begins: the half minute round the highest-scoring segment, in a longer recording."""
    badge: str | None
    """What the map's tests say, in one sentence."""
    share_non_speech: float | None
    share_above_4_khz: float | None
    picture: str | None
    """File name within the folder."""
    not_done: str | None
    """Why there is no map."""


def explain_entries(
    store: Store,
    detector: Detector,
    entry_ids: Sequence[int],
    out: Path,
    *,
    method: Method,
    target: Target = "spoof_minus_bona_fide",
    on_progress: Callable[[int, int, ExplainedEntry], None] | None = None,
) -> tuple[ExplainedEntry, ...]:
    """Explains files of an audit, each its channel with the highest score, and writes `OUT/index.html` and the rest.

    Args:
        store: with the audit.
        detector: the audit's.
        entry_ids: the files, in the order of the page.
        out: folder, new or of an earlier run of the same work.
        method: how.
        target: evidence for what.
        on_progress: told number done, number of all, and the newest.

    Raises:
        CoreError: nothing is to be explained, or the folder cannot be written. A file that cannot be explained stops nothing.
    """
    if not entry_ids:
        raise CoreError("No file of the audit matches, so there is nothing to explain.")
    done: list[ExplainedEntry] = []
    for entry_id in entry_ids:
        done.append(_explained(store, detector, entry_id, out, method, target))
        if on_progress is not None:
            on_progress(len(done), len(entry_ids), done[-1])
    title = f"{METHOD_NAMES[method]} of {detector.name}, evidence for {TARGET_NAMES[target]}"
    out.mkdir(parents=True, exist_ok=True)
    page = "".join(_page(title, detector, done)).encode("utf-8", "backslashreplace")
    for name, content in ((TABLE_NAME, csv_of_frame(pd.DataFrame([asdict(one) for one in done]))), (PAGE_NAME, page)):
        replace_file(out / name, content)
    return tuple(done)


def _explained(store: Store, detector: Detector, entry_id: int, out: Path, method: Method, target: Target) -> ExplainedEntry:
    detail = entry_detail(store, entry_id)
    stem = f"{entry_id:06d}.{method}.{target}"
    found = dict.fromkeys(ExplainedEntry.__dataclass_fields__) | {"entry_id": entry_id, "path": detail.row.path}
    judged = [detection for detection in detail.detections if detection.verdict is not Verdict.REFUSED]
    if not judged:
        return ExplainedEntry(**found | {"not_done": detail.row.reason or "It has not been scored yet."})
    detection = max(judged, key=lambda one: one.spoof_score)
    start_s = excerpt_start_s(detection.segments, detection.duration_s)
    found |= {
        "channel": detection.channel,
        "spoof_score": detection.spoof_score,
        "verdict": str(detection.verdict),
        "start_s": start_s,
    }
    try:
        if not (out / f"{stem}.json").is_file():  # written last
            if not os.path.exists(detail.absolute_path) or sha256_of(detail.absolute_path) != detail.sha256:
                raise CoreError("The file is gone or has changed since its audit; audit the folder again.")
            samples = read_excerpt(detail.absolute_path, channel=detection.channel, start_s=start_s).samples
            explanation = explain(detector, samples, method=method, target=target)
            test = check_explanation(detector, samples, explanation)
            save_explanation(explanation, out, stem=stem, test=test, samples=samples)
        tested = json.loads((out / f"{stem}.json").read_text(encoding="utf-8"))["test"]
    except CoreError as error:
        return ExplainedEntry(**found | {"not_done": str(error)})
    shares = {name: tested[name] for name in ("share_non_speech", "share_above_4_khz")}
    return ExplainedEntry(**found | shares | {"badge": tested["words"], "picture": f"{stem}.png"})


def _page(title: str, detector: Detector, done: Sequence[ExplainedEntry]) -> Iterator[str]:
    num = sum(one.picture is not None for one in done)
    yield f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{visible_html(title)}</title>"
    yield f"<style>{_STYLE}</style></head><body>"
    yield f"<h1>{visible_html(title)}</h1><p class=small>Detector {detector.hash}. {num} of {len(done)} files have a map. "
    yield "A map shows what moved this detector's score, by one method; it does not show what is fake. "
    yield "One that fails its tests is grey.</p>"
    for one in done:
        score = "" if one.spoof_score is None else f"{one.verdict}, spoof score {one.spoof_score:+.2f}, channel {one.channel}. "
        score += f"From {one.start_s:.1f} s on. " if one.start_s else ""
        yield f"<section><h2>{visible_html(one.path)}</h2><p>{visible_html(score + (one.badge or one.not_done or ''))}</p>"
        if one.picture is not None:
            yield f'<img loading=lazy src="{visible_html(one.picture)}" alt="Spectrogram and map of {visible_html(one.path)}">'
        yield "</section>"
    yield "</body></html>\n"

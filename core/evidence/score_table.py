"""The recordings of a bundle as a table for spreadsheets: a row per channel. What it says stands in `recordings.jsonl` too."""

from __future__ import annotations

import csv
from pathlib import Path

from core.evidence.contents import json_lines
from core.evidence.records import RECORDINGS, SCORES
from core.store.exports import inert

COLUMNS = ("path", "sha256", "audio_sha256", "file_state", "channel", "verdict", "spoof_score", "probability", "duration_s")
COLUMNS += ("reason", "warnings", "training_distance", "label", "attack", "review", "reviewer", "review_note")


def write_scores(bundle: Path) -> None:
    """Writes `scores.csv` from `recordings.jsonl`; texts that a spreadsheet would run are made inert."""
    with open(bundle / SCORES, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for line in json_lines(bundle / RECORDINGS):
            review = line["reviews"][-1] if line["reviews"] else {}
            said = {"review": review.get("verdict"), "reviewer": review.get("reviewer"), "review_note": review.get("note")}
            for detection in line["detections"]:
                row = line | detection | said | {"warnings": " ".join(detection["warnings"])}
                table.writerow([inert(row[name]) for name in COLUMNS])

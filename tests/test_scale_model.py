"""scale_model: its arithmetic by hand, its simulation against a closed form, and its tables are those of the document."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import CoreError
from core.scanning import parquet_ledger, scale_model, scan
from core.scanning.scale_model import (
    DOCUMENT,
    IN_FLIGHT_PER_CORE,
    MEASURED,
    UNWRITTEN_S,
    Fleet,
    Measured,
    load_measured,
    main,
    report,
    simulate,
)

BY_HAND = Measured(
    cores=2,
    mean_duration_s=4.0,
    mean_bytes=50_000,
    decode_rate=2_000,
    features_rate=1_000,
    network_rate=400,
    scan_share=0.8,
    ray_share=1.0,
    driver_sqlite_ms=0.5,
    driver_postgresql_ms=0.25,
    driver_files_ms=0.2,
    ledger_sqlite_rate=3_000,
    ledger_postgresql_rate=3_000,
    sqlite_bytes=1_000,
    postgresql_bytes=1_500,
    files_bytes=100,
)


def test_by_hand() -> None:
    # 1 + 2 + 5 core-ms for the parts; the scan takes 8 / 0.8 = 10.
    assert BY_HAND.core_ms == pytest.approx(10.0)
    assert list(BY_HAND.parts_ms.values()) == pytest.approx([1.0, 2.0, 5.0, 2.0])
    assert BY_HAND.sinks == {"SQLite": (2_000, 1_000), "PostgreSQL": (3_000, 1_500), "Parquet": (5_000, 100)}
    assert scale_model.cluster_rate(BY_HAND, 10, "SQLite") == pytest.approx(1_000)
    assert scale_model.cluster_rate(BY_HAND, 100, "SQLite") == pytest.approx(2_000)
    assert scale_model.cores_when_full(BY_HAND, "PostgreSQL") == pytest.approx(30)
    tables = report(BY_HAND, 3_600_000)
    assert "| **together** | 10.00 | 10 |" in tables
    assert "| SQLite | 2,000 | 20 | 1,000 | 4 GB |" in tables
    assert "| 1 x 16 | Parquet | 1,600 | 0.62 |" in tables
    assert "| 1 x 64 | PostgreSQL | 3,000 (driver full) | 0.33 |" in tables


def test_without_losses_it_is_a_division() -> None:
    fleet = Fleet(num_clusters=4, cores=10)
    options = {"sink": "SQLite", "num_recordings": 14_400_000, "away_s": 600.0, "seed": 0}
    assert simulate(BY_HAND, fleet, losses_per_day=0.0, **options) == pytest.approx((1.0, 0.0))


def test_losses_cost_what_they_should_on_average() -> None:
    # 10 recordings/s for 100 days: about 100 losses of 600 s and of 1,284 recordings (128 s) each, in a run of 100 days.
    fleet = Fleet(num_clusters=1, cores=2)
    slow = replace(BY_HAND, decode_rate=20, features_rate=10, network_rate=4)
    options = {"sink": "SQLite", "num_recordings": 100 * 86_400 * 2, "losses_per_day": 1.0, "away_s": 600.0}
    rate = scale_model.cluster_rate(slow, 2, "SQLite")
    assert rate == pytest.approx(2.0)
    runs = [simulate(slow, fleet, seed=seed, **options) for seed in range(20)]
    lost = IN_FLIGHT_PER_CORE * 2 + rate * UNWRITTEN_S["SQLite"]
    # Each day of work brings a loss: x days take x = 100 + x * lost / (86,400 * rate) days of work, and 600 s for each.
    days = 100 / (1 - lost / (86_400 * rate))
    assert sum(hours for hours, _ in runs) / 20 == pytest.approx(24 * days + days * 600 / 3_600, rel=0.01)
    assert sum(share for _, share in runs) / 20 == pytest.approx(days * lost / (100 * 86_400 * rate), rel=0.1)
    assert simulate(slow, fleet, seed=3, **options) == runs[3]


def test_what_is_lost_is_what_the_code_holds() -> None:
    flow = (Path(scale_model.__file__).parent / "cluster" / "flow.py").read_text(encoding="utf-8")  # importing it needs Ray
    numbers = [int(re.search(rf"^{name} = (\d+)", flow, re.MULTILINE)[1]) for name in ("CHUNK_FILES", "OPEN_CHUNKS_PER_CORE")]
    assert numbers[0] * numbers[1] == IN_FLIGHT_PER_CORE
    assert UNWRITTEN_S == {"SQLite": scan.COMMIT_S, "PostgreSQL": scan.COMMIT_S, "Parquet": parquet_ledger.FLUSH_S}


def test_the_document_has_the_tables(capsys) -> None:
    assert main([]) == 0
    tables = capsys.readouterr().out
    assert tables == report(load_measured(), 100_000_000)
    assert tables in DOCUMENT.read_text(encoding="utf-8")
    for figure in json.loads(MEASURED.read_text())["figures"].values():
        assert figure["how"]
        assert figure["unit"]


def test_writing_again_changes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    copy = tmp_path / "scale.md"
    copy.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(scale_model, "DOCUMENT", copy)
    assert main(["--recordings", "1000000", "--write"]) == 0
    assert "core-hours for 1,000,000" in copy.read_text(encoding="utf-8")
    assert main(["--write"]) == 0
    assert copy.read_text(encoding="utf-8") == DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["{", "{}", '{"figures": {"cores": {"value": "many"}}}'])
def test_figures_that_are_missing(tmp_path: Path, content: str) -> None:
    (tmp_path / "measured.json").write_text(content)
    with pytest.raises(CoreError, match="does not hold the measured figures"):
        load_measured(tmp_path / "measured.json")


def test_bad_input(tmp_path: Path, capsys) -> None:
    figures = json.loads(MEASURED.read_text())
    figures["figures"]["cores"]["value"] = 0
    (tmp_path / "measured.json").write_text(json.dumps(figures))
    with pytest.raises(CoreError, match="above 0"):
        load_measured(tmp_path / "measured.json")
    assert main(["--recordings", "0"]) == 1
    assert "--recordings is 0" in capsys.readouterr().err

"""What scanning very many recordings takes, from measured rates: cores, hours, storage, and what is full first. Invents no number.

`python -m core.scanning.scale_model` prints the tables of `docs/scale.md`; `--write` puts them there. All rates are of
`data/results/scale/measured.json`, which tells for each how it was measured.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from dataclasses import dataclass, fields
from pathlib import Path

from core.errors import CoreError

MEASURED = Path(__file__).parents[2] / "data" / "results" / "scale" / "measured.json"
DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"
BEGIN, END = "<!-- made by python -m core.scanning.scale_model --write -->\n", "<!-- end -->\n"
READS = 2
"""Times that the bytes of a recording are read: to know whether it was scored before, and to decode it."""
IN_FLIGHT_PER_CORE = 64
"""Recordings that are lost with a core at most: `CHUNK_FILES` times `OPEN_CHUNKS_PER_CORE` of `core.scanning.cluster.flow`."""
UNWRITTEN_S = {"SQLite": 0.5, "PostgreSQL": 0.5, "Parquet": 30.0}
"""Results of this long are lost with a driver at most: `core.scanning.scan.COMMIT_S`, `core.scanning.parquet_ledger.FLUSH_S`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Rates and sizes as measured; units in `measured.json`."""

    cores: float
    mean_duration_s: float
    mean_bytes: float
    decode_rate: float
    features_rate: float
    network_rate: float
    scan_share: float
    ray_share: float
    driver_sqlite_ms: float
    driver_postgresql_ms: float
    driver_files_ms: float
    ledger_sqlite_rate: float
    ledger_postgresql_rate: float
    sqlite_bytes: float
    postgresql_bytes: float
    files_bytes: float

    @property
    def parts_ms(self) -> dict[str, float]:
        """Milliseconds of one core per recording, by part; the last is what a scan as a whole takes beyond its parts."""
        parts = {"decoding": self.decode_rate, "features": self.features_rate, "network": self.network_rate}
        found = {name: 1000 * self.cores / rate for name, rate in parts.items()}
        return found | {"the rest of the scan, Ray included": sum(found.values()) * (1 / (self.scan_share * self.ray_share) - 1)}

    @property
    def core_ms(self) -> float:
        """Milliseconds of one core per recording."""
        return sum(self.parts_ms.values())

    @property
    def sinks(self) -> dict[str, tuple[float, float]]:
        """Where results go -> recordings/s that one driver can write there, bytes per recording."""
        return {
            "SQLite": (min(1000 / self.driver_sqlite_ms, self.ledger_sqlite_rate), self.sqlite_bytes),
            "PostgreSQL": (min(1000 / self.driver_postgresql_ms, self.ledger_postgresql_rate), self.postgresql_bytes),
            "Parquet": (1000 / self.driver_files_ms, self.files_bytes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A number of equal clusters, each with a driver of its own and a share of the recordings."""

    num_clusters: int
    cores: int
    """Of each cluster."""


def load_measured(path: Path = MEASURED) -> Measured:
    """The measured figures.

    Raises:
        CoreError: the file lacks one, or one is not above 0.
    """
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
        values = {field.name: float(figures[field.name]["value"]) for field in fields(Measured)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CoreError(f"{path} does not hold the measured figures: {error!r}. Restore it from the repository.") from None
    if not all(value > 0 and math.isfinite(value) for value in values.values()):
        raise CoreError(f"{path}: every figure must be above 0.")
    return Measured(**values)


def cluster_rate(measured: Measured, cores: int, sink: str) -> float:
    """Recordings/s of one cluster: what its cores score, or what its driver can take in."""
    return min(1000 * cores / measured.core_ms, measured.sinks[sink][0])


def cores_when_full(measured: Measured, sink: str) -> float:
    """Cores at which one driver has no room for more."""
    return measured.sinks[sink][0] * measured.core_ms / 1000


def simulate(
    measured: Measured, fleet: Fleet, *, sink: str, num_recordings: int, losses_per_day: float, away_s: float, seed: int
) -> tuple[float, float]:
    """Hours until the last cluster is done, and the share of recordings that were scored twice.

    Every cluster is lost whole at random times (a Poisson process), with its driver; what was in flight or not written is repeated.

    Args:
        measured: rates.
        fleet: the clusters.
        sink: a key of `Measured.sinks`.
        num_recordings: of all clusters together.
        losses_per_day: of each cluster; an assumption, not a measurement.
        away_s: until a lost cluster is replaced; an assumption.
        seed: of the loss times.
    """
    rng = random.Random(seed)
    rate, share = cluster_rate(measured, fleet.cores, sink), num_recordings / fleet.num_clusters
    last_s = repeated = 0.0
    for _ in range(fleet.num_clusters):
        time_s, done = 0.0, 0.0
        while True:
            until_loss_s = rng.expovariate(losses_per_day / 86_400) if losses_per_day else math.inf
            if done + rate * until_loss_s >= share:
                time_s += (share - done) / rate
                break
            lost = min(done + rate * until_loss_s, IN_FLIGHT_PER_CORE * fleet.cores + rate * UNWRITTEN_S[sink])
            done += rate * until_loss_s - lost
            time_s, repeated = time_s + until_loss_s + away_s, repeated + lost
        last_s = max(last_s, time_s)
    return last_s / 3_600, repeated / num_recordings


def report(measured: Measured, num_recordings: int) -> str:
    """The tables, as Markdown."""
    return (
        "\n\n".join([_costs(measured, num_recordings), _sinks(measured, num_recordings), _fleets(measured, num_recordings)]) + "\n"
    )


def _costs(measured: Measured, num_recordings: int) -> str:
    rows = [*measured.parts_ms.items(), ("**together**", measured.core_ms)]
    lines = [f"| {name} | {ms:.2f} | {num_recordings * ms / 3.6e6:,.0f} |" for name, ms in rows]
    head = f"| part | core-ms per recording of {measured.mean_duration_s:.1f} s | core-hours for {num_recordings:,} |"
    return "\n".join([head, "| --- | --- | --- |", *lines])


def _sinks(measured: Measured, num_recordings: int) -> str:
    head = f"| results go to | one driver takes in, per s | full at, cores | bytes per recording | for {num_recordings:,} |"
    lines = [
        f"| {name} | {rate:,.0f} | {cores_when_full(measured, name):.0f} | {size:,.0f} | {num_recordings * size / 1e9:,.0f} GB |"
        for name, (rate, size) in measured.sinks.items()
    ]
    return "\n".join([head, "| --- | --- | --- | --- | --- |", *lines])


def _fleets(measured: Measured, num_recordings: int) -> str:
    head = "| clusters x cores | results go to | recordings/s | hours | hours with losses | scored twice | read from storage |"
    lines = []
    for num_clusters, cores in ((1, 2), (1, 16), (1, 64), (4, 16), (16, 16), (64, 16), (64, 32)):
        for sink in ("PostgreSQL", "Parquet"):
            fleet = Fleet(num_clusters=num_clusters, cores=cores)
            work = {"sink": sink, "num_recordings": num_recordings, "away_s": 600.0, "seed": 0}
            hours, _ = simulate(measured, fleet, losses_per_day=0.0, **work)
            lossy, twice = simulate(measured, fleet, losses_per_day=1.0, **work)
            rate = num_clusters * cluster_rate(measured, cores, sink)
            read = rate * READS * measured.mean_bytes / 1e9
            full = " (driver full)" if cores > cores_when_full(measured, sink) else ""
            cells = f"{rate:,.0f}{full}", f"{hours:,.2f}", f"{lossy:,.2f}", f"{twice:.4%}", f"{read:.2f} GB/s"
            lines.append(f"| {' | '.join([f'{num_clusters} x {cores}', sink, *cells])} |")
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- | --- |", *lines])


def main(arguments: list[str] | None = None) -> int:
    """Prints or writes the tables; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m core.scanning.scale_model", description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=100_000_000, metavar="N", help="how many (default: 100 million)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    options = parser.parse_args(arguments)
    try:
        if options.recordings < 1:
            raise CoreError(f"--recordings is {options.recordings}; expected 1 or more.")
        tables = report(load_measured(), options.recordings)
    except CoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tables, end="")
    if options.write:
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}{tables}{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

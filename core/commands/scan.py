"""The commands `scan` (a folder audited by an engine, into the store or into Parquet files) and `worker`, for the dashboard."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from core.checkpoints import DEFAULT_FAST, Detector, detector_named, find_detectors
from core.commands.protocol_options import add_protocol_choices
from core.errors import CoreError
from core.records import Audit, AuditStatus, ScanSettings
from core.scanning.places import is_url, normalised

if TYPE_CHECKING:
    from core.store.store import Store

ENGINES = ("local", "ray")


def add_to(scan: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """What is scanned and how; the caller adds the detector and the store."""
    scan.add_argument(
        "folder", help="folder with recordings, searched with all below it; with --engine ray also s3://..., gs://..."
    )
    scan.add_argument(
        "--out",
        metavar="FILE|URL",
        help="write the results to FILE.csv, .parquet, .jsonl or .xlsx; or, without a store, to a folder of Parquet files at URL "
        "(file://, s3://, gs:// ...), from where the same command goes on",
    )
    scan.add_argument("--protocol", metavar="FILE", help="ASVspoof protocol, or a table, that labels the recordings (by file name)")
    add_protocol_choices(scan)
    scan.add_argument("--channels", choices=("mix", "each"), default="mix", help="score the mixdown (default) or every channel")
    scan.add_argument("--pattern", default="", metavar="GLOB", help="only paths within the folder that match, e.g. '2026/*.wav'")
    scan.add_argument("--all-files", action="store_true", help="try files without a known audio ending too")
    scan.add_argument("--hidden", action="store_true", help="look into hidden files and folders too")
    scan.add_argument("--follow-links", action="store_true", help="follow links that lead out of the folder too")
    text = (
        "let all networks judge every window of long recordings, where the detector has a fast one that judges most of them alone"
    )
    scan.add_argument("--thorough", action="store_true", help=text)
    scan.add_argument("--engine", choices=ENGINES, default="local", help="this process (default), or a Ray cluster")
    scan.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="head of the Ray cluster, or auto for this machine's (default: $RAY_ADDRESS, else Ray starts on this machine alone)",
    )
    text = "where this process scores: in ONNX Runtime on the CPU (default), or in PyTorch on a GPU"
    scan.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help=text)
    scan.add_argument("--gpus", type=float, default=0.0, metavar="N", help="GPUs per scoring process on the cluster, e.g. 1 or 0.5")
    return scan


def run(options: argparse.Namespace) -> int:
    """Scans; returns the exit status.

    Raises:
        CoreError: it cannot be done like this.
    """
    _check(options)
    settings = ScanSettings(
        channels=options.channels,
        pattern=options.pattern,
        all_files=options.all_files,
        include_hidden=options.hidden,
        follow_links=options.follow_links,
        protocol=os.path.abspath(options.protocol) if options.protocol else None,
        subset=options.subset,
        one_means=options.one_means,
    )
    detector = detector_named(options.detector)
    if options.thorough:
        detector = detector.thorough
    if options.engine == "ray" and detector.manifest.num_second_pass:
        raise CoreError(
            f"{detector.name} judges long recordings in two passes, which a Ray cluster does not do. Add --thorough, so that all "
            f"its networks judge every window, or choose the fast way with --detector {DEFAULT_FAST}."
        )
    with _engine(options, detector) as engine, ScanProgress() as progress:
        pause_on_terminate()  # here: Ray has set its own way of ending
        if options.out and is_url(options.out):
            audit = _scan_to_files(options, detector, settings, engine, progress.show)
        else:
            audit = _scan_to_store(options, detector, settings, engine, progress.show)
    return 0 if audit.status is AuditStatus.FINISHED else 1


def run_worker(options: argparse.Namespace) -> int:
    """Works on an audit that is in the store; returns the exit status."""
    from core.scanning.scan import run_audit
    from core.store.store import Store

    store = Store(options.db)
    if store.audit(options.audit_id).requested != "run":
        return 0  # paused or cancelled while this process was starting
    pause_on_terminate()
    return 0 if run_audit(store, options.audit_id).status is not AuditStatus.FAILED else 1


def pause_on_terminate() -> None:
    """Makes SIGTERM end a scan as Ctrl-C does: written up to the last result, ready to go on."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


class ScanProgress:
    """A bar on a terminal, a plain line every ten seconds otherwise."""

    def __enter__(self) -> ScanProgress:
        self._bar, self._last_line_at = None, 0.0
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, audit: Audit) -> None:
        """Tells how far an audit is."""
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = self._bar or tqdm(total=audit.num_files, unit="file", initial=audit.num_done, dynamic_ncols=True)
            self._bar.total = audit.num_files
            self._bar.set_postfix(spoof=audit.num_spoof, inconclusive=audit.num_inconclusive, refused=audit.num_refused)
            self._bar.update(audit.num_done - self._bar.n)
        elif audit.seconds_running - self._last_line_at >= 10:
            self._last_line_at = audit.seconds_running
            left = f", {audit.seconds_left:.0f} s left" if audit.seconds_left is not None else ""
            print(f"{audit.num_done} of {audit.num_files} files, {audit.rate_per_s or 0:.0f} per s{left}", file=sys.stderr)


def _check(options: argparse.Namespace) -> None:
    if options.engine != "ray":
        if options.address or options.gpus:
            raise CoreError("--address and --gpus are about a Ray cluster; add --engine ray.")
        if is_url(options.folder) and is_url(normalised(options.folder)):
            raise CoreError(f"{options.folder} is not a folder of this machine; add --engine ray.")
    if options.engine == "ray" and options.device != "cpu":
        raise CoreError("--device is about this process; with --engine ray, --gpus says how many GPUs each scoring process gets.")
    if not 0 <= options.gpus <= 64:
        raise CoreError(f"--gpus is {options.gpus:g}; expected a number above 0, such as 1 or 0.5.")
    if options.out and is_url(options.out) and options.db:
        raise CoreError("--out with a URL takes the place of a store; leave --db out, or export the store's audit to a file.")
    if options.out and not is_url(options.out):
        from core.store.exports import check_destination

        check_destination(Path(options.out))


def _engine(options: argparse.Namespace, detector: Detector) -> AbstractContextManager:
    """None stands for the engine of this process, on the CPU."""
    if options.engine == "local" and options.device == "cpu":
        return nullcontext()
    if options.engine == "local":
        from core.detect import gpu_scorer
        from core.scanning.local_engine import LocalEngine

        return nullcontext(LocalEngine(gpu_scorer(detector)))
    from core.scanning.ray_scan import ray_engine

    return ray_engine(detector, address=options.address, gpus=options.gpus)


def _scan_to_store(
    options: argparse.Namespace, detector: Detector, settings: ScanSettings, engine: object, show: Callable[[Audit], None]
) -> Audit:
    from core.scanning.scan import prepare_audit, run_audit
    from core.store.store import Store

    store = Store(options.db)
    audit_id = prepare_audit(store, options.folder, detector, settings)
    _print_beginning(store.audit(audit_id))
    audit = run_audit(store, audit_id, detector=detector, engine=engine, on_progress=show)
    show(audit)
    print(_summary(audit), file=sys.stderr)
    if advice := _advice(store, audit):
        print(f"note: {advice}", file=sys.stderr)
    if options.out:
        from core.store.exports import export_audit

        num_rows = export_audit(store, audit_id, Path(options.out))
        print(f"{num_rows} rows written to {options.out}", file=sys.stderr)
    return audit


def _advice(store: Store, audit: Audit) -> str | None:
    """Where recordings have telephone bandwidth: which detector keeps its verdicts there."""
    from core.store.triage import num_warned
    from core.stress.table_files import find_tables
    from core.stress.telephone import bandwidth_words, telephone_advice

    if not (num := num_warned(store, audit.id, "narrowband")):
        return None
    tables = (table for _, table in find_tables().found)
    advice = telephone_advice(tables, audit.detector_hash, {detector.hash for detector in find_detectors()})
    return advice and f"{bandwidth_words(num, audit.num_done)} {advice}"


def _scan_to_files(
    options: argparse.Namespace, detector: Detector, settings: ScanSettings, engine: object, show: Callable[[Audit], None]
) -> Audit:
    from core.detect import Scorer
    from core.scanning.local_engine import LocalEngine
    from core.scanning.parquet_ledger import ParquetLedger
    from core.scanning.scan import check_settings, work_on, worker_name

    folder = check_settings(options.folder, settings)
    ledger = ParquetLedger(options.out, folder=folder, detector=detector, settings=settings, worker=worker_name())
    _print_beginning(ledger.audit())
    audit = work_on(ledger, lambda _: engine or LocalEngine(Scorer(detector)), on_progress=show)
    show(audit)
    print(f"{_summary(audit)}\nresults in {options.out}/results", file=sys.stderr)
    return audit


def _print_beginning(audit: Audit) -> None:
    number = f"audit {audit.id}" if audit.id else "audit"
    print(f"{number} of {audit.folder} with {audit.detector_name} ({audit.detector_hash[:12]})", file=sys.stderr)
    if audit.num_done:
        print(f"going on after {audit.num_done} of {audit.num_files} files", file=sys.stderr)


def _summary(audit: Audit) -> str:
    counts = f"{audit.num_spoof} spoof, {audit.num_inconclusive} inconclusive, {audit.num_bona_fide} bona fide"
    counts += f", {audit.num_refused} refused"
    reused = f"; {audit.num_reused} known or duplicate" if audit.num_reused else ""
    rate = f", {audit.rate_per_s:.0f} per s" if audit.rate_per_s else ""
    note = f"\nnote: {audit.message}" if audit.message else ""
    return f"{audit.status}: {audit.num_done} of {audit.num_files} files{rate}: {counts}{reused}{note}"

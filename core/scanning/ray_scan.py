"""The engine of an audit on a Ray cluster: decoding in tasks, scoring in a pool of actors, results to this process.

Not Ray Data: a recording is any number of windows, so that its pipeline would have to group rows again (a shuffle), and it
resumes by blocks, not by the ledger.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from core.checkpoints import Detector
from core.records import Audit, FoundFile, ScanSettings
from core.scanning.cluster.connection import connected
from core.scanning.cluster.fleet import Fleet
from core.scanning.discovery import LeftOut
from core.scanning.local_engine import Results
from core.scanning.places import find_in
from core.store.ledger import Ledger


class RayEngine:
    """A `core.scanning.local_engine.Engine` whose work is done elsewhere. Made by `ray_engine`.

    Args:
        fleet: the actors.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def find(self, folder: str, settings: ScanSettings, left_out: LeftOut) -> Iterator[FoundFile]:
        """As `Engine`; the folder may be a URL."""
        return find_in(folder, settings, left_out=left_out)

    def threads(self, ledger: Ledger, audit: Audit, stop: threading.Event) -> list[Callable[[Results], None]]:
        """As `Engine`."""
        return [partial(self._work, ledger, audit, stop)]

    def _work(self, ledger: Ledger, audit: Audit, stop: threading.Event, results: Results) -> None:
        from core.scanning.cluster.flow import Flow  # needs Ray

        Flow(self.fleet, ledger, audit, stop, results).run()


@contextmanager
def ray_engine(detector: Detector, *, address: str | None = None, gpus: float = 0.0) -> Iterator[RayEngine]:
    """An engine on a cluster for as long as the block lasts.

    Args:
        detector: what scores; it travels to the nodes.
        address: `HOST:PORT` of the cluster's head, or `auto`; None: `RAY_ADDRESS`, else one on this machine alone.
        gpus: GPUs per scoring process, may be a fraction; 0: on the CPU.

    Raises:
        ScanError: Ray is not installed, or the cluster does not answer.
    """
    with connected(address):
        fleet = Fleet(detector, gpus)
        try:
            yield RayEngine(fleet)
        finally:
            fleet.end()

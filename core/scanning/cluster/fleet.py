"""The scoring actors of a cluster: one per core (or per share of a GPU) of every living node. Nodes may come and go."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from core.checkpoints import Detector
from core.errors import ScanError
from core.scanning.cluster.parcels import pack
from core.scanning.cluster.scoring import ScoringActor

TEND_S = 2.0
"""Looks at which nodes live are this far apart."""
DEPTH = 2
"""Pieces that an actor has at once: one under way, one that waits, so that it never does."""
MAX_FAILED_STARTS = 3
"""A node on which this many actors in a row could not start ends the scan."""

_log = logging.getLogger("earwitness")


@dataclass(eq=False)
class Member:
    """One actor."""

    node_id: str
    handle: Any
    is_ready: bool = False
    num_pieces: int = 0
    """That it was given and has not answered."""


@dataclass
class Fleet:
    """Starts and replaces actors. Use from one thread.

    Args:
        detector: what they score with.
        gpus: GPUs per actor, may be a fraction; 0: actors run on the CPU.
    """

    detector: Detector
    gpus: float = 0.0
    members: list[Member] = field(default_factory=list)
    num_cores: int = 1
    """Of all living nodes."""

    def __post_init__(self) -> None:
        import ray

        self._actors = ray.remote(ScoringActor)
        self._parcel = ray.put(pack(self.detector))
        self._failed_starts: Counter[str] = Counter()
        self._tended_at = -TEND_S

    def tend(self) -> list[tuple[Member, Any]]:
        """Brings the fleet in line with the nodes that live, now and then; the new members, each with what tells that it is ready.

        Raises:
            ScanError: no node has a GPU that was asked for.
        """
        import ray

        if time.monotonic() - self._tended_at < TEND_S:
            return []
        self._tended_at = time.monotonic()
        nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        self.num_cores = max(1, int(sum(resources.get("CPU", 0) for resources in nodes.values())))
        if self.gpus and not any(resources.get("GPU", 0) >= min(1.0, self.gpus) for resources in nodes.values()):
            raise ScanError(f"--gpus {self.gpus:g}: no node of the cluster offers a GPU to Ray. Scan without --gpus.")
        new = []
        for node_id, resources in nodes.items():
            missing = self._wanted(resources) - sum(member.node_id == node_id for member in self.members)
            new += [self._start(node_id) for _ in range(missing)]
        return new

    def idle(self) -> Member | None:
        """A ready member that takes another piece: the one with the fewest."""
        free = [member for member in self.members if member.is_ready and member.num_pieces < DEPTH]
        return min(free, key=lambda member: member.num_pieces, default=None)

    def started(self, member: Member) -> None:
        """Notes that a member is ready."""
        member.is_ready = True
        self._failed_starts[member.node_id] = 0

    def lost(self, member: Member, error: Exception) -> None:
        """Takes a member that is dead out; the next `tend` starts another one where its node lives.

        Raises:
            ScanError: on its node actors start to no avail.
        """
        if member not in self.members:
            return
        self.members.remove(member)
        if member.is_ready:
            _log.warning("A scoring process on node %s ended; its work is done again by others.", member.node_id[:8])
            return
        self._failed_starts[member.node_id] += 1
        if self._failed_starts[member.node_id] >= MAX_FAILED_STARTS or getattr(error, "actor_init_failed", False):
            last = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise ScanError(f"The detector cannot be started on node {member.node_id[:8]} of the cluster: {last}")

    def end(self) -> None:
        """Ends all actors."""
        import ray

        for member in self.members:
            ray.kill(member.handle)
        self.members.clear()

    def _wanted(self, resources: dict[str, float]) -> int:
        return int(resources.get("GPU", 0) / self.gpus) if self.gpus else int(resources.get("CPU", 0))

    def _start(self, node_id: str) -> tuple[Member, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # No CPU of their own: they compute while the decoding tasks, which hold the CPUs, wait for them. So neither can keep
        # the other from starting, whichever dies.
        where = NodeAffinitySchedulingStrategy(node_id, soft=False)
        options = {"num_cpus": 0, "num_gpus": self.gpus, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": where}
        member = Member(node_id, self._actors.options(**options).remote(self._parcel, self.gpus > 0))
        self.members.append(member)
        return member, member.handle.ready.remote()

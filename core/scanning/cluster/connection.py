"""How a Ray cluster is reached, or started on this machine, with failures in words. Starts no work."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ScanError

CONNECT_S = 5.0
"""The head of a cluster answers within this."""
STORE_BYTES_PER_CORE = 96 * 2**20
"""Shared memory for windows on their way (`flow` says how many there are at most), where the cluster is ours."""
MIN_STORE_BYTES = 78 * 2**20
"""Less than this Ray refuses."""

_INSTALL = "pip install -r requirements-cluster.txt"


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """This process as the driver of a cluster; the nodes get this program's `core`.

    Args:
        address: `HOST:PORT` of the cluster's head, or `auto` for the one that this machine belongs to. None: `RAY_ADDRESS`,
            else one that is started on this machine and ends with the block.

    Raises:
        ScanError: Ray is not installed, or the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ScanError(f"The engine ray needs Ray, which is not installed here. Install it: {_INSTALL}") from None
    address = address or os.environ.get("RAY_ADDRESS") or None
    options = {"logging_level": "error", "log_to_driver": False, "runtime_env": {"py_modules": [str(Path(__file__).parents[2])]}}
    if address is None:
        num_cores = len(os.sched_getaffinity(0))
        store_bytes = max(MIN_STORE_BYTES, num_cores * STORE_BYTES_PER_CORE)
        options |= {"num_cpus": num_cores, "object_store_memory": store_bytes, "include_dashboard": False}
    elif address != "auto":
        _check_answers(address)
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        raise ScanError(_refusal(address, error)) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Whether the head of a cluster may be there; Ray itself would try for minutes."""
    if "://" in address:
        raise ScanError(
            f"--address {address}: expected HOST:PORT of the cluster's head, or auto. Run the scan on a machine of the cluster."
        )
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ScanError(f"--address {address}: expected HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S) as connection:
            speaks = _speaks_http2(connection)
    except OSError as error:
        detail = error.strerror or f"no answer within {CONNECT_S:g} s"
        remedy = "Start it with `ray start --head`, or check --address."
        raise ScanError(f"The Ray cluster at {address} does not answer: {detail}. {remedy}") from None
    if not speaks:
        raise ScanError(f"What answers at {address} is not the head of a Ray cluster; check the port (Ray's default is 6379).")


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether a server begins as gRPC's do: with a frame of settings (RFC 9113, 3.4), here after our own empty one."""
    if os.environ.get("RAY_USE_TLS") == "1":
        return True  # encrypted: Ray itself must find out
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    begin = connection.recv(9)
    return len(begin) >= 4 and begin[3] == 4


def _refusal(address: str | None, error: Exception) -> str:
    detail = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    if address is None:
        return f"Ray cannot be started on this machine: {detail}."
    remedy = "This machine must be one of its nodes, with the same versions of Python and Ray."
    return f"The Ray cluster at {address} cannot be used: {detail}. {remedy}"

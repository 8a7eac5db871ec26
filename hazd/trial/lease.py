"""A run that is alive says so: a coordination.k8s.io Lease in each of its namespaces, renewed while the trial runs.

`hazd clean` leaves alone what a living run holds, and a run undoes no other's cordon. The holder's identity names its
process, so that on the same machine a killed run is known at once; elsewhere its Lease must run out first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from hazd.clock import unix_ns
from hazd.cluster.lab.state import start_time
from hazd.cluster.port import MANAGED_BY, RUN_LABEL, Cluster
from hazd.cluster.watch import parse_time_ns
from hazd.errors import AlreadyExists, ClusterError, NotFound
from hazd.model import Manifest, Ref

NAME = "hazd-run"
LASTS_S = 180
"""Longer than a trial's teardown, during which nobody renews, and than an API server is away."""
RENEW_S = 20.0


def holder() -> str:
    """This process: boot, pid namespace, pid and its start, as a pid alone may be reused."""
    return f"{_here()}/{os.getpid()}/{start_time(os.getpid())}"


def _here() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{os.uname().nodename}/-"


def _now() -> str:
    return datetime.fromtimestamp(unix_ns() / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def lease(namespace: str, run: str) -> Manifest:
    """The Lease of a run in one of its namespaces (API: coordination.k8s.io/v1; times are MicroTime, RFC 3339)."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {**MANAGED_BY, RUN_LABEL: run}},
        "spec": {
            "holderIdentity": holder(),
            "leaseDurationSeconds": LASTS_S,
            "acquireTime": _now(),
            "renewTime": _now(),
        },
    }


async def hold_lease(cluster: Cluster, namespace: str, run: str, note: Callable[[str], None]) -> None:
    """Create the Lease and renew it until cancelled. A cluster that does not allow it is a note, not a failure."""
    try:
        await cluster.create(lease(namespace, run))
    except AlreadyExists:
        pass
    except ClusterError as error:
        note(f"no Lease could be created, so `hazd clean` takes this run for a dead one: {error.message}")
        return
    while True:
        await anyio.sleep(RENEW_S)
        try:
            await cluster.patch(Ref("Lease", NAME, namespace), {"spec": {"renewTime": _now()}})
        except ClusterError:
            continue  # the API server is away, or the namespace is being deleted


async def release_lease(cluster: Cluster, namespace: str) -> None:
    await cluster.delete(Ref("Lease", NAME, namespace))


async def is_live(cluster: Cluster, namespace: str) -> bool:
    """Whether a living run holds this namespace. Raises ClusterError when the cluster does not say."""
    try:
        found = await cluster.get(Ref("Lease", NAME, namespace))
    except NotFound:
        return False
    return holds(found.get("spec") or {}, unix_ns())


def holds(spec: dict[str, Any], now_ns: int) -> bool:
    """Whether a Lease's holder is alive: by its process where that is one of this machine's, else by renewTime."""
    where, _, process = str(spec.get("holderIdentity") or "").rpartition("/")
    where, _, pid = where.rpartition("/")
    if where == _here() and pid.isdigit() and process.isdigit():
        return start_time(int(pid)) == int(process)
    renewed_ns = parse_time_ns(spec.get("renewTime"))
    return renewed_ns is not None and now_ns - renewed_ns < int(spec.get("leaseDurationSeconds") or 0) * 1_000_000_000


__all__ = ["hold_lease", "holder", "holds", "is_live", "lease", "release_lease"]

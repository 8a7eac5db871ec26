"""Removes what a killed run left in a cluster or in the lab: found by label and annotation, never by guess."""

from __future__ import annotations

import json

import anyio

from hazd.cluster.port import MANAGED_BY, UNDO_ANNOTATION, Cluster
from hazd.errors import HazdError, TimedOut
from hazd.model import Ref
from hazd.removal import remove_namespace

NAMESPACE_S = 90.0
SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())


async def clean_cluster(cluster: Cluster) -> list[str]:
    """Undo annotations are applied, namespaces with hazd's label removed; returns a line for each thing done."""
    done: list[str] = []
    for node in await cluster.list("Node"):
        name, notes = node["metadata"]["name"], node["metadata"].get("annotations") or {}
        if UNDO_ANNOTATION in notes:
            await cluster.patch(Ref("Node", name), json.loads(notes[UNDO_ANNOTATION]))
            done.append(f"{cluster.info.name}: node {name} put back")
    for namespace in await cluster.list("Namespace", selector=SELECTOR):
        name = namespace["metadata"]["name"]
        try:
            with anyio.fail_after(NAMESPACE_S):
                await remove_namespace(cluster, name)
        except TimeoutError:
            raise TimedOut(
                f"namespace {name} is still there after {NAMESPACE_S:g} s",
                f"`kubectl get namespace {name} -o yaml` says in its status what holds it",
            ) from None
        done.append(f"{cluster.info.name}: namespace {name} removed")
    return done


async def start_stopped_nodes() -> list[str]:
    """Give power back to nodes of hazd's kind cluster that a killed run left off, when its control plane still runs."""
    from hazd.cluster.kind_state import nodes
    from hazd.cluster.power import power_on

    found = await nodes()
    stopped = [node.name for node in found if node.role == "worker" and node.state != "running"]
    alive = any(node.role == "control-plane" and node.state == "running" for node in found)
    if not stopped or not alive:
        return []
    await power_on(stopped)
    return [f"node {name} started again" for name in stopped]


async def clean_all(specs: tuple[str, ...]) -> list[str]:
    """Clean the named clusters, or by default hazd's kind cluster (if it runs) and the lab.

    Raises HazdError when a cluster that was named cannot be reached; the default ones are skipped in silence.
    """
    from hazd.cluster.choose import open_cluster
    from hazd.cluster.kind_state import status as kind_status
    from hazd.cluster.lab import clean_lab

    done: list[str] = []
    for spec in specs or ("kind", "lab"):
        if spec == "lab":
            done += await clean_lab()
            continue
        try:
            if spec == "kind":
                done += await start_stopped_nodes()
                # Opening an absent cluster would create it; one that is dead holds nothing worth cleaning.
                if (await kind_status())["state"] not in ("running", "degraded"):
                    continue
            cluster, _ = await open_cluster(spec)
            async with cluster:
                done += await clean_cluster(cluster)
        except HazdError:
            if specs:
                raise
    return done


__all__ = ["clean_all", "clean_cluster"]

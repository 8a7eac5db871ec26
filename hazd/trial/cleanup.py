"""Removes what a killed run left in a cluster or in the lab: found by label and annotation, never by guess."""

from __future__ import annotations

import json
from collections.abc import Callable

import anyio

from hazd.cluster.port import MANAGED_BY, STOPPED_ANNOTATION, UNDO_ANNOTATION, Cluster
from hazd.errors import ClusterError, EnvironmentProblem, HazdError, TimedOut
from hazd.model import Ref
from hazd.trial.namespace import remove_namespace

NAMESPACE_S = 90.0
SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())


async def clean_cluster(cluster: Cluster, tell: Callable[[str], None]) -> None:
    """Start stopped nodes, apply undo annotations, remove namespaces with hazd's label; a line for each thing done.

    One that cannot be done stops no other: raises ClusterError at the end with all of them, a line each.
    """
    problems: list[HazdError] = []
    for node in await cluster.list("Node"):
        name, notes = node["metadata"]["name"], node["metadata"].get("annotations") or {}
        try:
            if STOPPED_ANNOTATION in notes:
                await cluster.start_node(name)
                await cluster.patch(Ref("Node", name), {"metadata": {"annotations": {STOPPED_ANNOTATION: None}}})
                tell(f"{cluster.info.name}: node {name} started")
            if UNDO_ANNOTATION in notes:
                await cluster.patch(Ref("Node", name), json.loads(notes[UNDO_ANNOTATION]))
                tell(f"{cluster.info.name}: node {name} put back")
        except ClusterError as error:
            problems.append(error)
    for namespace in await cluster.list("Namespace", selector=SELECTOR):
        try:
            await _remove(cluster, namespace["metadata"]["name"])
            tell(f"{cluster.info.name}: namespace {namespace['metadata']['name']} removed")
        except ClusterError as error:
            problems.append(error)
    if problems:
        hints = dict.fromkeys(error.hint for error in problems if error.hint)
        raise ClusterError("\n".join(error.message for error in problems), "\n".join(hints))


async def _remove(cluster: Cluster, name: str) -> None:
    try:
        with anyio.fail_after(NAMESPACE_S):
            await remove_namespace(cluster, name)
    except TimeoutError:
        raise TimedOut(
            f"namespace {name} is still there after {NAMESPACE_S:g} s",
            f"`kubectl get namespace {name} -o yaml` says in its status what holds it",
        ) from None


async def clean_all(specs: tuple[str, ...], node_command: str | None, tell: Callable[[str], None]) -> None:
    """Clean the named clusters, or by default hazd's kind cluster (if there is one) and the lab; tell what was done.

    node_command: for contexts, see KubeCluster. Raises HazdError when a cluster cannot be reached or cleaned; without
    names a Docker that does not answer is no reason, as there is then no kind cluster to clean.
    """
    from hazd.cluster.choose import open_cluster
    from hazd.cluster.lab import clean_lab

    for spec in specs or ("kind", "lab"):
        if spec == "lab":
            for line in await clean_lab():
                tell(line)
            continue
        if spec == "kind":
            try:
                if not await _wake_kind(tell):
                    continue
            except EnvironmentProblem:
                if specs:
                    raise
                continue
        cluster, _ = await open_cluster(spec, node_command=node_command)
        async with cluster:
            await clean_cluster(cluster, tell)


async def _wake_kind(tell: Callable[[str], None]) -> bool:
    """Whether hazd's kind cluster is there to be cleaned; worker nodes without power get it back.

    Opening an absent cluster would create it and a dead one would be made anew, so neither is opened. Raises
    EnvironmentProblem without Docker, ClusterError when the API server of a cluster that is there does not answer.
    """
    from hazd.cluster.kind.power import power_on
    from hazd.cluster.kind.state import nodes, status

    found = await nodes()
    if not any(node.role == "control-plane" and node.state == "running" for node in found):
        return False  # what was left in it has died with it
    if stopped := [node.name for node in found if node.role == "worker" and node.state != "running"]:
        await power_on(stopped)
        tell(f"started again: node {', '.join(stopped)}")
    seen = await status()
    if seen["state"] == "dead":
        words = "nothing in it could be cleaned"
        raise ClusterError(f"kind cluster {seen['name']}: {words}: {seen['problem']}", "call `hazd clean` again later")
    return bool(seen["state"] != "absent")


__all__ = ["clean_all", "clean_cluster"]

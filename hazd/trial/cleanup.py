"""Removes what a killed run left in a cluster or in the lab: found by label and annotation, never by guess."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from hazd.cluster.port import MANAGED_BY, STOPPED_ANNOTATION, Cluster
from hazd.errors import ClusterError, EnvironmentProblem, HazdError, TimedOut
from hazd.model import Manifest, Ref
from hazd.stage.marks import change_node, holders, released, stopped_by
from hazd.trial.lease import is_live
from hazd.trial.namespace import remove_namespace

NAMESPACE_S = 90.0
SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())


async def clean_cluster(cluster: Cluster, report: Callable[[str], None], *, everything: bool = False) -> None:
    """Start stopped nodes, uncordon those that dead runs cordoned, remove namespaces with hazd's label: a line each.

    What a living run holds stays, and is reported; `everything`: it is removed as well. One thing that cannot be done
    stops no other: raises ClusterError at the end with all of them, a line each.
    """
    problems: list[HazdError] = []
    name = cluster.info.name
    known: dict[str, bool] = {}

    async def live(namespace: str) -> bool:
        if namespace not in known:
            known[namespace] = not everything and await is_live(cluster, namespace)
        return known[namespace]

    for node in await cluster.list("Node"):
        try:
            for line in await _clean_node(cluster, node, live):
                report(f"{name}: {line}")
        except ClusterError as error:
            problems.append(error)
    for item in await cluster.list("Namespace", selector=SELECTOR):
        namespace = item["metadata"]["name"]
        try:
            if await live(namespace):
                report(f"{name}: namespace {namespace} belongs to a run that is under way; --all removes it too")
                continue
            await _remove(cluster, namespace)
            report(f"{name}: namespace {namespace} removed")
        except ClusterError as error:
            problems.append(error)
    if problems:
        hints = dict.fromkeys(error.hint for error in problems if error.hint)
        raise ClusterError("\n".join(error.message for error in problems), "\n".join(hints))


async def _clean_node(cluster: Cluster, node: Manifest, live: Callable[[str], Awaitable[bool]]) -> list[str]:
    """Undo on one node what dead runs did to it; returns what was done."""
    name, done = node["metadata"]["name"], []
    stopper = stopped_by(node)
    if stopper is not None and not await live(stopper):
        await cluster.start_node(name)
        await cluster.patch(Ref("Node", name), {"metadata": {"annotations": {STOPPED_ANNOTATION: None}}})
        done.append(f"node {name} started")
    dead = {namespace for namespace in holders(node) if not await live(namespace)}
    if dead and await change_node(cluster, name, lambda found: released(found, dead)):
        done.append(f"node {name} restored")
    return done


async def _remove(cluster: Cluster, name: str) -> None:
    try:
        with anyio.fail_after(NAMESPACE_S):
            await remove_namespace(cluster, name)
    except TimeoutError:
        raise TimedOut(
            f"namespace {name} is still there after {NAMESPACE_S:g} s",
            f"`kubectl get namespace {name} -o yaml` says in its status what holds it",
        ) from None


async def clean_all(
    specs: tuple[str, ...], node_command: str | None, report: Callable[[str], None], everything: bool = False
) -> None:
    """Clean the named clusters, or by default hazd's kind cluster (if there is one) and the lab; report what was done.

    node_command: for contexts, see KubeCluster. everything: also what living runs hold; a living lab stays. Raises
    HazdError when a cluster cannot be reached or cleaned; without names a Docker that does not answer is no reason, as
    there is then no kind cluster to clean.
    """
    from hazd.cluster.choose import open_cluster
    from hazd.cluster.lab import clean_lab

    for spec in specs or ("kind", "lab"):
        if spec == "lab":
            for line in await clean_lab():
                report(line)
            continue
        if spec == "kind":
            try:
                if not await _wake_kind(report):
                    continue
            except EnvironmentProblem:
                if specs:
                    raise
                continue
        cluster, _ = await open_cluster(spec, node_command=node_command)
        async with cluster:
            await clean_cluster(cluster, report, everything=everything)


async def _wake_kind(report: Callable[[str], None]) -> bool:
    """Whether hazd's kind cluster is there to be cleaned; worker nodes without power get it back.

    Opening an absent cluster would create it and a dead one would be recreated, so neither is opened. Raises
    EnvironmentProblem without Docker, ClusterError when the API server of a cluster that is there does not answer.
    """
    from hazd.cluster.kind.power import power_on
    from hazd.cluster.kind.state import nodes, status

    found = await nodes()
    if not any(node.role == "control-plane" and node.state == "running" for node in found):
        return False  # what was left in it has died with it
    if stopped := [node.name for node in found if node.role == "worker" and node.state != "running"]:
        await power_on(stopped)
        report(f"started: node {', '.join(stopped)}")
    seen = await status()
    if seen["state"] == "dead":
        words = "nothing in it could be cleaned"
        raise ClusterError(f"kind cluster {seen['name']}: {words}: {seen['problem']}", "call `hazd clean` again later")
    return bool(seen["state"] != "absent")


__all__ = ["clean_all", "clean_cluster"]

"""Why a workload does not run: noticed within seconds while a trial waits for it, and kept in the run's folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

import anyio

from hazd.cluster.port import Cluster
from hazd.errors import ClusterError, EnvironmentProblem
from hazd.model import Manifest, Ref
from hazd.stage.containers import UNSCHEDULABLE, Patience, Trouble, last_lines, statuses

LOOK_S = 1.0
SAID_LINES, SAID_WITHIN_S = 8, 2.0
KEPT_PODS, KEPT_LINES, KEPT_WITHIN_S = 20, 200, 5.0
LOGS_FOLDER, EVENTS_FILE = "logs", "cluster-events.txt"
SCALING_UP = frozenset({"TriggeredScaleUp", "Nominated"})
"""Events by which cluster-autoscaler and Karpenter say that a node for the pod is on its way."""


async def watch_containers(cluster: Cluster, namespace: str) -> None:
    """Never returns. Raises EnvironmentProblem once a pod of the namespace cannot run, with the end of its log."""
    patience = Patience()
    while True:
        with contextlib.suppress(ClusterError):  # an API server that is away is the affair of those who wait for it
            pods = await cluster.list("Pod", namespace)
            trouble = patience.exhausted(pods, anyio.current_time())
            if trouble is not None and not await _node_is_coming(cluster, trouble):
                raise EnvironmentProblem(await _report(cluster, trouble), "a workload must run before it can be tested")
        await anyio.sleep(LOOK_S)


async def _node_is_coming(cluster: Cluster, trouble: Trouble) -> bool:
    if trouble.reason != UNSCHEDULABLE:
        return False
    events = await cluster.list("Event", trouble.pod.namespace)
    about = [item for item in events if (item.get("involvedObject") or {}).get("name") == trouble.pod.name]
    return any(item.get("reason") in SCALING_UP for item in about)


async def _report(cluster: Cluster, trouble: Trouble) -> str:
    if not trouble.container:
        return trouble.words
    lines = await last_lines(cluster, trouble.pod, trouble.container, SAID_LINES, SAID_WITHIN_S)
    if not lines:
        return f"{trouble.words}; its log is empty"
    return "\n".join((f"{trouble.words}; the end of its log:", *(f"    {line}" for line in lines)))


async def keep_evidence(cluster: Cluster, namespace: str, folder: Path) -> None:
    """Write logs and Events of a failed trial's namespace into its folder: bounded, and silent where it cannot."""
    with contextlib.suppress(ClusterError, OSError), anyio.move_on_after(2 * KEPT_WITHIN_S):
        events = await cluster.list("Event", namespace)
        (folder / EVENTS_FILE).write_text("".join(f"{_line(event)}\n" for event in sorted(events, key=_time)))
        pods = await cluster.list("Pod", namespace)
        (folder / LOGS_FOLDER).mkdir(exist_ok=True)
        async with anyio.create_task_group() as tasks:
            for pod in pods[:KEPT_PODS]:
                reference = Ref("Pod", pod["metadata"]["name"], namespace)
                for item in statuses(pod):
                    tasks.start_soon(_keep_log, cluster, reference, item["name"], folder / LOGS_FOLDER)


async def _keep_log(cluster: Cluster, pod: Ref, container: str, folder: Path) -> None:
    lines = await last_lines(cluster, pod, container, KEPT_LINES, KEPT_WITHIN_S)
    with contextlib.suppress(OSError):
        (folder / f"{pod.name}.{container}.log").write_text("".join(f"{line}\n" for line in lines))


def _time(event: Manifest) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _line(event: Manifest) -> str:
    about = event.get("involvedObject") or {}
    message = str(event.get("message") or "").replace("\n", " ")
    count = f" (x{event['count']})" if int(event.get("count") or 1) > 1 else ""
    where = f"{about.get('kind', '')}/{about.get('name', '')}".lower()
    return f"{_time(event)}  {event.get('type', '')}  {event.get('reason', '')}  {where}  {message}{count}"


__all__ = ["EVENTS_FILE", "LOGS_FOLDER", "keep_evidence", "watch_containers"]

"""What keeps a pod's containers from running, in Kubernetes' own words: pure readings of pod status, and a log's end.

Reasons of waiting containers: kubernetes/kubernetes pkg/kubelet/images/types.go, kuberuntime's
ErrCreateContainerConfig, and the kubelet's CrashLoopBackOff.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio

from hazd.cluster.port import Cluster
from hazd.errors import ClusterError
from hazd.manifests.conditions import is_ready
from hazd.model import Manifest, Ref

CRASHES = 3
"""How often a container must have ended before it counts as crashing: one restart may wait for a database."""
CRASH_LOOP = "CrashLoopBackOff"
UNSCHEDULABLE = "Unschedulable"
HOPELESS_S, CONFIG_S, PULL_S, UNSCHEDULABLE_S = 0.0, 5.0, 20.0, 30.0
PATIENCE_S = {
    CRASH_LOOP: HOPELESS_S,
    "CreateContainerConfigError": CONFIG_S,
    "CreateContainerError": CONFIG_S,
    "ErrImageNeverPull": HOPELESS_S,
    "ErrImagePull": PULL_S,
    "ImageInspectError": PULL_S,
    "ImagePullBackOff": PULL_S,
    "InvalidImageName": HOPELESS_S,
    UNSCHEDULABLE: UNSCHEDULABLE_S,
}
"""Seconds that each reason may last before a trial is given up: a registry may be slow, a name stays wrong."""
LINE = 400


@dataclass(frozen=True, slots=True)
class Trouble:
    """One pod that cannot run. reason: a key of PATIENCE_S. container: "" when no container is to blame."""

    pod: Ref
    container: str
    reason: str
    words: str


def _reference(pod: Manifest) -> Ref:
    return Ref("Pod", pod["metadata"]["name"], pod["metadata"].get("namespace", ""))


def statuses(pod: Manifest) -> Iterator[dict[str, Any]]:
    """Status of every container that the kubelet has reported, init containers first."""
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def troubles(pods: Iterable[Manifest]) -> Iterator[Trouble]:
    """What keeps each of these pods from running; nothing for those that are being deleted."""
    for pod in pods:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        name = pod["metadata"]["name"]
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("reason") == UNSCHEDULABLE:
                words = f"pod {name} cannot be scheduled ({UNSCHEDULABLE}): {condition.get('message') or 'no message'}"
                yield Trouble(_reference(pod), "", UNSCHEDULABLE, words)
        for item in statuses(pod):
            waiting = (item.get("state") or {}).get("waiting") or {}
            reason = waiting.get("reason", "")
            if reason == CRASH_LOOP:
                words = f"container {item['name']} of pod {name} crashes: {CRASH_LOOP}, {_restarts(item)}"
                yield Trouble(_reference(pod), item["name"], reason, words)
            elif reason in PATIENCE_S:
                why = waiting.get("message") or "no message"
                words = f"container {item['name']} of pod {name} does not start: {reason}: {why}"
                yield Trouble(_reference(pod), item["name"], reason, words)


def _restarts(item: dict[str, Any]) -> str:
    count = int(item.get("restartCount", 0))
    words = f"{count} restart{'s' if count != 1 else ''}"
    ended = (item.get("lastState") or {}).get("terminated") or {}
    if "exitCode" in ended:
        why = f" ({ended['reason']})" if ended.get("reason") else ""
        words += f", last exit code {ended['exitCode']}{why}"
    return words


class Patience:
    """Decides from looks at all pods of a namespace when to give up waiting for them. Pure; times in seconds.

    A crashing container is waited for while pods of another owner (a database beside it) are not ready yet, and must
    then have ended CRASHES times since.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[str, str, str], float] = {}
        self._ends_before: dict[tuple[str, str], int] = {}

    def exhausted(self, pods: list[Manifest], now_s: float) -> Trouble | None:
        """The trouble that has lasted too long, or None."""
        found = {(item.pod.name, item.container, item.reason): item for item in troubles(pods)}
        self._since = {key: self._since.get(key, now_s) for key in found}
        by_name = {pod["metadata"]["name"]: pod for pod in pods}
        for key, item in found.items():
            if item.reason == CRASH_LOOP and not self._crashed(by_name[item.pod.name], item.container, pods):
                continue
            if now_s - self._since[key] >= PATIENCE_S[item.reason]:
                return item
        return None

    def _crashed(self, pod: Manifest, container: str, pods: list[Manifest]) -> bool:
        key = pod["metadata"]["name"], container
        restarts = max(int(item.get("restartCount", 0)) for item in statuses(pod) if item["name"] == container)
        if any(_owner(other) != _owner(pod) and not _is_up(other) for other in pods):
            self._ends_before[key] = restarts + 1
        return restarts + 1 - self._ends_before.get(key, 0) >= CRASHES


def _owner(pod: Manifest) -> str:
    owners = pod["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("uid") or owners[0].get("name") or pod["metadata"]["name"])


def _is_up(pod: Manifest) -> bool:
    return is_ready(pod) or (pod.get("status") or {}).get("phase") == "Succeeded"


async def last_lines(cluster: Cluster, pod: Ref, container: str, lines: int, within_s: float) -> list[str]:
    """The end of a container's log as far as it comes in `within_s`, each line cut to LINE characters."""
    kept: deque[str] = deque(maxlen=lines)
    try:
        with anyio.move_on_after(within_s):
            async with cluster.logs(pod, container) as log:
                async for line in log:
                    kept.append(line[:LINE])
    except ClusterError as error:
        kept.append(f"(the log could not be read: {error.message})")
    return list(kept)


__all__ = [
    "CRASHES",
    "LINE",
    "PATIENCE_S",
    "UNSCHEDULABLE",
    "Patience",
    "Trouble",
    "last_lines",
    "statuses",
    "troubles",
]

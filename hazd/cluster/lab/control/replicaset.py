"""ReplicaSets: as many active pods as asked for, and which ones go first.

Source: pkg/controller/replicaset/replica_set.go and pkg/controller/controller_utils.go (ActivePodsWithRanks) of
Kubernetes 1.34; KEP-2185 (logarithmic scale-down), KEP-2255 (pod deletion cost). Pods that are being deleted do not
count, so their replacements start at once.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from hazd.cluster.lab.control.loop import Loop
from hazd.cluster.lab.objects import (
    controller_of,
    is_active,
    is_terminal,
    owned_by,
    owner_keys,
    owner_reference,
    phase_of,
    ready_since,
    seconds_of,
    selects,
)
from hazd.cluster.lab.store import Change, Store
from hazd.cluster.watch import ref_of
from hazd.manifests.conditions import is_deleting, is_ready
from hazd.model import Manifest, Ref

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
COMPONENT = "replicaset-controller"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def _age_rank(when: float, now: float) -> int:
    """Ages are compared by their power of two, so that equals are chosen by UID, that is at random."""
    return -1 if now <= when else int(math.log2(max(1, int((now - when) * 1e9))))


def first_to_go(pods: list[Manifest], related: list[Manifest], now: float) -> list[Manifest]:
    """Active pods in the order in which a scale-in takes them. now: Unix seconds."""
    on_node = Counter(pod["spec"].get("nodeName", "") for pod in related if is_active(pod))

    def rank(pod: Manifest) -> tuple[Any, ...]:
        ready = is_ready(pod)
        cost = int((pod["metadata"].get("annotations") or {}).get(DELETION_COST, 0))
        restarts = max((each["restartCount"] for each in pod["status"].get("containerStatuses") or ()), default=0)
        age = _age_rank(ready_since(pod), now) if ready else 0
        return (
            bool(pod["spec"].get("nodeName")),
            _PHASES.get(phase_of(pod), 2),
            ready,
            cost,
            -on_node[pod["spec"].get("nodeName", "")],
            age,
            pod["metadata"]["uid"] if ready else "",
            -restarts,
            _age_rank(seconds_of(pod["metadata"]["creationTimestamp"]), now),
            pod["metadata"]["uid"],
        )

    return sorted(pods, key=rank)


def is_available(pod: Manifest, min_ready_s: float, now: float) -> bool:
    """Ready for at least minReadySeconds (podutil.IsPodAvailable)."""
    return is_ready(pod) and (min_ready_s == 0 or ready_since(pod) + min_ready_s <= now)


class ReplicaSets:
    """The controller."""

    def __init__(self, store: Store, delay_s: float) -> None:
        self.store = store
        self.loop = Loop(store, self._keys, self._sync, delay_s)

    def _keys(self, change: Change) -> list[tuple[str, ...]]:
        return owner_keys(change.obj, "ReplicaSet")

    def _sync(self, key: tuple[str, ...]) -> float | None:
        replica_set = self.store.find(Ref("ReplicaSet", key[1], key[0]))
        if replica_set is None or is_deleting(replica_set):
            return None
        uid, spec = replica_set["metadata"]["uid"], replica_set["spec"]
        pods = [pod for pod in self.store.list("Pod", key[0]) if owned_by(pod, uid)]
        active = [pod for pod in pods if is_active(pod)]
        surplus = len(active) - spec["replicas"]
        if surplus < 0:
            for _ in range(-surplus):
                active.append(self._create(replica_set))
        elif surplus > 0:
            siblings = self._siblings(replica_set, key[0])
            for pod in first_to_go(active, siblings, self.store.now_s())[:surplus]:
                self.store.delete(ref_of(pod))
                self._say(replica_set, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
            deleted = {pod["metadata"]["uid"] for pod in active if is_deleting(self.store.find(ref_of(pod)) or pod)}
            active = [pod for pod in active if pod["metadata"]["uid"] not in deleted]
        return self._status(replica_set, active, [pod for pod in pods if is_deleting(pod) and not is_terminal(pod)])

    def _siblings(self, replica_set: Manifest, namespace: str) -> list[Manifest]:
        """Pods of all ReplicaSets with the same owner: who shares a node is counted over the whole Deployment."""
        owner = controller_of(replica_set)
        families = [
            each["metadata"]["uid"]
            for each in self.store.list("ReplicaSet", namespace)
            if owner and owned_by(each, owner["uid"])
        ] or [replica_set["metadata"]["uid"]]
        return [pod for pod in self.store.list("Pod", namespace) if any(owned_by(pod, uid) for uid in families)]

    def _create(self, replica_set: Manifest) -> Manifest:
        template = replica_set["spec"]["template"]
        meta = template.get("metadata") or {}
        pod = self.store.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "generateName": replica_set["metadata"]["name"] + "-",
                    "namespace": replica_set["metadata"]["namespace"],
                    "labels": dict(meta.get("labels") or {}),
                    "annotations": dict(meta.get("annotations") or {}),
                    "ownerReferences": [owner_reference(replica_set)],
                },
                "spec": template["spec"],
            }
        )
        self._say(replica_set, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return pod

    def _say(self, replica_set: Manifest, reason: str, message: str) -> None:
        self.store.event(replica_set, "Normal", reason, message, COMPONENT)

    def _status(self, replica_set: Manifest, active: list[Manifest], terminating: list[Manifest]) -> float | None:
        replica_set = self.store.get(ref_of(replica_set))
        spec, now = replica_set["spec"], self.store.now_s()
        wait_s = spec.get("minReadySeconds", 0)
        active = [self.store.find(ref_of(pod)) or pod for pod in active]
        ready = [pod for pod in active if is_ready(pod)]
        available = [pod for pod in ready if is_available(pod, wait_s, now)]
        template = {"metadata": {"labels": (spec["template"].get("metadata") or {}).get("labels") or {}}}
        labelled = [pod for pod in active if selects({"matchLabels": template["metadata"]["labels"]}, pod)]
        status = {
            "replicas": len(active),
            "fullyLabeledReplicas": len(labelled),
            "readyReplicas": len(ready),
            "availableReplicas": len(available),
            "terminatingReplicas": len(terminating),
            "observedGeneration": replica_set["metadata"]["generation"],
        }
        self.store.set_status(replica_set, status)
        soon = [ready_since(pod) + wait_s - now for pod in ready if pod not in available]
        return max(0.05, min(soon)) if soon else None

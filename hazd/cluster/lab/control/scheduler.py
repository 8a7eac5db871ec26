"""Binds pods to nodes: filters that forbid, scores that prefer, ties broken by a seeded throw.

Source: kube-scheduler's default plugins of Kubernetes 1.34 with their weights (NodeResourcesFit LeastAllocated 1,
BalancedAllocation 1 is omitted, InterPodAffinity 2, PodTopologySpread 2, TaintToleration 3), kubernetes.io
"Assigning Pods to Nodes" and "Pod Topology Spread Constraints". A pod with spec.nodeName never comes here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from hazd.cluster.lab.control import placement
from hazd.cluster.lab.control.loop import Loop
from hazd.cluster.lab.objects import is_terminal, with_condition
from hazd.cluster.lab.store import Change, Store
from hazd.manifests.conditions import is_deleting
from hazd.model import Manifest, Ref

COMPONENT = "default-scheduler"
RETRY_S = 1.0


class Scheduler:
    """The controller; one pod after the other, each seeing the bindings before it."""

    def __init__(self, store: Store, delay_s: float, seed: int) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.loop = Loop(store, self._keys, self._sync, delay_s)

    def _keys(self, change: Change) -> list[tuple[str, ...]]:
        obj, meta = change.obj, change.obj["metadata"]
        if obj["kind"] == "Pod":
            waiting = change.what != "DELETED" and not obj["spec"].get("nodeName") and not is_deleting(obj)
            return [(meta["namespace"], meta["name"])] if waiting else []
        if obj["kind"] == "Node":
            return [
                (pod["metadata"]["namespace"], pod["metadata"]["name"])
                for pod in self.store.list("Pod")
                if not pod["spec"].get("nodeName")
            ]
        return []

    def _sync(self, key: tuple[str, ...]) -> float | None:
        pod = self.store.find(Ref("Pod", key[1], key[0]))
        if pod is None or pod["spec"].get("nodeName") or is_deleting(pod):
            return None
        nodes = self.store.list("Node")
        placed = [each for each in self.store.list("Pod") if each["spec"].get("nodeName") and not is_terminal(each)]
        reasons = {node["metadata"]["name"]: placement.obstacle(pod, node, nodes, placed) for node in nodes}
        fitting = [node for node in nodes if not reasons[node["metadata"]["name"]]]
        if not fitting:
            return self._unschedulable(pod, list(reasons.values()))
        self._bind(pod, self._best(pod, fitting, nodes, placed))
        return None

    def _best(
        self, pod: Manifest, fitting: Sequence[Manifest], nodes: Sequence[Manifest], placed: Sequence[Manifest]
    ) -> str:
        scores = placement.scores(pod, fitting, nodes, placed)
        best = max(scores.values())
        return self.rng.choice(sorted(name for name, score in scores.items() if score > best - 1e-9))

    def _bind(self, pod: Manifest, node: str) -> None:
        conditions = with_condition(
            (pod.get("status") or {}).get("conditions") or [], "PodScheduled", "True", "", "", self.store.time()
        )
        status = {**pod["status"], "conditions": conditions}
        bound = self.store.replace(pod, {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status})
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        self.store.event(bound, "Normal", "Scheduled", f"Successfully assigned {name} to {node}", COMPONENT)

    def _unschedulable(self, pod: Manifest, reasons: list[str]) -> float:
        counts = ", ".join(f"{reasons.count(why)} {why}" for why in sorted(set(reasons)))
        message = f"0/{len(reasons)} nodes are available: {counts}."
        conditions = (pod.get("status") or {}).get("conditions") or []
        now = self.store.time()
        conditions = with_condition(conditions, "PodScheduled", "False", "Unschedulable", message, now)
        changed = self.store.set_status(pod, {**pod["status"], "conditions": conditions})
        if changed is not pod:
            self.store.event(pod, "Warning", "FailedScheduling", message, COMPONENT)
        return RETRY_S

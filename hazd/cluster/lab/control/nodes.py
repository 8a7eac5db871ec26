"""The life of nodes: heartbeats, Ready, taints, eviction from a node that stopped reporting.

Source: pkg/controller/nodelifecycle/node_lifecycle_controller.go and pkg/controller/tainteviction of Kubernetes 1.34.
A node beats every quarter of the grace (as kubelets renew a lease of 40 s every 10 s) and is looked at every eighth
(5 s), so it is Ready=Unknown some 0.75 to 1.1 graces after its last heartbeat.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from hazd.cluster.lab.control.loop import Loop
from hazd.cluster.lab.machine import NodeNet
from hazd.cluster.lab.objects import is_terminal, micro_stamp, seconds_of, tolerates, with_condition
from hazd.cluster.lab.options import LabOptions
from hazd.cluster.lab.pod_defaults import UNREACHABLE
from hazd.cluster.lab.store import Change, Store
from hazd.cluster.watch import ref_of
from hazd.manifests.conditions import condition, is_deleting
from hazd.model import Manifest, Ref

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
COMPONENT = "node-controller"


def node_object(net: NodeNet, options: LabOptions, role: str) -> Manifest:
    """A Node as kubeadm and its kubelet would have registered it."""
    labels = {
        "kubernetes.io/hostname": net.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        **({CONTROL_PLANE: ""} if role == CONTROL_PLANE else {}),
    }
    room = {"cpu": str(options.node_cpu), "memory": options.node_memory, "pods": str(options.node_pods)}
    tainted = role == CONTROL_PLANE and options.nodes > 1
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": net.name, "labels": labels},
        "spec": {
            "podCIDR": net.subnet,
            "podCIDRs": [net.subnet],
            **({"taints": [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]} if tainted else {}),
        },
        "status": {
            "capacity": dict(room),
            "allocatable": dict(room),
            "addresses": [{"type": "InternalIP", "address": net.address}, {"type": "Hostname", "address": net.name}],
            "nodeInfo": {
                "kubeletVersion": "lab",
                "osImage": "lab",
                "containerRuntimeVersion": "lab",
                "architecture": "amd64",
            },
        },
    }


class Nodes:
    """The controller. `alive`: whether a node's kubelet runs."""

    def __init__(self, store: Store, options: LabOptions) -> None:
        self.store = store
        self.grace_s = options.node_monitor_grace_s
        self.loop = Loop(store, self._keys, self._sync, options.controller_delay_s)
        self.alive: dict[str, bool] = {}
        self._heartbeats: dict[str, float] = {}

    def beat(self, name: str) -> None:
        """A kubelet reports that its node is healthy."""
        self.alive[name] = True
        self._heartbeats[name] = anyio.current_time()
        node = self.store.get(Ref("Node", name))
        ready = condition(node, "Ready")
        if ready is None or ready["status"] != "True":
            self._set_ready(node, "True", "KubeletReady", "kubelet is posting ready status")

    def stop_heartbeat(self, name: str) -> None:
        """The node's kubelet has ended, without a word to the API."""
        self.alive[name] = False

    async def run_heartbeats(self) -> None:
        while True:
            await anyio.sleep(self.grace_s / 4)
            for name, alive in list(self.alive.items()):
                if alive:
                    self.beat(name)

    async def run_monitor(self) -> None:
        while True:
            await anyio.sleep(self.grace_s / 8)
            for name, last in list(self._heartbeats.items()):
                if anyio.current_time() - last > self.grace_s:
                    node = self.store.get(Ref("Node", name))
                    if (condition(node, "Ready") or {}).get("status") == "True":
                        self._lose(node)

    def _set_ready(self, node: Manifest, status: str, reason: str, message: str) -> Manifest:
        now = self.store.time()
        known = (node.get("status") or {}).get("conditions") or []
        conditions = with_condition(known, "Ready", status, reason, message, now, lastHeartbeatTime=now)
        node = self.store.set_status(node, {**node["status"], "conditions": conditions})
        taints = [each for each in node["spec"].get("taints") or () if each["key"] != UNREACHABLE]
        if status != "True":
            added = micro_stamp(self.store.now())
            taints += [
                {"key": UNREACHABLE, "effect": effect, "timeAdded": added} for effect in ("NoSchedule", "NoExecute")
            ]
        return self.store.patch(ref_of(node), {"spec": {"taints": taints or None}})

    def _lose(self, node: Manifest) -> None:
        node = self._set_ready(node, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
        name = node["metadata"]["name"]
        self.store.event(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady", COMPONENT)
        for pod in self._pods_on(name):
            ready = condition(pod, "Ready")
            if ready is None or ready["status"] != "True":
                continue
            conditions = with_condition(
                pod["status"]["conditions"], "Ready", "False", ready.get("reason", ""), "", self.store.time()
            )
            self.store.set_status(pod, {**pod["status"], "conditions": conditions})
            self.store.event(pod, "Warning", "NodeNotReady", "Node is not ready", COMPONENT)

    def _pods_on(self, name: str) -> list[Manifest]:
        return [pod for pod in self.store.list("Pod") if pod["spec"].get("nodeName") == name]

    def _keys(self, change: Change) -> list[tuple[str, ...]]:
        obj, meta = change.obj, change.obj["metadata"]
        if obj["kind"] == "Node":
            tainted = any(taint["effect"] == "NoExecute" for taint in obj["spec"].get("taints") or ())
            pods = self._pods_on(meta["name"]) if tainted else []
            return [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods]
        if obj["kind"] == "Pod" and change.what == "ADDED" and obj["spec"].get("nodeName"):
            return [(meta["namespace"], meta["name"])]
        return []

    def _sync(self, key: tuple[str, ...]) -> float | None:
        """Taint eviction: a pod is deleted when the shortest toleration of its node's NoExecute taints expires."""
        pod = self.store.find(Ref("Pod", key[1], key[0]))
        if pod is None or is_deleting(pod) or is_terminal(pod):
            return None
        node = self.store.find(Ref("Node", pod["spec"].get("nodeName", "")))
        taints = [taint for taint in (node or {}).get("spec", {}).get("taints") or () if taint["effect"] == "NoExecute"]
        left = [self._left_s(pod, taint) for taint in taints]
        waits = [seconds for seconds in left if seconds is not None]
        if not waits:
            return None
        if min(waits) > 0:
            return min(waits) + 0.01
        conditions = with_condition(
            pod["status"].get("conditions") or [],
            "DisruptionTarget",
            "True",
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
            self.store.time(),
        )
        pod = self.store.set_status(pod, {**pod["status"], "conditions": conditions})
        name = f"{key[0]}/{key[1]}"
        self.store.event(
            pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {name}", "taint-eviction-controller"
        )
        self.store.delete(ref_of(pod))
        return None

    def _left_s(self, pod: Manifest, taint: Mapping[str, str]) -> float | None:
        """Seconds until the taint evicts the pod; None for never."""
        tolerated = tolerates(pod["spec"].get("tolerations") or (), taint)
        if tolerated is None:
            return 0.0
        if tolerated.get("tolerationSeconds") is None:
            return None
        return seconds_of(taint.get("timeAdded")) + float(tolerated["tolerationSeconds"]) - self.store.now_s()

"""EndpointSlices: for each Service its pods' addresses with the conditions ready, serving and terminating.

Source: k8s.io/endpointslice v0.34 (utils.go podToEndpoint, ShouldPodBeInEndpoints; at most 100 endpoints a slice),
KEP-752, KEP-1672. A pod being deleted stays listed as not ready and terminating until it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import anyio

from hazd.cluster.lab.control.loop import Loop
from hazd.cluster.lab.objects import has_labels, is_terminal, labels_of, owner_reference, suffix
from hazd.cluster.lab.store import Change, Store
from hazd.cluster.watch import SERVICE_NAME, TRIGGER_TIME, ref_of
from hazd.manifests.conditions import is_deleting, is_ready
from hazd.model import Manifest, Ref

SLICE_LIMIT = 100
MANAGED = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}

QUEUE_S = 0.02
Wanted: TypeAlias = dict[str, tuple[list[Manifest], Manifest]]


@dataclass(frozen=True, slots=True)
class Write:
    """A write under way: when it is done (loop seconds), and what it writes."""

    due_s: float
    wanted: Wanted
    trigger: str | None


def endpoint_of(pod: Manifest, publish_not_ready: bool) -> Manifest:
    """One endpoint as a slice lists it."""
    serving, terminating = is_ready(pod), is_deleting(pod)
    meta = pod["metadata"]
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": publish_not_ready or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
    }


def ports_of(service: Manifest, pod: Manifest) -> list[Manifest]:
    """The Service's ports as this pod serves them; a named targetPort that the pod lacks is skipped."""
    result = []
    for port in service["spec"].get("ports") or ():
        target = port["targetPort"]
        if isinstance(target, str) and not target.isdigit():
            known = (each for container in pod["spec"]["containers"] for each in container.get("ports") or ())
            target = next((each["containerPort"] for each in known if each.get("name") == target), None)
        if target is not None:
            result.append({"name": port.get("name", ""), "port": int(target), "protocol": port["protocol"]})
    return result


class Endpoints:
    """The controller. delay_s: pod changed -> slice written.

    Most of the delay is the write itself: what changes while it is under way is written by the next one, not by this.
    """

    def __init__(self, store: Store, delay_s: float) -> None:
        self.store = store
        self.queue_s = min(QUEUE_S, delay_s)
        self.write_s = delay_s - self.queue_s
        self.loop = Loop(store, self._keys, self._sync, self.queue_s)
        self._triggers: dict[tuple[str, ...], str] = {}
        self._writes: dict[tuple[str, ...], Write] = {}
        self._again: set[tuple[str, ...]] = set()

    def _keys(self, change: Change) -> list[tuple[str, ...]]:
        keys = self._services_of(change)
        self._again.update(key for key in keys if key in self._writes)
        return keys

    def _services_of(self, change: Change) -> list[tuple[str, ...]]:
        obj, meta = change.obj, change.obj["metadata"]
        if obj["kind"] == "Service":
            return [(meta["namespace"], meta["name"])]
        if obj["kind"] != "Pod" or not self._matters(change):
            return []
        keys: list[tuple[str, ...]] = []
        for service in self.store.list("Service", meta["namespace"]):
            selector = service["spec"].get("selector")
            if selector and (has_labels(obj, selector) or (change.old and has_labels(change.old, selector))):
                keys.append((meta["namespace"], service["metadata"]["name"]))
                self._triggers.setdefault(keys[-1], self.store.time())
        return keys

    @staticmethod
    def _matters(change: Change) -> bool:
        if change.old is None or change.what == "DELETED":
            return True
        return any(
            question(change.obj) != question(change.old)
            for question in (is_ready, is_deleting, is_terminal, labels_of, lambda pod: pod["status"].get("podIP"))
        )

    def _sync(self, key: tuple[str, ...]) -> float | None:
        now = anyio.current_time()
        write = self._writes.get(key)
        if write is None:
            trigger = self._triggers.pop(key, None)
            service = self.store.find(Ref("Service", key[1], key[0]))
            wanted = self._wanted(service) if service is not None else {}
            self._writes[key] = Write(now + self.write_s, wanted, trigger)
            if self.write_s:
                return self.write_s
            write = self._writes[key]
        elif now < write.due_s - 1e-9:
            return write.due_s - now
        del self._writes[key]
        self._carry_out(key, write)
        if key in self._again:
            self._again.discard(key)
            return self.queue_s
        return None

    def _carry_out(self, key: tuple[str, ...], write: Write) -> None:
        service = self.store.find(Ref("Service", key[1], key[0]))
        slices = self.store.list("EndpointSlice", key[0], {SERVICE_NAME: key[1]})
        if service is None:
            for each in slices:
                self.store.delete(ref_of(each))
        elif service["spec"].get("selector"):
            self._write(service, slices, write.wanted, write.trigger)

    def _wanted(self, service: Manifest) -> Wanted:
        """By pod name: its ports and its endpoint."""
        if not service["spec"].get("selector"):
            return {}
        publish = bool(service["spec"].get("publishNotReadyAddresses"))
        pods = self.store.list("Pod", service["metadata"]["namespace"], service["spec"]["selector"])
        return {
            pod["metadata"]["name"]: (ports_of(service, pod), endpoint_of(pod, publish))
            for pod in pods
            if pod["status"].get("podIP") and not is_terminal(pod)
        }

    def _write(
        self,
        service: Manifest,
        slices: list[Manifest],
        wanted: Wanted,
        trigger: str | None,
    ) -> None:
        """Change as few slices as possible: what is listed stays in its slice, what is new fills the gaps."""
        groups: list[tuple[Manifest | None, list[Manifest], list[Manifest]]] = []
        placed = set()
        for each in slices:
            kept = []
            for old in each["endpoints"]:
                name = old["targetRef"]["name"]
                if name in wanted and wanted[name][0] == each["ports"] and name not in placed:
                    kept.append(wanted[name][1])
                    placed.add(name)
            groups.append((each, list(each["ports"]), kept))
        for name, (ports, entry) in wanted.items():
            if name in placed:
                continue
            for _, group_ports, members in groups:
                if (group_ports == ports or not members) and len(members) < SLICE_LIMIT:
                    group_ports[:] = ports
                    members.append(entry)
                    break
            else:
                groups.append((None, ports, [entry]))
        if not groups:
            groups.append((None, [], []))
        self._store_groups(service, groups, trigger)

    def _store_groups(
        self,
        service: Manifest,
        groups: list[tuple[Manifest | None, list[Manifest], list[Manifest]]],
        trigger: str | None,
    ) -> None:
        used = sum(bool(members) for _, _, members in groups)
        for each, ports, members in groups:
            if each is None:
                self.store.create(self._slice(service, ports, members, trigger))
            elif not members and used and each is not groups[0][0]:
                self.store.delete(ref_of(each))
            elif each["endpoints"] != members or each["ports"] != ports:
                meta = {**each["metadata"], "annotations": {TRIGGER_TIME: trigger} if trigger else {}}
                self.store.replace(each, {**each, "metadata": meta, "endpoints": members, "ports": ports})

    def _slice(
        self, service: Manifest, ports: list[Manifest], members: list[Manifest], trigger: str | None
    ) -> Manifest:
        meta = service["metadata"]
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{meta['name']}-{suffix(self.store.rng)}",
                "namespace": meta["namespace"],
                "labels": {**labels_of(service), SERVICE_NAME: meta["name"], **MANAGED},
                "annotations": {TRIGGER_TIME: trigger} if trigger else {},
                "ownerReferences": [owner_reference(service)],
            },
            "addressType": "IPv4",
            "endpoints": members,
            "ports": ports,
        }

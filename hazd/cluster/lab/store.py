"""The API server and etcd of the lab, in memory: Kubernetes-shaped objects, versions, deletion, change notices.

Everything here is synchronous, so one call is one transaction. Objects that are returned are shared and never changed
in place; the port copies at its border. Defaulting and validation are in `admission`.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hazd.clock import unix_ns
from hazd.cluster.kinds import Resource
from hazd.cluster.lab import admission
from hazd.cluster.lab.kinds import COUNTS_GENERATIONS, kind_of
from hazd.cluster.lab.objects import has_labels, is_terminal, micro_stamp, stamp, suffix
from hazd.cluster.watch import ref_of
from hazd.errors import AlreadyExists, ClusterError, Conflict, NotFound
from hazd.model import Manifest, Ref


@dataclass(frozen=True, slots=True)
class Change:
    """One change: ADDED, MODIFIED or DELETED; `old` is None for ADDED. at_ns: when the store made it."""

    what: str
    obj: Manifest
    old: Manifest | None
    at_ns: int


Listener = Callable[[Change], None]


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396 JSON merge patch, sharing what did not change."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


class Store:
    """All objects by reference. `now` gives nanoseconds since the Unix epoch."""

    def __init__(self, now: Callable[[], int] = unix_ns, seed: int = 1, rules: admission.Rules | None = None) -> None:
        self.now = now
        self.rng = random.Random(seed)
        self.rules = rules or admission.Rules()
        self._objects: dict[str, dict[tuple[str, str], Manifest]] = {}
        self._version = 0
        self._listeners: list[Listener] = []
        self._events: dict[tuple[str, ...], Ref] = {}
        for name in ("default", "kube-system"):
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` within every change, in order; it must not change the store. Returns how to stop it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def time(self) -> str:
        return stamp(self.now())

    def now_s(self) -> float:
        return self.now() / 1e9

    def find(self, ref: Ref) -> Manifest | None:
        kind = kind_of(ref.kind)
        return self._objects.get(ref.kind, {}).get((self._namespace(kind, ref.namespace), ref.name))

    def get(self, ref: Ref) -> Manifest:
        """Raises NotFound."""
        found = self.find(ref)
        if found is None:
            raise NotFound(f'{kind_of(ref.kind).name} "{ref.name}" not found')
        return found

    def list(self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> list[Manifest]:
        kind_of(kind)
        return [
            obj
            for (where, _), obj in self._objects.get(kind, {}).items()
            if (not namespace or where == namespace) and (not labels or has_labels(obj, labels))
        ]

    @staticmethod
    def _namespace(kind: Resource, given: str) -> str:
        return (given or "default") if kind.namespaced else ""

    def create(self, doc: Mapping[str, Any]) -> Manifest:
        """Raises AlreadyExists, NotFound (its namespace), ClusterError (invalid: field and value)."""
        doc = admission.shaped(doc)
        kind = kind_of(doc["kind"])
        meta = dict(doc["metadata"])
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + suffix(self.rng)
        namespace = self._namespace(kind, meta.get("namespace", ""))
        if kind.namespaced:
            meta["namespace"] = namespace
            home = self.get(Ref("Namespace", namespace))
            if "deletionTimestamp" in home["metadata"]:
                raise ClusterError(
                    f'{kind.name} "{meta.get("name")}" is forbidden: unable to create new content in namespace '
                    f"{namespace} because it is being terminated"
                )
        else:
            meta.pop("namespace", None)
        obj = self.rules.defaulted({**doc, "metadata": meta}, self._allocate_address)
        self.rules.check(obj, None)
        key = (namespace, meta["name"])
        if key in self._objects.get(kind.kind, {}):
            raise AlreadyExists(f'{kind.name} "{meta["name"]}" already exists')
        for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(name, None)
        meta.update(uid=str(uuid.UUID(int=self.rng.getrandbits(128), version=4)), creationTimestamp=self.time())
        if "spec" in obj and kind.kind in COUNTS_GENERATIONS:
            meta["generation"] = 1
        return self._put("ADDED", {**obj, "metadata": meta}, None)

    def _allocate_address(self) -> str:
        """A random address of the service network above the 256 that are kept for static ones; none is given twice."""
        network = admission.SERVICE_NETWORK
        taken = {service["spec"].get("clusterIP") for service in self.list("Service")}
        while True:
            address = str(network[self.rng.randrange(256, network.num_addresses - 1)])
            if address not in taken:
                return address

    def _put(self, what: str, obj: Manifest, old: Manifest | None) -> Manifest:
        self._version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
        ref = ref_of(obj)
        shelf = self._objects.setdefault(ref.kind, {})
        if what == "DELETED":
            shelf.pop((ref.namespace, ref.name), None)
        else:
            shelf[ref.namespace, ref.name] = obj
        change = Change(what, obj, old, self.now())
        for listener in tuple(self._listeners):
            listener(change)
        return obj

    def patch(self, ref: Ref, patch: Mapping[str, Any], subresource: str = "") -> Manifest:
        """Merge patch. Raises NotFound, Conflict (metadata.resourceVersion), ClusterError (invalid)."""
        old = self.get(ref)
        wanted = (patch.get("metadata") or {}).get("resourceVersion")
        if wanted is not None and wanted != old["metadata"]["resourceVersion"]:
            raise Conflict(
                f'Operation cannot be fulfilled on {kind_of(ref.kind).name} "{ref.name}": the object has been '
                "modified; please apply your changes to the latest version and try again"
            )
        patch = {key: value for key, value in patch.items() if key not in ("kind", "apiVersion")}
        if subresource == "status":
            obj = {**old, "status": merge(old.get("status"), patch.get("status", {}))}
        else:
            obj = merge(old, {key: value for key, value in patch.items() if key != "status"})
            if "status" in old:
                obj["status"] = old["status"]
            obj["metadata"] = {**obj["metadata"], **admission.fixed_metadata(old["metadata"])}
            obj = self.rules.defaulted(obj, self._allocate_address)
            self.rules.check(obj, old, subresource)
        return self.replace(old, obj)

    def replace(self, old: Manifest, obj: Manifest) -> Manifest:
        """Write a new version of an object that is current; no change, no new version."""
        if obj == old:
            return old
        kind = kind_of(obj["kind"])
        meta = obj["metadata"]
        if kind.kind in COUNTS_GENERATIONS and obj.get("spec") != old.get("spec"):
            obj = {**obj, "metadata": {**meta, "generation": meta.get("generation", 1) + 1}}
        if "deletionTimestamp" in meta and old["metadata"].get("finalizers") and not meta.get("finalizers"):
            return self._put("DELETED", obj, old)
        return self._put("MODIFIED", obj, old)

    def set_status(self, obj: Manifest, status: Mapping[str, Any]) -> Manifest:
        """Replace the status whole, whatever version the caller last saw; a controller's own field."""
        current = self.get(ref_of(obj))
        return self.replace(current, {**current, "status": dict(status)})

    def delete(self, ref: Ref, grace_s: int | None = None, uid: str = "") -> bool:
        """Start a deletion; False when there is no such object (or, with `uid`, not that one)."""
        obj = self.find(ref)
        if obj is None or (uid and obj["metadata"]["uid"] != uid):
            return False
        meta = obj["metadata"]
        period = self._grace(obj, grace_s)
        waits = bool(meta.get("finalizers")) or obj["kind"] == "Namespace"
        if period == 0 and not waits:
            self._put("DELETED", {**obj, "metadata": {**meta, **self._deletion(0)}}, obj)
            return True
        known = meta.get("deletionGracePeriodSeconds")
        if known is None or (obj["kind"] == "Pod" and period < known):
            changed = {**obj, "metadata": {**meta, **self._deletion(period)}}
            if obj["kind"] == "Namespace":
                changed["status"] = {"phase": "Terminating"}
            self.replace(obj, changed)
        return True

    def _deletion(self, period: int) -> dict[str, Any]:
        return {
            "deletionTimestamp": stamp(self.now() + period * 1_000_000_000),
            "deletionGracePeriodSeconds": period,
        }

    @staticmethod
    def _grace(obj: Manifest, asked: int | None) -> int:
        """A pod that never ran or has finished needs none (pkg/registry/core/pod/strategy.go CheckGracefulDelete)."""
        if obj["kind"] != "Pod" or not obj["spec"].get("nodeName") or is_terminal(obj):
            return 0
        return int(obj["spec"].get("terminationGracePeriodSeconds", 30)) if asked is None else asked

    def finalize_namespace(self, name: str) -> None:
        """Remove an emptied namespace that is being deleted."""
        obj = self.get(Ref("Namespace", name))
        self._put("DELETED", obj, obj)

    def namespaced(self, namespace: str) -> Iterable[Manifest]:
        """All objects in a namespace, of any kind."""
        for shelf in list(self._objects.values()):
            yield from [obj for (where, _), obj in list(shelf.items()) if where == namespace and where]

    def event(self, about: Mapping[str, Any], kind: str, reason: str, message: str, component: str) -> None:
        """Record a core/v1 Event; the same words about the same object raise its count."""
        meta = about["metadata"]
        namespace = meta.get("namespace", "default")
        key = (meta["uid"], kind, reason, message, component)
        known = self.find(self._events[key]) if key in self._events else None
        now = self.now()
        if known is not None:
            again = {**known, "count": known["count"] + 1, "lastTimestamp": stamp(now)}
            self.replace(known, again)
            return
        where = self.find(Ref("Namespace", namespace))
        if where is None or "deletionTimestamp" in where["metadata"]:
            return  # events in a terminating namespace are lost on a real cluster, too
        made = self.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{meta['name']}.{self.rng.getrandbits(64):016x}", "namespace": namespace},
                "involvedObject": {
                    "apiVersion": about["apiVersion"],
                    "kind": about["kind"],
                    "name": meta["name"],
                    "namespace": namespace if "namespace" in meta else "",
                    "uid": meta["uid"],
                    "resourceVersion": meta.get("resourceVersion", ""),
                },
                "type": kind,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": stamp(now),
                "lastTimestamp": stamp(now),
                "eventTime": micro_stamp(now),
                "source": {"component": component},
                "reportingComponent": component,
                "reportingInstance": "",
            }
        )
        self._events[key] = ref_of(made)

    def everything(self) -> Iterable[Manifest]:
        """All objects, kind by kind."""
        for shelf in list(self._objects.values()):
            yield from list(shelf.values())

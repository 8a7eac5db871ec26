"""When an owner or a namespace is deleted: its dependents are, then the emptied namespace.

Source: kubernetes.io "Garbage Collection" (background cascading deletion) and "Namespaces"; the order of things is
pkg/controller/namespace/deletion and pkg/controller/garbagecollector of Kubernetes 1.34.
"""

from __future__ import annotations

from hazd.cluster.lab.control.loop import Loop
from hazd.cluster.lab.store import Change, Store
from hazd.cluster.watch import ref_of
from hazd.manifests.conditions import is_deleting
from hazd.model import Ref

NAMESPACE_CHECK_S = 0.2


class Garbage:
    """The controller; keys are ("owner", uid) and ("namespace", name)."""

    def __init__(self, store: Store, delay_s: float) -> None:
        self.store = store
        self.loop = Loop(store, self._keys, self._sync, delay_s)

    def _keys(self, change: Change) -> list[tuple[str, ...]]:
        obj, meta = change.obj, change.obj["metadata"]
        keys: list[tuple[str, ...]] = []
        if change.what == "DELETED" and obj["kind"] not in ("Event", "Pod", "EndpointSlice"):
            keys.append(("owner", meta["uid"], meta.get("namespace", "")))
        if change.what == "ADDED":  # made for an owner that went at the same time
            for owner in meta.get("ownerReferences") or ():
                if self._is_gone(owner["uid"], owner["kind"], owner["name"], meta.get("namespace", "")):
                    keys.append(("owner", owner["uid"], meta.get("namespace", "")))
        if obj["kind"] == "Namespace" and is_deleting(obj) and change.what != "DELETED":
            keys.append(("namespace", meta["name"]))
        return keys

    def _is_gone(self, uid: str, kind: str, name: str, namespace: str) -> bool:
        owner = self.store.find(Ref(kind, name, namespace))
        return owner is None or owner["metadata"]["uid"] != uid

    def _sync(self, key: tuple[str, ...]) -> float | None:
        if key[0] == "owner":
            for obj in list(self.store.namespaced(key[2])):
                if any(owner["uid"] == key[1] for owner in obj["metadata"].get("ownerReferences") or ()):
                    self.store.delete(ref_of(obj))
            return None
        left = list(self.store.namespaced(key[1]))
        # Controllers first: what they would recreate is refused in a terminating namespace.
        for obj in sorted(left, key=lambda each: each["kind"] == "Pod"):
            if not is_deleting(obj):
                self.store.delete(ref_of(obj))
        if list(self.store.namespaced(key[1])):
            return NAMESPACE_CHECK_S
        if self.store.find(Ref("Namespace", key[1])):
            self.store.finalize_namespace(key[1])
        return None

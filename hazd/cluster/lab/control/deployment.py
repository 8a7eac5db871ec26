"""Deployments: rolling updates within maxSurge and maxUnavailable, scaling, revisions, status and conditions.

Source: pkg/controller/deployment/{rolling,recreate,sync,progress}.go and util/deployment_util.go of Kubernetes 1.34.
maxSurge rounds up, maxUnavailable down; both 0 counts as maxUnavailable 1. The arithmetic is in `rolling`.
"""

from __future__ import annotations

from hazd.cluster.lab.control import progress, rolling
from hazd.cluster.lab.control.loop import Loop
from hazd.cluster.lab.objects import controller_of, is_terminal, owned_by, owner_reference, template_hash
from hazd.cluster.lab.store import Change, Store
from hazd.cluster.watch import ref_of
from hazd.manifests.conditions import is_deleting
from hazd.manifests.quantities import rolling_limits
from hazd.model import Manifest, Ref

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"
COMPONENT = "deployment-controller"
DEADLINE_CHECK_S = 10.0


class Deployments:
    """The controller."""

    def __init__(self, store: Store, delay_s: float) -> None:
        self.store = store
        self.loop = Loop(store, self._keys, self._sync, delay_s)

    def _keys(self, change: Change) -> list[tuple[str, ...]]:
        obj, meta = change.obj, change.obj["metadata"]
        if obj["kind"] == "Deployment":
            return [(meta["namespace"], meta["name"])]
        owner = controller_of(obj)
        if obj["kind"] == "ReplicaSet" and owner:
            return [(meta["namespace"], owner["name"])]
        if obj["kind"] == "Pod" and owner and change.what == "DELETED":  # Recreate waits for the last pod
            replica_set = self.store.find(Ref("ReplicaSet", owner["name"], meta["namespace"]))
            owner = controller_of(replica_set) if replica_set else None
            return [(meta["namespace"], owner["name"])] if owner else []
        return []

    def _sync(self, key: tuple[str, ...]) -> float | None:
        deployment = self.store.find(Ref("Deployment", key[1], key[0]))
        if deployment is None or is_deleting(deployment):
            return None
        owned = self._owned(deployment)
        if deployment["spec"].get("paused") or self._is_scaling(deployment, owned):
            newest = self._newest(deployment, owned, create=False)
            self._scale_all(deployment, owned, newest)
        elif deployment["spec"]["strategy"]["type"] == "Recreate":
            self._recreate(deployment, owned)
        else:
            self._roll(deployment, owned)
        deployment = self.store.get(ref_of(deployment))
        self._clean_up(deployment)
        self._status(deployment)
        deployment = self.store.get(ref_of(deployment))
        return None if rolling.is_complete(deployment) else DEADLINE_CHECK_S

    def _owned(self, deployment: Manifest) -> list[Manifest]:
        uid = deployment["metadata"]["uid"]
        sets = [
            each for each in self.store.list("ReplicaSet", deployment["metadata"]["namespace"]) if owned_by(each, uid)
        ]
        return sorted(sets, key=_revision)

    def _newest(self, deployment: Manifest, owned: list[Manifest], create: bool) -> Manifest | None:
        """The ReplicaSet of the current template; made, or brought to the highest revision, when `create`."""
        name = f"{deployment['metadata']['name']}-{template_hash(deployment['spec']['template'])}"
        newest = next((each for each in owned if each["metadata"]["name"] == name), None)
        others = [each for each in owned if each is not newest]
        if not create:
            return newest
        revision = str(max(map(_revision, others), default=0) + 1)
        if newest is None:
            newest = self._make(deployment, name, revision, others)
        elif _revision(newest) < int(revision):
            newest = self.store.patch(ref_of(newest), {"metadata": {"annotations": {REVISION: revision}}})
        shown = (deployment["metadata"].get("annotations") or {}).get(REVISION)
        wanted = newest["metadata"]["annotations"][REVISION]
        if shown != wanted:
            self.store.patch(ref_of(deployment), {"metadata": {"annotations": {REVISION: wanted}}})
        wait_s = deployment["spec"].get("minReadySeconds", 0)
        if newest["spec"].get("minReadySeconds", 0) != wait_s:
            newest = self.store.patch(ref_of(newest), {"spec": {"minReadySeconds": wait_s}})
        return newest

    def _make(self, deployment: Manifest, name: str, revision: str, others: list[Manifest]) -> Manifest:
        spec, meta = deployment["spec"], deployment["metadata"]
        mark = {HASH: name.rpartition("-")[2]}
        template = spec["template"]
        labels = {**(template["metadata"].get("labels") or {}), **mark}
        selector = {**spec["selector"], "matchLabels": {**(spec["selector"].get("matchLabels") or {}), **mark}}
        count = rolling.new_replicas(deployment, [each["spec"]["replicas"] for each in others], 0)
        if spec["strategy"]["type"] == "Recreate":
            count = spec["replicas"]
        made = self.store.create(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": name,
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "annotations": {REVISION: revision, **_sizes(deployment)},
                    "ownerReferences": [owner_reference(deployment)],
                },
                "spec": {
                    "replicas": count,
                    "minReadySeconds": spec.get("minReadySeconds", 0),
                    "selector": selector,
                    "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
                },
                "status": {"replicas": 0},
            }
        )
        if count:
            self._say(deployment, f"Scaled up replica set {name} from 0 to {count}")
        return made

    def _scale(self, deployment: Manifest, replica_set: Manifest, count: int) -> Manifest:
        """Set a ReplicaSet's size and remember what the Deployment's size was then."""
        before = replica_set["spec"]["replicas"]
        patch = {"spec": {"replicas": count}, "metadata": {"annotations": _sizes(deployment)}}
        changed = self.store.patch(ref_of(replica_set), patch)
        if count != before:
            way = "up" if count > before else "down"
            name = replica_set["metadata"]["name"]
            self._say(deployment, f"Scaled {way} replica set {name} from {before} to {count}")
        return changed

    def _say(self, deployment: Manifest, message: str) -> None:
        self.store.event(deployment, "Normal", "ScalingReplicaSet", message, COMPONENT)

    def _is_scaling(self, deployment: Manifest, owned: list[Manifest]) -> bool:
        wanted = str(deployment["spec"]["replicas"])
        sizes = [each["metadata"]["annotations"].get(DESIRED) for each in owned if each["spec"]["replicas"] > 0]
        return any(size is not None and size != wanted for size in sizes)

    def _scale_all(self, deployment: Manifest, owned: list[Manifest], newest: Manifest | None) -> None:
        """A size that changed in the middle of a rollout is shared out in proportion (sync.go, scale)."""
        sizes = rolling.proportional(deployment, owned, newest)
        for replica_set in owned:
            size = sizes.get(replica_set["metadata"]["name"])
            if size is not None:
                self._scale(deployment, replica_set, size)

    def _recreate(self, deployment: Manifest, owned: list[Manifest]) -> None:
        current = self._newest(deployment, owned, create=False)
        running = [each for each in owned if each is not current and each["spec"]["replicas"] > 0]
        for replica_set in running:
            self._scale(deployment, replica_set, 0)
        old = {each["metadata"]["uid"] for each in owned if each is not current}
        pods = self.store.list("Pod", deployment["metadata"]["namespace"])
        if running or any(not is_terminal(pod) and any(owned_by(pod, uid) for uid in old) for pod in pods):
            return
        newest = self._newest(deployment, owned, create=True)
        assert newest is not None
        self._scale(deployment, newest, deployment["spec"]["replicas"])

    def _roll(self, deployment: Manifest, owned: list[Manifest]) -> None:
        newest = self._newest(deployment, owned, create=True)
        assert newest is not None
        deployment = self.store.get(ref_of(deployment))
        old = [each for each in owned if each["metadata"]["uid"] != newest["metadata"]["uid"]]
        sizes = [each["spec"]["replicas"] for each in old]
        wanted = rolling.new_replicas(deployment, sizes, newest["spec"]["replicas"])
        if wanted != newest["spec"]["replicas"]:
            self._scale(deployment, newest, wanted)
            return
        for replica_set, count in rolling.old_replicas(deployment, old, newest):
            self._scale(deployment, replica_set, count)

    def _clean_up(self, deployment: Manifest) -> None:
        """Forget old, empty ReplicaSets beyond revisionHistoryLimit, once a rollout is complete."""
        if not rolling.is_complete(deployment):
            return
        name = f"{deployment['metadata']['name']}-{template_hash(deployment['spec']['template'])}"
        old = [
            each
            for each in self._owned(deployment)
            if each["metadata"]["name"] != name and not each["spec"]["replicas"] and not each["status"].get("replicas")
        ]
        for replica_set in old[: max(0, len(old) - deployment["spec"]["revisionHistoryLimit"])]:
            self.store.delete(ref_of(replica_set))

    def _status(self, deployment: Manifest) -> None:
        owned = self._owned(deployment)
        newest = self._newest(deployment, owned, create=False)

        def total(name: str, sets: list[Manifest]) -> int:
            return sum(each.get("status", {}).get(name, 0) for each in sets)

        available = total("availableReplicas", owned)
        status: Manifest = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": total("replicas", owned),
            "updatedReplicas": total("replicas", [newest] if newest else []),
            "readyReplicas": total("readyReplicas", owned),
            "availableReplicas": available,
            "unavailableReplicas": max(0, sum(each["spec"]["replicas"] for each in owned) - available),
            "terminatingReplicas": total("terminatingReplicas", owned),
        }
        name = newest["metadata"]["name"] if newest else ""
        status["conditions"] = progress.conditions(deployment, status, name, self.store.time())
        # The API leaves zeros out of a status.
        self.store.set_status(deployment, {key: value for key, value in status.items() if value})


def _revision(replica_set: Manifest) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, 0))


def _sizes(deployment: Manifest) -> dict[str, str]:
    desired = deployment["spec"]["replicas"]
    return {DESIRED: str(desired), MAXIMUM: str(desired + rolling_limits(deployment)[0])}

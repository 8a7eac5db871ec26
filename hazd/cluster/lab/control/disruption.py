"""PodDisruptionBudgets: how many of the selected pods may go, and the Eviction API that asks them.

Source: pkg/controller/disruption/disruption.go and pkg/registry/core/pod/storage/eviction.go of Kubernetes 1.34,
KEP-3017 (unhealthyPodEvictionPolicy). Percentages round up, for minAvailable and maxUnavailable alike.
"""

from __future__ import annotations

from hazd.cluster.lab.control.loop import Loop
from hazd.cluster.lab.objects import controller_of, is_terminal, phase_of, seconds_of, selects, with_condition
from hazd.cluster.lab.store import Change, Store
from hazd.cluster.port import Eviction
from hazd.cluster.watch import ref_of
from hazd.errors import ClusterError
from hazd.manifests.conditions import is_deleting, is_ready
from hazd.manifests.quantities import int_or_percent
from hazd.model import Manifest, Ref

DELETION_TIMEOUT_S = 120.0
"""So long an eviction counts as under way although the pod shows no deletion (DeletionTimeout)."""
REFUSAL = "Cannot evict pod as it would violate the pod's disruption budget."


class Disruption:
    """The controller that keeps each budget's status."""

    def __init__(self, store: Store, delay_s: float) -> None:
        self.store = store
        self.loop = Loop(store, self._keys, self._sync, delay_s)

    def _keys(self, change: Change) -> list[tuple[str, ...]]:
        obj, meta = change.obj, change.obj["metadata"]
        if obj["kind"] == "PodDisruptionBudget":
            return [(meta["namespace"], meta["name"])]
        if obj["kind"] == "Pod":
            return [
                (meta["namespace"], budget["metadata"]["name"])
                for budget in self.store.list("PodDisruptionBudget", meta["namespace"])
                if selects(budget["spec"].get("selector"), obj)
            ]
        if obj["kind"] in ("Deployment", "ReplicaSet"):
            budgets = self.store.list("PodDisruptionBudget", meta["namespace"])
            return [(meta["namespace"], budget["metadata"]["name"]) for budget in budgets]
        return []

    def _sync(self, key: tuple[str, ...]) -> float | None:
        budget = self.store.find(Ref("PodDisruptionBudget", key[1], key[0]))
        if budget is None:
            return None
        pods = [
            pod
            for pod in self.store.list("Pod", key[0])
            if selects(budget["spec"].get("selector"), pod) and not is_terminal(pod)
        ]
        now = self.store.now_s()
        known = (budget.get("status") or {}).get("disruptedPods") or {}
        disrupted = {
            pod["metadata"]["name"]: known[pod["metadata"]["name"]]
            for pod in pods
            if not is_deleting(pod)
            and pod["metadata"]["name"] in known
            and seconds_of(known[pod["metadata"]["name"]]) + DELETION_TIMEOUT_S > now
        }
        healthy = sum(
            not is_deleting(pod) and pod["metadata"]["name"] not in disrupted and is_ready(pod) for pod in pods
        )
        expected, desired = self._expected(budget, pods)
        allowed = max(0, healthy - desired) if expected > 0 else 0
        reason = "SufficientPods" if allowed else "InsufficientPods"
        status = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "observedGeneration": budget["metadata"]["generation"],
            "conditions": with_condition(
                (budget.get("status") or {}).get("conditions") or [],
                "DisruptionAllowed",
                "True" if allowed else "False",
                reason,
                "",
                self.store.time(),
                observedGeneration=budget["metadata"]["generation"],
            ),
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        self.store.set_status(budget, status)
        return DELETION_TIMEOUT_S if disrupted else None

    def _expected(self, budget: Manifest, pods: list[Manifest]) -> tuple[int, int]:
        """(expectedPods, desiredHealthy)."""
        spec = budget["spec"]
        most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
        if most is not None:
            expected = self._scale_of(pods)
            return expected, max(0, expected - int_or_percent(most, expected, round_up=True))
        if isinstance(least, int):
            return len(pods), least
        if least is None:
            return 0, 0
        expected = self._scale_of(pods)
        return expected, int_or_percent(least, expected, round_up=True)

    def _scale_of(self, pods: list[Manifest]) -> int:
        """Sum of the replicas that the pods' controllers are asked for."""
        scales = {}
        for pod in pods:
            top = pod
            while (owner := controller_of(top)) is not None:
                found = self.store.find(Ref(owner["kind"], owner["name"], pod["metadata"]["namespace"]))
                if found is None:
                    break
                top = found
            if top is not pod:
                scales[top["metadata"]["uid"]] = top["spec"].get("replicas", 0)
        return sum(scales.values())


def evict(store: Store, ref: Ref, grace_s: int | None) -> Eviction:
    """The Eviction API. Raises NotFound, and ClusterError for a pod under two budgets."""
    pod = store.get(ref)
    budgets = [
        each for each in store.list("PodDisruptionBudget", ref.namespace) if selects(each["spec"].get("selector"), pod)
    ]
    if is_terminal(pod) or phase_of(pod) == "Pending" or is_deleting(pod) or not budgets:
        store.delete(ref, grace_s)
        return Eviction(True)
    if len(budgets) > 1:
        raise ClusterError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    [budget] = budgets
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not is_ready(pod) and (
        budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow" or healthy >= desired > 0
    ):
        _mark_and_delete(store, pod, grace_s)
        return Eviction(True)
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        why = f"The disruption budget {budget['metadata']['name']} is still being processed by the server."
        return Eviction(False, f"{REFUSAL} {why}")
    if status.get("disruptionsAllowed", 0) <= 0:
        name = budget["metadata"]["name"]
        why = f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        return Eviction(False, f"{REFUSAL} {why}")
    disrupted = {**(status.get("disruptedPods") or {}), ref.name: store.time()}
    allowed = status["disruptionsAllowed"] - 1
    store.set_status(budget, {**status, "disruptionsAllowed": allowed, "disruptedPods": disrupted})
    _mark_and_delete(store, pod, grace_s)
    return Eviction(True)


def _mark_and_delete(store: Store, pod: Manifest, grace_s: int | None) -> None:
    conditions = with_condition(
        (pod.get("status") or {}).get("conditions") or [],
        "DisruptionTarget",
        "True",
        "EvictionByEvictionAPI",
        "Eviction API: evicting",
        store.time(),
    )
    store.set_status(pod, {**pod["status"], "conditions": conditions})
    store.delete(ref_of(pod), grace_s)

"""HorizontalPodAutoscalers on CPU: every sync period, from the pods' real CPU time to the scale subresource.

Source: pkg/controller/podautoscaler/horizontal.go of Kubernetes 1.34; the arithmetic is in `replica_count`. Metrics
other than the CPU resource are refused with a condition.
"""

from __future__ import annotations

import anyio

from hazd.cluster.lab.control.metrics import Metrics
from hazd.cluster.lab.control.replica_count import NoMetrics, Past, Wish, limited, stabilized, wanted
from hazd.cluster.lab.objects import number, selects, with_condition
from hazd.cluster.lab.options import LabOptions
from hazd.cluster.lab.store import Store
from hazd.cluster.watch import ref_of
from hazd.model import Manifest, Ref

COMPONENT = "horizontal-pod-autoscaler"
REMEMBERED_S = 3600.0


class Autoscaler:
    """The controller, with its memory of wishes and steps per object."""

    def __init__(self, store: Store, metrics: Metrics, options: LabOptions) -> None:
        self.store = store
        self.metrics = metrics
        self.options = options
        self._wishes: dict[str, list[Past]] = {}
        self._ups: dict[str, list[Past]] = {}
        self._downs: dict[str, list[Past]] = {}

    async def run(self) -> None:
        while True:
            await anyio.sleep(self.options.hpa_sync_s)
            for autoscaler in self.store.list("HorizontalPodAutoscaler"):
                self.sync(autoscaler)

    def sync(self, autoscaler: Manifest) -> None:
        """One autoscaler, once."""
        spec, meta = autoscaler["spec"], autoscaler["metadata"]
        target = self.store.find(Ref(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"], meta["namespace"]))
        if target is None:
            self._tell(autoscaler, 0, 0, None, "AbleToScale", "FailedGetScale", "the scale target was not found")
            return
        current = target["spec"]["replicas"]
        if current == 0:
            words = "scaling is disabled since the replica count of the target is zero"
            self._tell(autoscaler, 0, 0, None, "ScalingActive", "ScalingDisabled", words)
            return
        try:
            wish = self._wish(autoscaler, target, current)
        except NoMetrics as problem:
            words = f"the HPA was unable to compute the replica count: {problem}"
            self._tell(autoscaler, current, current, None, "ScalingActive", "FailedGetResourceMetric", words)
            return
        desired = self._bounded(autoscaler, wish, current)
        self._tell(autoscaler, current, desired, wish, "ScalingActive", "", "")
        if desired != current:
            self._scale(autoscaler, target, current, desired)

    def _wish(self, autoscaler: Manifest, target: Manifest, current: int) -> Wish:
        pods = [
            pod
            for pod in self.store.list("Pod", target["metadata"]["namespace"])
            if selects(target["spec"]["selector"], pod)
        ]
        wishes = []
        for metric in autoscaler["spec"]["metrics"]:
            resource = metric.get("resource") or {}
            if metric.get("type") != "Resource" or resource.get("name") != "cpu":
                raise NoMetrics(f"the lab measures the resource cpu only, not {metric.get('type')}")
            goal = dict(resource["target"])
            if goal["type"] == "AverageValue":
                goal["cores"] = number(goal["averageValue"])
            now_s = self.store.now_s()
            wishes.append(wanted(pods, self.metrics.pods, goal, current, now_s, self.options))
        return max(wishes, key=lambda wish: wish.replicas)

    def _bounded(self, autoscaler: Manifest, wish: Wish, current: int) -> int:
        uid, spec = autoscaler["metadata"]["uid"], autoscaler["spec"]
        behavior = spec.get("behavior") or {}
        now = anyio.current_time()
        for memory in (self._wishes, self._ups, self._downs):
            memory[uid] = [past for past in memory.get(uid, []) if past.at_s > now - REMEMBERED_S]
        window_s = self.options.hpa_downscale_stabilization_s
        steady = stabilized(wish.replicas, current, behavior, self._wishes[uid], now, window_s)
        self._wishes[uid].append(Past(now, wish.replicas))
        steady = min(max(steady, spec["minReplicas"]), spec["maxReplicas"])
        return limited(steady, current, behavior, self._ups[uid], self._downs[uid], now)

    def _scale(self, autoscaler: Manifest, target: Manifest, current: int, desired: int) -> None:
        uid = autoscaler["metadata"]["uid"]
        memory = self._ups if desired > current else self._downs
        memory.setdefault(uid, []).append(Past(anyio.current_time(), abs(desired - current)))
        self.store.patch(ref_of(target), {"spec": {"replicas": desired}})
        how = "above target" if desired > current else "below target"
        words = f"New size: {desired}; reason: cpu resource utilization (percentage of request) {how}"
        self.store.event(autoscaler, "Normal", "SuccessfulRescale", words, COMPONENT)
        latest = self.store.get(ref_of(autoscaler))
        self.store.set_status(latest, {**latest["status"], "lastScaleTime": self.store.time()})

    def _tell(
        self, autoscaler: Manifest, current: int, desired: int, wish: Wish | None, kind: str, reason: str, words: str
    ) -> None:
        before = autoscaler.get("status") or {}
        good = wish is not None
        reason = reason or "ValidMetricFound"
        words = words or "the HPA was able to successfully calculate a replica count from cpu resource utilization"
        now = self.store.time()
        conditions = with_condition(
            before.get("conditions") or [], kind, "True" if good else "False", reason, words, now
        )
        status = {**before, "currentReplicas": current, "desiredReplicas": desired, "conditions": conditions}
        status["observedGeneration"] = autoscaler["metadata"]["generation"]
        if wish is not None:
            value = {"averageUtilization": wish.utilization, "averageValue": f"{round(1000 * wish.average_cores)}m"}
            status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": value}}]
        else:
            self.store.event(autoscaler, "Warning", reason, words, COMPONENT)
        self.store.set_status(autoscaler, status)

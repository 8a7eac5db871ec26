"""VerticalPodAutoscalers: a CPU recommendation, an updater that evicts or resizes, an admission that sets requests.

Source: kubernetes/autoscaler vertical-pod-autoscaler 1.x: target is the 90th percentile of CPU use plus 15 %, at least
25m, bounds the 50th and 95th; capped by the resource policy. The real recommender widens its bounds for a week while
its history is short; the lab does not, so that a trial sees the updater act. Memory is not recommended.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import anyio

from hazd.cluster.lab.control.disruption import evict
from hazd.cluster.lab.control.metrics import Metrics
from hazd.cluster.lab.objects import is_active, number, selects
from hazd.cluster.lab.options import LabOptions
from hazd.cluster.lab.store import Store
from hazd.cluster.watch import ref_of
from hazd.manifests.conditions import is_ready
from hazd.model import Manifest, Ref

MARGIN = 1.15
LEAST_CORES = 0.025
SAMPLES = 240
EVICTION_TOLERANCE = 0.5
"""Share of a workload's pods that the updater may evict at the same time (--eviction-tolerance)."""
MIN_REPLICAS = 2
"""Fewer live replicas than this are not touched (--min-replicas), unless updatePolicy.minReplicas says otherwise."""
COMPONENT = "vpa-updater"


def percentile(samples: list[float], share: float) -> float:
    """The smallest sample that at least `share` of all do not exceed; 0 for none."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def recommendation(samples: list[float], policy: Manifest) -> dict[str, float]:
    """target, lowerBound, upperBound and uncappedTarget in cores."""
    low, high = (
        number((policy.get("minAllowed") or {}).get("cpu", 0)),
        number((policy.get("maxAllowed") or {}).get("cpu", 1e6)),
    )
    raw = {
        "target": percentile(samples, 0.9),
        "lowerBound": percentile(samples, 0.5),
        "upperBound": percentile(samples, 0.95),
    }
    floored = {name: max(LEAST_CORES, MARGIN * value) for name, value in raw.items()}
    capped = {name: min(max(value, low), high) for name, value in floored.items()}
    return {**capped, "uncappedTarget": floored["target"]}


def milli(cores: float) -> str:
    return f"{math.ceil(1000 * cores - 1e-9)}m"


class VerticalAutoscaler:
    """Recommender, updater and admission in one; samples by autoscaler and container."""

    def __init__(self, store: Store, metrics: Metrics, options: LabOptions) -> None:
        self.store = store
        self.metrics = metrics
        self.period_s = options.vpa_loop_s
        self._samples: dict[tuple[str, str], deque[float]] = {}

    async def run(self) -> None:
        self.store.rules.mutators.append(self.admit)
        while True:
            # The first look comes early: whoever makes an autoscaler has waited for its pods already.
            await anyio.sleep(min(self.period_s, 5.0) if not self._samples else self.period_s)
            for autoscaler in self.store.list("VerticalPodAutoscaler"):
                self.recommend(autoscaler)
                self.update(self.store.get(ref_of(autoscaler)))

    # -- recommender --------------------------------------------------------------------------------------------------
    def _target(self, autoscaler: Manifest) -> Manifest | None:
        ref = autoscaler["spec"]["targetRef"]
        return self.store.find(Ref(ref["kind"], ref["name"], autoscaler["metadata"]["namespace"]))

    def _pods(self, autoscaler: Manifest) -> list[Manifest]:
        target = self._target(autoscaler)
        if target is None:
            return []
        pods = self.store.list("Pod", autoscaler["metadata"]["namespace"])
        return [pod for pod in pods if is_active(pod) and selects(target["spec"]["selector"], pod)]

    @staticmethod
    def _policy(autoscaler: Manifest, container: str) -> Manifest:
        policies = ((autoscaler["spec"].get("resourcePolicy") or {}).get("containerPolicies")) or ()
        exact: Manifest = next((each for each in policies if each.get("containerName") == container), {})
        return exact or next((each for each in policies if each.get("containerName") == "*"), {})

    def recommend(self, autoscaler: Manifest) -> None:
        """Write status.recommendation from what the pods used."""
        uid, target = autoscaler["metadata"]["uid"], self._target(autoscaler)
        if target is None:
            return
        for pod in self._pods(autoscaler):
            for container, usage in self.metrics.pods.get(pod["metadata"]["uid"], {}).items():
                self._samples.setdefault((uid, container), deque(maxlen=SAMPLES)).append(usage.cores)
        recommended = []
        for container in target["spec"]["template"]["spec"]["containers"]:
            policy = self._policy(autoscaler, container["name"])
            if policy.get("mode") == "Off":
                continue
            cores = recommendation(list(self._samples.get((uid, container["name"]), ())), policy)
            recommended.append({"containerName": container["name"], **{k: {"cpu": milli(v)} for k, v in cores.items()}})
        now = self.store.time()
        provided = {"type": "RecommendationProvided", "status": "True", "lastTransitionTime": now}
        before = (autoscaler.get("status") or {}).get("conditions")
        status = {"recommendation": {"containerRecommendations": recommended}, "conditions": before or [provided]}
        self.store.set_status(autoscaler, status)

    # -- admission ----------------------------------------------------------------------------------------------------
    def admit(self, pod: Manifest) -> Manifest:
        """A pod that is being created gets the recommended requests, unless the mode is Off."""
        for autoscaler in self.store.list("VerticalPodAutoscaler", pod["metadata"].get("namespace", "")):
            target = self._target(autoscaler)
            if target is None or self._mode(autoscaler) == "Off" or not selects(target["spec"]["selector"], pod):
                continue
            containers = self._recommended(autoscaler, pod)
            return {**pod, "spec": {**pod["spec"], "containers": containers}}
        return pod

    def _recommended(self, autoscaler: Manifest, pod: Manifest) -> list[Manifest]:
        recommended = ((autoscaler.get("status") or {}).get("recommendation") or {}).get(
            "containerRecommendations"
        ) or ()
        wanted = {each["containerName"]: each["target"]["cpu"] for each in recommended}
        result = []
        for container in pod["spec"]["containers"]:
            if container["name"] in wanted:
                resources = container.get("resources") or {}
                requests = {**(resources.get("requests") or {}), "cpu": wanted[container["name"]]}
                container = {**container, "resources": {**resources, "requests": requests}}
            result.append(container)
        return result

    # -- updater ------------------------------------------------------------------------------------------------------
    @staticmethod
    def _mode(autoscaler: Manifest) -> str:
        return str((autoscaler["spec"].get("updatePolicy") or {}).get("updateMode", "Recreate"))

    def _is_off(self, autoscaler: Manifest, pod: Manifest) -> bool:
        """Whether a request lies outside the recommended bounds."""
        recommended = ((autoscaler.get("status") or {}).get("recommendation") or {}).get(
            "containerRecommendations"
        ) or ()
        bounds: dict[str, Any] = {each["containerName"]: each for each in recommended}
        for container in pod["spec"]["containers"]:
            bound = bounds.get(container["name"])
            request = number(((container.get("resources") or {}).get("requests") or {}).get("cpu", 0))
            if bound and not number(bound["lowerBound"]["cpu"]) <= request <= number(bound["upperBound"]["cpu"]):
                return True
        return False

    def update(self, autoscaler: Manifest) -> None:
        """Bring running pods to the recommendation: by eviction within its tolerance, or in place."""
        mode = self._mode(autoscaler)
        target = self._target(autoscaler)
        if mode in ("Off", "Initial") or target is None:
            return
        pods = self._pods(autoscaler)
        off = [pod for pod in pods if pod["spec"].get("nodeName") and self._is_off(autoscaler, pod)]
        least = (autoscaler["spec"].get("updatePolicy") or {}).get("minReplicas", MIN_REPLICAS)
        if not off or len(pods) < least:
            return
        if mode == "InPlaceOrRecreate":
            for pod in off:
                containers = self._recommended(autoscaler, pod)
                self.store.patch(ref_of(pod), {"spec": {"containers": containers}}, "resize")
                self.store.event(
                    pod, "Normal", "InPlaceResizedByVPA", "Pod was resized in place by VPA Updater.", COMPONENT
                )
            return
        replicas = target["spec"]["replicas"]
        missing = replicas - sum(is_ready(pod) for pod in pods)
        allowed = max(0, max(1, int(replicas * EVICTION_TOLERANCE)) - max(0, missing))
        for pod in off:
            if not allowed:
                return
            if evict(self.store, ref_of(pod), None).allowed:
                allowed -= 1
                self.store.event(
                    pod,
                    "Normal",
                    "EvictedByVPA",
                    "Pod was evicted by VPA Updater to apply resource recommendation.",
                    COMPONENT,
                )

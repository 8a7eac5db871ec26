"""PURE: how many replicas a HorizontalPodAutoscaler wants, and how fast it may get there.

Source: GetResourceReplicas and groupPods (pkg/controller/podautoscaler/replica_calculator.go),
stabilizeRecommendationWithBehaviors and calculateScale*Limit (horizontal.go) of Kubernetes 1.34.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hazd.cluster.lab.control.metrics import Usage
from hazd.cluster.lab.objects import cpu_request, phase_of, seconds_of
from hazd.cluster.lab.options import LabOptions
from hazd.manifests.conditions import condition, is_deleting
from hazd.model import Manifest

DEFAULT_UP: Mapping[str, Any] = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
DEFAULT_DOWN: Mapping[str, Any] = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


class NoMetrics(Exception):
    """Nothing can be computed now; the text says why."""


@dataclass(frozen=True, slots=True)
class Wish:
    """replicas wanted; utilization in percent of the requests, and mean cores a pod, as measured."""

    replicas: int
    utilization: int
    average_cores: float


def _is_unready(pod: Manifest, usage: Usage, now_s: float, options: LabOptions) -> bool:
    ready = condition(pod, "Ready")
    started = seconds_of((pod.get("status") or {}).get("startTime"))
    if ready is None or not started:
        return True
    since = seconds_of(ready["lastTransitionTime"])
    if started + options.hpa_cpu_initialization_s > now_s:
        return ready["status"] == "False" or usage.at_s < since + usage.window_s
    return ready["status"] == "False" and started + options.hpa_initial_readiness_s > since


def wanted(
    pods: Sequence[Manifest],
    usages: Mapping[str, Mapping[str, Usage]],
    target: Mapping[str, Any],
    current: int,
    now_s: float,
    options: LabOptions,
) -> Wish:
    """For one CPU metric with a target of type Utilization or AverageValue (here as cores). Raises NoMetrics."""
    if not pods:
        raise NoMetrics("no pods returned by selector while calculating replica count")
    measured: dict[str, float] = {}
    unready, missing = set(), set()
    requests = {pod["metadata"]["uid"]: cpu_request(pod) for pod in pods}
    for pod in pods:
        uid = pod["metadata"]["uid"]
        if is_deleting(pod) or phase_of(pod) == "Failed":
            continue
        if phase_of(pod) == "Pending":
            unready.add(uid)
        elif uid not in usages:
            missing.add(uid)
        elif _is_unready(pod, next(iter(usages[uid].values())), now_s, options):
            unready.add(uid)
        else:
            measured[uid] = sum(usage.cores for usage in usages[uid].values())
    if not measured:
        raise NoMetrics("did not receive metrics for targeted pods (pods might be unready)")
    by_share = target["type"] == "Utilization"
    if by_share and not all(requests[uid] for uid in measured):
        raise NoMetrics("missing request for cpu")
    goal = target["averageUtilization"] / 100 if by_share else float(target["cores"])

    def ratio(values: Mapping[str, float]) -> float:
        base = sum(requests[uid] for uid in values) if by_share else len(values)
        return sum(values.values()) / base / goal

    first = ratio(measured)
    cores = sum(measured.values())
    share = round(100 * cores / sum(requests[uid] for uid in measured)) if by_share else 0
    average = cores / len(measured)

    def close(value: float) -> bool:
        return abs(1.0 - value) <= options.hpa_tolerance

    if not (unready and first > 1.0) and not missing:
        count = current if close(first) else math.ceil(first * len(measured))
        return Wish(count, share, average)
    filled = dict(measured)
    for uid in missing:
        full = requests[uid] * max(1.0, goal) if by_share else goal
        filled[uid] = full if first < 1.0 else 0.0
    if first > 1.0:
        filled |= dict.fromkeys(unready, 0.0)
    second = ratio(filled)
    if close(second) or (first < 1.0 < second) or (second < 1.0 < first):
        return Wish(current, share, average)
    count = math.ceil(second * len(filled))
    if (second < 1.0 and count > current) or (second > 1.0 and count < current):
        count = current
    return Wish(count, share, average)


@dataclass(frozen=True, slots=True)
class Past:
    """Something that was wanted or done: a number of replicas (or how many were added) at a time (loop seconds)."""

    at_s: float
    count: int


def _changed_in(period_s: float, events: Sequence[Past], now: float) -> int:
    return sum(event.count for event in events if event.at_s > now - period_s)


def limited(
    desired: int,
    current: int,
    behavior: Mapping[str, Any],
    ups: Sequence[Past],
    downs: Sequence[Past],
    now: float,
) -> int:
    """What of a step the policies allow at once. ups, downs: replicas added and removed before, as positives."""
    if desired == current:
        return desired
    up = desired > current
    rules = {**(DEFAULT_UP if up else DEFAULT_DOWN), **(behavior.get("scaleUp" if up else "scaleDown") or {})}
    if rules["selectPolicy"] == "Disabled":
        return current
    proposals = []
    for policy in rules["policies"]:
        period_s = policy["periodSeconds"]
        start = current - _changed_in(period_s, ups, now) + _changed_in(period_s, downs, now)
        step = policy["value"] if policy["type"] == "Pods" else start * policy["value"] / 100
        proposals.append(math.ceil(start + step) if up else int(start - step))
    boldest = rules["selectPolicy"] != "Min"
    if up:
        return min(desired, max(current, max(proposals) if boldest else min(proposals)))
    return max(desired, min(current, min(proposals) if boldest else max(proposals)))


def stabilized(
    desired: int, current: int, behavior: Mapping[str, Any], before: Sequence[Past], now: float, down_window_s: float
) -> int:
    """Never below the highest wish of the scale-down window, never above the lowest of the scale-up window."""
    up_s = (behavior.get("scaleUp") or {}).get("stabilizationWindowSeconds") or 0
    down_s = (behavior.get("scaleDown") or {}).get("stabilizationWindowSeconds")
    down_s = down_window_s if down_s is None else down_s
    lowest = min([desired, *(each.count for each in before if each.at_s > now - up_s)])
    highest = max([desired, *(each.count for each in before if each.at_s > now - down_s)])
    return min(max(current, lowest), highest)

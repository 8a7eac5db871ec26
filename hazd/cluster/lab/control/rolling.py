"""PURE: the arithmetic of a rolling update: how large the new and the old ReplicaSets may be next.

Source: NewRSNewReplicas, GetReplicaSetProportion (pkg/controller/deployment/util/deployment_util.go),
reconcileOldReplicaSets (rolling.go) and scale (sync.go) of Kubernetes 1.34.
"""

from __future__ import annotations

from hazd.manifests.quantities import rolling_limits
from hazd.model import Manifest

MAXIMUM = "deployment.kubernetes.io/max-replicas"


def is_complete(deployment: Manifest) -> bool:
    """All replicas are of the newest template and available (DeploymentComplete)."""
    status, desired = deployment.get("status") or {}, deployment["spec"]["replicas"]
    return (
        all(status.get(name, 0) == desired for name in ("updatedReplicas", "replicas", "availableReplicas"))
        and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    )


def new_replicas(deployment: Manifest, old: list[int], new: int) -> int:
    """The new ReplicaSet's next size, given the old ones' sizes and its own."""
    desired = deployment["spec"]["replicas"]
    if new >= desired or deployment["spec"]["strategy"]["type"] == "Recreate":
        return int(desired)
    room = desired + rolling_limits(deployment)[0] - sum(old) - new
    return new if room <= 0 else int(new + min(room, desired - new))


def _available(replica_set: Manifest) -> int:
    return int(replica_set.get("status", {}).get("availableReplicas", 0))


def old_replicas(deployment: Manifest, old: list[Manifest], newest: Manifest) -> list[tuple[Manifest, int]]:
    """Old ReplicaSets to shrink, with their next sizes: first what is unhealthy anyway, then what may be missed."""
    sizes = {each["metadata"]["uid"]: each["spec"]["replicas"] for each in old}
    if not sum(sizes.values()):
        return []
    least = deployment["spec"]["replicas"] - rolling_limits(deployment)[1]
    total = sum(sizes.values()) + newest["spec"]["replicas"]
    unavailable_new = newest["spec"]["replicas"] - _available(newest)
    budget = total - least - unavailable_new
    if budget <= 0:
        return []
    oldest_first = sorted(old, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))
    cleaned = 0
    for each in oldest_first:
        unhealthy = sizes[each["metadata"]["uid"]] - _available(each)
        step = max(0, min(budget - cleaned, unhealthy, sizes[each["metadata"]["uid"]]))
        sizes[each["metadata"]["uid"]] -= step
        cleaned += step
    spare = sum(map(_available, [*old, newest])) - least
    for each in oldest_first:
        step = max(0, min(sizes[each["metadata"]["uid"]], spare))
        sizes[each["metadata"]["uid"]] -= step
        spare -= step
    return [
        (each, sizes[each["metadata"]["uid"]])
        for each in oldest_first
        if sizes[each["metadata"]["uid"]] != each["spec"]["replicas"]
    ]


def proportional(deployment: Manifest, owned: list[Manifest], newest: Manifest | None) -> dict[str, int]:
    """Sizes by name after the Deployment's own size changed: one active ReplicaSet takes all, several share."""
    desired = deployment["spec"]["replicas"]
    active = [each for each in owned if each["spec"]["replicas"] > 0]
    if len(active) <= 1:
        chosen = active[0] if active else newest or (owned[-1] if owned else None)
        return {chosen["metadata"]["name"]: desired} if chosen else {}
    if newest is not None and newest["spec"]["replicas"] == desired == _available(newest):
        return {each["metadata"]["name"]: 0 for each in active if each is not newest}
    if deployment["spec"]["strategy"]["type"] == "Recreate":
        return {}
    limit = desired + rolling_limits(deployment)[0] if desired else 0
    to_add = limit - sum(each["spec"]["replicas"] for each in active)
    # Larger first; among equals the newer grows and the older shrinks.
    order = sorted(active, key=lambda each: each["metadata"]["creationTimestamp"], reverse=to_add > 0)
    order.sort(key=lambda each: -each["spec"]["replicas"])
    sizes, added = {}, 0
    for each in order:
        share = _proportion(each, deployment, limit, to_add, added)
        sizes[each["metadata"]["name"]] = each["spec"]["replicas"] + share
        added += share
    largest = order[0]["metadata"]["name"]
    sizes[largest] = max(0, sizes[largest] + to_add - added)
    return sizes


def _proportion(replica_set: Manifest, deployment: Manifest, limit: int, to_add: int, added: int) -> int:
    size = replica_set["spec"]["replicas"]
    if not size or not to_add or to_add == added:
        return 0
    if not deployment["spec"]["replicas"]:
        fraction = -size
    else:
        annotations = replica_set["metadata"].get("annotations") or {}
        before = int(annotations.get(MAXIMUM, 0)) or (deployment.get("status") or {}).get("replicas", 0)
        if not before:
            return 0
        exact = size * limit / before
        fraction = int(exact + 0.5) - size
    allowed = to_add - added
    return int(min(fraction, allowed) if to_add > 0 else max(fraction, allowed))

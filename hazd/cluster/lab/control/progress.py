"""PURE: a Deployment's conditions Available and Progressing.

Source: calculateStatus (pkg/controller/deployment/sync.go) and syncRolloutStatus (progress.go) of Kubernetes 1.34.
"""

from __future__ import annotations

from hazd.cluster.lab.control.rolling import is_complete
from hazd.cluster.lab.objects import seconds_of, with_condition
from hazd.manifests.quantities import rolling_limits
from hazd.model import Manifest

_COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")


def conditions(deployment: Manifest, status: Manifest, newest: str, now: str) -> list[Manifest]:
    """What `status`'s conditions ought to be. now: RFC 3339. newest: name of the new ReplicaSet."""
    before = deployment.get("status") or {}
    known = list(before.get("conditions") or ())
    enough = status["availableReplicas"] >= deployment["spec"]["replicas"] - rolling_limits(deployment)[1]
    result = with_condition(
        known,
        "Available",
        "True" if enough else "False",
        "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        now,
        lastUpdateTime=now,
    )
    state, reason, words = "True", "ReplicaSetUpdated", f'ReplicaSet "{newest}" is progressing.'
    if is_complete({**deployment, "status": status}):
        reason, words = "NewReplicaSetAvailable", f'ReplicaSet "{newest}" has successfully progressed.'
    elif is_stuck(deployment, status, now):
        state, reason = "False", "ProgressDeadlineExceeded"
        words = f'ReplicaSet "{newest}" has timed out progressing.'
    result = with_condition(result, "Progressing", state, reason, words, now, lastUpdateTime=now)
    return [_kept(known, each, _moved(before, status)) for each in result]


def _moved(before: Manifest, status: Manifest) -> bool:
    return any(before.get(name, 0) != status.get(name, 0) for name in _COUNTS)


def _kept(known: list[Manifest], entry: Manifest, moved: bool) -> Manifest:
    """lastUpdateTime moves with the rest of the condition, and Progressing's with every step forward."""
    old = next((each for each in known if each["type"] == entry["type"]), None)
    if old is None or (moved and entry["type"] == "Progressing"):
        return entry
    times = ("lastUpdateTime", "lastTransitionTime")
    same = all(old.get(key) == value for key, value in entry.items() if key not in times)
    return old if same else entry


def is_stuck(deployment: Manifest, status: Manifest, now: str) -> bool:
    """No step forward within progressDeadlineSeconds (DeploymentTimedOut)."""
    before = deployment.get("status") or {}
    progressing = next((each for each in before.get("conditions") or () if each["type"] == "Progressing"), None)
    if progressing is None or _moved(before, status) or progressing["reason"] == "NewReplicaSetAvailable":
        return False
    deadline_s = deployment["spec"].get("progressDeadlineSeconds", 600)
    return (
        bool(progressing["status"] == "False")
        or seconds_of(now) - seconds_of(progressing["lastUpdateTime"]) > deadline_s
    )

"""What an object's conditions say: one reading of Ready for the stage, the lab, the recorder and the analysis. Pure.

Objects as the API gives them and what a watch keeps of them (`cluster.watch.digest`, whose metadata lies flat) alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """An object's condition of a type ("Ready"), None where it has none."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), None)


def is_ready(obj: Mapping[str, Any]) -> bool:
    """Whether a pod's or node's Ready condition is True."""
    ready = condition(obj, "Ready")
    return ready is not None and ready.get("status") == "True"


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Whether its deletion was asked for: a pod is then terminating, whatever its conditions say."""
    return bool((obj.get("metadata") or obj).get("deletionTimestamp"))


def is_ready_endpoint(pod: Mapping[str, Any]) -> bool:
    """Whether the EndpointSlice controller would list a pod as ready: Ready and not terminating."""
    return is_ready(pod) and not is_deleting(pod)


__all__ = ["condition", "is_deleting", "is_ready", "is_ready_endpoint"]

"""What runs write on nodes that they change, so that each undoes its own and nobody else's. Pure.

A cordoned node's annotation names every namespace of a run that wants it cordoned, and whether it was cordoned before
the first of them came: the last one to let go restores that, so an administrator's own cordon survives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hazd.cluster.port import STOPPED_ANNOTATION, UNDO_ANNOTATION, Cluster
from hazd.errors import ClusterError, Conflict
from hazd.model import Manifest, Ref

TRIES = 10


def _annotations(node: Manifest) -> dict[str, str]:
    return dict(node["metadata"].get("annotations") or {})


def _mark(node: Manifest) -> dict[str, Any] | None:
    text = _annotations(node).get(UNDO_ANNOTATION)
    if text is None:
        return None
    try:
        found = json.loads(text)
        return {"holders": [str(name) for name in found["holders"]], "unschedulable": found["unschedulable"] is True}
    except (ValueError, KeyError, TypeError):
        name = node["metadata"]["name"]
        raise ClusterError(
            f"node {name}: annotation {UNDO_ANNOTATION} cannot be read: {text}",
            f"`kubectl uncordon {name}` if it shall be used again, then remove the annotation",
        ) from None


def holders(node: Manifest) -> list[str]:
    """Namespaces of the runs that want this node cordoned. Raises ClusterError for a mark that is not hazd's."""
    mark = _mark(node)
    return list(mark["holders"]) if mark else []


def stopped_by(node: Manifest) -> str | None:
    """Namespace of the run that took this node's power, None when none did."""
    return _annotations(node).get(STOPPED_ANNOTATION)


def _patch(node: Manifest, unschedulable: bool, mark: dict[str, Any] | None) -> dict[str, Any]:
    note = None if mark is None else json.dumps(mark)
    meta = {"resourceVersion": node["metadata"]["resourceVersion"], "annotations": {UNDO_ANNOTATION: note}}
    return {"metadata": meta, "spec": {"unschedulable": True if unschedulable else None}}


def cordoned(node: Manifest, namespace: str) -> dict[str, Any]:
    """The merge patch by which a run cordons a node; it fails with Conflict when the node has changed meanwhile."""
    mark = _mark(node) or {"holders": [], "unschedulable": bool((node.get("spec") or {}).get("unschedulable"))}
    return _patch(node, True, mark | {"holders": sorted({*mark["holders"], namespace})})


def released(node: Manifest, namespaces: set[str]) -> dict[str, Any] | None:
    """The merge patch by which these namespaces let go of a node, None where they do not hold it."""
    mark = _mark(node)
    if mark is None or not namespaces & set(mark["holders"]):
        return None
    left = [name for name in mark["holders"] if name not in namespaces]
    if left:
        return _patch(node, True, mark | {"holders": left})
    return _patch(node, mark["unschedulable"], None)


async def change_node(cluster: Cluster, name: str, change: Callable[[Manifest], dict[str, Any] | None]) -> bool:
    """Patch a node by change(node), from the start again when it changed meanwhile; False when there is no change."""
    ref = Ref("Node", name)
    for _ in range(TRIES):
        patch = change(await cluster.get(ref))
        if patch is None:
            return False
        try:
            await cluster.patch(ref, patch)
            return True
        except Conflict:
            continue
    raise Conflict(f"{ref} changed under {TRIES} patches in a row")


__all__ = ["change_node", "cordoned", "holders", "released", "stopped_by"]

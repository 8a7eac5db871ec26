"""PURE: what a watch keeps of an object, when the object says it happened, and what two listings differ in.

Every cluster behind the port uses these functions, so that a journal looks the same whoever wrote it. No clock, no
network: the reader of a stream stamps the arrival itself, because that is the only exact time there is (the API's
own times are whole seconds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from hazd.model import Event, Manifest, Ref

Digest: TypeAlias = dict[str, Any]
"""The part of an object that the journal keeps; JSON types only. Keys with nothing in them are skipped."""

ADDED, MODIFIED, DELETED, GAP = "ADDED", "MODIFIED", "DELETED", "GAP"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
SERVICE_NAME = "kubernetes.io/service-name"
_GRAINS = 9  # digits after the point in a MicroTime or an RFC3339Nano time, at most


def digest(obj: Manifest) -> Digest:
    """The object without what no report asks for: metadata flattened to the top, spec and status trimmed by kind.

    Source of the fields: the API reference of Kubernetes 1.34 (core/v1, apps/v1, discovery/v1, policy/v1,
    autoscaling/v2). An unknown kind keeps its spec and status whole.
    """
    meta = obj.get("metadata") or {}
    kept = {
        "kind": obj.get("kind"),
        **{name: meta.get(name) for name in _META},
        "ownerReferences": [str(owner.get("name")) for owner in meta.get("ownerReferences") or ()],
    }
    trim = _BY_KIND.get(str(obj.get("kind")), _whole)
    return _without_nothing({**kept, **trim(obj)})


def stated_ns(obj: Manifest, reason: str) -> int | None:
    """The object's own time for what the event says, in ns since the Unix epoch; None when it states none.

    Events (the kind): eventTime, lastTimestamp, firstTimestamp. A deletion: when it was asked for, which is
    deletionTimestamp minus the grace period (how the API server's BeforeDelete sets the two). ADDED: creation.
    MODIFIED: the latest write that managedFields knows of, or the deletion, whichever is later.
    """
    meta = obj.get("metadata") or {}
    if obj.get("kind") == "Event":
        series = obj.get("series") or {}
        times = (obj.get("eventTime"), series.get("lastObservedTime"), obj.get("lastTimestamp"))
        known = [time for time in map(parse_time_ns, times) if time is not None]
        return max(known) if known else parse_time_ns(obj.get("firstTimestamp") or meta.get("creationTimestamp"))
    deletion = parse_time_ns(meta.get("deletionTimestamp"))
    if deletion is not None:
        deletion -= int(meta.get("deletionGracePeriodSeconds") or 0) * 1_000_000_000
    if reason == DELETED:
        return deletion
    if reason == ADDED:
        return parse_time_ns(meta.get("creationTimestamp"))
    written = [parse_time_ns(entry.get("time")) for entry in meta.get("managedFields") or ()]
    return max((time for time in (*written, deletion) if time is not None), default=None)


def parse_time_ns(text: object) -> int | None:
    """RFC 3339 as the API writes it, "2026-11-21T09:46:01Z" to nanoseconds; None for what is no such time."""
    if not isinstance(text, str) or len(text) < 20:
        return None
    whole, fraction = text[:19], ""
    rest = text[19:]
    if rest.startswith("."):
        digits = len(rest[1:]) - len(rest[1:].lstrip("0123456789"))
        fraction, rest = rest[1 : 1 + digits], rest[1 + digits :]
    try:
        moment = datetime.fromisoformat(whole + ("+00:00" if rest == "Z" else rest))
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return int(moment.astimezone(UTC).timestamp()) * 1_000_000_000 + int(fraction[:_GRAINS].ljust(_GRAINS, "0"))


def ref_of(obj: Manifest) -> Ref:
    """The name of a whole object."""
    meta = obj.get("metadata") or {}
    return Ref(str(obj.get("kind")), str(meta.get("name", "")), str(meta.get("namespace") or ""))


def watch_event(obj: Manifest, reason: str, observed_ns: int) -> Event:
    """The Event of one line of a watch."""
    return Event(observed_ns, "watch", ref_of(obj), reason, stated_ns(obj, reason), digest(obj))


def gap_event(kind: str, namespace: str, from_ns: int, to_ns: int, why: str) -> Event:
    """Says that nothing could be seen of a kind between two instants (ns since the Unix epoch), and why."""
    detail = {"from_ns": from_ns, "to_ns": to_ns, "text": why}
    return Event(to_ns, "watch", Ref(kind, "", namespace), GAP, None, detail)


def difference(known: Mapping[Ref, Event], listed: Iterable[Manifest], observed_ns: int) -> list[Event]:
    """What must have happened between what was last known and a fresh listing, in an order that can be true.

    known: the last event of every object that exists. Deletions come first; an object that was replaced under the
    same name gives DELETED and ADDED. How often an object changed in between cannot be known.
    """
    fresh = {ref_of(obj): obj for obj in listed}
    events: list[Event] = []
    arrived: list[Event] = []
    for ref, last in known.items():
        if ref not in fresh or (fresh[ref].get("metadata") or {}).get("uid") != last.detail.get("uid"):
            stated = stated_ns({"kind": ref.kind, "metadata": last.detail}, DELETED)
            events.append(Event(observed_ns, "watch", ref, DELETED, stated, last.detail))
    for ref, obj in fresh.items():
        before = known.get(ref)
        meta = obj.get("metadata") or {}
        if before is None or meta.get("uid") != before.detail.get("uid"):
            arrived.append(watch_event(obj, ADDED, observed_ns))
        elif meta.get("resourceVersion") != before.detail.get("resourceVersion"):
            arrived.append(watch_event(obj, MODIFIED, observed_ns))
    return events + arrived


_META = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def _whole(obj: Manifest) -> Digest:
    return {"spec": obj.get("spec"), "status": obj.get("status")}


def _pod(obj: Manifest) -> Digest:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    kept_spec = _only(spec, ("nodeName", "terminationGracePeriodSeconds", "restartPolicy"))
    kept_spec["images"] = {str(item.get("name")): item.get("image") for item in spec.get("containers") or ()}
    kept = _only(status, ("phase", "reason", "message", "podIP", "hostIP", "startTime"))
    kept["conditions"] = _conditions(status)
    kept["containerStatuses"] = [
        _only(item, ("name", "ready", "started", "restartCount", "state", "lastState", "resources"))
        for item in status.get("containerStatuses") or ()
    ]
    return {"spec": kept_spec, "status": _without_nothing(kept)}


def _endpoint_slice(obj: Manifest) -> Digest:
    meta = obj.get("metadata") or {}
    return {
        "service": (meta.get("labels") or {}).get(SERVICE_NAME),
        "triggerTime": (meta.get("annotations") or {}).get(TRIGGER_TIME),
        "endpoints": [
            _without_nothing(
                {
                    "addresses": item.get("addresses"),
                    "conditions": item.get("conditions"),
                    "targetRef": _only(item.get("targetRef") or {}, ("name",)),
                    "nodeName": item.get("nodeName"),
                }
            )
            for item in obj.get("endpoints") or ()
        ],
        "ports": [_only(port, ("name", "port", "protocol")) for port in obj.get("ports") or ()],
    }


def _replicated(obj: Manifest) -> Digest:
    return {"spec": _only(obj.get("spec") or {}, ("replicas",)), "status": obj.get("status")}


def _event(obj: Manifest) -> Digest:
    kept = _only(obj, ("reason", "message", "type", "count", "reportingComponent", "firstTimestamp", "lastTimestamp"))
    involved = _only(obj.get("involvedObject") or {}, ("kind", "name", "uid"))
    source = (obj.get("source") or {}).get("component")
    return {
        **kept,
        "reportingComponent": kept.get("reportingComponent") or source,
        "eventTime": obj.get("eventTime"),
        "involvedObject": involved,
    }


def _node(obj: Manifest) -> Digest:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = [item for item in _conditions(status) if item.get("type") == "Ready"]
    return {"spec": _only(spec, ("unschedulable", "taints")), "status": {"conditions": ready}}


_BY_KIND: dict[str, Callable[[Manifest], Digest]] = {
    "Pod": _pod,
    "EndpointSlice": _endpoint_slice,
    "Deployment": _replicated,
    "ReplicaSet": _replicated,
    "StatefulSet": _replicated,
    "Event": _event,
    "Node": _node,
    "Secret": lambda obj: {},
    "ConfigMap": lambda obj: {},
}


def _conditions(status: Mapping[str, Any]) -> list[Digest]:
    wanted = ("type", "status", "lastTransitionTime", "reason")
    return [_only(item, wanted) for item in status.get("conditions") or ()]


def _only(source: Mapping[str, Any], names: tuple[str, ...]) -> Digest:
    return {name: source[name] for name in names if source.get(name) is not None}


def _without_nothing(source: Mapping[str, Any]) -> Digest:
    return {name: value for name, value in source.items() if value not in (None, [], {}, "")}


__all__ = [
    "ADDED",
    "DELETED",
    "GAP",
    "MODIFIED",
    "Digest",
    "difference",
    "digest",
    "gap_event",
    "parse_time_ns",
    "ref_of",
    "stated_ns",
    "watch_event",
]

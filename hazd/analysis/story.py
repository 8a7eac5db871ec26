"""What happened to each pod and node, read out of a trial's events: the facts that the rules argue from.

All times are `_ns` of the controller's clock; None means "not seen", never "did not happen". A digest may be nested
like the Kubernetes object or flattened to its leaf names; both are read. Nothing here looks at a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hazd.model import Event

WORKER_LABEL = "hazd-worker"
"""The `app` label of hazd's own traffic pods, which are no part of the workload."""
CONTROL_LABEL = "hazd-control"
"""The `app` label of the control target's pod and the name of its Service, which are none either."""
OBSERVER_LABEL = "hazd-observer"
"""The `app` label of the observers' pods."""
_OWN = (WORKER_LABEL, CONTROL_LABEL, OBSERVER_LABEL)
KILLED = 137
"""The exit code of a process that got SIGKILL (128 + 9)."""
Span = tuple[int, int | None]
"""From, to (None: still so at the end of the record)."""


@dataclass(slots=True)
class PodLife:
    """One pod. ready and serving: spans in which an EndpointSlice listed it so; condition: its own Ready condition.

    existed: it was there before the trial began to watch. deleted_ns: a deletionTimestamp was first seen.
    exited_ns: its process ended, by its own log; terminated_ns: the kubelet reported its container ended (later).
    gone_ns: the object left the API. cpu: its container's request, as the kubelet has applied it; resized_ns: a change.
    """

    name: str
    node: str = ""
    ip: str = ""
    existed: bool = False
    created_ns: int | None = None
    started_ns: int | None = None
    listening_ns: int | None = None
    deleted_ns: int | None = None
    sigterm_ns: int | None = None
    exited_ns: int | None = None
    terminated_ns: int | None = None
    gone_ns: int | None = None
    exit_code: int | None = None
    restarts: int = 0
    cpu: str = ""
    resized_ns: int | None = None
    has_log: bool = False
    on_sigterm: str = ""
    ready: list[Span] = field(default_factory=list)
    serving: list[Span] = field(default_factory=list)
    condition: list[Span] = field(default_factory=list)

    @property
    def end_ns(self) -> int | None:
        """When it began to be unable to answer: its process ended, or it was seen no more."""
        for at_ns in (self.exited_ns, self.terminated_ns, self.gone_ns):
            if at_ns is not None:
                return at_ns
        return None

    @property
    def added_ns(self) -> int | None:
        """When an EndpointSlice first listed it ready."""
        return self.ready[0][0] if self.ready else None

    @property
    def removed_ns(self) -> int | None:
        """When an EndpointSlice last stopped listing it ready; None while it is listed."""
        return self.ready[-1][1] if self.ready else None


@dataclass(slots=True)
class NodeLife:
    """One node. lost: spans from the scenario's stop to its start; unready: as the API said."""

    name: str
    unready: list[Span] = field(default_factory=list)
    lost: list[Span] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ClockMeasure:
    """ns to add to a pod's own times, as measured by round trips (half the shortest bounds the error)."""

    offset_ns: int
    uncertainty_ns: int


@dataclass(slots=True)
class Story:
    """pods: of the workload only, in order of appearance. gaps: spans without a watch, and the kind watched.

    budgets: PodDisruptionBudget -> the most pods that it was ever seen to expect. control_ready: spans in which the
    control target's endpoint was ready. clocks: pod -> measurements, in order. watched: kind -> events of its watch.
    """

    pods: dict[str, PodLife] = field(default_factory=dict)
    nodes: dict[str, NodeLife] = field(default_factory=dict)
    gaps: list[tuple[int, int, str]] = field(default_factory=list)
    warnings: list[tuple[int, str]] = field(default_factory=list)
    stages: list[tuple[int, str]] = field(default_factory=list)
    budgets: dict[str, int] = field(default_factory=dict)
    control_ready: list[Span] = field(default_factory=list)
    clocks: dict[str, list[ClockMeasure]] = field(default_factory=dict)
    watched: dict[str, int] = field(default_factory=dict)

    def no_endpoint_spans(self) -> list[Span]:
        """Spans in which no pod was listed ready, nor serving while it terminates (KEP-1669), though once one was."""
        return _holes([span for pod in self.pods.values() for span in pod.ready + pod.serving])


def look(detail: Mapping[str, Any], path: str) -> Any:
    """What the digest has at a dotted path, None when it has nothing there."""
    found: Any = detail
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def read_story(events: Sequence[Event], meta: Mapping[str, Any]) -> Story:
    """Fold the events of a trial, in their order, into pods' and nodes' lives."""
    story = Story()
    workers = {str(item.get("pod", "")) for item in meta.get("workers", ())}
    tested = meta.get("workload") or {}  # runs of before 2026-11-21 lack it; all other pods were the sample's then
    labels, front = tested.get("labels") or {}, tested.get("service")
    namespace = str(meta.get("namespace", ""))
    start_ns = (meta.get("phases") or {}).get("traffic_start_ns")
    story.clocks = _measured_clocks(events)
    clocks = _app_clocks(events, story.clocks, meta)
    slices: dict[str, dict[str, tuple[bool, bool]]] = {}
    for event in events:
        kind, name = event.ref.kind, event.ref.name
        if event.source == "watch" and event.reason != "GAP":
            story.watched[kind] = story.watched.get(kind, 0) + 1
        if event.source == "watch" and event.reason == "GAP":
            since, until = look(event.detail, "from_ns"), look(event.detail, "to_ns")
            last_ns = max(events[-1].observed_ns, event.observed_ns)  # a watch that ended for good: until the end
            story.gaps.append((int(since or event.observed_ns), int(until or last_ns), kind))
        elif event.source == "stage":
            text = str(look(event.detail, "text") or f"{event.reason} {event.ref}")
            story.stages.append((event.observed_ns, text))
            _stage(story, event)
        elif event.source == "app":
            if name not in workers:
                _app(story.pods.setdefault(name, PodLife(name)), event, clocks.get(name, 0))
        elif event.source != "watch" or (namespace and event.ref.namespace not in ("", namespace)):
            continue
        elif kind == "Pod" and name not in workers and _is_tested(event.detail, labels):
            if name not in story.pods:
                existed = event.reason == "ADDED" and start_ns is not None and event.observed_ns < start_ns
                story.pods[name] = PodLife(name, existed=existed, created_ns=event.observed_ns)
            _pod(story.pods[name], event, str(tested.get("container") or ""))
        elif kind == "EndpointSlice" and _is_front(look(event.detail, "service"), front):
            slices[name] = {} if event.reason == "DELETED" else _endpoints(event.detail)
            _listed(story, slices, event.observed_ns)
        elif kind == "EndpointSlice" and look(event.detail, "service") == CONTROL_LABEL:
            ready = event.reason != "DELETED" and any(state[0] for state in _endpoints(event.detail).values())
            _switch(story.control_ready, ready, event.observed_ns)
        elif kind == "Node":
            _node(story.nodes.setdefault(name, NodeLife(name)), event)
        elif kind == "PodDisruptionBudget":
            expected = int(look(event.detail, "status.expectedPods") or 0)
            story.budgets[name] = max(expected, story.budgets.get(name, 0))
        elif kind == "Event" and look(event.detail, "type") == "Warning":
            words = f"{look(event.detail, 'reason') or ''}: {look(event.detail, 'message') or ''}"
            story.warnings.append((event.observed_ns, words))
    story.pods = {name: pod for name, pod in story.pods.items() if _is_workload(pod)}
    return story


def _is_tested(detail: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a pod has the labels of the workload under test; a digest without any label is not held against it."""
    own = look(detail, "labels") or {}
    return own.get("app") not in _OWN and (not own or labels.items() <= own.items())


def _is_front(service: Any, front: Any) -> bool:
    """Whether an EndpointSlice of this Service says how the workload under test is reached; one unnamed may."""
    return service is None or (service == front if front else service not in _OWN)


def _is_workload(pod: PodLife) -> bool:
    return bool(pod.ready or pod.serving or pod.has_log or pod.node or pod.ip or pod.condition or pod.created_ns)


def _measured_clocks(events: Iterable[Event]) -> dict[str, list[ClockMeasure]]:
    found: dict[str, list[ClockMeasure]] = {}
    for event in events:
        if event.source == "hazd" and event.reason == "clock":
            measure = ClockMeasure(int(event.detail["offset_ns"]), int(event.detail["uncertainty_ns"]))
            found.setdefault(event.ref.name, []).append(measure)
    return found


def _app_clocks(
    events: Sequence[Event], measured: Mapping[str, Sequence[ClockMeasure]], meta: Mapping[str, Any]
) -> dict[str, int]:
    """ns to add to each pod's stated times: as measured, else as measured of its node, else as its log lines allow.

    A container has its node's clock, so another pod's or a worker's measurement holds for it too. Where there is none,
    a line cannot be seen before it was written, nor does every one come late: the smallest delay seen of a pod is taken
    as the error of its clock when it is negative or above 2 s.
    """
    nodes: dict[str, str] = {}
    delays: dict[str, int] = {}
    for event in events:
        if event.source == "app" and event.stated_ns is not None:
            delay = event.observed_ns - event.stated_ns
            delays[event.ref.name] = min(delay, delays.get(event.ref.name, delay))
        elif event.ref.kind == "Pod" and (node := look(event.detail, "spec.nodeName")):
            nodes[event.ref.name] = str(node)
    of_node = {
        str(item["node"]): int(item.get("offset_ns") or 0) for item in meta.get("workers", ()) if item.get("node")
    }
    own = {pod: _settled_ns(items[0]) for pod, items in measured.items()}
    of_node |= {nodes[pod]: offset_ns for pod, offset_ns in own.items() if pod in nodes}
    found = {pod: delay for pod, delay in delays.items() if delay < 0 or delay > 2_000_000_000}
    found |= {pod: of_node[nodes[pod]] for pod in delays if nodes.get(pod) in of_node}
    return found | own


def _settled_ns(measure: ClockMeasure) -> int:
    """Within what the round trip leaves open one clock is the likelier truth than a difference."""
    return measure.offset_ns if abs(measure.offset_ns) > measure.uncertainty_ns else 0


def _app(pod: PodLife, event: Event, offset_ns: int) -> None:
    at_ns = event.observed_ns if event.stated_ns is None else event.stated_ns + offset_ns
    pod.has_log = True
    match event.reason:
        case "started":
            pod.started_ns = at_ns
            if pod.exited_ns is not None:  # the container was started again in the same pod
                pod.restarts += 1
                pod.listening_ns = pod.exited_ns = pod.terminated_ns = pod.sigterm_ns = None
        case "listening":
            pod.listening_ns = at_ns
        case "sigterm":
            pod.sigterm_ns = at_ns
            pod.on_sigterm = str(look(event.detail, "on_sigterm") or "")
        case "exit":
            pod.exited_ns = at_ns
        case _:
            pass


def _pod(pod: PodLife, event: Event, container: str = "") -> None:
    """container: the one that serves; what becomes of a sidecar says nothing of it. "" in journals of one container."""
    detail, at_ns = event.detail, event.observed_ns
    if event.reason == "DELETED":
        pod.gone_ns = at_ns
        _switch(pod.condition, False, at_ns)
        if pod.deleted_ns is None:
            pod.deleted_ns = at_ns
        return
    pod.node = str(look(detail, "spec.nodeName") or pod.node)
    pod.ip = str(look(detail, "status.podIP") or pod.ip)
    if pod.deleted_ns is None and look(detail, "deletionTimestamp"):
        pod.deleted_ns = at_ns
    _switch(pod.condition, _condition(detail, "Ready") == "True", at_ns)
    for status in look(detail, "status.containerStatuses") or ():
        if container and status.get("name", container) != container:
            continue
        cpu = str(look(status, "resources.requests.cpu") or "")
        if pod.cpu and cpu and cpu != pod.cpu:
            pod.resized_ns = at_ns
        pod.cpu = cpu or pod.cpu
        terminated = look(status, "state.terminated")
        if terminated and pod.terminated_ns is None:
            pod.terminated_ns = at_ns
            pod.exit_code = look(terminated, "exitCode")
        pod.restarts = max(pod.restarts, int(look(status, "restartCount") or 0))


def _condition(detail: Mapping[str, Any], name: str) -> str:
    conditions = look(detail, "status.conditions") or ()
    return next((str(item.get("status", "")) for item in conditions if item.get("type") == name), "")


def _node(node: NodeLife, event: Event) -> None:
    status = _condition(event.detail, "Ready")
    if status or event.reason == "DELETED":
        _switch(node.unready, status != "True" or event.reason == "DELETED", event.observed_ns)


def _stage(story: Story, event: Event) -> None:
    if event.ref.kind == "Node" and event.reason in ("stop-node", "start-node"):
        node = story.nodes.setdefault(event.ref.name, NodeLife(event.ref.name))
        _switch(node.lost, event.reason != "start-node", event.observed_ns)


def _endpoints(detail: Mapping[str, Any]) -> dict[str, tuple[bool, bool]]:
    """Pod name -> (ready, serving while terminating) of one slice. A missing `ready` means ready (discovery/v1 API)."""
    found: dict[str, tuple[bool, bool]] = {}
    for endpoint in look(detail, "endpoints") or ():
        name = str(look(endpoint, "targetRef.name") or "")
        conditions = look(endpoint, "conditions") or {}
        ready = conditions.get("ready") is not False
        last_resort = bool(conditions.get("serving")) and bool(conditions.get("terminating"))
        before = found.get(name, (False, False))
        found[name] = (ready or before[0], (last_resort and not ready) or before[1])
    found.pop("", None)
    return found


def _listed(story: Story, slices: Mapping[str, Mapping[str, tuple[bool, bool]]], at_ns: int) -> None:
    now: dict[str, tuple[bool, bool]] = {}
    for endpoints in slices.values():
        for name, (ready, serving) in endpoints.items():
            before = now.get(name, (False, False))
            now[name] = (ready or before[0], serving or before[1])
    for name in now.keys() - story.pods.keys():
        story.pods[name] = PodLife(name)
    for name, pod in story.pods.items():
        ready, serving = now.get(name, (False, False))
        _switch(pod.ready, ready, at_ns)
        _switch(pod.serving, serving and not ready, at_ns)


def _switch(spans: list[Span], on: bool, at_ns: int) -> None:
    """Open or close the last span; no change when it is so already."""
    opened = bool(spans) and spans[-1][1] is None
    if on and not opened:
        spans.append((at_ns, None))
    elif opened and not on:
        spans[-1] = (spans[-1][0], at_ns)


def _holes(spans: list[Span]) -> list[Span]:
    """What a set of spans leaves uncovered from the first one's start on."""
    holes: list[Span] = []
    covered: int | None = None
    opened = False
    for start, end in sorted(spans, key=lambda span: span[0]):
        if covered is not None and not opened and start > covered:
            holes.append((covered, start))
        if end is None:
            opened = True
        elif covered is None or end > covered:
            covered = end
    if covered is not None and not opened:
        holes.append((covered, None))
    return holes


__all__ = [
    "CONTROL_LABEL",
    "KILLED",
    "WORKER_LABEL",
    "ClockMeasure",
    "NodeLife",
    "PodLife",
    "Span",
    "Story",
    "look",
    "read_story",
]

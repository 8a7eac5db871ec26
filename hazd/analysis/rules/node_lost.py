"""The pod's node went away without notice: its pods stay listed until the node is found out.

The node controller waits node-monitor-grace-period (50 s by default, 40 s before Kubernetes 1.32) for a heartbeat, then
marks the node and its pods not ready; only then does an EndpointSlice drop them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, S, Suspect, within
from hazd.analysis.story import PodLife
from hazd.model import FailureKind

NAME = "node_lost"
TITLE = "sent to a node that was gone"
CURED_BY = ("anti-affinity",)


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    gone = (failed.kind != FailureKind.BAD_STATUS) & (failed.kind != FailureKind.OTHER)
    for pod in case.story.pods.values():
        span = case.lost_span(pod)
        if span is None:
            continue
        lost_ns, back_ns = span
        dropped = [end for start, end in pod.ready if end is not None and end >= lost_ns]
        scores = 3.0 * gone * within(failed.done_ns, lost_ns, None, before_s=0.2) * case.sent_to(pod)
        scores = scores * within(failed.sent_ns, 0, back_ns, after_s=5.0)
        if np.any(scores > 0):
            yield Suspect(pod.name, scores, _explain(case, pod, lost_ns, dropped[0] if dropped else None))


def _explain(case: Case, pod: PodLife, lost_ns: int, dropped_ns: int | None) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        evidence = [f"node {pod.node} was lost at {case.at(lost_ns)}"]
        if dropped_ns is None:
            evidence.append(f"no EndpointSlice ever dropped {pod.name}")
            return f"node {pod.node} was lost, its pod never left the endpoints", tuple(evidence)
        evidence.append(f"an EndpointSlice dropped {pod.name} at {case.at(dropped_ns)}")
        return f"node {pod.node} lost, noticed {(dropped_ns - lost_ns) / S:.1f} s later", tuple(evidence)

    return explain

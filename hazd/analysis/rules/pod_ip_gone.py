"""No route or a timeout in connect: the pod's address was gone while a node's rules still sent to it.

Both kinds are one cause: the node asks for the dead address by ARP, fails after about 3 s, and the kernel limits the
"host unreachable" answers it then sends to about one a second per peer (icmp_ratelimit), so most clients see silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, S, Suspect, within
from hazd.analysis.story import PodLife
from hazd.model import FailureKind, Phase

NAME = "pod_ip_gone"
TITLE = "sent to a pod whose address was gone"
CURED_BY = ("prestop",)


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    silent = (failed.kind == FailureKind.NO_ROUTE) | (failed.kind == FailureKind.TIMEOUT)
    connecting = silent & (failed.phase == Phase.CONNECT)
    stranded = silent & ~failed.new  # a kept connection to an address that is no more
    for pod in case.story.pods.values():
        end_ns = pod.end_ns
        if end_ns is None or pod.deleted_ns is None:
            continue
        # a SYN sent just before the end may still be lost when the address vanishes under it
        scores = connecting * within(failed.sent_ns, end_ns, None, before_s=0.1)
        known = (failed.peer == pod.name) & (failed.done_ns >= end_ns)
        scores = np.where(stranded, known, scores * case.sent_to(pod))
        scores = np.where(case.known(pod), connecting & (failed.done_ns >= end_ns), scores)
        if case.lost_span(pod) is not None:
            scores = scores * 0.1
        if np.any(scores > 0):
            yield Suspect(pod.name, scores, _explain(case, pod, end_ns))


def _explain(case: Case, pod: PodLife, end_ns: int) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        last_ns = int(case.failed.sent_ns[positions].max())
        evidence = [f"{pod.name}'s process ended at {case.at(end_ns)}, and its address with it"]
        if pod.removed_ns is not None:
            evidence.append(f"its EndpointSlice dropped it at {case.at(pod.removed_ns)}")
        evidence.append(f"{case.where(positions)} still sent to it at {case.at(last_ns)}")
        if case.fell_back(positions):
            evidence.append("no pod was ready, so the rules fell back to terminating ones (KEP-1669)")
            return "gone, but no pod was ready", tuple(evidence)
        lag_s = (last_ns - end_ns) / S
        if lag_s < 0.05:
            return "gone as the request was under way", tuple(evidence)
        return f"gone {lag_s:.1f} s before {case.where(positions)} forgot it", tuple(evidence)

    return explain

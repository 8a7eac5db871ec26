"""Refused by the node itself: no pod was ready anywhere, so the Service had nowhere to send to.

kube-proxy answers for a Service without endpoints with a REJECT rule (ICMP port unreachable, ECONNREFUSED at the
client); terminating pods that still serve are used before that (KEP-1669).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, S, Suspect, within
from hazd.model import FailureKind, Phase

NAME = "no_endpoints"
TITLE = "no pod was ready anywhere"
_LONGEST_LAG_S = 15
CURED_BY = ("anti-affinity", "pdb", "readiness")


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    # some data planes answer with "host unreachable" instead, which a vanished address does as well
    rejected = (failed.kind == FailureKind.REFUSED) + 0.3 * (failed.kind == FailureKind.NO_ROUTE)
    rejected = rejected * (failed.phase == Phase.CONNECT)
    for start_ns, end_ns in case.story.no_endpoint_spans():
        bare = np.where(case.routing.empty(failed.worker, failed.sent_ns), 1.0, 0.05)
        last_ns = None if end_ns is None else end_ns + _LONGEST_LAG_S * S
        fits = rejected * bare * within(failed.sent_ns, start_ns, last_ns, before_s=0.3)
        scores = np.where(case.rejected, np.minimum(fits * 1000.0, 1.0), fits) * (failed.peer == "")
        if np.any(scores > 0):
            yield Suspect("", scores, _explain(case, start_ns, end_ns))


def _explain(case: Case, start_ns: int, end_ns: int | None) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        if end_ns is None:
            return "no pod was ready any more", (f"no EndpointSlice listed a ready pod from {case.at(start_ns)} on",)
        length_s = (end_ns - start_ns) / S
        span = f"from {case.at(start_ns)} to {case.at(end_ns)}"
        return f"no pod was ready for {length_s:.1f} s", (f"no EndpointSlice listed a ready pod {span}",)

    return explain

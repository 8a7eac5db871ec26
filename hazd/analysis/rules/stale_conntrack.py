"""No route or timeouts while no pod was in transition: the node still maps a reused source port to a pod long dead.

conntrack keeps the translation of a finished connection for up to two minutes (nf_conntrack_tcp_timeout_time_wait);
a client that takes the same source port meanwhile is sent where the old connection went, whatever the rules now say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, Suspect, within
from hazd.model import FailureKind, Phase

NAME = "stale_conntrack"
TITLE = "an old connection-tracking entry led to a dead pod"
CURED_BY = ()


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    silent = (failed.kind == FailureKind.NO_ROUTE) | (failed.kind == FailureKind.TIMEOUT)
    silent = silent & (failed.phase == Phase.CONNECT) & failed.new
    if not silent.any():
        return
    moving = np.zeros(len(failed))
    for pod in case.story.pods.values():
        if (end_ns := pod.end_ns) is not None:
            last_ns = max(end_ns, pod.removed_ns or end_ns)
            moving = np.maximum(moving, within(failed.sent_ns, end_ns, last_ns, before_s=0.5, after_s=3.0))
        if (lost := case.lost_span(pod)) is not None:
            moving = np.maximum(moving, within(failed.sent_ns, *lost, before_s=0.5, after_s=10.0))
    scores = 0.3 * silent * (1.0 - moving)
    for position in case.reused_ports:
        scores[position] = 5.0
    yield Suspect("", scores, _explain(case))


def _explain(case: Case) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        earlier = [case.reused_ports[position] for position in positions.tolist() if position in case.reused_ports]
        if not earlier:
            return "stale connection tracking", ("no endpoint was being removed then",)
        first = min(use.sent_ns for use in earlier)
        pods = sorted({use.pod for use in earlier} - {""})
        where = f"pod(s) {', '.join(pods)}, now gone" if pods else "a pod that was gone"
        evidence = (
            f"{len(earlier)} of them left from a source port that had led to {where}, at {case.at(first)} or later",
            "the node kept that connection in its conntrack table, so the rules of the moment were not asked",
        )
        return "stale connection tracking: source port used again", evidence

    return explain

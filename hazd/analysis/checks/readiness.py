"""Was any pod listed ready before its process listened? Then the probe does not ask what it ought to."""

from __future__ import annotations

from collections.abc import Iterator

from hazd.analysis.case import Case, S

FIX = "readiness"
_SLACK_NS = S // 20


def problems(case: Case) -> Iterator[str]:
    early = [
        (pod.listening_ns - pod.added_ns, pod.name)
        for pod in case.story.pods.values()
        if pod.listening_ns is not None
        and pod.added_ns is not None
        and not pod.restarts
        and pod.added_ns + _SLACK_NS < pod.listening_ns
    ]
    if early:
        lead_ns, name = max(early)
        yield f"{len(early)} pod(s) were listed ready before they listened, {name} by {lead_ns / S:.1f} s"

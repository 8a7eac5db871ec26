"""Refused by a pod that was in the rules before its process listened: no readinessProbe, or one that says yes early.

Without a probe a container counts as ready once it runs (Pod lifecycle, "readiness ... default state is Success"), and
its endpoint is published while the app still starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, S, Suspect, within
from hazd.model import FailureKind, Phase

NAME = "not_listening_yet"
TITLE = "sent to a pod that did not listen yet"
CURED_BY = ("readiness",)
_NOTICED_NS = 20_000_000
"""A log line may be written that much before the socket takes connections, or be stamped that much later."""


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    refused = (failed.kind == FailureKind.REFUSED) & (failed.phase == Phase.CONNECT)
    # a timeout here is a SYN to a pod whose network was not up yet: rare, but nothing else explains it so early
    fits = refused * 1.0 + 0.2 * ((failed.kind == FailureKind.TIMEOUT) & (failed.phase == Phase.CONNECT))
    for pod in case.story.pods.values():
        added_ns, listening_ns = pod.added_ns, case.listening_ns(pod)
        known = case.known(pod)
        if added_ns is None or (pod.existed and not pod.restarts):
            continue
        if listening_ns is not None and listening_ns <= added_ns and not known.any():
            continue  # it listened before anyone could be sent to it
        certain = 1.0 if listening_ns is not None else 0.4
        end_ns = listening_ns
        # by when it was sent: a starved client may notice the refusal long after the kernel had it
        late = within(failed.sent_ns, 0, end_ns, after_s=0.02)
        early = within(failed.sent_ns, added_ns, None, before_s=0.3)
        scores = certain * fits * early * late * case.sent_to(pod)
        # the kernel names the pod: that it refused before it listened is all there is to know
        until_ns = listening_ns if listening_ns is not None else pod.deleted_ns
        before = failed.sent_ns <= until_ns + _NOTICED_NS if until_ns is not None else True
        connecting = (failed.kind != FailureKind.OTHER) & (failed.phase == Phase.CONNECT)
        scores = np.where(known, connecting & before, scores)
        if np.any(scores > 0):
            yield Suspect(pod.name, scores, _explain(case, pod.name, added_ns, listening_ns))


def _explain(case: Case, name: str, added_ns: int, listening_ns: int | None) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        evidence = [f"an EndpointSlice listed {name} ready at {case.at(added_ns)}"]
        if listening_ns is None and case.requests.unidentified:
            evidence.append("nothing says when it began to listen: it has no readinessProbe, no response names its pod")
        elif listening_ns is None:
            evidence.append(f"{name} never answered")
        else:
            early_s = (listening_ns - added_ns) / S
            evidence.append(f"it listened from {case.at(listening_ns)} on, {early_s:.2f} s later")
        return "not ready yet", tuple(evidence)

    return explain

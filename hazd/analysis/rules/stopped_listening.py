"""Refused by a pod whose process had stopped listening while a node's rules still sent to it.

Deletion and removal from the rules run side by side (Pod termination: the kubelet stops the container while the
EndpointSlice controller and every kube-proxy act in their own time). preStop keeps the process alive meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, Suspect, within
from hazd.analysis.story import PodLife
from hazd.model import FailureKind, Phase

NAME = "stopped_listening"
TITLE = "sent to a pod that had stopped listening"
CURED_BY = ("prestop",)
_SLOW_TEARDOWN = 0.05
"""How likely it is that the address of a pod stayed much longer than those of the others."""
_MAY_HAVE_CLOSED = 0.4
"""As likely as not_listening_yet takes a new pod of which nothing is known not to listen yet."""


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    refused = (failed.kind == FailureKind.REFUSED) & (failed.phase == Phase.CONNECT)
    for pod in case.story.pods.values():
        closed_ns, end_ns = _closed_ns(pod), pod.end_ns
        if closed_ns is None:
            continue
        scores = refused * within(failed.done_ns, closed_ns, None) * case.sent_to(pod)
        if pod.deleted_ns is not None and end_ns is not None:
            refuses = within(failed.sent_ns, 0, end_ns, after_s=case.routing.address_s)
            scores = scores * np.maximum(refuses, _SLOW_TEARDOWN)
        if case.requests.unidentified and end_ns is not None:
            # no log says whether it closed its listener at SIGTERM; when its process has ended it certainly has
            scores = scores * np.where(failed.done_ns < end_ns, _MAY_HAVE_CLOSED, 1.0)
        # the kernel names the pod: that it refused after this moment is all there is to know
        listening_ns = case.listening_ns(pod)
        after = (failed.done_ns >= closed_ns) & (failed.sent_ns >= (listening_ns or 0))
        scores = np.where(case.known(pod), refused & after, scores)
        if np.any(scores > 0):
            yield Suspect(pod.name, scores, _explain(case, pod, closed_ns))


def _closed_ns(pod: PodLife) -> int | None:
    """When it may have stopped listening: at SIGTERM at the earliest, since an app may close its listener there."""
    if pod.sigterm_ns is not None and pod.on_sigterm != "ignore":
        return pod.sigterm_ns
    if pod.end_ns is not None and pod.exited_ns is None and pod.deleted_ns is not None:
        return pod.deleted_ns  # no log of its own: the kubelet begins at the deletion
    return pod.end_ns


def _explain(case: Case, pod: PodLife, closed_ns: int) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        last_ns = int(case.failed.sent_ns[positions].max())
        unidentified = case.requests.unidentified
        if pod.sigterm_ns is not None:
            began = f"{pod.name} got SIGTERM at {case.at(pod.sigterm_ns)}"
        else:
            began = f"{pod.name} {'was deleted' if unidentified else 'stopped'} at {case.at(closed_ns)}"
        evidence = [began]
        if pod.end_ns is not None:
            evidence.append(f"its process was gone at {case.at(pod.end_ns)}")
        if pod.removed_ns is not None:
            evidence.append(f"its EndpointSlice dropped it at {case.at(pod.removed_ns)}")
        still = "may still have sent" if unidentified else "still sent"
        evidence.append(f"{case.where(positions)} {still} to it at {case.at(last_ns)}")
        if pod.deleted_ns is None:
            return "its process had ended, nobody had deleted the pod", tuple(evidence)
        if case.fell_back(positions):
            evidence.append("no pod was ready, so the rules fell back to terminating ones (KEP-1669)")
            return "already shut down, but no pod was ready", tuple(evidence)
        alive = unidentified and pod.end_ns is not None and last_ns < pod.end_ns
        return "shutting down" if alive else "already shut down", tuple(evidence)

    return explain

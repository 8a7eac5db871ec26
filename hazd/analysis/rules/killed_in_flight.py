"""The pod had the request, and its process ended before it answered: an app that exits at SIGTERM, or a kill.

RFC 9293 3.10.7: a closed or killed process resets what it had not read (RST) and ends the rest (FIN), so the client
sees a reset or an end of file in the middle of its request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, S, Suspect, within
from hazd.analysis.story import PodLife
from hazd.model import FailureKind, Phase

NAME = "killed_in_flight"
TITLE = "the pod ended with the request in hand"
CURED_BY = ("graceful-shutdown", "prestop")


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    torn = (failed.kind == FailureKind.RESET) | (failed.kind == FailureKind.EOF)
    torn = torn * 1.0 + 0.5 * ((failed.kind == FailureKind.TIMEOUT) & (failed.phase != Phase.CONNECT))
    for pod in case.story.pods.values():
        end_ns = pod.end_ns
        if end_ns is None:
            continue
        # its log line, or the kubelet's report, may come a little after the socket died
        slack_s = 0.05 if pod.exited_ns is not None else 0.5
        spans_end = within(failed.done_ns, end_ns, None, before_s=slack_s)
        # a new connection may still be taken into the backlog of a process that has just said that it exits
        sent = within(failed.sent_ns, 0, end_ns, after_s=0.03)
        spans_end = spans_end * np.where(failed.new, sent, within(failed.sent_ns, 0, end_ns, after_s=0.002))
        scores = torn * spans_end * np.maximum(case.sent_to(pod), 0.3 * case.peer_fits(pod))
        # the kernel names the pod: a backlog takes connections until the process has really closed its socket
        scores = np.where(case.known(pod), (torn > 0) & (failed.done_ns >= end_ns - slack_s * S), scores)
        if case.lost_span(pod) is not None:
            scores = scores * 0.1
        if np.any(scores > 0):
            yield Suspect(pod.name, scores, _explain(case, pod, end_ns))


def _explain(case: Case, pod: PodLife, end_ns: int) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        evidence = [f"{pod.name}'s process ended at {case.at(end_ns)}, between request and response"]
        if pod.sigterm_ns is not None:
            evidence.append(f"SIGTERM had come at {case.at(pod.sigterm_ns)}")
            return "exited with requests in hand", tuple(evidence)
        return "killed with requests in hand", tuple(evidence)

    return explain

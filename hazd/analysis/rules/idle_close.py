"""A living pod closed a kept connection just as the client used it again.

No pod transition is to blame: a server's keep-alive limit met a client that kept the connection longer (RFC 9112
9.3.1). It is distinguished so that it is not booked on a rollout that had nothing to do with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, S, Suspect
from hazd.model import FailureKind

NAME = "idle_close"
TITLE = "a living pod closed a kept connection"
CURED_BY = ()


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    torn = ((failed.kind == FailureKind.RESET) | (failed.kind == FailureKind.EOF)) & ~failed.new
    for pod in case.story.pods.values():
        closing_ns = pod.sigterm_ns if pod.sigterm_ns is not None else pod.end_ns
        alive = np.ones(len(failed), bool) if closing_ns is None else failed.done_ns < closing_ns - S // 2
        scores = 0.6 * (torn & alive & (failed.peer == pod.name))
        if case.lost_span(pod) is None and np.any(scores > 0):
            yield Suspect(pod.name, scores, _explain)


def _explain(positions: Any) -> tuple[str, tuple[str, ...]]:
    return "it closed the connection as it was used again", ("the pod lived on and answered on other connections",)

"""A kept connection whose pod had gone: the client wrote into it before it knew that it was closed.

RFC 9112 9.3.1 lets a server close an idle connection at any time; a client that does not send again sees each such
race as a failure. A server that answers "Connection: close" before it goes (graceful shutdown) avoids it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, S, Suspect, within
from hazd.analysis.story import PodLife
from hazd.model import FailureKind

NAME = "dead_connection"
TITLE = "a kept connection to a pod that had ended"
CURED_BY = ("graceful-shutdown", "recycle")


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    torn = ((failed.kind == FailureKind.RESET) | (failed.kind == FailureKind.EOF)) & ~failed.new
    for pod in case.story.pods.values():
        closing_ns = pod.sigterm_ns if pod.sigterm_ns is not None else pod.end_ns
        if closing_ns is None:
            continue
        known = (failed.peer == pod.name) * 1.0
        unknown = (failed.peer == "") * 0.3 * within(failed.sent_ns, 0, closing_ns + 10 * S, after_s=10.0)
        scores = torn * (known + unknown) * within(failed.sent_ns, closing_ns, None, before_s=0.005)
        if np.any(scores > 0):
            yield Suspect(pod.name, scores, _explain(case, pod, closing_ns))


def _explain(case: Case, pod: PodLife, closing_ns: int) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        workers, connections = case.failed.worker[positions].tolist(), case.failed.conn[positions].tolist()
        number = len(set(zip(workers, connections, strict=True)))
        evidence = (
            f"{pod.name} began to end at {case.at(closing_ns)}",
            f"{number} kept connection(s) to it were used once more",
        )
        return "its kept connections died with it", evidence

    return explain

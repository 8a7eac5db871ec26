"""A whole response with a status that was not expected: the pod, or a proxy before it, was there and said no."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, S, Suspect
from hazd.analysis.story import PodLife
from hazd.model import FailureKind

NAME = "bad_answer"
TITLE = "answered with an unexpected status"
CURED_BY = ()


def suspects(case: Case) -> Iterator[Suspect]:
    import numpy as np

    failed = case.failed
    bad = failed.kind == FailureKind.BAD_STATUS
    if not bad.any():
        return
    pods = case.story.pods
    for name in sorted(set(failed.peer[bad].tolist())):
        yield Suspect(name, 1.0 * (bad & np.asarray(failed.peer == name)), _explain(case, pods.get(name)))


def _explain(case: Case, pod: PodLife | None) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        counts = Counter(case.failed.status[positions].tolist())
        words = ", ".join(f"{number} x status {status}" for status, number in counts.most_common(3))
        first, last = int(case.failed.sent_ns[positions].min()), int(case.failed.sent_ns[positions].max())
        evidence = [f"{words}, sent between {case.at(first)} and {case.at(last)}"]
        if pod is not None and pod.sigterm_ns is not None and last >= pod.sigterm_ns:
            evidence.append(f"it had got SIGTERM at {case.at(pod.sigterm_ns)}")
            return "while it shut down", tuple(evidence)
        listening_ns = case.listening_ns(pod) if pod is not None else None
        if listening_ns is not None and last <= listening_ns + 2 * S:
            return "just after it started", tuple(evidence)
        return words, tuple(evidence)

    return explain

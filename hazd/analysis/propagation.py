"""How long a node's rules lag behind the EndpointSlice: the number a preStop has to outlast.

kube-proxy publishes how late it adds rules, and nothing about how late it removes them; here both are read off the
requests, as the moment from which a node's new connections go where the newer endpoints say (routing.py). The answer
is no finer than the distance of two requests (`grain_ms`), and a lag below 0 is shown as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hazd.analysis.case import Case
from hazd.analysis.stats import spread

_AT_MOST_NS = 60_000_000_000
_COARSEST_NS = 300_000_000
_FEW = 20


@dataclass(frozen=True)
class Lag:
    """One endpoint seen from one place. what: "removal" or "addition"; seen_ns: when the node's rules had it."""

    what: str
    pod: str
    vantage: str
    changed_ns: int
    seen_ns: int
    deleted_ns: int | None = None

    @property
    def lag_ms(self) -> float:
        return max(0.0, (self.seen_ns - self.changed_ns) / 1e6)


@dataclass(frozen=True)
class Propagation:
    lags: tuple[Lag, ...]
    grain_ms: float | None

    def of(self, what: str) -> list[float]:
        return [lag.lag_ms for lag in self.lags if lag.what == what]

    def contract(self) -> dict[str, Any]:
        found: dict[str, Any] = {what: spread(self.of(what)) for what in ("removal", "addition")}
        found["since_deletion"] = spread(self.since_deletion())
        return found | {"grain_ms": None if self.grain_ms is None else round(self.grain_ms, 1)}

    def since_deletion(self) -> list[float]:
        """ms from a pod's deletion, when its preStop hook begins, to the moment a node's rules had forgotten it."""
        removals = [lag for lag in self.lags if lag.what == "removal" and lag.deleted_ns is not None]
        return [max(0.0, (lag.seen_ns - (lag.deleted_ns or 0)) / 1e6) for lag in removals]


def measure_propagation(case: Case) -> Propagation:
    """Lag per endpoint that was added or removed after the origin, and vantage.

    Skipped: changes never taken up, those too far from any new connection to be timed, and terminating pods that
    were in the rules only because none was ready.
    """
    import numpy as np

    requests, routing = case.requests, case.routing
    if routing.slack_ns:
        return Propagation((), None)  # assumed there, not measured
    lags: list[Lag] = []
    intervals: list[float] = []
    changes = list(zip(routing.versions, routing.versions[1:], strict=False))
    for worker, starts in routing.starts.items():
        sent = np.sort(requests.sent_ns[requests.new & (requests.worker == worker)])
        if len(sent) > _FEW:
            intervals.append(float(np.median(np.diff(sent))) / 1e6)
        vantage = case.vantages.get(worker, f"worker {worker}")
        for (before, version), seen_ns in zip(changes, starts[1:].tolist(), strict=True):
            if version.at_ns < case.origin_ns or not _timed(sent, version.at_ns, seen_ns):
                continue
            removed = frozenset() if before.last_resort else before.pods - version.pods
            added = frozenset() if version.last_resort else version.pods - before.pods
            for pod in sorted(removed):
                # a pod that was dropped for another reason, and deleted later, says nothing of preStop
                deleted_ns = case.story.pods[pod].deleted_ns
                first = deleted_ns is not None and deleted_ns <= version.at_ns + _COARSEST_NS
                lags.append(Lag("removal", pod, vantage, version.at_ns, seen_ns, deleted_ns if first else None))
            lags.extend(Lag("addition", pod, vantage, version.at_ns, seen_ns) for pod in sorted(added))
    return Propagation(tuple(lags), float(np.median(intervals)) if intervals else None)


def _timed(sent: Any, changed_ns: int, seen_ns: int) -> bool:
    """Whether new connections were made often enough, from the change to the moment it showed, to time it."""
    import numpy as np

    if len(sent) <= _FEW or seen_ns - changed_ns > _AT_MOST_NS:
        return False
    since = int(np.searchsorted(sent, min(seen_ns, changed_ns)))
    until = int(np.searchsorted(sent, max(seen_ns, changed_ns)))
    if since == 0 or until == len(sent):
        return False
    return int(np.diff(sent[since - 1 : until + 1]).max()) <= _COARSEST_NS


__all__ = ["Lag", "Propagation", "measure_propagation"]

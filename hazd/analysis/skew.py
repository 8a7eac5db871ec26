"""How evenly requests are spread over the pods that could have answered them, at the end and over time.

Kept connections stay with the pod they were made to, so after a scale-out the new pods get nothing until connections
are established again; this is where that is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hazd.analysis.case import Case, S
from hazd.analysis.stats import gini, rounded


@dataclass(frozen=True)
class Skew:
    """stream "" = all. shares: bins x pods, the share of each bin's responses (NaN where nothing was answered).

    edges_s: the bins' left edges in seconds since the origin. last: share per pod in the last fifth of the traffic,
    over the pods that were listed ready all through it; gini and max_over_mean are of these.
    """

    stream: str
    pods: tuple[str, ...]
    edges_s: Any
    bin_s: float
    shares: Any
    last: dict[str, float]
    gini: float | None
    max_over_mean: float | None
    newcomers_share: float | None
    """The part of the last fifth's responses that came from pods born in the trial; None when there are none."""
    newcomers_even: float
    """What that part would be if every pod answered alike."""

    def contract(self) -> dict[str, Any]:
        return {
            "gini": rounded(self.gini, 3),
            "max_over_mean": rounded(self.max_over_mean, 2),
            "newcomers_share": rounded(self.newcomers_share, 4),
            "newcomers_even": rounded(self.newcomers_even, 4),
            "last": {pod: round(share, 4) for pod, share in self.last.items()},
        }


def measure_skew(case: Case, stream: str = "", bins: int = 60) -> Skew | None:
    """The shares of one stream's (or all) good responses; None when no response named its pod."""
    import numpy as np

    requests = case.requests
    mask = requests.ok & (requests.pod != "")
    if stream:
        mask &= requests.stream == stream
    good = np.flatnonzero(mask)
    if not len(good):
        return None
    sent, names = requests.sent_ns[good], requests.pod[good]
    first, last = int(sent.min()), int(sent.max()) + 1
    pods = _in_order(case, set(names.tolist()))
    edges = np.linspace(first, last, max(2, min(bins, len(good))) + 1)
    number = {name: index for index, name in enumerate(pods)}
    columns = np.array([number[name] for name in names.tolist()])
    counts, _, _ = np.histogram2d(sent, columns, bins=[edges, np.arange(len(pods) + 1) - 0.5])
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    since = last - (last - first) // 5
    late = names[sent >= since].tolist()
    # a pod that could have answered and never did is the very thing to be seen
    there = [name for name in case.story.pods if _listed(case, name, since, last)] or pods
    tally = {name: late.count(name) for name in there}
    total = sum(tally.values())
    newcomers = [name for name in there if (life := case.story.pods.get(name)) is not None and not life.existed]
    values = list(tally.values())
    mean = total / len(values) if values else 0
    return Skew(
        stream=stream,
        pods=tuple(pods),
        edges_s=(edges[:-1] - case.origin_ns) / S,
        bin_s=float(edges[1] - edges[0]) / S,
        shares=shares,
        last={name: count / total for name, count in tally.items()} if total else {},
        gini=gini(values),
        max_over_mean=max(values) / mean if mean else None,
        newcomers_share=sum(tally[name] for name in newcomers) / total if total and newcomers else None,
        newcomers_even=len(newcomers) / len(there) if there else 0.0,
    )


def _in_order(case: Case, names: set[str]) -> list[str]:
    """Pods by when they first were there, so that old and new ones stand together in a chart."""
    known: Sequence[str] = [name for name in case.story.pods if name in names]
    ranked = sorted(known, key=lambda name: (case.story.pods[name].created_ns or 0, name))
    return ranked + sorted(names - set(known))


def _listed(case: Case, name: str, start_ns: int, end_ns: int) -> bool:
    life = case.story.pods.get(name)
    return life is not None and any(
        since <= start_ns and (until is None or until >= end_ns) for since, until in life.ready
    )


__all__ = ["Skew", "measure_skew"]

"""Samples become outages: per worker and stream, each run of failed requests between two good ones.

A request is dated by when it was sent, since that is when the client needed the service. Only counting, no causes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hazd.analysis.requests import KINDS, Requests
from hazd.model import Outage


def find_outages(requests: Requests, vantages: Mapping[int, str]) -> list[Outage]:
    """All outages in order of their first failure. vantages: worker id -> what to call its place (its node)."""
    import numpy as np

    found: list[Outage] = []
    for worker in np.unique(requests.worker).tolist():
        mine = requests.worker == worker
        for stream in sorted(set(requests.stream[mine].tolist())):
            positions = np.flatnonzero(mine & (requests.stream == stream))
            positions = positions[np.argsort(requests.sent_ns[positions], kind="stable")]
            found.extend(_runs(requests, positions, vantages.get(worker, f"worker {worker}"), stream))
    return sorted(found, key=lambda outage: outage.first_failed_ns)


def _runs(requests: Requests, positions: Any, vantage: str, stream: str) -> list[Outage]:
    import numpy as np

    bad = ~requests.ok[positions]
    edges = np.diff(np.concatenate(([0], bad.astype(np.int8), [0])))
    sent, kinds = requests.sent_ns[positions], requests.kind[positions]
    runs: list[Outage] = []
    for first, end in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        counts = np.bincount(kinds[first:end], minlength=len(KINDS))
        runs.append(
            Outage(
                vantage=vantage,
                stream=stream,
                last_good_ns=int(sent[first - 1]) if first else None,
                first_failed_ns=int(sent[first]),
                last_failed_ns=int(sent[end - 1]),
                first_good_ns=int(sent[end]) if end < len(sent) else None,
                requests=end - first,
                failures={name: int(counts[code]) for code, name in enumerate(KINDS) if counts[code]},
            )
        )
    return runs


__all__ = ["find_outages"]

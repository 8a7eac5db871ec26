"""Was any connection used for more requests than recycling allows?"""

from __future__ import annotations

from collections.abc import Iterator

from hazd.analysis.case import Case

FIX = "recycle"
_IN_FLIGHT = 2
"""A request that is under way when the limit is reached still ends on its connection."""


def problems(case: Case) -> Iterator[str]:
    import numpy as np

    limit = case.applied(FIX).get("recycle_after")
    requests = case.requests
    kept = requests.ok & (requests.conn != 0)
    if not limit or not kept.any():
        return
    key = requests.worker[kept] * (1 << 32) + requests.conn[kept]
    most = int(np.unique(key, return_counts=True)[1].max())
    if most > int(limit) + _IN_FLIGHT:
        yield f"a connection carried {most} requests, recycling was set to {limit}"

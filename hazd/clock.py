"""The one clock of a process: monotonic, anchored once to the Unix epoch, so a step of the wall clock moves nothing."""

from __future__ import annotations

import time
from time import monotonic_ns


def _anchor_ns() -> int:
    """Wall clock minus monotonic clock: of some readings the one with the smallest gap counts."""
    readings = []
    for _ in range(9):
        before = monotonic_ns()
        wall = time.time_ns()
        after = monotonic_ns()
        readings.append((after - before, wall - (before + after) // 2))
    return min(readings)[1]


_ANCHOR_NS = _anchor_ns()


def unix_ns() -> int:
    """Nanoseconds since the Unix epoch as this process's monotonic clock counts them."""
    return _ANCHOR_NS + monotonic_ns()


__all__ = ["unix_ns"]

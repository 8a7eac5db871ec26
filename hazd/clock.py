"""The one clock of a process: monotonic, anchored once to the Unix epoch, so a step of the wall clock moves nothing."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
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


def suspended_ns() -> int:
    """How long this machine has been suspended since it was started; 0 where the system does not tell.

    CLOCK_MONOTONIC stands still meanwhile and CLOCK_BOOTTIME does not (clock_gettime(2)).
    """
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - monotonic_ns()


async def measure_offset(
    read_ns: Callable[[], Awaitable[int]], now_ns: Callable[[], int] = unix_ns, rounds: int = 6
) -> tuple[int, int]:
    """(our clock minus the other's, how much that leaves open) in ns: Cristian's algorithm.

    read_ns: asks for the other's time. Of several round trips the shortest bounds the offset best.
    """
    best: tuple[int, int] | None = None
    for _ in range(rounds):
        before = now_ns()
        other_ns = await read_ns()
        after = now_ns()
        trip_ns = after - before
        if best is None or trip_ns < best[0]:
            best = (trip_ns, (before + after) // 2 - other_ns)
    assert best is not None
    return best[1], best[0] // 2


__all__ = ["measure_offset", "suspended_ns", "unix_ns"]

"""What the traffic reads the time from: the process's one clock, or a test's virtual time."""

from __future__ import annotations

from typing import Protocol

from hazd.clock import unix_ns

__all__ = ["Clock", "MonotonicClock"]


class Clock(Protocol):
    """What engine and senders read the time from; tests put virtual time behind it."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch, never going back."""
        ...


class MonotonicClock:
    """The process's one clock (hazd.clock) in the shape that engine and senders ask for."""

    __slots__ = ()
    now_ns = staticmethod(unix_ns)

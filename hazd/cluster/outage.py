"""The retry policy of everything that must outlast an API server's absence: what is worth another try, and when."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

STARTING_S = 5.0
"""An API server that has just come back denies for a moment what its caches do not know yet (403, from RBAC)."""


class Silence:
    """One loop's memory of an error that no server sent. just_now: as if there had been one already.

    Other errors are explained for STARTING_S from the first of them, not from the silence's last sign: the call in
    between may itself have waited long for its server. now: seconds; a thread without an event loop gives its own.
    """

    def __init__(self, *, just_now: bool = False, now: Callable[[], float] = anyio.current_time) -> None:
        self._now = now
        self._until_s = math.inf if just_now else -math.inf

    def explains(self, error: Exception) -> bool:
        """Whether the same call is worth another try: an error that passes, or any right after one that did."""
        if getattr(error, "transient", False):
            self._until_s = math.inf
        elif self._until_s == math.inf:
            self._until_s = self._now() + STARTING_S
        return self._now() <= self._until_s

    def broken(self) -> None:
        """A good response came: the next error stands for itself."""
        self._until_s = -math.inf


def pause_s(tries: int, longest_s: float = 1.6) -> float:
    """How long to wait after so many tries in vain: none at first, then 0.1 s, doubled each time, at most longest_s."""
    return min(0.1 * 2.0 ** min(tries - 1, 10), longest_s) if tries > 0 else 0.0


__all__ = ["STARTING_S", "Silence", "pause_s"]

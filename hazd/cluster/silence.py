"""Tells what passes once an API server is back from what stays: for loops that must outlast its absence."""

from __future__ import annotations

import math

import anyio

STARTING_S = 5.0
"""An API server that has just come back denies for a moment what its caches do not know yet (403, from RBAC)."""


class Silence:
    """One loop's memory of the last error that was nobody's answer. just_now: as if there had been one already."""

    def __init__(self, *, just_now: bool = False) -> None:
        self._last_s = anyio.current_time() if just_now else -math.inf

    def explains(self, error: Exception) -> bool:
        """Whether the same call is worth another try: an error that passes, or any right after one that did."""
        now_s = anyio.current_time()
        if getattr(error, "transient", False):
            self._last_s = now_s
        return now_s - self._last_s <= STARTING_S


__all__ = ["STARTING_S", "Silence"]

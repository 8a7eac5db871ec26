"""Tells what passes once an API server is back from what stays: for loops that must outlast its absence."""

from __future__ import annotations

import math

import anyio

STARTING_S = 5.0
"""An API server that has just come back denies for a moment what its caches do not know yet (403, from RBAC)."""


class Silence:
    """One loop's memory of an error that was nobody's answer. just_now: as if there had been one already.

    Other errors are explained for STARTING_S from the first of them, not from the silence's last sign: the call in
    between may itself have waited long for its server.
    """

    def __init__(self, *, just_now: bool = False) -> None:
        self._until_s = math.inf if just_now else -math.inf

    def explains(self, error: Exception) -> bool:
        """Whether the same call is worth another try: an error that passes, or any right after one that did."""
        if getattr(error, "transient", False):
            self._until_s = math.inf
        elif self._until_s == math.inf:
            self._until_s = anyio.current_time() + STARTING_S
        return anyio.current_time() <= self._until_s

    def broken(self) -> None:
        """A good answer came: the next error stands for itself."""
        self._until_s = -math.inf


__all__ = ["STARTING_S", "Silence"]

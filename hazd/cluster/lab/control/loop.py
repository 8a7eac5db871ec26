"""What all controllers share: a queue of keys, each worked on a little later, once, however often it was named.

The delay stands for watch, queue and API round trip. A sync is synchronous, hence one transaction; it returns after
how many seconds it wants to be called again, or None.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable

import anyio

from hazd.cluster.lab.store import Change, Store
from hazd.errors import ClusterError

Sync = Callable[[tuple[str, ...]], "float | None"]
RETRY_S = 0.2


class Loop:
    """One controller's queue. keys: which keys a change makes dirty; sync: brings one key's world in order."""

    def __init__(
        self, store: Store, keys: Callable[[Change], list[tuple[str, ...]]], sync: Sync, delay_s: float
    ) -> None:
        self.store = store
        self.keys = keys
        self.sync = sync
        self.delay_s = delay_s
        self._due: dict[Hashable, float] = {}
        self._heap: list[tuple[float, tuple[str, ...]]] = []
        self._more = anyio.Event()

    def add(self, key: tuple[str, ...], after_s: float) -> None:
        """Have `key` synced in `after_s` seconds, or earlier if it is due earlier."""
        due = anyio.current_time() + after_s
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        self._more.set()

    def _on_change(self, change: Change) -> None:
        for key in self.keys(change):
            self.add(key, self.delay_s)

    async def run(self) -> None:
        """Until cancelled; what exists already counts as changed."""
        stop = self.store.on_change(self._on_change)
        try:
            for obj in self.store.everything():
                self._on_change(Change("ADDED", obj, None, self.store.now()))
            while True:
                await self._next()
        finally:
            stop()

    async def _next(self) -> None:
        now = anyio.current_time()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) != due:
                continue  # an earlier entry has replaced this one
            del self._due[key]
            try:
                again = self.sync(key)
            except ClusterError:
                again = RETRY_S  # the API refused: an object changed during the sync, or its namespace is terminating
            if again is not None:
                self.add(key, again)
            await anyio.lowlevel.checkpoint()  # a burst of keys must not hold up the rest of the process
        self._more = anyio.Event()
        timeout = self._heap[0][0] - anyio.current_time() if self._heap else math.inf
        with anyio.move_on_after(max(0.0, timeout)):
            await self._more.wait()

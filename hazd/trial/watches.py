"""What the watches have shown, and the proof at the end of a trial that they have shown everything.

A watch that has fallen silent looks like a cluster in which nothing happens. So every kind is listed once more at the
end: as long as each object's resourceVersion is the one that the watch showed last, no change was missed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio

from hazd.clock import unix_ns
from hazd.cluster.port import Cluster
from hazd.cluster.watch import DELETED, GAP, difference
from hazd.errors import HazdError
from hazd.model import Event, Ref

CATCH_UP_S = 5.0
"""A watch may be that much behind a listing, on a busy machine."""


class Watches:
    """Of one trial. add() takes every event of a watch; prove() compares at the end."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Ref, Event]] = {}
        self._namespaces: dict[str, str] = {}
        self._events: Counter[str] = Counter()
        self._problems: dict[str, str | None] = {}

    def opened(self, kind: str, namespace: str) -> None:
        self._known[kind], self._namespaces[kind] = {}, namespace
        self._problems[kind] = "the trial ended before it was checked"

    def add(self, kind: str, event: Event) -> None:
        if event.reason == GAP:
            return
        self._events[kind] += 1
        if event.reason == DELETED:
            self._known[kind].pop(event.ref, None)
        else:
            self._known[kind][event.ref] = event

    async def prove(self, cluster: Cluster) -> None:
        async with anyio.create_task_group() as tasks:
            for kind in self._known:
                tasks.start_soon(self._prove, cluster, kind)

    async def _prove(self, cluster: Cluster, kind: str) -> None:
        deadline = anyio.current_time() + CATCH_UP_S
        while True:
            try:
                listed = await cluster.list(kind, self._namespaces[kind])
            except HazdError as error:
                self._problems[kind] = error.message
            else:
                missed = difference(self._known[kind], listed, unix_ns())
                self._problems[kind] = f"it missed a change of {missed[0].ref}" if missed else None
            if self._problems[kind] is None or anyio.current_time() > deadline:
                return
            await anyio.sleep(0.2)

    def account(self) -> dict[str, dict[str, Any]]:
        """What trial.json keeps as `watched`: kind -> events written, and why it is not proven (None: it is)."""
        return {kind: {"events": self._events[kind], "problem": self._problems[kind]} for kind in self._known}


__all__ = ["Watches"]

"""The open loop: hands each request to the sender when it is due, whatever became of the ones before.

Ties pacer and sender together and counts what was due and what could not be sent; the sender writes the records. Knows
no sockets and no HTTP, and reads time only through its clock, so tests run it in virtual time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import anyio.lowlevel

from hazd.model import TrafficPlan
from hazd.traffic.clock import Clock
from hazd.traffic.pacer import choose_streams, due_times
from hazd.traffic.senders.port import Sender

NS = 1_000_000_000
MAX_LAG_NS = NS
"""A request this late would say nothing about its due time any more: it is counted as not sent."""
MAX_SLEEP_S = 0.05
"""How soon a stop is seen."""
BURST = 64
"""Sends in a row before the senders get their turn; matters only when behind."""
Sleep: TypeAlias = Callable[[float], Awaitable[None]]

__all__ = ["MAX_LAG_NS", "Engine"]


class Engine:
    """One run of one plan by one worker. due = recorded + not_sent once `run` has returned.

    sleep: takes seconds, and may sleep a little longer.
    """

    def __init__(self, plan: TrafficPlan, sender: Sender, clock: Clock, sleep: Sleep = anyio.sleep) -> None:
        self._plan = plan
        self._sender = sender
        self._now_ns = clock.now_ns
        self._sleep = sleep
        self._stop_ns: int | None = None
        self.due = 0
        self.not_sent_busy = 0
        self.not_sent_late = 0
        self.not_sent_streams = [0] * len(plan.streams)
        self.draining = False
        self.stopped_by = ""

    @property
    def not_sent(self) -> int:
        return self.not_sent_busy + self.not_sent_late

    def stop(self, at_ns: int, by: str) -> int:
        """Due times from `at_ns` on are not due; the earliest stop counts. Returns what is in force.

        A time already passed means now: what was sent was due.
        """
        if self._stop_ns is None or at_ns < self._stop_ns:
            self._stop_ns, self.stopped_by = at_ns, by
        return self._stop_ns

    async def run(self, start_ns: int) -> None:
        """Sends until stopped (at the latest after the plan's max_duration_s), then waits for what is in flight."""
        plan, sender, now_ns = self._plan, self._sender, self._now_ns
        self.stop(start_ns + int(plan.max_duration_s * NS), "max_duration")
        streams = choose_streams([stream.share for stream in plan.streams], plan.shard)
        burst = 0
        for (seq, due_ns), stream in zip(due_times(plan, start_ns), streams, strict=False):
            while (wait_ns := due_ns - now_ns()) > 0 and not self._over(due_ns):
                burst = 0
                await self._sleep(min(wait_ns / NS, MAX_SLEEP_S))
            if self._over(due_ns):
                break
            self.due += 1
            if wait_ns < -MAX_LAG_NS:
                self.not_sent_late += 1
                self.not_sent_streams[stream] += 1
            elif sender.in_flight >= plan.max_in_flight:
                self.not_sent_busy += 1
                self.not_sent_streams[stream] += 1
            else:
                sender.send(seq, stream, due_ns)
            burst += 1
            if burst >= BURST:
                burst = 0
                await anyio.lowlevel.checkpoint()
        self.draining = True
        await sender.drain()

    def _over(self, due_ns: int) -> bool:
        return self._stop_ns is not None and due_ns >= self._stop_ns

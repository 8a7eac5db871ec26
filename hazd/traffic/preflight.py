"""Makes sure, before the schedule begins, that the target responds as expected and that every pod is reachable.

Streams with a target of their own must reach it too, with whatever status: the plan expects of its own target alone.

Its requests are outside the schedule and carry `x-hazd-preflight: 1`; they are counted, not recorded, so that the
server's own count can be reconciled. One at a time: this is a question, not a load.
"""

from __future__ import annotations

from dataclasses import replace
from errno import errorcode
from operator import itemgetter

import anyio

from hazd.errors import EnvironmentProblem
from hazd.model import FailureKind, Phase, Stream, TrafficPlan
from hazd.record import FIELDS
from hazd.traffic.clock import Clock
from hazd.traffic.senders.choice import make_sender
from hazd.traffic.senders.port import Sender

GOOD_IN_A_ROW = 30
PAUSE_S = 0.01
PAUSE_AFTER_FAILURE_S = 0.1
TIMEOUT_S = 2.0
HEADER = ("x-hazd-preflight", "1")
_OUTCOME = itemgetter(*([field.name for field in FIELDS].index(name) for name in ("kind", "phase", "status", "errno")))

__all__ = ["GOOD_IN_A_ROW", "Preflight"]


class Preflight:
    """A sink that counts. answered: requests that got a whole response, expected or not."""

    def __init__(self, plan: TrafficPlan, clock: Clock) -> None:
        self.answered = 0
        self._wanted_pods = plan.preflight_pods
        self._streams = plan.streams
        self._any_status = False
        self._limit_s = plan.preflight_s
        self._plan = replace(
            plan, streams=(Stream("preflight"),), timeout_s=min(plan.timeout_s, TIMEOUT_S), sender="httpx"
        )
        self._clock = clock
        self._pods: dict[bytes, int] = {b"": 0}
        self._row = 0
        self._last = "nothing was heard"
        self._scope: anyio.CancelScope | None = None

    async def run(self) -> None:
        """Raises EnvironmentProblem, with what was seen, when the target is not ready within the plan's preflight_s."""
        others = dict.fromkeys(stream.url for stream in self._streams if stream.url not in ("", self._plan.url))
        try:
            with anyio.fail_after(self._limit_s) as self._scope:
                await self._until_ready(self._wanted_pods)
                for url in others:
                    self._plan, self._any_status, self._row = replace(self._plan, url=url), True, 0
                    await self._until_ready(0)
        except TimeoutError as error:
            pods = f", {len(self._pods) - 1} of {self._wanted_pods} pods" if self._wanted_pods else ""
            where = f" from {self._plan.url}" if self._any_status else ""
            raise EnvironmentProblem(
                f"{self._row} of {GOOD_IN_A_ROW} good responses in a row{where}{pods} in {self._limit_s:g} s; "
                f"last: {self._last}"
            ) from error

    async def _until_ready(self, wanted_pods: int) -> None:
        sender = await self._open()
        try:
            seq = 0
            while self._row < GOOD_IN_A_ROW or len(self._pods) - 1 < wanted_pods:
                sender.send(seq, 0, self._clock.now_ns())
                await sender.drain()
                await anyio.sleep(PAUSE_S if self._row else PAUSE_AFTER_FAILURE_S)
                seq += 1
        finally:
            await sender.__aexit__(None, None, None)

    async def _open(self) -> Sender:
        while True:
            try:
                return await make_sender(self._plan, self, self._clock, (HEADER,)).__aenter__()
            except OSError as error:  # the name is not known yet
                self._last = f"{type(error).__name__}: {error}"
                await anyio.sleep(PAUSE_AFTER_FAILURE_S)

    def pod_number(self, name: bytes) -> int:
        return self._pods.setdefault(name, len(self._pods))

    def add(self, *record: int) -> None:
        if self._scope is not None and self._scope.cancel_called:
            return  # ended by this preflight's own deadline, which says nothing of the target
        kind, phase, status, errno = _OUTCOME(record)
        self._last = describe(kind, phase, status, errno)
        if kind in (FailureKind.OK, FailureKind.BAD_STATUS):
            self.answered += 1
        good = kind == FailureKind.OK or (self._any_status and kind == FailureKind.BAD_STATUS)
        self._row = self._row + 1 if good else 0


def describe(kind: int, phase: int, status: int, errno: int) -> str:
    """As in: refused (ECONNREFUSED) in connect; bad_status 503; ok 200."""
    label = FailureKind(kind).label
    if kind in (FailureKind.OK, FailureKind.BAD_STATUS):
        return f"{label} {status}"
    name = f" ({errorcode.get(errno, errno)})" if errno else ""
    return f"{label}{name} in {Phase(phase).label}"

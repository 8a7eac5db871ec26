"""The sender for high rates: non-blocking sockets in an epoll set of their own, one descriptor to the loop.

No task and no future per request; the same parser, pool, TLS and classes of failure as the httpx sender. Nothing here
retries. Not asyncio.Protocol: it costs a task per connection and hides in which phase a write failed (docs/adr/0007).
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections import deque
from types import TracebackType
from typing import Self

import anyio

from hazd.model import FailureKind, Phase, TrafficPlan
from hazd.traffic.clock import Clock
from hazd.traffic.response import Known, Response
from hazd.traffic.senders.fast_connection import IDLE, LINGERING, FastConnection, Lane
from hazd.traffic.senders.pool import Pool
from hazd.traffic.senders.port import Sink
from hazd.traffic.senders.request import request_bytes
from hazd.traffic.senders.source_ports import SourcePorts
from hazd.traffic.senders.target import find_targets

NS = 1_000_000_000
SWEEP_NS = NS // 100
"""How precisely timeouts are seen."""
LINGER_NS = NS // 50
"""How long a finished connection is left to the server to close first: that keeps TIME_WAIT off our ports."""
MAX_EVENTS = 256
MAX_SPARE = 4096
ONE_SEGMENT = 1200
_OK, _BAD_STATUS = int(FailureKind.OK), int(FailureKind.BAD_STATUS)

__all__ = ["FastSender"]


class FastSender:
    """Sends a plan's requests; see senders.port for the contract. It is the hub of its connections."""

    name = "fast"

    def __init__(
        self, plan: TrafficPlan, sink: Sink, clock: Clock, extra_headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.now_ns = clock.now_ns
        self.ports = SourcePorts()
        self._plan = plan
        self._sink = sink
        self._extra_headers = extra_headers
        self._expect = frozenset(plan.expect)
        self._timeout_ns = int(plan.timeout_s * NS)
        self._lanes: list[Lane] = []
        self._numbers = 0
        self._busy: dict[FastConnection, None] = {}  # in the order they were sent, so the oldest come first
        self._open: dict[int, FastConnection] = {}
        self._lingering: deque[tuple[int, FastConnection]] = deque()
        self._spare: list[FastConnection] = []
        self._known: dict[bytes, Known] = {}
        self._unclosed: list[socket.SocketType] | None = None
        self._idle: anyio.Event | None = None

    @property
    def in_flight(self) -> int:
        return len(self._busy)

    async def __aenter__(self) -> Self:
        """Raises OSError when the host's name cannot be resolved."""
        plan = self._plan
        for number, (stream, target) in enumerate(zip(plan.streams, await find_targets(plan), strict=True)):
            usual, last = (request_bytes(plan, target.url, self._extra_headers, last) for last in (False, True))
            keep = stream.connection == "reused"
            lane = Lane(
                stream=number,
                pool=Pool(stream),
                keep=keep,
                address=target.address,
                request=usual,
                last_request=last,
                tls=target.tls,
                server_name=target.server_name,
                nodelay=len(last) > ONE_SEGMENT or target.tls is not None,
                recycles=keep and bool(stream.recycle_after or stream.recycle_s),
            )
            self._lanes.append(lane)
        self._epoll = select.epoll()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)
        self._timer = self._loop.call_later(SWEEP_NS / NS, self._sweep)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        for connection in list(self._busy):
            self.failed(connection, FailureKind.OTHER, connection.phase, 0)
        for connection in list(self._open.values()):
            connection.close()
        self._epoll.close()

    def send(self, seq: int, stream: int, due_ns: int) -> None:
        lane = self._lanes[stream]
        connection = None
        if lane.keep:
            if self._unclosed is None:
                self._on_ready()  # an idle connection may have been closed since the loop looked last
            connection = lane.pool.take()
            if connection is not None:
                self._busy[connection] = None
                connection.begin_again(seq, due_ns, self.now_ns())
                return
            lane.pool.opened()
        self._numbers += 1
        if self._spare:
            connection = self._spare.pop()
        else:
            connection = FastConnection(self, Response(self._plan.method, known=self._known))
        self._busy[connection] = None
        connection.begin(lane, self._numbers, seq, due_ns, self.now_ns())

    async def drain(self) -> None:
        while self._busy:
            self._idle = anyio.Event()
            await self._idle.wait()

    def _on_ready(self) -> None:
        find, poll = self._open.get, self._epoll.poll
        unclosed: list[socket.SocketType] = []
        self._unclosed = unclosed
        left = MAX_EVENTS
        try:
            # Asking again costs a system call, a further round of the loop several; but others want their turn too.
            while left > 0 and (ready := poll(0, left)):
                left -= len(ready)
                for fd, events in ready:
                    connection = find(fd)
                    if connection is not None:
                        connection.step(events)
                if unclosed:
                    for sock in unclosed:
                        sock.close()
                    unclosed.clear()
        finally:
            self._unclosed = None
            for sock in unclosed:
                sock.close()

    def _sweep(self) -> None:
        """Timeouts and lingering connections; comes again when the oldest of them is due, not more often."""
        now_ns = self.now_ns()
        next_ns = now_ns + min(NS // 10, self._timeout_ns)
        sent_before = now_ns - self._timeout_ns
        late = []
        for connection in self._busy:
            if connection.sent_ns > sent_before:
                next_ns = min(next_ns, connection.sent_ns + self._timeout_ns)
                break
            late.append(connection)
        for connection in late:
            self.failed(connection, FailureKind.TIMEOUT, connection.phase, 0)
        lingering = self._lingering
        while lingering and lingering[0][0] <= now_ns:
            lingering.popleft()[1].close()
        if lingering:
            next_ns = min(next_ns, lingering[0][0])
        self._timer = self._loop.call_later(max(next_ns - now_ns, SWEEP_NS) / NS, self._sweep)

    # What connections call.

    def watch(self, connection: FastConnection, events: int) -> None:
        self._open[connection.fd] = connection
        self._epoll.register(connection.fd, events)

    def watch_again(self, connection: FastConnection, events: int) -> None:
        self._epoll.modify(connection.fd, events)

    def forget(self, connection: FastConnection) -> None:
        """Close its socket and keep the object for another connection."""
        if connection.fd >= 0:
            self._open.pop(connection.fd, None)
            # Within a batch of events a closed descriptor's number must not be given to a new connection: an event of
            # the old one could still be in the batch.
            if self._unclosed is None:
                connection.sock.close()
            else:
                self._unclosed.append(connection.sock)
        connection.response.clear()
        if len(self._spare) < MAX_SPARE:
            self._spare.append(connection)

    def answered(self, connection: FastConnection, done_ns: int, ended: bool) -> None:
        response, lane, sink = connection.response, connection.lane, self._sink
        status, served = response.status, response.served
        pod = sink.pod_number(response.pod) if response.pod else 0
        kind = _OK if status in self._expect else _BAD_STATUS
        reused, port, number = connection.reused, connection.local_port, connection.number
        seq, due_ns, sent_ns = connection.seq, connection.due_ns, connection.sent_ns
        connected_ns, first_byte_ns = connection.connected_ns, connection.first_byte_ns
        del self._busy[connection]
        # First the connection, then the record: whoever takes it may send at once, on this very connection.
        if not (connection.last or response.close):
            connection.state = IDLE
            connection.stale = ended
            response.clear()
            lane.pool.give_back(connection)
        elif ended:
            self._lost(connection)
        else:
            connection.state = LINGERING
            self._epoll.unregister(connection.fd)  # its end is no reason to wake up
            self._lingering.append((done_ns + LINGER_NS, connection))
            if lane.keep:
                lane.pool.left(connection)
        sink.add(
            seq, lane.stream, reused, kind, 0, status, 0, pod, port,
            due_ns, sent_ns, connected_ns, first_byte_ns, done_ns, served, number,
        )  # fmt: skip
        if self._idle is not None and not self._busy:
            self._idle.set()

    def failed(self, connection: FastConnection, kind: FailureKind, phase: Phase, errno: int) -> None:
        now_ns = self.now_ns()
        response = connection.response
        record = (
            connection.seq, connection.lane.stream, connection.reused, kind, phase, response.status, errno,
            self._sink.pod_number(response.pod), connection.local_port, connection.due_ns, connection.sent_ns,
            connection.connected_ns, connection.first_byte_ns, now_ns, response.served, connection.number,
        )  # fmt: skip
        del self._busy[connection]
        if kind in (FailureKind.TIMEOUT, FailureKind.NO_ROUTE):
            self.ports.poisoned(connection.local_port, now_ns)
        self._lost(connection)
        self._sink.add(*record)
        if self._idle is not None and not self._busy:
            self._idle.set()

    def _lost(self, connection: FastConnection) -> None:
        if connection.lane.keep:
            connection.lane.pool.lost(connection)
        else:
            connection.close()

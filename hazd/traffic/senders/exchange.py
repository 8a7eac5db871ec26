"""HTTP/1.1 requests of one stream over its wires: which connection, write, read the response, keep or close. On anyio.

Knows no client library, so that the file that wraps it for one stays small. Never retries.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count

from hazd.model import Phase, Stream
from hazd.traffic.classify import PeerClosed
from hazd.traffic.clock import Clock
from hazd.traffic.response import Response
from hazd.traffic.senders.pool import Pool
from hazd.traffic.senders.source_ports import SourcePorts
from hazd.traffic.senders.target import Target
from hazd.traffic.senders.wire import Trace, Wire

LINGER_S = 0.1

__all__ = ["LINGER_S", "Exchange"]


class Exchange:
    """`ports` and `numbers` (of connections) are shared by all streams of a sender."""

    def __init__(
        self,
        stream: Stream,
        target: Target,
        ports: SourcePorts,
        clock: Clock,
        numbers: count[int],
    ) -> None:
        self._pool: Pool[Wire] = Pool(stream)
        self._target = target
        self._ports = ports
        self._now_ns = clock.now_ns
        self._numbers = numbers
        self._lingering: deque[Wire] = deque()

    async def request(self, method: str, make_bytes: Callable[[bool], bytes], trace: Trace) -> Response:
        """A whole response, body kept. make_bytes(last) gives the request; last adds `Connection: close`.

        Raises OSError, PeerClosed, BadResponse or ssl.SSLError; trace says how far it came.
        """
        wire: Wire | None = None
        try:
            wire = self._pool.take()
            trace.sent_ns = self._now_ns()
            if wire is None:
                self._pool.opened()
                wire = Wire(next(self._numbers), trace.sent_ns)
                last = self._pool.is_last_use(wire, trace.sent_ns)
                data = make_bytes(last)
                trace.conn = wire.number
                data = data[await self._open(wire, trace, data) :]
            else:
                last = self._pool.is_last_use(wire, trace.sent_ns)
                data = make_bytes(last)
                trace.reused = True
                trace.conn, trace.local_port = wire.number, wire.port
                trace.connected_ns = trace.sent_ns
            trace.phase = Phase.SEND
            wire.uses += 1
            if data:
                await wire.send(data)
            trace.phase = Phase.WAIT
            response = await self._read(wire, method, trace)
        except BaseException:
            self._pool.lost(wire)
            raise
        if response.close or last:
            self._pool.left(wire)
            self._let_linger(wire)
        else:
            self._pool.give_back(wire)
        return response

    async def _open(self, wire: Wire, trace: Trace, data: bytes) -> int:
        """How much of the request could be written while connecting."""
        target = self._target
        try:
            written = await wire.connect(target.address, self._ports, trace, b"" if target.tls else data)
        except (ConnectionResetError, BrokenPipeError):
            # RST in response to a SYN gives ECONNREFUSED: this connection stood, and was reset before we wrote.
            trace.connected_ns, trace.phase = self._now_ns(), Phase.SEND
            raise
        trace.connected_ns = self._now_ns()
        if target.tls is not None:
            trace.phase = Phase.TLS
            await wire.start_tls(target.tls, target.server_name)
        return written

    async def _read(self, wire: Wire, method: str, trace: Trace) -> Response:
        response = Response(method, keep=True)
        done = False
        while not done:
            try:
                data = await wire.receive()
            except PeerClosed:
                if not response.feed_eof():
                    raise
                break
            if not trace.first_byte_ns:
                trace.first_byte_ns = self._now_ns()
            try:
                done = response.feed(data)
            finally:
                if response.head_done:
                    trace.phase = Phase.RECEIVE
                    trace.status, trace.pod, trace.served = response.status, response.pod, response.served
        trace.done_ns = self._now_ns()
        return response

    def _let_linger(self, wire: Wire) -> None:
        """Leave it to the server to close first, which keeps TIME_WAIT off our ports; after a moment we do."""
        self._lingering.append(wire)
        asyncio.get_running_loop().call_later(LINGER_S, self._close_oldest)

    def _close_oldest(self) -> None:
        if self._lingering:
            self._lingering.popleft().close()

    def close(self) -> None:
        self._pool.close()
        while self._lingering:
            self._close_oldest()

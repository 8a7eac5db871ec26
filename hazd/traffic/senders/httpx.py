"""The reference sender: httpx.AsyncClient over a transport of its own, which keeps times, phase, errno and port.

The only file that imports httpx. httpx's own pool is not used for HTTP/1.1: it hides which connection served, costs
several times as much, and knows no oldest-first. HTTP/2 goes through httpx's own transport. Nothing here retries.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self

import anyio
import httpx

from hazd.model import Connection, FailureKind, Phase, Stream, TrafficPlan
from hazd.traffic.classify import PeerClosed, classify, classify_status
from hazd.traffic.clock import Clock
from hazd.traffic.response import header_list
from hazd.traffic.senders.exchange import Exchange
from hazd.traffic.senders.port import Sink
from hazd.traffic.senders.source_ports import SourcePorts
from hazd.traffic.senders.target import Target, find_targets
from hazd.traffic.senders.wire import Trace

NS = 1_000_000_000
_trace: ContextVar[Trace] = ContextVar("hazd_trace")
"""Where the transport finds the Trace of the request it is asked for: one Request object is sent many times."""

__all__ = ["Http2Transport", "HttpxSender", "WireTransport"]


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        pass


class _Body(httpx.AsyncByteStream):
    """A body that has been read already."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


class WireTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over wires of our own. Raises httpx's exceptions from the original ones, which have the errno."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        trace = _trace.get()
        try:
            response = await self._exchange.request(request.method, partial(_request_bytes, request), trace)
        except PeerClosed as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        except OSError as error:
            kind = _ERRORS.get(trace.phase, httpx.ReadError)
            raise kind(str(error), request=request) from error
        return httpx.Response(response.status, headers=header_list(response.head), stream=_Body(response.body))

    async def aclose(self) -> None:
        self._exchange.close()


_ERRORS: dict[Phase, type[httpx.NetworkError]] = {
    Phase.CONNECT: httpx.ConnectError,
    Phase.TLS: httpx.ConnectError,
    Phase.SEND: httpx.WriteError,
}


def _request_bytes(request: httpx.Request, last: bool) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%b: %b" % (name, value) for name, value in request.headers.raw]
    if last:
        lines.append(b"Connection: close")
    lines += [b"", request.content]
    return b"\r\n".join(lines)


@dataclass(slots=True, eq=False)
class _Link:
    """One of httpx's own transports, and what is known of the connection it has."""

    transport: httpx.AsyncHTTPTransport
    opened_ns: int
    number: int = 0
    local_port: int = 0
    uses: int = 0
    busy: int = 0


class Http2Transport(httpx.AsyncBaseTransport):
    """HTTP/2 through httpx's own transport: one for each kept connection, or one for each request of a new stream.

    Times and phases come from httpcore's trace events. http:// means prior knowledge (RFC 9113 3.3); there is no
    falling back to HTTP/1.1. A connection takes many requests at a time, so they are simply used in turn.
    """

    def __init__(self, stream: Stream, clock: Clock, numbers: count[int], target: Target) -> None:
        self._size = stream.pool if stream.connection == "reused" else 0
        self._recycle_after, self._recycle_ns = stream.recycle_after, int(stream.recycle_s * NS)
        self._now_ns = clock.now_ns
        self._numbers = numbers
        self._target = target
        self._kept: deque[_Link] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        trace = _trace.get()
        trace.sent_ns = self._now_ns()
        link = self._take(trace.sent_ns)
        link.busy += 1
        extensions = {"trace": partial(self._on_event, trace, link), "sni_hostname": self._target.server_name}
        inner = httpx.Request(
            request.method, request.url, headers=request.headers, stream=request.stream, extensions=extensions
        )
        try:
            response = await link.transport.handle_async_request(inner)
            trace.status = response.status_code
            trace.pod = response.headers.get("x-hazd-pod", "").encode()
            served = response.headers.get("x-hazd-served", "")
            trace.served = int(served) if served.isdigit() else 0
            assert isinstance(response.stream, httpx.AsyncByteStream)
            body = [part async for part in response.stream]
            trace.done_ns = self._now_ns()
            await response.aclose()
        except httpx.RemoteProtocolError as error:
            # Without an errno: end of file, GOAWAY or RST_STREAM. What is not HTTP/2 at all is a LocalProtocolError.
            raise error from PeerClosed(str(error))
        finally:
            link.busy -= 1
            if not link.busy and link not in self._kept:
                with anyio.CancelScope(shield=True):
                    await link.transport.aclose()
        return httpx.Response(response.status_code, headers=response.headers, stream=_Body(body))

    def _take(self, now_ns: int) -> _Link:
        if self._size and len(self._kept) == self._size:
            self._kept.rotate(-1)
            link = self._kept[-1]
        else:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None)
            transport = httpx.AsyncHTTPTransport(
                self._target.tls or False, trust_env=False, http1=False, http2=True, limits=limits
            )
            link = _Link(transport, now_ns)
            if self._size:
                self._kept.append(link)
        link.uses += 1
        old = self._recycle_ns and now_ns - link.opened_ns >= self._recycle_ns
        if link in self._kept and (old or (self._recycle_after and link.uses >= self._recycle_after)):
            self._kept.remove(link)
        return link

    async def _on_event(self, trace: Trace, link: _Link, name: str, info: dict[str, Any]) -> None:
        _, what, moment = name.split(".")
        if moment == "started":
            trace.phase = _PHASES.get(what, trace.phase)
            if what == "send_request_headers":
                if not trace.connected_ns:
                    trace.reused, trace.connected_ns = True, trace.sent_ns
                trace.conn, trace.local_port = link.number, link.local_port
        elif moment == "complete" and what == "connect_tcp":
            trace.connected_ns = self._now_ns()
            link.number, link.local_port = next(self._numbers), info["return_value"].get_extra_info("client_addr")[1]
        elif moment == "complete" and what == "receive_response_headers":
            trace.first_byte_ns = self._now_ns()

    async def aclose(self) -> None:
        while self._kept:
            await self._kept.popleft().transport.aclose()


_PHASES = {
    "connect_tcp": Phase.CONNECT,
    "start_tls": Phase.TLS,
    "send_connection_init": Phase.SEND,
    "send_request_headers": Phase.SEND,
    "send_request_body": Phase.SEND,
    "receive_response_headers": Phase.WAIT,
    "receive_response_body": Phase.RECEIVE,
}


class _Client(httpx.AsyncClient):
    """Keeps no cookies: every request of a plan is the same, whatever earlier responses said."""

    _none = _NoCookies()

    @property
    def cookies(self) -> httpx.Cookies:
        return self._none

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        pass


class HttpxSender:
    """Sends a plan's requests through httpx; see senders.port for the contract."""

    name = "httpx"

    def __init__(
        self, plan: TrafficPlan, sink: Sink, clock: Clock, extra_headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._plan = plan
        self._sink = sink
        self._now_ns = clock.now_ns
        self._clock = clock
        self._expect = frozenset(plan.expect)
        self._extra_headers = extra_headers
        self._requests: list[httpx.Request] = []
        self._ports = SourcePorts()
        self._clients: list[_Client] = []
        self._in_flight = 0
        self._idle = anyio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    async def __aenter__(self) -> Self:
        """Raises OSError when the host's name cannot be resolved."""
        plan, clock = self._plan, self._clock
        numbers = count(1)
        for stream, target in zip(plan.streams, await find_targets(plan), strict=True):
            transport: httpx.AsyncBaseTransport
            if plan.http2:
                transport = Http2Transport(stream, clock, numbers, target)
            else:
                transport = WireTransport(Exchange(stream, target, self._ports, clock, numbers))
            self._clients.append(_Client(transport=transport, trust_env=False, timeout=None))
            request = httpx.Request(
                plan.method,
                target.url,
                headers=[*plan.headers, *self._extra_headers],
                content=plan.body.encode() or None,
                extensions={"timeout": {}},
            )
            self._requests.append(request)
        self._spawn = asyncio.get_running_loop().create_task
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(0)  # a task cancelled before its first step would never record its request
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for client in self._clients:
                await client.aclose()

    def send(self, seq: int, stream: int, due_ns: int) -> None:
        self._in_flight += 1
        # A plain task: a task group's costs ten times as much, and this one catches everything itself.
        task = self._spawn(self._one(seq, stream, due_ns))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        while self._in_flight:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _one(self, seq: int, stream: int, due_ns: int) -> None:
        trace = Trace()
        _trace.set(trace)
        kind, phase, errno = FailureKind.OTHER, Phase.NONE, 0
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                # stream=True: the transport has read the body, which nobody wants unzipped and joined
                client, request = self._clients[stream], self._requests[stream]
                await client.send(request, stream=True, auth=None, follow_redirects=False)
            kind = classify_status(trace.status, self._expect)
        except Exception as error:
            kind, phase, errno = classify(error, trace.phase)
            trace.done_ns = 0
            if kind in (FailureKind.TIMEOUT, FailureKind.NO_ROUTE):
                self._ports.poisoned(trace.local_port, self._now_ns())
        except BaseException:
            phase = trace.phase
            trace.done_ns = 0
            raise
        finally:
            now_ns = self._now_ns()
            self._sink.add(
                seq, stream, Connection.REUSED if trace.reused else Connection.NEW, kind, phase, trace.status, errno,
                self._sink.pod_number(trace.pod), trace.local_port, due_ns, trace.sent_ns or now_ns, trace.connected_ns,
                trace.first_byte_ns, trace.done_ns or now_ns, trace.served, trace.conn,
            )  # fmt: skip
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

"""One HTTP/1.1 connection of the sample app: requests in, responses out, and a polite end. Standard library only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from hazd.sample_app.http1 import Request, RequestParser, only_request
from hazd.sample_app.service import Service, is_ordinary

PIPELINE_LIMIT = 64  # requests waiting on one connection before reading stops
LINGER_S = 2.0  # how long a half-closed connection may take to send its own FIN
PREFACE = b"PRI * HTTP/2.0\r\n"


def linger(transport: asyncio.Transport) -> None:
    """Lingering close (RFC 9112 section 9.6): half-close, then read until the client's FIN.

    A full close with unread bytes makes the kernel send RST, which destroys the response in the client's buffer. TLS
    has no half-close in asyncio: its close() sends close_notify and reads on until the client's, at most as long.
    """
    if not transport.can_write_eof():
        transport.close()
        return
    transport.write_eof()
    transport.resume_reading()
    asyncio.get_running_loop().call_later(LINGER_S, transport.abort)


class Conversation(asyncio.Protocol):
    """One connection: its requests get their responses one after the other, in order, also when they come pipelined."""

    def __init__(
        self, service: Service, http2: Callable[[Service, asyncio.Transport], asyncio.Protocol], early: bytes = b""
    ) -> None:
        """http2: makes the protocol that takes over when the client speaks HTTP/2. early: what was read before."""
        self.service = service
        self.http2 = http2
        self.early = early
        self.transport: asyncio.Transport
        self.parser = RequestParser()
        self.waiting: deque[Request] = deque()
        self.responses = 0
        self.begun = False  # a first byte has come
        self.busy = False  # a request's latency is running
        self.choked = False  # the client does not read its responses
        self.ending = False  # the last response is written; what still comes is dropped
        self.peer_done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.early:
            self.data_received(self.early)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ending = True
        self.waiting.clear()
        if self.busy:
            self.busy = False
            self.service.in_flight -= 1
        self.service.closed()

    def data_received(self, data: bytes) -> None:
        if self.ending:
            return
        if not self.begun and data.startswith(PREFACE):
            self.become_http2(data)
            return
        self.begun = True
        known = only_request(data) if self.parser.idle else None
        self.waiting.extend([known] if known else self.parser.feed(data))
        if self.parser.wants_continue and not (self.waiting or self.busy):
            self.parser.wants_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.serve()
        if len(self.waiting) > PIPELINE_LIMIT:
            self.transport.pause_reading()

    def become_http2(self, data: bytes) -> None:
        """The client speaks HTTP/2 (RFC 9113 section 3.4): what it says from here on is another protocol's."""
        other = self.http2(self.service, self.transport)
        self.transport.set_protocol(other)
        other.data_received(data)

    def eof_received(self) -> bool:
        """A client may shut down its sending side and still wait for responses: keep open while some are due."""
        self.peer_done = True
        half_open = self.transport.can_write_eof()  # not with TLS
        return half_open and bool(self.waiting or self.busy) and not self.ending

    def pause_writing(self) -> None:
        self.choked = True

    def resume_writing(self) -> None:
        self.choked = False
        self.serve()

    def serve(self) -> None:
        service = self.service
        while self.waiting and not (self.busy or self.choked or self.ending):
            request = self.waiting.popleft()
            ordinary = is_ordinary(request)
            if ordinary:
                service.work()
            if ordinary and service.knobs.latency_s:
                self.busy = True
                service.in_flight += 1
                asyncio.get_running_loop().call_later(service.knobs.latency_s, self.serve_late, request)
            else:
                self.finish(request)
        if len(self.waiting) <= PIPELINE_LIMIT and not self.ending:
            self.transport.resume_reading()

    def serve_late(self, request: Request) -> None:
        if self.busy:
            self.busy = False
            self.service.in_flight -= 1
            self.finish(request)
            self.serve()

    def finish(self, request: Request) -> None:
        self.responses += 1
        last = request.close or self.service.ends_after(self.responses) or (self.peer_done and not self.waiting)
        self.transport.write(self.service.http1_response(request, last))
        if last:
            self.end()

    def end(self) -> None:
        self.ending = True
        self.waiting.clear()
        if self.peer_done:
            self.transport.close()
        else:
            linger(self.transport)


__all__ = ["LINGER_S", "Conversation", "linger"]

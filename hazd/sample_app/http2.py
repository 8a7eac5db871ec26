"""One HTTP/2 connection of the sample app, on h2: loaded only when a client speaks it, for the rest of the app does not
need more than the standard library.

Requests are served side by side, each when its own latency has passed. As with HTTP/1.1 the connection's end is
announced with a response (GOAWAY), never in between.
"""

from __future__ import annotations

import asyncio
from collections import deque

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import H2Error

from hazd.sample_app.conversation import linger
from hazd.sample_app.http1 import Request
from hazd.sample_app.service import Service, is_ordinary


class Http2Conversation(asyncio.Protocol):
    """Takes a connection over from an HTTP/1.1 conversation that read the client's preface."""

    def __init__(self, service: Service, transport: asyncio.Transport) -> None:
        self.service = service
        self.transport = transport
        self.responses = 0
        self.ending = False
        self._asked: dict[int, Request] = {}
        self._late: set[int] = set()
        self._bodies: deque[tuple[int, bytes]] = deque()
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._h2.initiate_connection()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ending = True
        self._asked.clear()
        self.service.in_flight -= len(self._late)
        self._late.clear()
        self.service.closed()

    def data_received(self, data: bytes) -> None:
        if self.ending:
            return
        try:
            for event in self._h2.receive_data(data):
                if not self.ending:
                    self._on_event(event)
        except H2Error:
            self._end()
        else:
            self._flush()

    def _on_event(self, event: events.Event) -> None:
        if isinstance(event, events.RequestReceived):
            fields = dict(event.headers)
            path = fields.get(b":path", b"/").partition(b"?")[0].decode("latin-1")
            preflight = fields.get(b"x-hazd-preflight") == b"1"
            self._asked[event.stream_id] = Request(fields.get(b":method", b"GET"), path, preflight=preflight)
        elif isinstance(event, events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.StreamEnded):
            self._serve(event.stream_id)
        elif isinstance(event, events.StreamReset):
            self._forget(event.stream_id)
        elif isinstance(event, events.WindowUpdated):
            self._send_bodies()
        elif isinstance(event, events.ConnectionTerminated):
            self._end()

    def _serve(self, stream: int) -> None:
        service, ordinary = self.service, is_ordinary(self._asked[stream])
        if ordinary:
            service.work()
        if ordinary and service.knobs.latency_s:
            self._late.add(stream)
            service.in_flight += 1
            asyncio.get_running_loop().call_later(service.knobs.latency_s, self._serve_late, stream)
        else:
            self._finish(stream)

    def _serve_late(self, stream: int) -> None:
        if stream in self._late:
            self._late.discard(stream)
            self.service.in_flight -= 1
            if not self.ending:
                self._finish(stream)
                self._flush()

    def _finish(self, stream: int) -> None:
        service, request = self.service, self._asked.pop(stream)
        body = service.respond(request)
        self.responses += 1
        head = [
            (":status", str(request.status)),
            ("content-type", "application/json"),
            ("x-hazd-pod", service.knobs.pod),
            ("x-hazd-served", str(service.served)),
            ("date", service.today().decode()),
            ("content-length", str(len(body))),
        ]
        bare = request.method == b"HEAD"
        self._h2.send_headers(stream, head, end_stream=bare)
        if not bare:
            self._bodies.append((stream, body))
        self._send_bodies()

    def _send_bodies(self) -> None:
        """In order, each whole, so far as the client's windows allow."""
        while self._bodies:
            stream, body = self._bodies[0]
            if self._h2.local_flow_control_window(stream) < len(body):
                return
            self._bodies.popleft()
            self._h2.send_data(stream, body, end_stream=True)
        if self.responses and not self._asked and self.service.ends_after(self.responses):
            self._end()

    def _forget(self, stream: int) -> None:
        """The client gave this one up."""
        self._asked.pop(stream, None)
        self._bodies = deque(item for item in self._bodies if item[0] != stream)
        if stream in self._late:
            self._late.discard(stream)
            self.service.in_flight -= 1

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self.transport.write(data)

    def _end(self) -> None:
        """GOAWAY with what is due, then the polite close."""
        if not self.ending:
            self.ending = True
            self._h2.close_connection()
            self._flush()
            linger(self.transport)


__all__ = ["Http2Conversation"]

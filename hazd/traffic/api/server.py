"""A small HTTP/1.1 server on anyio and h11: enough for a handful of control calls, nothing of the measured path.

h11 is httpcore's own dependency, so the worker's container has it anyway. Knows no routes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import anyio
import h11
from anyio.abc import SocketStream

MAX_BODY = 4 << 20
IDLE_S = 60.0

__all__ = ["Call", "Handler", "Reply", "json_reply", "serve_connection"]


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    query: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=())


Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]


def json_reply(status: int, value: Any) -> Reply:
    return Reply(status, json.dumps(value).encode() + b"\n")


async def serve_connection(stream: SocketStream, handle: Handler) -> None:
    """Serves calls on one connection until either side closes it."""
    connection = h11.Connection(h11.SERVER)
    async with stream:
        try:
            while True:
                with anyio.fail_after(IDLE_S):
                    call = await _read_call(stream, connection)
                if call is None:
                    return
                await _write(stream, connection, await handle(call) if isinstance(call, Call) else call)
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                with anyio.move_on_after(1):
                    await _write(stream, connection, json_reply(error.error_status_hint, {"error": str(error)}))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
            return  # the caller closed the connection; it will call again


async def _read_call(stream: SocketStream, connection: h11.Connection) -> Call | Reply | None:
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                await _send(stream, connection, h11.InformationalResponse(status_code=100, headers=[]))
            try:
                data = await stream.receive()
            except anyio.EndOfStream:
                data = b""
            connection.receive_data(data)
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                return json_reply(413, {"error": f"the body is over {MAX_BODY} bytes"})
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            parts = urlsplit(request.target.decode("latin-1"))
            return Call(request.method.decode("latin-1"), parts.path, dict(parse_qsl(parts.query)), bytes(body))
        else:
            return None


async def _write(stream: SocketStream, connection: h11.Connection, reply: Reply) -> None:
    headers = [("Content-Type", reply.content_type), ("Content-Length", str(len(reply.body))), *reply.headers]
    await _send(stream, connection, h11.Response(status_code=reply.status, headers=headers))
    await _send(stream, connection, h11.Data(data=reply.body))
    await _send(stream, connection, h11.EndOfMessage())


async def _send(stream: SocketStream, connection: h11.Connection, event: h11.Event) -> None:
    data = connection.send(event)
    if data:
        await stream.send(data)

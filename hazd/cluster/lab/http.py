"""One HTTP/1.1 exchange over a socket that was made in some pod's or node's network namespace.

For probes and for hazd's own control traffic only; load is sent by workers. Never retries, never follows redirects.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, field

import anyio
import h11


@dataclass(frozen=True, slots=True)
class Request:
    port: int
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = field(default=())
    body: bytes = b""


async def connect(sock: socket.socket, address: str, port: int) -> None:
    """Connect a non-blocking socket. Raises OSError with the kernel's errno."""
    code = sock.connect_ex((address, port))
    if code == errno.EINPROGRESS:
        await anyio.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def _send(sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            await anyio.wait_writable(sock)


async def exchange(sock: socket.socket, address: str, request: Request) -> tuple[int, bytes]:
    """Status and whole body. Raises OSError, also for an answer that is cut off or is not HTTP."""
    host = f"{address}:{request.port}"
    given = {name.lower() for name, _ in request.headers}
    headers = [*request.headers, ("Connection", "close")]
    if "host" not in given:
        headers.insert(0, ("Host", host))
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        headers.append(("Content-Length", str(len(request.body))))
    side = h11.Connection(h11.CLIENT)
    out = side.send(h11.Request(method=request.method, target=request.path, headers=headers)) or b""
    out += side.send(h11.Data(data=request.body)) or b""
    out += side.send(h11.EndOfMessage()) or b""
    await _send(sock, out)
    status, parts = 0, []
    try:
        while True:
            event = side.next_event()
            if event is h11.NEED_DATA:
                try:
                    data = sock.recv(65536)
                except BlockingIOError:
                    await anyio.wait_readable(sock)
                    continue
                side.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return status, b"".join(parts)
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionError("EOF")
    except h11.RemoteProtocolError as problem:
        raise ConnectionError(str(problem)) from problem

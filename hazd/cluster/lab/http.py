"""One HTTP/1.1 exchange over a socket that was made in some pod's or node's network namespace.

For probes and for hazd's own control traffic only; load is sent by workers. Never retries, never follows redirects.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

import anyio
import h11

T = TypeVar("T")
Wait: TypeAlias = Callable[[socket.socket], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Request:
    """tls: over TLS, the certificate not verified, as a kubelet probes."""

    port: int
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = field(default=())
    body: bytes = b""
    tls: bool = False


async def connect(sock: socket.socket, address: str, port: int) -> None:
    """Connect a non-blocking socket. Raises OSError with the kernel's errno."""
    code = sock.connect_ex((address, port))
    if code == errno.EINPROGRESS:
        await anyio.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def _when_ready(sock: socket.socket, wait: Wait, action: Callable[[], T]) -> T:
    """What the action gives once the socket lets it. wait: what a plain socket that blocks is waiting for."""
    while True:
        try:
            return action()
        except BlockingIOError:
            await wait(sock)
        except ssl.SSLWantReadError:
            await anyio.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await anyio.wait_writable(sock)


async def _send(sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[await _when_ready(sock, anyio.wait_writable, partial(sock.send, view)) :]


async def exchange(sock: socket.socket, address: str, request: Request) -> tuple[int, bytes]:
    """Status and whole body. Raises OSError (ssl.SSLError is one), also for what is cut off or is not HTTP."""
    if not request.tls:
        return await _exchange(sock, address, request)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(sock, do_handshake_on_connect=False) as secure:
        await _when_ready(secure, anyio.wait_readable, secure.do_handshake)
        return await _exchange(secure, address, request)


async def _exchange(sock: socket.socket, address: str, request: Request) -> tuple[int, bytes]:
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
                side.receive_data(await _when_ready(sock, anyio.wait_readable, partial(sock.recv, 65536)))
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

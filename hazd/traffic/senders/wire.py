"""One TCP connection on anyio, with or without TLS, that keeps the kernel's errno, source port and times.

A non-blocking socket and anyio's wait_readable/wait_writable instead of anyio.connect_tcp: connect_tcp makes a task
group per connection and wraps the errno away. Knows nothing of HTTP.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

import anyio

from hazd.model import Phase
from hazd.traffic.classify import PeerClosed
from hazd.traffic.senders.dial import Address, dial
from hazd.traffic.senders.source_ports import SourcePorts
from hazd.traffic.tls import TlsCodec

CHUNK = 65_536

__all__ = ["Trace", "Wire"]


@dataclass(slots=True)
class Trace:
    """What is known of one request so far; filled while it runs, so that a failure leaves it as far as it came."""

    sent_ns: int = 0
    connected_ns: int = 0
    first_byte_ns: int = 0
    done_ns: int = 0
    phase: Phase = Phase.CONNECT
    reused: bool = False
    local_port: int = 0
    conn: int = 0
    status: int = 0
    pod: bytes = b""
    served: int = 0


class Wire:
    """An open connection; `uses` counts the requests written on it."""

    __slots__ = ("_ended", "_socket", "_tls", "number", "opened_ns", "port", "uses")

    def __init__(self, number: int, opened_ns: int) -> None:
        self.number = number
        self.opened_ns = opened_ns
        self.uses = 0
        self.port = 0
        self._tls: TlsCodec | None = None
        self._ended = False
        self._socket: socket.SocketType

    async def connect(self, address: Address, ports: SourcePorts, trace: Trace, early: bytes = b"") -> int:
        """Raises OSError with the errno the kernel gave. Returns how much of `early` could be written at once.

        Where client and server are on one machine the connection stands by now, and a wait is saved.
        """
        self._socket, self.port, result = dial(address, ports, self.opened_ns)
        trace.local_port = self.port
        if result == errno.EINPROGRESS:
            if early:
                with suppress(BlockingIOError):
                    return self._socket.send(early)
            await anyio.wait_writable(self._socket)
            result = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if result:
            raise OSError(result, os.strerror(result))
        return 0

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        self._tls = tls = TlsCodec(context, server_name)
        done = False
        while not done:
            try:
                done = tls.handshake()
            finally:
                await self._write(tls.pending())  # an alert too
            if not done:
                tls.feed(await self._read())

    async def send(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.encrypt(data)
            data = self._tls.pending()
        await self._write(data)

    async def receive(self) -> bytes:
        """Some bytes. Raises PeerClosed at the end, OSError when the kernel reports one."""
        tls = self._tls
        if tls is None:
            data = await self._read()
            if not data:
                raise PeerClosed("the peer closed the connection")
            return data
        while not self._ended:
            tls.feed(await self._read())
            data, self._ended = tls.decrypt()
            if data:
                return data
        raise PeerClosed("the peer closed the connection")

    def usable(self) -> bool:
        """Whether nothing came since the last response. TLS may have left tickets to read, so those are read."""
        while True:
            try:
                data = self._socket.recv(CHUNK)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data or self._tls is None:
                return False
            self._tls.feed(data)
            try:
                clear, ended = self._tls.decrypt()
            except ssl.SSLError:
                return False
            if clear or ended:
                return False

    def close(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()

    async def _write(self, data: bytes) -> None:
        while data:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
                continue
            data = data[sent:]

    async def _read(self) -> bytes:
        while True:
            await anyio.wait_readable(self._socket)
            try:
                return self._socket.recv(CHUNK)
            except BlockingIOError:
                continue

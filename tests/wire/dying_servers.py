"""Real loopback servers that answer, misbehave or die exactly as a script says, and count the requests they read.

Plain blocking sockets in threads: the order of bytes, FIN and RST is then the script's, not an event loop's.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Hazd-Pod: app-7\r\nX-Hazd-Served: 41\r\n\r\nok\n"
PATIENCE_S = 10.0


class Peer:
    """One accepted connection as a script sees it. `number` counts connections from 1."""

    def __init__(self, sock: socket.socket, number: int, server: Server) -> None:
        self.sock = sock
        self.number = number
        self.server = server

    def read(self) -> bytes:
        """One whole request head (and body, by Content-Length), counted; b"" when the client has closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.sock.recv(65_536)
            if not part:
                return b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                while len(body) < int(line.split(b":")[1]):
                    body += self.sock.recv(65_536)
        with self.server.lock:
            self.server.requests.append((self.number, head + b"\r\n\r\n" + body))
        return head + b"\r\n\r\n" + body

    def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """RST: closing with unsent linger time 0 throws the connection away."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_for_client_to_close(self) -> None:
        with contextlib.suppress(OSError):
            while self.sock.recv(65_536):
                pass


Script: TypeAlias = Callable[[Peer], None]


class Server:
    """Runs `script` once for every connection, then closes that connection (FIN)."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None, backlog: int = 128) -> None:
        self.requests: list[tuple[int, bytes]] = []
        self.lock = threading.Lock()
        self.closed = 0
        self.connections = 0
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/path?x=1"

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(PATIENCE_S)
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE_S)
            with self.lock:
                self.connections += 1
                number = self.connections
            self._socks.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock, number))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with sock:
                self._script(Peer(sock, number, self))
        sock.close()
        with self.lock:
            self.closed += 1


def answer_always(peer: Peer) -> None:
    """A well-behaved server: keeps the connection, honours `Connection: close`."""
    while request := peer.read():
        peer.write(OK)
        if b"connection: close" in request.lower():
            return

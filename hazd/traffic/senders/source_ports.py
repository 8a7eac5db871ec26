"""Source ports in turn, so that a port is used again as late as possible and never while it may still be poisoned.

A connection that timed out leaves a conntrack entry on the node for up to 120 s (nf_conntrack_tcp_timeout_syn_sent)
that still points to a dead pod; a new connection from the same port follows it there and fails for no fault of the
service. The kernel's own choice comes round within seconds at some hundred connections a second. No I/O but bind.
"""

from __future__ import annotations

import errno
import random
import socket

NS = 1_000_000_000
FIRST, LAST = 10_240, 65_535
NODE_PORTS = range(30_000, 32_768)
COOL_NS = 130 * NS
TRIES = range(256)
_SOCKET, _REUSE_ADDRESS = socket.SOL_SOCKET, socket.SO_REUSEADDR
_TAKEN = frozenset({errno.EADDRINUSE, errno.EACCES})

__all__ = ["SourcePorts"]


class SourcePorts:
    """Shared by all streams of a sender."""

    __slots__ = ("_cooling", "_next")

    def __init__(self) -> None:
        self._next = random.choice((random.randrange(FIRST, NODE_PORTS.start), random.randrange(NODE_PORTS.stop, LAST)))
        self._cooling: dict[int, int] = {}

    def bind(self, sock: socket.SocketType, family: int, now_ns: int) -> int:
        """Bind to the next free port and return it; 0 when none was found, and the kernel chooses while connecting."""
        sock.setsockopt(_SOCKET, _REUSE_ADDRESS, 1)  # past our own TIME_WAIT
        for _ in TRIES:
            port = self._next + 1
            if port == NODE_PORTS.start:
                port = NODE_PORTS.stop
            elif port > LAST:
                port = FIRST
            self._next = port
            if port in self._cooling and not self._cooled(port, now_ns):
                continue
            try:
                sock.bind(("", port))
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            else:
                return port
        return 0

    def _cooled(self, port: int, now_ns: int) -> bool:
        if self._cooling[port] > now_ns:
            return False
        del self._cooling[port]
        return True

    def poisoned(self, port: int, now_ns: int) -> None:
        """A connection from this port timed out or led nowhere: leave it alone until conntrack has forgotten it."""
        if port and len(self._cooling) < (LAST - FIRST) // 2:
            self._cooling[port] = now_ns + COOL_NS
